// How much of a model is worth running, decided from what was seen of the token graph.
//
// Packet, policy and decision cross as words in the order of the C structs' fields, which sage_flat.h asserts.
using System;

namespace Sage
{
    /// <summary>What was seen of the token graph. *Q15: 0 to 32767 stands for 0 to 1.</summary>
    public sealed class GatePacket
    {
        /// <summary>Constants.SAGE_GATE_SKIP, _FORCE_SAFE, _SPIKE.</summary>
        public uint Flags { get; set; }

        /// <summary>Weight of the minimum cut, now and before.</summary>
        public uint Lambda { get; set; }

        public uint LambdaPrev { get; set; }
        public uint BoundaryEdges { get; set; }
        public uint BoundaryConcentrationQ15 { get; set; }
        public uint PartitionCount { get; set; }

        /// <summary>0: nothing happened since. Meant with SAGE_GATE_SPIKE.</summary>
        public uint SpikeFired { get; set; }

        public uint SpikeRateQ15 { get; set; }

        internal uint[] Words()
        {
            return new uint[]
            {
                0, Flags, Lambda, LambdaPrev, BoundaryEdges, BoundaryConcentrationQ15, PartitionCount, SpikeFired,
                    SpikeRateQ15, 0
            };
        }
    }

    /// <summary>A tier: how much is run. 0 is the default.</summary>
    public struct GateTier
    {
        /// <summary>Of the model, from the first.</summary>
        public uint Layers;

        /// <summary>Newest tokens.</summary>
        public uint Sequence;

        /// <summary>Keys that a query sees, itself included.</summary>
        public uint Window;
    }

    /// <summary>Limits and tiers; 0 is the default.</summary>
    public sealed class GatePolicy
    {
        public uint LambdaMin { get; set; }
        public uint DropRatioQ15Max { get; set; }
        public uint BoundaryEdgesMax { get; set; }
        public uint BoundaryConcentrationQ15Max { get; set; }
        public uint PartitionsMax { get; set; }
        public uint SpikeRateQ15Max { get; set; }
        public GateTier Normal { get; set; }
        public GateTier Reduced { get; set; }
        public GateTier Safe { get; set; }

        internal uint[] Words()
        {
            return new uint[]
            {
                0, LambdaMin, DropRatioQ15Max, BoundaryEdgesMax, BoundaryConcentrationQ15Max, PartitionsMax,
                    SpikeRateQ15Max, 0, Normal.Layers, Normal.Sequence, Normal.Window, 0,
                Reduced.Layers, Reduced.Sequence, Reduced.Window, 0,
                Safe.Layers, Safe.Sequence, Safe.Window, 0
            };
        }
    }

    /// <summary>What the gate says.</summary>
    public sealed class GateDecision
    {
        private readonly uint[] words;

        internal GateDecision(uint[] words)
        {
            this.words = words;
        }

        public GateVerdict Verdict
        {
            get { return (GateVerdict)words[1]; }
        }

        /// <summary>0 normal, 1 reduced, 2 safe, 3 nothing is run.</summary>
        public uint Tier
        {
            get { return words[2]; }
        }

        /// <summary>0 where lambda rose.</summary>
        public uint DropRatioQ15
        {
            get { return words[3]; }
        }

        public uint Layers
        {
            get { return words[4]; }
        }

        public uint Sequence
        {
            get { return words[5]; }
        }

        /// <summary>Keys that a query sees, itself included.</summary>
        public uint Window
        {
            get { return words[6]; }
        }

        internal uint[] Words()
        {
            return words;
        }
    }

    /// <summary>The gate of sage/sparse.h. Pure functions, any thread.</summary>
    public static class Gate
    {
        /// <summary>policy: null = all defaults.</summary>
        public static GateDecision Decide(GatePacket packet, GatePolicy policy = null)
        {
            if (packet == null) throw new ArgumentNullException("packet");
            Library.Load();
            uint[] words = new uint[8];
            SageNative.gate_decide(packet.Words(), policy == null ? null : policy.Words(), words);
            return new GateDecision(words);
        }

        /// <summary>Writes the decision's window into op, whose alignment must be set; refused where nothing is to be
        /// run.</summary>
        public static void Apply(GateDecision decision, AttentionOp op)
        {
            if (decision == null) throw new ArgumentNullException("decision");
            if (op == null) throw new ArgumentNullException("op");
            SageNative.gate_apply(decision.Words(), op.Handle);
        }
    }
}
