"""A result of bench/run --gpu as one HTML page that loads nothing: what was measured and how, which bars were missed,
speed over lengths, decoding, latency, and every row."""

import collections
import statistics

import gpu_grid
import svg
from gpu_result import (
    arm,
    bars,
    best_peer,
    copy_gbps,
    device,
    gemms,
    graph_right,
    has_bars,
    misses,
    peer,
    percentile,
    ratio,
    roofline,
    share,
    speed,
    unit,
)
from page import STYLE, cell
from result import duration, fastest, median, right, why_none
from svg import escaped

# Name in the result, what is shown, class in the style sheet, marker, thick.
OURS = [
    ("auto", "sage-engine", "ours", "circle", True),
    ("portable", "portable", "portable", "circle", False),
    ("hopper", "hopper", "hopper", "circle", False),
    ("decode", "decode", "hopper", "circle", False),
    ("small", "small", "portable", "circle", False),
    ("plain", "plain", "plain", "circle", False),
    ("cudnn backend", "our cudnn backend", "backend", "circle", False),
]
PEERS = [
    ("flash", "torch flash", "flashpeer", "square"),
    ("cudnn", "torch cuDNN", "cudnn", "diamond"),
    ("efficient", "torch efficient", "efficient", "triangle"),
    ("math", "torch math", "math", "cross"),
]
KINDS = [kind for _, _, kind, *_ in OURS] + [kind for _, _, kind, _ in PEERS]
COLOURS = """
:root { --portable: #8a5a44; --hopper: #b0327a; --plain: #8a6d00; --backend: #5b6470;
  --flashpeer: #2563a8; --cudnn: #0b7a5c; --efficient: #7a4fb5; --math: #5b6470; }
@media (prefers-color-scheme: dark) { :root { --portable: #c69a83; --hopper: #f08cc4; --plain: #d9bb45;
  --backend: #9aa4b0; --flashpeer: #74aef0; --cudnn: #4cc9a0; --efficient: #bb99f0; --math: #9aa4b0; } }
""" + "".join(
    f".mark.{k} *, .bar.{k} {{ fill: var(--{k}) }} .line.{k}, .mark.{k} .stroke {{ stroke: var(--{k}); }}\n"
    for k in dict.fromkeys(KINDS)
)
GROUPS = {"prefill": "All queries at once", "decode": "One query a head against a cache", "small": "Small shapes"}


def value(row, entry):
    return speed(row, entry) if right(entry) else None


def legend(result):
    there = {entry["arm"] for row in result["rows"] for entry in row["ours"] if right(entry)}
    shown = [(words, kind, shape) for name, words, kind, shape, _ in OURS if name in there]
    there = {entry["arm"] for row in result["rows"] for entry in row["peers"] if right(entry)}
    shown += [(words, kind, shape) for name, words, kind, shape in PEERS if name in there]
    items = "".join(
        '<span><svg width="30" height="14"><line x1="1" x2="29" y1="7" y2="7" class="line'
        f' {kind}"/>{svg.marker(15, 7, shape, kind, words)}</svg>{escaped(words)}</span>'
        for words, kind, shape in shown
    )
    return (
        f'<p class="legend">{items}<span><svg width="24" height="14"><line x1="1" x2="23" y1="7" y2="7"'
        ' class="level"/></svg>measured roofline, bars</span></p>\n'
    )


def series_of(rows):
    out = []
    for name, words, kind, shape, thick in OURS:
        out.append((words, kind, shape, [(row["length"], value(row, arm(row, name))) for row in rows], thick))
    for name, words, kind, shape in PEERS:
        out.append((words, kind, shape, [(row["length"], value(row, peer(row, name))) for row in rows], False))
    return [one for one in out[::-1] if any(y is not None for _, y in one[3])]  # ours on top


def levels_of(result, rows):
    """The roofline and the rows' bars as lines over their lengths."""
    found = collections.defaultdict(list)
    for row in rows:
        line = roofline(result, row)
        if line:
            found[line[0]].append((row["length"], line[1]))
            if row["group"] == "decode":
                found[f"{100 * gpu_grid.DECODE_SHARE:.0f} % of it"].append(
                    (row["length"], gpu_grid.DECODE_SHARE * line[1])
                )
        for words, wanted in row["bars"].items() if has_bars(result) else ():
            found[words].append((row["length"], wanted))
    return list(found.items())


def charts_of(result, group, key, title, x_name):
    groups = collections.defaultdict(list)
    for row in result["rows"]:
        if row["group"] == group:
            groups[key(row)].append(row)
    out = ""
    for name, rows in groups.items():
        rows.sort(key=lambda row: row["length"])
        if len(rows) > 1:
            out += svg.lines(title(name), series_of(rows), x_name, unit(rows[0]), levels_of(result, rows))
    return out


def prefill(result):
    return charts_of(
        result,
        "prefill",
        lambda row: (row["dtype"], row["d"], row["causal"]),
        lambda name: f"{name[0]}, d {name[1]}{', causal' if name[2] else ''}",
        "sequence length",
    )


def decoding(result):
    return charts_of(
        result,
        "decode",
        lambda row: (row["dtype"], row["page"]),
        lambda name: f"{name[0]}, {f'pages of {name[1]} keys' if name[1] else 'no pages'}",
        "keys in the cache",
    )


def small(result):
    charts = ""
    for row in result["rows"]:
        if row["group"] != "small":
            continue
        entries = [(words, kind, arm(row, name)) for name, words, kind, *_ in OURS if arm(row, name)]
        entries += [(words, kind, peer(row, name)) for name, words, kind, _ in PEERS if peer(row, name)]
        level = (
            next(((words, wanted / 1e3) for words, wanted in row["bars"].items()), None) if has_bars(result) else None
        )
        charts += svg.bars(
            f"{row['problem']}, us on the device",
            [
                (words, kind, value(row, e), duration(median(e)) if right(e) else why_none(e)[:44])
                for words, kind, e in entries
            ],
            level,
        )
    return charts


def round_trips(result):
    """Lines of text: the CPU's round trip beside the device's own time."""
    items = []
    for row in result["rows"]:
        for who, entries in (("", row["ours"]), ("torch ", row["peers"])):
            for entry in entries:
                trips = entry.get("round_trip_ns")
                if right(entry) and trips:
                    items.append(
                        f"<b>{escaped(row['problem'])}, {escaped(who + entry['arm'])}</b>: round trip p50"
                        f" {duration(percentile(trips, 50))}, p99 {duration(percentile(trips, 99))}; on the device"
                        f" {duration(median(entry))} a call"
                    )
    graph = result.get("graph") or {}
    if graph_right(graph):
        on_device = (
            f"on the device {duration(percentile(graph['device_ns'], 50))}"
            if graph.get("device_ns")
            else f"not timed on the device: {graph.get('device_missing', '')}"
        )
        where = collections.Counter(graph.get("nodes", {}).values())
        items.append(
            f"<b>context to the best {gpu_grid.GRAPH_BEST} of {gpu_grid.GRAPH_EXPERTS} experts</b>, a session with"
            " graph_capture=on, numbers on the CPU to numbers on the CPU: p50"
            f" {duration(percentile(graph['host_ns'], 50))}, p99 {duration(percentile(graph['host_ns'], 99))};"
            f" {escaped(on_device)}; nodes: "
            + escaped(", ".join(f"{count} on {name}" for name, count in sorted(where.items())))
        )
    elif graph:
        items.append(
            "<b>context to experts</b>: no figure:"
            f" {escaped(graph.get('missing') or graph.get('check', 'not measured'))}"
        )
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>\n" if items else ""


def missed(result):
    held, found = bars(result), misses(result)
    where = (
        ""
        if has_bars(result)
        else f" The absolute ones were set for {gpu_grid.DEVICE_OF_BARS} and do not hold for this device."
    )
    items = "".join(f"<li>{escaped(miss)}</li>" for miss in found)
    return (
        f"<p>Bars: {len(held)},"
        f" {'none is missed' if held and not found else f'{len(found)} missed'}.{escaped(where)}</p>\n"
        + (f"<ul>{items}</ul>\n" if items else "")
    )


def entry_cells(result, row, entry):
    if not right(entry):
        wrong = entry.get("check") not in (None, "ok")
        return cell("wrong" if wrong else "missing", "none", why_none(entry)) + cell("–", "none") * 8
    of = share(result, row, entry)
    found = ratio(row, entry) if any(entry is other for other in row["peers"]) else None
    priced = entry["price_ns"] / median(entry) if entry.get("price_ns") else None
    return (
        cell(f"{speed(row, entry):.4g} {unit(row)}", title=entry.get("path", ""))
        + cell(f"{100 * of:.0f} %" if of else "–", "" if of else "none")
        + cell(f"{found:.2f}" if found else "–", "low" if found and found < 1 else "" if found else "none")
        + cell(f"{priced:.2f}" if priced else "–", "" if priced else "none")
        + cell(f"{entry['rel_err']:.1e}", title=f"{entry['rows']} rows in float64")
        + cell(duration(median(entry)))
        + cell(duration(fastest(entry)))
        + cell(len(entry["samples_ns"]))
        + cell(entry.get("how", ""), "left")
    )


def table(result):
    heads = [
        "",
        "speed",
        "of roofline",
        "ours over it",
        "price over it",
        "error",
        "median",
        "min",
        "samples",
        "a sample is",
    ]
    out = '<div class="scroll"><table><tr>' + "".join(f"<th>{escaped(h)}</th>" for h in heads) + "</tr>\n"
    for group, title in GROUPS.items():
        rows = [row for row in result["rows"] if row["group"] == group]
        if rows:
            out += f'<tr class="head"><td colspan="{len(heads)}">{escaped(title)}</td></tr>\n'
        for row in rows:
            best = best_peer(row)
            found = ratio(row, best) if best else None
            words = f"{row['problem']}: {row['sets']} set{'s' * (row['sets'] != 1)} of tensors" + (
                f"; best peer torch {best['arm']}, {found:.2f}" if found else ""
            )
            out += f'<tr class="head"><td colspan="{len(heads)}">{escaped(words)}</td></tr>\n'
            for name, entries in (("", row["ours"]), ("torch ", row["peers"])):
                for entry in entries:
                    out += "<tr>" + cell(name + entry["arm"]) + entry_cells(result, row, entry) + "</tr>\n"
    return out + "</table></div>\n"


def missing(result):
    reasons = collections.Counter()
    for row in result["rows"]:
        for name, entries in (("sage-engine ", row["ours"]), ("torch ", row["peers"])):
            for entry in entries:
                if not right(entry):
                    reasons[name + entry["arm"], why_none(entry)] += 1
    items = [
        f"<b>{escaped(who)}</b>, {count} row{'s' * (count > 1)}: {escaped(why)}"
        for (who, why), count in sorted(reasons.items())
    ]
    for name, found in result["peers"].items():
        if "missing" in found:
            items.append(f"<b>{escaped(name)}</b>: {escaped(found['missing'])}")
    for entry in result["roofline"].get("linear", []):
        if not right(entry):
            items.append(f"<b>GEMM of the roofline, {escaped(entry['who'])}</b>: {escaped(why_none(entry))}")
    for problem in result["settings"].get("left_out_for_want_of_time", []):
        items.append(f"<b>{escaped(problem)}</b>: left out, the time was over")
    return (
        "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>\n"
        if items
        else "<p>Nobody is missing anywhere.</p>\n"
    )


def machine(result):
    m, d, s = result["machine"], device(result), result["settings"]
    versions = ", ".join(
        f"{name} {version}"
        for found in result["peers"].values()
        for name, version in found.get("versions", {}).items()
    )
    copy = (
        f"a copy within the device moves {copy_gbps(result):.0f} GB/s, read and written"
        if copy_gbps(result)
        else "the copy bandwidth was not measured"
    )
    gemm = ", ".join(f"{who} {found:.0f} TFLOP/s" for who, found in gemms(result))
    smi = ", ".join(f"{key} {value}" for key, value in m.get("smi", {}).items() if key != "name")
    return (
        f"<p>{escaped(d.get('name', 'unknown device'))}, sm_{escaped(d.get('capability', '').replace('.', ''))},"
        f" driver for CUDA {escaped(d.get('driver', ''))}; {escaped(copy)};"
        f" {escaped(f'bf16 GEMM of 8192: {gemm}' if gemm else 'no bf16 GEMM was measured')}."
        f" {escaped(m.get('processor', ''))}; {escaped(m.get('date', ''))}; commit {escaped(result['commit'])}; load"
        f" {m.get('load', [0])[0]:.2f} before, {m.get('load_after', [0])[0]:.2f} after; {s.get('seconds', 0)} s."
        f" {escaped(f'At the start: {smi}. ' if smi else '')}{escaped(versions)}.</p>\n"
    )


def clocks(result):
    found = [
        float(row["smi"]["clocks.sm"])
        for row in result["rows"]
        if row.get("smi", {}).get("clocks.sm", "").replace(".", "").isdigit()
    ]
    return (
        f'<p class="soft">The clock behind each row: {min(found):.0f} to {max(found):.0f} MHz, median'
        f" {statistics.median(found):.0f}.</p>\n"
        if found
        else ""
    )


def page(result):
    def section(title, words, body):
        return (
            f'<h2>{escaped(title)}</h2>\n<p class="soft">{escaped(words)}</p>\n<div class="charts">{body}</div>\n'
            if body
            else ""
        )

    trips = round_trips(result)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport"'
        ' content="width=device-width">\n<title>Attention on a'
        f" GPU</title>\n<style>{STYLE}{COLOURS}</style>\n<h1>Attention on a GPU</h1>\n{machine(result)}<p>Ours and"
        " torch's backends ran in turn on the same numbers, each in a process of its own; every answer was checked"
        " against float64 before anything was timed, and what was wrong or not done has no figure. Times are the"
        " device's own, by CUDA events. A ratio is the peer's median over ours: above 1 we are faster, below 1 it"
        f" is.</p>\n{missed(result)}{clocks(result)}{legend(result)}"
        + section(
            "Speed over sequence length",
            "4 b hq sq skv d operations a call, half of them under causal. Dashed: the GEMM of the same run, and"
            " bars.",
            prefill(result),
        )
        + section(
            "Decoding",
            "Everything a call has to read and write, a second, beside a copy within the device in the same run.",
            decoding(result),
        )
        + section("Small shapes", "A call's time on the device, of calls recorded together.", small(result))
        + (f"<h2>Round trips</h2>\n{trips}" if trips else "")
        + f"<h2>Every row</h2>\n{table(result)}"
        + f"<h2>Who has no figure, and why</h2>\n{missing(result)}</html>\n"
    )
