"""What bench/run --gpu measured of our own kernels, as the table of rates by which the plugins cuda and cudnn price
attention (options cuda.rates= and cudnn.rates=; docs/cuda.md, "What decides the price"). Standard library only.

  gpu_rates.py RESULT.json OUT.txt

A rate is a share of what the device could do at most by what it says of itself, which the result has as its device's
"peaks": of prefill 4 b hq sq skv d operations (half under causal) over the peak of 16-bit products on tensor cores, of
decode the bytes of Q, K, V and O over the memory's. The time is the median.

Not in it: arms that chose for themselves (auto), rows in pages (a row of a table knows no pages, and without them is
what most has), small rows (launches decide them, whose price is no rate), types of more than 16 bits, and whatever was
missing or wrong.
"""

import argparse
import pathlib
import sys

import gpu_result
from result import Malformed, median, right

HEADER = (
    "# Rates of attention by bench/run --gpu on {name}, commit {commit}; how to use them: docs/cuda.md, What decides"
    " the price.\n# engine arch d class mask length share source\n"
)
# Of several rows of one key the first of these is taken.
DTYPES = ("bf16", "f16")


class NoRates(Exception):
    """The result has nothing to make a table of; why, as a sentence."""


def engine(entry):
    """The table's name of an arm; empty where it has none."""
    if entry.get("backend") == "cudnn":
        return "cudnn"
    family = entry.get("options", {}).get("cuda.kernels", "auto")
    return f"cuda.{family}" if entry.get("backend") == "cuda" and family != "auto" else ""


def share(row, entry, peaks):
    """(the rate as a share, in words)."""
    ns, speed = median(entry), gpu_result.speed(row, entry)
    words = f"{speed:.4g} {gpu_result.unit(row)}"
    if row["group"] == "decode":
        return row["bytes"] / ns / peaks["bytes_per_ns"], words
    return row["flops"] / ns / peaks["tensor_flops_per_ns"], words


def rates(result):
    """{(engine, d, class, mask, length): (share, words)}."""
    peaks, found = gpu_result.device(result).get("peaks", {}), {}
    if not peaks.get("tensor_flops_per_ns", 0) > 0 or not peaks.get("bytes_per_ns", 0) > 0:
        raise NoRates("the result has no peaks of its device: it is of an older bench/run --gpu; measure anew")
    rows = [r for r in result["rows"] if r["group"] in ("prefill", "decode") and not r["page"] and r["dtype"] in DTYPES]
    for row in sorted(rows, key=lambda r: DTYPES.index(r["dtype"])):
        # Causal hides next to nothing from few queries.
        mask = "causal" if row["causal"] and row["group"] == "prefill" else "none"
        for entry in row["ours"]:
            key = (engine(entry), row["d"], row["group"], mask, row["length"])
            if key[0] and right(entry):
                found.setdefault(key, share(row, entry, peaks))
    if not found:
        raise NoRates("no arm of ours has a figure: a table of rates is made of cuda.kernels= by name and of cudnn")
    return found


def table(result):
    """The text of the file."""
    found, device = rates(result), gpu_result.device(result)
    architecture = device.get("capability", "").replace(".", "")
    if not architecture.isdigit():
        raise NoRates(f"the device's compute capability is {device.get('capability')!r}, expected one as 9.0")
    lines = [HEADER.format(name=device["name"].replace("\n", " "), commit=result["commit"])]
    for (name, d, group, mask, length), (part, words) in sorted(found.items()):
        lines.append(f"{name} {architecture} {d} {group} {mask} {length} {part:.4g} measured  # {words}\n")
    return "".join(lines)


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("result", type=pathlib.Path, help="of bench/run --gpu")
    flags.add_argument("out", type=pathlib.Path)
    given = flags.parse_args()
    try:
        given.out.write_text(table(gpu_result.load(given.result)))
    except (NoRates, Malformed, OSError) as why:
        print(f"gpu_rates: {why}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
