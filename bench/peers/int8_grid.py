"""The rows of the int8 measurement, and who is in each, as one table."""
from problem import DATA

# Ours, by the arm of sage_attention.py, and the peers: name -> (driver, its arguments, what is added to the problem string).
CONTENDERS = {name: ("sage_attention.py", (name,), "") for name in ("fp32", "bf16", "per_tensor", "qk8_pv16", "full", "kv_cache")}
CONTENDERS |= {"torchao": ("torchao_sdpa.py", (), ""), "onnxruntime": ("ort_attention.py", (), "kv=i8"),
               "openvino": ("openvino_sdpa.py", (), "kv=u8")}
SQUARE = ("fp32", "bf16", "per_tensor", "qk8_pv16", "full", "torchao")
DECODE = ("fp32", "bf16", "kv_cache", "onnxruntime", "openvino")
HEADS = {128: 12, 1024: 4, 4096: 1}  # so that no call takes long


def row(group, problem, data, contenders, quick):
    """seconds, least, most, cap, warmup: of each contender's turn in each round, see driver.measure."""
    text = problem + (f":data={data}" if data != "normal" else "")
    return {"group": group, "problem": text, "data": data, "contenders": contenders, "threads": 1, "quick": quick,
            "rounds": 3, "least": 4, "most": 200, "seconds": 0.25, "cap": 1.0, "warmup": 1}


def grid():
    rows = []
    for data in DATA:
        for d in (32, 64, 128):
            for length, heads in HEADS.items():
                rows.append(row("square", f"b1.hq{heads}.hkv{heads}.sq{length}.skv{length}.d{d}.f32", data, SQUARE,
                                (data, d, length) == ("all", 64, 1024)))
    # One new token against a cache: the lengths with plain data, then what the data do to it.
    for length, data in [(n, "normal") for n in (4096, 8192, 16384, 32768)] + [(4096, name) for name in DATA[1:]]:
        rows.append(row("decode", f"b1.hq32.hkv8.sq1.skv{length}.d128.f32", data, DECODE, (length, data) == (4096, "normal")))
    return rows


def quick():
    return [dict(r, seconds=0.15) for r in grid() if r["quick"]]
