package sage

// What every object of this package is made of: a native handle that knows its calls in flight, so that Close may come
// at any time, and the callbacks the native side was lent.

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"runtime"
	"strings"
	"sync/atomic"
	"unsafe"
)

// handle is closed once; the native object is destroyed when no call is in it any more.
type handle struct {
	native unsafe.Pointer
	state  atomic.Int64 // calls in flight, times two; the lowest bit: closed
	kind   string
	free   func(native unsafe.Pointer)
	lent   []share // released after the native object
}

// share is what the native side was lent and keeps: callbacks, memory. Everything that may reach it has one, and hands
// further ones to its children, since in the library children hold their parents.
type share interface {
	retain() error
	release()
}

const (
	handleClosed = 1
	handleCall   = 2
)

// enter begins a call; nil handles are those of objects that no function made.
func (h *handle) enter() error {
	if h != nil {
		for {
			state := h.state.Load()
			if state&handleClosed != 0 {
				return closed(h.kind)
			}
			if h.state.CompareAndSwap(state, state+handleCall) {
				return nil
			}
		}
	}
	return closed("this object")
}

func (h *handle) leave() {
	if h.state.Add(-handleCall) == handleClosed {
		h.destroy()
	}
}

func (h *handle) close() {
	if h == nil {
		return
	}
	for {
		state := h.state.Load()
		if state&handleClosed != 0 {
			return
		}
		if h.state.CompareAndSwap(state, state|handleClosed) {
			if state == 0 {
				h.destroy()
			}
			return
		}
	}
}

func (h *handle) destroy() {
	h.free(h.native)
	for _, lent := range h.lent {
		lent.release()
	}
}

func closed(what string) error {
	return &Error{Status: ErrInvalidArgument, Message: what + " is closed", Cause: ErrClosed}
}

// newHandle owns a native object and a share of each thing it was lent, by itself or through its parent.
func newHandle(kind string, native unsafe.Pointer, free func(unsafe.Pointer), lent ...share) *handle {
	h := &handle{native: native, kind: kind, free: free}
	for _, one := range lent {
		if one.retain() == nil { // the caller has a share: it cannot be gone
			h.lent = append(h.lent, one)
		}
	}
	return h
}

// guard is the net under a forgotten Close.
func guard[T any](object *T, h func(*T) *handle) *T {
	runtime.SetFinalizer(object, func(object *T) { h(object).close() })
	return object
}

// nothing is where empty slices point: null has a meaning of its own in C.
var nothing [1]byte

func address[T any](data []T) unsafe.Pointer {
	if len(data) == 0 {
		return unsafe.Pointer(&nothing)
	}
	return unsafe.Pointer(&data[0])
}

func cbytes(data []byte) *C.uint8_t { return (*C.uint8_t)(address(data)) }

// cstring is to be freed; a text with a zero byte would be cut by C.
func cstring(text string) (*C.char, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, refuse(ErrInvalidArgument, "%q has a zero byte inside", text)
	}
	return C.CString(text), nil
}

func freeString(text *C.char) { C.free(unsafe.Pointer(text)) }
