"""Attention over your own arrays: one call, then planned once and run as often as you like.

python3 attention.py
"""

import numpy as np

import sage_engine as sage

# [batch, heads, tokens, width]: 8 query heads over 2 of key and value, 512 tokens.
random = np.random.default_rng(1)
q = random.standard_normal((1, 8, 512, 64), dtype=np.float32)
k = random.standard_normal((1, 2, 512, 64), dtype=np.float32)
v = random.standard_normal((1, 2, 512, 64), dtype=np.float32)

o = sage.attention(q, k, v, is_causal=True, enable_gqa=True)
print("o[0, 0, 0] =", o[0, 0, 0, :3])

# The same with a window of 128 keys, on an engine of its own, and the sums of the softmax beside it.
lse = np.empty((1, 8, 512), np.float32)
op = sage.AttentionOp(q, k, v, o, causal=sage.Align.TOP_LEFT, window=(127, None), lse=lse)
with sage.Engine(threads=2) as engine, engine.plan(op) as plan, plan.context() as context:
    for _ in range(3):
        context.run(op)  # nothing is copied or allocated: o and lse are written in place
    print("ran on", plan.backend, "with", plan.memory().scratch_bytes, "bytes of scratch")
    print("lse[0, 0, -1] =", lse[0, 0, -1])
