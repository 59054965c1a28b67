"""The words of conformance.txt: steps are said one after the other, tensors drawn from one seed."""
import random
import struct

Q, K, V, O, LSE, BIAS, MASK, BIT_MASK, BLOCK_MASK, INDPTR, INDICES, ALIBI, SINKS, CU_Q, CU_K, USED_Q, USED_K = range(17)
TABLE, K_NEW, V_NEW, SCALE_Q, SCALE_K, SCALE_V, SCALE_P, SCALE_O = range(17, 25)
PHILOX, WEIGHTS, SCORES = 25, 26, 27
SCALE, CAUSAL, LEFT, RIGHT = 1, 1 << 2, 1 << 4, 1 << 5
PER_TENSOR, PER_HEAD, PER_TOKEN, PER_CHANNEL, PER_BLOCK = range(1, 6)
FORMATS = {"f32": "f", "f64": "d", "f16": "e", "i8": "b", "i32": "i", "i64": "q", "u8": "B", "u64": "Q", "bool": "B"}

lines = ["sage-vectors 1"]
draws = random.Random(2026)


def say(*words):
    lines.append(" ".join(str(word) for word in words))


def pack(dtype, values):
    if dtype == "bf16":
        raw = b"".join(struct.pack("<f", value)[2:] for value in values)  # cut, not rounded: which number does not matter
    else:
        raw = struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)
    return raw.hex() or "-"


def count(shape):
    product = 1
    for length in shape:
        product *= length
    return product


def shape_text(shape):
    return ",".join(map(str, shape)) or "scalar"


def normal(shape):
    return [round(draws.gauss(0, 1), 3) for _ in range(count(shape))]


def tensor(slot, dtype, shape, values=None):
    say("tensor", slot, dtype, shape_text(shape), pack(dtype, normal(shape) if values is None else values))


def begin(name, comment=None, backend="cpu"):
    lines.append("")
    if comment:
        say("#", comment)
    say("case", name)
    if backend:
        say("option threads 1")
        say("plan_option backend", backend)
        say("plan_option use_simd false")


def qkvo(dtype="f32", b=1, hq=2, hkv=2, sq=5, skv=7, d=8, dv=None, hv=None):
    dv, hv = dv or d, hv or hkv
    tensor(Q, dtype, [b, hq, sq, d])
    tensor(K, dtype, [b, hkv, skv, d])
    tensor(V, dtype, [b, hv, skv, dv])
    say("result", O, dtype, shape_text([b, hq, sq, dv]))


def finish(*steps):
    for step in steps or ("plan", "attend"):
        say(step)


def scales(granularities, shapes):
    for slot, letter in enumerate("qkvpo", SCALE_Q):
        tensor(slot, "f32", shapes[letter], [round(draws.uniform(0.005, 0.03), 4) for _ in range(count(shapes[letter]))])
        say(f"set granularity_{letter}", granularities[letter])
    say("set scale_block 2")


def integers(slot, shape):
    tensor(slot, "i8", shape, [draws.randrange(-128, 128) for _ in range(count(shape))])


def three_sequences():
    """Packed, the second empty: 3, 0 and 4 queries, 4, 0 and 5 keys."""
    tensor(Q, "f32", [7, 2, 4])
    tensor(K, "f32", [9, 2, 4])
    tensor(V, "f32", [9, 2, 4])
    say("result", O, "f32", "7,2,4")
    tensor(CU_Q, "i32", [4], [0, 3, 3, 7])
    tensor(CU_K, "i32", [4], [0, 4, 4, 9])
