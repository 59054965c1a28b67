package main

// Models, sessions, ticks, and the masks and gate of sparse.h.

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"sageengine/sage"
)

func shapeText(shape []int64) string {
	if len(shape) == 0 {
		return "scalar"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ",")
}

func (r *runner) modelStep() bool {
	step := r.words[0]
	switch step {
	case "model", "model_bytes":
		r.loadModel(step == "model_bytes")
	case "check", "check_bytes":
		r.check(step == "check_bytes")
	case "session":
		r.makeSession()
	case "input":
		r.input()
	case "bind":
		r.bind()
	case "run":
		r.run()
	case "trace":
		if r.has(r.session != nil) {
			if text, err := r.session.Trace(); r.succeeded(err) && isJSON(text, `"traceEvents"`) {
				r.say("trace json")
			} else if err == nil {
				r.say("trace is no JSON with traceEvents")
			}
		}
	case "accuracy":
		if r.has(r.session != nil) {
			if text, err := r.session.Accuracy(); r.succeeded(err) && isJSON(text, `"rel_l1"`) {
				r.say("accuracy json")
			} else if err == nil {
				r.say("accuracy is no JSON with rel_l1")
			}
		}
	case "tick":
		r.tick()
	case "snapshot":
		if r.has(r.session != nil) {
			if state, err := r.session.Snapshot(); r.succeeded(err) {
				r.snapshot = state
				r.say("snapshot %d %s", len(state), hash(state))
			}
		}
	case "restore", "restore_damaged":
		if r.has(r.snapshot != nil) {
			state := append([]byte(nil), r.snapshot...)
			if step == "restore_damaged" {
				state[len(state)-1] ^= 1
			}
			if r.succeeded(r.session.Restore(state)) {
				r.say("SAGE_OK")
			}
		}
	default:
		return false
	}
	return true
}

func (r *runner) loadModel(asBytes bool) {
	if !r.getEngine() {
		return
	}
	r.model.Close()
	var err error
	if asBytes {
		r.model, err = r.engine.LoadModelBytes(r.file(r.words[1]), "")
	} else {
		r.model, err = r.engine.LoadModel(r.folder + "/" + r.words[1])
	}
	if !r.succeeded(err) {
		return
	}
	r.say("model %d", r.model.Kind())
	for i, info := range r.model.Inputs() {
		r.say("input %d %s %s %s", i, info.Name, info.DType, shapeText(info.Shape))
	}
	for i, info := range r.model.Outputs() {
		r.say("output %d %s %s %s", i, info.Name, info.DType, shapeText(info.Shape))
	}
}

func (r *runner) check(asBytes bool) {
	if !r.getEngine() {
		return
	}
	var text []byte
	var err error
	if asBytes {
		text, err = r.engine.CheckModelBytes(r.file(r.words[1]), "")
	} else {
		text, err = r.engine.CheckModel(r.folder + "/" + r.words[1])
	}
	if r.succeeded(err) {
		r.say("valid %t", isJSON(text, `"valid":true`))
	}
}

func (r *runner) makeSession() {
	if !r.has(r.model != nil) {
		return
	}
	r.session.Close()
	r.bound = map[int][]byte{}
	session, err := r.model.NewSession(r.planOptions...)
	if r.session = session; r.succeeded(err) {
		r.say("SAGE_OK")
	}
}

func (r *runner) input() {
	if !r.has(r.session != nil) {
		return
	}
	given := words(r.words[4])
	data := r.room(len(given))
	copy(data, given)
	t := sage.TensorAs(dtype(r.words[2]), data, lengths(r.words[3])...)
	if r.succeeded(r.session.SetInput(int(count(r.words[1])), t)) {
		r.say("SAGE_OK")
	}
}

// lend gives a buffer of C's memory, so many bytes past a multiple of 64, and a tensor over it.
func (r *runner) lend(d sage.DType, shape []int64) ([]byte, sage.Tensor) {
	size := product(shape) * d.Size()
	buffer := must(sage.NewBuffer[byte](size + r.place))
	r.buffers = append(r.buffers, buffer)
	return buffer.Slice()[r.place:], buffer.ViewAt(d, r.place, shape...)
}

func (r *runner) bind() {
	if !r.has(r.session != nil) {
		return
	}
	index := int(count(r.words[2]))
	data, t := r.lend(dtype(r.words[3]), lengths(r.words[4]))
	direction := sage.Input
	if r.words[1] == "output" {
		direction = sage.Output
		copy(data, bytes.Repeat([]byte{0xa5}, len(data)))
	} else {
		copy(data, words(r.words[5]))
	}
	if !r.succeeded(r.session.Bind(direction, index, t)) {
		return
	}
	if direction == sage.Output {
		r.bound[index] = data
	}
	r.say("SAGE_OK")
}

func (r *runner) run() {
	if !r.has(r.session != nil) || !r.succeeded(r.session.Run(context.Background())) {
		return
	}
	r.say("SAGE_OK")
	for i := range r.model.Outputs() {
		info, err := r.session.OutputInfo(i)
		data := r.bound[i]
		if err == nil && data == nil {
			data = r.room(product(info.Shape) * info.DType.Size())
			err = r.session.GetOutput(i, sage.TensorAs(info.DType, data, info.Shape...))
		}
		if !r.succeeded(err) {
			return
		}
		data = data[:product(info.Shape)*info.DType.Size()]
		r.say("output %d %s %s %s", i, info.DType, shapeText(info.Shape), described(data))
	}
}

func (r *runner) tick() {
	if !r.has(r.session != nil) {
		return
	}
	if _, err := r.session.Tick(context.Background(), []byte(r.rest)); r.succeeded(err) {
		r.say("SAGE_OK")
	}
	if record, err := r.session.Decision(); r.succeeded(err) {
		r.say("%s", record)
	}
}

func raw(data []int32) []byte {
	var out bytes.Buffer
	binary.Write(&out, binary.LittleEndian, data)
	return out.Bytes()
}

func (r *runner) sparseStep() bool {
	numbers := make([]int64, 4)
	if strings.HasPrefix(r.words[0], "mincut_") {
		for i, word := range r.words[1:] {
			numbers[i] = int64(count(word))
		}
	}
	seq, parts, tileQ, tileKV := numbers[0], numbers[1], uint32(numbers[2]), uint32(numbers[3])
	switch r.words[0] {
	case "mincut_mask":
		if mask, kept, err := sage.MincutMask(seq, parts); r.succeeded(err) {
			data := make([]byte, len(mask))
			for i, keep := range mask {
				if keep {
					data[i] = 1
				}
			}
			r.say("kept %d %s", kept, hash(data))
		}
	case "mincut_csr":
		if mask, err := sage.MincutCSR(seq, parts, tileQ, tileKV); r.succeeded(err) {
			r.say("kept %d %s %s", len(mask.Indices), hash(raw(mask.Indptr)), hash(raw(mask.Indices)))
		}
	case "mincut_blocks":
		if blocks, kept, err := sage.MincutBlocks(seq, parts, tileQ, tileKV); r.succeeded(err) {
			r.say("kept %d %s", kept, hash(blocks))
		}
	case "gate":
		r.gate()
	case "gate_apply":
		op := new(sage.AttentionOp).Align(sage.Alignment(count(r.words[1])))
		if r.succeeded(r.decision.Apply(op)) {
			r.say("features %016x window_left %d", op.Attributes.Features, op.Attributes.WindowLeft)
		}
	default:
		return false
	}
	return true
}

func (r *runner) gate() {
	var packet sage.GatePacket
	var policy sage.GatePolicy
	fields := map[string]*uint32{"flags": &packet.Flags, "lambda": &packet.Lambda, "lambda_prev": &packet.LambdaPrev,
		"boundary_edges": &packet.BoundaryEdges, "boundary_concentration_q15": &packet.BoundaryConcentrationQ15,
		"partition_count": &packet.PartitionCount, "spike_fired": &packet.SpikeFired,
		"spike_rate_q15": &packet.SpikeRateQ15, "policy.lambda_min": &policy.LambdaMin,
		"policy.drop_ratio_q15_max":             &policy.DropRatioQ15Max,
		"policy.boundary_edges_max":             &policy.BoundaryEdgesMax,
		"policy.boundary_concentration_q15_max": &policy.BoundaryConcentrationQ15Max,
		"policy.partitions_max":                 &policy.PartitionsMax,
		"policy.spike_rate_q15_max":             &policy.SpikeRateQ15Max}
	for name, tier := range map[string]*sage.GateTier{"normal": &policy.Normal, "reduced": &policy.Reduced,
		"safe": &policy.Safe} {
		fields["policy."+name+".layers"] = &tier.Layers
		fields["policy."+name+".sequence"] = &tier.Sequence
		fields["policy."+name+".window"] = &tier.Window
	}
	var given *sage.GatePolicy
	for _, word := range r.words[1:] {
		name, value, _ := strings.Cut(word, "=")
		field := fields[name]
		if field == nil {
			fail("unknown field %s", name)
		}
		*field = uint32(count(value))
		if strings.HasPrefix(name, "policy.") {
			given = &policy
		}
	}
	d, err := sage.GateDecide(packet, given)
	if r.decision = d; r.succeeded(err) {
		r.say("gate %d %d %d %d %d %d", d.Verdict, d.Tier, d.DropRatioQ15, d.Layers, d.Sequence, d.Window)
	}
}
