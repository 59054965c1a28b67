package sage

// Memory that outlives a call: the library may keep its address, which of Go's own it may not.

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// memory is C's, freed with its last share: the Buffer's, those of sessions it is bound to, of plans and of calls.
type memory struct {
	start  unsafe.Pointer
	bytes  uint64
	shares atomic.Int64
}

func (m *memory) retain() error {
	for {
		shares := m.shares.Load()
		if shares == 0 {
			return closed("a tensor's Buffer")
		}
		if m.shares.CompareAndSwap(shares, shares+1) {
			return nil
		}
	}
}

func (m *memory) release() {
	if m.shares.Add(-1) == 0 {
		C.free(m.start)
	}
}

// retainAll takes a share of each, or of none.
func retainAll(all []share) ([]share, error) {
	for i, one := range all {
		if err := one.retain(); err != nil {
			releaseAll(all[:i])
			return nil, err
		}
	}
	return all, nil
}

func releaseAll(all []share) {
	for _, one := range all {
		one.release()
	}
}

// Buffer is zeroed memory at a multiple of 64 bytes which Session.Bind and Tensor.Constant may keep. It has no
// finalizer, since its slice may outlive it: what is not closed is lost.
type Buffer[T Element] struct {
	memory *memory
	data   []T
	closed atomic.Bool
}

// NewBuffer of n elements.
func NewBuffer[T Element](n int) (*Buffer[T], error) {
	size := uint64(unsafe.Sizeof(*new(T)))
	if n < 0 || uint64(n) > (1<<62)/size {
		return nil, refuse(ErrInvalidArgument, "a buffer of %d elements was asked for", n)
	}
	start := unsafe.Pointer(C.sage_go_allocate(C.uint64_t(uint64(n) * size)))
	if start == nil {
		return nil, refuse(ErrOutOfMemory, "no memory for a buffer of %d elements of %d bytes", n, size)
	}
	b := &Buffer[T]{memory: &memory{start: start, bytes: uint64(n) * size}, data: unsafe.Slice((*T)(start), n)}
	b.memory.shares.Store(1)
	return b, nil
}

// Slice is the memory itself: read and write it. Not after Close; nil then.
func (b *Buffer[T]) Slice() []T {
	if b == nil || b.closed.Load() {
		return nil
	}
	return b.data
}

// Tensor views all of it as row-major.
func (b *Buffer[T]) Tensor(shape ...int64) Tensor {
	t := b.Strided(DTypeOf[T](), 0, shape, nil)
	if t.err == nil && t.bytes != b.memory.bytes {
		t.err = refuse(ErrInvalidArgument, "a shape of %d bytes was given with a buffer of %d", t.bytes, b.memory.bytes)
	}
	return t
}

// Strided views a part of it, perhaps as another type: offset and strides count elements of dtype, strides nil is
// row-major. In a Buffer[byte] the offset of a view of another type is in that type's elements too; ViewAt counts bytes.
func (b *Buffer[T]) Strided(dtype DType, offset int, shape, strides []int64) Tensor {
	return b.view(dtype, 0, offset, shape, strides)
}

// ViewAt is a row-major view that begins any number of bytes into the buffer.
func (b *Buffer[T]) ViewAt(dtype DType, bytes int, shape ...int64) Tensor {
	return b.view(dtype, bytes, 0, shape, nil)
}

func (b *Buffer[T]) view(dtype DType, bytes, offset int, shape, strides []int64) Tensor {
	t := describe(dtype, shape)
	switch {
	case t.err != nil:
	case b == nil || b.closed.Load():
		t.err = closed("the Buffer")
	case bytes < 0 || uint64(bytes) > b.memory.bytes:
		t.err = refuse(ErrInvalidArgument, "a view at byte %d of a buffer of %d", bytes, b.memory.bytes)
	default:
		t.memory = b.memory
		t.place(unsafe.Add(b.memory.start, bytes), b.memory.bytes-uint64(bytes), offset, strides)
	}
	return t
}

// Close frees the memory, or has the last session or plan that uses it do so.
func (b *Buffer[T]) Close() error {
	if b != nil && b.closed.CompareAndSwap(false, true) {
		b.memory.release()
	}
	return nil
}
