package sage

// What C calls back. cgo allows no C definitions in a file that exports.

// #include <stdint.h>
import "C"

import (
	"runtime/cgo"
)

//export goSageLog
func goSageLog(user C.uintptr_t, level C.int32_t, text *C.char, length C.uint64_t) {
	defer func() { _ = recover() }() // a panic must not unwind through C
	cgo.Handle(user).Value().(*callbacks).log(Level(level), C.GoStringN(text, C.int(length)))
}

//export goSageCancel
func goSageCancel(user C.uintptr_t) (stop C.int32_t) {
	stop = 1 // what a panic leaves
	defer func() { _ = recover() }()
	return flag(cgo.Handle(user).Value().(*callbacks).cancel())
}

func flag(set bool) C.int32_t {
	if set {
		return 1
	}
	return 0
}
