package sage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"sageengine/sage"
)

var (
	qShape = []int64{1, 2, 3, 4}
	kShape = []int64{1, 1, 5, 4}
)

func setInputs(t *testing.T, s *sage.Session) [][]float32 {
	t.Helper()
	in := [][]float32{normal(24, 1), normal(20, 2), normal(20, 3)}
	for i, shape := range [][]int64{qShape, kShape, kShape} {
		if err := s.SetInput(i, sage.NewTensor(in[i], shape...)); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

func TestModelTellsWhatItTakes(t *testing.T) {
	engine := open(t)
	path := vectors(t, "op_graph.fbs")
	model := must[*sage.Model](t)(engine.LoadModel(path))
	defer model.Close()
	if model.Kind() != sage.ModelOpGraph || len(model.Inputs()) != 3 || len(model.Outputs()) != 1 {
		t.Fatalf("%v, %v, %v", model.Kind(), model.Inputs(), model.Outputs())
	}
	if in := model.Inputs()[0]; in.Name == "" || in.DType != sage.F32 || len(in.Shape) != 4 {
		t.Fatalf("%+v", in)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, report := range [][]byte{must[[]byte](t)(engine.CheckModel(path)),
		must[[]byte](t)(engine.CheckModelBytes(content, ""))} {
		var said struct{ Valid bool }
		if err := json.Unmarshal(report, &said); err != nil || !said.Valid {
			t.Fatalf("%s, %v", report, err)
		}
	}
	_, err = engine.LoadModelBytes(content[:500], "")
	want(t, err, sage.ErrBadData)
	_, err = engine.LoadModelBytes(nil, "")
	want(t, err, sage.ErrBadData)
}

func TestCopiesAndBuffersGiveTheSameBits(t *testing.T) {
	s := session(t, "op_graph.fbs", sage.WithOption("trace", "true"))
	in := setInputs(t, s)
	if err := s.Run(background); err != nil {
		t.Fatal(err)
	}
	copied, shape, err := sage.OutputOf[float32](s, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, shape, qShape)
	_, _, err = sage.OutputOf[float64](s, 0)
	want(t, err, sage.ErrInvalidArgument, "f32", "f64")
	want(t, s.GetOutput(0, sage.NewTensor(make([]float32, 23), 23)), sage.ErrInvalidArgument)
	raw, info, err := s.OutputBytes(0)
	if err != nil || len(raw) != 96 || info.DType != sage.F32 {
		t.Fatalf("%d bytes, %+v, %v", len(raw), info, err)
	}

	for i, shape := range [][]int64{qShape, kShape, kShape} {
		buffer := must[*sage.Buffer[float32]](t)(sage.NewBuffer[float32](len(in[i])))
		copy(buffer.Slice(), in[i])
		if err := s.Bind(sage.Input, i, buffer.Tensor(shape...)); err != nil {
			t.Fatal(err)
		}
		buffer.Close() // the session keeps the memory
	}
	out := must[*sage.Buffer[float32]](t)(sage.NewBuffer[float32](24))
	defer out.Close()
	if err := s.Bind(sage.Output, 0, out.Tensor(qShape...)); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(background); err != nil {
		t.Fatal(err)
	}
	same(t, out.Slice(), copied)
	trace := must[[]byte](t)(s.Trace())
	if !bytes.Contains(trace, []byte(`"bytes_copied":0`)) {
		t.Fatalf("something was copied: %s", trace)
	}
	if err := s.Unbind(sage.Output, 0); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(must[[]byte](t)(s.Explain())) {
		t.Fatal("explain is no JSON")
	}
}

func TestBindRefusesWhatItMayNotKeep(t *testing.T) {
	s := session(t, "op_graph.fbs")
	err := s.Bind(sage.Input, 0, sage.NewTensor(make([]float32, 24), qShape...))
	want(t, err, sage.ErrInvalidArgument, "Buffer")
	want(t, s.Bind(sage.Input, 0, sage.Describe(sage.F32, qShape...)), sage.ErrInvalidArgument, "Unbind")
	buffer := must[*sage.Buffer[float32]](t)(sage.NewBuffer[float32](24))
	tensor := buffer.Tensor(qShape...)
	want(t, s.Bind(sage.Input, 9, tensor), sage.ErrNotFound)
	want(t, s.Bind(sage.Input, -1, tensor), sage.ErrInvalidArgument, "-1")
	want(t, s.Bind(sage.Input, 0, buffer.Tensor(1, 2, 3, 5)), sage.ErrInvalidArgument, "24 elements")
	buffer.Close()
	if err := s.Bind(sage.Input, 0, tensor); !errors.Is(err, sage.ErrClosed) {
		t.Fatal(err)
	}
	if err := s.Bind(sage.Input, 0, buffer.Tensor(qShape...)); !errors.Is(err, sage.ErrClosed) {
		t.Fatal(err)
	}
	if buffer.Slice() != nil {
		t.Fatal("a closed buffer has a slice")
	}
	gaps := sage.NewStrided(make([]float32, 48), 0, qShape, []int64{48, 24, 8, 2})
	want(t, s.SetInput(0, gaps), sage.ErrInvalidArgument, "without gaps")
	want(t, s.SetInput(0, sage.NewTensor(make([]float64, 24), qShape...)), sage.ErrInvalidArgument)
	want(t, s.SetInput(0, sage.NewTensor(make([]float32, 23), qShape...)), sage.ErrInvalidArgument, "96 bytes", "92")
	_, err = s.Tick(background, []byte(`{"ts":1}`))
	want(t, err, sage.ErrUnsupported)
}

const (
	tick1 = `{"ts":1,"targets":[{"id":"door","salience":0.9},{"id":"lamp","salience":0.6}]}`
	tick2 = `{"ts":2,"state":"DREAM","targets":[{"id":"door","salience":0.9}]}`
	tick3 = `{"ts":3,"state":"crisis","targets":[]}`
)

func TestTicksAndState(t *testing.T) {
	s := session(t, "metabolic.fbs")
	must[[]byte](t)(s.Tick(background, []byte(tick1)))
	state := must[[]byte](t)(s.Snapshot())
	second := must[[]byte](t)(s.Tick(background, []byte(tick2)))
	decision, err := sage.ParseDecision(second)
	if err != nil || decision.State == nil || *decision.State != sage.Dream || decision.TS != 2 ||
		len(decision.Transitions) == 0 || decision.Transitions[0].To != sage.Dream {
		t.Fatalf("%+v, %v", decision, err)
	}
	if err := s.Restore(state); err != nil {
		t.Fatal(err)
	}
	same(t, must[[]byte](t)(s.Tick(background, []byte(tick2))), second)
	same(t, must[[]byte](t)(s.Decision()), second)

	record, err := s.Tick(background, []byte(`{"ts":3,"targets":[{"id":"a","salience":7}]}`))
	want(t, err, sage.ErrBadData, "salience")
	bad, err := sage.ParseDecision(record)
	if err != nil || bad.Error == nil || bad.Error.Code != "SAGE_E_RANGE" || bad.Error.At != "targets[0].salience" {
		t.Fatalf("%s, %v", record, err)
	}
	state[len(state)/2] ^= 1
	want(t, s.Restore(state), sage.ErrBadData)
	want(t, s.Restore(nil), sage.ErrBadData)
	_, err = s.Tick(background, nil)
	want(t, err, sage.ErrBadData)
	want(t, s.Run(background), sage.ErrUnsupported)
	must[[]byte](t)(s.Tick(background, []byte(tick3)))
}

func TestTickStream(t *testing.T) {
	s := session(t, "metabolic.fbs")
	long := `{"ts":2,"x_note":"` + strings.Repeat("a", sage.MaxTick) + `"}`
	text := tick1 + "\n{\"ts\":\n" + long + "\n" + tick2 + "\n" + tick3 // the last line needs no newline
	ticks := s.Ticks(background, strings.NewReader(text))
	var states []string
	refused := 0
	for ticks.Next() {
		decision, err := ticks.Decision()
		if err != nil {
			t.Fatal(err)
		}
		if ticks.Refused() != nil {
			want(t, ticks.Refused(), sage.ErrBadData)
			if decision.Error == nil || (refused == 1) != (decision.Error.Code == "SAGE_E_LIMIT") {
				t.Fatalf("%s", ticks.Record())
			}
			refused++
			continue
		}
		states = append(states, decision.State.String())
	}
	if ticks.Err() != nil || refused != 2 {
		t.Fatalf("%v, %d refused", ticks.Err(), refused)
	}
	same(t, states, []string{"FOCUS", "DREAM", "CRISIS"})
	if ticks.Next() {
		t.Fatal("there is something after the end")
	}

	failing := s.Ticks(background, io.MultiReader(strings.NewReader(`{"ts":9,"targets":[]}`+"\n"), broken{}))
	for failing.Next() {
	}
	if !errors.Is(failing.Err(), errBroken) {
		t.Fatal(failing.Err())
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	stopped := s.Ticks(ctx, strings.NewReader(text))
	if stopped.Next() || !errors.Is(stopped.Err(), context.Canceled) {
		t.Fatal(stopped.Err())
	}
}

var errBroken = errors.New("broken pipe, say")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

func TestMetabolicStates(t *testing.T) {
	for i, name := range []string{"WAKE", "FOCUS", "REST", "DREAM", "CRISIS"} {
		state, err := sage.ParseMetabolicState(strings.ToLower(name))
		if err != nil || state != sage.MetabolicState(i) || state.String() != name {
			t.Fatalf("%s: %v, %v", name, state, err)
		}
		text, err := json.Marshal(map[string]any{"state": state})
		if err != nil || string(text) != `{"state":"`+name+`"}` {
			t.Fatalf("%s, %v", text, err)
		}
	}
	_, err := sage.ParseMetabolicState("AUTO")
	want(t, err, sage.ErrInvalidArgument, "CRISIS")
	var state sage.MetabolicState
	if err := json.Unmarshal([]byte(`"SLEEP"`), &state); !errors.Is(err, sage.ErrInvalidArgument) {
		t.Fatal(err)
	}
}
