"""PyTorch's scaled_dot_product_attention on a CUDA device, an arm a backend: flash, cudnn, efficient, math. The
orders are those of bench/gpu/contender.cc, the numbers those of the same pool. A backend that refuses is missing with
torch's own reason, never measured on another's path.

Grouped heads are asked for by enable_gqa; a backend that does not know it gets K and V repeated beforehand, which
does not count.
"""

import gc
import statistics
import time

import driver
import gpu_grid

ARMS = {"flash": "FLASH_ATTENTION", "cudnn": "CUDNN_ATTENTION", "efficient": "EFFICIENT_ATTENTION", "math": "MATH"}


class TorchGpu:
    def __init__(self):
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        if not torch.cuda.is_available():
            raise driver.Missing(f"torch {torch.__version__} sees no CUDA device")
        self.torch, self.backends, self.sdpa_kernel = torch, SDPBackend, sdpa_kernel
        self.sdpa = torch.nn.functional.scaled_dot_product_attention
        self.stream = torch.cuda.Stream()
        self.forget()

    def hello(self):
        torch = self.torch
        facts = torch.cuda.get_device_properties(0)
        return {
            "peer": "torch",
            "versions": {
                "torch": torch.__version__,
                "cuda": str(torch.version.cuda),
                "cudnn": str(torch.backends.cudnn.version()),
            },
            "settings": {
                "call": "scaled_dot_product_attention in inference_mode, a backend at a time by sdpa_kernel",
                "layout": "[B,H,S,D]",
                "device": facts.name,
                "bf16 reduction in math": torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed(),
            },
        }

    def forget(self, _=None):
        self.sets, self.arms, self.graphs = [], {}, {}
        gc.collect()
        self.torch.cuda.empty_cache()
        return {}

    def dtype(self, name):
        return {"f32": self.torch.float32, "bf16": self.torch.bfloat16, "f16": self.torch.float16}[name]

    def pool(self, path, dtype):
        with open(path, "rb") as file:
            return self.torch.frombuffer(bytearray(file.read()), dtype=dtype).cuda()

    def filled(self, pool, start, shape):
        """A tensor whose element e is pool[(start + e) % size]."""
        count = 1
        for length in shape:
            count *= length
        out = self.torch.empty(count, dtype=pool.dtype, device="cuda")
        done, at = 0, start % len(pool)
        while done < count:
            part = min(count - done, len(pool) - at)
            out[done : done + part] = pool[at : at + part]
            done, at = done + part, 0
        return out.view(shape)

    def prepare(self, order):
        self.forget()
        p = gpu_grid.parse(order["problem"])
        if p.page:
            raise driver.Missing("scaled_dot_product_attention reads no pages")
        if p.hides and p.causal == "br" and p.sq != p.skv:
            raise driver.Missing("is_causal is top-left only")
        pool = self.pool(order["pool"], self.dtype(p.dtype))
        self.shape = p
        self.flags = {"is_causal": p.hides}
        for n in range(len(order["starts"]["q"])):
            self.sets.append(
                [
                    self.filled(pool, order["starts"][name][n], (p.b, heads, length, p.d))
                    for name, heads, length in (("q", p.hq, p.sq), ("k", p.hkv, p.skv), ("v", p.hkv, p.skv))
                ]
            )
        self.torch.cuda.synchronize()
        return {"sets": len(self.sets)}

    def call(self, arm):
        """A function of the number of a set, on whatever stream is current; to be called inside only(arm)."""
        _, flags, sets = self.arms[arm]
        sdpa = self.sdpa

        def run(n):
            q, k, v = sets[n % len(sets)]
            return sdpa(q, k, v, **flags)

        return run

    def only(self, arm):
        """Holds calls to the arm's backend; entered once for many calls, since entering costs as much as a call."""
        return self.sdpa_kernel(self.arms[arm][0])

    def arm(self, order):
        torch, name = self.torch, order["arm"]
        backend = getattr(self.backends, ARMS[name])
        grouped = self.shape.hq != self.shape.hkv
        tries = [(self.flags | ({"enable_gqa": True} if grouped else {}), self.sets, "enable_gqa" if grouped else "")]
        refused = []
        if grouped:
            tries.append((self.flags, None, "K and V repeated beforehand"))
        for flags, sets, words in tries:
            try:
                if sets is None:
                    group = self.shape.hq // self.shape.hkv
                    sets = [[q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)] for q, k, v in self.sets]
                self.arms[name] = (backend, flags, sets)
                with self.only(name):
                    self.call(name)(0)
                    torch.cuda.synchronize()
                    times = self.events(self.call(name), 1, 3)
            except RuntimeError as error:
                self.arms.pop(name, None)
                refused.append(str(error).splitlines()[0])
                continue
            return {
                "path": f"SDPBackend.{ARMS[name]}" + (f", {words}" if words else ""),
                "first_ns": statistics.median(times),
            }
        raise driver.Missing(f"it refuses: {refused[0]}")

    def events(self, work, warmup, samples):
        """As Device::Time of bench/gpu: everything is enqueued before anything is waited for."""
        torch = self.torch
        pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(samples)]
        with torch.cuda.stream(self.stream):
            for n in range(warmup):
                work(n)
            for n, (begin, end) in enumerate(pairs):
                begin.record()
                work(warmup + n)
                end.record()
        self.stream.synchronize()
        return [begin.elapsed_time(end) * 1e6 for begin, end in pairs]

    def recorded(self, arm, calls):
        torch, run = self.torch, self.call(arm)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self.stream):
            for n in range(3):
                run(n)
            self.stream.synchronize()
            with torch.cuda.graph(graph, stream=self.stream):
                for n in range(calls):
                    run(n)
        return graph

    def timing(self, order):
        with self.only(order["arm"]):
            return self.timed(order["arm"], order["calls"], order)

    def timed(self, arm, calls, order):
        if calls <= 1:
            return {"samples_ns": self.events(self.call(arm), order["warmup"], order["samples"]), "how": "one call"}
        if (arm, calls) not in self.graphs:
            try:
                self.graphs[arm, calls] = self.recorded(arm, calls), ""
            except RuntimeError as error:
                self.torch.cuda.synchronize()
                self.graphs[arm, calls] = None, str(error).splitlines()[0]
        graph, why = self.graphs[arm, calls]
        run = self.call(arm)

        def work(n):
            if graph is not None:
                graph.replay()
                return
            for i in range(calls):
                run(n * calls + i)

        times = self.events(work, order["warmup"], order["samples"])
        how = (
            f"{calls} calls, recorded and launched as one"
            if graph is not None
            else f"{calls} calls in a row, since they were not recorded: {why}"
        )
        return {"samples_ns": [t / calls for t in times], "how": how}

    def round_trip(self, order):
        run, out = self.call(order["arm"]), []
        with self.only(order["arm"]):
            for n in range(order["warmup"] + order["samples"]):
                begin = time.perf_counter_ns()
                run(n)
                self.torch.cuda.synchronize()
                if n >= order["warmup"]:
                    out.append(time.perf_counter_ns() - begin)
        return {"samples_ns": out}

    def rows(self, order):
        with self.only(order["arm"]):
            out = self.call(order["arm"])(order["set"])
        picked = out.reshape(-1, out.shape[-1])[order["rows"]].double().cpu()
        bad = int((~self.torch.isfinite(out)).sum())
        return {"values": self.torch.nan_to_num(picked).tolist(), "not_finite": bad}

    def roofline(self, order):
        """A GEMM of the sizes that ours is asked for: x w^T."""
        torch, n = self.torch, order["gemm"]
        pool = self.pool(order["pool"], torch.bfloat16)
        x, w = (self.filled(pool, order["starts"][name], (n, n)) for name in ("x", "w"))
        y = torch.empty(n, n, dtype=torch.bfloat16, device="cuda")
        times = self.events(lambda _: torch.mm(x, w.t(), out=y), order["warmup"], order["samples"])
        return {
            "linear": {
                "path": "torch.mm",
                "samples_ns": times,
                "values": y[order["rows"], : order["columns"]].double().cpu().tolist(),
            }
        }

    def answer(self, order):
        known = {
            "prepare": self.prepare,
            "arm": self.arm,
            "rows": self.rows,
            "time": self.timing,
            "round_trip": self.round_trip,
            "roofline": self.roofline,
            "forget": self.forget,
        }
        if order["do"] not in known:
            raise driver.Missing(f"unknown order {order['do']!r}")
        try:
            with self.torch.inference_mode():
                return {"ok": True} | known[order["do"]](order)
        except driver.Missing as missing:
            return {"ok": False, "why": str(missing)}


if __name__ == "__main__":
    driver.serve_orders(TorchGpu, TorchGpu.hello, TorchGpu.answer)
