// Package sage runs attention, and the models built on it, through libsage: the engine asks the backends on this
// machine what they can run and at what cost, chooses, says why, and runs.
//
// Open gives an Engine. Attention is the short call over slices; an AttentionOp has everything else attention can do
// and is planned once and run often; a Model and its Sessions run whole graphs and tick streams.
//
//	engine, err := sage.Open(sage.WithOption("threads", "2"))
//	if err != nil {
//		return err
//	}
//	defer engine.Close()
//	shape := sage.AttentionShape{Batch: 1, HeadsQ: 8, HeadsKV: 2, SeqQ: 512, SeqKV: 512, DimQK: 64}
//	err = sage.Attention(engine, shape, q, k, v, o) // []float32, [batch, heads, sequence, dim]
//
// # Closing
//
// Close is the contract and may be called twice, in any order and while a call runs: that call then ends as if nothing
// had happened, later ones answer ErrClosed. A finalizer closes what was forgotten, except a Buffer.
//
// # Goroutines
//
// An Engine, Model or AttentionPlan serves any number of them. A Session or AttentionContext takes one call at a time,
// a second one is ErrBusy; Cancel and Close may come from anywhere.
//
// # Memory
//
// Slices are used in place and only during a call: the library keeps no pointer into Go's memory. What it has to keep,
// bound inputs and outputs and constants, lies in a Buffer, which is C's memory.
package sage

/*
#cgo pkg-config: sage-engine
#include "shim.h"
*/
import "C"

import (
	"fmt"
)

// Version of the library that is loaded, as "0.3.1".
func Version() string { return C.GoString(C.sage_version()) }

// ABIVersion of the library that is loaded. Open checks it.
func ABIVersion() (major, minor uint32) {
	loaded := uint32(C.sage_abi_version())
	return loaded >> 16, loaded & 0xffff
}

// BuildInfo is free text: compiler, git id, baseline instruction set.
func BuildInfo() string { return C.GoString(C.sage_build_info()) }

// Constants has every constant of the C headers by its name there, "SAGE_ATTN_LSE" for one.
func Constants() map[string]uint64 {
	all := make(map[string]uint64, len(constants))
	for name, value := range constants {
		all[name] = value
	}
	return all
}

// checkABI says whether this package, compiled for SAGE_ABI_MAJOR.MINOR, can call a library of the version loaded. A
// newer minor is an addition.
func checkABI(loaded uint32) error {
	major, minor := loaded>>16, loaded&0xffff
	if major == C.SAGE_ABI_MAJOR && minor+1 > C.SAGE_ABI_MINOR {
		return nil
	}
	where := "an unknown place"
	if path := C.sage_go_library_path(); path != nil {
		where = C.GoString(path)
	}
	return refuse(ErrABIMismatch, "libsage %s at %s has ABI %d.%d, this program was compiled for %d.%d; install that "+
		"library or compile again", Version(), where, major, minor, C.SAGE_ABI_MAJOR, C.SAGE_ABI_MINOR)
}

// refuse makes an error of the binding's own.
func refuse(status Status, format string, arguments ...any) error {
	return &Error{Status: status, Message: fmt.Sprintf(format, arguments...)}
}
