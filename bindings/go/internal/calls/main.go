// What a call costs: `calls ROUNDS ITERATIONS` prints, a line a round, nanoseconds per call of the flat attention and of
// an attention context's run, both of the smallest problem there is.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"sageengine/sage"
)

func must[T any](made T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return made
}

func timed(iterations int, call func() error) float64 {
	start := time.Now()
	for i := 0; i < iterations; i++ {
		if err := call(); err != nil {
			must(0, err)
		}
	}
	return float64(time.Since(start).Nanoseconds()) / float64(iterations)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: calls ROUNDS ITERATIONS")
		os.Exit(2)
	}
	rounds, iterations := must(strconv.Atoi(os.Args[1])), must(strconv.Atoi(os.Args[2]))
	engine := must(sage.Open(sage.WithOption("threads", "1")))
	defer engine.Close()
	q, k, v, o := make([]float32, 8), make([]float32, 8), make([]float32, 8), make([]float32, 8)
	shape := sage.AttentionShape{Batch: 1, HeadsQ: 1, HeadsKV: 1, SeqQ: 1, SeqKV: 1, DimQK: 8}
	tensor := func(data []float32) sage.Tensor { return sage.NewTensor(data, 1, 1, 1, 8) }
	op := sage.NewAttentionOp(tensor(q), tensor(k), tensor(v), tensor(o))
	plan := must(engine.Plan(op))
	defer plan.Close()
	run := must(plan.NewContext())
	defer run.Close()
	background := context.Background()
	flatCall := func() error { return sage.Attention(engine, shape, q, k, v, o) }
	runCall := func() error { return run.Run(background, op) }
	timed(iterations/10+1, flatCall)
	timed(iterations/10+1, runCall)
	for i := 0; i < rounds; i++ {
		fmt.Printf("flat %.1f run %.1f\n", timed(iterations, flatCall), timed(iterations, runCall))
	}
}
