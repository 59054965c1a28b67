"""Runs the grid of bench/run --gpu: ours and torch's backends in turn, round by round, every answer checked before
anything is timed, every sample kept. It decides no figure: those are made from the file it writes (gpu_result.py).

  gpu_measure.py --built build/gpu-bench --commit ID --out FILE [--quick] [--only RE] [--seconds N] [--python PYTHON]

Exit 0 with a result, 69 with one sentence where there is no device.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy

import contenders
import gpu_data
import gpu_grid
import gpu_graph
import gpu_result
import machine
from measure import write
from result import duration, median, right, why_none

SEED = 20261
NO_DEVICE = 69  # EX_UNAVAILABLE, as scripts/gpu-check
SECONDS = {True: 230, False: 530}  # by --quick: no row is begun that would end later, by the longest so far
# A GiB copied, and a square GEMM, of which some rows are checked.
ROOFLINE = {"copy_bytes": 1 << 30, "gemm": 8192, "columns": 64, "warmup": 5, "samples": 20}
GEMM_GATE = 5e-3
ROUND_TRIPS = 200  # a round, of small rows
GRAPH_RUNS, GRAPH_WARMUP = 2000, 200
PATIENCE = 90  # seconds for one answer: one that hangs must not take the device's time from the others
# After these the process has lost its device for good. Out of memory is no such error.
LOST = re.compile(r"cudaError(?!MemoryAllocation)|CUDA error|device is lost")


class Side:
    """A contender's process and what it has prepared, so that one that died or lost its device is made as it was for
    the arms that are left."""

    def __init__(self, name, peer):
        self.name, self.peer, self.order, self.missing = name, peer, None, ""
        self.lost = False

    def start(self):
        try:
            self.peer.start()
        except contenders.Gone as gone:
            self.missing = str(gone).removeprefix("does not start: ")
        except OSError as error:
            self.missing = f"{self.peer.python}: {error.strerror}"
        return not self.missing

    def attempt(self, **order):
        if self.missing:
            return {"ok": False, "why": self.missing}
        try:
            answer = self.peer.order(**order)
        except contenders.Gone as gone:
            self.lost = True
            return {"ok": False, "why": str(gone)}
        if not answer.get("ok") and LOST.search(answer.get("why", "")):
            self.lost = True
            self.peer.stop()
        return answer

    def prepare(self, order):
        self.order, self.lost = order, False
        return self.attempt(**order)

    def revive(self, entries):
        """After a loss: the problem and the arms that are still measured, anew."""
        if not self.lost:
            return
        self.lost = False
        answer = self.attempt(**self.order)
        for entry in entries:
            if "missing" not in entry and entry.get("check", "ok") == "ok":
                answer = answer if not answer.get("ok") else self.attempt(**arm_order(entry))
                if not answer.get("ok"):
                    entry["missing"] = answer["why"]

    def stop(self):
        self.peer.stop()


def arm_order(entry):
    return {"do": "arm", "arm": entry["arm"]} | {key: entry[key] for key in ("backend", "options") if key in entry}


def visible():
    """The first device that this process may see, as CUDA and nvidia-smi both name it."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def smi(fields="name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,pstate"):
    """What nvidia-smi says of the device, as strings; empty where it says nothing."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", f"--id={visible()}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if done.returncode != 0 or not done.stdout.strip():
        return {}
    return dict(zip(fields.split(","), (value.strip() for value in done.stdout.splitlines()[0].split(","))))


def entries_of(row, shape, arms):
    """([(name of the side, entry)]): ours first. An arm that is not asked has its reason already."""
    out = []
    for name in row["ours"]:
        if name in arms:
            backend, options = arms[name]
            out.append(("ours", {"arm": name, "backend": backend, "options": options}))
    for name in row["peers"]:
        why = gpu_grid.left_out(shape, name)
        out.append(("torch", {"arm": name} | ({"missing": why} if why else {})))
    return out


def check(side, entry, shape, number, rows, expected):
    """Asks for the arm and its rows; the entry then has path, check and plan, or missing."""
    ready = side.attempt(**arm_order(entry))
    if not ready.get("ok"):
        entry["missing"] = ready["why"]
        return
    entry |= {
        "path": ready["path"],
        "first_ns": ready["first_ns"],
        "price_ns": ready.get("price_ns"),
        "samples_ns": [],
        "rounds": [],
    }
    answer = side.attempt(do="rows", arm=entry["arm"], set=number, rows=rows)
    entry |= gpu_data.judge(shape.dtype, answer, expected) if answer.get("ok") else {"check": answer["why"]}


def time_entry(side, entry, small):
    if "missing" in entry or entry.get("check") != "ok":
        return
    plan = entry["plan"]
    answer = side.attempt(
        do="time", arm=entry["arm"], calls=plan["calls"], warmup=plan["warmup"], samples=plan["samples"]
    )
    if not answer.get("ok"):
        entry["missing"] = answer["why"]
        return
    entry["samples_ns"] += [round(sample, 1) for sample in answer["samples_ns"]]
    entry["rounds"].append(len(answer["samples_ns"]))
    entry["how"] = answer["how"]
    if small:
        trips = side.attempt(do="round_trip", arm=entry["arm"], warmup=20, samples=ROUND_TRIPS)
        if trips.get("ok"):
            entry.setdefault("round_trip_ns", []).extend(round(sample) for sample in trips["samples_ns"])
        else:
            entry["round_trip_missing"] = trips["why"]


def measure(sides, row, facts, pool, path, arms):
    begin, shape = time.monotonic(), gpu_grid.parse(row["problem"])
    count = gpu_grid.sets(shape, facts["l2_bytes"], facts["free_bytes"])
    checked, rows = count - 1, gpu_data.rows_to_check(shape)  # the last set: one that no earlier call has written
    expected = gpu_data.expected(pool, shape, checked, rows)
    entries = entries_of(row, shape, arms)
    order = gpu_data.order(shape, count, path, len(pool.values))
    for name, side in sides.items():
        members = [entry for who, entry in entries if who == name and "missing" not in entry]
        ready = side.prepare(order) if members else {"ok": True}
        for entry in members:
            if not ready.get("ok"):
                entry["missing"] = ready["why"]
                continue
            side.revive(members[: members.index(entry)])
            check(side, entry, shape, checked, rows, expected)
            if right(entry | {"samples_ns": [1]}):
                entry["plan"] = gpu_grid.plan(entry["first_ns"], count)
    order_of_rounds = []
    for number in range(gpu_grid.ROUNDS):
        now = gpu_grid.turns(entries, number)
        order_of_rounds.append([f"{who} {entry['arm']}" for who, entry in now])
        for who, entry in now:
            sides[who].revive([e for w, e in entries if w == who])
            time_entry(sides[who], entry, row["group"] == "small")
    for side in sides.values():
        side.attempt(do="forget")
    kept = {key: row[key] for key in ("group", "problem", "readme", "bars")}
    return kept | {
        "dtype": shape.dtype,
        "d": shape.d,
        "causal": bool(shape.causal),
        "length": shape.skv,
        "page": shape.page,
        "flops": shape.flops,
        "bytes": shape.bytes,
        "kv_bytes": shape.kv_bytes,
        "sets": count,
        "order": order_of_rounds,
        "ours": [e for who, e in entries if who == "ours"],
        "peers": [e for who, e in entries if who == "torch"],
        "seconds": round(time.monotonic() - begin, 1),
        "load": os.getloadavg()[0],
        "smi": smi(),
    }


def roofline(sides, sizes, pool, path, found):
    """Adds a round of samples to found, {"copy", "linear": [ours, torch's]}."""
    n = sizes["gemm"]
    order = sizes | {
        "do": "roofline",
        "pool": str(path),
        "linear": f"linear X=bf16[{n},{n}] W=bf16[{n},{n}] Y=bf16[{n},{n}]",
        "rows": [0, n // 2 - 1, n - 1],
        "starts": {name: gpu_data.start_of(name, 0, len(pool.values)) for name in ("x", "w")},
    }
    expected = gpu_data.product(pool, order, n)
    for who, side in sides.items():
        entry = next((e for e in found.setdefault("linear", []) if e["who"] == who), None)
        if entry is None:
            entry = {"who": who, "problem": order["linear"], "flops": 2.0 * n**3}
            found["linear"].append(entry)
        if "missing" in entry or entry.get("check", "ok") != "ok":
            continue
        answer = side.attempt(**order)
        if not answer.get("ok"):
            entry["missing"] = answer["why"]
            continue
        if "copy" in answer:
            found.setdefault("copy", {"bytes": answer["copy"]["bytes"], "samples_ns": []})["samples_ns"] += answer[
                "copy"
            ]["samples_ns"]
        linear = answer["linear"]
        if "missing" in linear:
            entry["missing"] = linear["missing"]
            continue
        off = float(
            numpy.linalg.norm(numpy.array(linear["values"], dtype=float) - expected) / numpy.linalg.norm(expected)
        )
        entry |= {
            "path": linear["path"],
            "rel_err": off,
            "check": "ok" if off <= GEMM_GATE else f"relative error {off:.2g}, at most {GEMM_GATE:.0e}",
        }
        entry.setdefault("samples_ns", []).extend(linear["samples_ns"])


def graph(side, folder, options):
    """The round trip of a whole graph; with what is wrong in place of "ok" where it is."""
    part, indices, values = gpu_graph.make(folder, SEED)
    answer = side.attempt(do="graph", options=options, warmup=GRAPH_WARMUP, samples=GRAPH_RUNS, **part)
    if not answer.get("ok"):
        return {"missing": answer["why"], "options": options}
    kept = {
        key: answer[key] for key in ("host_ns", "device_ns", "device_missing", "nodes", "counters") if key in answer
    }
    for key in ("host_ns", "device_ns"):
        if key in kept:
            kept[key] = [round(sample) for sample in kept[key]]
    return kept | {"options": options, "check": gpu_graph.judge(answer, indices, values)}


def line_of(row):
    mine, best = gpu_result.arm(row), gpu_result.best_peer(row)
    ours = f"{gpu_result.speed(row, mine):8.1f} {gpu_result.unit(row):8}" if right(mine) else f"none: {why_none(mine)}"
    theirs = (
        f"{gpu_result.ratio(row, best):5.2f} x torch {best['arm']}"
        if best and gpu_result.ratio(row, best)
        else "no ratio"
    )
    others = ", ".join(
        f"{e['arm']} {gpu_result.speed(row, e):.4g}" if right(e) else f"{e['arm']} -"
        for e in row["ours"][1:] + row["peers"]
    )
    return f"{row['problem']:48} {ours}  {theirs}  ({others}; {row['seconds']} s)"


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument(
        "--built", type=pathlib.Path, required=True, help="the build folder with bin/gpu_contender and libsage_cuda.so"
    )
    flags.add_argument("--commit", required=True)
    flags.add_argument("--out", type=pathlib.Path, required=True)
    flags.add_argument("--quick", action="store_true")
    flags.add_argument("--only", default="", help="rows whose problem matches this expression")
    flags.add_argument("--seconds", type=float, default=0, help="no row is begun that would end later")
    flags.add_argument("--python", default=sys.executable, help="the Python that has torch")
    given = flags.parse_args()
    contenders.PATIENCE = PATIENCE
    rows = [r for r in (gpu_grid.quick() if given.quick else gpu_grid.grid()) if re.search(given.only, r["problem"])]
    sys.exit(run(given, rows, gpu_grid.OURS))


GRAPH_OPTIONS = {"graph_capture": "on", "backend_order": "cuda"}


def sides_of(given, plugin, device):
    """Both processes, not started yet."""
    threads = min(2, len(os.sched_getaffinity(0)))  # one for the calls, one for the driver's own
    # What contenders.environment hides from everybody is what is measured here.
    extra = {"CUDA_VISIBLE_DEVICES": visible()}
    arguments = ["--plugin", str(given.built / "lib/sage/plugins" / plugin), *device]
    program = contenders.Program("ours", given.built / "bin/gpu_contender", threads, arguments, extra)
    torch = contenders.Peer("torch", given.python, threads, "native", script="torch_gpu.py", extra=extra)
    return {"ours": Side("ours", program), "torch": Side("torch", torch)}


def report_of(given, sides, seconds):
    """The result before anything is measured."""
    hello = sides["ours"].peer.hello
    peers = {}
    for name, side in sides.items():
        said = side.peer.hello
        peers[name] = (
            {"missing": side.missing} if side.missing else {key: said[key] for key in ("versions", "settings")}
        )
    built_from = hello["settings"]["build"].split(", ")
    commit = built_from[2] if given.commit == "unknown" and len(built_from) > 2 else given.commit
    return {
        "what": gpu_result.WHAT,
        "commit": commit,
        "machine": machine.describe() | {"device": hello["device"], "smi": smi(), "load": list(os.getloadavg())},
        "peers": peers,
        "roofline": {},
        "rows": [],
        "graph": {},
        "settings": {
            "seed": SEED,
            "quick": given.quick,
            "seconds_allowed": seconds,
            "rounds": "everybody in turn, the order rotated by one each round",
            "samples": (
                "one call by CUDA events, all of a round enqueued before the first is waited for; short calls several"
                " in one recording; see each entry's how"
            ),
            "memory": (
                "all sets of tensors together at least twice the last cache, but for small rows: one set, as a table"
                " that stays where it is"
            ),
            "gates": gpu_data.GATES,
            "left_out_for_want_of_time": [],
        },
    }


def run(given, rows, arms, plugin="libsage_cuda.so", device=(), sizes=ROOFLINE, graph_options=GRAPH_OPTIONS):
    """Everything; returns the exit code. What follows arms is other in tests alone: the plugin that is asked whether
    it runs here and for the roofline, further arguments of the program, sizes, the session's options."""
    begin, seconds = time.monotonic(), given.seconds or SECONDS[given.quick]
    sides = sides_of(given, plugin, device)
    if not sides["ours"].start():
        print(f"gpu: {sides['ours'].missing}", file=sys.stderr)
        return NO_DEVICE
    sides["torch"].start()
    hello, report = sides["ours"].peer.hello, report_of(given, sides, seconds)
    print(
        f"{hello['device']['name']}; {len(rows)} rows, {seconds:.0f} s at most"
        + (f"; torch is missing: {sides['torch'].missing}" if sides["torch"].missing else ""),
        flush=True,
    )
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        pools = {}

        def pool_of(dtype):
            if dtype not in pools:
                path = pathlib.Path(folder, dtype)
                pools[dtype] = gpu_data.Pool(dtype, SEED), path
                pools[dtype][0].write(path)
            return pools[dtype]

        roofline(sides, sizes, *pool_of("bf16"), report["roofline"])
        longest = 0
        for row in rows:
            if time.monotonic() - begin + longest > seconds:
                report["settings"]["left_out_for_want_of_time"].append(row["problem"])
                continue
            report["rows"].append(
                measure(sides, row, hello["device"], *pool_of(gpu_grid.parse(row["problem"]).dtype), arms)
            )
            longest = max(longest, report["rows"][-1]["seconds"])
            print(line_of(report["rows"][-1]), flush=True)
            write(given.out, report)
        report["graph"] = graph(sides["ours"], folder, graph_options)
        roofline(sides, sizes, *pool_of("bf16"), report["roofline"])
    report["machine"]["load_after"] = list(os.getloadavg())
    report["settings"]["seconds"] = round(time.monotonic() - begin)
    for side in sides.values():
        side.stop()
    write(given.out, report)
    if report["graph"].get("host_ns"):
        print(
            f"context to experts: round trip {duration(gpu_result.percentile(report['graph']['host_ns'], 50))},"
            f" {report['graph']['check']}"
        )
    for miss in gpu_result.misses(report):
        print(f"bar missed: {miss}")
    print(f"{len(report['rows'])} rows in {report['settings']['seconds']} s, to {given.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    main()
