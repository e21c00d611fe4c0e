// Package history is what happened to a fleet while it was broken, one line of JSON for each
// operation, and what of that must not have happened. [Check] knows nothing of how it was
// made: only who asked for what, when that began and ended, what was answered, and when the
// upstream received what, all by CLOCK_BOOTTIME of one machine.
package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kind is what a line tells of.
type Kind string

// The kinds. Who and What are a gateway, control node, subject or name, as said.
const (
	Rules   Kind = "rules"   // the first line: what is promised, and to whom
	Request Kind = "request" // one through the gateway Who, by the subject What
	Got     Kind = "got"     // the upstream received the request ID, at Ended
	Off     Kind = "off"     // the node Who was asked that the subject What may do nothing any more
	On      Kind = "on"      // and that it may again
	Make    Kind = "make"    // and that there be a What
	Fault   Kind = "fault"   // What was broken: Ended is when it was whole again
	Made    Kind = "made"    // in the end there is a What
	May     Kind = "may"     // in the end the subject What may
	Event   Kind = "event"   // in the end the ledger has an event that the request ID was let pass
	Ledger  Kind = "ledger"  // the node Who has verified the ledger
	End     Kind = "end"     // the last line
)

// What an operation came to.
const (
	OK      = "ok"
	Refused = "refused" // nothing was changed, it was said
	Unknown = "unknown" // no answer, or one that leaves it open
)

// Line is one line.
type Line struct {
	Kind   Kind    `json:"kind"`
	Who    string  `json:"who,omitempty"`
	What   string  `json:"what,omitempty"`
	ID     string  `json:"id,omitempty"`
	Began  int64   `json:"began,omitempty"`
	Ended  int64   `json:"ended,omitempty"`
	Result string  `json:"result,omitempty"`
	Status int     `json:"status,omitempty"` // of a request; 0: no answer
	Text   string  `json:"text,omitempty"`   // for people
	Told   *Told   `json:"told,omitempty"`   // with an Off that is OK
	Rules  *Terms  `json:"rules,omitempty"`
	Broken *Broken `json:"broken,omitempty"`
}

// Told is a receipt.
type Told struct {
	Confirmed []string         `json:"confirmed"`
	Waiting   map[string]int64 `json:"waiting,omitempty"` // nanoseconds from when it was made
}

// Terms are what is promised.
type Terms struct {
	Gateways []string      `json:"gateways"`
	Nodes    []string      `json:"nodes"`
	Steady   string        `json:"steady"` // the subject that always may
	Lease    time.Duration `json:"lease"`
	Heal     time.Duration `json:"heal"`   // after a fault everything works again within that
	Gap      time.Duration `json:"gap"`    // and who has nothing to do with it is never away for longer
	Flight   time.Duration `json:"flight"` // a request that was under way at its bound may arrive by then: what this machine takes
}

// Broken is whom a fault concerns.
type Broken struct {
	Touches []string `json:"touches,omitempty"` // gateways that may refuse meanwhile
	Cuts    []string `json:"cuts,omitempty"`    // gateways that nobody can give a lease
	Evicted []string `json:"evicted,omitempty"` // gateways that are none meanwhile, and join anew soon after: no receipt has to name them
}

// Log writes a history.
type Log struct {
	mu  sync.Mutex
	out *bufio.Writer
	err error
}

// NewLog makes one that writes to w.
func NewLog(w io.Writer) *Log { return &Log{out: bufio.NewWriter(w)} }

// Add adds a line.
func (l *Log) Add(line Line) {
	b, err := json.Marshal(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.out.Write(append(b, '\n'))
	}
	l.err = errors.Join(l.err, err)
}

// Close writes what is left.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.out.Flush())
}

// Read reads a history.
func Read(r io.Reader) (list []Line, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l Line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(list)+1, err)
		}
		list = append(list, l)
	}
	return list, in.Err()
}
