package sage

// Element types: those Go has, and those that only have a width in it.

// #include "shim.h"
import "C"

import "fmt"

// DType is the type of a tensor's elements, DLPack's DLDataType in one word.
type DType uint32

const (
	I8          DType = C.SAGE_I8
	I16         DType = C.SAGE_I16
	I32         DType = C.SAGE_I32
	I64         DType = C.SAGE_I64
	U8          DType = C.SAGE_U8
	U64         DType = C.SAGE_U64
	F16         DType = C.SAGE_F16
	F32         DType = C.SAGE_F32
	F64         DType = C.SAGE_F64
	BF16        DType = C.SAGE_BF16
	Bool        DType = C.SAGE_BOOL
	F8E4M3FN    DType = C.SAGE_F8_E4M3FN
	F8E5M2      DType = C.SAGE_F8_E5M2
	unknownType DType = 0
)

var dtypeNames = map[DType]string{
	I8: "i8", I16: "i16", I32: "i32", I64: "i64", U8: "u8", U64: "u64", F16: "f16", F32: "f32", F64: "f64", BF16: "bf16",
	Bool: "bool", F8E4M3FN: "f8_e4m3fn", F8E5M2: "f8_e5m2",
}

// String is "f32", "bf16", "bool" and so on.
func (d DType) String() string {
	if name, ok := dtypeNames[d]; ok {
		return name
	}
	return fmt.Sprintf("dtype(%#x)", uint32(d))
}

// Size of an element in bytes; 0 of what is no type.
func (d DType) Size() int {
	switch d {
	case I8, U8, Bool, F8E4M3FN, F8E5M2:
		return 1
	case I16, F16, BF16:
		return 2
	case I32, F32:
		return 4
	case I64, U64, F64:
		return 8
	}
	return 0
}

// ParseDType reads what String writes.
func ParseDType(name string) (DType, error) {
	for dtype, known := range dtypeNames {
		if known == name {
			return dtype, nil
		}
	}
	return unknownType, refuse(ErrInvalidArgument, "%q is no element type", name)
}

// Words of the types Go does not have: the bits, no arithmetic.
type (
	Float16      uint16 // IEEE 754 half precision
	BFloat16     uint16 // the upper half of a float32
	Float8E4M3FN uint8
	Float8E5M2   uint8
)

// Element is what slices of tensors have. A []uint16 of bfloat16 bits goes through TensorAs.
type Element interface {
	int8 | int16 | int32 | int64 | uint8 | uint64 | float32 | float64 | bool |
		Float16 | BFloat16 | Float8E4M3FN | Float8E5M2
}

// Word is any fixed width: what bits may be stored in whose type is said apart.
type Word interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64 | ~bool
}

// DTypeOf is the type that elements of T have in the library.
func DTypeOf[T Element]() DType {
	switch any((*T)(nil)).(type) {
	case *float32:
		return F32
	case *float64:
		return F64
	case *BFloat16:
		return BF16
	case *Float16:
		return F16
	case *int8:
		return I8
	case *int16:
		return I16
	case *int32:
		return I32
	case *int64:
		return I64
	case *uint8:
		return U8
	case *uint64:
		return U64
	case *bool:
		return Bool
	case *Float8E4M3FN:
		return F8E4M3FN
	case *Float8E5M2:
		return F8E5M2
	}
	return unknownType
}
