package main

// Tensors, the flat call, plans and their runs.

import (
	"bytes"
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"unsafe"

	"sageengine/sage"
)

// tensor is kept as it was said, since its strides may come later.
type tensor struct {
	dtype          sage.DType
	shape, strides []int64
	data           []byte
	result         bool
}

func (t *tensor) view() sage.Tensor {
	if t.strides != nil {
		return sage.StridedAs(t.dtype, t.data, 0, t.shape, t.strides)
	}
	return sage.TensorAs(t.dtype, t.data, t.shape...)
}

// room is Go's memory, so many bytes past a multiple of 64.
func (r *runner) room(size int) []byte {
	all := make([]byte, size+64+r.place+1)
	start := -int(uintptr(unsafe.Pointer(&all[0]))) & 63
	return all[start+r.place:][:size:size]
}

func count(text string) uint64 { return must(strconv.ParseUint(text, 10, 64)) }

func real(text string) float64 { return must(strconv.ParseFloat(text, 64)) }

func lengths(text string) (all []int64) {
	if text == "scalar" {
		return []int64{}
	}
	for _, one := range strings.Split(text, ",") {
		all = append(all, must(strconv.ParseInt(one, 10, 64)))
	}
	return all
}

func dtype(text string) sage.DType { return must(sage.ParseDType(text)) }

func words(text string) []byte {
	if text == "-" {
		return nil
	}
	return must(hex.DecodeString(text))
}

func product(shape []int64) int {
	all := 1
	for _, length := range shape {
		all *= int(length)
	}
	return all
}

// described is "H first" of some bytes.
func described(data []byte) string {
	first := "-"
	if len(data) > 0 {
		first = hex.EncodeToString(data[:min(16, len(data))])
	}
	return hash(data) + " " + first
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func (r *runner) setTensor(result bool) {
	t := &tensor{dtype: dtype(r.words[2]), shape: lengths(r.words[3]), result: result}
	if result {
		t.data = r.room(product(t.shape) * t.dtype.Size())
		copy(t.data, bytes.Repeat([]byte{0xa5}, len(t.data)))
	} else {
		given := words(r.words[4])
		t.data = r.room(len(given))
		copy(t.data, given)
	}
	r.tensors[sage.Slot(count(r.words[1]))] = t
}

func (r *runner) op() *sage.AttentionOp {
	op := new(sage.AttentionOp)
	for slot := sage.Slot(0); slot < sage.NumSlots; slot++ {
		if t := r.tensors[slot]; t != nil {
			op.Slot(slot, t.view())
		}
	}
	for _, field := range r.fields {
		set(op, field[0], field[1])
	}
	return op
}

func set(op *sage.AttentionOp, name, value string) {
	a := &op.Attributes
	switch name {
	case "features":
		a.Features = count(value)
	case "alignment":
		a.Alignment = sage.Alignment(count(value))
	case "scale":
		a.Scale = real(value)
	case "softcap":
		a.Softcap = real(value)
	case "dropout_p":
		a.DropoutP = real(value)
	case "window_left":
		a.WindowLeft = int64(count(value))
	case "window_right":
		a.WindowRight = int64(count(value))
	case "max_seq_q":
		a.MaxSeqQ = int64(count(value))
	case "max_seq_kv":
		a.MaxSeqKV = int64(count(value))
	case "algorithm":
		a.Algorithm = sage.Algorithm(count(value))
	case "block_q":
		a.BlockQ = uint32(count(value))
	case "block_kv":
		a.BlockKV = uint32(count(value))
	case "mask_block_q":
		a.MaskBlockQ = uint32(count(value))
	case "mask_block_kv":
		a.MaskBlockKV = uint32(count(value))
	case "scale_block":
		a.ScaleBlock = uint32(count(value))
	case "granularity_q":
		a.GranularityQ = sage.Granularity(count(value))
	case "granularity_k":
		a.GranularityK = sage.Granularity(count(value))
	case "granularity_v":
		a.GranularityV = sage.Granularity(count(value))
	case "granularity_p":
		a.GranularityP = sage.Granularity(count(value))
	case "granularity_o":
		a.GranularityO = sage.Granularity(count(value))
	case "accuracy":
		op.Accuracy = sage.Accuracy(count(value))
	case "requirements":
		op.Requirements = sage.Requirements(count(value))
	case "dynamic_axes":
		op.DynamicAxes = sage.Axes(count(value))
	case "aliases":
		op.Aliases = count(value)
	default:
		fail("unknown field %s", name)
	}
}

func (r *runner) attentionStep() bool {
	switch r.words[0] {
	case "place":
		r.place = int(count(r.words[1]))
	case "tensor", "result":
		r.setTensor(r.words[0] == "result")
	case "strides":
		r.tensors[sage.Slot(count(r.words[1]))].strides = lengths(r.words[2])
	case "set":
		r.fields = append(r.fields, [2]string{r.words[1], r.words[2]})
	case "flat":
		r.flat()
	case "features":
		if bits, err := r.op().Features(); r.succeeded(err) {
			r.say("features %016x", bits)
		}
	case "plan":
		r.makePlan()
	case "memory":
		r.memory()
	case "explain":
		r.explain()
	case "attend":
		r.attend()
	default:
		return false
	}
	return true
}

func (r *runner) flat() {
	if !r.getEngine() {
		return
	}
	q, k, v, o := r.tensors[0], r.tensors[1], r.tensors[2], r.tensors[3]
	heads, rows := 1, 2
	if r.words[1] == "1" {
		heads, rows = 2, 1
	}
	err := sage.AttentionAs(r.engine, q.dtype, sage.AttentionShape{Batch: q.shape[0], HeadsQ: q.shape[heads],
		HeadsKV: k.shape[heads], SeqQ: q.shape[rows], SeqKV: k.shape[rows], DimQK: q.shape[3], DimV: v.shape[3],
		Layout: sage.Layout(count(r.words[1])), Causal: sage.Alignment(count(r.words[2])), Scale: real(r.words[3])},
		q.data, k.data, v.data, o.data)
	if r.succeeded(err) {
		r.say("SAGE_OK")
		r.say("slot 3 %s", described(o.data))
	}
}

func (r *runner) makePlan() {
	if !r.getEngine() {
		return
	}
	r.plan.Close()
	plan, err := r.engine.Plan(r.op(), r.planOptions...)
	if r.plan = plan; r.succeeded(err) {
		r.say("plan %s", plan.Backend())
	}
}

func (r *runner) memory() {
	if !r.has(r.plan != nil) {
		return
	}
	if m, err := r.plan.Memory(); r.succeeded(err) {
		r.say("memory %d %d %d %d %d %d %d", m.Q, m.K, m.V, m.O, m.Other, m.Scores, m.TotalWithScores)
	}
}

func (r *runner) explain() {
	var text []byte
	var err error
	if r.session != nil {
		text, err = r.session.Explain()
	} else if r.has(r.plan != nil) {
		text, err = r.plan.Explain()
	} else {
		return
	}
	if !r.succeeded(err) {
		return
	}
	if isJSON(text, "reference") {
		r.say("explain json")
	} else {
		r.say("explain is no JSON that names reference")
	}
}

func (r *runner) attend() {
	if !r.has(r.plan != nil) {
		return
	}
	run, err := r.plan.NewContext()
	if !r.succeeded(err) {
		return
	}
	defer run.Close()
	op := r.op()
	if !r.succeeded(run.Run(context.Background(), op)) {
		return
	}
	r.say("SAGE_OK")
	for slot := sage.Slot(0); slot < sage.NumSlots; slot++ {
		if t := r.tensors[slot]; t != nil && (t.result || op.Aliases>>slot&1 != 0) {
			r.say("slot %d %s", slot, described(t.data))
		}
	}
}
