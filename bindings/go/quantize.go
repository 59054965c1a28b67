package sage

// Floats as signed integers with scales, value = scale * code, as the scale slots of an attention take them. Pure
// functions, for any goroutine. abi/sage/quantize.h says what they compute.

// #include "shim.h"
import "C"

// Quantization says which scale is whose.
type Quantization struct {
	Granularity Granularity
	ScaleBlock  uint32  // tokens, with PerBlock
	GivenScales bool    // Quantize reads the scales; what they do not reach saturates
	Mean        *Tensor // f32 [B,H,D], of each sequence and channel; subtracted first. nil: none
	CuSeqlens   *Tensor // i32 [B+1]: where packed sequences begin, and the last one ends. nil: not needed
}

// QuantizeReport is what Quantize did.
type QuantizeReport struct {
	Elements    uint64
	Saturated   uint64  // values beyond what given scales reach
	ZeroGroups  uint64  // groups of zeros: their codes are 0 and their scale is 1
	CodeBytes   uint64  // of the codes alone
	ScaleBytes  uint64  // of scales and means
	MaxAbsError float64 // of scale*code (+ mean) against x
	RMSError    float64
}

// Quantize writes codes, I8 or I16 of x's shape, and scale (F32, its shape by granularity), and the mean where there is
// one. NaN and infinities are ErrInvalidArgument with their place; after an error nothing was written.
func (q Quantization) Quantize(x, codes, scale Tensor) (QuantizeReport, error) {
	var flags C.uint32_t
	if q.GivenScales {
		flags |= C.SAGE_QUANTIZE_GIVEN_SCALES
	}
	var out C.sage_quantize_report
	err := q.call(x, codes, scale, func(t *[5]C.sage_go_tensor, p *[5]*C.uint8_t, present C.uint32_t) error {
		return take(C.sage_go_quantize(&t[0], present, C.uint32_t(q.Granularity), C.uint32_t(q.ScaleBlock), flags, p[0],
			p[1], p[2], p[3], p[4], &out))
	})
	if err != nil {
		return QuantizeReport{}, err
	}
	return QuantizeReport{Elements: uint64(out.elements), Saturated: uint64(out.saturated),
		ZeroGroups: uint64(out.zero_groups), CodeBytes: uint64(out.code_bytes), ScaleBytes: uint64(out.scale_bytes),
		MaxAbsError: float64(out.max_abs_error), RMSError: float64(out.rms_error)}, nil
}

// Dequantize writes x = scale*codes + mean, rounded to x's type.
func (q Quantization) Dequantize(codes, scale, x Tensor) error {
	return q.call(x, codes, scale, func(t *[5]C.sage_go_tensor, p *[5]*C.uint8_t, present C.uint32_t) error {
		return take(C.sage_go_dequantize(&t[0], present, C.uint32_t(q.Granularity), C.uint32_t(q.ScaleBlock), p[0], p[1],
			p[2], p[3], p[4]))
	})
}

// call lends the tensors to one call of C.
func (q Quantization) call(x, codes, scale Tensor,
	call func(*[5]C.sage_go_tensor, *[5]*C.uint8_t, C.uint32_t) error) error {
	var flat [5]C.sage_go_tensor
	var data [5]*C.uint8_t
	var present C.uint32_t
	var buffers []share
	for i, t := range [...]*Tensor{&x, &codes, &scale, q.Mean, q.CuSeqlens} {
		if t == nil {
			continue
		}
		if t.err != nil {
			return t.err
		}
		flat[i], data[i] = t.flat, (*C.uint8_t)(t.data)
		present |= 1 << i
		if t.memory != nil {
			buffers = append(buffers, t.memory)
		}
	}
	buffers, err := retainAll(buffers)
	if err != nil {
		return err
	}
	defer releaseAll(buffers)
	return call(&flat, &data, present)
}
