"""Which rows of a peers' result make which chart. A contender's figure is drawn only where its answer was found right."""
import collections

import svg
from result import arm, duration, median, peaks, right, speed, why_none

# Name in the result, class in the style sheet, marker.
PEERS = [("torch", "torch", "square"), ("onnxruntime", "ort", "diamond"), ("openvino", "openvino", "triangle"), ("jax", "jax", "cross")]
ARMS = [("default", "sage-engine", "ours", "circle", True), ("flash", "flash", "flash", "circle", False),
        ("materialised", "materialised", "materialised", "circle", False)]


def entry_of(row, peer):
    return next((e for e in row["peers"] if e["peer"] == peer), None)


def value(row, entry):
    return speed(row, entry) if right(entry) else None


def legend(result, arms=True):
    shown = [(name, kind, shape) for _, name, kind, shape, thick in ARMS if arms or thick]
    shown += [(name, kind, shape) for name, kind, shape in PEERS if "missing" not in result["peers"].get(name, {"missing": ""})]
    items = "".join(f'<span><svg width="30" height="14"><line x1="1" x2="29" y1="7" y2="7" class="line {kind}"/>{svg.marker(15, 7, shape, kind, name)}</svg>'
                    f"{svg.escaped(name)}</span>" for name, kind, shape in shown)
    return f'<p class="legend">{items}<span><svg width="24" height="14"><line x1="1" x2="23" y1="7" y2="7" class="level"/></svg>measured roofline</span></p>\n'


def heads(row):
    fields = dict((f.rstrip("0123456789"), f) for f in row["problem"].partition(":")[0].split("."))
    return f"{fields.get('hq', '')[2:]}/{fields.get('hkv', '')[3:]}"


def series_of(rows):
    out = []
    for name, shown, kind, shape, thick in ARMS:
        values = [(row["length"], value(row, arm(row, name))) for row in rows]
        if any(y is not None for _, y in values):
            out.append((shown, kind, shape, values, thick))
    for name, kind, shape in PEERS:
        out.append((name, kind, shape, [(row["length"], value(row, entry_of(row, name))) for row in rows], False))
    return out[::-1]  # ours on top


def levels_of(rows):
    """The rows' rooflines as lines over their lengths: [(name, [(length, peak)])]."""
    found = collections.defaultdict(list)
    for row in rows:
        for name, peak in peaks(row):
            found[name].append((row["length"], peak))
    return list(found.items())


def by_length(result):
    """Speed over sequence length, a chart per dtype, head dimension, mask and threads."""
    groups = collections.defaultdict(list)
    for row in result["rows"]:
        if row["group"] == "prefill" and row["isa"] == "native":
            groups[row["threads"], row["dtype"], row["d"], row["causal"]].append(row)
    charts = ""
    for (threads, dtype, d, causal), rows in groups.items():
        rows.sort(key=lambda row: row["length"])
        if len(rows) < 2:
            continue
        title = f"{dtype}, d {d}{', causal' if causal else ''}, {threads} thread{'s' * (threads > 1)}"
        charts += svg.lines(title, series_of(rows), "sequence length", "GFLOP/s", levels_of(rows))
    return charts


def decoding(result):
    groups = collections.defaultdict(list)
    for row in result["rows"]:
        if row["group"] == "decode":
            groups[row["threads"], row["dtype"]].append(row)
    charts = ""
    for (threads, dtype), rows in groups.items():
        rows.sort(key=lambda row: row["length"])
        title = f"{dtype}, {heads(rows[0])} heads, d {rows[0]['d']}, {threads} thread{'s' * (threads > 1)}"
        if len(rows) > 1:
            charts += svg.lines(title, series_of(rows), "keys in the cache", "GB/s of K and V", levels_of(rows))
    return charts


def floor_of(row):
    """What the roofline allows for the work alone, as a level in microseconds; a call has its own price on top."""
    line = row["roofline"]
    if not line.get("fma_gflops") or not line.get("footprint_gbps"):
        return None
    least = max(row["flops"] / line["fma_gflops"], row["kv_bytes"] / line["footprint_gbps"])
    return f"roofline {duration(least)}", least / 1e3


def small(result):
    charts = ""
    for row in result["rows"]:
        if row["group"] != "small":
            continue
        entries = [("sage-engine", "ours", arm(row))] + [(name, kind, entry_of(row, name)) for name, kind, _ in PEERS]
        charts += svg.bars(row["problem"], [
            (name, kind, median(e) / 1e3 if right(e) else None, duration(median(e)) if right(e) else why_none(e)[:44])
            for name, kind, e in entries], floor_of(row))
    return charts


def scaling(result):
    alone = {(row["problem"], row["isa"]): row for row in result["rows"] if row["threads"] == 1}
    charts = ""
    for row in result["rows"]:
        other = alone.get((row["problem"], row["isa"]))
        if row["threads"] == 1 or other is None:
            continue
        entries = []
        for name, kind, one, many in [("sage-engine", "ours", arm(other), arm(row))] + [
                (name, kind, entry_of(other, name), entry_of(row, name)) for name, kind, _ in PEERS]:
            both = right(one) and right(many)
            gain = median(one) / median(many) if both else None
            entries.append((name, kind, gain, f"{gain:.2f}" if both else why_none(many if right(one) else one)[:44]))
        charts += svg.bars(row["problem"], entries, (f"{row['threads']} threads", row["threads"]))
    return charts


def accuracy(result):
    groups = collections.defaultdict(list)
    for row in result["rows"]:
        if row["group"] in ("prefill", "grouped") and row["threads"] == 1 and row["isa"] == "native":
            groups[row["dtype"]].append(row)
    charts = ""
    for dtype, rows in groups.items():
        series = []
        for name, kind, shape in [("sage-engine", "ours", "circle")] + PEERS:
            mine = name == "sage-engine"
            entries = [(row, arm(row) if mine else entry_of(row, name)) for row in rows]
            series.append((name, kind, shape, [(speed(row, e), e["rel_err"], f"{row['problem']}: {speed(row, e):.4g} GFLOP/s, error {e['rel_err']:.2g}")
                                               for row, e in entries if right(e) and e.get("rel_err")]))
        found = collections.defaultdict(float)
        for row in rows:
            for name, peak in peaks(row):
                found[name] = max(found[name], peak)
        charts += svg.points(f"{dtype}, 1 thread", series[::-1], "GFLOP/s", "relative error against float64", list(found.items()))
    return charts
