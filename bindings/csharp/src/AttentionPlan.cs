// Attention chosen and prepared once, and what it needs.
using System;
using System.Collections.Generic;

namespace Sage
{
    /// <summary>A backend's prepared attention. Immutable and free-threaded; each caller makes an
    /// <see cref="AttentionContext"/> of it.</summary>
    public sealed class AttentionPlan : IDisposable
    {
        public AttentionPlan(Engine engine, AttentionOp op) : this(engine, op, null) { }

        /// <summary>Of op the data matters for constants only. options: null = none.</summary>
        public AttentionPlan(Engine engine, AttentionOp op, Options options)
        {
            if (engine == null) throw new ArgumentNullException("engine");
            if (op == null) throw new ArgumentNullException("op");
            Delegate[] inherited = engine.Handle.Callbacks;
            List<Delegate> lent = new List<Delegate>();
            IntPtr raw = Options.Lend(options, lent, with => SageNative.plan_create(engine.Handle, op.Handle, with));
            Handle = new PlanHandle(raw, NativeHandle.Join(inherited, lent));
            Handle.Lend("constants", op.ConstantTensors());
        }

        internal PlanHandle Handle { get; private set; }

        /// <summary>Who runs it.</summary>
        public string Backend
        {
            get { return Text.Of(SageNative.plan_backend(Handle)); }
        }

        /// <summary>JSON: every backend's verdict and cost.</summary>
        public string Explain()
        {
            return Text.Of(SageNative.plan_explain(Handle));
        }

        /// <summary>What it needs at its planned shapes.</summary>
        public AttentionMemory Memory()
        {
            long[] sizes = new long[14];
            double[] ratios = new double[3];
            SageNative.plan_memory(Handle, sizes, ratios);
            return new AttentionMemory(sizes, ratios);
        }

        /// <summary>Twice is once.</summary>
        public void Dispose()
        {
            Handle.Dispose();
        }
    }

    /// <summary>Bytes; ulong.MaxValue where a count does not fit. Three ratios that are often quoted under one name
    /// stand apart.</summary>
    public sealed class AttentionMemory
    {
        internal AttentionMemory(long[] sizes, double[] ratios)
        {
            Q = (ulong)sizes[0];
            K = (ulong)sizes[1];
            V = (ulong)sizes[2];
            O = (ulong)sizes[3];
            Other = (ulong)sizes[4];
            Scratch = (ulong)sizes[5];
            WorkingSet = (ulong)sizes[6];
            PackedKv = (ulong)sizes[7];
            Partials = (ulong)sizes[8];
            Prepack = (ulong)sizes[9];
            Total = (ulong)sizes[10];
            Scores = (ulong)sizes[11];
            ScoresAvoided = (ulong)sizes[12];
            TotalWithScores = (ulong)sizes[13];
            ScoresOverScratch = ratios[0];
            TotalsRatio = ratios[1];
            KeysOverBlockKv = ratios[2];
        }

        public ulong Q { get; private set; }
        public ulong K { get; private set; }
        public ulong V { get; private set; }
        public ulong O { get; private set; }

        /// <summary>Masks, bias, lengths, LSE and what else the op names.</summary>
        public ulong Other { get; private set; }

        /// <summary>What a context allocates.</summary>
        public ulong Scratch { get; private set; }

        /// <summary>Of the scratch, what does not grow with the keys.</summary>
        public ulong WorkingSet { get; private set; }

        /// <summary>Of the scratch: K and V in the kernels' form.</summary>
        public ulong PackedKv { get; private set; }

        /// <summary>Of the scratch: results of split keys, before they are merged.</summary>
        public ulong Partials { get; private set; }

        /// <summary>Constants packed by the plan, held once; not in the totals.</summary>
        public ulong Prepack { get; private set; }

        /// <summary>Tensors and scratch.</summary>
        public ulong Total { get; private set; }

        /// <summary>One score matrix.</summary>
        public ulong Scores { get; private set; }

        /// <summary>Of it, what the scratch does not hold.</summary>
        public ulong ScoresAvoided { get; private set; }

        /// <summary>Tensors and scores: what is needed where the matrix is kept.</summary>
        public ulong TotalWithScores { get; private set; }

        /// <summary>Scores over Scratch; here and below a ratio over nothing is 0.</summary>
        public double ScoresOverScratch { get; private set; }

        /// <summary>TotalWithScores over Total.</summary>
        public double TotalsRatio { get; private set; }

        /// <summary>Tiles in a row of keys, no memory at all; 0: the tile is the backend's own.</summary>
        public double KeysOverBlockKv { get; private set; }
    }
}
