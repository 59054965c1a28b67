"""The problems that bench/run --gpu measures, who is in each, how often a call is made, and what is wanted of us, as
one table. Nothing else decides what the report is about. Standard library only.

Bars hold on the device they were set for and are drawn there alone; those that are shares of what was measured in the
same run hold everywhere.
"""

import dataclasses
import math
import re

# Our arms: a backend and the engine's options. The peers' arms are torch's backends, by the names of torch_gpu.py.
OURS = {
    "auto": ("cuda", {}),
    "portable": ("cuda", {"cuda.kernels": "portable"}),
    "hopper": ("cuda", {"cuda.kernels": "hopper"}),
    "decode": ("cuda", {"cuda.kernels": "decode"}),
    "small": ("cuda", {"cuda.kernels": "small"}),
    "plain": ("cuda", {"cuda.kernels": "plain"}),
    "cudnn backend": ("cudnn", {}),
}
PEERS = ("flash", "cudnn", "efficient", "math")

ROUNDS = 3
LEAST_SAMPLES = 50  # of a contender, over all rounds, unless its calls are very long
SLOWEST_SAMPLE_NS = 1e9  # a contender's samples of a round take no longer than this, but are three at least
# Below this a call is about as long for the device as launching it is for the CPU (5 us ours, 20 us from Python), so
# that calls one by
# one would time the launches: they are recorded, several in one, for everybody alike.
SHORT_CALL_NS = 50e3
BATCH_NS = 200e3  # what recorded calls take together
MOST_CALLS = 512
WARMUP_NS = 2e6  # of calls before each round that do not count: the clocks are up again
L2_TIMES = 2  # all sets of tensors together, over the last cache
MOST_SETS = 256
MEMORY_SHARE = 0.35  # of the device's free memory for each process's sets
MATH_SCORES_BYTES = 4 << 30  # torch's math path keeps its scores; where they are more, it is left out


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a problem string says, of the part of the grammar that the grid uses; the rest is refused by name."""

    text: str
    b: int
    hq: int
    hkv: int
    sq: int
    skv: int
    d: int
    dtype: str
    causal: str = ""  # "", "tl", "br"
    page: int = 0

    @property
    def element_bytes(self):
        return 4 if self.dtype == "f32" else 2

    @property
    def hides(self):
        """Whether any key is hidden from any query."""
        return bool(self.causal) and not (self.causal == "br" and self.sq == 1)

    @property
    def flops(self):
        """4 b hq sq skv d, half of it under causal: the convention of the literature, the same for everybody."""
        return 4.0 * self.b * self.hq * self.sq * self.skv * self.d * (0.5 if self.hides else 1)

    @property
    def kv_bytes(self):
        return 2 * self.b * self.hkv * self.skv * self.d * self.element_bytes

    @property
    def bytes(self):
        """Q, K, V and O once, and the block table."""
        table = 4 * self.b * self.skv // self.page if self.page else 0
        return self.kv_bytes + 2 * self.b * self.hq * self.sq * self.d * self.element_bytes + table

    @property
    def pages(self):
        return self.b * self.skv // self.page if self.page else 0


def parse(text):
    fields, _, options = text.partition(":")
    values, dtype, more = {"b": 1}, "", {}
    for field in fields.split("."):
        match = re.fullmatch(r"(b|hq|hkv|sq|skv|d)(\d+)", field)
        if match:
            values[match[1]] = int(match[2])
        elif field in ("f32", "f16", "bf16"):
            dtype = field
        else:
            raise ValueError(f"{text}: {field!r} is not measured on a GPU")
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key == "causal" and value in ("tl", "br"):
            more["causal"] = value
        elif key == "page" and value.isdigit() and int(value) > 0:
            more["page"] = int(value)
        else:
            raise ValueError(f"{text}: {option!r} is not measured on a GPU")
    if not dtype or "hq" not in values or "sq" not in values or "d" not in values:
        raise ValueError(f"{text}: hq, sq, d and a dtype are needed")
    values.setdefault("hkv", values["hq"])
    values.setdefault("skv", values["sq"])
    shape = Shape(text=text, dtype=dtype, **values, **more)
    if shape.page and shape.skv % shape.page:
        raise ValueError(f"{text}: pages of {shape.page} keys do not make {shape.skv}")
    return shape


def row(group, problem, ours, peers=PEERS, quick=False, readme=False, bars=None):
    """bars: {words: (least or most, number)} in the group's unit, on the device that DEVICE_OF_BARS names."""
    return {
        "group": group,
        "problem": problem,
        "ours": list(ours),
        "peers": list(peers),
        "quick": quick,
        "readme": readme,
        "bars": bars or {},
    }


# Everything that is an absolute number was set for this device.
DEVICE_OF_BARS = "H200"
# TFLOP/s without a mask and causal, of bf16 over 64 heads (8 of K and V) of 128: another library's on that device, and
# what we want.
ANCHORS = {2048: (633, 484), 8192: (691, 644), 16384: (702, 673)}
PORTABLE_BAR, HOPPER_BAR = (330, 300), (640, 600)
DIMENSION_BARS = {64: (480, 450), 256: (680, 600)}
DECODE_SHARE = 0.85  # of the copy bandwidth of the same run
PAGED_SHARE = 0.95  # of the same row without pages
KERNEL_NS, GRAPH_NS = 2500, 7000
GRAPH_BEST, GRAPH_EXPERTS = 8, 128
SMALL_BARS = {"kernel wanted": KERNEL_NS}


def prefill(length, d, causal):
    return f"b1.hq64.hkv8.sq{length}.skv{length}.d{d}.bf16" + (":causal=br" if causal else "")


def decoding(length, page=0):
    """8 sequences of 8 heads of K and V: 64 in all, enough work for every device there is."""
    return f"b8.hq64.hkv8.sq1.skv{length}.d128.bf16" + (f":page={page}" if page else "")


def bars_of(length, d, causal):
    at = 1 if causal else 0
    if d != 128:
        return {"hopper wanted": DIMENSION_BARS[d][at]} if length >= 8192 else {}
    out = {"cuDNN 9.19": ANCHORS[length][at]}
    if length >= 8192:
        out |= {"portable wanted": PORTABLE_BAR[at], "hopper wanted": HOPPER_BAR[at]}
    return out


def prefill_rows(causal):
    for length in (2048, 8192, 16384):
        # The plain kernel of fp32 multiply-adds is a second's work above.
        ours = ("auto", "portable", "hopper", "cudnn backend") + (("plain",) if length == 2048 else ())
        bars = bars_of(length, 128, causal)
        yield row("prefill", prefill(length, 128, causal), ours, quick=length == 8192, readme=True, bars=bars)
    for d in (64, 256):
        for length in (2048, 8192):
            long, bars = length == 8192, bars_of(length, d, causal)
            ours = ("auto", "portable", "hopper", "cudnn backend")
            yield row("prefill", prefill(length, d, causal), ours, quick=long and not causal, readme=long, bars=bars)


def decode_rows():
    ours = ("auto", "portable", "decode", "cudnn backend")
    for length in (4096, 16384, 65536):
        for page in (0, 16, 64):
            middle = length == 16384
            peers = PEERS if page == 0 else ()  # torch reads no pages, and copying them together is another problem
            yield row("decode", decoding(length, page), ours, peers, middle or (length, page) == (65536, 0), middle)


def grid():
    half = "b1.hq64.hkv8.sq8192.skv8192.d128.f16"
    one = "b1.hq12.hkv4.sq1.skv128.d64."  # a query over 128 experts
    return [
        *prefill_rows(causal=False),
        *prefill_rows(causal=True),
        row("prefill", half, ("auto", "portable", "hopper")),
        *decode_rows(),
        row("small", one + "bf16", ("auto", "small", "portable", "decode"), quick=True, readme=True, bars=SMALL_BARS),
        row("small", one + "f32", ("auto", "small", "plain"), quick=True, bars=SMALL_BARS),
    ]


def quick():
    return [r for r in grid() if r["quick"]]


def sets(shape, l2_bytes, free_bytes):
    """How many sets of tensors take turns. Small shapes are measured as they are used, with one: a table that stays
    where it is."""
    if shape.bytes <= 1 << 20:
        return 1
    wanted = math.ceil(L2_TIMES * l2_bytes / shape.bytes) + 1
    return max(1, min(wanted, MOST_SETS, int(MEMORY_SHARE * free_bytes // shape.bytes)))


def plan(first_ns, count):
    """{"calls", "samples", "warmup", "rounds"} of a contender whose call takes so long, over so many sets: samples of
    a round. A batch goes over all sets."""
    calls = 1
    if first_ns < SHORT_CALL_NS:
        calls = min(MOST_CALLS, max(count, math.ceil(BATCH_NS / max(first_ns, 1))))
    sample_ns = max(first_ns * calls, 1)
    wanted = math.ceil(LEAST_SAMPLES / ROUNDS)
    return {
        "calls": calls,
        "samples": max(3, min(wanted, int(SLOWEST_SAMPLE_NS // sample_ns))),
        "warmup": min(50, max(2, math.ceil(WARMUP_NS / sample_ns))),
        "rounds": ROUNDS,
    }


def turns(entries, number):
    """Who is measured when in round `number`: everybody in turn, the order rotated by one a round, so that neither a
    slow minute nor the heat that another leaves is always the same one's."""
    return [entries[(number + i) % len(entries)] for i in range(len(entries))]


def left_out(shape, arm):
    """Why a peer's arm is not asked at all; empty where it is."""
    scores = shape.b * shape.hq * shape.sq * shape.skv * 4
    if arm == "math" and scores > MATH_SCORES_BYTES:
        return f"left out: it keeps its scores, {scores / 2**30:.0f} GiB"
    return ""
