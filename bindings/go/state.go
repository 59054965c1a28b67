package sage

// States of the metabolic graph, and decisions as Go values.

import (
	"encoding/json"
	"strings"
)

// MetabolicState is what the metabolic graph is in; its numbers are the schema's.
type MetabolicState uint8

const (
	Wake MetabolicState = iota
	Focus
	Rest
	Dream
	Crisis
)

var stateNames = [...]string{"WAKE", "FOCUS", "REST", "DREAM", "CRISIS"}

// String is "WAKE" and so on, as ticks and decisions write it.
func (s MetabolicState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// ParseMetabolicState reads a name in any case. "AUTO" is none: a tick's wish, not a state.
func ParseMetabolicState(name string) (MetabolicState, error) {
	for i, known := range stateNames {
		if strings.EqualFold(name, known) {
			return MetabolicState(i), nil
		}
	}
	return 0, refuse(ErrInvalidArgument, "%q is no metabolic state; known: %s", name, strings.Join(stateNames[:], ", "))
}

// MarshalText has encoding/json write the name.
func (s MetabolicState) MarshalText() ([]byte, error) {
	if int(s) >= len(stateNames) {
		return nil, refuse(ErrInvalidArgument, "%d is no metabolic state", uint8(s))
	}
	return []byte(stateNames[s]), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *MetabolicState) UnmarshalText(text []byte) (err error) {
	*s, err = ParseMetabolicState(string(text))
	return err
}

// Transition between states, of one tick.
type Transition struct {
	From     MetabolicState `json:"from"`
	To       MetabolicState `json:"to"`
	Trigger  string         `json:"trigger"` // the schema's field, or "forced"
	TS       float64        `json:"ts"`
	Salience float64        `json:"salience"`
}

// Decision is a tick's record, as docs/ticks.md describes it. Decisions and Budget differ by graph.
type Decision struct {
	TS          float64         `json:"ts"`
	Tick        uint64          `json:"tick"`
	State       *MetabolicState `json:"state"` // nil: a graph without states
	Transitions []Transition    `json:"transitions"`
	Decisions   json.RawMessage `json:"decisions"`
	Budget      json.RawMessage `json:"budget"`
	Backend     string          `json:"backend"`
	Flags       []string        `json:"flags"`
	Reason      string          `json:"reason"`
	Error       *TickError      `json:"error"` // of a bad tick; then the others are empty
}

// TickError is why a tick was refused.
type TickError struct {
	Code    string `json:"code"` // SAGE_E_RANGE, SAGE_E_SYNTAX ...
	At      string `json:"at"`   // the place in the tick
	Message string `json:"message"`
}

// ParseDecision reads what Tick returned.
func ParseDecision(record []byte) (d Decision, err error) {
	if err = json.Unmarshal(record, &d); err != nil {
		return d, refuse(ErrBadData, "a decision: %v", err)
	}
	return d, nil
}
