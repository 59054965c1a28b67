// Tensors: what is used in place, what is refused.
using System;
using System.Runtime.InteropServices;

namespace Sage.Test
{
    internal static class TensorTests
    {
        internal static void Run()
        {
            Check.Test("arrays and memory are used in place", InPlace);
            Check.Test("every element type goes in and out", Types);
            Check.Test("wrong lengths and types are refused", Wrong);
            Check.Test("strides stay inside", Reach);
            Check.Test("a plan reads strided tensors in place", Strided);
        }

        private static void InPlace()
        {
            float[] array = { 1, 2, 3, 4 };
            Tensor whole = Tensor.Of(array, 2, 2), part = Tensor.Of(new Memory<float>(array, 1, 2), 2);
            array[1] = 9;
            Check.Same(whole.ToArray<float>(), new float[] { 1, 9, 3, 4 });
            Check.Same(part.ToArray<float>(), new float[] { 9, 3 });
            part.CopyFrom(new ReadOnlySpan<float>(new float[] { 5, 6 }));
            Check.Same(array, new float[] { 1, 5, 6, 4 });
            IntPtr native = Marshal.AllocHGlobal(8);
            Tensor at = Tensor.FromPointer(DType.F32, native, 8, 2);
            at.CopyFrom(new ReadOnlySpan<float>(new float[] { 7, 8 }));
            Check.Same(at.ToArray<float>(), new float[] { 7, 8 });
            Marshal.FreeHGlobal(native);
        }

        private static void Types()
        {
            Check.Equal(Tensor.Of(new double[1], 1).DType, DType.F64);
            Check.Equal(Tensor.Of(new sbyte[1], 1).DType, DType.I8);
            Check.Equal(Tensor.Of(new short[1], 1).DType, DType.I16);
            Check.Equal(Tensor.Of(new long[1], 1).DType, DType.I64);
            Check.Equal(Tensor.Of(new ulong[1], 1).DType, DType.U64);
            Check.Equal(Tensor.Of(new byte[1], 1).DType, DType.U8);
            Check.Same(Tensor.Of(new[] { true, false }, 2).CopyBytes(), new byte[] { 1, 0 });
            Check.Same(Tensor.Of(DType.BF16, new ushort[] { 0x3f80 }, 1).CopyBytes(), new byte[] { 0x80, 0x3f });
            Check.Same(Tensor.Of(DType.BF16, new ushort[] { 0x3f80 }, 1).ToArray<ushort>(), new ushort[] { 0x3f80 });
            Check.Same(Tensor.Of(DType.F32, new byte[] { 0, 0, 128, 63 }, 1).ToArray<float>(), new[] { 1f });
            Check.Same(Tensor.Of(new[] { -7, 8 }, 2).ToArray<int>(), new[] { -7, 8 });
            Check.Equal(Tensor.Of(new[] { 3f }).Shape.Length, 0);
            foreach (DType dtype in Enum.GetValues(typeof(DType))) Check.IsTrue(Tensor.Describe(dtype, 1)
                .SizeInBytes > 0, dtype.ToString());
        }

        /// <summary>One byte, of which the marshaller makes four.</summary>
        private struct Flag { public bool On; }

        private struct Named { public string Name; }

        private static void Wrong()
        {
            Check.Equal(Check.Thrown<ShapeException>(() => Tensor.Of(new float[3], 2, 2)).Message,
                "F32[2, 2] has 16 bytes; 12 were given");
            Check.Thrown<ShapeException>(() => Tensor.Of(new float[1], 3, -1));
            Check.Thrown<ShapeException>(() => Tensor.Of(new float[1], 1, 1, 1, 1, 1, 1, 1, 1, 1));
            Check.Thrown<ShapeException>(() => Tensor.Describe(DType.F32, 1L << 40, 1L << 40));
            Check.Thrown<ShapeException>(() => Tensor.Allocate(DType.F32, 1L << 32));
            Check.Refused(Status.InvalidArgument, "F32 has 4 bytes", () => Tensor.Of(DType.F32, new short[2], 1));
            Check.Equal(Check.Thrown<ShapeException>(() => Tensor.Of(DType.F32, new Flag[2], 2)).Message,
                "F32[2] has 8 bytes; 2 were given");
            Check.Thrown<ArgumentException>(() => Tensor.Of(DType.I64, new Named[2], 2));
            Check.Refused(Status.InvalidArgument, "no tensor has elements of Char", () => Tensor.Of(new char[2], 2));
            Check.Refused(Status.InvalidArgument, "no element type", () => Tensor.Describe((DType)7, 1));
            Check.Thrown<ArgumentNullException>(() => Tensor.Of((float[])null, 3));
            Check.Thrown<ArgumentNullException>(() => Tensor.Describe(DType.F32, null));
            Check.Thrown<ArgumentNullException>(() => Tensor.Of(new float[1], 1).Strided(0, new long[1], null));
            Check.Thrown<ArgumentNullException>(() => Tensor.FromPointer(DType.F32, IntPtr.Zero, 4, 1));
            Check.Refused(Status.InvalidArgument, "not F64", () => Tensor.Of(new float[1], 1).ToArray<double>());
            Check.Refused(Status.InvalidArgument, "without memory", () => Tensor.Describe(DType.F32, 1).CopyBytes());
        }

        private static void Reach()
        {
            Tensor six = Tensor.Of(new float[] { 0, 1, 2, 3, 4, 5 }, 6);
            Check.IsTrue(!six.Strided(0, new long[] { 2, 3 }, new long[] { 1, 2 }).IsContiguous, "contiguous");
            six.Strided(5, new long[] { 6 }, new long[] { -1 });
            six.Strided(6, new long[] { 0 }, new long[] { 1 });
            Check.Same(six.Reshape(2, 3).Shape, new long[] { 2, 3 });
            Check.Same(six.Reshape(1, 6).Broadcast(4, 6).Strides, new long[] { 0, 1 });
            Check.Thrown<ShapeException>(() => six.Strided(0, new long[] { 2, 3 }, new long[] { 3, 2 }));
            Check.Thrown<ShapeException>(() => six.Strided(4, new long[] { 6 }, new long[] { -1 }));
            Check.Thrown<ShapeException>(() => six.Strided(0, new long[] { 3 }, new long[] { long.MaxValue }));
            Check.Thrown<ShapeException>(() => six.Strided(0, new long[] { 2 }, new long[] { 1, 1 }));
            Check.Thrown<ShapeException>(() => six.Reshape(4));
            Check.Thrown<ShapeException>(() => six.Broadcast(7));
            Check.Thrown<ShapeException>(() => six.Strided(0, new long[] { 2 }, new long[] { 3 }).ToArray<float>());
        }

        private static void Strided()
        {
            using (Engine engine = Engine.Open())
            {
                float[] want = AttentionTests.Once(engine, AttentionTests.Op()), q = AttentionTests.Q,
                    moved = new float[q.Length];
                // The same numbers in [B,S,H,D], seen as [B,H,S,D].
                for (int b = 0; b < 2; ++b)
                    for (int h = 0; h < 4; ++h)
                        for (int s = 0; s < 5; ++s)
                            Array.Copy(q, ((b * 4 + h) * 5 + s) * 8, moved, ((b * 5 + s) * 4 + h) * 8, 8);
                Tensor seen = Tensor.Of(moved, q.Length).Strided(0, new long[] { 2, 4, 5, 8 }, new long[] { 160, 8, 32,
                    1 });
                Check.Same(AttentionTests.Once(engine, AttentionTests.Op().Set(Slot.Q, seen)), want);
            }
        }
    }
}
