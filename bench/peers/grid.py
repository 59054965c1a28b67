"""The problems that are measured, as one table. Nothing else decides what the report is about.

A row is a problem string, the threads, which of our arms stand beside the default, and how long it may take. Long
sequences have fewer heads: every row is a question about one shape, and rows are compared across contenders only.
"""

# Our arms: what is added to the problem string, and options of the command.
ARMS = {
    "default": ("", []),
    "flash": ("algorithm=flash", []),
    "materialised": ("algorithm=materialised", []),
    "[B,S,H,D]": ("layout=bshd", []),
}
HEADS = {128: 12, 512: 8, 1024: 4, 2048: 4, 4096: 2, 8192: 1, 16384: 1}


def row(group, problem, threads=1, isa="native", arms=("default",), quick=False, readme=False):
    """seconds, least, most, cap, warmup: of each contender's turn in each round, see driver.measure."""
    least = 2 if "sq16384." in problem else 3 if "sq8192." in problem else 10
    return {"group": group, "problem": problem, "threads": threads, "isa": isa, "arms": list(arms), "quick": quick, "readme": readme,
            "rounds": 3, "least": least, "most": 100, "seconds": 0.3, "cap": 2.0, "warmup": 2 if least == 10 else 1}


def square(length, d, dtype="f32", causal=False, heads=None):
    h = heads or HEADS[length]
    return f"b1.hq{h}.hkv{h}.sq{length}.skv{length}.d{d}.{dtype}" + (":causal=tl" if causal else "")


def decode(length, dtype):
    return f"b1.hq32.hkv8.sq1.skv{length}.d128.{dtype}"


def grid():
    rows = []
    both = ("default", "flash", "materialised")
    # f32, d 64, over the lengths, both arms at every length.
    for causal in (False, True):
        for length in HEADS:
            arms = both if length < 16384 else ("default",)
            if not causal and length in (1024, 2048):
                arms += ("[B,S,H,D]",)
            rows.append(row("prefill", square(length, 64, causal=causal), arms=arms,
                            quick=length == 2048 or (length == 512 and not causal), readme=length == 4096))
    # The other head dimensions.
    for d in (32, 128, 256):
        for length in (512, 2048, 4096):
            heads = max(1, HEADS[length] * 64 // max(d, 64))
            rows.append(row("prefill", square(length, d, heads=heads), quick=(d, length) == (128, 512),
                            readme=(d, length) == (128, 4096)))
        heads = max(1, HEADS[2048] * 64 // max(d, 64))
        rows.append(row("prefill", square(2048, d, causal=True, heads=heads), readme=d == 128))
    # bf16.
    for d in (64, 128):
        heads = {64: lambda n: HEADS[n], 128: lambda n: max(1, HEADS[n] // 2)}[d]
        for length in (512, 2048, 4096):
            rows.append(row("prefill", square(length, d, "bf16", heads=heads(length)), quick=(d, length) == (64, 2048),
                            readme=length == 4096))
        rows.append(row("prefill", square(2048, d, "bf16", True, heads(2048))))
    # Grouped heads.
    rows.append(row("grouped", "b1.hq12.hkv4.sq1024.skv1024.d64.f32:causal=tl", quick=True, readme=True))
    rows.append(row("grouped", "b1.hq12.hkv4.sq1024.skv1024.d64.f32"))
    rows.append(row("grouped", "b1.hq32.hkv8.sq1024.skv1024.d128.f32:causal=tl", readme=True))
    # One new token against a long cache.
    for dtype in ("f32", "bf16", "f16"):
        for length in (4096, 8192, 16384, 32768):
            rows.append(row("decode", decode(length, dtype), quick=(dtype, length) in (("f32", 4096), ("bf16", 16384)),
                            readme=length == 16384))
    # What SAGE itself asks for: experts, sensors, energy.
    rows.append(row("small", "b1.hq12.hkv4.sq1.skv128.d64.f32", quick=True, readme=True))
    rows.append(row("small", "b1.hq8.hkv8.sq8.skv8.d32.f32", readme=True))
    rows.append(row("small", "b1.hq8.hkv8.sq1.skv5.d32.f32", readme=True))
    # The same problems on two threads; the rows above are their other half.
    for length in (512, 2048, 4096, 8192):
        rows.append(row("prefill", square(length, 64), threads=2, quick=length == 2048, readme=length == 2048))
    rows.append(row("prefill", square(2048, 64, causal=True), threads=2))
    rows.append(row("prefill", square(2048, 128, heads=2), threads=2))
    rows.append(row("prefill", square(2048, 64, "bf16"), threads=2))
    rows.append(row("prefill", square(2048, 128, "bf16", heads=2), threads=2))
    for dtype in ("f32", "bf16"):
        rows.append(row("decode", decode(32768, dtype), threads=2, readme=dtype == "f32"))
    # Everybody held to AVX2 who has a switch for it.
    for problem in (square(512, 64), square(2048, 64), square(2048, 64, causal=True), square(2048, 128, heads=2)):
        rows.append(row("avx2", problem, isa="avx2", readme=problem == square(2048, 64)))
    return rows


def quick():
    return [dict(r, seconds=0.2, cap=1.0) for r in grid() if r["quick"]]
