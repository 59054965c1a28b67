// Arithmetic of shapes: what keeps native code inside the memory it is given.
using System;

namespace Sage
{
    internal static class Shapes
    {
        internal static int Bytes(DType dtype)
        {
            int bytes = (int)((uint)dtype >> 8 & 0xff) / 8;
            if (!Enum.IsDefined(typeof(DType), dtype))
                throw new SageException(Status.InvalidArgument,
                    "there is no element type 0x" + ((uint)dtype).ToString("x"));
            return bytes;
        }

        internal static DType DTypeOf<T>() where T : struct
        {
            Type type = typeof(T);
            if (type == typeof(float)) return DType.F32;
            if (type == typeof(double)) return DType.F64;
            if (type == typeof(bool)) return DType.Bool;
            if (type == typeof(sbyte)) return DType.I8;
            if (type == typeof(byte)) return DType.U8;
            if (type == typeof(short)) return DType.I16;
            if (type == typeof(int)) return DType.I32;
            if (type == typeof(long)) return DType.I64;
            if (type == typeof(ulong)) return DType.U64;
            throw new SageException(Status.InvalidArgument,
                "no tensor has elements of " + type.Name + "; for f16, bf16 and fp8 name the DType");
        }

        /// <summary>Elements. Eight times as many fit a long, so that bytes do not overflow either.</summary>
        internal static long Count(long[] shape)
        {
            if (shape == null) throw new ArgumentNullException("shape");
            if (shape.Length > Constants.SAGE_MAX_RANK)
                throw new ShapeException("a tensor of " + shape.Length + " axes; " + Constants.SAGE_MAX_RANK
                    + " at most");
            long count = 1;
            foreach (long length in shape)
            {
                if (length < 0) throw new ShapeException("a negative length in " + Text(shape));
                if (length != 0 && count > long.MaxValue / 8 / length)
                    throw new ShapeException("too many elements in " + Text(shape));
                count *= length;
            }
            return count;
        }

        internal static long[] RowMajor(long[] shape)
        {
            long[] strides = new long[shape.Length];
            long step = 1;
            for (int i = shape.Length; i-- > 0; step *= shape[i]) strides[i] = step;
            return strides;
        }

        internal static void RequireBytes(long bytes, DType dtype, long[] shape)
        {
            long wanted = Count(shape) * Bytes(dtype);
            if (bytes != wanted)
                throw new ShapeException(dtype + Text(shape) + " has " + wanted + " bytes; " + bytes + " were given");
        }

        internal static void RequireReach(long offset, long[] shape, long[] strides, long count)
        {
            Count(shape);
            if (strides == null) throw new ArgumentNullException("strides");
            if (shape.Length != strides.Length) throw new ShapeException("a stride for every axis is needed");
            long low = offset, high = offset;
            bool empty = false;
            try
            {
                for (int i = 0; i < shape.Length; ++i)
                {
                    empty |= shape[i] == 0;
                    long reach = checked(Math.Max(shape[i] - 1, 0) * strides[i]);
                    low = checked(low + Math.Min(reach, 0));
                    high = checked(high + Math.Max(reach, 0));
                }
            }
            catch (OverflowException)
            {
                throw new ShapeException("the strides " + Text(strides) + " lead out of any memory");
            }
            if (low < 0 || (empty ? high > count : high >= count))
                throw new ShapeException("the strides " + Text(strides) + " of " + Text(shape) + " reach elements "
                    + low + " to " + high + " of a memory of " + count);
        }

        internal static string Text(long[] shape)
        {
            return "[" + string.Join(", ", shape) + "]";
        }
    }
}
