// Floats as signed integers with scales, and back.
//
// Tensors cross as numbers in one array, in the order that sage_flat.h has; they are kept until the call is back.
using System;

namespace Sage
{
    /// <summary>Which scale is whose, value = scale * code, as the scale slots of an attention take them:
    /// sage/quantize.h has types, shapes and formula. A call is a pure function, any thread; the object is set by
    /// one.</summary>
    public sealed class Quantization
    {
        private const int Numbers = 4 + 2 * (int)Constants.SAGE_MAX_RANK;
        private readonly uint granularity;

        /// <summary>granularity: Constants.SAGE_PER_*.</summary>
        public Quantization(uint granularity)
        {
            this.granularity = granularity;
        }

        /// <summary>Tokens that share a scale, with SAGE_PER_BLOCK.</summary>
        public uint ScaleBlock { get; set; }

        /// <summary>F32 [B,H,D], of each sequence and channel: written and subtracted, or added on the way back; null:
        /// none.</summary>
        public Tensor Mean { get; set; }

        /// <summary>I32 [B+1]: where packed sequences begin, and the last one ends; null: none.</summary>
        public Tensor CuSeqlens { get; set; }

        /// <summary>Writes codes, I8 or I16, and scale, F32, its shape by granularity. NaN and infinities are refused
        /// with their place; then nothing was written.</summary>
        public QuantizeReport Quantize(Tensor x, Tensor codes, Tensor scale)
        {
            return Quantize(x, codes, scale, 0);
        }

        /// <summary>The same with scales that are given: what they do not reach saturates, and is counted.</summary>
        public QuantizeReport QuantizeWith(Tensor x, Tensor codes, Tensor scale)
        {
            return Quantize(x, codes, scale, Constants.SAGE_QUANTIZE_GIVEN_SCALES);
        }

        private QuantizeReport Quantize(Tensor x, Tensor codes, Tensor scale, uint flags)
        {
            Library.Load();
            long[] counts = new long[5];
            double[] errors = new double[2];
            Tensor[] tensors = { x, codes, scale, Mean, CuSeqlens };
            SageNative.quantize(NumbersOf(tensors), granularity, ScaleBlock, flags, counts, errors);
            GC.KeepAlive(tensors);
            return new QuantizeReport(counts, errors);
        }

        /// <summary>x = scale * codes + mean, rounded to x's type.</summary>
        public void Dequantize(Tensor codes, Tensor scale, Tensor x)
        {
            Library.Load();
            Tensor[] tensors = { x, codes, scale, Mean, CuSeqlens };
            SageNative.dequantize(NumbersOf(tensors), granularity, ScaleBlock);
            GC.KeepAlive(tensors);
        }

        private static long[] NumbersOf(Tensor[] tensors)
        {
            long[] all = new long[tensors.Length * Numbers];
            for (int i = 0; i < tensors.Length; ++i)
            {
                int at = i * Numbers;
                Tensor tensor = tensors[i];
                if (tensor == null)
                {
                    all[at] = -1;
                    continue;
                }
                all[at] = tensor.Rank;
                all[at + 1] = (uint)tensor.DType;
                all[at + 2] = tensor.Flags;
                all[at + 3] = (long)tensor.Address;
                tensor.RawShape.CopyTo(all, at + 4);
                tensor.RawStrides.CopyTo(all, at + 4 + (int)Constants.SAGE_MAX_RANK);
            }
            return all;
        }
    }

    /// <summary>Counts, and how far scale * code is from the values.</summary>
    public sealed class QuantizeReport
    {
        internal QuantizeReport(long[] counts, double[] errors)
        {
            Elements = (ulong)counts[0];
            Saturated = (ulong)counts[1];
            ZeroGroups = (ulong)counts[2];
            CodeBytes = (ulong)counts[3];
            ScaleBytes = (ulong)counts[4];
            MaxAbsError = errors[0];
            RmsError = errors[1];
        }

        public ulong Elements { get; private set; }

        /// <summary>Values beyond what given scales reach.</summary>
        public ulong Saturated { get; private set; }

        /// <summary>Groups of zeros: their codes are 0 and their scale is 1.</summary>
        public ulong ZeroGroups { get; private set; }

        /// <summary>Of the codes alone.</summary>
        public ulong CodeBytes { get; private set; }

        /// <summary>Of scales and means.</summary>
        public ulong ScaleBytes { get; private set; }

        /// <summary>Of scale * code (+ mean) against x.</summary>
        public double MaxAbsError { get; private set; }

        /// <summary>The same, root of the mean square.</summary>
        public double RmsError { get; private set; }
    }
}
