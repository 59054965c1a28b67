package sage_test

import (
	"context"
	"math"
	"testing"

	"sageengine/sage"
)

var background = context.Background()

// run plans an op anew and returns what it wrote.
func run(t *testing.T, engine *sage.Engine, op *sage.AttentionOp, o []float32, options ...sage.Option) []float32 {
	t.Helper()
	for i := range o {
		o[i] = 9
	}
	plan := must[*sage.AttentionPlan](t)(engine.Plan(op, options...))
	defer plan.Close()
	c := must[*sage.AttentionContext](t)(plan.NewContext())
	defer c.Close()
	if err := c.Run(background, op); err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), o...)
}

// naive is softmax(scale q k^T) v of one head in float64, causal from the lower right corner.
func naive(q, k, v []float32, sq, skv, d int, scale float64) []float32 {
	o := make([]float32, sq*d)
	for i := 0; i < sq; i++ {
		weights, sum := make([]float64, skv), 0.0
		for j := 0; j <= i+skv-sq; j++ {
			dot := 0.0
			for x := 0; x < d; x++ {
				dot += float64(q[i*d+x]) * float64(k[j*d+x])
			}
			weights[j] = math.Exp(scale * dot)
			sum += weights[j]
		}
		for x := 0; x < d; x++ {
			out := 0.0
			for j := range weights {
				out += weights[j] / sum * float64(v[j*d+x])
			}
			o[i*d+x] = float32(out)
		}
	}
	return o
}

func TestShortCallAndPlan(t *testing.T) {
	engine := open(t)
	a := newArrays(1)
	shape := a.shape()
	shape.Causal, shape.Scale = sage.BottomRight, 0.25
	if err := sage.Attention(engine, shape, a.q, a.k, a.v, a.o); err != nil {
		t.Fatal(err)
	}
	short := append([]float32(nil), a.o...)
	for head := 0; head < 8; head++ { // heads 0, 1 over 0; 2, 3 over 1; the same in the second batch
		kv := head / 2 * 7 * 8
		expected := naive(a.q[head*40:], a.k[kv:], a.v[kv:], 5, 7, 8, 0.25)
		for i, value := range expected {
			if math.Abs(float64(value-short[head*40+i])) > 1e-5 {
				t.Fatalf("head %d element %d: %v, expected %v", head, i, short[head*40+i], value)
			}
		}
	}
	op := a.op().Causal(sage.BottomRight).Scale(0.25)
	same(t, run(t, engine, op, a.o), short)
	features := must[uint64](t)(op.Features())
	if all := sage.FeatureCausal | sage.FeatureScale | sage.FeatureGQA; features&all != all {
		t.Fatalf("features %#x", features)
	}
	plan := must[*sage.AttentionPlan](t)(engine.Plan(op))
	defer plan.Close()
	if memory := must[sage.AttentionMemory](t)(plan.Memory()); memory.Q != 2*4*5*8*4 || memory.Total == 0 {
		t.Fatalf("memory %+v", memory)
	}
}

func TestOtherTypes(t *testing.T) {
	engine := open(t)
	q := []float64{1, 0, 0, 1, 1, 1}
	o := make([]float64, 6)
	shape := sage.AttentionShape{Batch: 1, HeadsQ: 1, HeadsKV: 1, SeqQ: 3, SeqKV: 1, DimQK: 2}
	if err := sage.Attention(engine, shape, q, q[:2], []float64{3, 4}, o); err != nil {
		t.Fatal(err)
	}
	same(t, o, []float64{3, 4, 3, 4, 3, 4}) // one key: its value
	// 1.0 and 2.0 in bfloat16: as words of their own type, and as plain ones.
	half := []sage.BFloat16{0x3f80, 0x4000}
	out := make([]sage.BFloat16, 2)
	shape.SeqQ = 1
	if err := sage.Attention(engine, shape, half, half, half, out); err != nil {
		t.Fatal(err)
	}
	same(t, out, half)
	words, to := []uint16{0x3f80, 0x4000}, make([]uint16, 2)
	if err := sage.AttentionAs(engine, sage.BF16, shape, words, words, words, to); err != nil {
		t.Fatal(err)
	}
	same(t, to, words)
}

func TestMaskByStridesIsAWindow(t *testing.T) {
	engine := open(t)
	a := newArrays(7)
	window := run(t, engine, a.op().Align(sage.BottomRight).Window(1, 0), a.o)
	keep := make([]bool, 5*7)
	for i := 0; i < 5; i++ {
		for j := 0; j < 7; j++ {
			keep[i*7+j] = j+1 >= i+2 && j <= i+2
		}
	}
	mask := sage.NewStrided(keep, 0, []int64{2, 4, 5, 7}, []int64{0, 0, 7, 1})
	same(t, run(t, engine, a.op().Slot(sage.SlotMask, mask), a.o), window)
}

func TestOddAddresses(t *testing.T) {
	engine := open(t)
	a := newArrays(3)
	expected := run(t, engine, a.op(), a.o)
	for offset := 1; offset < 9; offset++ {
		at := func(values []float32) []byte {
			data := make([]byte, len(values)*4+offset)[offset:]
			for i, value := range values {
				bits := math.Float32bits(value)
				data[4*i], data[4*i+1], data[4*i+2], data[4*i+3] = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
			}
			return data
		}
		o := at(a.o)
		op := sage.NewAttentionOp(sage.TensorAs(sage.F32, at(a.q), 2, 4, 5, 8), sage.TensorAs(sage.F32, at(a.k), 2, 2, 7, 8),
			sage.TensorAs(sage.F32, at(a.v), 2, 2, 7, 8), sage.TensorAs(sage.F32, o, 2, 4, 5, 8))
		run(t, engine, op, nil)
		same(t, o, at(expected))
	}
}

func TestEverySlotArgumentArrives(t *testing.T) {
	// Five tensors and more take another way through the shim than four.
	engine := open(t)
	a := newArrays(5)
	plain := run(t, engine, a.op(), a.o)
	lse := make([]float32, 2*4*5)
	same(t, run(t, engine, a.op().Slot(sage.SlotLSE, sage.NewTensor(lse, 2, 4, 5)), a.o), plain)
	bias := normal(5*7, 11)
	one := sage.NewStrided(bias, 0, []int64{2, 4, 5, 7}, []int64{0, 0, 7, 1})
	biased := run(t, engine, a.op().Slot(sage.SlotBias, one).Slot(sage.SlotLSE, sage.NewTensor(lse, 2, 4, 5)), a.o)
	scores := make([]float32, 2*4*5*7)
	dense := make([]float32, len(scores))
	for i := range dense {
		dense[i] = bias[i%35]
	}
	op := a.op().Slot(sage.SlotScores, sage.NewTensor(scores, 2, 4, 5, 7)).
		Slot(sage.SlotBias, sage.NewTensor(dense, 2, 4, 5, 7))
	for i, got := range run(t, engine, op, a.o, sage.WithOption("backend", "reference")) {
		if math.Abs(float64(got-biased[i])) > 1e-5 {
			t.Fatalf("element %d is %v, expected %v", i, got, biased[i])
		}
	}
	for row := 0; row < 2*4*5; row++ {
		sum := 0.0
		for _, score := range scores[row*7 : row*7+7] {
			sum += math.Exp(float64(score))
		}
		if math.Abs(math.Log(sum)-float64(lse[row])) > 1e-5 {
			t.Fatalf("row %d: lse %v, of the scores %v", row, lse[row], math.Log(sum))
		}
	}
}

func TestAppend(t *testing.T) {
	engine := open(t)
	k, v, token, o := make([]float32, 4*8), make([]float32, 4*8), normal(8, 5), make([]float32, 8)
	view := func() sage.Tensor { return sage.NewTensor(token, 1, 1, 1, 8) }
	op := sage.NewAttentionOp(view(), sage.NewTensor(k, 1, 1, 4, 8), sage.NewTensor(v, 1, 1, 4, 8),
		sage.NewTensor(o, 1, 1, 1, 8)).Append(view(), view()).Slot(sage.SlotSeqUsedK, sage.NewTensor([]int32{2}, 1))
	run(t, engine, op, nil)
	same(t, k[16:24], token)
	same(t, v[16:24], token)
	same(t, k[24:], make([]float32, 8))
}

func TestDynamicAxes(t *testing.T) {
	engine := open(t)
	a := newArrays(9)
	op := a.op()
	op.DynamicAxes = sage.AxisKeys
	plan := must[*sage.AttentionPlan](t)(engine.Plan(op))
	defer plan.Close()
	c := must[*sage.AttentionContext](t)(plan.NewContext())
	defer c.Close()
	// Three of the seven keys, in place: strides stay as planned.
	shape, strides := []int64{2, 2, 3, 8}, []int64{112, 56, 8, 1}
	op.Slot(sage.SlotK, sage.NewStrided(a.k, 0, shape, strides)).Slot(sage.SlotV, sage.NewStrided(a.v, 0, shape, strides))
	if err := c.Run(background, op); err != nil {
		t.Fatal(err)
	}
	fewer := append([]float32(nil), a.o...)
	same(t, run(t, engine, op, a.o), fewer)
}

func TestConstantLivesInABuffer(t *testing.T) {
	engine := open(t)
	a := newArrays(13)
	expected := run(t, engine, a.op(), a.o)
	buffer := must[*sage.Buffer[float32]](t)(sage.NewBuffer[float32](len(a.k)))
	copy(buffer.Slice(), a.k)
	op := a.op().Slot(sage.SlotK, buffer.Tensor(2, 2, 7, 8).Constant())
	plan := must[*sage.AttentionPlan](t)(engine.Plan(op))
	c := must[*sage.AttentionContext](t)(plan.NewContext())
	defer c.Close()
	buffer.Close()
	plan.Close() // the context holds the plan, and that the memory
	if err := c.Run(background, op); err != nil {
		t.Fatal(err)
	}
	same(t, a.o, expected)
}

func TestMasksOfAPartition(t *testing.T) {
	engine := open(t)
	const seq = 32
	q, o := normal(seq*8, 3), make([]float32, seq*8)
	view := func() *sage.AttentionOp {
		in := sage.NewTensor(q, 1, 1, seq, 8)
		return sage.NewAttentionOp(in, in, in, sage.NewTensor(o, 1, 1, seq, 8))
	}
	mask, kept, err := sage.MincutMask(seq, 4)
	if err != nil {
		t.Fatal(err)
	}
	byMask := run(t, engine, view().Slot(sage.SlotMask, sage.NewTensor(mask, 1, 1, seq, seq)), o)
	csr := must[sage.CSRMask](t)(sage.MincutCSR(seq, 4, 1, 1))
	if uint64(len(csr.Indices)) != kept {
		t.Fatalf("%d positions, %d", len(csr.Indices), kept)
	}
	sparse := view().Slot(sage.SlotCSRIndptr, sage.NewTensor(csr.Indptr, 1, 1, seq+1)).
		Slot(sage.SlotCSRIndices, sage.NewTensor(csr.Indices, int64(len(csr.Indices))))
	sparse.Attributes.MaskBlockQ, sparse.Attributes.MaskBlockKV = 1, 1
	for i, value := range run(t, engine, sparse, o) {
		if math.Abs(float64(value-byMask[i])) > 1e-5 {
			t.Fatalf("element %d: %v, expected %v", i, value, byMask[i])
		}
	}
	decision := must[sage.GateDecision](t)(sage.GateDecide(sage.GatePacket{Lambda: 100, LambdaPrev: 100}, nil))
	if decision.Verdict != sage.GateAllow || decision.Window != 16 {
		t.Fatalf("%+v", decision)
	}
	op := view().Align(sage.TopLeft)
	if err := decision.Apply(op); err != nil {
		t.Fatal(err)
	}
	same(t, run(t, engine, op, o), run(t, engine, view().Causal(sage.TopLeft).Window(15, sage.Unlimited), o))
}

func TestCallsAllocateNothing(t *testing.T) {
	engine := open(t, sage.WithOption("threads", "1"))
	a := newArrays(2)
	shape, op := a.shape(), a.op()
	plan := must[*sage.AttentionPlan](t)(engine.Plan(op))
	defer plan.Close()
	c := must[*sage.AttentionContext](t)(plan.NewContext())
	defer c.Close()
	if got := testing.AllocsPerRun(100, func() { _ = sage.Attention(engine, shape, a.q, a.k, a.v, a.o) }); got != 0 {
		t.Errorf("the short call allocates %v times", got)
	}
	if got := testing.AllocsPerRun(100, func() { _ = c.Run(background, op) }); got != 0 {
		t.Errorf("a run allocates %v times", got)
	}
}

func BenchmarkRun(b *testing.B) {
	engine := open(b, sage.WithOption("threads", "1"))
	view := func() sage.Tensor { return sage.NewTensor(make([]float32, 8), 1, 1, 1, 8) }
	op := sage.NewAttentionOp(view(), view(), view(), view())
	plan := must[*sage.AttentionPlan](b)(engine.Plan(op))
	defer plan.Close()
	c := must[*sage.AttentionContext](b)(plan.NewContext())
	defer c.Close()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if err := c.Run(background, op); err != nil {
			b.Fatal(err)
		}
	}
}
