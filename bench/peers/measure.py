"""Runs the grid: ours and the peers in turn, round by round, every answer checked, every sample kept. Run by bench/run in the
peers' environment. It decides no figure: those are made from the file it writes (result.py).

  measure.py --engine build/release/bin/sage-engine --environment build/bench/peers-env --commit ID --out FILE [--quick]
"""
import argparse
import collections
import json
import os
import pathlib
import re
import sys
import tempfile
import time

import numpy

import contenders
import grid
import machine
import problem as problems
import result

SEED = 20261
ROW_SECONDS = {False: 17, True: 12}  # by --quick: what a row took on two processors
REFERENCE_RATE = 1.6e8  # multiply-adds a second that the float64 reference does, about


def attempt(peer, **order):
    try:
        answer = peer.order(**order)
    except contenders.Gone as gone:
        return {"ok": False, "why": str(gone)}
    if "missing" in answer:
        return {"ok": False, "why": answer["missing"]}
    return answer


def prepare(peers, row, problem):
    """A list of (peer, entry); the entry of one that is ready has check and path, else missing."""
    rows = problems.rows_to_check(problem)
    expected = problems.oracle(problem, *problems.inputs(problem, SEED), rows)
    entries = []
    for name, peer in peers.items():
        entry = {"peer": name}
        entries.append((peer, entry))
        if isinstance(peer, str):
            entry["missing"] = peer
            continue
        entry["held"] = peer.held
        ready = attempt(peer, do="prepare", problem=row["problem"], seed=SEED, threads=row["threads"])
        if not ready.get("ok"):
            entry["missing"] = ready["why"]
            continue
        entry |= {"path": ready["path"], "layout": ready["layout"], "samples_ns": [], "rounds": []}
        with tempfile.TemporaryDirectory() as folder:
            written = attempt(peer, do="output", file=f"{folder}/o.npy")
            if written.get("ok"):
                entry |= problems.check(problem, numpy.load(f"{folder}/o.npy"), expected, rows)
            else:
                entry["check"] = written["why"]
    return entries


def time_peer(peer, entry, row):
    if "missing" in entry:
        return
    answer = attempt(peer, do="time", **{key: row[key] for key in ("seconds", "least", "most", "cap", "warmup")})
    if "samples_ns" not in answer:
        entry["missing"] = answer["why"]
        return
    entry["samples_ns"] += answer["samples_ns"]
    entry["rounds"].append(len(answer["samples_ns"]))


def time_ours(engine, entry, row, first, rooflines):
    if "missing" in entry or entry.get("check", "ok") != "ok":
        return
    addition, options = grid.ARMS[entry["arm"]]
    # The first process of the default arm checks 256 rows or more; later ones and the other arms, on the same data, that
    # nothing went astray.
    check_time = 0.05 if not first else min(8, max(0.5, row["check_time"])) if entry["arm"] == "default" else 0.5
    got = contenders.ours(engine, row, addition, options, check_time)
    entry["command"] = got["command"]
    if "row" not in got:
        entry["check" if got["wrong"] else "missing"] = got["why"]
        return
    if first:
        entry |= {"samples_ns": [], "rounds": [], "check": "ok", "rel_err": got["row"]["rel_err"],
                  "max_abs_err": got["row"]["max_abs_err"], "note": got["row"].get("note", "every row checked")}
    entry["samples_ns"] += [round(sample) for sample in got["row"]["samples_ns"]]
    entry["rounds"].append(len(got["row"]["samples_ns"]))
    rooflines.append(got["roofline"])


def combined(rooflines):
    """One roofline of a row: the best of the peaks, the median of the streams over the problem's own footprint."""
    if not rooflines:
        return {}
    line = {key: max(r.get(key, 0) for r in rooflines) for key in ("fma_gflops", "bf16_gflops", "stream_gbps")}
    same = [r["same_threads"] for r in rooflines if "same_threads" in r]
    if same:
        for key in ("fma_gflops", "bf16_gflops"):
            line[f"threads_{key}"] = max(s.get(key, 0) for s in same)
        line["footprint_bytes"] = same[0]["footprint_bytes"]
        line["footprint_gbps"] = sorted(s["footprint_gbps"] for s in same)[len(same) // 2]
        line["footprint_gbps_best"] = max(s["footprint_gbps_best"] for s in same)
    return line


def measure(engine, peers, row):
    problem = problems.parse(row["problem"])
    row = dict(row, check_time=256 * problem.hq * problem.skv * problem.d / REFERENCE_RATE)
    begin, stolen = time.monotonic(), machine.steal()
    entries = prepare(peers, row, problem)
    mine = [{"arm": arm} for arm in row["arms"]]
    rooflines = []
    turns = [("ours", entry) for entry in mine] + [(peer, entry) for peer, entry in entries]
    cores = contenders.cores(row["threads"])
    alive = [peer.process.pid for peer, _ in entries if not isinstance(peer, str) and peer.process is not None]
    clock, busy, worked = time.monotonic(), machine.busy(cores), machine.worked(alive)
    for number in range(row["rounds"]):
        for who, entry in turns[number % len(turns):] + turns[:number % len(turns)]:
            if who == "ours":
                time_ours(engine, entry, row, number == 0, rooflines)
            else:
                time_peer(who, entry, row)
    still = [peer.process.pid for peer, _ in entries if not isinstance(peer, str) and peer.process is not None]
    others = None  # a peer that died took its count along
    if still == alive:
        clock = (time.monotonic() - clock) * len(cores)
        others = round(max(0.0, (machine.busy(cores) - busy - machine.worked(alive) + worked) / clock), 3)
    for peer, entry in entries:
        if not isinstance(peer, str) and peer.process is not None:
            attempt(peer, do="forget")
    kept = {key: row[key] for key in ("group", "problem", "threads", "isa", "readme")}
    return kept | {"dtype": problem.dtype, "d": problem.d, "causal": bool(problem.causal),
                   "length": problem.skv, "flops": problem.flops, "kv_bytes": problem.kv_bytes,
                   "roofline": combined(rooflines), "ours": mine, "peers": [entry for _, entry in entries],
                   "seconds": round(time.monotonic() - begin, 1), "load": os.getloadavg()[0], "others": others, "steal_ticks": machine.steal() - stolen}


def line_of(row):
    mine, best = result.arm(row), result.best_peer(row)
    ours = f"{result.speed(row, mine):8.1f} {result.unit(row):7}" if result.right(mine) else f"none: {result.why_none(mine)}"
    theirs = f"{result.ratio(row, best):6.2f} x {best['peer']}" if best and result.ratio(row, best) else "no ratio"
    noise = f", others had {100 * row['others']:.0f} %" if (row["others"] or 0) > 0.03 else ""
    return f"{row['problem']:52} {row['threads']}t {row['isa']:6} {ours}  {theirs}  ({row['seconds']} s{noise})"


def write(path, report):
    part = path.with_suffix(".part")
    part.write_text(json.dumps(report, separators=(",", ":")).replace('{"group"', '\n{"group"') + "\n")
    part.rename(path)


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--engine", type=pathlib.Path, required=True)
    flags.add_argument("--environment", type=pathlib.Path, required=True)
    flags.add_argument("--commit", required=True)
    flags.add_argument("--out", type=pathlib.Path, required=True)
    flags.add_argument("--quick", action="store_true")
    flags.add_argument("--only", default="", help="rows whose problem matches this expression")
    given = flags.parse_args()
    rows = [r for r in (grid.quick() if given.quick else grid.grid()) if re.search(given.only, r["problem"])]
    possible = [r for r in rows if r["threads"] <= len(os.sched_getaffinity(0))]
    left_out = [r["problem"] for r in rows if r not in possible]
    missing = json.loads((given.environment / "peers.json").read_text())["missing"]
    report = {"what": "attention beside its peers", "commit": given.commit, "machine": machine.describe(), "peers": {}, "rows": [],
              "settings": {"seed": SEED, "rounds": "ours and each peer in turn, the order rotated each round",
                           "samples": "one call each; before each round two calls are not counted, one above 4096 queries", "pinning": "the last cores, the same for everybody",
                           "memory": "caches as the call before left them; malloc with huge pages for everybody",
                           "left_out_for_want_of_processors": left_out}}
    print(f"{len(possible)} rows, about {max(1, round(len(possible) * ROW_SECONDS[given.quick] / 60))} minutes on a quiet machine", flush=True)
    report["machine"]["load"] = list(os.getloadavg())
    begin, stolen = time.monotonic(), machine.steal()
    groups = collections.defaultdict(list)
    for r in possible:
        groups[r["threads"], r["isa"]].append(r)
    for (threads, isa), members in groups.items():
        peers = {}
        for name in contenders.DRIVERS:
            if name in missing:
                peers[name] = missing[name]
                report["peers"][name] = {"missing": missing[name]}
                continue
            peer = contenders.Peer(name, given.environment / "bin" / "python", threads, isa)
            try:
                peer.start()
                peers[name] = peer
                said = report["peers"].setdefault(name, {"settings": {}})
                said.pop("missing", None)
                said["versions"] = peer.hello["versions"]
                said.setdefault("settings", {})[f"{threads} thread{'s' * (threads > 1)}, {isa}"] = peer.hello["settings"]
            except contenders.Gone as gone:
                peers[name] = str(gone)
                report["peers"].setdefault(name, {"missing": str(gone)})
        for r in members:
            report["rows"].append(measure(given.engine, peers, r))
            print(line_of(report["rows"][-1]), flush=True)
            write(given.out, report)
        for peer in peers.values():
            if not isinstance(peer, str):
                peer.stop()
    report["machine"]["load_after"] = list(os.getloadavg())
    report["settings"] |= {"seconds": round(time.monotonic() - begin), "steal_ticks": machine.steal() - stolen}
    write(given.out, report)
    for name, peer in report["peers"].items():
        if "missing" in peer:
            print(f"missing: {name}: {peer['missing']}")
    print(f"{len(report['rows'])} rows in {report['settings']['seconds']} s, to {given.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
