package sage

// The engine, and the short call of attention.

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import "unsafe"

// Engine holds plugins, devices and threads. Any number of goroutines may use it.
type Engine struct{ handle *handle }

// Open checks the library's ABI and makes an engine. A plugin that cannot be used is no error: Describe tells of it.
func Open(options ...Option) (*Engine, error) {
	if err := checkABI(uint32(C.sage_abi_version())); err != nil {
		return nil, err
	}
	var engine *Engine
	err := withOptions(options, func(native *C.sage_options, lent []share) error {
		made := C.sage_go_engine_create(native)
		if made.error != nil {
			return take(made.error)
		}
		free := func(native unsafe.Pointer) { C.sage_engine_destroy((*C.sage_engine)(native)) }
		engine = guard(&Engine{newHandle("the engine", made.handle, free, lent...)}, func(e *Engine) *handle { return e.handle })
		return nil
	})
	return engine, err
}

// Close always returns nil. Models, plans and sessions made of it stay usable.
func (e *Engine) Close() error {
	if e != nil {
		e.handle.close()
	}
	return nil
}

func (e *Engine) enter() (*C.sage_engine, error) {
	if e == nil {
		return nil, closed("the engine")
	}
	if err := e.handle.enter(); err != nil {
		return nil, err
	}
	return (*C.sage_engine)(e.handle.native), nil
}

// LoadPlugin loads a backend from an absolute path; ErrABIMismatch where it was built for another ABI.
func (e *Engine) LoadPlugin(path string) error {
	return e.withText(path, func(native *C.sage_engine, path *C.char) error {
		return take(C.sage_go_engine_load_plugin(native, path))
	})
}

// withText is one call with a text as C has it.
func (e *Engine) withText(text string, call func(native *C.sage_engine, text *C.char) error) error {
	native, err := e.enter()
	if err != nil {
		return err
	}
	defer e.handle.leave()
	given, err := cstring(text)
	if err != nil {
		return err
	}
	defer freeString(given)
	return call(native, given)
}

// Backends are the names of those that can be used, "reference" among them.
func (e *Engine) Backends() ([]string, error) {
	native, err := e.enter()
	if err != nil {
		return nil, err
	}
	defer e.handle.leave()
	var names []string
	for i := C.uint32_t(0); i < C.sage_engine_backend_count(native); i++ {
		if name := C.sage_engine_backend_name(native, i); name != nil {
			names = append(names, C.GoString(name))
		}
	}
	return names, nil
}

// Describe is JSON: every plugin found, its devices and features, and why it is refused or shadowed.
func (e *Engine) Describe() ([]byte, error) {
	native, err := e.enter()
	if err != nil {
		return nil, err
	}
	defer e.handle.leave()
	return fetch(nil, true, func(buffer []byte) (uint64, error) {
		at, capacity := room(buffer)
		return number(C.sage_go_engine_describe(native, at, capacity))
	})
}

// Layout of the four arrays of the short call.
type Layout uint32

const (
	BHSD Layout = 0 // [batch, heads, sequence, dim]
	BSHD Layout = 1 // [batch, sequence, heads, dim]
)

// Alignment says which key a query stands at where there are more keys than queries: the systems disagree, so it has no
// default.
type Alignment uint32

const (
	TopLeft     Alignment = C.SAGE_ALIGN_TOP_LEFT     // query i at key i
	BottomRight Alignment = C.SAGE_ALIGN_BOTTOM_RIGHT // the last query at the last key
)

// AttentionShape of the short call; sizes in elements.
type AttentionShape struct {
	Batch, HeadsQ, HeadsKV int64 // HeadsQ is a multiple of HeadsKV
	SeqQ, SeqKV            int64
	DimQK, DimV            int64 // DimV 0: DimQK
	Layout                 Layout
	Causal                 Alignment // 0: not causal
	Scale                  float64   // 0: 1/sqrt(DimQK)
}

// Attention writes softmax(scale q k^T) v to o. The slices are row-major without gaps, and their lengths are checked.
// The engine keeps plans by shape, so the second call of a shape plans nothing. It cannot be cancelled; where that
// matters, make a plan.
func Attention[T float32 | float64 | Float16 | BFloat16](e *Engine, shape AttentionShape, q, k, v, o []T) error {
	return AttentionAs(e, DTypeOf[T](), shape, q, k, v, o)
}

// AttentionAs is Attention with the element type said: bfloat16 in []uint16, anything in []byte.
func AttentionAs[T Word](e *Engine, dtype DType, shape AttentionShape, q, k, v, o []T) error {
	if shape.DimV == 0 {
		shape.DimV = shape.DimQK
	}
	size := uint64(unsafe.Sizeof(*new(T)))
	if err := shape.check(dtype, size, len(q), len(k), len(v), len(o)); err != nil {
		return err
	}
	return e.attention(dtype, &shape, (*C.uint8_t)(address(q)), (*C.uint8_t)(address(k)), (*C.uint8_t)(address(v)),
		(*C.uint8_t)(address(o)))
}

func (e *Engine) attention(dtype DType, s *AttentionShape, q, k, v, o *C.uint8_t) error {
	if _, err := e.enter(); err != nil {
		return err
	}
	defer e.handle.leave()
	return take(C.sage_go_attention(C.uintptr_t(uintptr(e.handle.native)), C.uint32_t(dtype), C.uint32_t(s.Layout),
		C.int64_t(s.Batch), C.int64_t(s.HeadsQ), C.int64_t(s.HeadsKV), C.int64_t(s.SeqQ), C.int64_t(s.SeqKV),
		C.int64_t(s.DimQK), C.int64_t(s.DimV), q, k, v, o, C.uint32_t(s.Causal), C.double(s.Scale)))
}

// check compares the slices, of words of so many bytes, with the shape: the library cannot know where they end.
func (s *AttentionShape) check(dtype DType, word uint64, q, k, v, o int) error {
	element := uint64(dtype.Size())
	if element == 0 {
		return refuse(ErrInvalidArgument, "%v is no element type", dtype)
	}
	if (s.Batch|s.HeadsQ|s.HeadsKV|s.SeqQ|s.SeqKV|s.DimQK|s.DimV)&^(1<<14-1) == 0 { // no product of four can overflow
		rows, keys := uint64(s.Batch*s.HeadsQ*s.SeqQ)*element, uint64(s.Batch*s.HeadsKV*s.SeqKV)*element
		if uint64(q)*word == rows*uint64(s.DimQK) && uint64(k)*word == keys*uint64(s.DimQK) &&
			uint64(v)*word == keys*uint64(s.DimV) && uint64(o)*word == rows*uint64(s.DimV) {
			return nil
		}
	}
	for _, one := range [...]struct {
		name  string
		words int
		shape [4]int64
	}{
		{"q", q, [4]int64{s.Batch, s.HeadsQ, s.SeqQ, s.DimQK}},
		{"k", k, [4]int64{s.Batch, s.HeadsKV, s.SeqKV, s.DimQK}},
		{"v", v, [4]int64{s.Batch, s.HeadsKV, s.SeqKV, s.DimV}},
		{"o", o, [4]int64{s.Batch, s.HeadsQ, s.SeqQ, s.DimV}},
	} {
		count, fits := product(one.shape[:])
		if !fits || count > 1<<59 {
			return refuse(ErrInvalidArgument, "%s: shape %v has a negative length or too many elements", one.name, one.shape)
		}
		if uint64(one.words)*word != count*element {
			return refuse(ErrInvalidArgument, "%s has %d elements; its shape %v says %d", one.name,
				uint64(one.words)*word/element, one.shape, count)
		}
	}
	return nil
}
