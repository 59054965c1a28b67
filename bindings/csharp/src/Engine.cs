// The engine: backends, devices, threads; and the plain attention call.
using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Sage
{
    /// <summary>Backends and their threads. Free-threaded: one for a program is enough. What is made of it keeps it
    /// alive inside the library, so it may be disposed at any time, in any order, and while calls run.</summary>
    public sealed class Engine : IDisposable
    {
        private Engine(Options options)
        {
            List<Delegate> lent = new List<Delegate>();
            IntPtr raw = Options.Lend(options, lent, with => SageNative.engine_create(with));
            Handle = new EngineHandle(raw, lent.ToArray());
        }

        /// <summary>All backends that are found beside the library.</summary>
        public static Engine Open()
        {
            return new Engine(null);
        }

        /// <summary>With options; null: none.</summary>
        public static Engine Open(Options options)
        {
            return new Engine(options);
        }

        internal EngineHandle Handle { get; private set; }

        /// <summary>A backend of one's own. It must be trusted: it is loaded into this process.</summary>
        public void LoadPlugin(string absolutePath)
        {
            if (absolutePath == null) throw new ArgumentNullException("absolutePath");
            SageNative.engine_load_plugin(Handle, absolutePath);
        }

        /// <summary>Names of the usable ones, at least "reference".</summary>
        public IList<string> Backends
        {
            get
            {
                List<string> names = new List<string>();
                uint count = SageNative.engine_backend_count(Handle);
                for (uint i = 0; i < count; ++i)
                {
                    string name = Text.Of(SageNative.engine_backend_name(Handle, i));
                    if (name != null) names.Add(name);
                }
                return names;
            }
        }

        /// <summary>JSON: every plugin that was found, with path, version, devices, features, and why it is
        /// refused.</summary>
        public string Describe()
        {
            return Text.Of(SageNative.engine_describe(Handle));
        }

        /// <summary>o = softmax(scale q k^T) v, on memory of any kind, in place. The lengths are checked. Everything
        /// else that attention can do takes an <see cref="AttentionOp"/>.</summary>
        public unsafe void Attention(AttentionShape shape, ReadOnlySpan<float> q, ReadOnlySpan<float> k,
            ReadOnlySpan<float> v, Span<float> o)
        {
            if (shape == null) throw new ArgumentNullException("shape");
            shape.Check(q.Length, k.Length, v.Length, o.Length);
            fixed (float* pq = &MemoryMarshal.GetReference(q))
            fixed (float* pk = &MemoryMarshal.GetReference(k))
            fixed (float* pv = &MemoryMarshal.GetReference(v))
            fixed (float* po = &MemoryMarshal.GetReference(o))
                Call(DType.F32, shape, pq, pk, pv, po);
        }

        /// <summary>The same in double precision.</summary>
        public unsafe void Attention(AttentionShape shape, ReadOnlySpan<double> q, ReadOnlySpan<double> k,
            ReadOnlySpan<double> v, Span<double> o)
        {
            if (shape == null) throw new ArgumentNullException("shape");
            shape.Check(q.Length, k.Length, v.Length, o.Length);
            fixed (double* pq = &MemoryMarshal.GetReference(q))
            fixed (double* pk = &MemoryMarshal.GetReference(k))
            fixed (double* pv = &MemoryMarshal.GetReference(v))
            fixed (double* po = &MemoryMarshal.GetReference(o))
                Call(DType.F64, shape, pq, pk, pv, po);
        }

        /// <summary>The same on arrays, in place.</summary>
        public void Attention(AttentionShape shape, float[] q, float[] k, float[] v, float[] o)
        {
            RequireArrays(q, k, v, o);
            Attention(shape, new ReadOnlySpan<float>(q), new ReadOnlySpan<float>(k), new ReadOnlySpan<float>(v),
                new Span<float>(o));
        }

        /// <summary>The same on arrays, in place.</summary>
        public void Attention(AttentionShape shape, double[] q, double[] k, double[] v, double[] o)
        {
            RequireArrays(q, k, v, o);
            Attention(shape, new ReadOnlySpan<double>(q), new ReadOnlySpan<double>(k), new ReadOnlySpan<double>(v),
                new Span<double>(o));
        }

        /// <summary>The same on contiguous tensors of one type, in place.</summary>
        public unsafe void Attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor o)
        {
            RequireArrays(q, k, v, o);
            if (shape == null) throw new ArgumentNullException("shape");
            shape.Check(q.Count, k.Count, v.Count, o.Count);
            if (k.DType != q.DType || v.DType != q.DType || o.DType != q.DType)
                throw new SageException(Status.InvalidArgument, "q, k, v and o have one type; they are " + q.DType
                    + ", " + k.DType + ", " + v.DType + " and " + o.DType);
            q.RequireData("q").RequireContiguous("q");
            k.RequireData("k").RequireContiguous("k");
            v.RequireData("v").RequireContiguous("v");
            o.RequireData("o").RequireContiguous("o");
            Call(q.DType, shape, (void*)q.Address, (void*)k.Address, (void*)v.Address, (void*)o.Address);
            GC.KeepAlive(q);
            GC.KeepAlive(k);
            GC.KeepAlive(v);
            GC.KeepAlive(o);
        }

        private static void RequireArrays(object q, object k, object v, object o)
        {
            if (q == null) throw new ArgumentNullException("q");
            if (k == null) throw new ArgumentNullException("k");
            if (v == null) throw new ArgumentNullException("v");
            if (o == null) throw new ArgumentNullException("o");
        }

        private unsafe void Call(DType dtype, AttentionShape shape, void* q, void* k, void* v, void* o)
        {
            double none = 0; // memory without elements has no address, and null is refused
            if (q == null) q = &none;
            if (k == null) k = &none;
            if (v == null) v = &none;
            if (o == null) o = &none;
            SageNative.attention(Handle, (uint)dtype, (uint)shape.Layout, shape.Batch, shape.HeadsQ, shape.HeadsKv,
                shape.SeqQ, shape.SeqKv, shape.DimQk, shape.WidthV, (IntPtr)q, (IntPtr)k, (IntPtr)v, (IntPtr)o,
                (uint)shape.Causal, shape.Scale);
        }

        /// <summary>JSON: all errors of a model file, each with its path inside it; "valid" says whether there are
        /// none.</summary>
        public string Check(string path)
        {
            if (path == null) throw new ArgumentNullException("path");
            return Text.Of(SageNative.model_check(Handle, path));
        }

        /// <summary>The same of bytes. weightsFolder: where its relative paths begin; null: no weight files.</summary>
        public unsafe string Check(ReadOnlySpan<byte> bytes, string weightsFolder = null)
        {
            byte none = 0;
            fixed (byte* at = &MemoryMarshal.GetReference(bytes))
                return Text.Of(SageNative.model_check_buffer(Handle, (IntPtr)(at == null ? &none : at),
                    (ulong)bytes.Length, weightsFolder));
        }

        /// <summary>Twice is once.</summary>
        public void Dispose()
        {
            Handle.Dispose();
        }
    }
}
