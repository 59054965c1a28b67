package main

// Floats as integers with scales, and back.

import (
	"math"

	"sageengine/sage"
)

// lentSlot is the tensor of a slot by its number; nil for "-".
func (r *runner) lentSlot(word string) *sage.Tensor {
	if word == "-" {
		return nil
	}
	t := r.tensors[sage.Slot(count(word))].view()
	return &t
}

func (r *runner) saySlot(word string) {
	if word != "-" {
		r.say("slot %s %s", word, described(r.tensors[sage.Slot(count(word))].data))
	}
}

func (r *runner) quantizeStep() bool {
	w := r.words
	switch w[0] {
	case "quantize":
		q := sage.Quantization{Granularity: sage.Granularity(count(w[6])), ScaleBlock: uint32(count(w[7])),
			GivenScales: w[8] == "1", Mean: r.lentSlot(w[4]), CuSeqlens: r.lentSlot(w[5])}
		report, err := q.Quantize(*r.lentSlot(w[1]), *r.lentSlot(w[2]), *r.lentSlot(w[3]))
		if !r.succeeded(err) {
			return true
		}
		r.say("SAGE_OK")
		r.say("report %d %d %d %d %d %016x %016x", report.Elements, report.Saturated, report.ZeroGroups, report.CodeBytes,
			report.ScaleBytes, math.Float64bits(report.MaxAbsError), math.Float64bits(report.RMSError))
		r.saySlot(w[2])
		if !q.GivenScales {
			r.saySlot(w[3])
		}
		r.saySlot(w[4])
	case "dequantize":
		q := sage.Quantization{Granularity: sage.Granularity(count(w[6])), ScaleBlock: uint32(count(w[7])),
			Mean: r.lentSlot(w[3]), CuSeqlens: r.lentSlot(w[4])}
		if r.succeeded(q.Dequantize(*r.lentSlot(w[1]), *r.lentSlot(w[2]), *r.lentSlot(w[5]))) {
			r.say("SAGE_OK")
			r.saySlot(w[5])
		}
	default:
		return false
	}
	return true
}
