package sage_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"sageengine/sage"
)

// slow is a run that takes seconds unless it is stopped.
func slow(t *testing.T, engine *sage.Engine, options ...sage.Option) (*sage.AttentionContext, *sage.AttentionOp) {
	t.Helper()
	const heads, seq, dim = 4, 4096, 64
	view := func() sage.Tensor { return sage.NewTensor(make([]float64, heads*seq*dim), 1, heads, seq, dim) }
	op := sage.NewAttentionOp(view(), view(), view(), view())
	plan := must[*sage.AttentionPlan](t)(engine.Plan(op, append(options, sage.WithOption("backend", "reference"))...))
	defer plan.Close()
	c := must[*sage.AttentionContext](t)(plan.NewContext())
	t.Cleanup(func() { c.Close() })
	return c, op
}

// settled waits until no more goroutines are there than before.
func settled(t *testing.T, before int) {
	t.Helper()
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i == 200 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestContextStopsARun(t *testing.T) {
	c, op := slow(t, open(t))
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(background)
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	err := c.Run(ctx, op)
	want(t, err, sage.ErrCancelled)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v does not say why", err)
	}
	late, cancelLate := context.WithTimeout(background, 20*time.Millisecond)
	defer cancelLate()
	if err := c.Run(late, op); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, sage.ErrCancelled) {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Fatalf("two runs were stopped after %v", took)
	}
	err = c.Run(ctx, op) // done before it begins
	want(t, err, sage.ErrCancelled, "before the run began")
	settled(t, before)
}

func TestADoneContextDoesNotHitLaterRuns(t *testing.T) {
	engine := open(t)
	a := newArrays(1)
	plan := must[*sage.AttentionPlan](t)(engine.Plan(a.op()))
	defer plan.Close()
	c := must[*sage.AttentionContext](t)(plan.NewContext())
	defer c.Close()
	before := runtime.NumGoroutine()
	for i := 0; i < 300; i++ {
		ctx, cancel := context.WithCancel(background)
		go cancel() // before, while or after it runs
		if err := c.Run(ctx, a.op()); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := c.Run(background, a.op()); err != nil {
			t.Fatalf("a run nobody cancelled: %v", err)
		}
	}
	settled(t, before)
}

func TestContextStopsSessions(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	graph := session(t, "op_graph.fbs")
	setInputs(t, graph)
	if err := graph.Run(ctx); err != nil {
		t.Fatal(err)
	}
	ticks := session(t, "metabolic.fbs")
	must[[]byte](t)(ticks.Tick(ctx, []byte(tick1)))
	cancel()
	if err := graph.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := ticks.Tick(ctx, []byte(tick2)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	must[[]byte](t)(ticks.Tick(background, []byte(tick2)))
}

func TestSecondRunIsBusyAndCloseWaits(t *testing.T) {
	engine := open(t)
	var once sync.Once
	begun := make(chan struct{})
	c, op := slow(t, engine, sage.WithCancel(func() bool { // asked while it runs
		once.Do(func() { close(begun) })
		return false
	}))
	over := make(chan error, 1)
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	go func() { over <- c.Run(ctx, op) }()
	<-begun
	// The context of the call that is refused must not stop the first one.
	second, stop := context.WithCancel(background)
	want(t, c.Run(second, op), sage.ErrBusy)
	stop()
	c.Close()
	engine.Close()
	if err := c.Run(background, op); !errors.Is(err, sage.ErrClosed) {
		t.Fatal(err)
	}
	select {
	case err := <-over:
		t.Fatalf("the run ended by itself: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	cancel() // also when it is closed
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestCancelFromAnywhere(t *testing.T) {
	c, op := slow(t, open(t))
	over := make(chan struct{})
	var group sync.WaitGroup
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				c.Cancel()
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}()
	}
	err := c.Run(background, op)
	close(over)
	group.Wait()
	want(t, err, sage.ErrCancelled)
}

func TestManyGoroutinesShareAnEngine(t *testing.T) {
	engine := open(t, sage.WithOption("threads", "2"))
	a := newArrays(1)
	expected := run(t, engine, a.op(), a.o)
	plan := must[*sage.AttentionPlan](t)(engine.Plan(a.op()))
	defer plan.Close()
	var group sync.WaitGroup
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			mine := &arrays{a.q, a.k, a.v, make([]float32, len(a.o))}
			c, err := plan.NewContext()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for n := 0; n < 20; n++ {
				if n%2 == 0 {
					err = c.Run(background, mine.op())
				} else {
					err = sage.Attention(engine, a.shape(), mine.q, mine.k, mine.v, mine.o)
				}
				if err != nil {
					t.Error(err)
				}
			}
			for i, value := range mine.o {
				if value != expected[i] {
					t.Errorf("element %d is %v, expected %v", i, value, expected[i])
					return
				}
			}
		}()
	}
	group.Wait()
}
