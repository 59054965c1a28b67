// The library's numbers by name; Constants.cs has them all as C spells them.
namespace Sage
{
    /// <summary>The type of a tensor's elements.</summary>
    public enum DType : uint
    {
        I8 = Constants.SAGE_I8,
        I16 = Constants.SAGE_I16,
        I32 = Constants.SAGE_I32,
        I64 = Constants.SAGE_I64,
        U8 = Constants.SAGE_U8,
        U64 = Constants.SAGE_U64,
        F16 = Constants.SAGE_F16,
        F32 = Constants.SAGE_F32,
        F64 = Constants.SAGE_F64,
        BF16 = Constants.SAGE_BF16,
        /// <summary>One byte, 0 or 1.</summary>
        Bool = Constants.SAGE_BOOL,
        F8E4M3FN = Constants.SAGE_F8_E4M3FN,
        F8E5M2 = Constants.SAGE_F8_E5M2
    }

    /// <summary>The order of the axes in memory: B batch, H heads, S sequence, D dim.</summary>
    public enum Layout : uint
    {
        BHSD = 0,
        BSHD = 1
    }

    /// <summary>Where query i stands among the keys: what causal masks, windows and ALiBi count from.</summary>
    public enum Alignment : uint
    {
        /// <summary>Of the plain call: not causal.</summary>
        None = 0,
        /// <summary>Query i at key i.</summary>
        TopLeft = Constants.SAGE_ALIGN_TOP_LEFT,
        /// <summary>The last query at the last key.</summary>
        BottomRight = Constants.SAGE_ALIGN_BOTTOM_RIGHT
    }

    /// <summary>Which side of a model.</summary>
    public enum Direction : uint
    {
        Input = Constants.SAGE_INPUT,
        Output = Constants.SAGE_OUTPUT
    }

    /// <summary>The kind of graph that a model holds; ticks are for all but the first.</summary>
    public enum GraphKind : uint
    {
        OpGraph = Constants.SAGE_MODEL_OP_GRAPH,
        Expert = Constants.SAGE_MODEL_EXPERT,
        Metabolic = Constants.SAGE_MODEL_METABOLIC,
        Fusion = Constants.SAGE_MODEL_FUSION
    }

    /// <summary>How awake a metabolic graph is, from resting to alarmed.</summary>
    public enum MetabolicState
    {
        Wake,
        Focus,
        Rest,
        Dream,
        Crisis
    }

    /// <summary>A tensor of an attention; sage/attention.h has what each holds, and its shape.</summary>
    public enum Slot : uint
    {
        Q = Constants.SAGE_ATTN_Q,
        K = Constants.SAGE_ATTN_K,
        V = Constants.SAGE_ATTN_V,
        /// <summary>Out.</summary>
        O = Constants.SAGE_ATTN_O,
        /// <summary>Out, [B,Hq,Sq]: natural logarithm of the sum of exponentials.</summary>
        Lse = Constants.SAGE_ATTN_LSE,
        /// <summary>[B,Hq,Sq,Skv], added to the scores.</summary>
        Bias = Constants.SAGE_ATTN_BIAS,
        /// <summary>Bool [B,Hq,Sq,Skv], true keeps.</summary>
        Mask = Constants.SAGE_ATTN_MASK,
        BitMask = Constants.SAGE_ATTN_BIT_MASK,
        BlockMask = Constants.SAGE_ATTN_BLOCK_MASK,
        CsrIndptr = Constants.SAGE_ATTN_CSR_INDPTR,
        CsrIndices = Constants.SAGE_ATTN_CSR_INDICES,
        Alibi = Constants.SAGE_ATTN_ALIBI,
        Sinks = Constants.SAGE_ATTN_SINKS,
        CuSeqlensQ = Constants.SAGE_ATTN_CU_SEQLENS_Q,
        CuSeqlensK = Constants.SAGE_ATTN_CU_SEQLENS_K,
        SequsedQ = Constants.SAGE_ATTN_SEQUSED_Q,
        SequsedK = Constants.SAGE_ATTN_SEQUSED_K,
        BlockTable = Constants.SAGE_ATTN_BLOCK_TABLE,
        KNew = Constants.SAGE_ATTN_K_NEW,
        VNew = Constants.SAGE_ATTN_V_NEW,
        ScaleQ = Constants.SAGE_ATTN_SCALE_Q,
        ScaleK = Constants.SAGE_ATTN_SCALE_K,
        ScaleV = Constants.SAGE_ATTN_SCALE_V,
        ScaleP = Constants.SAGE_ATTN_SCALE_P,
        ScaleO = Constants.SAGE_ATTN_SCALE_O,
        Philox = Constants.SAGE_ATTN_PHILOX,
        /// <summary>Out, [B,Hq,Sq,Skv]: the softmax.</summary>
        Weights = Constants.SAGE_ATTN_WEIGHTS,
        /// <summary>Out, [B,Hq,Sq,Skv]: the scores before visibility.</summary>
        Scores = Constants.SAGE_ATTN_SCORES
    }

    /// <summary>Why the gate decided as it did.</summary>
    public enum GateVerdict : uint
    {
        Allow = Constants.SAGE_GATE_ALLOW,
        ReduceScope = Constants.SAGE_GATE_REDUCE_SCOPE,
        FlushKv = Constants.SAGE_GATE_FLUSH_KV,
        Quarantine = Constants.SAGE_GATE_QUARANTINE,
        Storm = Constants.SAGE_GATE_STORM,
        Forced = Constants.SAGE_GATE_FORCED,
        Quiet = Constants.SAGE_GATE_QUIET,
        Skipped = Constants.SAGE_GATE_SKIPPED
    }
}
