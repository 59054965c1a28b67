package sage

// Views of memory that somebody else owns: slices, Buffers, addresses of a device.

// #include "shim.h"
import "C"

import (
	"math/bits"
	"unsafe"
)

// MaxRank is how many axes a tensor has at most.
const MaxRank = C.SAGE_MAX_RANK

// Device types of Tensor.On; an unset one is the CPU.
const (
	CPU      = C.SAGE_CPU
	CUDA     = C.SAGE_CUDA
	CUDAHost = C.SAGE_CUDA_HOST
)

// Tensor is a view: type, shape, strides and where the first element is. It copies nothing. One that was described
// wrongly is refused where it is used, with Err's error.
type Tensor struct {
	flat  C.sage_go_tensor
	data  unsafe.Pointer // nil: a description only
	bytes uint64         // of a contiguous tensor
	// Row-major without gaps.
	contiguous bool
	// What the data lies in where that is not Go's; see outlives.
	memory  *memory
	foreign bool
	err     error
}

// NewTensor views a slice as row-major of a shape, whose product must be the slice's length. Without lengths it is a
// scalar.
func NewTensor[T Element](data []T, shape ...int64) Tensor {
	return TensorAs(DTypeOf[T](), data, shape...)
}

// NewStrided views a slice with a stride in elements for every axis: 0 repeats an axis, a negative one walks back.
// Element [0,...,0] is data[offset]; everything the strides reach must lie in the slice.
func NewStrided[T Element](data []T, offset int, shape, strides []int64) Tensor {
	return StridedAs(DTypeOf[T](), data, offset, shape, strides)
}

// TensorAs is NewTensor with the type said: bfloat16 in a []uint16, anything in a []byte, at any address.
func TensorAs[T Word](dtype DType, data []T, shape ...int64) Tensor {
	t := describe(dtype, shape)
	have := uint64(len(data)) * uint64(unsafe.Sizeof(*new(T)))
	if t.err == nil && t.bytes != have {
		t.err = refuse(ErrInvalidArgument, "a shape of %d bytes was given with a slice of %d", t.bytes, have)
	}
	if t.err == nil {
		t.data = address(data)
	}
	return t
}

// StridedAs is NewStrided with the type said; offset and strides count elements of dtype.
func StridedAs[T Word](dtype DType, data []T, offset int, shape, strides []int64) Tensor {
	t := describe(dtype, shape)
	t.place(address(data), uint64(len(data))*uint64(unsafe.Sizeof(*new(T))), offset, strides)
	return t
}

// Describe is a tensor without data: enough to plan with.
func Describe(dtype DType, shape ...int64) Tensor { return describe(dtype, shape) }

// DescribeStrided is Describe with strides.
func DescribeStrided(dtype DType, shape, strides []int64) Tensor {
	t := describe(dtype, shape)
	t.setStrides(strides)
	return t
}

// TensorAt views memory that is not Go's: what C allocated, or a device's with On. The caller keeps it, for as long as
// what it is given to says, and answers for its size. strides: nil = row-major.
func TensorAt(dtype DType, data unsafe.Pointer, shape, strides []int64) Tensor {
	t := describe(dtype, shape)
	if strides != nil {
		t.setStrides(strides)
	}
	t.data, t.foreign = data, true
	return t
}

// Constant says that the bytes stay as they are until the plan is closed: it may prepack them. It has to keep their
// address, so they lie in a Buffer or are TensorAt's.
func (t Tensor) Constant() Tensor {
	t.flat.flags |= C.SAGE_TENSOR_CONSTANT
	if t.err == nil && t.data != nil && !t.outlives() {
		t.err = refuse(ErrInvalidArgument, "a constant is a slice of Go's, which may not be kept; put it in a Buffer")
	}
	t.flat.constant = C.uint64_t(uintptr(t.data))
	return t
}

// On says where the memory is: CPU, CUDA or CUDAHost, and which device.
func (t Tensor) On(deviceType, deviceID int32) Tensor {
	t.flat.device_type, t.flat.device_id = C.int32_t(deviceType), C.int32_t(deviceID)
	return t
}

// DType of the elements.
func (t Tensor) DType() DType { return DType(t.flat.dtype) }

// Shape is a copy.
func (t Tensor) Shape() []int64 { return lengths(t.flat.rank, t.flat.shape) }

// Err says what is wrong with the description; nil: nothing.
func (t Tensor) Err() error { return t.err }

// outlives: the data may be used after the call.
func (t *Tensor) outlives() bool { return t.memory != nil || t.foreign }

func lengths(rank C.uint32_t, shape [C.SAGE_MAX_RANK]C.int64_t) []int64 {
	out := make([]int64, rank)
	for i := range out {
		out[i] = int64(shape[i])
	}
	return out
}

// describe gives a row-major tensor without data.
func describe(dtype DType, shape []int64) (t Tensor) {
	t.flat.dtype, t.flat.device_type = C.uint32_t(dtype), C.SAGE_CPU
	if len(shape) > MaxRank {
		t.err = refuse(ErrInvalidArgument, "a tensor has %d axes, %d at most", len(shape), MaxRank)
		return t
	}
	t.flat.rank, t.contiguous = C.uint32_t(len(shape)), true
	for i, length := range shape {
		t.flat.shape[i] = C.int64_t(length)
	}
	size := dtype.Size()
	if size == 0 {
		t.err = refuse(ErrInvalidArgument, "%v is no element type", dtype)
		return t
	}
	count, ok := product(shape)
	if ok {
		var high uint64
		high, t.bytes = bits.Mul64(count, uint64(size))
		ok = high == 0
	}
	if !ok {
		t.err = refuse(ErrInvalidArgument, "shape %v has a negative length or too many elements", shape)
		return t
	}
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		t.flat.stride[i] = C.int64_t(step)
		step *= shape[i]
	}
	return t
}

// product of lengths; false where one is negative or it does not fit.
func product(shape []int64) (uint64, bool) {
	count, fits := uint64(1), true
	for _, length := range shape {
		if length == 0 {
			count, fits = 0, true // whatever the others are
		}
		high, low := bits.Mul64(count, uint64(length))
		count, fits = low, fits && high == 0 && low <= 1<<63-1
		if length < 0 {
			return 0, false
		}
	}
	return count, fits
}

func (t *Tensor) setStrides(strides []int64) {
	if t.err == nil && len(strides) != int(t.flat.rank) {
		t.err = refuse(ErrInvalidArgument, "%d strides were given for %d axes", len(strides), t.flat.rank)
	}
	if t.err != nil {
		return
	}
	for i, stride := range strides {
		t.contiguous = t.contiguous && (t.flat.stride[i] == C.int64_t(stride) || t.flat.shape[i] == 1)
		t.flat.stride[i] = C.int64_t(stride)
	}
}

// place puts the tensor into memory of so many bytes. strides nil: row-major. What it reaches must lie inside.
func (t *Tensor) place(start unsafe.Pointer, have uint64, offset int, strides []int64) {
	if strides != nil {
		t.setStrides(strides)
	}
	if t.err != nil {
		return
	}
	t.data = unsafe.Pointer(&nothing)
	if t.bytes == 0 {
		return // nothing is reached
	}
	size := int64(DType(t.flat.dtype).Size())
	lowest, highest, fits := int64(offset), int64(offset), offset >= 0 && offset < 1<<61 // no sum below can overflow
	for i := 0; i < int(t.flat.rank) && fits; i++ {
		stride, steps := int64(t.flat.stride[i]), int64(t.flat.shape[i])-1
		reach := stride * steps
		fits = steps == 0 || (reach/steps == stride && reach > -1<<61 && reach < 1<<61)
		if reach < 0 {
			lowest += reach
		} else {
			highest += reach
		}
		fits = fits && lowest > -1<<61 && highest < 1<<61
	}
	if !fits || lowest < 0 || highest >= int64(have)/size {
		t.err = refuse(ErrInvalidArgument, "offset %d, shape %v and strides %v reach outside the %d elements given", offset,
			t.Shape(), lengths(t.flat.rank, t.flat.stride), int64(have)/size)
		return
	}
	t.data = unsafe.Add(start, int64(offset)*size)
}
