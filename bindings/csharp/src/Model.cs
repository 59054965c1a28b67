// A checked file and its weights.
using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Sage
{
    /// <summary>An input or output.</summary>
    public sealed class TensorInfo
    {
        internal TensorInfo(string name, long[] info)
        {
            Name = name;
            DType = (DType)info[0];
            Shape = new long[info[1]];
            Array.Copy(info, 2, Shape, 0, Shape.Length);
        }

        public string Name { get; private set; }
        public DType DType { get; private set; }

        /// <summary>-1: any length.</summary>
        public long[] Shape { get; private set; }

        public override string ToString()
        {
            return Name + " " + DType + Shapes.Text(Shape);
        }
    }

    /// <summary>A model. Immutable and free-threaded; each caller makes a <see cref="Session"/> of it.</summary>
    public sealed class Model : IDisposable
    {
        private Model(IntPtr raw, Delegate[] callbacks)
        {
            Handle = new ModelHandle(raw, callbacks);
        }

        /// <summary>From a file.</summary>
        public static Model Load(Engine engine, string path)
        {
            if (engine == null) throw new ArgumentNullException("engine");
            if (path == null) throw new ArgumentNullException("path");
            Delegate[] callbacks = engine.Handle.Callbacks;
            return new Model(SageNative.model_load(engine.Handle, path), callbacks);
        }

        /// <summary>From bytes, which are copied. weightsFolder: where its relative paths begin; null: no weight
        /// files.</summary>
        public static unsafe Model Load(Engine engine, ReadOnlySpan<byte> bytes, string weightsFolder = null)
        {
            if (engine == null) throw new ArgumentNullException("engine");
            Delegate[] callbacks = engine.Handle.Callbacks;
            byte none = 0;
            fixed (byte* at = &MemoryMarshal.GetReference(bytes))
                return new Model(SageNative.model_load_buffer(engine.Handle, (IntPtr)(at == null ? &none : at),
                    (ulong)bytes.Length, weightsFolder), callbacks);
        }

        internal ModelHandle Handle { get; private set; }

        public GraphKind Kind
        {
            get { return (GraphKind)SageNative.model_kind(Handle); }
        }

        public IList<TensorInfo> Inputs
        {
            get { return Infos(Direction.Input); }
        }

        public IList<TensorInfo> Outputs
        {
            get { return Infos(Direction.Output); }
        }

        private IList<TensorInfo> Infos(Direction direction)
        {
            List<TensorInfo> infos = new List<TensorInfo>();
            uint count = SageNative.model_io_count(Handle, (uint)direction);
            for (uint i = 0; i < count; ++i)
            {
                long[] info = new long[2 + Constants.SAGE_MAX_RANK];
                string name = Text.Of(SageNative.model_io_info(Handle, (uint)direction, i, info));
                infos.Add(new TensorInfo(name, info));
            }
            return infos;
        }

        /// <summary>Twice is once.</summary>
        public void Dispose()
        {
            Handle.Dispose();
        }
    }
}
