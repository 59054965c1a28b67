package sage

// Which keys a query need not see, decided before the call: masks of a partition, and a gate. Pure functions, for any
// goroutine. abi/sage/sparse.h says what they compute.

// #include "shim.h"
import "C"

import "unsafe"

// MincutReach is how many tokens of a chunk see the earlier chunks' first tokens.
const MincutReach = C.SAGE_MINCUT_REACH

func ints(data []int32) *C.int32_t {
	if len(data) == 0 {
		return nil
	}
	return (*C.int32_t)(&data[0])
}

// MincutMask is bool [seq,seq] of seq tokens in so many parts, for SlotMask, and how many positions it keeps.
func MincutMask(seq, parts int64) (mask []bool, kept uint64, err error) {
	if _, err = number(C.sage_go_mincut_mask(C.int64_t(seq), C.int64_t(parts), nil, 0)); err != nil {
		return nil, 0, err
	}
	if mask, err = zeros[bool](uint64(seq * seq)); err != nil { // seq was accepted: at most 2^24
		return nil, 0, err
	}
	kept, err = number(C.sage_go_mincut_mask(C.int64_t(seq), C.int64_t(parts), (*C.uint8_t)(address(mask)),
		C.uint64_t(len(mask))))
	return mask, kept, err
}

// CSRMask is for SlotCSRIndptr, [1,1,n], and SlotCSRIndices, [n].
type CSRMask struct{ Indptr, Indices []int32 }

// MincutCSR is the same mask in tiles; of 1x1 it is exact.
func MincutCSR(seq, parts int64, tileQ, tileKV uint32) (CSRMask, error) {
	kept, err := number(C.sage_go_mincut_csr(C.int64_t(seq), C.int64_t(parts), C.uint32_t(tileQ), C.uint32_t(tileKV), nil,
		0, nil, 0))
	if err != nil {
		return CSRMask{}, err
	}
	var mask CSRMask
	if mask.Indptr, err = zeros[int32](tiles(seq, tileQ) + 1); err != nil {
		return CSRMask{}, err
	}
	if mask.Indices, err = zeros[int32](kept); err != nil {
		return CSRMask{}, err
	}
	_, err = number(C.sage_go_mincut_csr(C.int64_t(seq), C.int64_t(parts), C.uint32_t(tileQ), C.uint32_t(tileKV),
		ints(mask.Indptr), C.uint64_t(len(mask.Indptr)), ints(mask.Indices), C.uint64_t(len(mask.Indices))))
	return mask, err
}

// MincutBlocks is u8 [tiles of seq, tiles of seq], for SlotBlockMask, and how many tiles it keeps.
func MincutBlocks(seq, parts int64, tileQ, tileKV uint32) (blocks []uint8, kept uint64, err error) {
	if _, err = number(C.sage_go_mincut_blocks(C.int64_t(seq), C.int64_t(parts), C.uint32_t(tileQ), C.uint32_t(tileKV),
		nil, 0)); err != nil {
		return nil, 0, err
	}
	if blocks, err = zeros[uint8](tiles(seq, tileQ) * tiles(seq, tileKV)); err != nil {
		return nil, 0, err
	}
	kept, err = number(C.sage_go_mincut_blocks(C.int64_t(seq), C.int64_t(parts), C.uint32_t(tileQ), C.uint32_t(tileKV),
		cbytes(blocks), C.uint64_t(len(blocks))))
	return blocks, kept, err
}

// tiles of a sequence; the library refused a tile of 0 before.
func tiles(seq int64, tile uint32) uint64 { return (uint64(seq) + uint64(tile) - 1) / uint64(tile) }

// zeros is make for sizes that may not fit into memory: make itself ends the process then.
func zeros[T Element](count uint64) ([]T, error) {
	if C.sage_go_has_memory(C.uint64_t(count*uint64(unsafe.Sizeof(*new(T))))) == 0 {
		return nil, refuse(ErrOutOfMemory, "no memory for a mask of %d elements; MincutCSR of larger tiles takes less", count)
	}
	return make([]T, count), nil
}

// Flags of a GatePacket.
const (
	GateSkip      uint32 = C.SAGE_GATE_SKIP       // run nothing
	GateForceSafe uint32 = C.SAGE_GATE_FORCE_SAFE // the safe tier, whatever the rest says
	GateSpike     uint32 = C.SAGE_GATE_SPIKE      // SpikeFired and SpikeRateQ15 are meant
)

// GatePacket is what was seen of the token graph. Q15: 0 to 32767 stands for 0 to 1.
type GatePacket struct {
	Flags                    uint32
	Lambda, LambdaPrev       uint32 // weight of the minimum cut, now and before
	BoundaryEdges            uint32
	BoundaryConcentrationQ15 uint32
	PartitionCount           uint32
	SpikeFired               uint32
	SpikeRateQ15             uint32
}

// GateTier is how much is run; 0 is the default.
type GateTier struct{ Layers, Sequence, Window uint32 }

// GatePolicy is the limits and the tiers; 0 is the default.
type GatePolicy struct {
	LambdaMin                   uint32
	DropRatioQ15Max             uint32
	BoundaryEdgesMax            uint32
	BoundaryConcentrationQ15Max uint32
	PartitionsMax               uint32
	SpikeRateQ15Max             uint32
	Normal, Reduced, Safe       GateTier
}

// GateVerdict is why a tier was chosen.
type GateVerdict uint32

const (
	GateAllow       GateVerdict = C.SAGE_GATE_ALLOW
	GateReduceScope GateVerdict = C.SAGE_GATE_REDUCE_SCOPE
	GateFlushKV     GateVerdict = C.SAGE_GATE_FLUSH_KV
	GateQuarantine  GateVerdict = C.SAGE_GATE_QUARANTINE
	GateStorm       GateVerdict = C.SAGE_GATE_STORM
	GateForced      GateVerdict = C.SAGE_GATE_FORCED
	GateQuiet       GateVerdict = C.SAGE_GATE_QUIET
	GateSkipped     GateVerdict = C.SAGE_GATE_SKIPPED
)

// GateDecision says how much to run.
type GateDecision struct {
	Verdict      GateVerdict
	Tier         uint32 // 0 normal, 1 reduced, 2 safe, 3 nothing is run
	DropRatioQ15 uint32
	GateTier     // all 0 in tier 3
}

// GateDecide asks the gate. policy nil: all defaults.
func GateDecide(packet GatePacket, policy *GatePolicy) (GateDecision, error) {
	native := C.sage_gate_packet{struct_size: C.sizeof_sage_gate_packet, flags: C.uint32_t(packet.Flags),
		lambda: C.uint32_t(packet.Lambda), lambda_prev: C.uint32_t(packet.LambdaPrev),
		boundary_edges:             C.uint32_t(packet.BoundaryEdges),
		boundary_concentration_q15: C.uint32_t(packet.BoundaryConcentrationQ15),
		partition_count:            C.uint32_t(packet.PartitionCount), spike_fired: C.uint32_t(packet.SpikeFired),
		spike_rate_q15: C.uint32_t(packet.SpikeRateQ15)}
	var limits *C.sage_gate_policy
	if policy != nil {
		limits = &C.sage_gate_policy{struct_size: C.sizeof_sage_gate_policy, lambda_min: C.uint32_t(policy.LambdaMin),
			drop_ratio_q15_max: C.uint32_t(policy.DropRatioQ15Max), boundary_edges_max: C.uint32_t(policy.BoundaryEdgesMax),
			boundary_concentration_q15_max: C.uint32_t(policy.BoundaryConcentrationQ15Max),
			partitions_max:                 C.uint32_t(policy.PartitionsMax),
			spike_rate_q15_max:             C.uint32_t(policy.SpikeRateQ15Max), normal: policy.Normal.native(),
			reduced: policy.Reduced.native(), safe: policy.Safe.native()}
	}
	out := C.sage_gate_decision{struct_size: C.sizeof_sage_gate_decision}
	if err := take(C.sage_go_gate_decide(&native, limits, &out)); err != nil {
		return GateDecision{}, err
	}
	return GateDecision{Verdict: GateVerdict(out.verdict), Tier: uint32(out.tier), DropRatioQ15: uint32(out.drop_ratio_q15),
		GateTier: GateTier{uint32(out.layers), uint32(out.sequence), uint32(out.window)}}, nil
}

func (t GateTier) native() C.sage_gate_tier {
	return C.sage_gate_tier{layers: C.uint32_t(t.Layers), sequence: C.uint32_t(t.Sequence), window: C.uint32_t(t.Window)}
}

// Apply writes the decision's window into an op whose alignment is set: causal, and the narrower of both windows. How
// many rows are passed and how many layers run stays the caller's. ErrInvalidArgument in tier 3: nothing is run.
func (d GateDecision) Apply(op *AttentionOp) error {
	if err := op.check(); err != nil {
		return err
	}
	decision := C.sage_gate_decision{struct_size: C.sizeof_sage_gate_decision, verdict: C.uint32_t(d.Verdict),
		tier: C.uint32_t(d.Tier), drop_ratio_q15: C.uint32_t(d.DropRatioQ15), layers: C.uint32_t(d.Layers),
		sequence: C.uint32_t(d.Sequence), window: C.uint32_t(d.Window)}
	attributes := op.Attributes.native()
	if err := take(C.sage_go_gate_apply(&decision, &attributes)); err != nil {
		return err
	}
	op.Attributes.Features = uint64(attributes.features)
	op.Attributes.WindowLeft = int64(attributes.window_left)
	return nil
}
