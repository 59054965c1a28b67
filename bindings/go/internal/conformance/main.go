// The conformance runner of Go: walks tests/vectors as the README there says, through package sage.
package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strings"

	"sageengine/sage"
)

// runner holds what the steps of a case share.
type runner struct {
	folder, plugin string
	output         *strings.Builder
	words          []string
	rest           string // of the line, behind the step's name

	name          string
	engineOptions []sage.Option
	planOptions   []sage.Option
	place         int
	tensors       map[sage.Slot]*tensor
	fields        [][2]string // of `set`
	engine        *sage.Engine
	engineFailed  bool
	plan          *sage.AttentionPlan
	model         *sage.Model
	session       *sage.Session
	bound         map[int][]byte
	buffers       []*sage.Buffer[byte]
	snapshot      []byte
	decision      sage.GateDecision
}

func main() {
	if len(os.Args) != 3 {
		fail("usage: conformance FOLDER PLUGIN")
	}
	r := &runner{folder: os.Args[1], plugin: os.Args[2], output: new(strings.Builder)}
	r.constants()
	lines := strings.Split(strings.TrimSuffix(string(r.file("conformance.txt")), "\n"), "\n")
	if lines[0] != "sage-vectors 1" {
		fail("conformance.txt is of another version than 1")
	}
	for _, line := range lines[1:] {
		if line != "" && line[0] != '#' {
			r.step(line)
		}
	}
	r.end()
	fmt.Print(r.output.String())
	fmt.Printf("digest %s\n", hash([]byte(r.output.String())))
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "conformance runner: "+format+"\n", arguments...)
	os.Exit(2)
}

func hash(data []byte) string {
	h := fnv.New64a()
	h.Write(data)
	return fmt.Sprintf("%016x", h.Sum64())
}

// must is for what the runner itself cannot do without.
func must[T any](made T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return made
}

func (r *runner) file(name string) []byte { return must(os.ReadFile(r.folder + "/" + name)) }

func (r *runner) constants() {
	mine := sage.Constants()
	for _, line := range strings.Split(strings.TrimSpace(string(r.file("constants.txt"))), "\n") {
		name := strings.Fields(line)[1]
		if value, ok := mine[name]; ok {
			fmt.Fprintf(r.output, "constant %s %d\n", name, value)
		} else {
			fmt.Fprintf(r.output, "constant %s missing\n", name)
		}
	}
}

func (r *runner) step(line string) {
	r.words = strings.Fields(line)
	_, r.rest, _ = strings.Cut(line, " ")
	switch r.words[0] {
	case "case":
		r.end()
		*r = runner{folder: r.folder, plugin: r.plugin, output: r.output, name: r.words[1],
			tensors: map[sage.Slot]*tensor{}, bound: map[int][]byte{}}
	case "option":
		r.engineOptions = append(r.engineOptions, sage.WithOption(r.words[1], r.words[2]))
	case "plan_option":
		r.planOptions = append(r.planOptions, sage.WithOption(r.words[1], r.words[2]))
	case "scenario":
		r.scenario(r.words[1])
	default:
		if !r.attentionStep() && !r.modelStep() && !r.sparseStep() && !r.quantizeStep() {
			fail("unknown step %s", r.words[0])
		}
	}
}

// end closes what the case made.
func (r *runner) end() {
	r.session.Close()
	r.model.Close()
	r.plan.Close()
	r.engine.Close()
	for _, buffer := range r.buffers {
		buffer.Close()
	}
}

func (r *runner) say(format string, arguments ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, arguments...), r.folder, "FOLDER")
	fmt.Fprintf(r.output, "%s: %s\n", r.name, text)
}

// succeeded says the error, if there is one.
func (r *runner) succeeded(err error) bool {
	if err == nil {
		return true
	}
	mine := own(err)
	r.say("%s %s", mine.Status.Name(), strings.ReplaceAll(mine.Message, "\n", "|"))
	return false
}

func (r *runner) has(there bool) bool {
	if !there {
		r.say("skipped")
	}
	return there
}

// getEngine makes the case's engine when it is first needed.
func (r *runner) getEngine() bool {
	if r.engine != nil || r.engineFailed {
		return r.has(r.engine != nil)
	}
	var err error
	r.engine, err = sage.Open(r.engineOptions...)
	r.engineFailed = !r.succeeded(err)
	return err == nil
}

func status(err error) string {
	if err == nil {
		return "SAGE_OK"
	}
	return own(err).Status.Name()
}

func own(err error) (mine *sage.Error) {
	if !errors.As(err, &mine) {
		fail("%T is not the binding's error: %v", err, err)
	}
	return mine
}

func isJSON(text []byte, part string) bool {
	return len(text) >= 2 && text[0] == '{' && text[len(text)-1] == '}' && strings.Contains(string(text), part)
}
