package sage_test

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sageengine/sage"
)

func TestLog(t *testing.T) {
	var lock sync.Mutex
	var lines []string
	engine := open(t, sage.WithOption("log_level", "debug"), sage.WithOption("plugins", "/nowhere/libsage_none.so"),
		sage.WithLog(func(level sage.Level, text string) {
			lock.Lock()
			defer lock.Unlock()
			lines = append(lines, level.String()+" "+text)
		}))
	if names := must[[]string](t)(engine.Backends()); names[0] != "reference" {
		t.Fatal(names)
	}
	lock.Lock()
	defer lock.Unlock()
	if all := strings.Join(lines, "\n"); !strings.Contains(all, "/nowhere/libsage_none.so") || strings.Contains(all, "unknown") {
		t.Fatalf("%q", all)
	}
}

func TestPanicsStayInGo(t *testing.T) {
	var called atomic.Int64
	engine := open(t, sage.WithOption("log_level", "debug"), sage.WithOption("plugins", "/nowhere/libsage_none.so"),
		sage.WithLog(func(sage.Level, string) {
			called.Add(1)
			panic("from the log")
		}))
	if called.Load() == 0 {
		t.Fatal("nothing was logged")
	}
	a := newArrays(1)
	for _, callback := range []func() bool{func() bool { return true }, func() bool { panic("from cancel") }} {
		plan := must[*sage.AttentionPlan](t)(engine.Plan(a.op(), sage.WithCancel(callback)))
		c := must[*sage.AttentionContext](t)(plan.NewContext())
		want(t, c.Run(background, a.op()), sage.ErrCancelled)
		c.Close()
		plan.Close()
	}
	graph := session(t, "op_graph.fbs", sage.WithCancel(func() bool { return called.Load() < 0 }))
	setInputs(t, graph)
	if err := graph.Run(background); err != nil {
		t.Fatal(err)
	}
	called.Store(-1)
	want(t, graph.Run(background), sage.ErrCancelled)
}

// The library asks from its own threads too, which Go has never seen.
func TestCancelIsAskedFromEveryThread(t *testing.T) {
	var asked atomic.Int64
	c, op := slow(t, open(t, sage.WithOption("threads", "2")), sage.WithCancel(func() bool { return asked.Add(1) > 20 }))
	want(t, c.Run(background, op), sage.ErrCancelled)
	if asked.Load() <= 20 {
		t.Fatal(asked.Load())
	}
}

// What a callback captures is let go when the last object that may call it is closed, not before.
func TestCallbacksLiveAsLongAsWhatCallsThem(t *testing.T) {
	var freed atomic.Bool
	a := newArrays(1)
	c := func() *sage.AttentionContext {
		captured := new([64]byte)
		runtime.SetFinalizer(captured, func(*[64]byte) { freed.Store(true) })
		engine := must[*sage.Engine](t)(sage.Open(sage.WithOption("log_level", "debug"),
			sage.WithLog(func(sage.Level, string) { captured[0]++ })))
		plan := must[*sage.AttentionPlan](t)(engine.Plan(a.op()))
		c := must[*sage.AttentionContext](t)(plan.NewContext())
		engine.Close()
		plan.Close()
		return c
	}()
	for i := 0; i < 5; i++ {
		runtime.GC()
	}
	if freed.Load() {
		t.Fatal("the callback is gone, what may call it is not")
	}
	if err := c.Run(background, a.op()); err != nil {
		t.Fatal(err)
	}
	c.Close()
	collected(t, &freed)
}

// The net under a forgotten Close: the engine, its plan and its callback go all the same.
func TestFinalizersCloseWhatWasForgotten(t *testing.T) {
	var freed atomic.Bool
	func() {
		captured := new([64]byte)
		runtime.SetFinalizer(captured, func(*[64]byte) { freed.Store(true) })
		engine := must[*sage.Engine](t)(sage.Open(sage.WithLog(func(sage.Level, string) { captured[0]++ })))
		plan := must[*sage.AttentionPlan](t)(engine.Plan(newArrays(1).op()))
		must[*sage.AttentionContext](t)(plan.NewContext())
		model := must[*sage.Model](t)(engine.LoadModel(vectors(t, "metabolic.fbs")))
		must[*sage.Session](t)(model.NewSession())
	}()
	collected(t, &freed)
}

func collected(t *testing.T, freed *atomic.Bool) {
	t.Helper()
	for i := 0; !freed.Load(); i++ {
		if i == 200 {
			t.Fatal("what the callback captured is still held")
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}
