package sage

// What calls refuse, as errors of Go: a Status to compare with, the library's sentence to read.

// #include "shim.h"
import "C"

import (
	"errors"
	"syscall"
)

// Status is why a call was refused. Its values are errors, for errors.Is:
//
//	if errors.Is(err, sage.ErrUnsupported) { ... }
type Status int32

const (
	ErrInvalidArgument Status = C.SAGE_E_INVALID_ARGUMENT // the call contradicts its own description: shapes, types, options
	ErrUnsupported     Status = C.SAGE_E_UNSUPPORTED      // a correct request that no backend here serves; the message has the reasons
	ErrUnknownField    Status = C.SAGE_E_UNKNOWN_FIELD    // the request uses what this library does not know yet
	ErrOutOfMemory     Status = C.SAGE_E_OUT_OF_MEMORY    // or above the option max_memory
	ErrNotFound        Status = C.SAGE_E_NOT_FOUND        // a file, name or index
	ErrIO              Status = C.SAGE_E_IO               // the system refused a file
	ErrBadData         Status = C.SAGE_E_BAD_DATA         // a model, weight file, tick or snapshot is malformed
	ErrABIMismatch     Status = C.SAGE_E_ABI_MISMATCH     // library or plugin of another ABI
	ErrDevice          Status = C.SAGE_E_DEVICE           // driver or hardware
	ErrCancelled       Status = C.SAGE_E_CANCELLED        // by a context, Cancel or a callback
	ErrBusy            Status = C.SAGE_E_BUSY             // another call is on this session or context
	ErrForked          Status = C.SAGE_E_FORKED           // made before fork()
	ErrBufferTooSmall  Status = C.SAGE_E_BUFFER_TOO_SMALL // never seen here: the binding asks for the size
	ErrInternal        Status = C.SAGE_E_INTERNAL         // a bug of the library or a plugin
)

// ErrClosed is what errors.Is finds where something was used after its Close.
var ErrClosed = errors.New("sage: used after Close")

// Name in C: "SAGE_E_BUSY"; "unknown" for a number that is none.
func (s Status) Name() string { return C.GoString(C.sage_status_name(C.sage_status(s))) }

// Error makes a Status something to compare with; what a call returns is an *Error, which has the sentence.
func (s Status) Error() string { return "sage: " + s.Name() }

// Error is what every function of this package returns.
type Error struct {
	Status  Status
	Native  int64  // errno, cudaError_t and the like; 0 = none
	Message string // the library's sentence: what was given, what was expected, what to do
	Cause   error  // (optional) ErrClosed, or why the context was done
}

func (e *Error) Error() string { return "sage: " + e.Status.Name() + ": " + e.Message }

// Unwrap gives the cause: errors.Is(err, context.Canceled) holds where a context stopped the run.
func (e *Error) Unwrap() error { return e.Cause }

// Is compares with a Status and, where the system refused a file, with syscall.Errno and what that stands for, such as
// fs.ErrNotExist.
func (e *Error) Is(target error) bool {
	if status, ok := target.(Status); ok {
		return status == e.Status
	}
	if (e.Status == ErrIO || e.Status == ErrNotFound) && e.Native > 0 {
		return errors.Is(syscall.Errno(e.Native), target)
	}
	return false
}

// take turns an error of the shim into Go's and frees it.
func take(slot *C.sage_error) error {
	if slot == nil {
		return nil
	}
	err := &Error{Status: Status(slot.status), Native: int64(slot.native_code), Message: C.GoString(&slot.message[0])}
	C.sage_go_error_free(slot)
	return err
}

// fetch asks for the size of a text or bytes, by an empty buffer, then for the content, until it fits: it may grow
// between. into is used where it is large enough. text: the last byte is C's NUL, which is cut off.
func fetch(into []byte, text bool, call func(buffer []byte) (needed uint64, err error)) ([]byte, error) {
	for {
		needed, err := call(into)
		switch {
		case errors.Is(err, ErrBufferTooSmall) && needed > uint64(len(into)):
		case err != nil:
			return nil, err
		case len(into) > 0 || needed == 0:
			if into = into[:needed]; text && len(into) > 0 {
				into = into[:len(into)-1]
			}
			return into, nil
		}
		into = make([]byte, needed)
	}
}

// number is what the shim counts, as Go has results.
func number(got C.sage_go_number) (uint64, error) { return uint64(got.value), take(got.error) }

// room is a buffer as C sees it; an empty one is null there: only the size is asked for.
func room(buffer []byte) (*C.uint8_t, C.uint64_t) {
	if len(buffer) == 0 {
		return nil, 0
	}
	return cbytes(buffer), C.uint64_t(len(buffer))
}
