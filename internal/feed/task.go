package feed

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unique"

	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Task is a task with what it names, compiled when first asked for. It never changes:
// a change makes another.
type Task struct {
	policy.Task
	set atomic.Pointer[policy.TaskSet]
}

// Set is what the task names. An error means: deny.
func (t *Task) Set() (*policy.TaskSet, error) {
	if s := t.set.Load(); s != nil {
		return s, nil
	}
	s, err := policy.NewTaskSet(t.Task)
	if err == nil {
		t.set.Store(s)
	}
	return s, err
}

// Task returns the task of that id; one that ended long ago may be unknown.
func (v *View) Task(id string) (*Task, bool) { return v.now.Load().tasks.get(id) }

// working returns nil when the token's task goes on and is its bearer's.
func (st *state) working(c *token.Claims, now time.Time) error {
	if c.Task == "" {
		return nil
	}
	t, ok := st.tasks.get(c.Task)
	if !ok {
		return fmt.Errorf("its task %s is unknown", c.Task)
	}
	err := t.Going(now)
	if err == nil {
		err = t.For(c.Chain)
	}
	if err != nil {
		return fmt.Errorf("its %w", err)
	}
	return nil
}

// task keeps of one that is closed only that it is, and that for as long as a token of it may be about.
func (st *state) task(t policy.Task) (*Stop, error) {
	if t.ID == "" || t.Identity.IsZero() || t.Until.IsZero() {
		return nil, errors.New("task without an id, an identity or an end")
	}
	share(&t.On)
	_, known := st.tasks.get(t.ID)
	if len(t.Asked) > 0 {
		defer st.view.answers.Ring()
	}
	if t.State != policy.TaskOpen {
		t = policy.Task{ID: t.ID, Identity: t.Identity, State: t.State, Until: t.Closed.Add(time.Hour), Closed: t.Closed}
	}
	st.tasks.put(t.ID, &Task{Task: t})
	if st.taskCount--; st.taskCount <= 0 {
		now := st.view.Now()
		st.taskCount = 1024 + st.tasks.sweep(func(t *Task) bool { return now.After(t.Until.Add(time.Minute)) })
	}
	if !known {
		return nil, nil
	}
	return &Stop{Task: t.ID}, nil
}

// Spent says that too little of a task's budget is left.
type Spent struct {
	Task, Kind string
	Limit      int64
	Left       int64 // not given out to any gateway
}

func (s *Spent) Error() string {
	return fmt.Sprintf("%s of %s: too little is left of %d (%d)", s.Kind, s.Task, s.Limit, s.Left)
}

// share makes strings that many things hold one string in memory.
func share[S ~string](list ...*S) {
	for _, s := range list {
		*s = unique.Make(*s).Value()
	}
}
