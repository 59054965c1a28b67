"""Ops, plans and contexts: slots and attributes, choice and its reasons, memory, dynamic axes, appended keys."""

from __future__ import annotations

import gc
import json
import unittest
import weakref
from typing import Any

import numpy as np

import sage_engine as sage
from sage_engine import Align, Feature, Slot
from support import causal_mask, normal, softmax_attention


def arrays(sq: int = 5, skv: int = 7) -> Any:
    return (
        normal((2, 4, sq, 8), 1),
        normal((2, 2, skv, 8), 2),
        normal((2, 2, skv, 8), 3),
        np.full((2, 4, sq, 8), np.nan, np.float32),
    )


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.engine = sage.Engine()
        self.addCleanup(self.engine.close)

    def run_op(self, op: sage.AttentionOp, options: Any = None) -> None:
        with self.engine.plan(op, options) as plan, plan.context() as context:
            context.run(op)


class Engines(Case):
    def test_the_flat_call_has_a_plans_bits(self) -> None:
        q, k, v, o = arrays()
        for align in (None, Align.TOP_LEFT, Align.BOTTOM_RIGHT):
            for scale in (None, 0.25):
                self.run_op(sage.AttentionOp(q, k, v, o, causal=align, scale=scale))
                np.testing.assert_array_equal(self.engine.attention(q, k, v, causal=align, scale=scale), o)
        swapped = [np.ascontiguousarray(x.transpose(0, 2, 1, 3)) for x in (q, k, v)]
        got = self.engine.attention(*swapped, layout=sage.Layout.BSHD, causal=Align.BOTTOM_RIGHT, scale=0.25)
        np.testing.assert_array_equal(got.transpose(0, 2, 1, 3), o)

    def test_odd_addresses_give_the_same_bits(self) -> None:
        q, k, v, _ = arrays()
        want = self.engine.attention(q, k, v)
        for offset in (1, 4, 8):
            moved = []
            for x in (q, k, v):
                room = np.zeros(x.nbytes + 64, np.uint8)
                start = -room.ctypes.data % 64 + offset
                view = np.ndarray(x.shape, x.dtype, room, start)
                view[...] = x
                moved.append(view)
            np.testing.assert_array_equal(self.engine.attention(*moved), want)

    def test_one_thread_and_two_give_the_same_bits(self) -> None:
        q, k, v, _ = arrays(129, 257)
        results = []
        for threads in (1, 2):
            with sage.Engine(threads=threads) as engine:
                results.append(engine.attention(q, k, v, causal=Align.BOTTOM_RIGHT))
        np.testing.assert_array_equal(*results)

    def test_what_the_flat_call_does_not_take(self) -> None:
        q, k, v, o = arrays()
        for call, kind, words in (
            (lambda: self.engine.attention(q[0], k, v), sage.ShapeError, "4 axes"),
            (lambda: self.engine.attention(q, k[:1], v[:1]), sage.ShapeError, "belong together"),
            (lambda: self.engine.attention(q, k, v[:, :, :3].copy()), sage.ShapeError, "belong together"),
            (lambda: self.engine.attention(q, k.astype(np.float64), v), sage.ArrayError, "one element type"),
            (lambda: self.engine.attention(q[:, ::2], k, v), sage.ArrayError, "row-major"),
            (lambda: self.engine.attention(q, k, v, o[:, :3]), sage.ShapeError, "out has shape"),
            (
                lambda: self.engine.attention(q, k, v, np.zeros((2, 4, 5, 16), np.float32)[..., ::2]),
                sage.ArrayError,
                "row-major",
            ),
            (lambda: self.engine.attention(q[:, :3].copy(), k, v), sage.InvalidArgumentError, "heads"),
            (lambda: self.engine.attention(q, k, v, causal=True), sage.InvalidArgumentError, "Align.TOP_LEFT"),
            (lambda: self.engine.attention(q, k, v, causal=9), sage.InvalidArgumentError, "causal is 9"),
            (lambda: self.engine.attention(q, k, v, layout=7), sage.InvalidArgumentError, "layout is 7"),
            (lambda: self.engine.attention(q, k, v, scale=0), sage.InvalidArgumentError, "scale of 0"),
            (lambda: self.engine.attention(q, k, v, scale="1"), sage.InvalidArgumentError, "a number"),
            (
                lambda: self.engine.attention(*(sage.Tensor.describe(x.shape, "f32") for x in (q, k, v, o))),
                sage.InvalidArgumentError,
                "no data",
            ),
        ):
            with self.assertRaisesRegex(kind, words):
                call()
        np.testing.assert_array_equal(
            self.engine.attention(q[:, ::2], k, v, copy=True),
            self.engine.attention(np.ascontiguousarray(q[:, ::2]), k, v),
        )

    def test_backends_and_options(self) -> None:
        self.assertEqual(self.engine.backends()[0], "reference")
        described = self.engine.describe()
        self.assertEqual([p["name"] for p in described["plugins"] if p["usable"]], self.engine.backends())
        with sage.Engine(sage.Options({"cpu.isa": "scalar"}, threads=1)) as engine:
            self.assertEqual(engine.describe()["threads"], 1)
        with self.assertRaisesRegex(sage.InvalidArgumentError, "threads"):
            sage.Engine(thread=2)
        with self.assertRaisesRegex(sage.InvalidArgumentError, "1..256|1 to 256"):
            sage.Engine({"threads": 100000})
        with self.assertRaisesRegex(sage.InvalidArgumentError, "'backend' is None"):
            sage.Engine(backend=None)  # type: ignore[arg-type]
        with self.assertRaisesRegex(sage.InvalidArgumentError, "NUL"):
            sage.Options({"a": "b\0c"})
        self.assertEqual(
            dict(sage.Options(a=True, b=3, c=["x", "y"], plugins=["/a", "/b"])),
            {"a": "true", "b": "3", "c": "x,y", "plugins": "/a:/b"},
        )


class Plans(Case):
    def test_P12_a_backend_is_chosen_and_says_why(self) -> None:
        op = sage.AttentionOp(*arrays(), causal=Align.TOP_LEFT)
        with self.engine.plan(op) as plan:
            explained = plan.explain()
            self.assertIn(plan.backend, self.engine.backends())
            self.assertEqual(explained["chosen"], plan.backend)
            self.assertIn("reference", json.dumps(explained))
        with self.engine.plan(op, {"backend": "reference"}) as plan:
            self.assertEqual(plan.backend, "reference")
        with self.assertRaisesRegex(sage.SageError, "abacus") as caught:
            self.engine.plan(op, {"backend": "abacus"})
        self.assertEqual(caught.exception.status_name, sage.status_name(caught.exception.status))
        dropped = sage.AttentionOp(*arrays(), philox=np.zeros(2, np.uint64))
        dropped.attributes.dropout_p = 0.5
        if "cpu" in self.engine.backends():
            with self.assertRaisesRegex(NotImplementedError, "DROPOUT"):
                self.engine.plan(dropped, {"backend": "cpu"})

    def test_every_slot_has_a_name(self) -> None:
        self.assertEqual(len(Slot), sage.constants.SAGE_ATTN_NUM_SLOTS)
        self.assertEqual(sorted(Slot), list(range(len(Slot))))
        with self.assertRaisesRegex(sage.InvalidArgumentError, "no slot 'biass'; it has q, k"):
            sage.AttentionOp(*arrays(), biass=np.zeros(3, np.float32))
        with self.assertRaisesRegex(sage.InvalidArgumentError, "no slot 28"):
            sage.AttentionOp(*arrays()).slot(28, np.zeros(3, np.float32))
        with self.assertRaisesRegex(sage.InvalidArgumentError, "slot is 1.5"):
            sage.AttentionOp(*arrays()).slot(1.5, None)  # type: ignore[arg-type]

    def test_features_are_seen_from_slots_and_numbers(self) -> None:
        op = sage.AttentionOp(
            *arrays(),
            causal=Align.BOTTOM_RIGHT,
            window=(3, None),
            softcap=2.0,
            scale=0.0,
            lse=np.zeros((2, 4, 5), np.float32),
        )
        self.assertEqual(
            op.features(),
            Feature.GQA
            | Feature.CAUSAL
            | Feature.BOTTOM_RIGHT
            | Feature.WINDOW_LEFT
            | Feature.SOFTCAP
            | Feature.SCALE
            | Feature.LSE,
        )
        op.causal(None).window(None, None).scale(None).slot(Slot.LSE, None)
        op.attributes.softcap = 0
        self.assertEqual(op.features() & ~Feature.BOTTOM_RIGHT, Feature.GQA)

    def test_numbers_that_do_not_fit_are_refused(self) -> None:
        op = sage.AttentionOp(*arrays())
        for name, value in (
            ("window_left", 1 << 63),
            ("block_q", -1),
            ("features", 1 << 64),
            ("block_kv", 1.5),
            ("scale", "1"),
            ("scale", 10**400),
            ("softcap", None),
        ):
            with self.assertRaisesRegex(sage.InvalidArgumentError, name):
                setattr(op.attributes, name, value)
        with self.assertRaises(AttributeError):
            op.attributes.windowleft = 3
        with self.assertRaises(sage.InvalidArgumentError):
            op.aliases = -1
        op.attributes.window_left = np.int64(3)
        self.assertEqual(op.attributes.window_left, 3)
        with self.assertRaisesRegex(sage.InvalidArgumentError, "name where the diagonal begins"):
            sage.AttentionOp(*arrays(), causal=True)  # type: ignore[arg-type]

    def test_windows_biases_and_masks(self) -> None:
        q, k, v, o = arrays()
        i, j = np.arange(5)[:, None] + 2, np.arange(7)[None, :]
        self.run_op(sage.AttentionOp(q, k, v, o, align=Align.BOTTOM_RIGHT, window=(1, 0)))
        np.testing.assert_allclose(o, softmax_attention(q, k, v, mask=(j >= i - 1) & (j <= i)), atol=4e-6)
        mask = causal_mask(5, 7, bottom_right=True)
        lse = np.zeros((2, 4, 5), np.float32)
        self.run_op(sage.AttentionOp(q, k, v, o, mask=np.broadcast_to(mask, (2, 4, 5, 7)), lse=lse))
        np.testing.assert_allclose(o, softmax_attention(q, k, v, mask=mask), atol=4e-6)
        self.assertTrue(np.isfinite(lse).all())
        weights = np.zeros((2, 4, 5, 7), np.float32)
        self.run_op(sage.AttentionOp(q, k, v, o, weights=weights))
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)

    def test_memory_is_known_before(self) -> None:
        op = sage.AttentionOp(*arrays(), lse=np.zeros((2, 4, 5), np.float32))
        with self.engine.plan(op) as plan:
            memory = plan.memory()
        self.assertEqual(memory[:5], (2 * 4 * 5 * 32, 2 * 2 * 7 * 32, 2 * 2 * 7 * 32, 2 * 4 * 5 * 32, 2 * 4 * 5 * 4))
        self.assertEqual(memory.scores_bytes, 2 * 4 * 5 * 7 * 4)
        with sage.Engine(max_memory=1000) as engine, self.assertRaisesRegex(sage.SageError, "max_memory is 1000"):
            engine.plan(sage.AttentionOp(*arrays(64, 64)), {"algorithm": "materialised"})

    def test_planned_by_shapes_alone_and_run_at_smaller_ones(self) -> None:
        described = [
            sage.Tensor.describe(shape, "f32") for shape in ((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8), (2, 4, 5, 8))
        ]
        with self.engine.plan(sage.AttentionOp(*described, dynamic=sage.Axis.SKV)) as plan, plan.context() as context:
            for keys in (7, 3, 0):
                q, k, v, o = arrays()
                context.run(sage.AttentionOp(q, k[:, :, :keys], v[:, :, :keys], o))
                np.testing.assert_allclose(o, softmax_attention(q, k[:, :, :keys], v[:, :, :keys]), atol=4e-6)
            with self.assertRaises(sage.InvalidArgumentError):
                context.run(sage.AttentionOp(*arrays(5, 8)))
            with self.assertRaises(sage.InvalidArgumentError):  # shapes without memory
                context.run(sage.AttentionOp(*described))

    def test_strides_of_axes_that_are_not_walked_do_not_matter(self) -> None:
        described = [sage.Tensor.describe((1, 1, 5, 8), "f32") for _ in range(4)]
        q, k, v, o = (normal((5, 8), seed) for seed in range(4))
        op = sage.AttentionOp(
            q[None, None],
            np.lib.stride_tricks.as_strided(k, (1, 1, 5, 8), (12, 4, 32, 4)),
            v[None, None],
            o[None, None],
        )
        with self.engine.plan(sage.AttentionOp(*described)) as plan, plan.context() as context:
            context.run(op)
            np.testing.assert_allclose(o, softmax_attention(q, k, v), atol=4e-6)
        self.run_op(op)  # the same op by a plan of its own
        np.testing.assert_allclose(o, softmax_attention(q, k, v), atol=4e-6)

    def test_keys_are_appended_in_place(self) -> None:
        token, k, v = normal((1, 1, 1, 8), 1), np.zeros((1, 1, 4, 8), np.float32), np.zeros((1, 1, 4, 8), np.float32)
        op = sage.AttentionOp(token, k, v, np.zeros((1, 1, 1, 8), np.float32), seqused_k=np.array([2], np.int32))
        self.run_op(op.append(token, token))
        np.testing.assert_array_equal(k[0, 0, 2], token[0, 0, 0])
        np.testing.assert_array_equal(k[0, 0, 3], 0)
        self.assertIn(Feature.APPEND_KV, op.features())

    def test_constants_live_as_long_as_their_plan(self) -> None:
        class Owned(np.ndarray):
            pass

        q, k, v, o = arrays()
        keys = k.view(Owned)
        alive = weakref.ref(keys)
        op = sage.AttentionOp(q, sage.Tensor(keys, constant=True), v, o)
        plan = self.engine.plan(op)
        context = plan.context()
        context.run(op)
        np.testing.assert_allclose(o, softmax_attention(q, k, v), atol=4e-6)
        del op, keys
        plan.close()
        gc.collect()
        self.assertIsNotNone(alive(), "the context still has the plan")
        context.close()
        del plan, context
        gc.collect()
        self.assertIsNone(alive())

    def test_wishes_of_an_op(self) -> None:
        q, k, v, o = arrays()
        op = sage.AttentionOp(
            q, k, v, o, accuracy=sage.Accuracy.EXACT, require=sage.Require.DETERMINISTIC | sage.Require.SCALAR
        )
        self.run_op(op)
        np.testing.assert_allclose(o, softmax_attention(q, k, v), atol=4e-6)
        op.requirements = 1 << 20
        with self.assertRaises(sage.SageError) as caught:
            self.engine.plan(op)
        self.assertIn(caught.exception.status, (sage.Status.UNKNOWN_FIELD, sage.Status.UNSUPPORTED))
        for name in ("accuracy", "dynamic", "require"):
            for value in (1 << 31, 1 << 32, "x"):
                with self.assertRaises(sage.SageError, msg=f"{name}={value}"):
                    self.engine.plan(sage.AttentionOp(q, k, v, o, **{name: value}))


class Sparse(Case):
    def test_three_forms_of_one_mask(self) -> None:
        q, o = normal((1, 1, 32, 8), 3), np.zeros((1, 1, 32, 8), np.float32)
        mask = sage.mincut_mask(32, 4)
        self.assertEqual((mask.dtype, mask.shape), (np.bool_, (32, 32)))
        self.assertFalse(np.triu(mask, 1).any())
        want = softmax_attention(q, q, q, mask=mask)
        self.run_op(sage.AttentionOp(q, q, q, o, mask=mask[None, None]))
        np.testing.assert_allclose(o, want, atol=4e-6)
        csr = sage.mincut_csr(32, 4)
        self.assertEqual(csr.indices.size, mask.sum())
        op = sage.AttentionOp(q, q, q, o, csr_indptr=csr.indptr[None, None], csr_indices=csr.indices)
        op.attributes.mask_block_q = op.attributes.mask_block_kv = 1
        self.run_op(op)
        np.testing.assert_allclose(o, want, atol=4e-6)
        blocks = sage.mincut_blocks(32, 4, 8, 4)
        np.testing.assert_array_equal(blocks, mask.reshape(4, 8, 8, 4).any((1, 3)))
        for call in (
            lambda: sage.mincut_mask(3, 4),
            lambda: sage.mincut_csr(0, 1),
            lambda: sage.mincut_blocks(8, 2, 0, 4),
            lambda: sage.mincut_mask(1 << 64, 1),
            lambda: sage.mincut_csr(8, 2, -1),
            lambda: sage.mincut_mask(8.5, 2),
        ):
            with self.assertRaises(sage.InvalidArgumentError):
                call()

    def test_the_gate(self) -> None:
        calm = sage.gate_decide(sage.GatePacket(lambda_=100, lambda_prev=100))
        self.assertEqual((calm.verdict, calm.tier, calm.window), (sage.Verdict.ALLOW, 0, 16))
        op = sage.AttentionOp(*arrays(), align=Align.TOP_LEFT)
        sage.gate_apply(calm, op)
        self.assertEqual(op.attributes.window_left, 15)
        self.assertIn(Feature.CAUSAL, op.features())
        self.run_op(op)
        policy = sage.GatePolicy(lambda_min=101, safe=sage.GateTier(window=9))
        self.assertEqual(sage.gate_decide(sage.GatePacket(lambda_=100), policy).window, 9)
        skipped = sage.gate_decide(sage.GatePacket(flags=sage.GateFlag.SKIP))
        self.assertEqual((skipped.verdict, skipped.tier), (sage.Verdict.SKIPPED, 3))
        with self.assertRaises(sage.InvalidArgumentError):
            sage.gate_apply(skipped, op)
        for packet in (sage.GatePacket(flags=64), sage.GatePacket(lambda_=-1), sage.GatePacket(boundary_edges=1 << 32)):
            with self.assertRaises((sage.InvalidArgumentError, sage.UnknownFieldError)):
                sage.gate_decide(packet)
        with self.assertRaisesRegex(sage.InvalidArgumentError, "safe.window"):
            sage.gate_decide(sage.GatePacket(), sage.GatePolicy(safe=sage.GateTier(window=-1)))


if __name__ == "__main__":
    unittest.main()
