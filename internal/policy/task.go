package policy

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Task is one piece of work: who does it, on whose behalf, for what, with how much,
// until when. It gives nothing that is not granted; under it only what it names may
// be done of what is. Only its State and what comes with that ever change.
type Task struct {
	ID       string           `json:"id"`              // "task_..."
	Identity identity.ID      `json:"identity"`        // who works on it, or starts others to
	On       identity.OwnerID `json:"on,omitempty"`    // on whose behalf; empty: nobody's
	Purpose  string           `json:"purpose"`         // one sentence, for people
	Words    string           `json:"words,omitempty"` // what the user said, in the user's own words
	Scope    []Grant          `json:"scope"`           // what it needs; each compiled as a grant is
	Budget   Budget           `json:"budget,omitempty"`
	Counts   []Count          `json:"counts,omitempty"` // how the upstreams count what Budget limits, as it was when the task was opened
	Until    time.Time        `json:"until"`
	State    TaskState        `json:"state"`
	Created  time.Time        `json:"created"`
	Closed   time.Time        `json:"closed,omitzero"`
	By       string           `json:"by"` // who opened it, or asked for it: a SPIFFE ID, or "operator:<name>"

	// Of a task that the person it is on behalf of was asked for:
	Asked    identity.Chain `json:"asked,omitempty"`    // who asked, and last the person, as they were then
	AnswerBy time.Time      `json:"answer_by,omitzero"` // when it is too late for an answer; of one that was denied, when that person can be asked again
	Note     string         `json:"note,omitempty"`     // what the person said to it
}

// TaskState says whether a task goes on.
type TaskState string

const (
	TaskWaiting TaskState = "waiting" // for the yes of the person it is on behalf of; good for nothing, and gateways do not know of it
	TaskOpen    TaskState = "open"
	TaskDenied  TaskState = "denied" // by that person, for good
	TaskClosed  TaskState = "closed" // for good
)

// Budget is how much of each kind: of [Calls], of [Bytes], and of what counters of
// upstreams count. As the limit of a task, a kind that is not in it has no limit.
type Budget map[string]int64

// The kinds that are counted without an upstream's saying so.
const (
	Calls = "calls"
	Bytes = "bytes" // of bodies, both ways
)

// MaxBudget is the most that a kind may be limited to: what a JSON number holds exactly.
const MaxBudget = 1 << 53

// Counter says which argument of which actions is an amount of something: money,
// messages, whatever the upstream calls it.
type Counter struct {
	Actions  []string `json:"actions"` // class names, action names, or globs of action names
	Argument string   `json:"argument"`
}

// Count is a counter of one upstream.
type Count struct {
	Name     string `json:"name"`
	Upstream string `json:"upstream"`
	Counter
}

// ValidCounter reports whether name can be that of a counter.
func ValidCounter(name string) bool {
	return identity.ValidName(name) && name != Calls && name != Bytes
}

// Check finds what is wrong with a counter of u, whose actions d knows.
func (c Counter) Check(d Described) error {
	if c.Argument == "" || len(c.Actions) == 0 {
		return errors.New("say which argument of which actions is counted")
	}
	selected, err := Grant{Actions: c.Actions}.selected(d)
	if err != nil {
		return err
	}
	if len(selected) == 0 {
		return errors.New("none of its actions is counted")
	}
	for _, a := range selected {
		if !slices.ContainsFunc(a.Parameters, func(p Parameter) bool {
			return p.Name == c.Argument && (p.Type == "integer" || p.Type == "string")
		}) {
			return fmt.Errorf("%s has no argument %q that can be a whole number; it has %s", a.Name, c.Argument, arguments([]Action{a}))
		}
	}
	return nil
}

// Of reports whether the call is counted.
func (c Count) Of(call Call) bool {
	return c.Upstream == call.Upstream && slices.ContainsFunc(c.Actions, func(word string) bool {
		ok, _ := path.Match(word, call.Action)
		said, _ := path.Match(word, call.Word)
		return ok || word == call.Action || word == string(call.Class) || said && call.Word != ""
	})
}

// Amount is what the call asks for: a whole number that is not negative.
func (c Count) Amount(call Call) (int64, error) {
	switch v := call.Arguments[c.Argument].(type) {
	case int64:
		if v >= 0 {
			return v, nil
		}
	case string:
		if n, err := strconv.ParseUint(v, 10, 63); err == nil {
			return int64(n), nil
		}
	case nil:
		return 0, fmt.Errorf("argument %s is missing", c.Argument)
	}
	return 0, fmt.Errorf("argument %s is no whole number from 0 to %d", c.Argument, int64(math.MaxInt64))
}

// Slice is how much of what remains of a kind is given out at once when need is
// asked for: enough that a gateway need not ask for each call, and so little that
// one that dies takes little with it. What an upstream counts is given as it is
// needed. It is 0 when there is not enough.
func Slice(kind string, remains, need int64) int64 {
	ahead := int64(0)
	switch kind {
	case Calls:
		ahead = min(remains/8, 256)
	case Bytes:
		ahead = min(remains/8, 8<<20)
	}
	if need > remains {
		return 0
	}
	return max(need, ahead)
}

// TaskSet is what a task names, precompiled.
type TaskSet struct{ set Set }

// NewTaskSet compiles the scope of t, which must not change afterwards.
func NewTaskSet(t Task) (*TaskSet, error) {
	s := &TaskSet{Set{subject: Subject{ID: t.Identity}, principal: types.NewEntityUID(principalType(t.Identity.Kind()), types.String(t.Identity.String()))}}
	for i := range t.Scope {
		g := &t.Scope[i]
		list, err := compileText(g.Common(), cedar.Permit)
		if err != nil {
			return nil, fmt.Errorf("scope of %s: %w", t.ID, err)
		}
		for _, p := range list {
			s.set.rules = append(s.set.rules, rule{program: p, key: cedar.PolicyID(g.ID), grant: g})
			s.set.traces = s.set.traces || p.traces
		}
	}
	return s, nil
}

// Names returns which parts of the scope name the call; none: it is not what the task is for.
func (s *TaskSet) Names(r Request) []string {
	if r.Upstream == nil || r.Upstream.Name != r.Call.Upstream || isClass(r.Call.Action) {
		return nil
	}
	q, err := s.set.question(&r)
	if err != nil {
		return nil
	}
	return q.ask(nil, s.set.rules).reasons
}

// Traces reports whether what the task names depends on where values came from.
func (s *TaskSet) Traces() bool { return s.set.traces }

// Weighs reports whether what the task names depends on these arguments of the call, as [Set.Weighs] does.
func (s *TaskSet) Weighs(r Request, names ...string) bool {
	q, err := s.set.question(&r)
	return err != nil || slices.ContainsFunc(s.set.rules, func(r rule) bool { return r.weighs(names) && r.concerns(&q) })
}

// May reports whether the task names some call of that action, as [Set.May] does.
func (s *TaskSet) May(r Request) bool {
	q, err := s.set.question(&r)
	return err == nil && slices.ContainsFunc(s.set.rules, func(r rule) bool { return r.concerns(&q) })
}

// Said is what the user said, if anybody but who works on the task stands for it: who operates Lanyard, or the person,
// who saw it before saying yes. An identity that opens a task for itself may write what it likes.
func (t *Task) Said() string {
	if strings.HasPrefix(t.By, "operator:") || len(t.Asked) > 0 {
		return t.Words
	}
	return ""
}

// Uses reports whether the scope names anything on the upstream.
func (t *Task) Uses(upstream string) bool {
	return slices.ContainsFunc(t.Scope, func(g Grant) bool { return g.Upstream == upstream })
}

// Going returns nil when the task is open at now, else an error that says why it is not.
func (t *Task) Going(now time.Time) error {
	switch {
	case t.State == TaskWaiting:
		return fmt.Errorf("task %s waits for the yes of %s", t.ID, t.On)
	case t.State == TaskDenied:
		return fmt.Errorf("task %s was denied", t.ID)
	case t.State != TaskOpen:
		return fmt.Errorf("task %s is closed", t.ID)
	case !now.Before(t.Until):
		return fmt.Errorf("task %s ended at %s", t.ID, t.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

// For returns nil when those of chain may work under the task: its identity is one
// of them, and they act for whom the task is for.
func (t *Task) For(chain identity.Chain) error {
	if !slices.ContainsFunc(chain, func(l identity.Link) bool { return l.ID == t.Identity }) {
		return fmt.Errorf("task %s is another identity's", t.ID)
	}
	if t.On != "" && chain.Root().Owner() != t.On {
		return fmt.Errorf("task %s is on behalf of %s, and it acts for somebody else", t.ID, t.On)
	}
	if len(t.Asked) > 0 && chain[len(chain)-1] != t.Asked[len(t.Asked)-1] {
		return fmt.Errorf("task %s was agreed to by %s before all that was done in that name was stopped", t.ID, t.On)
	}
	return nil
}
