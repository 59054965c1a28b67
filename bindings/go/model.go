package sage

// Models: checked files with their weights.

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import "unsafe"

// ModelKind is what a model's file holds.
type ModelKind uint32

const (
	ModelOpGraph   ModelKind = C.SAGE_MODEL_OP_GRAPH  // inputs to outputs: Session.Run
	ModelExpert    ModelKind = C.SAGE_MODEL_EXPERT    // ticks: Session.Tick
	ModelMetabolic ModelKind = C.SAGE_MODEL_METABOLIC // ticks
	ModelFusion    ModelKind = C.SAGE_MODEL_FUSION    // ticks
)

func (k ModelKind) String() string {
	if names := [...]string{"op graph", "expert", "metabolic", "fusion"}; k >= 1 && int(k) <= len(names) {
		return names[k-1]
	}
	return "unknown"
}

// Direction of a model's tensor.
type Direction uint32

const (
	Input  Direction = C.SAGE_INPUT
	Output Direction = C.SAGE_OUTPUT
)

// IOInfo describes an input or output.
type IOInfo struct {
	Name  string
	DType DType
	Shape []int64 // -1: any length
}

// Model is immutable; any number of goroutines may use it.
type Model struct {
	handle          *handle
	kind            ModelKind
	inputs, outputs []IOInfo
}

// LoadModel reads a binary model and the weight files it names.
func (e *Engine) LoadModel(path string) (*Model, error) {
	return e.load(path, func(native *C.sage_engine, path *C.char) C.sage_go_made {
		return C.sage_go_model_load(native, path)
	})
}

// LoadModelBytes takes the file's content, which is copied. weightsFolder is where its relative paths begin; "": a
// model without weight files.
func (e *Engine) LoadModelBytes(model []byte, weightsFolder string) (*Model, error) {
	return e.load(weightsFolder, func(native *C.sage_engine, folder *C.char) C.sage_go_made {
		if weightsFolder == "" {
			folder = nil
		}
		return C.sage_go_model_load_buffer(native, cbytes(model), C.uint64_t(len(model)), folder)
	})
}

func (e *Engine) load(text string, make func(native *C.sage_engine, text *C.char) C.sage_go_made) (*Model, error) {
	var m *Model
	err := e.withText(text, func(native *C.sage_engine, text *C.char) (err error) {
		made := make(native, text)
		if made.error != nil {
			return take(made.error)
		}
		model := (*C.sage_model)(made.handle)
		free := func(native unsafe.Pointer) { C.sage_model_destroy((*C.sage_model)(native)) }
		m = guard(&Model{handle: newHandle("the model", made.handle, free, e.handle.lent...),
			kind: ModelKind(C.sage_model_kind(model))}, func(m *Model) *handle { return m.handle })
		if m.inputs, err = ioInfos(model, Input); err == nil {
			m.outputs, err = ioInfos(model, Output)
		}
		return err
	})
	if err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

func ioInfos(model *C.sage_model, direction Direction) ([]IOInfo, error) {
	all := make([]IOInfo, C.sage_model_io_count(model, C.uint32_t(direction)))
	for i := range all {
		got := C.sage_go_model_io_info(model, C.uint32_t(direction), C.uint32_t(i))
		if got.error != nil {
			return nil, take(got.error)
		}
		all[i] = IOInfo{DType: DType(got.dtype), Shape: lengths(got.rank, got.shape)}
		if got.name != nil {
			all[i].Name = C.GoString(got.name)
		}
	}
	return all, nil
}

// CheckModel is JSON: {"valid": ..., "errors": [...]}, each error with its place in the file. A file that cannot be
// read at all is an error of the call.
func (e *Engine) CheckModel(path string) ([]byte, error) {
	return e.check(path, func(native *C.sage_engine, path *C.char, at *C.uint8_t, capacity C.uint64_t) C.sage_go_number {
		return C.sage_go_model_check(native, path, at, capacity)
	})
}

// CheckModelBytes is the same of bytes, as LoadModelBytes takes them.
func (e *Engine) CheckModelBytes(model []byte, weightsFolder string) ([]byte, error) {
	return e.check(weightsFolder, func(native *C.sage_engine, folder *C.char, at *C.uint8_t, capacity C.uint64_t) C.sage_go_number {
		if weightsFolder == "" {
			folder = nil
		}
		return C.sage_go_model_check_buffer(native, cbytes(model), C.uint64_t(len(model)), folder, at, capacity)
	})
}

func (e *Engine) check(text string, call func(*C.sage_engine, *C.char, *C.uint8_t, C.uint64_t) C.sage_go_number) ([]byte, error) {
	var report []byte
	err := e.withText(text, func(native *C.sage_engine, text *C.char) (err error) {
		report, err = fetch(nil, true, func(buffer []byte) (uint64, error) {
			at, capacity := room(buffer)
			return number(call(native, text, at, capacity))
		})
		return err
	})
	return report, err
}

// Close always returns nil. Sessions of it stay usable.
func (m *Model) Close() error {
	if m != nil {
		m.handle.close()
	}
	return nil
}

// Kind is known after Close as well, as are Inputs and Outputs.
func (m *Model) Kind() ModelKind { return m.kind }

// Inputs in the order of their indices. The caller may not change what it gets.
func (m *Model) Inputs() []IOInfo { return m.inputs }

// Outputs as Inputs.
func (m *Model) Outputs() []IOInfo { return m.outputs }
