"""A problem string's sizes, its inputs and its answer in float64: what every driver and the checker share.

It reads the part of docs/problem-string.md that the grid uses and refuses the rest by name. Inputs depend on the string
and the seed only. It runs nothing but numpy.
"""
import dataclasses
import re

FIELDS = {"b": 1, "hq": None, "hkv": None, "sq": None, "skv": None, "d": None}
DTYPES = {"f32": 4, "bf16": 2, "f16": 2}
CACHES = ("i8", "u8")  # of K and V, where they are not stored in the problem's dtype
DATA = ("normal", "kbias", "sink", "vspread", "all")  # distributions.py
# Keys that say how ours stores or computes, not what: the peers' problem is the same one.
OURS_ONLY = ("layout", "algorithm", "block")


@dataclasses.dataclass(frozen=True)
class Problem:
    text: str
    b: int
    hq: int
    hkv: int
    sq: int
    skv: int
    d: int
    dtype: str
    causal: str  # "", "tl", "br"
    data: str = "normal"
    cache: str = ""  # "": of the problem's dtype

    @property
    def pairs(self):
        """(query, key) pairs that are visible, a head."""
        if not self.causal:
            return self.sq * self.skv
        shift = self.skv - self.sq if self.causal == "br" else 0
        return sum(min(self.skv, max(0, i + shift + 1)) for i in range(self.sq))

    @property
    def flops(self):
        """Two multiply-adds a visible pair and channel: causal counts what it leaves, for everybody."""
        return 4.0 * self.b * self.hq * self.pairs * self.d

    @property
    def kv_bytes(self):
        return 2 * self.b * self.hkv * self.skv * self.d * DTYPES[self.dtype]

    @property
    def sees_all(self):
        """Whether no key is hidden from any query, flag or not."""
        return self.pairs == self.sq * self.skv


def parse(text):
    fields, _, options = text.partition(":")
    values, dtype, causal, data, cache = dict(FIELDS), "", "", "normal", ""
    for field in fields.split("."):
        match = re.fullmatch(r"([a-z]+)(\d+)", field)
        if field in DTYPES:
            dtype = field
        elif match and match[1] in values:
            values[match[1]] = int(match[2])
        else:
            raise ValueError(f"{text}: {field!r} is not something the peers are given")
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key == "causal" and value in ("tl", "br"):
            causal = value
        elif key == "data" and value in DATA:
            data = value
        elif key == "kv" and value in CACHES:
            cache = value
        elif key not in OURS_ONLY:
            raise ValueError(f"{text}: {option!r} is not something the peers are given")
    if not dtype or not values["hq"] or not values["sq"] or not values["d"]:
        raise ValueError(f"{text}: hq, sq, d and a dtype of {', '.join(DTYPES)} are needed")
    values["hkv"] = values["hkv"] or values["hq"]
    values["skv"] = values["skv"] or values["sq"]
    return Problem(text=text, dtype=dtype, causal=causal, data=data, cache=cache, **values)


def numpy_dtype(name):
    import ml_dtypes
    import numpy
    return {"f32": numpy.float32, "bf16": ml_dtypes.bfloat16, "f16": numpy.float16}[name]


def inputs(problem, seed):
    """q, k, v as [B, H, S, D] float32 of the problem's distribution, already rounded to its dtype."""
    import numpy
    rng = numpy.random.default_rng(seed)
    made = []
    for heads, length in ((problem.hq, problem.sq), (problem.hkv, problem.skv), (problem.hkv, problem.skv)):
        made.append(rng.standard_normal((problem.b, heads, length, problem.d), dtype=numpy.float32))
    if problem.data != "normal":
        import distributions
        distributions.apply(problem.data, seed, *made)
    if problem.dtype != "f32":
        made = [x.astype(numpy_dtype(problem.dtype)).astype(numpy.float32) for x in made]
    return made


def rows_to_check(problem, at_least=256):
    """Query positions: all, or spread evenly with the first and the last among them."""
    import numpy
    if problem.sq <= at_least:
        return numpy.arange(problem.sq)
    return numpy.unique(numpy.linspace(0, problem.sq - 1, at_least + 8).round().astype(int))


def oracle(problem, q, k, v, rows):
    """The answer's rows [B, Hq, len(rows), D] in float64, two passes, nothing clever."""
    import numpy
    group = problem.hq // problem.hkv
    out = numpy.empty((problem.b, problem.hq, len(rows), problem.d))
    shift = problem.skv - problem.sq if problem.causal == "br" else 0
    hidden = numpy.arange(problem.skv)[None, :] > (rows + shift)[:, None] if problem.causal else None
    for b in range(problem.b):
        for head in range(problem.hq):
            keys, values = k[b, head // group].astype(numpy.float64), v[b, head // group].astype(numpy.float64)
            scores = q[b, head, rows].astype(numpy.float64) @ keys.T / numpy.sqrt(problem.d)
            if hidden is not None:
                scores[hidden] = -numpy.inf
            weights = numpy.exp(scores - scores.max(axis=1, keepdims=True))
            out[b, head] = weights @ values / weights.sum(axis=1, keepdims=True)
    return out


# A relative error (of the 2-norms) above this is a wrong answer: the bounds of `sage-engine bench`.
BOUNDS = {"f32": 1e-4, "bf16": 2e-2, "f16": 2e-2}


def check(problem, got, expected, rows):
    """{"rel_err", "max_abs_err", "rows", "check": "ok" or what is wrong} of an output [B, Hq, Sq, D]."""
    import numpy
    if tuple(got.shape) != (problem.b, problem.hq, problem.sq, problem.d):
        return {"check": f"output of shape {tuple(got.shape)}", "rows": 0, "rel_err": None, "max_abs_err": None}
    sample = got[:, :, rows, :].astype(numpy.float64)
    if not numpy.isfinite(sample).all():
        return {"check": "output is not finite", "rows": len(rows), "rel_err": None, "max_abs_err": None}
    relative = float(numpy.linalg.norm(sample - expected) / numpy.linalg.norm(expected))
    bound = BOUNDS[problem.dtype]
    return {"rel_err": relative, "max_abs_err": float(numpy.abs(sample - expected).max()), "rows": len(rows),
            "check": "ok" if relative <= bound else f"relative error {relative:.2g}, at most {bound:.0e}"}
