// A SAGE graph over a stream of ticks: `ticks MODEL TICKS` prints what each tick decided. MODEL is binary, as
// `sage-engine convert model.json model.fbs` makes it; TICKS has one JSON object a line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

	"sageengine/sage"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: ticks MODEL TICKS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(modelPath, ticksPath string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	engine, err := sage.Open()
	if err != nil {
		return err
	}
	defer engine.Close()
	model, err := engine.LoadModel(modelPath)
	if err != nil {
		return err
	}
	defer model.Close()
	session, err := model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	file, err := os.Open(ticksPath)
	if err != nil {
		return err
	}
	defer file.Close()

	count, refused := 0, 0
	ticks := session.Ticks(ctx, file)
	for ticks.Next() {
		count++
		if err := ticks.Refused(); err != nil { // a bad tick: nothing changed, the stream goes on
			refused++
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		decision, err := ticks.Decision()
		if err != nil {
			return err
		}
		if decision.State == nil { // not a metabolic graph
			fmt.Printf("%8.2f s  %s\n", decision.TS, decision.Decisions)
			continue
		}
		var atp map[string]float64
		if err := json.Unmarshal(decision.Decisions, &atp); err != nil {
			return err
		}
		best := ""
		for target := range atp {
			if best == "" || atp[target] > atp[best] || atp[target] == atp[best] && target < best {
				best = target
			}
		}
		fmt.Printf("%8.2f s  %-7s most to %s (%.1f ATP)\n", decision.TS, decision.State, best, atp[best])
	}
	if err := ticks.Err(); err != nil {
		return err
	}
	fmt.Printf("%d ticks, %d refused\n", count, refused)
	return nil
}
