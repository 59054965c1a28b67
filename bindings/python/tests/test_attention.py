"""attention() and the flash_attn functions: against a softmax in float64, and against torch where it is installed."""

from __future__ import annotations

import importlib.util
import itertools
import unittest
from typing import Any

import numpy as np

import sage_engine as sage
from support import causal_mask, from_bf16, normal, softmax_attention, to_bf16

TOLERANCE = {np.float16: 4e-3, np.float32: 4e-6, np.float64: 1e-12}


class Case(unittest.TestCase):
    def close(self, got: Any, want: Any, tolerance: float = 4e-6) -> None:
        self.assertEqual(got.shape, want.shape)
        np.testing.assert_allclose(np.asarray(got, np.float64), want, rtol=tolerance, atol=tolerance)


def qkv(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], dtype: Any = np.float32) -> Any:
    return normal(q, 1, dtype), normal(k, 2, dtype), normal(v, 3, dtype)


class ScaledDotProduct(Case):
    def test_types_masks_and_scales(self) -> None:
        mask = np.random.default_rng(4).random((2, 4, 5, 7)) > 0.4
        bias = normal((2, 4, 5, 7), 5, np.float64)
        for dtype, tolerance in TOLERANCE.items():
            q, k, v = qkv((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 3), dtype)
            for scale in (None, 0.3, 0.0, -0.5):
                self.close(sage.attention(q, k, v, scale=scale), softmax_attention(q, k, v, scale), tolerance)
                self.close(
                    sage.attention(q, k, v, is_causal=True, scale=scale),
                    softmax_attention(q, k, v, scale, causal_mask(5, 7)),
                    tolerance,
                )
                self.close(
                    sage.attention(q, k, v, mask, scale=scale), softmax_attention(q, k, v, scale, mask), tolerance
                )
                added = bias.astype(dtype)
                self.close(
                    sage.attention(q, k, v, added, scale=scale),
                    softmax_attention(q, k, v, scale, bias=added.astype(np.float64)),
                    tolerance,
                )

    def test_causal_begins_top_left(self) -> None:
        for sq, skv in ((3, 7), (7, 3), (5, 5)):
            q, k, v = qkv((1, 2, sq, 4), (1, 2, skv, 4), (1, 2, skv, 4))
            got = sage.attention(q, k, v, is_causal=True)
            self.close(got, softmax_attention(q, k, v, mask=causal_mask(sq, skv)))
            np.testing.assert_allclose(got[:, :, 0], v[:, :, 0], rtol=1e-6)  # the first query sees the first key only

    def test_any_leading_axes(self) -> None:
        for lead in ((), (4,), (2, 4), (3, 2, 4), (2, 1, 3, 2)):
            q, k, v = qkv((*lead, 5, 8), (*lead, 7, 8), (*lead, 7, 3))
            self.close(sage.attention(q, k, v), softmax_attention(q, k, v))
            mask = np.random.default_rng(4).random((*lead, 5, 7)) > 0.3
            self.close(sage.attention(q, k, v, mask), softmax_attention(q, k, v, mask=mask))

    def test_axes_are_broadcast_by_strides(self) -> None:
        leads = (
            ((2, 4), (1, 4), (2, 1)),
            ((2, 4), (2, 1), ()),
            ((1, 4), (2, 4), ()),
            ((3, 2, 4), (2, 4), (3, 1, 1)),
            ((3, 1, 4), (1, 2, 4), (3, 1, 1)),
            ((2, 1), (2, 4), ()),
            ((2, 3, 4), (4,), (2, 1, 1)),
        )
        for lead_q, lead_k, lead_m in leads:
            q, k, v = qkv((*lead_q, 5, 8), (*lead_k, 7, 8), (*lead_k, 7, 3))
            mask = np.random.default_rng(4).random((*lead_m, 5, 7)) > 0.3
            lead = np.broadcast_shapes(lead_q, lead_k)
            want = softmax_attention(*(np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (q, k, v)), mask=mask)
            self.close(sage.attention(q, k, v, mask), want)
            turned = np.ascontiguousarray(np.swapaxes(q, -1, -2)).swapaxes(-1, -2)  # axes that do not merge
            self.close(sage.attention(turned, k, v, mask), want)
        for shape in ((7,), (1, 7), (5, 1), (4, 5, 7), (2, 1, 1, 7), (1, 1, 5, 7)):
            q, k, v = qkv((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8))
            bias = normal(shape, 6)
            self.close(sage.attention(q, k, v, bias), softmax_attention(q, k, v, bias=bias))

    def test_several_heads_share_a_key(self) -> None:
        q, k, v = qkv((2, 12, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8))
        want = softmax_attention(q, k, v)
        self.close(sage.attention(q, k, v, enable_gqa=True), want)
        self.close(sage.attention(q[0], k[0], v[0], enable_gqa=True), want[0])
        self.close(sage.attention(q[None], k[None], v[None], enable_gqa=True), want[None])
        with self.assertRaisesRegex(sage.ShapeError, "enable_gqa=True"):
            sage.attention(q, k, v)
        with self.assertRaisesRegex(ValueError, "multiple"):
            sage.attention(q[:, :7], k, v, enable_gqa=True)

    def test_strides_and_outputs_in_place(self) -> None:
        tokens_first = normal((2, 5, 4, 8), 1)
        q = tokens_first.transpose(0, 2, 1, 3)
        _, k, v = qkv((1,), (2, 4, 7, 8), (2, 4, 7, 8))
        want = softmax_attention(q, k, v)
        self.close(sage.attention(q, k[:, :, ::-1], v[:, :, ::-1]), want)
        memory = np.full((2, 5, 4, 8), np.nan, np.float32)
        out = memory.transpose(0, 2, 1, 3)
        self.assertIs(sage.attention(q, k, v, out=out), out)
        self.close(memory.transpose(0, 2, 1, 3), want)
        for wrong, words in ((np.zeros((2, 4, 5, 7), np.float32), "shape"), (np.zeros((2, 4, 5, 8)), "f64")):
            with self.assertRaisesRegex(sage.InvalidArgumentError, words):
                sage.attention(q, k, v, out=wrong)

    def test_results_need_memory_of_their_own(self) -> None:
        room = normal((4, 1, 2, 5, 8), 1)
        q, k, v, o = room
        self.assertIs(sage.attention(q, k, v, out=o), o)  # side by side is apart
        with sage.Engine() as engine:
            for a in (q, k, v):
                for call in (sage.attention, sage.flash_attn_func, engine.attention):
                    with self.assertRaisesRegex(sage.InvalidArgumentError, "memory of their own|give them memory apart"):
                        call(q, k, v, out=a)
            partly = room.reshape(-1)[40:120].reshape(1, 2, 5, 8)
            for call, out in ((engine.attention, partly), (sage.attention, partly[:, :, ::-1])):
                with self.assertRaisesRegex(sage.InvalidArgumentError, "memory of their own|give them memory apart"):
                    call(q, k, v, out=out)
        empty = np.zeros((0, 2, 5, 8), np.float32)
        sage.attention(empty, empty, empty, out=empty)

    def test_bits_of_bf16(self) -> None:
        exact = [from_bf16(to_bf16(x)) for x in qkv((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8))]
        got = sage.attention(*map(to_bf16, exact), dtype="bf16")
        self.assertEqual(got.dtype, np.uint16)
        self.close(from_bf16(got), softmax_attention(*exact), 2e-2)
        bias = from_bf16(to_bf16(normal((5, 7), 9)))
        want = softmax_attention(*exact, bias=bias)
        self.close(from_bf16(sage.attention(*map(to_bf16, exact), to_bf16(bias), dtype="bf16")), want, 2e-2)
        self.close(from_bf16(sage.attention(*map(to_bf16, exact), bias, dtype="bf16")), want, 2e-2)

    def test_who_sees_nothing_gets_zero(self) -> None:
        q, k, v = qkv((1, 1, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4))
        mask = np.ones((3, 5), bool)
        mask[1] = False
        v[..., 4, :] = np.nan
        mask[:, 4] = False  # and what nobody sees may be anything
        got = sage.attention(q, k, v, mask)
        np.testing.assert_array_equal(got[0, 0, 1], 0)
        self.close(got, softmax_attention(q, k[..., :4, :], v[..., :4, :], mask=mask[:, :4]))

    def test_zero_lengths(self) -> None:
        for q, k, out in (
            ((0, 2, 3, 4), (0, 2, 5, 4), (0, 2, 3, 4)),
            ((1, 2, 0, 4), (1, 2, 5, 4), (1, 2, 0, 4)),
            ((1, 2, 3, 4), (1, 2, 0, 4), (1, 2, 3, 4)),
            ((2, 0, 2, 3, 4), (2, 0, 2, 5, 4), (2, 0, 2, 3, 4)),
        ):
            for mask in (None, np.ones((1, 1), bool)):
                got = sage.attention(*qkv(q, k, k), mask)
                self.assertEqual(got.shape, out)
                np.testing.assert_array_equal(got, 0)

    def test_dropout_is_drawn_from_its_seed(self) -> None:
        q, k, v = qkv((2, 3, 2, 5, 8), (2, 3, 2, 7, 8), (2, 3, 2, 7, 8))
        first = sage.attention(q, k, v, dropout_p=0.5, seed=7)
        np.testing.assert_array_equal(first, sage.attention(q, k, v, dropout_p=0.5, seed=7))
        self.assertTrue((first != sage.attention(q, k, v, dropout_p=0.5, seed=8)).any())
        self.assertTrue((sage.attention(q, k, v, dropout_p=0.5) != sage.attention(q, k, v, dropout_p=0.5)).any())
        mean = np.mean([sage.attention(q, k, v, dropout_p=0.25, seed=seed) for seed in range(400)], 0)
        self.assertLess(np.abs(mean - softmax_attention(q, k, v)).mean(), 0.03)
        # Where axes do not merge there are several calls: each draws its own numbers.
        ones = [np.ones((2, 2, 1, 64, 8), np.float32) for _ in range(3)]
        ones[0] = np.ones((2, 1, 1, 64, 8), np.float32)
        drawn = sage.attention(*ones, dropout_p=0.5, seed=1).reshape(4, -1)
        for a, b in itertools.combinations(range(4), 2):
            self.assertTrue((drawn[a] != drawn[b]).any())

    def test_what_does_not_fit_is_said(self) -> None:
        q, k, v = qkv((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8))
        for call, kind, words in (
            (lambda: sage.attention(q, k[..., :4], v), sage.ShapeError, "last axes of query and key"),
            (lambda: sage.attention(q, k, v[:, :, :3]), sage.ShapeError, "second last of key and value"),
            (lambda: sage.attention(q, normal((3, 4, 7, 8), 1), v), sage.ShapeError, "leading axes"),
            (lambda: sage.attention(q[0, 0, 0], k, v), sage.ShapeError, "at least 2 axes"),
            (lambda: sage.attention(q[0, 0], k[0, 0], v[0, 0], enable_gqa=True), sage.ShapeError, "at least 3 axes"),
            (lambda: sage.attention(q, k, v, np.ones((3, 7), bool)), sage.ShapeError, "attn_mask.*broadcast"),
            (lambda: sage.attention(q, k, v, np.ones((5, 7), bool), is_causal=True), ValueError, "both given"),
            (lambda: sage.attention(q, k.astype(np.float64), v), ValueError, "f64"),
            (lambda: sage.attention(q, k, v, np.ones((5, 7), np.int32)), sage.SageError, "BIAS|bias"),
            (lambda: sage.attention([[1.0]], k, v), TypeError, "query is list"),
            (lambda: sage.attention(None, k, v), TypeError, "query is None"),
            (lambda: sage.attention(q, k, v, dropout_p=1.5), ValueError, "dropout"),
            (lambda: sage.attention(q, k, v, dropout_p=0.5, seed=-1), ValueError, "seed"),
            (lambda: sage.attention(q, k, v, scale="x"), (TypeError, ValueError), ""),
        ):
            with self.assertRaisesRegex(kind, words):
                call()

    def test_lists_where_copies_are_allowed(self) -> None:
        data = [[1.0, 2.0], [3.0, 4.0]]
        self.close(sage.attention(data, data, data, copy=True), softmax_attention(data, data, data), 1e-12)


class Flash(Case):
    def setUp(self) -> None:
        self.q, self.k, self.v = qkv((2, 5, 6, 8), (2, 7, 3, 8), (2, 7, 3, 8))
        self.heads_first = [x.transpose(0, 2, 1, 3) for x in (self.q, self.k, self.v)]

    def want(self, **more: Any) -> Any:
        return softmax_attention(*self.heads_first, **more).transpose(0, 2, 1, 3)

    def test_layout_and_the_diagonal_that_ends_in_the_last_key(self) -> None:
        self.close(sage.flash_attn_func(self.q, self.k, self.v), self.want())
        causal = sage.flash_attn_func(self.q, self.k, self.v, causal=True)
        self.close(causal, self.want(mask=causal_mask(5, 7, bottom_right=True)))
        self.assertTrue(
            (causal != sage.attention(*self.heads_first, is_causal=True, enable_gqa=True).transpose(0, 2, 1, 3)).any(),
            "the two conventions differ where lengths do",
        )
        self.close(
            sage.flash_attn_func(self.q, self.k, self.v, softmax_scale=0.125, causal=True),
            self.want(scale=0.125, mask=causal_mask(5, 7, bottom_right=True)),
        )
        self.close(sage.flash_attn_func(self.q, self.k, self.v, softmax_scale=0.0), self.want(scale=0.0))

    def test_windows_softcap_slopes_and_sums(self) -> None:
        i, j = np.arange(5)[:, None] + 2, np.arange(7)[None, :]
        self.close(
            sage.flash_attn_func(self.q, self.k, self.v, window_size=(2, 1)),
            self.want(mask=(j >= i - 2) & (j <= i + 1)),
        )
        self.close(sage.flash_attn_func(self.q, self.k, self.v, window_size=(0, -1)), self.want(mask=j >= i))
        slopes = np.linspace(0.1, 0.6, 6, dtype=np.float32)
        self.close(
            sage.flash_attn_func(self.q, self.k, self.v, alibi_slopes=slopes),
            self.want(bias=-slopes[:, None, None].astype(np.float64) * abs(i - j)),
        )
        q, k = (np.asarray(x, np.float64) for x in self.heads_first[:2])
        scores = q @ np.repeat(k, 2, 1).swapaxes(-1, -2) / np.sqrt(8)
        capped = 3 * np.tanh(scores / 3)
        p = np.exp(capped)
        want = (p / p.sum(-1, keepdims=True)) @ np.repeat(self.heads_first[2], 2, 1)
        o, lse = sage.flash_attn_func(self.q, self.k, self.v, softcap=3.0, return_lse=True)
        self.close(o, want.transpose(0, 2, 1, 3))
        self.close(lse, np.log(p.sum(-1)))

    def test_packed_sequences(self) -> None:
        lengths_q, lengths_k = (3, 0, 5), (4, 2, 6)
        q, k, v = qkv((8, 6, 8), (12, 3, 8), (12, 3, 8))
        starts = [np.cumsum([0, *lengths]).astype(np.int32) for lengths in (lengths_q, lengths_k)]
        got, lse = sage.flash_attn_varlen_func(q, k, v, *starts, 5, 6, causal=True, return_lse=True)
        self.assertEqual(lse.shape, (6, 8))
        for n in (0, 2):
            at_q, at_k = slice(*starts[0][n : n + 2]), slice(*starts[1][n : n + 2])
            part = [x.transpose(1, 0, 2) for x in (q[at_q], k[at_k], v[at_k])]
            mask = causal_mask(lengths_q[n], lengths_k[n], bottom_right=True)
            self.close(got[at_q], softmax_attention(*part, mask=mask).transpose(1, 0, 2))
        with self.assertRaisesRegex(ValueError, "dropout"):
            sage.flash_attn_varlen_func(q, k, v, *starts, 5, 6, dropout_p=0.5)
        with self.assertRaisesRegex(sage.ShapeError, "tokens, heads, width"):
            sage.flash_attn_varlen_func(q[None], k, v, *starts, 5, 6)

    def test_bf16_outputs_and_errors(self) -> None:
        exact = [from_bf16(to_bf16(x)) for x in (self.q, self.k, self.v)]
        got, lse = sage.flash_attn_func(*map(to_bf16, exact), dtype="bf16", return_lse=True)
        self.close(
            from_bf16(got), softmax_attention(*(x.transpose(0, 2, 1, 3) for x in exact)).transpose(0, 2, 1, 3), 2e-2
        )
        self.assertEqual(lse.dtype, np.float32)
        out = np.empty_like(self.q)
        self.assertIs(sage.flash_attn_func(self.q, self.k, self.v, out=out), out)
        with self.assertRaisesRegex(sage.ShapeError, "batch, tokens, heads, width"):
            sage.flash_attn_func(self.q[0], self.k, self.v)


@unittest.skipUnless(importlib.util.find_spec("torch"), "torch is not installed: not compared with it")
class BesideTorch(Case):
    def test_the_same_call(self) -> None:
        import torch
        import torch.nn.functional as F

        generator = torch.Generator().manual_seed(1)
        for dtype, tolerance in (
            (torch.float32, 4e-6),
            (torch.float64, 1e-12),
            (torch.bfloat16, 2e-2),
            (torch.float16, 4e-3),
        ):
            q, k, v = (
                torch.randn(shape, generator=generator).to(dtype)
                for shape in ((2, 12, 5, 8), (2, 4, 7, 8), (2, 4, 7, 3))
            )
            mask = torch.rand((2, 1, 5, 7), generator=generator) > 0.3
            mask[..., 0] = True
            bias = torch.randn((5, 7), generator=generator).to(dtype)
            for arguments in ({}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": mask}, {"attn_mask": bias}):
                want = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **arguments)
                out = torch.empty_like(want)
                self.assertIs(sage.attention(q, k, v, enable_gqa=True, out=out, **arguments), out)
                self.close(out.double().numpy(), want.double().numpy(), tolerance)
        with self.assertRaisesRegex(sage.ArrayError, "resolve_neg"):
            sage.attention(torch.randn(2, 2, dtype=torch.cfloat).conj().imag, k.float(), v.float())
        with self.assertRaisesRegex(sage.ArrayError, "detach"):
            sage.attention(q.float().requires_grad_(), k.float(), v.float(), enable_gqa=True)


if __name__ == "__main__":
    unittest.main()
