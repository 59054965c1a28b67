"""Numbers and answers of bench/run --gpu: one pool of random numbers from which everybody fills every tensor, and the
rows that are computed in float64. bench/gpu/problem_sets.h says how a tensor is read out of the pool, and why. It
runs nothing but numpy.
"""

import math

import numpy

POOL = 4194301  # prime
# A relative error (of the 2-norms, over all rows that were computed) above this is a wrong answer, on either side.
GATES = {"f32": 1e-5, "f16": 2e-3, "bf16": 5e-3}
HEADS, POSITIONS = 8, 16  # of which rows are computed, at most
PAGE_STEP, PAGE_START = 7919, 13
TENSORS = ("q", "k", "v")


def rounded(numbers, dtype):
    """float32 as the dtype stores it: an array of its raw elements, and their values as float64."""
    if dtype == "f32":
        return numbers, numbers.astype(numpy.float64)
    if dtype == "f16":
        raw = numbers.astype(numpy.float16)
        return raw, raw.astype(numpy.float64)
    bits = numbers.view(numpy.uint32).astype(numpy.uint64)
    raw = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)  # to nearest, halves to even
    return raw, (raw.astype(numpy.uint32) << 16).view(numpy.float32).astype(numpy.float64)


class Pool:
    """About N(0,1) in a dtype: raw elements for the contenders' file, values for the answers."""

    def __init__(self, dtype, seed, size=POOL):
        self.dtype = dtype
        self.raw, self.values = rounded(
            numpy.random.default_rng(seed).standard_normal(size, dtype=numpy.float32), dtype
        )

    def write(self, path):
        self.raw.tofile(path)

    def part(self, start, first, count):
        """Elements first .. first + count of the tensor that begins at element `start`."""
        size = len(self.values)
        at = (start + first) % size
        if at + count <= size:
            return self.values[at : at + count]
        rest = count - (size - at)
        return numpy.concatenate([self.values[at:], *[self.values] * (rest // size), self.values[: rest % size]])


def start_of(tensor, number, size=POOL):
    """Where tensor q, k or v (or any other number of a tensor) of a set begins."""
    which = TENSORS.index(tensor) if tensor in TENSORS else 3 + ord(tensor[0])
    return (which * 1000003 + number * 700001 + 17) % size


def starts(count, size=POOL):
    return {tensor: [start_of(tensor, number, size) for number in range(count)] for tensor in TENSORS}


def page_step(pages):
    """A step that reaches every page once: prime to their number."""
    step = PAGE_STEP
    while math.gcd(step, pages) != 1:
        step += 2
    return step


def order(shape, count, path, size=POOL):
    """The order "prepare" of both drivers."""
    return {
        "do": "prepare",
        "problem": shape.text,
        "pool": str(path),
        "starts": starts(count, size),
        "page_start": PAGE_START,
        "page_step": page_step(shape.pages) if shape.page else 1,
    }


def rows_to_check(shape):
    """Numbers of rows of [B,Hq,Sq]: of some heads, the first and the last among them, positions spread evenly over
    all with both ends."""
    pairs = shape.b * shape.hq
    heads = numpy.unique(numpy.linspace(0, pairs - 1, min(HEADS, pairs)).round().astype(int))
    positions = numpy.unique(numpy.linspace(0, shape.sq - 1, min(POSITIONS, shape.sq)).round().astype(int))
    return [int(pair) * shape.sq + int(i) for pair in heads for i in positions]


def keys(pool, shape, tensor, number, b, head):
    """[Skv, D] of a head of K or V of a set, wherever its pages lie."""
    start = start_of(tensor, number, len(pool.values))
    if not shape.page:
        return pool.part(start, (b * shape.hkv + head) * shape.skv * shape.d, shape.skv * shape.d).reshape(
            shape.skv, shape.d
        )
    step, per = page_step(shape.pages), shape.skv // shape.page
    parts = []
    for j in range(per):
        page = ((b * per + j) * step + PAGE_START) % shape.pages
        parts.append(pool.part(start, (page * shape.hkv + head) * shape.page * shape.d, shape.page * shape.d))
    return numpy.concatenate(parts).reshape(shape.skv, shape.d)


def expected(pool, shape, number, rows):
    """The answer's rows [len(rows), D] in float64 of one set, two passes, nothing clever."""
    out = numpy.empty((len(rows), shape.d))
    shift = shape.skv - shape.sq if shape.causal == "br" else 0
    start, group, last, pair = start_of("q", number, len(pool.values)), shape.hq // shape.hkv, None, None
    for at, row in enumerate(rows):
        b, h, i = row // shape.sq // shape.hq, row // shape.sq % shape.hq, row % shape.sq
        if last != (b, h // group):
            last = (b, h // group)
            pair = [keys(pool, shape, tensor, number, b, h // group) for tensor in ("k", "v")]
        seen = min(shape.skv, max(0, i + shift + 1)) if shape.causal else shape.skv
        scores = pair[0][:seen] @ pool.part(start, row * shape.d, shape.d) / math.sqrt(shape.d)
        weights = numpy.exp(scores - scores.max()) if seen else scores
        out[at] = weights @ pair[1][:seen] / weights.sum() if seen else 0
    return out


def judge(dtype, answer, wanted):
    """{"check": "ok" or what is wrong, "rel_err", "rows"} of a driver's answer to "rows"."""
    if answer.get("not_finite"):
        return {
            "check": f"{answer['not_finite']} elements of the output are not finite, or were never written",
            "rel_err": None,
            "rows": len(wanted),
        }
    try:
        got = numpy.array(answer["values"], dtype=numpy.float64)
    except (TypeError, ValueError):
        return {"check": "rows of different lengths", "rel_err": None, "rows": len(wanted)}
    if got.shape != wanted.shape:
        return {"check": f"rows of shape {got.shape}, expected {wanted.shape}", "rel_err": None, "rows": len(wanted)}
    relative = float(numpy.linalg.norm(got - wanted) / numpy.linalg.norm(wanted))
    gate = GATES[dtype]
    return {
        "check": "ok" if relative <= gate else f"relative error {relative:.2g}, at most {gate:.0e}",
        "rel_err": relative,
        "rows": len(wanted),
    }


def product(pool, order, k):
    """The float64 rows and columns of X W^T that the order "roofline" asks for; both have rows of k elements."""
    x = numpy.stack([pool.part(order["starts"]["x"], r * k, k) for r in order["rows"]])
    w = numpy.stack([pool.part(order["starts"]["w"], c * k, k) for c in range(order["columns"])])
    return x @ w.T
