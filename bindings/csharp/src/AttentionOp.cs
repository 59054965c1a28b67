// An attention call described: what a plan is made of, and with data what it runs on.
//
// The native description lies in one block of memory, so a run passes one address however many slots there are.
using System;

namespace Sage
{
    /// <summary>Everything of sage/attention.h: slots and attributes. One thread at a time changes or runs it; each of
    /// several threads takes an op of its own. There is nothing to dispose.</summary>
    public sealed class AttentionOp
    {
        private readonly Tensor[] slots = new Tensor[Constants.SAGE_ATTN_NUM_SLOTS];

        public AttentionOp(Tensor q, Tensor k, Tensor v, Tensor o) : this()
        {
            Set(Slot.Q, q).Set(Slot.K, k).Set(Slot.V, v).Set(Slot.O, o);
        }

        /// <summary>Without slots, for who sets them one by one.</summary>
        internal AttentionOp()
        {
            Library.Load();
            Handle = new OpHandle();
            SageNative.op_init(Handle);
        }

        internal OpHandle Handle { get; private set; }

        /// <summary>Bias, masks, lengths, LSE, paged tables and the rest; null takes it away.</summary>
        public AttentionOp Set(Slot slot, Tensor tensor)
        {
            uint index = Index(slot);
            if (tensor == null)
                SageNative.op_no_slot(Handle, index);
            else
                SageNative.op_slot(Handle, index, (uint)tensor.DType, tensor.Rank, tensor.RawShape,
                    tensor.RawStrides, (int)Constants.SAGE_CPU, 0, tensor.Flags, tensor.Address);
            slots[index] = tensor;
            return this;
        }

        /// <summary>What a slot holds, or null.</summary>
        public Tensor Get(Slot slot)
        {
            return slots[Index(slot)];
        }

        private static uint Index(Slot slot)
        {
            if ((uint)slot < Constants.SAGE_ATTN_NUM_SLOTS) return (uint)slot;
            throw new SageException(Status.InvalidArgument, "attention has no slot " + (uint)slot);
        }

        /// <summary>0 is meant; without it 1/sqrt(dim).</summary>
        public AttentionOp Scale(double value)
        {
            return Feature(Constants.SAGE_ATTN_F_SCALE, true).SetField("scale", value);
        }

        /// <summary>Alignment.None: not causal.</summary>
        public AttentionOp Causal(Alignment alignment)
        {
            if (alignment == Alignment.None) return Feature(Constants.SAGE_ATTN_F_CAUSAL, false);
            return Feature(Constants.SAGE_ATTN_F_CAUSAL, true).Align(alignment);
        }

        /// <summary>Of what uses positions: causal, windows, ALiBi.</summary>
        public AttentionOp Align(Alignment alignment)
        {
            return SetField("alignment", (long)alignment);
        }

        /// <summary>Keys on either side besides a query's own position; null: all.</summary>
        public AttentionOp Window(long? left, long? right)
        {
            Feature(Constants.SAGE_ATTN_F_WINDOW_LEFT, left.HasValue).Feature(Constants.SAGE_ATTN_F_WINDOW_RIGHT,
                right.HasValue);
            return SetField("window_left", left.GetValueOrDefault()).SetField("window_right",
                right.GetValueOrDefault());
        }

        /// <summary>Scores become value * tanh(score / value); 0: they stay.</summary>
        public AttentionOp Softcap(double value)
        {
            return SetField("softcap", value);
        }

        /// <summary>The probability of dropping, 0 to below 1; takes Slot.Philox.</summary>
        public AttentionOp Dropout(double probability)
        {
            return SetField("dropout_p", probability);
        }

        /// <summary>The tile of Slot.BlockMask and of the CSR slots; 1 and 1 for single positions.</summary>
        public AttentionOp MaskBlock(uint q, uint kv)
        {
            return SetField("mask_block_q", q).SetField("mask_block_kv", kv);
        }

        /// <summary>Constants.SAGE_ALGORITHM_*.</summary>
        public AttentionOp Algorithm(uint value)
        {
            return SetField("algorithm", value);
        }

        /// <summary>kNew and vNew are written behind the keys in use, then attended to: K and V are written.</summary>
        public AttentionOp Append(Tensor kNew, Tensor vNew)
        {
            SetField("aliases", 1L << (int)Slot.K | 1L << (int)Slot.V);
            return Set(Slot.KNew, kNew).Set(Slot.VNew, vNew);
        }

        /// <summary>Constants.SAGE_ACCURACY_*: the least exact class accepted.</summary>
        public AttentionOp Accuracy(uint leastExact)
        {
            return SetField("accuracy", leastExact);
        }

        /// <summary>Constants.SAGE_REQUIRE_*, added to those before.</summary>
        public AttentionOp Require(uint requirements)
        {
            return SetField("requirements", GetField("requirements") | requirements);
        }

        /// <summary>Constants.SAGE_AXIS_* that may be smaller when it runs.</summary>
        public AttentionOp Dynamic(uint axes)
        {
            return SetField("dynamic_axes", axes);
        }

        /// <summary>A field of sage_attention_attributes or sage_op, by its name in C: what has no method
        /// here.</summary>
        public AttentionOp SetField(string field, long value)
        {
            if (field == null) throw new ArgumentNullException("field");
            SageNative.op_set_integer(Handle, field, value);
            return this;
        }

        /// <summary>The same of the fields that are doubles: scale, softcap, dropout_p.</summary>
        public AttentionOp SetField(string field, double value)
        {
            if (field == null) throw new ArgumentNullException("field");
            SageNative.op_set_number(Handle, field, value);
            return this;
        }

        /// <summary>A field that is no double, by its name in C.</summary>
        public long GetField(string field)
        {
            if (field == null) throw new ArgumentNullException("field");
            long value = SageNative.op_integer(Handle, field);
            Errors.Check();
            return value;
        }

        /// <summary>Constants.SAGE_ATTN_F_*: all that is asked for.</summary>
        public ulong Features
        {
            get
            {
                ulong bits = SageNative.op_features(Handle);
                Errors.Check();
                return bits;
            }
        }

        private AttentionOp Feature(ulong bit, bool on)
        {
            ulong features = (ulong)GetField("features");
            return SetField("features", (long)(on ? features | bit : features & ~bit));
        }

        /// <summary>What constants lie in, for the plan and its contexts to keep.</summary>
        internal Tensor[] ConstantTensors()
        {
            return Array.FindAll(slots, tensor => tensor != null && tensor.Flags != 0);
        }
    }
}
