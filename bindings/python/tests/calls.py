"""What a call costs from Python: attention of one query and one key, which is all call and no work.

    calls.py ROUNDS ITERATIONS

A line a round, nanoseconds a call: `flat` by Engine.attention on Tensors made once, `run` by a context's run of an op
made once, which is what a careful user of small calls writes. To stderr, at the end, `arrays`: the flat call on numpy
arrays, which are looked at each time.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Callable

import numpy as np

import sage_engine as sage


def nanoseconds(call: Callable[[], Any], iterations: int) -> float:
    repeat = range(iterations)
    start = time.perf_counter_ns()
    for _ in repeat:
        call()
    return (time.perf_counter_ns() - start) / iterations


def main() -> None:
    rounds, iterations = int(sys.argv[1]), int(sys.argv[2])
    arrays = [np.full((1, 1, 1, 1), 0.5, np.float32) for _ in range(4)]
    tensors = [sage.Tensor(array) for array in arrays]
    op = sage.AttentionOp(*tensors)
    with sage.Engine(threads=1) as engine, engine.plan(op) as plan, plan.context() as context:

        def flat() -> None:
            engine.attention(*tensors)

        def run() -> None:
            context.run(op)

        def on_arrays() -> None:
            engine.attention(*arrays)

        for call in (flat, run, on_arrays):
            nanoseconds(call, iterations // 10 + 1)
        for _ in range(rounds):
            print(f"flat {nanoseconds(flat, iterations):.1f} run {nanoseconds(run, iterations):.1f}", flush=True)
        print(f"arrays {nanoseconds(on_arrays, iterations):.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
