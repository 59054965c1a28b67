package sage

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestABIOfTheLibrary(t *testing.T) {
	major, minor := ABIVersion()
	loaded := major<<16 | minor
	for _, good := range []uint32{loaded, loaded + 1} { // a newer minor adds
		if err := checkABI(good); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []uint32{(major+1)<<16 | 3, (major - 1) << 16, 0} {
		err := checkABI(bad)
		if !errors.Is(err, ErrABIMismatch) {
			t.Fatal(err)
		}
		for _, part := range []string{"libsage.so", Version(), "install", "1.0"} { // what, which, what to do, needed
			if !strings.Contains(err.Error(), part) {
				t.Fatalf("%q does not say %q", err, part)
			}
		}
	}
	if err := checkABI((major+1)<<16 | 3); !strings.Contains(err.Error(), "ABI 2.3") {
		t.Fatal(err)
	}
}

// The names of this package and those of C are the same numbers, and no constant of C is left out.
func TestConstantsHaveTheirNames(t *testing.T) {
	all := Constants()
	if len(all) < 100 || all["SAGE_ATTN_NUM_SLOTS"] != uint64(NumSlots) || all["SAGE_BF16"] != uint64(BF16) {
		t.Fatal(len(all))
	}
	all["SAGE_BF16"] = 0
	if Constants()["SAGE_BF16"] != uint64(BF16) {
		t.Fatal("a caller changed the constants")
	}
	for dtype := range dtypeNames {
		if parsed, err := ParseDType(dtype.String()); err != nil || parsed != dtype || dtype.Size() != int(dtype>>8&0xff)/8 {
			t.Fatal(dtype, err)
		}
	}
	if _, err := ParseDType("f31"); !errors.Is(err, ErrInvalidArgument) {
		t.Fatal(err)
	}
}

func TestATextThatGrowsIsAskedForAgain(t *testing.T) {
	for _, size := range []int{0, 3, 100} {
		text, calls := "short", 0
		got, err := fetch(make([]byte, size), true, func(buffer []byte) (uint64, error) {
			if calls++; calls == 2 {
				text = "much longer than before"
			}
			switch needed := len(text) + 1; {
			case len(buffer) == 0:
				return uint64(needed), nil
			case len(buffer) < needed:
				return uint64(needed), refuse(ErrBufferTooSmall, "%d bytes", needed)
			}
			return uint64(copy(buffer, text+"\x00")), nil
		})
		if err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if _, err := fetch(nil, true, func([]byte) (uint64, error) { return 9, refuse(ErrBusy, "") }); !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
}

func TestWatchEndsWithItsCall(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	calls := make(chan struct{}, 1000)
	stop := watch(ctx, func() { calls <- struct{}{} })
	cancel()
	<-calls
	<-calls // again, since the first may have come before the run had begun
	stop()
	before := len(calls)
	time.Sleep(10 * time.Millisecond) // five of its longest pauses
	if len(calls) != before {
		t.Fatal("a cancel after the end")
	}
}

// Bound memory is freed with the last of its Buffer and the sessions it is bound to: bound anew, unbound, closed.
func TestBoundMemoryIsFreed(t *testing.T) {
	folder := os.Getenv("SAGE_VECTORS")
	if folder == "" {
		t.Skip("SAGE_VECTORS names no folder with the models of tests/vectors")
	}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	engine, err := Open()
	try(err)
	defer engine.Close()
	model, err := engine.LoadModel(folder + "/op_graph.fbs")
	try(err)
	defer model.Close()
	for name, end := range map[string]func(s *Session) error{
		"closed":  func(s *Session) error { return s.Close() },
		"unbound": func(s *Session) error { return s.Unbind(Input, 0) },
		"set":     func(s *Session) error { return s.SetInput(0, NewTensor(make([]float32, 24), 1, 2, 3, 4)) },
		"rebound": func(s *Session) error {
			other, err := NewBuffer[float32](24)
			try(err)
			defer other.Close()
			return s.Bind(Input, 0, other.Tensor(1, 2, 3, 4))
		},
	} {
		session, err := model.NewSession()
		try(err)
		defer session.Close()
		buffer, err := NewBuffer[float32](24)
		try(err)
		try(session.Bind(Input, 0, buffer.Tensor(1, 2, 3, 4)))
		try(buffer.Close())
		if shares := buffer.memory.shares.Load(); shares != 1 {
			t.Fatalf("%s: %d shares while it is bound", name, shares)
		}
		try(end(session))
		if shares := buffer.memory.shares.Load(); shares != 0 {
			t.Fatalf("%s: %d shares are left", name, shares)
		}
	}
}
