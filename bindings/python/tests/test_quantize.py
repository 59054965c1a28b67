"""quantize() and dequantize() against numpy, what they refuse, attention over what they made; a session's accuracy."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np

import sage_engine as sage
from sage_engine import Granularity
from support import from_bf16, model_file, normal, softmax_attention, to_bf16

AXES = {
    Granularity.HEAD: (2, 3),
    Granularity.TOKEN: (3,),
    Granularity.CHANNEL: (2,),
}


class Quantizing(unittest.TestCase):
    def test_R6_every_granularity_as_numpy_has_it(self) -> None:
        x = normal((2, 3, 8, 4), 1)
        for granularity, axes in {**AXES, Granularity.TENSOR: (0, 1, 2, 3)}.items():
            for dtype, most in (("i8", 127), ("i16", 32767)):
                scale = (np.abs(x).max(axes, keepdims=True).astype(np.float64) / most).astype(np.float32)
                made = sage.quantize(x, granularity, dtype=dtype)
                np.testing.assert_array_equal(made.scale.ravel(), scale.ravel())
                want = np.rint(x.astype(np.float64) / scale)
                np.testing.assert_array_equal(made.codes, want)
                self.assertEqual(made.codes.dtype, np.dtype(f"int{dtype[1:]}"))
                error = np.abs(want * scale.astype(np.float64) - x)
                self.assertAlmostEqual(made.report.max_abs_error, error.max(), delta=1e-12)
                self.assertIsNone(made.mean)
                back = sage.dequantize(made.codes, made.scale, granularity)
                np.testing.assert_array_equal(back, (want * scale.astype(np.float64)).astype(np.float32))
        blocks = sage.quantize(x, Granularity.BLOCK, scale_block=5)
        self.assertEqual(blocks.scale.shape, (2, 3, 2))
        self.assertEqual(blocks.scale[1, 2, 1], np.float32(float(np.abs(x[1, 2, 5:]).max()) / 127))

    def test_means_strides_and_memory_that_is_given(self) -> None:
        x = normal((2, 8, 3, 4), 2).transpose(0, 2, 1, 3)  # [B,S,H,D] seen as [B,H,S,D]
        codes, scale, mean = (
            np.zeros(x.shape, np.int8),
            np.zeros((2, 3, 8), np.float32),
            np.zeros((2, 3, 4), np.float32),
        )
        made = sage.quantize(x + 50, Granularity.TOKEN, mean=mean, codes=codes, scale_out=scale)
        self.assertIs(made.codes, codes)
        self.assertIs(made.scale, scale)
        self.assertIs(made.mean, mean)
        np.testing.assert_allclose(mean, (x + 50).mean(2), rtol=1e-6)
        self.assertEqual(made.report.scale_bytes, scale.nbytes + mean.nbytes)
        again = sage.quantize(x + 50, Granularity.TOKEN, mean=True)
        np.testing.assert_array_equal(again.codes, codes)
        out = np.zeros(x.shape)
        self.assertIs(sage.dequantize(codes, scale, Granularity.TOKEN, mean=mean, out=out), out)
        np.testing.assert_allclose(out, x + 50, atol=0.03)

    def test_packed_sequences(self) -> None:
        x, starts = normal((9, 2, 4), 3), np.array([0, 4, 4, 9], np.int32)
        made = sage.quantize(x, Granularity.TOKEN, mean=True, cu_seqlens=starts)
        self.assertEqual((made.scale.shape, made.mean.shape), ((2, 9), (3, 2, 4)))
        np.testing.assert_allclose(made.mean[2], x[4:].mean(0), rtol=1e-5)
        each = np.zeros((3, 2), np.float32)
        sage.quantize(x, Granularity.HEAD, cu_seqlens=starts, scale_out=each)
        np.testing.assert_array_equal(each[:, 1], [np.abs(x[:4, 1]).max() / np.float32(127), 1, each[2, 1]])
        back = sage.dequantize(made.codes, made.scale, Granularity.TOKEN, mean=made.mean, cu_seqlens=starts)
        np.testing.assert_allclose(back, x, atol=0.03)

    def test_R6_given_scales_saturate(self) -> None:
        x = np.array([0.5, 1.5, -2.5, 1000], np.float32).reshape(1, 1, 1, 4)
        made = sage.quantize(x, Granularity.TENSOR, scale=np.ones(1, np.float32))
        np.testing.assert_array_equal(made.codes.ravel(), [0, 2, -2, 127])
        self.assertEqual(made.report.saturated, 1)

    def test_bf16_by_its_bits(self) -> None:
        bits = to_bf16(normal((1, 2, 3, 4), 4))
        made = sage.quantize(bits, Granularity.TOKEN, x_dtype="bf16")
        plain = sage.quantize(from_bf16(bits), Granularity.TOKEN)
        np.testing.assert_array_equal(made.codes, plain.codes)
        back = sage.dequantize(made.codes, made.scale, Granularity.TOKEN, dtype="bf16")
        self.assertEqual(back.dtype, np.uint16)
        np.testing.assert_allclose(from_bf16(back), from_bf16(bits), atol=0.03)

    def refused(self, words: str, kind: Any, *given: Any, **named: Any) -> None:
        with self.assertRaisesRegex(kind, words):
            sage.quantize(*given, **named)

    def test_R6_what_is_refused(self) -> None:
        x = normal((1, 2, 3, 4), 5)
        bad = x.copy()
        bad[0, 1, 2, 3] = np.nan
        codes = np.full(x.shape, 77, np.int8)
        self.refused(r"x\[0,1,2,3\] is nan", ValueError, bad, Granularity.TOKEN, codes=codes)
        self.assertTrue((codes == 77).all())
        self.refused("granularity is 9", ValueError, x, 9)
        self.refused("granularity is 1.5", ValueError, x, 1.5)
        self.refused("scale_block is 0", ValueError, x, Granularity.BLOCK)
        self.refused("scale_block is -1", ValueError, x, Granularity.BLOCK, scale_block=-1)
        self.refused("both given", ValueError, x, Granularity.HEAD, scale=codes, scale_out=codes)
        self.refused("x has rank 1", ValueError, x.ravel(), Granularity.TOKEN)
        self.refused("x has rank 0", ValueError, np.float32(1).reshape(()), Granularity.CHANNEL, mean=True)
        self.refused("give cu_seqlens", ValueError, x[0], Granularity.TOKEN, mean=True)
        self.refused("codes is f32, i8 or i16", ValueError, x, Granularity.TOKEN, dtype="f32")
        self.refused("'float12' is no element type", TypeError, x, Granularity.TOKEN, dtype="float12")
        self.refused("x is list", TypeError, [1.0], Granularity.TOKEN)
        self.refused("not defined for packed rows", NotImplementedError, x[0], Granularity.BLOCK, scale_block=2)
        codes.flags.writeable = False
        self.refused("codes is written, so its memory cannot be", ValueError, x, Granularity.TOKEN, codes=codes)
        room = np.zeros(32, np.float32)
        over = room[5:7].view(np.int8).reshape(1, 1, 2, 4)
        self.refused("codes is written and overlaps x", ValueError, room[:8].reshape(1, 1, 2, 4), 1, codes=over)
        with self.assertRaisesRegex(ValueError, "scale 0 of 1 is 0"):
            sage.dequantize(over.copy(), np.zeros(1, np.float32), Granularity.TENSOR)

    def test_R5_attention_over_codes(self) -> None:
        q, k, v = (normal((1, 2, 32, 64), seed) for seed in (6, 7, 8))
        k += 3  # what a mean is for
        made = [sage.quantize(x, Granularity.TOKEN, mean=x is k) for x in (q, k, v)]
        o = np.zeros_like(q)
        op = sage.AttentionOp(
            *(m.codes for m in made), o, scale_q=made[0].scale, scale_k=made[1].scale, scale_v=made[2].scale
        )
        for name in ("granularity_q", "granularity_k", "granularity_v"):
            setattr(op.attributes, name, Granularity.TOKEN)
        with sage.Engine() as engine, engine.plan(op, {"backend": "reference"}) as plan, plan.context() as context:
            context.run(op)
            self.assertEqual(plan.memory().k_bytes * 4, k.nbytes)
        want = softmax_attention(q, k, v)
        self.assertLess(np.linalg.norm(o - want) / np.linalg.norm(want), 0.02)


class Accuracy(unittest.TestCase):
    def test_of_the_last_run(self) -> None:
        with sage.Engine() as engine, engine.model(model_file("op_graph.fbs")) as model:
            with model.session() as session, self.assertRaisesRegex(ValueError, "accuracy_report"):
                session.accuracy()
            with model.session({"accuracy_report": True}) as session:
                for index, shape in enumerate(((1, 2, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4))):
                    session.set_input(index, normal(shape, index))
                session.run()
                told = session.accuracy()
        self.assertEqual(told["against"], "reference")
        self.assertEqual(told["summary"]["measured"], 1)


if __name__ == "__main__":
    unittest.main()
