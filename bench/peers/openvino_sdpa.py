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

    def compile(self, model, hint, threads, **more):
        compiled = self.core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads,
                                                          "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", **more})
        inside = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if inside != hint:
            raise driver.Missing(f"computes {hint} as {inside} on this machine")
        return compiled

    def cached(self, x, name, group, beam):
        """The new rows behind those of the state, and each head as often as it has queries: the form that the plugin fuses."""
        from openvino import opset6
        from openvino.op.util import Variable, VariableInfo
        ov, ops = self.ov, self.ops
        info = VariableInfo()
        info.data_shape, info.data_type, info.variable_id = x.get_partial_shape(), ov.Type.f32, name
        variable = Variable(info)
        heads, d = (x.get_partial_shape()[axis].get_length() for axis in (1, 3))
        axis0 = ops.constant(numpy.int64(0))
        batch = ops.gather(ops.shape_of(x), ops.constant(numpy.array([0], numpy.int64)), axis0)
        empty = ops.broadcast(ops.constant(numpy.float32(0)), ops.concat([batch, ops.constant(numpy.array([heads, 0, d], numpy.int64))], 0))
        whole = ops.concat([ops.gather(opset6.read_value(empty, variable), beam, axis0), x], 2)
        apart = ops.unsqueeze(whole, ops.constant(numpy.int64(2)))
        wide = ops.multiply(apart, ops.constant(numpy.ones((1, 1, group, 1, 1), numpy.float32)))
        return opset6.assign(whole, variable), ops.reshape(wide, ops.constant(numpy.array([0, heads * group, -1, d], numpy.int64)), True)

    def decoding(self, p, q, k, v, threads):
        ov, ops = self.ov, self.ops
        new = [ops.parameter([-1, h, -1, p.d], ov.Type.f32, name=n) for n, h in (("q", p.hq), ("k", p.hkv), ("v", p.hkv))]
        beam = ops.parameter([-1], ov.Type.i32, name="beam")
        sinks, wide = zip(*(self.cached(x, f"past_{n}", p.hq // p.hkv, beam) for n, x in zip("kv", new[1:])))
        model = ov.Model([ops.result(ops.scaled_dot_product_attention(new[0], *wide, causal=False))], list(sinks), new + [beam])
        stored = p.cache or p.dtype
        compiled = self.compile(model, "bf16" if p.dtype == "bf16" else "f32", threads, KV_CACHE_PRECISION=stored)
        kept = compiled.get_property("KV_CACHE_PRECISION").get_type_name()
        if kept != stored:
            raise driver.Missing(f"keeps a cache of {kept} where {stored} was asked for")
        kinds = [node.get_rt_info()["layerType"].astype(str) for node in compiled.get_runtime_model().get_ops()]
        if not any("ScaledDotProductAttention" in kind for kind in kinds):
            raise driver.Missing("its graph with a state did not become one attention node")
        request = compiled.create_infer_request()
        last = [numpy.ascontiguousarray(x) for x in (q, k[:, :, -1:], v[:, :, -1:])]
        past = {"past_k": numpy.ascontiguousarray(k[:, :, :-1]), "past_v": numpy.ascontiguousarray(v[:, :, :-1])}
        for index, array in enumerate(last + [numpy.arange(p.b, dtype=numpy.int32)]):
            request.set_input_tensor(index, ov.Tensor(array))

        def reset():
            for state in request.query_state():
                state.state = ov.Tensor(past[state.name])

        def output():
            request.infer()
            return numpy.array(request.get_output_tensor(0).data, dtype=numpy.float32)

        reset()
        path = f"a state fused with ScaledDotProductAttention, cache of {stored}"
        # Each call makes the cache one longer: at most a sixty-fourth before it is as it was.
        return driver.Prepared(request.infer, output, path, "[B,H,S,D]", reset, max(1, p.skv // 64))

    def prepare(self, p, q, k, v, threads):
        ov, ops = self.ov, self.ops
        if p.sq == 1 and p.sees_all and p.skv > 1 and p.hq != p.hkv:
            return self.decoding(p, q, k, v, threads)
        if p.causal and not p.sees_all and p.sq != p.skv:
            raise driver.Missing("only square causal problems are asked of it")
        element = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "f16": ov.Type.f16}[p.dtype]
        parameters = [ops.parameter(list(x.shape), element, name=n) for n, x in zip("qkv", (q, k, v))]
        heads = parameters if p.hq == p.hkv else [parameters[0]] + [self.grouped(x, p) for x in parameters[1:]]
        model = ov.Model([ops.scaled_dot_product_attention(*heads, causal=bool(p.causal) and not p.sees_all)], parameters)
        # f16 is stored as such and computed in f32: hinted f16, it would become bf16 where there is no f16 arithmetic.
        hint = "f32" if p.dtype == "f16" else p.dtype
        compiled = self.compile(model, hint, threads)
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
