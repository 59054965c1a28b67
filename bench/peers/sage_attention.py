"""Ours as one more contender of the int8 measurement, called through its Python binding on the same arrays as everybody: a
process an arm, whose name is the argument. Tensors are f32 as the caller has them, and what an arm makes of them during a
call counts; what is stored (bf16 tensors, a cache of codes and scales) is made before.

  sage_attention.py ARM       SAGE_LIBRARY names the library, PYTHONPATH has bindings/python
"""
import sys

import numpy

import driver


class Arm:
    def __init__(self, backend, accuracy, options=None, stored="f32"):
        self.backend, self.accuracy, self.options, self.stored = backend, accuracy, options or {}, stored


ARMS = {
    "fp32": Arm("cpu", "EXACT"),
    "bf16": Arm("cpu", "NATIVE", stored="bf16"),
    "per_tensor": Arm("int8", "LOSSY", {"int8.mode": "per_tensor"}),
    "qk8_pv16": Arm("int8", "LOSSY", {"int8.mode": "qk8_pv16"}),
    "full": Arm("int8", "LOSSY", {"int8.mode": "full"}),
    "kv_cache": Arm("int8", "LOSSY", {"int8.mode": "kv_cache"}, stored="i8"),
}


def coded(x):
    """[B,H,S,D] as codes, and the scale [B,H,S] of each token."""
    largest = numpy.abs(x).max(axis=-1)
    scale = numpy.where(largest > 0, largest / 127, 1).astype(numpy.float32)
    return numpy.clip(numpy.rint(x / scale[..., None]), -127, 127).astype(numpy.int8), scale


class SageEngine:
    def __init__(self, name):
        import sage_engine
        self.sage, self.name, self.arm = sage_engine, name, ARMS[name]
        self.engine = None

    def versions(self):
        return {"sage-engine": self.sage.version()}

    def settings(self):
        arm = self.arm
        return {"backend": arm.backend, "accuracy": arm.accuracy.lower(), "options": arm.options,
                "stored": {"i8": "Q in f32, K and V in i8 with a scale a token"}.get(arm.stored, f"Q, K and V in {arm.stored}")}

    def prepare(self, p, q, k, v, threads):
        sage, arm = self.sage, self.arm
        if p.causal and not p.sees_all or p.dtype != "f32" or p.cache:
            raise driver.Missing("this form measures f32 problems without a mask")
        if self.engine is None:
            self.engine = sage.Engine({"threads": threads, **arm.options})
        scales = {}
        if arm.stored == "bf16":
            import ml_dtypes
            q, k, v = (x.astype(ml_dtypes.bfloat16) for x in (q, k, v))
        if arm.stored == "i8":
            (k, scales["scale_k"]), (v, scales["scale_v"]) = coded(k), coded(v)
        o = numpy.zeros(q.shape, q.dtype)
        op = sage.AttentionOp(q, k, v, o, accuracy=sage.Accuracy[arm.accuracy], **scales)
        if scales:
            op.attributes.granularity_k = op.attributes.granularity_v = sage.constants.SAGE_PER_TOKEN
        try:
            plan = self.engine.plan(op, {"backend": arm.backend})
        except sage.SageError as error:
            raise driver.Missing(str(error)) from None
        context = plan.context()

        def output():
            o.fill(numpy.nan)  # what a call leaves out is seen
            context.run(op)
            return o.astype(numpy.float32)

        why = next((verdict.get("reason", "") for verdict in plan.explain().get("verdicts", []) if verdict.get("backend") == arm.backend), "")
        return driver.Prepared(lambda: context.run(op), output, why or arm.backend, "[B,H,S,D]")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ARMS:
        sys.exit(f"sage_attention.py ARM: {', '.join(ARMS)}")
    driver.serve(lambda: SageEngine(sys.argv[1]))
