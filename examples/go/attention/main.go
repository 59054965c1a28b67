// Attention over your own slices, from Go: by one call, and by a plan that runs often.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"sageengine/sage"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func filled(n int, value float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = value
	}
	return out
}

func run() error {
	engine, err := sage.Open()
	if err != nil {
		return err
	}
	defer engine.Close()

	// One call: 8 query heads over 2 of K and V, 512 tokens, causal; [batch, heads, tokens, 64].
	q, k, v := filled(8*512*64, 0.1), filled(2*512*64, 0.2), filled(2*512*64, 0.3)
	o := make([]float32, len(q))
	shape := sage.AttentionShape{Batch: 1, HeadsQ: 8, HeadsKV: 2, SeqQ: 512, SeqKV: 512, DimQK: 64, Causal: sage.TopLeft}
	if err := sage.Attention(engine, shape, q, k, v, o); err != nil {
		return err
	}
	fmt.Printf("o[0] = %g\n", o[0])

	// The same with a window of 128 keys, planned once and run as often as you like, for at most a second each.
	op := sage.NewAttentionOp(sage.NewTensor(q, 1, 8, 512, 64), sage.NewTensor(k, 1, 2, 512, 64),
		sage.NewTensor(v, 1, 2, 512, 64), sage.NewTensor(o, 1, 8, 512, 64)).Causal(sage.TopLeft).Window(127, sage.Unlimited)
	plan, err := engine.Plan(op)
	if err != nil {
		return err
	}
	defer plan.Close()
	workspace, err := plan.NewContext()
	if err != nil {
		return err
	}
	defer workspace.Close()
	for i := 0; i < 3; i++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := workspace.Run(ctx, op)
		cancel()
		if err != nil {
			return err
		}
	}
	fmt.Printf("ran on %s\n", plan.Backend())
	return nil
}
