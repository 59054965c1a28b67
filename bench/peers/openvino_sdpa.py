"""OpenVINO's ScaledDotProductAttention, one request used again. The precision inside is asked for, and read back: on some
machines the default for f32 is bf16. It has no grouped heads without a state, so K and V are broadcast in its graph."""
import numpy
import problem as problems

import driver


class OpenVino:
    name = "openvino"

    def __init__(self):
        import openvino
        from openvino import opset13
        self.ov, self.ops = openvino, opset13
        self.core = openvino.Core()

    def versions(self):
        return {"openvino": self.ov.__version__.split("-")[0]}

    def settings(self):
        return {"hints": "INFERENCE_PRECISION_HINT = the problem's dtype (f32 for f16), PERFORMANCE_HINT LATENCY, NUM_STREAMS 1",
                "capabilities": self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")}

    def grouped(self, x, p):
        """[B,Hkv,S,D] to [B,Hq,S,D]."""
        ops, group = self.ops, p.hq // p.hkv
        apart = ops.unsqueeze(x, ops.constant(numpy.int64(2)))
        wide = ops.broadcast(apart, ops.constant(numpy.array([p.b, p.hkv, group, p.skv, p.d], numpy.int64)))
        return ops.reshape(wide, ops.constant(numpy.array([p.b, p.hq, p.skv, p.d], numpy.int64)), False)

    def prepare(self, p, q, k, v, threads):
        ov, ops = self.ov, self.ops
        if p.causal and not p.sees_all and p.sq != p.skv:
            raise driver.Missing("only square causal problems are asked of it")
        element = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "f16": ov.Type.f16}[p.dtype]
        parameters = [ops.parameter(list(x.shape), element, name=n) for n, x in zip("qkv", (q, k, v))]
        heads = parameters if p.hq == p.hkv else [parameters[0]] + [self.grouped(x, p) for x in parameters[1:]]
        model = ov.Model([ops.scaled_dot_product_attention(*heads, causal=bool(p.causal) and not p.sees_all)], parameters)
        # f16 is stored as such and computed in f32: hinted f16, it would become bf16 where there is no f16 arithmetic.
        hint = "f32" if p.dtype == "f16" else p.dtype
        compiled = self.core.compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
        inside = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if inside != hint:
            raise driver.Missing(f"computes {p.dtype} as {inside} on this machine")
        request = compiled.create_infer_request()
        stored = problems.numpy_dtype(p.dtype)
        kept = []
        for index, x in enumerate((q, k, v)):
            array = numpy.ascontiguousarray(x.astype(stored))
            kept.append(array)
            tensor = (ov.Tensor(array, shared_memory=True) if p.dtype != "bf16"
                      else ov.Tensor(array.view(numpy.uint8), ov.Shape(list(x.shape)), element))
            request.set_input_tensor(index, tensor)

        def output():
            request.infer()
            data = request.get_output_tensor(0)
            if data.element_type == ov.Type.bf16:
                return numpy.array(data.data).view(stored).reshape(list(data.shape)).astype(numpy.float32)
            return numpy.array(data.data, dtype=numpy.float32)

        path = "ScaledDotProductAttention" + ("" if p.hq == p.hkv else ", K and V broadcast in the graph")
        output.kept = kept  # the tensors do not own what they share
        return driver.Prepared(request.infer, output, path, "[B,H,S,D]")


driver.serve(OpenVino)
