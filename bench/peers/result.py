"""A peers' result file: reading it, and every figure that is derived from its samples. Whatever prints a ratio gets it here,
so that the rule is in one place: a side whose answer was not checked and found right has no ratio. Standard library only."""
import json
import statistics


class Malformed(Exception):
    """The file is not such a result; the text says where."""


def load(path):
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Malformed(f"{path}: {error}") from None
    for key in ("commit", "machine", "settings", "peers", "rows"):
        if key not in result:
            raise Malformed(f"{path}: no {key!r} in it; bench/run --peers writes such files")
    for index, row in enumerate(result["rows"]):
        for key in ("group", "problem", "threads", "isa", "flops", "kv_bytes", "dtype", "d", "length", "ours", "peers"):
            if key not in row:
                raise Malformed(f"{path}: row {index} has no {key!r}")
    return result


def right(entry):
    return entry is not None and entry.get("check") == "ok" and bool(entry.get("samples_ns"))


def median(entry):
    """Nanoseconds, of an entry that has samples; else None."""
    return statistics.median(entry["samples_ns"]) if entry and entry.get("samples_ns") else None


def fastest(entry):
    return min(entry["samples_ns"]) if entry and entry.get("samples_ns") else None


def arm(row, name="default"):
    return next((entry for entry in row["ours"] if entry["arm"] == name), None)


def ratio(row, entry, of=median):
    """The peer's time over ours; None unless both answers were found right."""
    mine = arm(row)
    return of(entry) / of(mine) if right(mine) and right(entry) else None


def best_peer(row):
    """The entry of the fastest peer with a right answer; held to the row's instruction set, where one is asked for."""
    able = [entry for entry in row["peers"] if right(entry) and entry.get("held", True)]
    return min(able, key=median, default=None)


def speed(row, entry):
    """GFLOP/s, or GB/s of K and V where the row is a decoding one; None without a right answer."""
    if not right(entry):
        return None
    return (row["kv_bytes"] if row["group"] == "decode" else row["flops"]) / median(entry)


def peaks(row):
    """What the row's threads reach in the same run: [(name, GFLOP/s)], or the plain read [(name, GB/s)] of a decoding row."""
    line = row.get("roofline", {})
    if row["group"] == "decode":
        return [("plain read", line["footprint_gbps"])] if line.get("footprint_gbps") else []
    prefix = "threads_" if row["threads"] > 1 else ""
    names = [("fp32 multiply-adds", "fma_gflops")] + ([("bf16 dot products", "bf16_gflops")] if row["dtype"] == "bf16" else [])
    return [(name, line[prefix + key]) for name, key in names if line.get(prefix + key)]


def unit(row):
    return "GB/s" if row["group"] == "decode" else "GFLOP/s"


def duration(nanoseconds):
    if nanoseconds is None:
        return "-"
    for size, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {name}"
    return f"{nanoseconds:.0f} ns"


def why_none(entry):
    """The reason that an entry has no figure, for people."""
    if entry is None:
        return "not measured"
    return entry.get("missing") or (entry["check"] if entry.get("check") not in (None, "ok") else "no samples")
