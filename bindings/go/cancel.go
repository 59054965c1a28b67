package sage

// How a context.Context stops a run.

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// one is a session's or attention context's run in progress. The library has the same rule; it is kept here as well
// because a cancel meant for a call that is refused as second would stop the first.
type one struct{ running atomic.Bool }

// begin is before a run, which does not begin where ctx is done already; end is after it.
func (o *one) begin(ctx context.Context, what string) error {
	if err := undone(ctx, "the run began"); err != nil {
		return err
	}
	if !o.running.CompareAndSwap(false, true) {
		return refuse(ErrBusy, "another call is in progress on this %s; wait for it, or make one a goroutine", what)
	}
	return nil
}

func (o *one) end() { o.running.Store(false) }

// undone refuses a context that is nil or done.
func undone(ctx context.Context, before string) error {
	if ctx == nil {
		return refuse(ErrInvalidArgument, "the context is nil; context.Background() is one that is never done")
	}
	if err := ctx.Err(); err != nil {
		return &Error{Status: ErrCancelled, Message: "the context was done before " + before, Cause: err}
	}
	return nil
}

// watched calls call, which reaches the library, and cancels it when ctx is done. It returns when both are over: no
// goroutine stays, and no cancel can hit a later run.
func watched(ctx context.Context, call func() error, cancel func()) error {
	stop := watch(ctx, cancel)
	err := call()
	stop()
	return cause(ctx, err)
}

// watch calls cancel until stop is called, from when ctx is done: a cancel before the run has reached the library would
// be lost.
func watch(ctx context.Context, cancel func()) (stop func()) {
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		for pause := 20 * time.Microsecond; ; pause = shorter(2*pause, 2*time.Millisecond) {
			cancel()
			timer := time.NewTimer(pause)
			select {
			case <-over:
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}()
	return func() {
		close(over)
		<-gone
	}
}

func shorter(a, b time.Duration) time.Duration {
	if a < b {
		return a
	}
	return b
}

// cause adds the context's reason to an error of a run that was cancelled.
func cause(ctx context.Context, err error) error {
	var mine *Error
	if err != nil && ctx.Err() != nil && errors.As(err, &mine) && mine.Status == ErrCancelled && mine.Cause == nil {
		mine.Cause = ctx.Err()
	}
	return err
}
