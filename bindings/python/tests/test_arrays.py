"""Tensor: what is taken without a copy, what is refused, and how long lent memory lives."""

from __future__ import annotations

import array
import gc
import sys
import unittest
import weakref
from typing import Any

import numpy as np

import sage_engine as sage
from support import Producer, normal

FLOAT, BFLOAT = 2, 4


class NumpyArrays(unittest.TestCase):
    def test_every_type_is_viewed_in_place(self) -> None:
        for name, dtype in (
            ("int8", "i8"),
            ("int16", "i16"),
            ("int32", "i32"),
            ("int64", "i64"),
            ("uint8", "u8"),
            ("uint64", "u64"),
            ("float16", "f16"),
            ("float32", "f32"),
            ("float64", "f64"),
            ("bool", "bool"),
        ):
            data = np.zeros((2, 3), name)
            tensor = sage.Tensor(data)
            self.assertEqual(tensor.dtype, sage.Dtype.of(dtype))
            self.assertEqual(tensor.dtype.itemsize, data.itemsize)
            self.assertEqual((tensor.address, tensor.shape, tensor.strides), (data.ctypes.data, (2, 3), (3, 1)))
            self.assertTrue(tensor.writable and tensor.contiguous)

    def test_strides_of_views_are_kept(self) -> None:
        data = np.zeros((4, 6, 8), np.float32)
        for view, strides in (
            (data[:, ::2], (48, 16, 1)),
            (data[::-1], (-48, 8, 1)),
            (data.transpose(2, 0, 1), (1, 48, 8)),
            (np.broadcast_to(data[:1], (5, 6, 8)), (0, 8, 1)),
            (data[1:, 2:, 3:], (48, 8, 1)),
        ):
            tensor = sage.Tensor(view)
            self.assertEqual((tensor.address, tensor.strides), (view.ctypes.data, strides))
            self.assertFalse(tensor.contiguous)

    def test_bits_of_narrow_types_need_their_name(self) -> None:
        bits = np.zeros((2, 3), np.uint16)
        self.assertEqual(sage.Tensor(bits, "bf16").dtype, sage.Dtype.BF16)
        self.assertEqual(sage.Tensor(bits, "bfloat16").dtype, sage.Dtype.BF16)
        self.assertEqual(sage.Tensor(np.zeros(3, np.uint8), "f8_e5m2").dtype, sage.Dtype.F8_E5M2)
        with self.assertRaisesRegex(sage.ArrayError, 'dtype="bf16"'):
            sage.Tensor(bits)
        for wrong, dtype in (
            (np.zeros(3, np.float32), "bf16"),
            (np.zeros(3, np.uint8), "bf16"),
            (bits, "f32"),
            (np.zeros(3, np.float16), "bf16"),
            (np.zeros(3, np.float32), "f64"),
        ):
            with self.assertRaisesRegex(sage.ArrayError, "cannot hold"):
                sage.Tensor(wrong, dtype)
        with self.assertRaisesRegex(sage.ArrayError, "known: .*bf16"):
            sage.Tensor(bits, "bf17")

    def test_types_without_a_name_here_are_refused(self) -> None:
        for dtype in ("complex64", "uint32", "O", "U4", "datetime64[s]", [("a", "f4")]):
            with self.assertRaises(TypeError):
                sage.Tensor(np.zeros(3, dtype))

    def test_a_mask_beside_the_numbers_is_not_lost(self) -> None:
        with self.assertRaisesRegex(sage.ArrayError, "masked array"):
            sage.Tensor(np.ma.array([1.0, 2.0], mask=[True, False]), copy=True)

    def test_nothing_is_copied_unless_allowed(self) -> None:
        foreign = np.arange(3, dtype=np.dtype(np.float32).newbyteorder())
        fields = np.zeros(3, [("a", "f4"), ("b", "i1")])["a"]
        for data in ([1.0, 2.0], foreign, fields, 3.5):
            with self.assertRaisesRegex(sage.ArrayError, "copy=True"):
                sage.Tensor(data)
            self.assertIsInstance(sage.Tensor(data, copy=True), sage.Tensor)
        copied = sage.engine.array_of(sage.Tensor(foreign, copy=True))
        np.testing.assert_array_equal(copied, [0, 1, 2])
        for nothing in (None, [None], ["a", object()]):
            with self.assertRaises(sage.ArrayError):
                sage.Tensor(nothing, copy=True)

    def test_buffers_are_viewed(self) -> None:
        data = array.array("f", [1, 2, 3])
        tensor = sage.Tensor(data)
        self.assertEqual((tensor.dtype, tensor.shape, tensor.address), (sage.Dtype.F32, (3,), data.buffer_info()[0]))
        self.assertFalse(sage.Tensor(b"abc").writable)

    def test_ranks_end_at_eight(self) -> None:
        self.assertEqual(len(sage.Tensor(np.zeros((1,) * 8, np.float32)).shape), 8)
        with self.assertRaises(sage.ShapeError):
            sage.Tensor(np.zeros((1,) * 9, np.float32))
        self.assertEqual(sage.Tensor(np.zeros((), np.float32)).shape, ())

    def test_read_only_memory_is_no_output(self) -> None:
        q, o = normal((1, 1, 2, 4), 1), np.zeros((1, 1, 2, 4), np.float32)
        out, used = o.copy(), np.array([1], np.int32)
        o.flags.writeable = False
        with self.assertRaisesRegex(sage.ArrayError, "out is read-only"):
            sage.attention(q, q, q, out=o)
        q.flags.writeable = False  # an input may be
        np.testing.assert_array_equal(sage.attention(q, q, q).shape, q.shape)
        lent = Producer(q, FLOAT, 32, versioned=True, flags=1)
        written = "is written, and its memory is read-only"
        with sage.Engine() as engine:
            for op, words in (
                (sage.AttentionOp(q, q, q, o), f"O {written}"),
                (sage.AttentionOp(q, q, q, lent), f"O {written}"),
                (sage.AttentionOp(q, q, q, out, lse=np.broadcast_to(np.float32(0), (1, 1, 2))), f"LSE {written}"),
                (sage.AttentionOp(q, q, q, out, seqused_k=used).append(q[:, :, :1], q[:, :, :1]), f"K {written}"),
                (sage.AttentionOp(q, q.copy(), lent, out, seqused_k=used).append(q[:, :, :1], lent), f"V {written}"),
            ):
                with self.assertRaisesRegex(sage.InvalidArgumentError, words):
                    engine.plan(op)
            good = sage.AttentionOp(q, lent, q, out)
            with engine.plan(good) as plan, plan.context() as context:
                context.run(good)
                np.testing.assert_array_equal(out, sage.attention(q, q, q))
                with self.assertRaisesRegex(sage.InvalidArgumentError, "read-only: O"):
                    context.run(sage.AttentionOp(q, q, q, o))
        np.testing.assert_array_equal(o, 0)

    def test_the_arrays_owner_is_kept(self) -> None:
        class Owned(np.ndarray):
            pass

        data = np.zeros(4, np.float32).view(Owned)
        alive = weakref.ref(data)
        tensor = sage.Tensor(data)
        moved = tensor.with_shape((2, 2), (2, 1))
        del data, tensor
        gc.collect()
        self.assertIsNotNone(alive())
        self.assertEqual(sage.engine.array_of(moved).shape, (2, 2))
        del moved
        gc.collect()
        self.assertIsNone(alive())


class Lent(unittest.TestCase):
    """DLPack, by a producer that counts its deleter's calls."""

    def test_a_capsule_is_consumed_and_deleted_once(self) -> None:
        for versioned in (False, True):
            lender = Producer(normal((2, 3), 1), FLOAT, 32, versioned=versioned, offset=12)
            tensor = sage.Tensor(lender)
            self.assertEqual((tensor.address, tensor.shape, tensor.strides), (lender.array.ctypes.data, (2, 3), (3, 1)))
            self.assertTrue(lender.capsule_name().startswith(b"used_dltensor"))
            part = tensor.with_shape((3,), (1,), 3)
            del tensor
            gc.collect()
            self.assertEqual(lender.deleted, 0, "a view still needs the memory")
            self.assertEqual(part.address, lender.array.ctypes.data + 12)
            del part
            gc.collect()
            self.assertEqual(lender.deleted, 1)

    def test_memory_lives_as_long_as_a_session_uses_it(self) -> None:
        from support import model_file

        lenders = [Producer(normal((1, 2, 3, 4) if i == 0 else (1, 1, 5, 4), i), FLOAT, 32) for i in range(3)]
        with sage.Engine() as engine, engine.model(model_file("op_graph.fbs")) as model:
            session = model.session()
            for index, lender in enumerate(lenders):
                session.bind_input(index, lender)
            gc.collect()
            session.run()
            self.assertEqual([lender.deleted for lender in lenders], [0, 0, 0])
            session.bind_input(0, None)
            gc.collect()
            self.assertEqual([lender.deleted for lender in lenders], [1, 0, 0])
            session.close()
            gc.collect()
            self.assertEqual([lender.deleted for lender in lenders], [1, 1, 1])

    def test_what_numpy_lacks(self) -> None:
        for code, bits, dtype in ((BFLOAT, 16, "bf16"), (10, 8, "f8_e4m3fn"), (12, 8, "f8_e5m2"), (6, 8, "bool")):
            lender = Producer(np.zeros((2, 3), f"uint{bits}"), code, bits)
            self.assertEqual(sage.Tensor(lender).dtype, sage.Dtype.of(dtype))
        bits = Producer(np.zeros(3, np.uint16), 1, 16)
        with self.assertRaisesRegex(sage.ArrayError, "no name for"):
            sage.Tensor(bits)
        self.assertEqual(sage.Tensor(bits, "bf16").dtype, sage.Dtype.BF16)

    def test_strides_may_be_absent_and_anything_else(self) -> None:
        self.assertEqual(
            sage.Tensor(Producer(np.zeros((2, 3, 4), np.float32), FLOAT, 32, strides=False)).strides, (12, 4, 1)
        )
        turned = np.zeros((4, 3), np.float32).T
        self.assertEqual(sage.Tensor(Producer(turned, FLOAT, 32)).strides, (1, 3))

    def test_flags_are_heeded(self) -> None:
        q = normal((1, 1, 2, 4), 1)
        read_only = Producer(q, FLOAT, 32, versioned=True, flags=1)
        self.assertFalse(sage.Tensor(read_only).writable)
        with self.assertRaisesRegex(sage.ArrayError, "read-only"):
            sage.attention(q, q, q, out=read_only)
        copied = Producer(q, FLOAT, 32, versioned=True, flags=2)
        with self.assertRaisesRegex(sage.ArrayError, "copy=True"):
            sage.Tensor(copied)
        sage.Tensor(copied, copy=True)
        gc.collect()
        self.assertEqual((read_only.deleted, copied.deleted), (2, 2), "refused capsules are given back too")

    def test_other_faults_of_a_producer(self) -> None:
        data = np.zeros(3, np.float32)
        for lender, words in (
            (Producer(data, FLOAT, 32, versioned=True, major=2), "DLPack 2"),
            (Producer(data, FLOAT, 32, lanes=4), "lanes"),
            (Producer(data, 5, 64), "no name"),
            (Producer(np.zeros((1,) * 9, np.float32), FLOAT, 32), "at most 8"),
        ):
            with self.assertRaisesRegex(sage.InvalidArgumentError, words):
                sage.Tensor(lender, "f32" if lender.managed.tensor.lanes == 4 else None)

        class Refusing:
            def __dlpack__(self, **_: Any) -> Any:
                raise BufferError("it requires grad")

        class Wrong:
            def __dlpack__(self, **_: Any) -> Any:
                return 5

        class Negated(Producer):
            def is_neg(self) -> bool:
                return True

        with self.assertRaisesRegex(sage.ArrayError, "resolve_neg"):
            sage.Tensor(Negated(data, FLOAT, 32))
        with self.assertRaisesRegex(sage.ArrayError, "Refusing does not lend its memory: it requires grad"):
            sage.Tensor(Refusing())
        with self.assertRaisesRegex(sage.ArrayError, "no DLPack capsule"):
            sage.Tensor(Wrong())
        used = Producer(data, FLOAT, 32)
        sage.Tensor(used)

        class Again:
            def __dlpack__(self) -> Any:
                return used.capsules[0]

        with self.assertRaisesRegex(sage.ArrayError, "used before"):
            sage.Tensor(Again())

    def test_a_device_needs_an_output_of_its_own(self) -> None:
        q = Producer(normal((1, 1, 2, 4), 1), FLOAT, 32, device=(10, 0))
        self.assertEqual(sage.Tensor(q).device, (10, 0))
        with self.assertRaisesRegex(sage.ArrayError, "device"):
            sage.attention(q, q, q)
        with sage.Engine() as engine, self.assertRaisesRegex(sage.ArrayError, "memory of the CPU"):
            engine.attention(q, q, q)
        with self.assertRaises(sage.SageError):  # no backend here takes it
            sage.attention(q, q, q, out=q)

    def test_results_go_where_the_lender_says(self) -> None:
        q, k, v = (normal((1, 2, 5, 8), seed) for seed in (1, 2, 3))
        lender = Producer(np.zeros_like(q), FLOAT, 32)
        self.assertIs(sage.attention(*(Producer(x, FLOAT, 32) for x in (q, k, v)), out=lender), lender)
        np.testing.assert_array_equal(lender.array, sage.attention(q, k, v))

    def test_numpys_own_export(self) -> None:
        class Wrapped:
            def __init__(self, data: Any) -> None:
                self.data = data

            def __dlpack__(self) -> Any:
                return self.data.__dlpack__()

        data = normal((3, 4), 1)
        held = sys.getrefcount(data)
        tensor = sage.Tensor(Wrapped(data))
        self.assertEqual((tensor.address, tensor.shape), (data.ctypes.data, (3, 4)))
        self.assertEqual(sys.getrefcount(data), held + 1)
        del tensor
        gc.collect()
        self.assertEqual(sys.getrefcount(data), held)


if __name__ == "__main__":
    unittest.main()
