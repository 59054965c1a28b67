package sage

// Options of engines, plans and sessions: key = value, and callbacks.

/*
#include <stdlib.h>
#include "sage/plugin.h"
#include "shim.h"
*/
import "C"

import (
	"runtime/cgo"
	"sync/atomic"
)

// Option is given to Open, Engine.Plan and Model.NewSession.
type Option func(*settings)

type settings struct {
	pairs  [][2]string
	log    func(level Level, text string)
	cancel func() bool
}

// Level of a log line; a lower number is more urgent.
type Level int32

// The levels, by the names of the option log_level.
const (
	LevelError   Level = C.SAGE_LOG_ERROR
	LevelWarning Level = C.SAGE_LOG_WARNING
	LevelInfo    Level = C.SAGE_LOG_INFO
	LevelDebug   Level = C.SAGE_LOG_DEBUG
)

func (l Level) String() string {
	if names := [...]string{"error", "warning", "info", "debug"}; l >= 1 && int(l) <= len(names) {
		return names[l-1]
	}
	return "unknown"
}

// WithOption sets an option of the library, "threads" to "1" for one; "cpu.isa" is one of the backend cpu. An unknown
// key or value is refused where the option is used, with the nearest known one.
func WithOption(key, value string) Option {
	return func(s *settings) { s.pairs = append(s.pairs, [2]string{key, value}) }
}

// WithLog gives the engine's log lines to fn, from any goroutine or thread, until the engine and all that was made with
// it are closed. What fn panics with is dropped. It must not call the object that logs.
func WithLog(fn func(level Level, text string)) Option {
	return func(s *settings) { s.log = fn }
}

// WithCancel has a plan's or session's runs ask fn now and then; true stops the run with ErrCancelled, and so does a
// panic. Mostly the context given to Run is enough. It must not call the object that runs.
func WithCancel(fn func() bool) Option {
	return func(s *settings) { s.cancel = fn }
}

// callbacks is what the native side is lent: alive until the last object that may call it is destroyed.
type callbacks struct {
	log    func(level Level, text string)
	cancel func() bool
	handle cgo.Handle
	shares atomic.Int64
}

func (c *callbacks) retain() error {
	c.shares.Add(1)
	return nil
}

func (c *callbacks) release() {
	if c.shares.Add(-1) == 0 {
		c.handle.Delete()
	}
}

// withOptions lends native options to use, null without any, and the callbacks in them, which what use makes retains.
func withOptions(options []Option, use func(native *C.sage_options, lent []share) error) error {
	if len(options) == 0 {
		return use(nil, nil)
	}
	var all settings
	for _, option := range options {
		if option != nil {
			option(&all)
		}
	}
	made := C.sage_go_options_create()
	if made.error != nil {
		return take(made.error)
	}
	native := (*C.sage_options)(made.handle)
	defer C.sage_options_destroy(native)
	for _, pair := range all.pairs {
		if err := setOption(native, pair[0], pair[1]); err != nil {
			return err
		}
	}
	if all.log == nil && all.cancel == nil {
		return use(native, nil)
	}
	lent := &callbacks{log: all.log, cancel: all.cancel}
	lent.handle = cgo.NewHandle(lent)
	_ = lent.retain()
	defer lent.release()
	err := take(C.sage_go_options_callbacks(native, flag(all.log != nil), flag(all.cancel != nil),
		C.uintptr_t(lent.handle)))
	if err != nil {
		return err
	}
	return use(native, []share{lent})
}

func setOption(native *C.sage_options, key, value string) error {
	name, err := cstring(key)
	if err != nil {
		return err
	}
	defer freeString(name)
	text, err := cstring(value)
	if err != nil {
		return err
	}
	defer freeString(text)
	return take(C.sage_go_options_set(native, name, text))
}
