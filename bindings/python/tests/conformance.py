"""The conformance runner of the Python binding: tests/vectors/README.md says what it does and prints.

conformance.py FOLDER PLUGIN
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from typing import Any, Callable, Dict, List, Optional

import numpy as np

import conformance_scenarios
import sage_engine as sage
from sage_engine import constants


def fnv1a(data: bytes, value: int = 14695981039346656037) -> int:
    for byte in data:
        value = (value ^ byte) * 1099511628211 & 0xFFFFFFFFFFFFFFFF
    return value


class Output:
    digest = 14695981039346656037

    def line(self, text: str) -> None:
        data = (text + "\n").encode()
        self.digest = fnv1a(data, self.digest)
        sys.stdout.buffer.write(data)


def shape_of(text: str) -> tuple[int, ...]:
    return () if text == "scalar" else tuple(int(length) for length in text.split(","))


def shape_text(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape)) or "scalar"


def first(data: bytes) -> str:
    return data[:16].hex() or "-"


def hashed(data: bytes) -> str:
    return f"{fnv1a(data):016x}"


class Case:
    """What the steps of one case share."""

    def __init__(self, out: Output, folder: str, plugin: str, name: str) -> None:
        self.out, self.folder, self.plugin, self.name = out, folder, plugin, name
        self.engine_options: Dict[str, str] = {}
        self.plan_options: Dict[str, str] = {}
        self.place = 0
        self.engine: Optional[sage.Engine] = None
        self.engine_failed = False
        self.tensors: Dict[int, sage.Tensor] = {}
        self.arrays: Dict[int, Any] = {}  # of the tensors, and of the results
        self.results: List[int] = []
        self.fields: Dict[str, str] = {}
        self.plan: Optional[sage.AttentionPlan] = None
        self.model: Optional[sage.Model] = None
        self.session: Optional[sage.Session] = None
        self.bound: Dict[int, Any] = {}
        self.kept: Optional[bytes] = None
        self.decision = sage.GateDecision(sage.Verdict.ALLOW, 0, 0, 0, 0, 0)

    def say(self, text: str) -> None:
        self.out.line(f"{self.name}: {text.replace(self.folder, 'FOLDER').replace(chr(10), '|')}")

    def close(self) -> None:
        for item in (self.session, self.model, self.plan, self.engine):
            if item is not None:
                item.close()

    def array(self, dtype: str, shape: tuple[int, ...], data: Optional[bytes] = None) -> Any:
        """Memory `place` bytes past a multiple of 64, every byte a5, then the data."""
        holder = sage.Tensor.describe(shape, dtype)
        size = max(holder.nbytes, len(data or b""))
        room = np.full(size + 128 + self.place, 0xA5, np.uint8)
        start = -room.ctypes.data % 64 + self.place
        if data:
            room[start : start + len(data)] = np.frombuffer(data, np.uint8)
        return np.ndarray(shape, sage.tensor.numpy_dtype(dtype), room, start)

    def op(self) -> sage.AttentionOp:
        op = sage.AttentionOp(None, None, None, None)
        for slot, tensor in self.tensors.items():
            op.slot(slot, tensor)
        for name, value in self.fields.items():
            if name in ("scale", "softcap", "dropout_p"):
                setattr(op.attributes, name, float(value))
            elif name in ("accuracy", "requirements", "dynamic_axes", "aliases"):
                setattr(op, name, int(value))
            else:
                setattr(op.attributes, name, int(value))  # refuses a name that it has not
        return op

    def made_engine(self) -> Optional[sage.Engine]:
        if self.engine is None and not self.engine_failed:
            try:
                self.engine = sage.Engine(self.engine_options)
            except sage.SageError:
                self.engine_failed = True
                raise
        elif self.engine is None:
            self.say("skipped")
        return self.engine

    # ---- steps ----

    def option(self, key: str, value: str) -> None:
        self.engine_options[key] = value

    def plan_option(self, key: str, value: str) -> None:
        self.plan_options[key] = value

    def place_(self, bytes_past: str) -> None:
        self.place = int(bytes_past)

    def tensor(self, slot: str, dtype: str, shape: str, data: str) -> None:
        array = self.array(dtype, shape_of(shape), bytes.fromhex(data.replace("-", "")))
        self.keep(int(slot), dtype, array)

    def result(self, slot: str, dtype: str, shape: str) -> None:
        self.keep(int(slot), dtype, self.array(dtype, shape_of(shape)))
        self.results.append(int(slot))

    def keep(self, slot: int, dtype: str, array: Any) -> None:
        self.arrays[slot] = array
        self.tensors[slot] = sage.Tensor(array, dtype)
        self.results = [kept for kept in self.results if kept != slot]

    def strides(self, slot: str, strides: str) -> None:
        tensor = self.tensors[int(slot)]
        self.tensors[int(slot)] = tensor.with_shape(tensor.shape, shape_of(strides))

    def set(self, field: str, value: str) -> None:
        self.fields[field] = value

    def flat(self, layout: str, causal: str, scale: str) -> None:
        engine = self.made_engine()
        if engine is not None:
            engine.attention(
                *(self.tensors[slot] for slot in range(4)),
                layout=int(layout),
                causal=int(causal),
                scale=float(scale) or None,
            )
            self.say("SAGE_OK")
            self.say_slot(3)

    def say_slot(self, slot: int) -> None:
        data = self.arrays[slot].tobytes()
        self.say(f"slot {slot} {hashed(data)} {first(data)}")

    def features(self) -> None:
        self.say(f"features {self.op().features():016x}")

    def plan_(self) -> None:
        engine = self.made_engine()
        if engine is None:
            return
        if self.plan is not None:
            self.plan.close()
            self.plan = None
        self.plan = engine.plan(self.op(), self.plan_options)
        self.say(f"plan {self.plan.backend}")

    def memory(self) -> None:
        if self.plan is None:
            return self.say("skipped")
        m = self.plan.memory()
        self.say(
            f"memory {m.q_bytes} {m.k_bytes} {m.v_bytes} {m.o_bytes} {m.other_bytes} {m.scores_bytes} "
            f"{m.total_with_scores_bytes}"
        )

    def explain(self) -> None:
        what = self.session or self.plan
        if what is None:
            return self.say("skipped")
        self.say("explain json" if "reference" in json.dumps(what.explain()) else "explain does not name reference")

    def attend(self) -> None:
        if self.plan is None:
            return self.say("skipped")
        op = self.op()
        with self.plan.context() as context:
            context.run(op)
        self.say("SAGE_OK")
        for slot in sorted(self.arrays):
            if slot in self.results or op.aliases >> slot & 1:
                self.say_slot(slot)

    def model_(self, file: str) -> None:
        self.load(os.path.join(self.folder, file))

    def model_bytes(self, file: str) -> None:
        self.load(self.read(file))

    def read(self, file: str) -> bytes:
        with open(os.path.join(self.folder, file), "rb") as stream:
            return stream.read()

    def load(self, source: Any) -> None:
        engine = self.made_engine()
        if engine is None:
            return
        if self.model is not None:
            self.model.close()
            self.model = None
        self.model = engine.model(source)
        self.say(f"model {self.model.kind.value}")
        for side, infos in (("input", self.model.inputs), ("output", self.model.outputs)):
            for index, info in enumerate(infos):
                self.say(f"{side} {index} {info.name} {info.dtype.name.lower()} {shape_text(info.shape)}")

    def check(self, file: str) -> None:
        self.say_valid(os.path.join(self.folder, file))

    def check_bytes(self, file: str) -> None:
        self.say_valid(self.read(file))

    def say_valid(self, source: Any) -> None:
        engine = self.made_engine()
        if engine is not None:
            self.say(f"valid {'true' if engine.check(source)['valid'] is True else 'false'}")

    def session_(self) -> None:
        if self.model is None:
            return self.say("skipped")
        if self.session is not None:
            self.session.close()
            self.session = None
        self.bound = {}
        self.session = self.model.session(self.plan_options)
        self.say("SAGE_OK")

    def input(self, index: str, dtype: str, shape: str, data: str) -> None:
        if self.session is None:
            return self.say("skipped")
        array = self.array(dtype, shape_of(shape), bytes.fromhex(data.replace("-", "")))
        self.session.set_input(int(index), array, dtype)
        self.say("SAGE_OK")

    def bind(self, side: str, index: str, dtype: str, shape: str, data: str = "-") -> None:
        if self.session is None:
            return self.say("skipped")
        array = self.array(dtype, shape_of(shape), bytes.fromhex(data.replace("-", "")))
        self.session.bind(sage.Direction[side.upper()], int(index), array, dtype)
        if side == "output":
            self.bound[int(index)] = array
        self.say("SAGE_OK")

    def run(self) -> None:
        if self.session is None or self.model is None:
            return self.say("skipped")
        self.session.run()
        self.say("SAGE_OK")
        for index in range(len(self.model.outputs)):
            info = self.session.output_info(index)
            if index in self.bound:
                size = math.prod(info.shape) * info.dtype.itemsize
                data = self.bound[index].tobytes()[:size]
            else:
                data = self.session.output(index).tobytes()
            self.say(f"output {index} {info.dtype.name.lower()} {shape_text(info.shape)} {hashed(data)} {first(data)}")

    def trace(self) -> None:
        if self.session is None:
            return self.say("skipped")
        self.say("trace json" if "traceEvents" in self.session.trace() else "trace has no traceEvents")

    def accuracy(self) -> None:
        if self.session is None:
            return self.say("skipped")
        self.say("accuracy json" if "rel_l1" in json.dumps(self.session.accuracy()) else "accuracy has no rel_l1")

    def tick(self, line: str = "") -> None:
        if self.session is None:
            return self.say("skipped")
        try:
            self.session.tick_line(line)
            self.say("SAGE_OK")
        except sage.SageError as error:
            self.say(f"{error.status_name} {error}")
        self.say(self.session.decision_line())

    def snapshot(self) -> None:
        if self.session is None:
            return self.say("skipped")
        self.kept = self.session.snapshot()
        self.say(f"snapshot {len(self.kept)} {hashed(self.kept)}")

    def restore(self) -> None:
        self.take_up(self.kept)

    def restore_damaged(self) -> None:
        self.take_up(self.kept and self.kept[:-1] + bytes([self.kept[-1] ^ 1]))

    def take_up(self, state: Optional[bytes]) -> None:
        if self.session is None or state is None:
            return self.say("skipped")
        self.session.restore(state)
        self.say("SAGE_OK")

    def mincut_mask(self, seq: str, parts: str) -> None:
        mask = sage.mincut_mask(int(seq), int(parts))
        self.say(f"kept {np.count_nonzero(mask)} {hashed(mask.tobytes())}")

    def mincut_csr(self, seq: str, parts: str, tile_q: str, tile_kv: str) -> None:
        mask = sage.mincut_csr(int(seq), int(parts), int(tile_q), int(tile_kv))
        self.say(f"kept {mask.indices.size} {hashed(mask.indptr.tobytes())} {hashed(mask.indices.tobytes())}")

    def mincut_blocks(self, seq: str, parts: str, tile_q: str, tile_kv: str) -> None:
        blocks = sage.mincut_blocks(int(seq), int(parts), int(tile_q), int(tile_kv))
        self.say(f"kept {np.count_nonzero(blocks)} {hashed(blocks.tobytes())}")

    def gate(self, *fields: str) -> None:
        packet: Dict[str, int] = {}
        policy: Dict[str, Any] = {}
        tiers: Dict[str, Dict[str, int]] = {}
        for field in fields:
            name, value = field.split("=")
            parts = name.split(".")
            if len(parts) == 3:
                tiers.setdefault(parts[1], {})[parts[2]] = int(value)
            elif len(parts) == 2:
                policy[parts[1]] = int(value)
            else:
                packet["lambda_" if name == "lambda" else name] = int(value)
        policy.update({tier: sage.GateTier(**values) for tier, values in tiers.items()})
        self.decision = sage.GateDecision(0, 0, 0, 0, 0, 0)  # type: ignore[arg-type]
        self.decision = sage.gate_decide(sage.GatePacket(**packet), sage.GatePolicy(**policy) if policy else None)
        d = self.decision
        self.say(f"gate {d.verdict.value} {d.tier} {d.drop_ratio_q15} {d.layers} {d.sequence} {d.window}")

    def gate_apply(self, alignment: str) -> None:
        op = sage.AttentionOp(None, None, None, None, align=sage.Align(int(alignment)))
        sage.gate_apply(self.decision, op)
        self.say(f"features {op.attributes.features:016x} window_left {op.attributes.window_left}")

    def lent(self, *slots: str) -> List[Optional[sage.Tensor]]:
        return [None if slot == "-" else self.tensors[int(slot)] for slot in slots]

    def quantize(
        self, x: str, codes: str, scale: str, mean: str, cu: str, granularity: str, block: str, flags: str
    ) -> None:
        source, out, scales, means, starts = self.lent(x, codes, scale, mean, cu)
        made = sage.quantize(
            source,
            int(granularity),
            scale_block=int(block),
            scale=scales if flags == "1" else None,
            scale_out=None if flags == "1" else scales,
            mean=False if means is None else means,
            cu_seqlens=starts,
            codes=out,
        )
        self.say("SAGE_OK")
        r = made.report
        errors = " ".join(struct.pack(">d", error).hex() for error in (r.max_abs_error, r.rms_error))
        self.say(f"report {r.elements} {r.saturated} {r.zero_groups} {r.code_bytes} {r.scale_bytes} {errors}")
        for slot in (codes, "-" if flags == "1" else scale, mean):
            if slot != "-":
                self.say_slot(int(slot))

    def dequantize(self, codes: str, scale: str, mean: str, cu: str, x: str, granularity: str, block: str) -> None:
        given, scales, means, starts, out = self.lent(codes, scale, mean, cu, x)
        sage.dequantize(given, scales, int(granularity), scale_block=int(block), mean=means, cu_seqlens=starts, out=out)
        self.say("SAGE_OK")
        self.say_slot(int(x))

    def scenario(self, name: str) -> None:
        for line in getattr(conformance_scenarios, name)(self):
            self.say(line)


def main() -> None:
    folder, plugin = sys.argv[1:]
    out = Output()
    with open(os.path.join(folder, "constants.txt"), encoding="utf-8") as stream:
        for line in stream:
            name = line.split()[1]
            out.line(f"constant {name} {getattr(constants, name, 'missing')}")
    case: Optional[Case] = None
    with open(os.path.join(folder, "conformance.txt"), encoding="utf-8") as stream:
        lines = stream.read().split("\n")
    if lines[0] != "sage-vectors 1":
        sys.exit("conformance.txt is of another version than 1")
    for line in lines[1:]:
        if not line or line.startswith("#"):
            continue
        step, _, rest = line.partition(" ")
        if step == "case":
            if case is not None:
                case.close()
            case = Case(out, folder, plugin, rest)
            continue
        assert case is not None
        words = [rest] if step == "tick" else rest.split()
        # A step whose name is also that of what the case holds ends in an underscore here.
        method: Callable[..., None] = getattr(case, step + "_" if hasattr(Case, step + "_") else step)
        try:
            method(*words)
        except sage.SageError as error:
            case.say(f"{error.status_name} {error}")
    if case is not None:
        case.close()
    sys.stdout.write(f"digest {out.digest:016x}\n")


if __name__ == "__main__":
    main()
