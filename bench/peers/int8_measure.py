"""Runs the int8 grid: our modes, our fp32 and bf16, and the peers that have 8 bits, in turn, round by round, on the same
arrays; every answer is compared with float64, every sample kept. Run by bench/run --int8 in the peers' environment. It
decides no figure: those are made from the file it writes (int8_result.py).

  int8_measure.py --libsage build/release/lib --binding bindings/python --environment build/bench/peers-env --commit ID --out FILE [--quick]
"""
import argparse
import json
import os
import pathlib
import re
import sys
import tempfile
import time

import numpy

import accuracy
import contenders
import int8_grid
import int8_result
import machine
import problem as problems
from measure import SEED, attempt, write
from result import median, right

ROW_SECONDS = {"square": 8, "decode": 16}  # what a row took on two processors


def prepare(peers, row, problem):
    """[(peer or None, entry)]; the entry of one that is ready has check and accuracy, else missing."""
    rows = problems.rows_to_check(problem)
    expected = problems.oracle(problem, *problems.inputs(problem, SEED), rows)
    entries = []
    for name in row["contenders"]:
        peer, entry = peers[name], {"name": name}
        if isinstance(peer, str):
            entries.append((None, entry | {"missing": peer}))
            continue
        entries.append((peer, entry))
        text = contenders.with_arm(row["problem"], int8_grid.CONTENDERS[name][2])
        ready = attempt(peer, do="prepare", problem=text, seed=SEED, threads=row["threads"])
        if not ready.get("ok"):
            entry["missing"] = ready["why"]
            continue
        entry |= {"path": ready["path"], "layout": ready["layout"], "samples_ns": [], "rounds": []}
        with tempfile.TemporaryDirectory() as folder:
            written = attempt(peer, do="output", file=f"{folder}/o.npy")
            if written.get("ok"):
                entry |= accuracy.judge(name, problem, numpy.load(f"{folder}/o.npy"), expected, rows)
            else:
                entry |= {"check": written["why"], "accuracy": None}
    return entries


def time_one(peer, entry, row):
    if "missing" in entry or entry["check"] != "ok":
        return
    answer = attempt(peer, do="time", **{key: row[key] for key in ("seconds", "least", "most", "cap", "warmup")})
    if "samples_ns" not in answer:
        # Half a measurement is none: its medians would be of other minutes than everybody's.
        entry |= {"missing": answer["why"], "samples_ns": [], "rounds": []}
        return
    entry["samples_ns"] += answer["samples_ns"]
    entry["rounds"].append(len(answer["samples_ns"]))


def pids(entries):
    return [peer.process.pid for peer, _ in entries if peer is not None and peer.process is not None]


def measure(peers, row):
    problem = problems.parse(row["problem"])
    begin, stolen = time.monotonic(), machine.steal()
    entries = prepare(peers, row, problem)
    cores, alive = contenders.cores(row["threads"]), pids(entries)
    clock, busy, worked = time.monotonic(), machine.busy(cores), machine.worked(alive)
    for number in range(row["rounds"]):
        first = number % len(entries)
        for peer, entry in entries[first:] + entries[:first]:
            time_one(peer, entry, row)
    others = None  # a peer that died took its count along
    if pids(entries) == alive:
        clock = (time.monotonic() - clock) * len(cores)
        others = round(max(0.0, (machine.busy(cores) - busy - machine.worked(alive) + worked) / clock), 3)
    for peer, _ in entries:
        if peer is not None and peer.process is not None:
            attempt(peer, do="forget")
    kept = {key: row[key] for key in ("group", "problem", "data", "threads")}
    return kept | {"d": problem.d, "length": problem.skv, "flops": problem.flops, "kv_bytes": problem.kv_bytes,
                   "contenders": [entry for _, entry in entries], "seconds": round(time.monotonic() - begin, 1),
                   "load": os.getloadavg()[0], "others": others, "steal_ticks": machine.steal() - stolen}


def line_of(row):
    shown = []
    for entry in row["contenders"]:
        found = int8_result.speed(row, entry["name"])
        bits = f"{found:.2f}x 1-cos {1 - entry['accuracy']['cosine']:.0e}" if found else "none"
        shown.append(f"{entry['name']} {bits}" if entry["name"] != "fp32" or not right(entry) else f"fp32 {median(entry) / 1e6:.3g} ms")
    noise = f", others had {100 * row['others']:.0f} %" if (row["others"] or 0) > 0.03 else ""
    return f"{row['problem']:48} {'  '.join(shown)}  ({row['seconds']} s{noise})"


def start(report, needed, missing, python, extra):
    """name -> its process, or why there is none."""
    peers = {}
    for name in needed:
        script, arguments, _ = int8_grid.CONTENDERS[name]
        if name in missing:
            peers[name] = missing[name]
        else:
            try:
                peer = contenders.Peer(name, python, 1, "native", script, arguments, extra)
                peer.start()
                peers[name] = peer
                report["peers"][name] = {"versions": peer.hello["versions"], "settings": peer.hello["settings"]}
                continue
            except contenders.Gone as gone:
                peers[name] = str(gone)
        report["peers"][name] = {"missing": peers[name]}
    return peers


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--libsage", type=pathlib.Path, required=True, help="the folder of libsage.so.0")
    flags.add_argument("--binding", type=pathlib.Path, required=True, help="the folder of the package sage_engine")
    flags.add_argument("--environment", type=pathlib.Path, required=True)
    flags.add_argument("--commit", required=True)
    flags.add_argument("--out", type=pathlib.Path, required=True)
    flags.add_argument("--quick", action="store_true")
    flags.add_argument("--only", default="", help="rows whose problem matches this expression")
    given = flags.parse_args()
    rows = [r for r in (int8_grid.quick() if given.quick else int8_grid.grid()) if re.search(given.only, r["problem"])]
    if not rows:
        sys.exit(f"int8_measure: no row's problem matches {given.only!r}")
    missing = {}
    for stamp in ("peers.json", "peers-int8.json"):
        missing |= json.loads((given.environment / stamp).read_text())["missing"]
    report = {"what": int8_result.WHAT, "commit": given.commit, "machine": machine.describe(), "peers": {}, "rows": [],
              "settings": {"seed": SEED, "threads": 1, "rounds": "each contender in turn, the order rotated each round",
                           "samples": "one call each, from Python for everybody; one call before each round is not counted",
                           "inputs": "f32 of numpy, the same for everybody; what is stored otherwise (bf16, codes and scales of a cache) is made before, "
                                     "what a mode makes of f32 tensors is part of its call",
                           "accuracy": "against float64 of the f32 inputs, over at least 256 query rows of every head, or all",
                           "pinning": "the last core, the same for everybody", "memory": "caches as the call before left them; malloc with huge pages for everybody"}}
    expected = sum(ROW_SECONDS[r["group"]] for r in rows)
    print(f"{len(rows)} rows, about {max(1, round(expected / 60))} minutes on a quiet machine", flush=True)
    report["machine"]["load"] = list(os.getloadavg())
    begin, stolen = time.monotonic(), machine.steal()
    needed = [name for name in int8_grid.CONTENDERS if any(name in r["contenders"] for r in rows)]
    peers = start(report, needed, missing, given.environment / "bin" / "python",
                  {"SAGE_LIBRARY": str(given.libsage.resolve()), "PYTHONPATH": str(given.binding.resolve())})
    try:
        for r in rows:
            report["rows"].append(measure(peers, r))
            print(line_of(report["rows"][-1]), flush=True)
            write(given.out, report)
    finally:
        for peer in peers.values():
            if not isinstance(peer, str):
                peer.stop()
    report["machine"]["load_after"] = list(os.getloadavg())
    report["settings"] |= {"seconds": round(time.monotonic() - begin), "steal_ticks": machine.steal() - stolen}
    write(given.out, report)
    for name, peer in report["peers"].items():
        if "missing" in peer:
            print(f"missing: {name}: {peer['missing']}")
    for miss in int8_result.accuracy_misses(report) + int8_result.speed_misses(report):
        print(f"below its bar: {miss}")
    print(f"{len(report['rows'])} rows in {report['settings']['seconds']} s, to {given.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
