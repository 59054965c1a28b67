package sage_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"
	"unsafe"

	"sageengine/sage"
)

func TestStatusesAreErrors(t *testing.T) {
	engine := open(t)
	_, err := engine.LoadModel("/nowhere/at/all.fbs")
	want(t, err, sage.ErrNotFound, "/nowhere/at/all.fbs", "SAGE_E_NOT_FOUND")
	if errors.Is(err, sage.ErrBusy) {
		t.Fatal("an error is what it is not")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v is no fs.ErrNotExist", err)
	}
	_, err = engine.LoadModel(t.TempDir())
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a folder as a model: %v", err)
	}
	system := &sage.Error{Status: sage.ErrIO, Native: 2}
	if !errors.Is(system, fs.ErrNotExist) || errors.Is(system, fs.ErrPermission) {
		t.Fatal("errno 2 is fs.ErrNotExist")
	}
	if sage.Status(99).Name() != "unknown" || sage.ErrBusy.Error() != "sage: SAGE_E_BUSY" {
		t.Fatal(sage.ErrBusy.Error())
	}
	_, err = sage.Open(sage.WithOption("thread", "2"))
	want(t, err, sage.ErrInvalidArgument, "threads")
	_, err = sage.Open(sage.WithOption("a\x00b", "2"))
	want(t, err, sage.ErrInvalidArgument, "zero byte")
	want(t, engine.LoadPlugin("relative.so"), sage.ErrInvalidArgument)
	want(t, engine.LoadPlugin("/nowhere/libsage_none.so"), sage.ErrNotFound, "/nowhere/libsage_none.so")
}

func TestShortCallRefuses(t *testing.T) {
	engine := open(t)
	a := newArrays(1)
	want(t, sage.Attention(engine, a.shape(), a.q, a.k, a.v[:3], a.o), sage.ErrInvalidArgument, "v has 3 elements", "224")
	want(t, sage.Attention(engine, a.shape(), nil, a.k, a.v, a.o), sage.ErrInvalidArgument, "q has 0")
	want(t, sage.AttentionAs(engine, sage.F64, a.shape(), a.q, a.k, a.v, a.o), sage.ErrInvalidArgument, "q has 160")
	want(t, sage.AttentionAs(engine, 7, a.shape(), a.q, a.k, a.v, a.o), sage.ErrInvalidArgument, "dtype(0x7)")
	for _, batch := range []int64{1 << 62, math.MaxInt64, -1} {
		shape := a.shape()
		shape.Batch = batch
		want(t, sage.Attention(engine, shape, a.q, a.k, a.v, a.o), sage.ErrInvalidArgument)
	}
	// 2^61 times eight bytes is nothing in 64 bits.
	wrapped := sage.AttentionShape{Batch: 1 << 31, HeadsQ: 1 << 30, HeadsKV: 1, SeqQ: 1, SeqKV: 1, DimQK: 1}
	want(t, sage.Attention[float64](engine, wrapped, nil, nil, nil, nil), sage.ErrInvalidArgument, "too many")
	shape := a.shape()
	shape.HeadsQ, shape.Batch, shape.SeqQ = 3, 1, 1
	want(t, sage.Attention(engine, shape, a.q[:24], a.k[:112], a.v[:112], a.o[:24]), sage.ErrInvalidArgument)
	var none *sage.Engine
	if err := sage.Attention(none, a.shape(), a.q, a.k, a.v, a.o); !errors.Is(err, sage.ErrClosed) {
		t.Fatal(err)
	}
}

func TestZeroLengths(t *testing.T) {
	engine := open(t)
	o := []float32{9, 9}
	shape := sage.AttentionShape{Batch: 1, HeadsQ: 1, HeadsKV: 1, SeqQ: 1, SeqKV: 0, DimQK: 2}
	if err := sage.Attention(engine, shape, []float32{1, 2}, nil, nil, o); err != nil {
		t.Fatal(err)
	}
	same(t, o, []float32{0, 0}) // no key to see
	shape.SeqQ, shape.SeqKV = 0, 1
	if err := sage.Attention(engine, shape, nil, []float32{1, 2}, []float32{3, 4}, nil); err != nil {
		t.Fatal(err)
	}
	op := sage.NewAttentionOp(sage.NewTensor([]float32{}, 0, 1, 1, 2), sage.NewTensor([]float32(nil), 0, 1, 3, 2),
		sage.NewTensor([]float32{}, 0, 1, 3, 2), sage.NewTensor([]float32{}, 0, 1, 1, 2))
	run(t, engine, op, nil)
	if buffer := must[*sage.Buffer[int8]](t)(sage.NewBuffer[int8](0)); len(buffer.Slice()) != 0 || buffer.Close() != nil {
		t.Fatal("an empty buffer")
	}
	_, err := sage.NewBuffer[float64](-1)
	want(t, err, sage.ErrInvalidArgument)
	_, err = sage.NewBuffer[float64](math.MaxInt64)
	want(t, err, sage.ErrInvalidArgument)
	_, err = sage.NewBuffer[float64](1 << 57)
	want(t, err, sage.ErrOutOfMemory)
}

func TestTensorsStayInTheirMemory(t *testing.T) {
	data := make([]float32, 12)
	for name, tensor := range map[string]sage.Tensor{
		"one too many":         sage.NewTensor(data, 13),
		"one too few":          sage.NewTensor(data, 11),
		"nine axes":            sage.NewTensor(data[:1], 1, 1, 1, 1, 1, 1, 1, 1, 1),
		"negative":             sage.NewTensor(data, 3, -4),
		"product wraps":        sage.NewTensor(data, 1<<32, 1<<32),
		"bytes wrap":           sage.NewTensor(data, 1<<62),
		"no type":              sage.TensorAs(0, data, 12),
		"odd bytes":            sage.TensorAs(sage.F32, make([]byte, 47), 12),
		"strides too far":      sage.NewStrided(data, 0, []int64{3, 4}, []int64{5, 1}),
		"offset too far":       sage.NewStrided(data, 1, []int64{3, 4}, []int64{4, 1}),
		"offset negative":      sage.NewStrided(data, -1, []int64{1}, []int64{1}),
		"before the beginning": sage.NewStrided(data, 3, []int64{5}, []int64{-1}),
		"strides wrap":         sage.NewStrided(data, 0, []int64{5}, []int64{1 << 62}),
		"strides wrap down":    sage.NewStrided(data, 0, []int64{1 << 40}, []int64{math.MinInt64}),
		"a stride missing":     sage.NewStrided(data, 0, []int64{3, 4}, []int64{4}),
		"offset wraps":         sage.NewStrided(data, math.MaxInt64, []int64{6}, []int64{1}),
		"offset wraps twice":   sage.NewStrided(data, math.MaxInt64, []int64{2, 2}, []int64{1 << 60, 1 << 60}),
		"nothing there":        sage.NewStrided([]float32{}, 0, []int64{1}, []int64{1}),
		"constant in a slice":  sage.NewTensor(data, 12).Constant(),
	} {
		if tensor.Err() == nil {
			t.Errorf("%s was taken", name)
			continue
		}
		want(t, tensor.Err(), sage.ErrInvalidArgument)
		want(t, sage.NewAttentionOp(tensor, tensor, tensor, tensor).Err(), sage.ErrInvalidArgument)
		_, err := open(t).Plan(sage.NewAttentionOp(tensor, tensor, tensor, tensor))
		want(t, err, sage.ErrInvalidArgument)
	}
	for name, tensor := range map[string]sage.Tensor{
		"scalar":    sage.NewTensor(data[:1]),
		"backwards": sage.NewStrided(data, 11, []int64{12}, []int64{-1}),
		"repeated":  sage.NewStrided(data, 11, []int64{1 << 40}, []int64{0}),
		"column":    sage.NewStrided(data, 3, []int64{3}, []int64{4}),
		"empty":     sage.NewStrided(data, 99, []int64{0, 5}, []int64{1 << 62, 1}),
	} {
		if tensor.Err() != nil {
			t.Errorf("%s: %v", name, tensor.Err())
		}
	}
}

func TestPlansRefuse(t *testing.T) {
	engine := open(t)
	a := newArrays(1)
	_, err := engine.Plan(a.op().Window(1, 1))
	want(t, err, sage.ErrInvalidArgument) // it does not say how queries are aligned
	_, err = engine.Plan(a.op().Slot(sage.NumSlots, sage.Describe(sage.F32, 1)))
	want(t, err, sage.ErrInvalidArgument, "slot 28")
	_, err = engine.Plan(nil)
	want(t, err, sage.ErrInvalidArgument)
	_, err = engine.Plan(a.op(), sage.WithOption("backend", "abacus"))
	want(t, err, sage.ErrUnsupported, "abacus")
	_, err = engine.Plan(sage.NewAttentionOp(sage.Describe(sage.F32, 1, 1, 1, 4), sage.Describe(sage.F64, 1, 1, 1, 4),
		sage.Describe(sage.F64, 1, 1, 1, 4), sage.Describe(sage.F32, 1, 1, 1, 4)))
	if err == nil {
		t.Fatal("f32 queries over f64 keys were planned")
	}
	plan := must[*sage.AttentionPlan](t)(engine.Plan(a.op()))
	defer plan.Close()
	c := must[*sage.AttentionContext](t)(plan.NewContext())
	defer c.Close()
	want(t, c.Run(background, newArrays(1).op().Slot(sage.SlotQ, sage.Describe(sage.F32, 2, 4, 5, 8))),
		sage.ErrInvalidArgument, "no data")
	want(t, c.Run(background, a.op().Slot(sage.SlotQ, sage.NewTensor(a.q[:32], 1, 4, 1, 8))), sage.ErrInvalidArgument)
	want(t, c.Run(background, nil), sage.ErrInvalidArgument)
	var none context.Context
	want(t, c.Run(none, a.op()), sage.ErrInvalidArgument, "the context is nil")
	want(t, session(t, "op_graph.fbs").Run(none), sage.ErrInvalidArgument, "the context is nil")
	ticks := session(t, "metabolic.fbs").Ticks(none, strings.NewReader(tick1))
	if ticks.Next() {
		t.Fatal("a tick ran without a context")
	}
	want(t, ticks.Err(), sage.ErrInvalidArgument, "the context is nil")
}

// What make would end the process for.
func TestMasksBeyondMemoryAreRefused(t *testing.T) {
	_, _, err := sage.MincutMask(1<<24, 1)
	want(t, err, sage.ErrOutOfMemory)
	_, _, err = sage.MincutBlocks(1<<24, 1, 1, 1)
	want(t, err, sage.ErrOutOfMemory)
	_, err = sage.MincutCSR(1<<24, 1, 1, 0)
	want(t, err, sage.ErrInvalidArgument)
}

func TestForeignMemory(t *testing.T) {
	buffer := must[*sage.Buffer[float32]](t)(sage.NewBuffer[float32](24))
	defer buffer.Close()
	at := unsafe.Pointer(&buffer.Slice()[0])
	s := session(t, "op_graph.fbs")
	if err := s.Bind(sage.Input, 0, sage.TensorAt(sage.F32, at, qShape, nil)); err != nil {
		t.Fatal(err)
	}
	want(t, s.Bind(sage.Input, 0, sage.TensorAt(sage.F32, at, qShape, []int64{1})), sage.ErrInvalidArgument, "1 strides")
	if err := s.Bind(sage.Input, 0, sage.TensorAt(sage.F32, at, qShape, nil).On(77, 0)); err == nil {
		t.Fatal("a device that is none was bound")
	}
	// An address that no host may read: a copy would be the end of the process.
	device := sage.TensorAt(sage.F32, at, qShape, nil).On(sage.CUDA, 0)
	want(t, s.SetInput(0, device), sage.ErrInvalidArgument, "device type 2")
	setInputs(t, s)
	want(t, s.GetOutput(0, device), sage.ErrInvalidArgument, "device type 2")
	if err := s.Run(background); err != nil {
		t.Fatal(err)
	}
	want(t, s.GetOutput(0, sage.Describe(sage.F32, qShape...)), sage.ErrInvalidArgument)
}

func TestClosedIsRefused(t *testing.T) {
	engine := open(t)
	a := newArrays(1)
	plan := must[*sage.AttentionPlan](t)(engine.Plan(a.op()))
	c := must[*sage.AttentionContext](t)(plan.NewContext())
	model := must[*sage.Model](t)(engine.LoadModel(vectors(t, "metabolic.fbs")))
	s := must[*sage.Session](t)(model.NewSession())
	for i := 0; i < 2; i++ {
		for _, closer := range []interface{ Close() error }{engine, plan, c, model, s} {
			if err := closer.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, call := range map[string]func() error{
		"attention": func() error { return sage.Attention(engine, a.shape(), a.q, a.k, a.v, a.o) },
		"backends":  func() error { _, err := engine.Backends(); return err },
		"describe":  func() error { _, err := engine.Describe(); return err },
		"plugin":    func() error { return engine.LoadPlugin("/x") },
		"plan":      func() error { _, err := engine.Plan(a.op()); return err },
		"load":      func() error { _, err := engine.LoadModel("/x"); return err },
		"check":     func() error { _, err := engine.CheckModel("/x"); return err },
		"context":   func() error { _, err := plan.NewContext(); return err },
		"explain":   func() error { _, err := plan.Explain(); return err },
		"memory":    func() error { _, err := plan.Memory(); return err },
		"run":       func() error { return c.Run(background, a.op()) },
		"session":   func() error { _, err := model.NewSession(); return err },
		"tick":      func() error { _, err := s.Tick(background, []byte(tick1)); return err },
		"input":     func() error { return s.SetInput(0, sage.NewTensor(a.q, 320)) },
		"bind":      func() error { return s.Bind(sage.Input, 0, sage.NewTensor(a.q, 320)) },
		"unbind":    func() error { return s.Unbind(sage.Input, 0) },
		"output":    func() error { _, err := s.OutputInfo(0); return err },
		"copy":      func() error { return s.GetOutput(0, sage.NewTensor(a.q, 320)) },
		"graph":     func() error { return s.Run(background) },
		"decision":  func() error { _, err := s.Decision(); return err },
		"trace":     func() error { _, err := s.Trace(); return err },
		"accuracy":  func() error { _, err := s.Accuracy(); return err },
		"why":       func() error { _, err := s.Explain(); return err },
		"snapshot":  func() error { _, err := s.Snapshot(); return err },
		"restore":   func() error { return s.Restore([]byte{1}) },
		"nil plan":  func() error { _, err := (*sage.AttentionPlan)(nil).NewContext(); return err },
		"nil run":   func() error { return (*sage.AttentionContext)(nil).Run(background, a.op()) },
		"nil model": func() error { _, err := (*sage.Model)(nil).NewSession(); return err },
		"nil graph": func() error { return (*sage.Session)(nil).Run(background) },
		"no engine": func() error { _, err := new(sage.Engine).Backends(); return err },
	} {
		err := call()
		if !errors.Is(err, sage.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
		want(t, err, sage.ErrInvalidArgument, "closed")
	}
	c.Cancel()
	s.Cancel()
	(*sage.Session)(nil).Cancel()
	if (*sage.Session)(nil).Close() != nil || (*sage.Buffer[int8])(nil).Close() != nil {
		t.Fatal("closing nothing")
	}
}
