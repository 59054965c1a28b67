package sage

// Attention with everything it can do, described. abi/sage/attention.h says what each slot and number means, formula
// first.

// #include "shim.h"
import "C"

// Slot is a tensor's place in an attention.
type Slot uint32

// Axis orders: B batch, Hq and Hkv heads, Sq queries, Skv keys, D = dim of Q and K. x is f64 for f64 inputs, else f32.
const (
	SlotQ          Slot = C.SAGE_ATTN_Q            // [B,Hq,Sq,D]; packed [T,Hq,D]
	SlotK          Slot = C.SAGE_ATTN_K            // [B,Hkv,Skv,D]; packed [T,Hkv,D]; paged [pages,Hkv,page,D]
	SlotV          Slot = C.SAGE_ATTN_V            // as K
	SlotO          Slot = C.SAGE_ATTN_O            // out, as Q
	SlotLSE        Slot = C.SAGE_ATTN_LSE          // out x [B,Hq,Sq], packed [Hq,T]
	SlotBias       Slot = C.SAGE_ATTN_BIAS         // x or Q's type [B,Hq,Sq,Skv], may repeat
	SlotMask       Slot = C.SAGE_ATTN_MASK         // bool [B,Hq,Sq,Skv], true keeps, may repeat
	SlotBitMask    Slot = C.SAGE_ATTN_BIT_MASK     // u8 [B,Hq,Sq,ceil(Skv/8)], lowest bit first
	SlotBlockMask  Slot = C.SAGE_ATTN_BLOCK_MASK   // u8 [B|1,Hq|1,tiles of Sq,tiles of Skv]
	SlotCSRIndptr  Slot = C.SAGE_ATTN_CSR_INDPTR   // i32 [B|1,Hq|1,tiles of Sq + 1]
	SlotCSRIndices Slot = C.SAGE_ATTN_CSR_INDICES  // i32 [n]
	SlotALiBi      Slot = C.SAGE_ATTN_ALIBI        // x [Hq], slopes
	SlotSinks      Slot = C.SAGE_ATTN_SINKS        // x [Hq], logits
	SlotCuSeqlensQ Slot = C.SAGE_ATTN_CU_SEQLENS_Q // i32 [B+1]
	SlotCuSeqlensK Slot = C.SAGE_ATTN_CU_SEQLENS_K // i32 [B+1]
	SlotSeqUsedQ   Slot = C.SAGE_ATTN_SEQUSED_Q    // i32 [B]
	SlotSeqUsedK   Slot = C.SAGE_ATTN_SEQUSED_K    // i32 [B]; with Append: before the append
	SlotBlockTable Slot = C.SAGE_ATTN_BLOCK_TABLE  // i32 [B,max pages]
	SlotKNew       Slot = C.SAGE_ATTN_K_NEW        // [B,Hkv,Snew,D]
	SlotVNew       Slot = C.SAGE_ATTN_V_NEW
	SlotScaleQ     Slot = C.SAGE_ATTN_SCALE_Q // f32, shape by granularity
	SlotScaleK     Slot = C.SAGE_ATTN_SCALE_K
	SlotScaleV     Slot = C.SAGE_ATTN_SCALE_V
	SlotScaleP     Slot = C.SAGE_ATTN_SCALE_P
	SlotScaleO     Slot = C.SAGE_ATTN_SCALE_O
	SlotPhilox     Slot = C.SAGE_ATTN_PHILOX  // u64 [2]: seed, offset
	SlotWeights    Slot = C.SAGE_ATTN_WEIGHTS // out x [B,Hq,Sq,Skv]
	SlotScores     Slot = C.SAGE_ATTN_SCORES  // out x [B,Hq,Sq,Skv]
	numSlots            = C.SAGE_ATTN_NUM_SLOTS
	NumSlots       Slot = numSlots
)

// Feature bits. The four marked * a caller sets (by the methods of AttentionOp), the others follow from slots.
const (
	FeatureScale       uint64 = C.SAGE_ATTN_F_SCALE // *
	FeatureGQA         uint64 = C.SAGE_ATTN_F_GQA
	FeatureCausal      uint64 = C.SAGE_ATTN_F_CAUSAL // *
	FeatureBottomRight uint64 = C.SAGE_ATTN_F_BOTTOM_RIGHT
	FeatureWindowLeft  uint64 = C.SAGE_ATTN_F_WINDOW_LEFT  // *
	FeatureWindowRight uint64 = C.SAGE_ATTN_F_WINDOW_RIGHT // *
	FeatureBias        uint64 = C.SAGE_ATTN_F_BIAS
	FeatureBoolMask    uint64 = C.SAGE_ATTN_F_BOOL_MASK
	FeatureBitMask     uint64 = C.SAGE_ATTN_F_BIT_MASK
	FeatureBlockMask   uint64 = C.SAGE_ATTN_F_BLOCK_MASK
	FeatureCSRMask     uint64 = C.SAGE_ATTN_F_CSR_MASK
	FeatureALiBi       uint64 = C.SAGE_ATTN_F_ALIBI
	FeatureSoftcap     uint64 = C.SAGE_ATTN_F_SOFTCAP
	FeatureSinks       uint64 = C.SAGE_ATTN_F_SINKS
	FeatureVarlen      uint64 = C.SAGE_ATTN_F_VARLEN
	FeatureQLengths    uint64 = C.SAGE_ATTN_F_Q_LENGTHS
	FeatureKVLengths   uint64 = C.SAGE_ATTN_F_KV_LENGTHS
	FeaturePagedKV     uint64 = C.SAGE_ATTN_F_PAGED_KV
	FeatureAppendKV    uint64 = C.SAGE_ATTN_F_APPEND_KV
	FeatureLSE         uint64 = C.SAGE_ATTN_F_LSE
	FeatureDropout     uint64 = C.SAGE_ATTN_F_DROPOUT
	FeatureQuantScales uint64 = C.SAGE_ATTN_F_QUANT_SCALES
	FeatureDVDiffers   uint64 = C.SAGE_ATTN_F_DV_DIFFERS
	FeatureHVDiffers   uint64 = C.SAGE_ATTN_F_HV_DIFFERS
	FeatureWeightsOut  uint64 = C.SAGE_ATTN_F_WEIGHTS_OUT
	FeatureScoresOut   uint64 = C.SAGE_ATTN_F_SCORES_OUT
)

// Algorithm asked for.
type Algorithm uint32

const (
	AlgorithmAuto         Algorithm = C.SAGE_ALGORITHM_AUTO
	AlgorithmMaterialised Algorithm = C.SAGE_ALGORITHM_MATERIALISED // whole score rows in scratch
	AlgorithmFlash        Algorithm = C.SAGE_ALGORITHM_FLASH
)

// Granularity of a quantisation scale; 0: there is none.
type Granularity uint32

const (
	PerTensor  Granularity = C.SAGE_PER_TENSOR
	PerHead    Granularity = C.SAGE_PER_HEAD
	PerToken   Granularity = C.SAGE_PER_TOKEN
	PerChannel Granularity = C.SAGE_PER_CHANNEL
	PerBlock   Granularity = C.SAGE_PER_BLOCK
)

// Accuracy is the least exact class accepted.
type Accuracy uint32

const (
	AccuracyAuto   Accuracy = C.SAGE_ACCURACY_AUTO
	AccuracyExact  Accuracy = C.SAGE_ACCURACY_EXACT
	AccuracyNative Accuracy = C.SAGE_ACCURACY_NATIVE
	AccuracyLossy  Accuracy = C.SAGE_ACCURACY_LOSSY
)

// Requirements are bits.
type Requirements uint32

const (
	Deterministic Requirements = C.SAGE_REQUIRE_DETERMINISTIC  // the same bits from run to run and for any thread count
	StreamCapture Requirements = C.SAGE_REQUIRE_STREAM_CAPTURE // legal inside CUDA graph capture
	Scalar        Requirements = C.SAGE_REQUIRE_SCALAR         // no vector unit, no device
)

// Axes are bits: those that may be smaller when it runs than planned.
type Axes uint32

const (
	AxisBatch   Axes = C.SAGE_AXIS_B
	AxisQueries Axes = C.SAGE_AXIS_SQ
	AxisKeys    Axes = C.SAGE_AXIS_SKV
)

// AttentionAttributes are the numbers of an attention. The methods of AttentionOp set those that belong together.
type AttentionAttributes struct {
	Alignment         Alignment // of what uses positions: causal, windows, ALiBi
	Features          uint64    // FeatureScale, FeatureCausal, FeatureWindowLeft, FeatureWindowRight
	Scale             float64
	Softcap           float64 // above 0 caps
	DropoutP          float64 // probability of dropping
	WindowLeft        int64
	WindowRight       int64
	MaxSeqQ, MaxSeqKV int64 // packed batches: upper bound of one sequence; 0: all rows
	Algorithm         Algorithm
	BlockQ, BlockKV   uint32 // kernel tile; 0: the backend's own
	MaskBlockQ        uint32 // tile of block and CSR masks
	MaskBlockKV       uint32
	ScaleBlock        uint32 // tokens, with PerBlock
	GranularityQ      Granularity
	GranularityK      Granularity
	GranularityV      Granularity
	GranularityP      Granularity
	GranularityO      Granularity
}

// Unlimited is a window's side that is open.
const Unlimited int64 = -1

// AttentionOp describes an attention for planning and, with data in its tensors, for running. Any number of contexts may
// run it at once, as long as nobody changes it.
type AttentionOp struct {
	Attributes   AttentionAttributes
	Accuracy     Accuracy
	Requirements Requirements
	DynamicAxes  Axes
	Aliases      uint64 // bit s: slot s is read and written in place; Append sets those it needs

	flat   [numSlots]C.sage_go_tensor // the first count, in the order they were given
	data   [numSlots]*C.uint8_t
	memory [numSlots]*memory
	count  int
	lent   bool // some memory is not nil
	err    error
}

// NewAttentionOp begins with the four tensors every attention has.
func NewAttentionOp(q, k, v, o Tensor) *AttentionOp {
	return new(AttentionOp).Slot(SlotQ, q).Slot(SlotK, k).Slot(SlotV, v).Slot(SlotO, o)
}

// Slot puts a tensor in its place, instead of the one that was there.
func (op *AttentionOp) Slot(slot Slot, t Tensor) *AttentionOp {
	if slot >= NumSlots && op.err == nil {
		op.err = refuse(ErrInvalidArgument, "attention has no slot %d", slot)
	}
	if t.err != nil && op.err == nil {
		op.err = t.err
	}
	if op.err != nil {
		return op
	}
	at := 0
	for at < op.count && op.flat[at].slot != C.uint32_t(slot) {
		at++
	}
	if at == op.count {
		op.count++
	}
	op.flat[at], op.data[at], op.memory[at] = t.flat, (*C.uint8_t)(t.data), t.memory
	op.flat[at].slot = C.uint32_t(slot)
	op.lent = op.lent || t.memory != nil
	return op
}

// Scale is meant as given, 0 included; without it 1/sqrt(D).
func (op *AttentionOp) Scale(scale float64) *AttentionOp {
	op.Attributes.Features |= FeatureScale
	op.Attributes.Scale = scale
	return op
}

// Causal: no query sees a later key than its own.
func (op *AttentionOp) Causal(alignment Alignment) *AttentionOp {
	op.Attributes.Features |= FeatureCausal
	return op.Align(alignment)
}

// Align says where queries stand among the keys, for whatever uses positions.
func (op *AttentionOp) Align(alignment Alignment) *AttentionOp {
	op.Attributes.Alignment = alignment
	return op
}

// Window is how many keys a query sees on either side besides its own position; Unlimited: all.
func (op *AttentionOp) Window(left, right int64) *AttentionOp {
	a := &op.Attributes
	a.Features &^= FeatureWindowLeft | FeatureWindowRight
	a.WindowLeft, a.WindowRight = 0, 0
	if left != Unlimited {
		a.Features |= FeatureWindowLeft
		a.WindowLeft = left
	}
	if right != Unlimited {
		a.Features |= FeatureWindowRight
		a.WindowRight = right
	}
	return op
}

// Append writes kNew and vNew behind the keys in use, which SlotSeqUsedK counts, then attends to them.
func (op *AttentionOp) Append(kNew, vNew Tensor) *AttentionOp {
	op.Aliases |= 1<<SlotK | 1<<SlotV
	return op.Slot(SlotKNew, kNew).Slot(SlotVNew, vNew)
}

// Err is the first thing that was wrong with a slot or tensor; planning and running return it too.
func (op *AttentionOp) Err() error { return op.err }

// Features is all that the op asks for, as bits.
func (op *AttentionOp) Features() (uint64, error) {
	if err := op.check(); err != nil {
		return 0, err
	}
	native := op.native()
	got := C.sage_go_attention_features(&native, &op.flat[0])
	if got.error != nil {
		return 0, take(got.error)
	}
	return uint64(got.value), nil
}

func (op *AttentionOp) check() error {
	if op == nil {
		return refuse(ErrInvalidArgument, "the op is nil")
	}
	return op.err
}

// buffers are those its tensors lie in; constants of them those a plan keeps.
func (op *AttentionOp) buffers() (all []share) {
	for _, m := range op.memory[:op.count] {
		if m != nil {
			all = append(all, m)
		}
	}
	return all
}

func (op *AttentionOp) constants() (all []share) {
	for i, m := range op.memory[:op.count] {
		if m != nil && op.flat[i].flags&C.SAGE_TENSOR_CONSTANT != 0 {
			all = append(all, m)
		}
	}
	return all
}

// native is sage_op but for its tensors, without a pointer in it.
func (op *AttentionOp) native() C.sage_go_op {
	return C.sage_go_op{requirements: C.uint32_t(op.Requirements), accuracy: C.uint32_t(op.Accuracy),
		dynamic_axes: C.uint32_t(op.DynamicAxes), count: C.uint32_t(op.count), aliases: C.uint64_t(op.Aliases),
		attributes: op.Attributes.native()}
}

func (a *AttentionAttributes) native() C.sage_attention_attributes {
	return C.sage_attention_attributes{
		struct_size: C.sizeof_sage_attention_attributes, alignment: C.uint32_t(a.Alignment),
		features: C.uint64_t(a.Features), scale: C.double(a.Scale), softcap: C.double(a.Softcap),
		dropout_p: C.double(a.DropoutP), window_left: C.int64_t(a.WindowLeft), window_right: C.int64_t(a.WindowRight),
		max_seq_q: C.int64_t(a.MaxSeqQ), max_seq_kv: C.int64_t(a.MaxSeqKV), algorithm: C.uint32_t(a.Algorithm),
		block_q: C.uint32_t(a.BlockQ), block_kv: C.uint32_t(a.BlockKV), mask_block_q: C.uint32_t(a.MaskBlockQ),
		mask_block_kv: C.uint32_t(a.MaskBlockKV), scale_block: C.uint32_t(a.ScaleBlock),
		granularity_q: C.uint32_t(a.GranularityQ), granularity_k: C.uint32_t(a.GranularityK),
		granularity_v: C.uint32_t(a.GranularityV), granularity_p: C.uint32_t(a.GranularityP),
		granularity_o: C.uint32_t(a.GranularityO),
	}
}
