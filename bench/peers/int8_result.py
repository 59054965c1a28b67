"""A result of the int8 measurement: reading it, the bars of accuracy and speed, and who misses one. Whatever prints a figure
gets it here. Standard library only."""
import json
import statistics

from result import Malformed, median, right

WHAT = "int8 attention: accuracy against speed"


def accuracy_bar(name, d):
    """(least cosine, largest relative L1) that a mode of ours promises on all five distributions; None: it promises none."""
    return {"qk8_pv16": (0.9999, 0.012), "full": (0.9998, 0.025 if d <= 32 else 0.02)}.get(name)


def load(path):
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Malformed(f"{path}: {error}") from None
    for key in ("what", "commit", "machine", "settings", "peers", "rows"):
        if key not in found:
            raise Malformed(f"{path}: no {key!r} in it; bench/run --int8 writes such files")
    if found["what"] != WHAT:
        raise Malformed(f"{path}: it is {found['what']!r}, not {WHAT!r}")
    for index, row in enumerate(found["rows"]):
        for key in ("group", "problem", "data", "d", "length", "threads", "contenders"):
            if key not in row:
                raise Malformed(f"{path}: row {index} has no {key!r}")
    return found


def entry_of(row, name):
    return next((entry for entry in row["contenders"] if entry["name"] == name), None)


def speed(row, name, over="fp32"):
    """The time of ours in `over` over this contender's, above 1 where it is faster; None unless both answers were right."""
    entry, base = entry_of(row, name), entry_of(row, over)
    return median(base) / median(entry) if right(entry) and right(base) else None


def accuracy(row, name):
    entry = entry_of(row, name)
    return entry["accuracy"] if right(entry) else None


def accuracy_misses(result):
    """Sentences, one for each mode and row that is below its bar; a promised answer that is not there is one, too."""
    out = []
    for row in result["rows"]:
        for entry in row["contenders"]:
            bar = accuracy_bar(entry["name"], row["d"])
            if bar is None or row["group"] != "square":
                continue
            found = entry.get("accuracy")
            if found is None:
                out.append(f"{entry['name']} on {row['problem']}: {entry.get('missing') or entry.get('check', 'not measured')}")
                continue
            if found["cosine"] < bar[0]:
                out.append(f"{entry['name']} on {row['problem']}: cosine {found['cosine']:.6f}, at least {bar[0]} is promised")
            if found["rel_l1"] > bar[1]:
                out.append(f"{entry['name']} on {row['problem']}: relative L1 {found['rel_l1']:.4f}, at most {bar[1]} is promised")
    return out


# (group, contender, over which of ours, times as fast, shortest length): what the modes are for.
SPEED_BARS = (("square", "full", "fp32", 2.0, 1024), ("decode", "kv_cache", "fp32", 3.5, 4096), ("decode", "kv_cache", "bf16", 1.8, 4096))


def speed_misses(result):
    out = []
    for row in result["rows"]:
        for group, name, over, least, shortest in SPEED_BARS:
            if row["group"] != group or row["length"] < shortest:
                continue
            found = speed(row, name, over)
            if found is None:
                out.append(f"{name} on {row['problem']}: no ratio over our {over}")
            elif found < least:
                out.append(f"{name} on {row['problem']}: {found:.2f} times as fast as our {over}, at least {least} is wanted")
    return out


def counted(result):
    """(answers that have an accuracy bar, ratios that have a speed bar)."""
    bars = sum(accuracy_bar(entry["name"], row["d"]) is not None for row in result["rows"] if row["group"] == "square" for entry in row["contenders"])
    speeds = sum(row["group"] == group and row["length"] >= shortest for row in result["rows"] for group, _, _, _, shortest in SPEED_BARS)
    return bars, speeds


def middle(values):
    return statistics.median(values) if values else None
