package main

// What a line of text cannot say: callbacks, goroutines, orders of closing.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"sageengine/sage"
)

func (r *runner) scenario(name string) {
	all := map[string]func(){
		"versions": r.versions, "status_names": r.statusNames, "backends": r.backends, "free_orders": r.freeOrders,
		"closed": r.closed, "log": func() { r.log(false) }, "log_throws": func() { r.log(true) },
		"cancel_callback": func() { r.cancelCallback(name, func() bool { return true }) },
		"cancel_throws":   func() { r.cancelCallback(name, func() bool { panic("from the callback") }) },
		"cancel_thread":   r.cancelThread, "wrong_major": r.wrongMajor, "missing_model": r.missingModel, "native": r.native,
		"zero_copy": r.zeroCopy, "denormals": r.denormals,
	}
	run := all[name]
	if run == nil {
		fail("unknown scenario %s", name)
	}
	run()
}

// problem is an attention of zeros.
func problem[T float32 | float64](heads, seq, dim int64) *sage.AttentionOp {
	t := func() sage.Tensor { return sage.NewTensor(make([]T, heads*seq*dim), 1, heads, seq, dim) }
	return sage.NewAttentionOp(t(), t(), t(), t())
}

func (r *runner) versions() {
	if major, minor := sage.ABIVersion(); sage.BuildInfo() != "" {
		r.say("abi %d.%d version %s", major, minor, sage.Version())
	}
}

func (r *runner) statusNames() {
	var names []string
	for status := sage.Status(0); status < 16; status++ {
		names = append(names, status.Name())
	}
	r.say("%s", strings.Join(names, " "))
}

func (r *runner) backends() {
	engine := must(sage.Open())
	defer engine.Close()
	described := must(engine.Describe())
	line := "backends"
	for _, name := range must(engine.Backends()) {
		if isJSON(described, name) {
			line += " " + name
		}
	}
	r.say("%s", line)
}

// object is what is closed in some order: use it, close it.
type object struct {
	use   func() error
	close func() error
	open  bool
}

func closeInOrder(order [3]int, objects [3]*object) bool {
	good := true
	for _, next := range order {
		for _, o := range objects {
			if o.open {
				good = good && o.use() == nil
			}
		}
		good = good && objects[next].close() == nil
		objects[next].open = false
	}
	return good
}

func useEngine(engine *sage.Engine) func() error {
	return func() error {
		names, err := engine.Backends()
		if err == nil && len(names) == 0 {
			err = errors.New("no backends")
		}
		return err
	}
}

func (r *runner) freeOrders() {
	background := context.Background()
	good := 0
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		engine := must(sage.Open())
		model := must(engine.LoadModel(r.folder + "/metabolic.fbs"))
		session := must(model.NewSession())
		if closeInOrder(order, [3]*object{{useEngine(engine), engine.Close, true}, {func() error {
			another, err := model.NewSession() // its kind is remembered, so that would not reach the library
			if err == nil && model.Kind() != sage.ModelMetabolic {
				err = errors.New("another kind")
			}
			another.Close()
			return err
		}, model.Close, true}, {func() error {
			_, err := session.Tick(background, []byte(`{"ts":1,"targets":[{"id":"door","salience":0.9}]}`))
			return err
		}, session.Close, true}}) {
			good++
		}
		engine = must(sage.Open())
		op := problem[float32](1, 4, 8)
		plan := must(engine.Plan(op))
		run := must(plan.NewContext())
		if closeInOrder(order, [3]*object{{useEngine(engine), engine.Close, true}, {func() error {
			_, err := plan.Explain()
			if err == nil && plan.Backend() == "" {
				err = errors.New("no backend")
			}
			return err
		}, plan.Close, true}, {func() error { return run.Run(background, op) }, run.Close, true}}) {
			good++
		}
	}
	r.say("free_orders %d", good)
}

func (r *runner) closed() {
	op := problem[float32](1, 4, 8)
	engine := must(sage.Open())
	model := must(engine.LoadModel(r.folder + "/op_graph.fbs"))
	session := must(model.NewSession())
	plan := must(engine.Plan(op))
	run := must(plan.NewContext())
	for i := 0; i < 2; i++ {
		engine.Close()
		model.Close()
		session.Close()
		plan.Close()
		run.Close()
	}
	_, byEngine := engine.Plan(op)
	_, byPlan := plan.NewContext()
	_, byModel := model.NewSession()
	refused := 0
	for _, err := range []error{byEngine, byPlan, byModel, run.Run(context.Background(), op),
		session.Run(context.Background())} {
		if errors.Is(err, sage.ErrClosed) {
			refused++
		}
	}
	r.say("closed %d", refused)
}

func (r *runner) log(throws bool) {
	var lines atomic.Int64
	engine := must(sage.Open(sage.WithOption("log_level", "debug"), sage.WithLog(func(sage.Level, string) {
		lines.Add(1)
		if throws {
			panic("from the callback")
		}
	})))
	defer engine.Close()
	err := engine.LoadPlugin(r.plugin)
	switch {
	case throws && lines.Load() == 0:
		r.say("log_throws silent")
	case throws:
		r.say("log_throws %s", status(err))
	case lines.Load() > 0:
		r.say("log called")
	default:
		r.say("log silent")
	}
}

func (r *runner) cancelCallback(name string, callback func() bool) {
	op := problem[float32](1, 64, 8)
	engine := must(sage.Open())
	defer engine.Close()
	plan := must(engine.Plan(op, sage.WithCancel(callback)))
	defer plan.Close()
	run := must(plan.NewContext())
	defer run.Close()
	r.say("%s %s", name, status(run.Run(context.Background(), op)))
}

func (r *runner) cancelThread() {
	op := problem[float64](4, 2048, 64)
	engine := must(sage.Open())
	defer engine.Close()
	plan := must(engine.Plan(op, sage.WithOption("backend", "reference")))
	defer plan.Close()
	run := must(plan.NewContext())
	defer run.Close()
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			run.Cancel()
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	err := run.Run(context.Background(), op)
	close(over)
	<-gone
	r.say("cancel_thread %s", status(err))
}

func (r *runner) refusedFile(name string, err error, path string) {
	named := "not named"
	if err != nil && strings.Contains(err.Error(), path) {
		named = "named"
	}
	r.say("%s %s %s", name, status(err), named)
}

func (r *runner) wrongMajor() {
	engine := must(sage.Open())
	defer engine.Close()
	r.refusedFile("wrong_major", engine.LoadPlugin(r.plugin), r.plugin)
}

func (r *runner) missingModel() {
	engine := must(sage.Open())
	defer engine.Close()
	_, err := engine.LoadModel(r.folder + "/missing.fbs")
	r.refusedFile("missing_model", err, r.folder+"/missing.fbs")
}

func (r *runner) native() {
	const heads, seq, dim = 2, 33, 16
	var q, k, v [heads * seq * dim]float32
	for n := range q {
		q[n] = float32(n*7%31-15) / 8
		k[n] = float32(n*5%31-15) / 8
		v[n] = float32(n*3%31-15) / 8
	}
	var made [2][]byte
	for i, threads := range []string{"1", "2"} {
		engine := must(sage.Open(sage.WithOption("threads", threads)))
		o := make([]float32, len(q))
		must(0, sage.Attention(engine, sage.AttentionShape{Batch: 1, HeadsQ: heads, HeadsKV: heads, SeqQ: seq, SeqKV: seq,
			DimQK: dim, Causal: sage.TopLeft}, q[:], k[:], v[:], o))
		engine.Close()
		var out bytes.Buffer
		binary.Write(&out, binary.LittleEndian, o)
		made[i] = out.Bytes()
	}
	r.say("native %s", hash(made[0]))
	if bytes.Equal(made[0], made[1]) {
		r.say("threads equal")
	} else {
		r.say("threads differ")
	}
}

func (r *runner) zeroCopy() {
	engine := must(sage.Open())
	defer engine.Close()
	model := must(engine.LoadModel(r.folder + "/op_graph.fbs"))
	defer model.Close()
	session := must(model.NewSession(sage.WithOption("trace", "true")))
	defer session.Close()
	for i, shape := range [][]int64{{1, 2, 3, 4}, {1, 1, 5, 4}, {1, 1, 5, 4}} {
		_, t := r.lend(sage.F32, shape)
		must(0, session.Bind(sage.Input, i, t))
	}
	_, t := r.lend(sage.F32, []int64{1, 2, 3, 4})
	must(0, session.Bind(sage.Output, 0, t))
	for i := 0; i < 2; i++ {
		must(0, session.Run(context.Background()))
	}
	counter := regexp.MustCompile(`"bytes_copied":(\d+)`).FindSubmatch(must(session.Trace()))
	if counter == nil {
		fail("the trace has no counter bytes_copied")
	}
	r.say("zero_copy %s", counter[1])
}

var small, half float32 = 1e-39, 0.5

func (r *runner) denormals() {
	if small*half != 0 {
		r.say("denormals kept")
	} else {
		r.say("denormals lost")
	}
}
