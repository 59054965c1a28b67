package sage

// Sessions: a model's plans, memory and state.

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"sync"
	"unsafe"
)

// Session takes one call at a time; a second one is ErrBusy.
type Session struct {
	handle *handle
	one    one

	// Buffers the library keeps the address of, by direction and index; gone with the native session.
	borders sync.Mutex
	bound   map[border]*memory
	record  []byte // room for decisions, kept between ticks; guarded by one
}

type border struct {
	direction Direction
	index     int
}

// NewSession plans the model.
func (m *Model) NewSession(options ...Option) (*Session, error) {
	if m == nil {
		return nil, closed("the model")
	}
	if err := m.handle.enter(); err != nil {
		return nil, err
	}
	defer m.handle.leave()
	var session *Session
	err := withOptions(options, func(native *C.sage_options, lent []share) error {
		made := C.sage_go_session_create((*C.sage_model)(m.handle.native), native)
		if made.error != nil {
			return take(made.error)
		}
		s := &Session{bound: map[border]*memory{}}
		bound := s.bound // not s: the finalizer below would never run
		free := func(native unsafe.Pointer) {
			C.sage_session_destroy((*C.sage_session)(native))
			for _, m := range bound {
				m.release()
			}
		}
		s.handle = newHandle("the session", made.handle, free, append(lent, m.handle.lent...)...)
		session = guard(s, func(s *Session) *handle { return s.handle })
		return nil
	})
	return session, err
}

// Close always returns nil. A run in progress ends as it would have.
func (s *Session) Close() error {
	if s != nil {
		s.handle.close()
	}
	return nil
}

func (s *Session) enter() (*C.sage_session, error) {
	if s == nil {
		return nil, closed("the session")
	}
	if err := s.handle.enter(); err != nil {
		return nil, err
	}
	return (*C.sage_session)(s.handle.native), nil
}

// SetInput copies a contiguous tensor in; it stays set.
func (s *Session) SetInput(index int, t Tensor) error {
	native, err := s.enter()
	if err != nil {
		return err
	}
	defer s.handle.leave()
	at, err := s.inPlace(index, &t)
	if err != nil {
		return err
	}
	if t.data == nil {
		return refuse(ErrInvalidArgument, "the tensor of input %d has no data", index)
	}
	s.borders.Lock()
	defer s.borders.Unlock()
	return s.replace(border{Input, index}, t.memory, false, func() error {
		return take(C.sage_go_session_set_input(native, at, &t.flat, (*C.uint8_t)(t.data), C.uint64_t(t.bytes)))
	})
}

// inPlace checks what the library could not: that the tensor is one, has no gaps, and lies where the host can read it.
func (s *Session) inPlace(index int, t *Tensor) (C.uint32_t, error) {
	if t.err != nil {
		return 0, t.err
	}
	if !t.contiguous {
		return 0, refuse(ErrInvalidArgument, "a tensor of strides %v was given; copying needs one without gaps",
			lengths(t.flat.rank, t.flat.stride))
	}
	if t.flat.device_type != C.SAGE_CPU && t.flat.device_type != C.SAGE_CUDA_HOST {
		return 0, refuse(ErrInvalidArgument, "a tensor of device type %d was given; copying needs the host's memory, Bind "+
			"takes a device's", t.flat.device_type)
	}
	return cindex(index)
}

func cindex(index int) (C.uint32_t, error) {
	if index < 0 || uint64(index) > 1<<32-1 {
		return 0, refuse(ErrInvalidArgument, "index %d", index)
	}
	return C.uint32_t(index), nil
}

// replace calls the library, which then no longer uses what was bound there, and now m if it is kept. Under borders.
func (s *Session) replace(where border, m *memory, kept bool, call func() error) error {
	if m != nil {
		if err := m.retain(); err != nil {
			return err
		}
	}
	err := call()
	if m != nil && (err != nil || !kept) {
		m.release()
	}
	if err != nil {
		return err
	}
	if old := s.bound[where]; old != nil {
		old.release()
	}
	delete(s.bound, where)
	if m != nil && kept {
		s.bound[where] = m
	}
	return nil
}

// Bind has the session use a tensor in place, as input or output, until it is bound again, set, or closed: zero copy.
// It lies in a Buffer, which stays alive that long, or is TensorAt's, which the caller keeps. A slice of Go's is
// refused: the library keeps the address, and Go's memory may not be kept. An output's shape is its upper bound.
func (s *Session) Bind(direction Direction, index int, t Tensor) error {
	native, err := s.enter()
	if err != nil {
		return err
	}
	defer s.handle.leave()
	at, err := cindex(index)
	if err != nil {
		return err
	}
	switch {
	case t.err != nil:
		return t.err
	case t.data == nil:
		return refuse(ErrInvalidArgument, "the tensor has no data; Unbind takes a binding back")
	case !t.outlives():
		return refuse(ErrInvalidArgument, "a slice of Go's was to be bound, which may not be kept; put it in a Buffer")
	}
	s.borders.Lock()
	defer s.borders.Unlock()
	return s.replace(border{direction, index}, t.memory, true, func() error {
		if t.contiguous && t.flat.device_type == C.SAGE_CPU {
			return take(C.sage_go_session_bind_flat(native, C.uint32_t(direction), at, &t.flat, t.data, C.uint64_t(t.bytes)))
		}
		return take(C.sage_go_session_bind(native, C.uint32_t(direction), at, &t.flat, t.data))
	})
}

// Unbind takes a binding back.
func (s *Session) Unbind(direction Direction, index int) error {
	native, err := s.enter()
	if err != nil {
		return err
	}
	defer s.handle.leave()
	at, err := cindex(index)
	if err != nil {
		return err
	}
	s.borders.Lock()
	defer s.borders.Unlock()
	return s.replace(border{direction, index}, nil, false, func() error {
		return take(C.sage_go_session_bind(native, C.uint32_t(direction), at, nil, nil))
	})
}

// Run returns when the outputs are ready; when ctx is done it stops with an error that is ErrCancelled and ctx.Err().
// After an error the outputs are undefined and the session stays usable.
func (s *Session) Run(ctx context.Context) error {
	native, err := s.enter()
	if err != nil {
		return err
	}
	defer s.handle.leave()
	return s.run(ctx, func() error { return take(C.sage_go_session_run(native)) })
}

func (s *Session) run(ctx context.Context, call func() error) error {
	if err := s.one.begin(ctx, "session"); err != nil {
		return err
	}
	defer s.one.end()
	if ctx.Done() == nil {
		return call()
	}
	return watched(ctx, call, s.stop)
}

// Cancel stops the run or tick in progress with ErrCancelled; without one it does nothing. From any goroutine.
func (s *Session) Cancel() {
	if _, err := s.enter(); err == nil {
		s.stop()
		s.handle.leave()
	}
}

// stop is Cancel inside a call.
func (s *Session) stop() { C.sage_session_cancel((*C.sage_session)(s.handle.native)) }

// OutputInfo is of the last run or, before it, of the inputs that are set.
func (s *Session) OutputInfo(index int) (IOInfo, error) {
	info, _, err := s.outputInfo(index)
	return info, err
}

func (s *Session) outputInfo(index int) (info IOInfo, bytes uint64, err error) {
	native, err := s.enter()
	if err != nil {
		return info, 0, err
	}
	defer s.handle.leave()
	at, err := cindex(index)
	if err != nil {
		return info, 0, err
	}
	got := C.sage_go_session_output_info(native, at)
	if got.error != nil {
		return info, 0, take(got.error)
	}
	return IOInfo{DType: DType(got.dtype), Shape: lengths(got.rank, got.shape)}, uint64(got.bytes), nil
}

// GetOutput copies an output of the last run into a contiguous tensor of its size and type.
func (s *Session) GetOutput(index int, t Tensor) error {
	info, _, err := s.outputInfo(index)
	if err != nil {
		return err
	}
	native, err := s.enter()
	if err != nil {
		return err
	}
	defer s.handle.leave()
	at, err := s.inPlace(index, &t)
	if err != nil {
		return err
	}
	if info.DType != t.DType() {
		return refuse(ErrInvalidArgument, "output %d is %v, the tensor %v", index, info.DType, t.DType())
	}
	if t.memory != nil {
		if err := t.memory.retain(); err != nil {
			return err
		}
		defer t.memory.release()
	}
	return take(C.sage_go_session_get_output(native, at, (*C.uint8_t)(t.data), C.uint64_t(t.bytes)))
}

// OutputBytes is a copy of an output of the last run, whatever its type.
func (s *Session) OutputBytes(index int) ([]byte, IOInfo, error) {
	info, bytes, err := s.outputInfo(index)
	if err != nil {
		return nil, info, err
	}
	data := make([]byte, bytes)
	return data, info, s.GetOutput(index, TensorAs(info.DType, data, info.Shape...))
}

// OutputOf is a copy of an output of the last run, and its shape. T must be its type.
func OutputOf[T Element](s *Session, index int) ([]T, []int64, error) {
	info, bytes, err := s.outputInfo(index)
	if err != nil {
		return nil, nil, err
	}
	if info.DType != DTypeOf[T]() {
		return nil, nil, refuse(ErrInvalidArgument, "output %d is %v, not %v", index, info.DType, DTypeOf[T]())
	}
	data := make([]T, bytes/uint64(info.DType.Size()))
	return data, info.Shape, s.GetOutput(index, NewTensor(data, info.Shape...))
}

// Tick gives an expert, metabolic or fusion graph one JSON object and returns its decision, one JSON object. After a
// bad tick, ErrBadData, and a cancelled one the state is as it was, what is returned is the error record, and the stream
// may go on.
func (s *Session) Tick(ctx context.Context, tick []byte) ([]byte, error) {
	native, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer s.handle.leave()
	var record []byte
	err = s.run(ctx, func() error {
		failed := take(C.sage_go_session_tick(native, cbytes(tick), C.uint64_t(len(tick))))
		if failed != nil && !errors.Is(failed, ErrBadData) && !errors.Is(failed, ErrCancelled) {
			return failed
		}
		if len(s.record) == 0 {
			s.record = make([]byte, 4096)
		}
		got, err := fetch(s.record, true, s.decide(native))
		if err != nil {
			return err
		}
		s.record = got[:cap(got)]
		record = append([]byte(nil), got...)
		return failed
	})
	return record, err
}

func (s *Session) decide(native *C.sage_session) func([]byte) (uint64, error) {
	return func(buffer []byte) (uint64, error) {
		at, capacity := room(buffer)
		return number(C.sage_go_session_decision(native, at, capacity))
	}
}

// Decision is the last tick's record, an error record after a bad one.
func (s *Session) Decision() ([]byte, error) {
	return s.fetch(true, func(native *C.sage_session, buffer *C.uint8_t, capacity C.uint64_t) C.sage_go_number {
		return C.sage_go_session_decision(native, buffer, capacity)
	})
}

// Explain is JSON: every backend's verdict on every node, without running.
func (s *Session) Explain() ([]byte, error) {
	return s.fetch(true, func(native *C.sage_session, buffer *C.uint8_t, capacity C.uint64_t) C.sage_go_number {
		return C.sage_go_session_explain(native, buffer, capacity)
	})
}

// Trace is JSON for Chrome's and Perfetto's viewers: the last run's spans, and counters. The session needs the option
// trace.
func (s *Session) Trace() ([]byte, error) {
	return s.fetch(true, func(native *C.sage_session, buffer *C.uint8_t, capacity C.uint64_t) C.sage_go_number {
		return C.sage_go_session_trace(native, buffer, capacity)
	})
}

// Accuracy is JSON: how far each attention of the last run or tick is from exact. The session needs the option
// accuracy_report.
func (s *Session) Accuracy() ([]byte, error) {
	return s.fetch(true, func(native *C.sage_session, buffer *C.uint8_t, capacity C.uint64_t) C.sage_go_number {
		return C.sage_go_session_accuracy(native, buffer, capacity)
	})
}

func (s *Session) fetch(text bool, call func(*C.sage_session, *C.uint8_t, C.uint64_t) C.sage_go_number) ([]byte, error) {
	native, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer s.handle.leave()
	return fetch(nil, text, func(buffer []byte) (uint64, error) {
		at, capacity := room(buffer)
		return number(call(native, at, capacity))
	})
}

// Snapshot is the state between ticks, for Restore in a session of the same model.
func (s *Session) Snapshot() ([]byte, error) {
	return s.fetch(false, func(native *C.sage_session, buffer *C.uint8_t, capacity C.uint64_t) C.sage_go_number {
		return C.sage_go_session_snapshot(native, buffer, capacity)
	})
}

// Restore takes a snapshot up. Another model's or a damaged one is refused, and then nothing changes.
func (s *Session) Restore(snapshot []byte) error {
	native, err := s.enter()
	if err != nil {
		return err
	}
	defer s.handle.leave()
	return take(C.sage_go_session_restore(native, cbytes(snapshot), C.uint64_t(len(snapshot))))
}
