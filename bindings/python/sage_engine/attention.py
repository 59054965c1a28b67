"""Attention with everything it can do: described, planned once, run many times."""

from __future__ import annotations

import ctypes
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from . import constants as c
from ._ffi import Slots, sage_attention_attributes, sage_attention_memory, sage_op, sage_tensor, whole
from ._handle import Closing, fetch, new_error, refuse
from ._library import library
from .engine import Engine, alignment, parse
from .enums import Accuracy, Align, Feature, Slot
from .errors import InvalidArgumentError
from .options import OptionsLike, finish_run, lend
from .tensor import ArrayLike, DtypeLike, Tensor, as_tensor

_NAMES = {slot.name.lower(): slot for slot in Slot}
_POINTER = ctypes.POINTER(sage_tensor)
_Strides = Dict[int, Tuple[int, ...]]


def _same_walk(tensor: Tensor, strides: Tuple[int, ...]) -> bool:
    """Whether the tensor's elements are where these strides say, too."""
    if len(strides) != len(tensor.shape):
        return False
    return 0 in tensor.shape or all(n == 1 or a == b for n, a, b in zip(tensor.shape, tensor.strides, strides))


class AttentionOp:
    """An attention call described; its tensors' memory is used when it runs. Built by one thread at a time.

    query [B,Hq,Sq,D], key [B,Hkv,Skv,D], value [B,Hv,Skv,Dv], output [B,Hq,Sq,Dv], any strides. Every other tensor is a
    keyword by its slot's name in lower case: bias, mask, lse, alibi, sinks, block_table, philox ... (class Slot; what
    each is stands in sage/attention.h). None leaves a slot empty.

    causal: where the diagonal begins; None: not causal.    align: the same for windows and ALiBi alone.
    scale: None is 1/sqrt(D); 0 is meant.                   window: (left, right) keys besides a query's own, None: all.
    dtype: of arrays whose numpy type cannot say it (the bits of bf16).
    accuracy, require, dynamic: an Accuracy, any of Require and of Axis; the library judges them when it plans.
    """

    def __init__(
        self,
        query: Optional[ArrayLike],
        key: Optional[ArrayLike],
        value: Optional[ArrayLike],
        output: Optional[ArrayLike],
        *,
        causal: Optional[Align] = None,
        align: Optional[Align] = None,
        scale: Optional[float] = None,
        window: Optional[Tuple[Optional[int], Optional[int]]] = None,
        softcap: float = 0.0,
        accuracy: int = Accuracy.AUTO,
        require: int = 0,
        dynamic: int = 0,
        dtype: Optional[DtypeLike] = None,
        **slots: Optional[ArrayLike],
    ) -> None:
        self._tensors: Dict[int, Tensor] = {}
        self._ready: Optional[Tuple[Any, List[Tensor], Optional[_Strides]]] = None
        self._aliases = 0
        self.attributes = sage_attention_attributes()
        self.accuracy, self.requirements, self.dynamic_axes = accuracy, require, dynamic
        for slot, data in ((Slot.Q, query), (Slot.K, key), (Slot.V, value), (Slot.O, output)):
            self.slot(slot, data, dtype)
        for name, data in slots.items():
            if name not in _NAMES:
                raise InvalidArgumentError(f"attention has no slot {name!r}; it has {', '.join(_NAMES)}")
            self.slot(_NAMES[name], data)
        if align is not None:
            self.attributes.alignment = alignment(align)
        if causal is not None:
            self.causal(causal)
        if scale is not None:
            self.scale(scale)
        if window is not None:
            self.window(*window)
        self.attributes.softcap = softcap

    def slot(self, slot: int, data: Optional[ArrayLike], dtype: Optional[DtypeLike] = None) -> AttentionOp:
        """Fills a slot, or empties it with None. Arrays are viewed, never copied; what would be written and is
        read-only is refused when it is planned, or run."""
        if not 0 <= whole("slot", slot) < c.SAGE_ATTN_NUM_SLOTS:
            raise InvalidArgumentError(f"attention has no slot {slot}")
        name = Slot(slot).name.lower()
        if data is None:
            self._tensors.pop(slot, None)
        else:
            self._tensors[slot] = as_tensor(data, dtype, name=name)
        self._ready = None
        return self

    def tensor(self, slot: int) -> Optional[Tensor]:
        return self._tensors.get(slot)

    def append(self, key_new: ArrayLike, value_new: ArrayLike, dtype: Optional[DtypeLike] = None) -> AttentionOp:
        """[B,Hkv,Snew,D] and [B,Hv,Snew,Dv], written into key and value behind the keys in use (seqused_k), then
        attended to."""
        self.aliases = 1 << Slot.K | 1 << Slot.V
        return self.slot(Slot.K_NEW, key_new, dtype).slot(Slot.V_NEW, value_new, dtype)

    def causal(self, causal: Optional[Align]) -> AttentionOp:
        if causal is None:
            self.attributes.features &= ~c.SAGE_ATTN_F_CAUSAL
        else:
            self.attributes.alignment = alignment(causal)
            self.attributes.features |= c.SAGE_ATTN_F_CAUSAL
        return self

    def scale(self, scale: Optional[float]) -> AttentionOp:
        if scale is None:
            self.attributes.features &= ~c.SAGE_ATTN_F_SCALE
        else:
            self.attributes.features |= c.SAGE_ATTN_F_SCALE
        self.attributes.scale = scale or 0.0
        return self

    def window(self, left: Optional[int], right: Optional[int]) -> AttentionOp:
        """Keys on either side of a query's own position; None: all."""
        features = self.attributes.features & ~(c.SAGE_ATTN_F_WINDOW_LEFT | c.SAGE_ATTN_F_WINDOW_RIGHT)
        if left is not None:
            features |= c.SAGE_ATTN_F_WINDOW_LEFT
        if right is not None:
            features |= c.SAGE_ATTN_F_WINDOW_RIGHT
        self.attributes.window_left, self.attributes.window_right = left or 0, right or 0
        self.attributes.features = features
        return self

    @property
    def aliases(self) -> int:
        """Bit s: slot s is read and written in place. append() sets those of key and value."""
        return self._aliases

    @aliases.setter
    def aliases(self, bits: int) -> None:
        self._aliases = whole("aliases", bits, ctypes.c_uint64)
        self._ready = None

    def features(self) -> Feature:
        """All that is asked for, seen from slots and numbers."""
        bits, error = ctypes.c_uint64(), new_error()
        op, _keep = self._described()
        status = library().call.sage_attention_features(ctypes.byref(op), ctypes.byref(bits), ctypes.byref(error))
        if status:
            refuse(status, error)
        return Feature(bits.value)

    def _slots(self, planned: Optional[_Strides] = None) -> Tuple[Any, List[Tensor]]:
        """(array of pointers for C, what they point to): made once, until a slot changes or another plan runs it.

        The library holds a run to the plan's strides on every axis; of an axis that is not walked, where numpy may say
        anything, the plan's stride is passed on."""
        ready = self._ready
        if ready is None or ready[2] is not planned:
            tensors, pointers = [], Slots()
            for slot, tensor in self._tensors.items():
                wanted = planned.get(slot) if planned is not None else None
                if wanted is not None and wanted != tensor.strides and _same_walk(tensor, wanted):
                    tensor = tensor.with_shape(tensor.shape, wanted)
                pointers[slot] = ctypes.pointer(tensor.raw())
                tensors.append(tensor)
            ready = self._ready = (pointers, tensors, planned)
        return ready[0], ready[1]

    def _described(self) -> Tuple[sage_op, Any]:
        """(the C struct, what must live during the call)."""
        ready = self._slots()
        op = sage_op(
            kind=c.SAGE_OP_ATTENTION,
            requirements=self.requirements,
            accuracy=self.accuracy,
            dynamic_axes=self.dynamic_axes,
            num_slots=c.SAGE_ATTN_NUM_SLOTS,
            aliases=self._aliases,
        )
        op.attributes = ctypes.addressof(self.attributes)
        op.slots = ctypes.cast(ready[0], ctypes.POINTER(_POINTER))
        return op, (ready, self.attributes)


class AttentionMemory(NamedTuple):
    """What a plan needs at its planned shapes, in bytes; sage/sage.h and docs/memory.md say what each counts."""

    q_bytes: int
    k_bytes: int
    v_bytes: int
    o_bytes: int
    other_bytes: int
    scratch_bytes: int
    working_set_bytes: int
    packed_kv_bytes: int
    partials_bytes: int
    prepack_bytes: int
    total_bytes: int
    scores_bytes: int
    scores_avoided_bytes: int
    total_with_scores_bytes: int
    scores_over_scratch: float
    totals_ratio: float
    keys_over_block_kv: float


class AttentionPlan(Closing):
    """A backend chosen and prepared for one op's shapes; shared by any number of contexts and threads."""

    def __init__(self, engine: Engine, op: AttentionOp, options: OptionsLike = None) -> None:
        self._lib = library()
        described, keep = op._described()
        with engine._handle as raw, lend(self._lib, options) as (chosen, lent):
            constants = [tensor for tensor in keep[0][1] if tensor.constant]
            self._own(
                lambda out, error: self._lib.call.sage_attention_plan_create(
                    raw, ctypes.byref(described), chosen, out, error
                ),
                "sage_attention_plan_destroy",
                "plan",
                [*engine._handle.keep, *lent, *constants],
            )
        self._lent = [item for item in self._handle.keep if not isinstance(item, Tensor)]
        self._strides: _Strides = {slot: tensor.strides for slot, tensor in op._tensors.items()}

    @property
    def backend(self) -> str:
        with self._handle as raw:
            name: bytes = self._lib.call.sage_attention_plan_backend(raw)
        return name.decode()

    def explain(self) -> Dict[str, Any]:
        """Every backend's verdict and price."""
        with self._handle as raw:
            return parse(fetch(lambda *to: self._lib.call.sage_attention_plan_explain(raw, *to)))

    def memory(self) -> AttentionMemory:
        """Known before anything is allocated."""
        memory, error = sage_attention_memory(), new_error()
        with self._handle as raw:
            status = self._lib.call.sage_attention_plan_memory(raw, ctypes.byref(memory), ctypes.byref(error))
        if status:
            refuse(status, error)
        return AttentionMemory(*(getattr(memory, name) for name in AttentionMemory._fields))

    def context(self) -> AttentionContext:
        """The workspace of one caller."""
        return AttentionContext(self)


class AttentionContext(Closing):
    """The workspace of one caller of a plan: one run at a time, a second one is BusyError."""

    def __init__(self, plan: AttentionPlan) -> None:
        self._lib = library()
        with plan._handle as raw:
            self._own(
                lambda out, error: self._lib.call.sage_attention_context_create(raw, out, error),
                "sage_attention_context_destroy",
                "context",
                list(plan._handle.keep),
            )
        self._lent, self._strides = plan._lent, plan._strides
        self._run = self._lib.call.sage_attention_run

    def run(self, op: AttentionOp, stream: Optional[int] = None) -> None:
        """op: as planned, with memory in its tensors; dynamic axes may be smaller. Nothing is allocated by the library.
        stream: a device's, as an address; the call then returns once the work is enqueued, and op's arrays must live
        until it is done."""
        slots, _keep = op._slots(self._strides)
        if stream is not None:
            stream = whole("stream", stream, ctypes.c_uint64)
        error = new_error()
        with self._handle as raw:
            status = self._run(raw, slots, c.SAGE_ATTN_NUM_SLOTS, stream, ctypes.byref(error))
        if status or self._lent:
            finish_run(status, error, self._lent)

    def cancel(self) -> None:
        """From any thread: stops the run in progress with CancelledError. Later ones are not touched."""
        with self._handle as raw:
            self._lib.call.sage_attention_cancel(raw)
