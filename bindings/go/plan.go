package sage

// Attention planned once and run often.

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"context"
	"unsafe"
)

// AttentionPlan is a backend chosen and prepared. Any number of goroutines may use it.
type AttentionPlan struct {
	handle  *handle
	backend string
}

// Plan chooses a backend for the op and prepares it. Tensors need no data, except constants. ErrUnsupported lists every
// backend's reason.
func (e *Engine) Plan(op *AttentionOp, options ...Option) (*AttentionPlan, error) {
	if err := op.check(); err != nil {
		return nil, err
	}
	engine, err := e.enter()
	if err != nil {
		return nil, err
	}
	defer e.handle.leave()
	constants, err := retainAll(op.constants())
	if err != nil {
		return nil, err
	}
	defer releaseAll(constants) // the plan has its own shares
	var plan *AttentionPlan
	err = withOptions(options, func(native *C.sage_options, lent []share) error {
		flat := op.native()
		made := C.sage_go_plan_create(engine, &flat, &op.flat[0], native)
		if made.error != nil {
			return take(made.error)
		}
		free := func(native unsafe.Pointer) { C.sage_attention_plan_destroy((*C.sage_attention_plan)(native)) }
		lent = append(append(lent, e.handle.lent...), constants...)
		plan = &AttentionPlan{handle: newHandle("the plan", made.handle, free, lent...)}
		plan.backend = C.GoString(C.sage_attention_plan_backend((*C.sage_attention_plan)(made.handle)))
		guard(plan, func(p *AttentionPlan) *handle { return p.handle })
		return nil
	})
	return plan, err
}

// Close always returns nil. Contexts of it stay usable.
func (p *AttentionPlan) Close() error {
	if p != nil {
		p.handle.close()
	}
	return nil
}

func (p *AttentionPlan) enter() (*C.sage_attention_plan, error) {
	if p == nil {
		return nil, closed("the plan")
	}
	if err := p.handle.enter(); err != nil {
		return nil, err
	}
	return (*C.sage_attention_plan)(p.handle.native), nil
}

// Backend is the name of the one that was chosen.
func (p *AttentionPlan) Backend() string { return p.backend }

// Explain is JSON: what was chosen, what the others said, what it should cost.
func (p *AttentionPlan) Explain() ([]byte, error) {
	native, err := p.enter()
	if err != nil {
		return nil, err
	}
	defer p.handle.leave()
	return fetch(nil, true, func(buffer []byte) (uint64, error) {
		at, capacity := room(buffer)
		return number(C.sage_go_plan_explain(native, at, capacity))
	})
}

// AttentionMemory is what a plan needs at its planned shapes, in bytes; MaxUint64 where a count does not fit.
type AttentionMemory struct {
	Q, K, V, O        uint64 // axes that repeat by stride 0 once
	Other             uint64 // masks, bias, lengths and what else the op names
	Scratch           uint64 // what a context allocates
	WorkingSet        uint64 // of scratch: what does not grow with the keys
	PackedKV          uint64 // of scratch
	Partials          uint64 // of scratch: partial results of split keys
	Prepack           uint64 // constants packed by the plan; not in the totals
	Total             uint64 // tensors and scratch
	Scores            uint64 // one whole score matrix
	ScoresAvoided     uint64 // of it, what the scratch does not hold
	TotalWithScores   uint64 // tensors and scores
	ScoresOverScratch float64
	TotalsRatio       float64 // TotalWithScores over Total
	KeysOverBlockKV   float64 // how many tiles a row has
}

// Memory is known before anything is allocated.
func (p *AttentionPlan) Memory() (AttentionMemory, error) {
	native, err := p.enter()
	if err != nil {
		return AttentionMemory{}, err
	}
	defer p.handle.leave()
	var m C.sage_attention_memory
	if err := take(C.sage_go_plan_memory(native, &m)); err != nil {
		return AttentionMemory{}, err
	}
	return AttentionMemory{
		Q: uint64(m.q_bytes), K: uint64(m.k_bytes), V: uint64(m.v_bytes), O: uint64(m.o_bytes), Other: uint64(m.other_bytes),
		Scratch: uint64(m.scratch_bytes), WorkingSet: uint64(m.working_set_bytes), PackedKV: uint64(m.packed_kv_bytes),
		Partials: uint64(m.partials_bytes), Prepack: uint64(m.prepack_bytes), Total: uint64(m.total_bytes),
		Scores: uint64(m.scores_bytes), ScoresAvoided: uint64(m.scores_avoided_bytes),
		TotalWithScores: uint64(m.total_with_scores_bytes), ScoresOverScratch: float64(m.scores_over_scratch),
		TotalsRatio: float64(m.totals_ratio), KeysOverBlockKV: float64(m.keys_over_block_kv)}, nil
}

// AttentionContext is the workspace of one caller of a plan.
type AttentionContext struct {
	handle *handle
	one    one
}

// NewContext allocates what a run needs.
func (p *AttentionPlan) NewContext() (*AttentionContext, error) {
	native, err := p.enter()
	if err != nil {
		return nil, err
	}
	defer p.handle.leave()
	made := C.sage_go_context_create(native)
	if made.error != nil {
		return nil, take(made.error)
	}
	free := func(native unsafe.Pointer) { C.sage_attention_context_destroy((*C.sage_attention_context)(native)) }
	c := &AttentionContext{handle: newHandle("the context", made.handle, free, p.handle.lent...)}
	return guard(c, func(c *AttentionContext) *handle { return c.handle }), nil
}

// Close always returns nil.
func (c *AttentionContext) Close() error {
	if c != nil {
		c.handle.close()
	}
	return nil
}

// Run runs the op, whose slots are as planned, with data; dynamic axes may be smaller. It returns when the outputs are
// ready; when ctx is done it stops with an error that is ErrCancelled and ctx.Err(). It allocates nothing where ctx
// cannot be cancelled.
func (c *AttentionContext) Run(ctx context.Context, op *AttentionOp) error {
	if err := op.check(); err != nil {
		return err
	}
	if c == nil {
		return closed("the context")
	}
	if err := c.handle.enter(); err != nil {
		return err
	}
	defer c.handle.leave()
	if op.lent {
		buffers, err := retainAll(op.buffers())
		if err != nil {
			return err
		}
		defer releaseAll(buffers)
	}
	if err := c.one.begin(ctx, "context"); err != nil {
		return err
	}
	defer c.one.end()
	if ctx.Done() == nil {
		return c.call(op)
	}
	return watched(ctx, func() error { return c.call(op) }, c.stop)
}

func (c *AttentionContext) call(op *AttentionOp) error {
	native, p := C.uintptr_t(uintptr(c.handle.native)), &op.data
	if op.count <= 4 {
		return take(C.sage_go_attention_run4(native, &op.flat[0], C.uint32_t(op.count), p[0], p[1], p[2], p[3]))
	}
	return take(C.sage_go_attention_run(native, &op.flat[0], C.uint32_t(op.count), p[0], p[1], p[2], p[3], p[4], p[5], p[6],
		p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16], p[17], p[18], p[19], p[20], p[21], p[22], p[23],
		p[24], p[25], p[26], p[27]))
}

// Cancel stops the run in progress with ErrCancelled; without one it does nothing. From any goroutine.
func (c *AttentionContext) Cancel() {
	if c == nil || c.handle.enter() != nil {
		return
	}
	c.stop()
	c.handle.leave()
}

// stop is Cancel inside a call.
func (c *AttentionContext) stop() {
	C.sage_attention_cancel((*C.sage_attention_context)(c.handle.native))
}
