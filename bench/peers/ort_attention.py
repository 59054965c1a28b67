"""ONNX Runtime: MultiHeadAttention where nothing is hidden and the heads are equal, GroupQueryAttention for causal, grouped
heads and decoding, its past and present in one buffer, of the problem's dtype or in i8 with a scale a channel. Both read
[B,S,H*D] only; whatever transposes they make are theirs.
No thread spins: a pool that does takes the second core from everybody."""
import numpy
import problem as problems

import driver

DOMAIN = "com.microsoft"


def coded(x):
    """[B,H,S,D] as codes and the scale [1,H,1,D] of each channel, the finer of the two forms that the op has."""
    scale = numpy.maximum(numpy.abs(x).max(axis=(0, 2), keepdims=True), 1e-30) / 127
    return numpy.clip(numpy.rint(x / scale), -127, 127).astype(numpy.int8), scale.astype(numpy.float32)


class OnnxRuntime:
    name = "onnxruntime"

    def __init__(self):
        import onnx
        import onnxruntime
        self.onnx, self.ort = onnx, onnxruntime

    def versions(self):
        return {"onnxruntime": self.ort.__version__, "onnx": self.onnx.__version__}

    def settings(self):
        return {"execution": "sequential, inter_op 1, IO binding", "session.intra_op.allow_spinning": "0",
                "isa": "no switch to hold it to AVX2"}

    def session(self, node, inputs, outputs, threads):
        helper = self.onnx.helper
        graph = helper.make_graph([node], "attention", inputs, outputs)
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)])
        options = self.ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return self.ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def prepare(self, p, q, k, v, threads):
        if p.dtype == "bf16":
            raise driver.Missing("no bf16 attention on the CPU")
        if p.cache and (p.cache != "i8" or p.dtype != "f32" or p.sq != 1 or not p.sees_all):
            raise driver.Missing("in 8 bits it has a cache of i8 for decoding in f32")
        dtype = problems.numpy_dtype(p.dtype)
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype))

        def packed(x):  # [B,H,S,D] to [B,S,H*D]
            return numpy.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(x.shape[0], x.shape[2], -1).astype(dtype)

        def info(name, array):
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

        arrays = {"q": packed(q)}
        out = {"o": numpy.zeros((p.b, p.sq, p.hq * p.d), dtype)}
        shared = {}
        if p.hq == p.hkv and p.sees_all and p.sq > 1:
            if p.dtype != "f32":
                raise driver.Missing("MultiHeadAttention is f32 only on the CPU")
            path = "MultiHeadAttention"
            arrays |= {"k": packed(k), "v": packed(v)}
            node = helper.make_node(path, ["q", "k", "v"], ["o"], domain=DOMAIN, num_heads=p.hq)
        else:
            path, quantised = "GroupQueryAttention", {}
            names = ["q", "k", "v", "", "", "lengths", "total"]
            if p.sq == 1 and p.sees_all:  # the cache holds all but the newest key, which this call appends
                arrays |= {"k": packed(k[:, :, -1:]), "v": packed(v[:, :, -1:])}
                shared = {"past_k": ("present_k", k.astype(dtype)), "past_v": ("present_v", v.astype(dtype))}
                names[3:5] = ["past_k", "past_v"]
                path += ", past and present in one buffer"
                if p.cache:
                    for name, x in (("k", k), ("v", v)):
                        codes, arrays[f"{name}_scale"] = coded(x)
                        shared[f"past_{name}"] = (f"present_{name}", codes)
                    names += [""] * 5 + ["k_scale", "v_scale"]
                    quantised = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": 8}
                    path += ", i8 with a scale a channel"
            elif p.causal and p.sq == p.skv:
                arrays |= {"k": packed(k), "v": packed(v)}
                out |= {n: numpy.zeros(k.shape, dtype) for n in ("present_k", "present_v")}
                path += ", present written"
            else:
                raise driver.Missing("GroupQueryAttention is causal only")
            arrays |= {"lengths": numpy.full(p.b, p.skv - 1, numpy.int32), "total": numpy.array([p.skv], numpy.int32)}
            node = helper.make_node("GroupQueryAttention", names, ["o", "present_k", "present_v"], domain=DOMAIN,
                                    num_heads=p.hq, kv_num_heads=p.hkv, **quantised)
        outputs = [info(n, a) for n, a in out.items()] + [info(present, a) for present, a in shared.values()]
        inputs = [info(n, a) for n, a in arrays.items()] + [info(n, a) for n, (_, a) in shared.items()]
        try:
            session = self.session(node, inputs, outputs, threads)
        except Exception as error:
            raise driver.Missing(f"{path} does not take {p.dtype}: {str(error)[:200]}") from None
        binding = session.io_binding()
        value = self.ort.OrtValue.ortvalue_from_numpy
        for name, array in arrays.items():
            binding.bind_ortvalue_input(name, value(array))
        result = value(out["o"])
        binding.bind_ortvalue_output("o", result)
        for name in list(out)[1:]:
            binding.bind_ortvalue_output(name, value(out[name]))
        for past, (present, array) in shared.items():
            buffer = value(array)
            binding.bind_ortvalue_input(past, buffer)
            binding.bind_ortvalue_output(present, buffer)

        def run():
            session.run_with_iobinding(binding)

        def output():
            run()
            return result.numpy().reshape(p.b, p.sq, p.hq, p.d).transpose(0, 2, 1, 3)

        return driver.Prepared(run, output, path, "[B,S,H*D]")


driver.serve(OnnxRuntime)
