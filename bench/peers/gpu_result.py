"""A result of bench/run --gpu: reading it, every figure derived from its samples, the bars and who misses one.
Whatever prints a figure gets it here, so that the rule is in one place: a side whose answer was not checked and found
right has none. Standard library only."""

import json
import statistics

import gpu_grid
from result import Malformed, median, right

WHAT = "attention on a GPU beside its peers"


def load(path):
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Malformed(f"{path}: {error}") from None
    for key in ("what", "commit", "machine", "settings", "peers", "roofline", "rows"):
        if key not in found:
            raise Malformed(f"{path}: no {key!r} in it; bench/run --gpu writes such files")
    if found["what"] != WHAT:
        raise Malformed(f"{path}: it is {found['what']!r}, not {WHAT!r}")
    for index, row in enumerate(found["rows"]):
        for key in ("group", "problem", "d", "length", "causal", "page", "flops", "bytes", "ours", "peers", "bars"):
            if key not in row:
                raise Malformed(f"{path}: row {index} has no {key!r}")
    return found


def device(result):
    return result["machine"].get("device", {})


def arm(row, name="auto"):
    return next((entry for entry in row["ours"] if entry["arm"] == name), None)


def peer(row, name):
    return next((entry for entry in row["peers"] if entry["arm"] == name), None)


def ratio(row, entry):
    """The peer's median over that of our `auto`, above 1 where we are faster; None unless both answers were found
    right."""
    mine = arm(row)
    return median(entry) / median(mine) if right(mine) and right(entry) else None


def best_peer(row):
    return min((entry for entry in row["peers"] if right(entry)), key=median, default=None)


def speed(row, entry):
    """TFLOP/s; of decoding GB/s of everything that a call has to read and write; of small rows the call's
    microseconds. None without a right answer."""
    if not right(entry):
        return None
    if row["group"] == "small":
        return median(entry) / 1e3
    return row["bytes"] / median(entry) if row["group"] == "decode" else row["flops"] / median(entry) / 1e3


def unit(row):
    return {"decode": "GB/s", "small": "us"}.get(row["group"], "TFLOP/s")


def percentile(samples, part):
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * part // 100) - 1)]


def copy_gbps(result):
    """Bytes read and written a nanosecond, by the median copy."""
    copy = result["roofline"].get("copy") or {}
    return copy["bytes"] / statistics.median(copy["samples_ns"]) if copy.get("samples_ns") else None


def gemms(result):
    """[(who, TFLOP/s)] of those whose product was checked and right."""
    return [
        (found["who"], found["flops"] / median(found) / 1e3)
        for found in result["roofline"].get("linear", [])
        if right(found)
    ]


def roofline(result, row):
    """(name, speed) that this run's device reached, in the row's unit; None where it was not measured."""
    if row["group"] == "decode":
        copy = copy_gbps(result)
        return ("copy", copy) if copy else None
    best = max(gemms(result), key=lambda found: found[1], default=None)
    return (f"bf16 GEMM ({best[0]})", best[1]) if best and row["group"] == "prefill" else None


def share(result, row, entry):
    line, found = roofline(result, row), speed(row, entry)
    return found / line[1] if line and found else None


def arm_of_bar(words):
    """Whose figure a bar is about."""
    return next((name for name in ("portable", "hopper") if words.startswith(name)), "auto")


def has_bars(result):
    """Whether this is the device that the absolute bars were set for."""
    return gpu_grid.DEVICE_OF_BARS in device(result).get("name", "")


def bars(result):
    """[(what, reached or None, bar, met)], of every bar that holds here. reached is None where there is no right
    answer."""
    out = []
    for row in result["rows"]:
        for words, wanted in row["bars"].items() if has_bars(result) else ():
            entry = arm(row, arm_of_bar(words))
            reached = speed(row, entry)
            least = row["group"] != "small"
            bar = wanted if least else wanted / 1e3
            met = reached is not None and (reached >= bar if least else reached <= bar)
            out.append(
                (
                    (
                        f"{row['problem']}, {arm_of_bar(words)}: {words}, {'at least' if least else 'at most'} {bar:g}"
                        f" {unit(row)}"
                    ),
                    reached,
                    bar,
                    met,
                )
            )
        if row["group"] == "decode" and copy_gbps(result):
            reached = share(result, row, arm(row))
            out.append(
                (
                    f"{row['problem']}: share of the copy bandwidth, at least {gpu_grid.DECODE_SHARE:g}",
                    reached,
                    gpu_grid.DECODE_SHARE,
                    reached is not None and reached >= gpu_grid.DECODE_SHARE,
                )
            )
        if row["group"] == "decode" and row["page"]:
            plain = next((r for r in result["rows"] if r["problem"] == row["problem"].partition(":")[0]), None)
            if plain is not None:
                both = right(arm(row)) and right(arm(plain))
                reached = median(arm(plain)) / median(arm(row)) if both else None
                out.append(
                    (
                        f"{row['problem']}: as fast as without pages, at least {gpu_grid.PAGED_SHARE:g} of it",
                        reached,
                        gpu_grid.PAGED_SHARE,
                        both and reached >= gpu_grid.PAGED_SHARE,
                    )
                )
    graph = result.get("graph") or {}
    if has_bars(result) and graph:
        reached = percentile(graph["host_ns"], 50) / 1e3 if graph_right(graph) else None
        out.append(
            (
                (
                    f"context to the best {gpu_grid.GRAPH_BEST} of {gpu_grid.GRAPH_EXPERTS}, round trip: at most"
                    f" {gpu_grid.GRAPH_NS / 1e3:g} us"
                ),
                reached,
                gpu_grid.GRAPH_NS / 1e3,
                reached is not None and reached <= gpu_grid.GRAPH_NS / 1e3,
            )
        )
    return out


def graph_right(graph):
    return graph.get("check") == "ok" and bool(graph.get("host_ns"))


def misses(result):
    """Sentences, one for each bar that is not met."""
    return [
        f"{what}: {f'{reached:.3g}' if reached is not None else 'no right answer'}"
        for what, reached, _, met in bars(result)
        if not met
    ]
