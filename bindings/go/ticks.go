package sage

// A stream of ticks, line by line.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

// MaxTick is how long a line may be, in bytes.
const MaxTick = 16 << 20

// Ticks gives a session one tick a line and hands out one decision each, as a bufio.Scanner does lines:
//
//	ticks := session.Ticks(ctx, file)
//	for ticks.Next() {
//		fmt.Printf("%s\n", ticks.Record())
//	}
//	if err := ticks.Err(); err != nil { ... }
type Ticks struct {
	session *Session
	ctx     context.Context
	lines   *bufio.Reader
	line    []byte
	record  []byte
	refused error
	err     error
}

// Ticks reads until the end of lines, an error that is not a bad tick's, or until ctx is done.
func (s *Session) Ticks(ctx context.Context, lines io.Reader) *Ticks {
	return &Ticks{session: s, ctx: ctx, lines: bufio.NewReaderSize(lines, 64<<10)}
}

// Next runs the next tick; false at the end. A bad tick does not end the stream: Refused tells of it.
func (t *Ticks) Next() bool {
	if t.err != nil {
		return false
	}
	t.record, t.refused = nil, nil
	if err := t.read(); err != nil {
		t.err = err
		return false
	}
	t.record, t.err = t.session.Tick(t.ctx, t.line)
	if errors.Is(t.err, ErrBadData) {
		t.refused, t.err = t.err, nil
	}
	return t.err == nil
}

// read takes the next line. Of one beyond MaxTick the beginning is kept, which the session then refuses, and the rest is
// dropped.
func (t *Ticks) read() error {
	t.line = t.line[:0]
	for some := false; ; some = true {
		if err := undone(t.ctx, "the tick was read"); err != nil {
			return err
		}
		part, err := t.lines.ReadSlice('\n')
		if room := MaxTick + 2 - len(t.line); len(part) > room {
			t.line = append(t.line, part[:room]...)
		} else {
			t.line = append(t.line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && (some || len(part) > 0): // the last line needs no newline
		case err != nil:
			return err
		}
		t.line = bytes.TrimSuffix(t.line, []byte{'\n'})
		return nil
	}
}

// Record is the decision of this tick, the error record where it was refused.
func (t *Ticks) Record() []byte { return t.record }

// Decision is Record as a value.
func (t *Ticks) Decision() (Decision, error) { return ParseDecision(t.record) }

// Refused is why this tick was refused; nil: it was not.
func (t *Ticks) Refused() error { return t.refused }

// Err is what ended the stream; nil: its end.
func (t *Ticks) Err() error {
	if t.err == io.EOF {
		return nil
	}
	return t.err
}
