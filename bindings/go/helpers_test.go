package sage_test

// What the tests share: an engine, numbers, models.

import (
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sageengine/sage"
)

func open(t testing.TB, options ...sage.Option) *sage.Engine {
	t.Helper()
	engine, err := sage.Open(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return engine
}

// vectors is the folder with the models of tests/vectors in binary form.
func vectors(t testing.TB, file string) string {
	t.Helper()
	folder := os.Getenv("SAGE_VECTORS")
	if folder == "" {
		t.Skip("SAGE_VECTORS names no folder with the models of tests/vectors")
	}
	return filepath.Join(folder, file)
}

func session(t testing.TB, file string, options ...sage.Option) *sage.Session {
	t.Helper()
	model, err := open(t).LoadModel(vectors(t, file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close() })
	s, err := model.NewSession(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must[T any](t testing.TB) func(made T, err error) T {
	return func(made T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
}

func normal(n int, seed int64) []float32 {
	random := rand.New(rand.NewSource(seed))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(random.NormFloat64())
	}
	return out
}

// want fails unless err is the binding's type, has the status, and names each part.
func want(t *testing.T, err error, status sage.Status, parts ...string) {
	t.Helper()
	var mine *sage.Error
	if !errors.As(err, &mine) {
		t.Fatalf("%v is no *sage.Error", err)
	}
	if !errors.Is(err, status) || mine.Status != status {
		t.Fatalf("%v: expected %v", err, status)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Fatalf("%q does not say %q", err, part)
		}
	}
}

func same[T comparable](t *testing.T, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d elements, expected %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("element %d is %v, expected %v", i, got[i], want[i])
		}
	}
}

// arrays of two batches, four query heads over two, five queries, seven keys of eight.
type arrays struct{ q, k, v, o []float32 }

func newArrays(seed int64) *arrays {
	return &arrays{normal(2*4*5*8, seed), normal(2*2*7*8, seed+1), normal(2*2*7*8, seed+2), make([]float32, 2*4*5*8)}
}

func (a *arrays) op() *sage.AttentionOp {
	return sage.NewAttentionOp(sage.NewTensor(a.q, 2, 4, 5, 8), sage.NewTensor(a.k, 2, 2, 7, 8),
		sage.NewTensor(a.v, 2, 2, 7, 8), sage.NewTensor(a.o, 2, 4, 5, 8))
}

func (a *arrays) shape() sage.AttentionShape {
	return sage.AttentionShape{Batch: 2, HeadsQ: 4, HeadsKV: 2, SeqQ: 5, SeqKV: 7, DimQK: 8}
}
