"""torchao's int8 attention for CPUs, torchao::qscaled_dot_product: u8 tensors with one scale and one zero point each. Codes
are made before, so that the op alone is timed. The wheels on PyPI declare the op and may not have its CPU kernel: then it is
missing here, with that reason."""
import driver

OP = "torchao::qscaled_dot_product"


def coded(torch, x):
    """u8 codes, scale and zero point over the whole range of x, 0 in it."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = (high - low) / 255 or 1.0
    zero = round(-low / scale)
    return torch.clamp(torch.round(x / scale) + zero, 0, 255).to(torch.uint8), scale, zero


class TorchAo:
    name = "torchao"

    def __init__(self):
        import torch
        import torchao
        import torchao.ops  # declares the op
        self.torch, self.torchao = torch, torchao

    def versions(self):
        return {"torchao": self.torchao.__version__, "torch": self.torch.__version__}

    def settings(self):
        return {"op": OP, "kernel": "CPU" if self.has_kernel() else "none for the CPU in this wheel",
                "capability": self.torch.backends.cpu.get_cpu_capability()}

    def has_kernel(self):
        return self.torch._C._dispatch_has_kernel_for_dispatch_key(OP, "CPU")

    def prepare(self, p, q, k, v, threads):
        torch = self.torch
        if not self.has_kernel():
            raise driver.Missing(f"this wheel of torchao {self.torchao.__version__} declares {OP} but has no CPU kernel for it")
        if p.dtype != "f32" or p.hq != p.hkv or p.causal and not p.sees_all:
            raise driver.Missing("equal heads without a mask are asked of it")
        torch.set_num_threads(threads)
        tensors = [torch.from_numpy(x) for x in (q, k, v)]
        codes, numbers = [], {}
        for name, x in zip("qkv", tensors):
            code, numbers[f"{name}_scale"], numbers[f"{name}_zp"] = coded(torch, x)
            codes.append(code)
        # The ranges of weights and output, as a calibration run would have found them.
        weights = torch.softmax(tensors[0] @ tensors[1].transpose(-2, -1) / p.d**0.5, dim=-1)
        _, numbers["o_scale"], numbers["o_zp"] = coded(torch, weights @ tensors[2])
        numbers |= {"a_scale": float(weights.max()) / 255, "a_zp": 0}

        def run():
            return torch.ops.torchao.qscaled_dot_product(*codes, **numbers)

        def output():
            return ((run().float() - numbers["o_zp"]) * numbers["o_scale"]).numpy()

        return driver.Prepared(run, output, "qscaled_dot_product on u8 codes made before", "[B,H,S,D]")


if __name__ == "__main__":
    driver.serve(TorchAo)
