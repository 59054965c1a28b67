// A description of memory, which is pinned as long as a tensor refers to it.
//
// An array is pinned once, here, and not at every call; the pin goes with the last tensor, by its finalizer, so that no
// Dispose can move memory away from under a session. Every element that a shape and its strides can reach lies in the
// memory, which is checked here: native code does not look again.
using System;
using System.Buffers;
using System.Runtime.InteropServices;

namespace Sage
{
    /// <summary>An immutable view of elements in memory: type, shape, strides and where. There is nothing to dispose.
    /// Lengths are in elements, row-major unless strides say otherwise; a shape without axes is a scalar.</summary>
    public sealed class Tensor
    {
        /// <summary>Memory and what keeps it in its place.</summary>
        private sealed class Pin
        {
            internal readonly IntPtr Address;
            internal readonly long Bytes;
            private MemoryHandle handle;
            private readonly byte[] room; // also where memory is empty: null is no address

            internal unsafe Pin(MemoryHandle handle, long bytes)
            {
                this.handle = handle;
                Bytes = bytes;
                Address = (IntPtr)handle.Pointer;
            }

            internal unsafe Pin(long bytes)
            {
                room = new byte[Math.Max(bytes, 1)];
                handle = new Memory<byte>(room).Pin();
                Bytes = bytes;
                Address = (IntPtr)handle.Pointer;
            }

            internal Pin(IntPtr address, long bytes)
            {
                Address = address;
                Bytes = bytes;
            }

            ~Pin()
            {
                handle.Dispose();
            }
        }

        private readonly long[] shape;
        private readonly long[] strides;
        private readonly Pin pin; // null: a description only
        private readonly bool constant;

        private Tensor(DType dtype, long[] shape, long[] strides, Pin pin, IntPtr address, bool constant)
        {
            DType = dtype;
            this.shape = shape;
            this.strides = strides;
            this.pin = pin;
            this.constant = constant;
            Address = address;
            Count = Shapes.Count(shape);
            long[] dense = Shapes.RowMajor(shape);
            IsContiguous = true;
            for (int i = 0; i < shape.Length; ++i) IsContiguous &= strides[i] == dense[i];
        }

        private Tensor(DType dtype, long[] shape, Pin pin)
            : this(dtype, (long[])shape.Clone(), Shapes.RowMajor(shape), pin, pin == null ? IntPtr.Zero : pin.Address,
                false) { }

        // ---- where from ----

        /// <summary>An array, used in place; its element type says the tensor's.</summary>
        public static Tensor Of<T>(T[] data, params long[] shape) where T : struct
        {
            return Of(Shapes.DTypeOf<T>(), data, shape);
        }

        /// <summary>An array, used in place: F16, BF16 and fp8 by their bits, or bytes of any type.</summary>
        public static Tensor Of<T>(DType dtype, T[] data, params long[] shape) where T : struct
        {
            if (data == null) throw new ArgumentNullException("data");
            return Of(dtype, new Memory<T>(data), shape);
        }

        /// <summary>Memory, used in place.</summary>
        public static Tensor Of<T>(Memory<T> data, params long[] shape) where T : struct
        {
            return Of(Shapes.DTypeOf<T>(), data, shape);
        }

        /// <summary>Memory, used in place: F16, BF16 and fp8 by their bits, or bytes of any type.</summary>
        public static Tensor Of<T>(DType dtype, Memory<T> data, params long[] shape) where T : struct
        {
            // Not Marshal.SizeOf, which tells of a copy made for C: it has 4 bytes for a bool.
            int element = MemoryMarshal.AsBytes(new ReadOnlySpan<T>(new T[1])).Length;
            if (element != 1 && element != Shapes.Bytes(dtype))
                throw new SageException(Status.InvalidArgument, "an element of " + dtype + " has " + Shapes.Bytes(dtype)
                    + " bytes, one of " + typeof(T).Name + " has " + element);
            long bytes = (long)data.Length * element;
            Shapes.RequireBytes(bytes, dtype, shape);
            return new Tensor(dtype, shape, bytes == 0 ? new Pin(0) : new Pin(data.Pin(), bytes));
        }

        /// <summary>Memory of somebody else, who keeps it in its place as long as it is used.</summary>
        public static Tensor FromPointer(DType dtype, IntPtr address, long bytes, params long[] shape)
        {
            if (address == IntPtr.Zero) throw new ArgumentNullException("address");
            Shapes.RequireBytes(bytes, dtype, shape);
            return new Tensor(dtype, shape, new Pin(address, bytes));
        }

        /// <summary>New memory, all zero.</summary>
        public static Tensor Allocate(DType dtype, params long[] shape)
        {
            long bytes = checked(Shapes.Count(shape) * Shapes.Bytes(dtype));
            if (bytes > int.MaxValue)
                throw new ShapeException("a tensor of " + bytes + " bytes; an array has 2147483647 at most");
            return new Tensor(dtype, shape, new Pin(bytes));
        }

        /// <summary>A type and a shape without memory, for planning.</summary>
        public static Tensor Describe(DType dtype, params long[] shape)
        {
            Shapes.Bytes(dtype);
            Shapes.Count(shape);
            return new Tensor(dtype, shape, null);
        }

        // ---- the same memory, seen otherwise ----

        /// <summary>The same elements in another shape of as many.</summary>
        public Tensor Reshape(params long[] newShape)
        {
            RequireContiguous("Reshape");
            if (Shapes.Count(newShape) != Count)
                throw new ShapeException(Shapes.Text(shape) + " does not have as many elements as "
                    + Shapes.Text(newShape));
            return new Tensor(DType, (long[])newShape.Clone(), Shapes.RowMajor(newShape), pin, Address, constant);
        }

        /// <summary>Axes of length 1 repeat, by stride 0, as often as newShape says.</summary>
        public Tensor Broadcast(params long[] newShape)
        {
            Shapes.Count(newShape);
            long[] steps = (long[])strides.Clone();
            if (newShape.Length != shape.Length) throw new ShapeException("Broadcast keeps the number of axes");
            for (int i = 0; i < steps.Length; ++i)
            {
                if (shape[i] == newShape[i]) continue;
                if (shape[i] != 1)
                    throw new ShapeException("axis " + i + " has length " + shape[i]
                        + "; only one of length 1 repeats");
                steps[i] = 0;
            }
            return new Tensor(DType, (long[])newShape.Clone(), steps, pin, Address, constant);
        }

        /// <summary>The shape newShape over the same memory, element [0,..,0] at offset; in elements, 0 repeats an
        /// axis, negative walks back. What it can reach must lie inside the memory.</summary>
        public Tensor Strided(long offset, long[] newShape, long[] newStrides)
        {
            RequireContiguous("Strided");
            Shapes.RequireReach(offset, newShape, newStrides, Count);
            IntPtr start = pin == null ? IntPtr.Zero : (IntPtr)((long)Address + offset * Shapes.Bytes(DType));
            return new Tensor(DType, (long[])newShape.Clone(), (long[])newStrides.Clone(), pin, start, constant);
        }

        /// <summary>The bytes stay as they are until the plan and its contexts are disposed: it may prepack
        /// them.</summary>
        public Tensor Constant()
        {
            return new Tensor(DType, shape, strides, pin, Address, true);
        }

        // ---- what it is ----

        public DType DType { get; private set; }

        public long[] Shape
        {
            get { return (long[])shape.Clone(); }
        }

        /// <summary>In elements.</summary>
        public long[] Strides
        {
            get { return (long[])strides.Clone(); }
        }

        /// <summary>The product of the shape.</summary>
        public long Count { get; private set; }

        public long SizeInBytes
        {
            get { return Count * Shapes.Bytes(DType); }
        }

        public bool IsContiguous { get; private set; }

        /// <summary>False for a description.</summary>
        public bool HasData
        {
            get { return pin != null; }
        }

        // ---- its elements ----

        /// <summary>A copy of the elements of a contiguous tensor; as bytes, and 16-bit ones also as short or ushort,
        /// their bits.</summary>
        public T[] ToArray<T>() where T : struct
        {
            RequireType<T>();
            return MemoryMarshal.Cast<byte, T>(CopyBytes()).ToArray();
        }

        /// <summary>A copy of the bytes of a contiguous tensor.</summary>
        public byte[] CopyBytes()
        {
            RequireContiguous("CopyBytes");
            RequireData("the tensor");
            byte[] bytes = new byte[checked((int)SizeInBytes)];
            Marshal.Copy(Address, bytes, 0, bytes.Length);
            GC.KeepAlive(this);
            return bytes;
        }

        /// <summary>Writes the elements of a contiguous tensor.</summary>
        public unsafe void CopyFrom<T>(ReadOnlySpan<T> values) where T : struct
        {
            RequireContiguous("CopyFrom");
            RequireData("the tensor");
            ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(values);
            if (bytes.Length != SizeInBytes)
                throw new ShapeException("the tensor has " + SizeInBytes + " bytes; " + bytes.Length + " were given");
            bytes.CopyTo(new Span<byte>((void*)Address, bytes.Length));
            GC.KeepAlive(this);
        }

        public override string ToString()
        {
            return DType + Shapes.Text(shape) + (IsContiguous ? "" : " strides " + Shapes.Text(strides))
                + (pin == null ? " without data" : "");
        }

        // ---- for this assembly: Address is good as long as the tensor is alive ----

        internal IntPtr Address { get; private set; }

        internal uint Rank
        {
            get { return (uint)shape.Length; }
        }

        internal long[] RawShape
        {
            get { return shape; }
        }

        internal long[] RawStrides
        {
            get { return strides; }
        }

        internal uint Flags
        {
            get { return constant ? Constants.SAGE_TENSOR_CONSTANT : 0; }
        }

        internal Tensor RequireData(string name)
        {
            if (pin == null) throw new SageException(Status.InvalidArgument, name + " is a description without memory");
            return this;
        }

        internal void RequireContiguous(string name)
        {
            if (!IsContiguous)
                throw new ShapeException(name + ": a contiguous tensor is needed; strides of " + Shapes.Text(shape)
                    + " are " + Shapes.Text(strides));
        }

        private void RequireType<T>() where T : struct
        {
            bool bits = typeof(T) == typeof(short) || typeof(T) == typeof(ushort);
            if (typeof(T) == typeof(byte) || (bits && Shapes.Bytes(DType) == 2)) return;
            DType given = Shapes.DTypeOf<T>();
            if (given != DType)
                throw new SageException(Status.InvalidArgument, "the tensor is " + DType + ", not " + given);
        }
    }
}
