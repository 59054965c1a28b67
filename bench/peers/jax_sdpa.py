"""JAX's dot_product_attention, compiled once per problem: XLA's CPU code, which keeps the scores in memory. Its threads are
as many as the cores that the process may use."""
import os

import driver


class Jax:
    name = "jax"

    def __init__(self):
        import jax
        import jax.numpy
        self.jax = jax

    def versions(self):
        return {"jax": self.jax.__version__, "jaxlib": self.jax.lib.__version__}

    def settings(self):
        return {"path": "jit(jax.nn.dot_product_attention)", "XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}

    def prepare(self, p, q, k, v, threads):
        jax = self.jax
        if p.causal and not p.sees_all and p.sq != p.skv:
            raise driver.Missing("is_causal is top-left only")
        if len(os.sched_getaffinity(0)) != threads:
            raise driver.Missing(f"would use {len(os.sched_getaffinity(0))} threads instead of {threads}")
        dtype = {"f32": jax.numpy.float32, "bf16": jax.numpy.bfloat16, "f16": jax.numpy.float16}[p.dtype]
        a, b, c = (jax.numpy.asarray(x.transpose(0, 2, 1, 3), dtype) for x in (q, k, v))
        causal = bool(p.causal) and not p.sees_all
        # XLA's CPU has no product of f16 that sums in f32; what a user does is to widen first.
        widen = (lambda x: x.astype(jax.numpy.float32)) if p.dtype == "f16" else (lambda x: x)

        @jax.jit
        def compiled(a, b, c):
            return jax.nn.dot_product_attention(widen(a), widen(b), widen(c), is_causal=causal).astype(dtype)

        def run():
            return compiled(a, b, c).block_until_ready()

        def output():
            return jax.device_get(run().astype(jax.numpy.float32)).transpose(0, 2, 1, 3)

        path = "jit(dot_product_attention)" + (", widened to f32 in the graph" if p.dtype == "f16" else "")
        return driver.Prepared(run, output, path, "[B,S,H,D]")


driver.serve(Jax)
