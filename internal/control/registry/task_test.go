package registry_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func work(who string, life time.Duration) registry.Work {
	return registry.Work{Identity: who, Purpose: "tests", Scope: []policy.Grant{{Upstream: "mail", Actions: []string{"read"}}}, Until: registry.For(life)}
}

// TestTaskEnds: a task ends by itself, and with its identity.
func TestTaskEnds(t *testing.T) {
	w := open(t)
	var one, two policy.Task
	w.do(func(c *registry.Change) (err error) {
		if one, err = c.OpenTask(work("bot", time.Hour)); err == nil {
			two, err = c.OpenTask(work("bot", 2*time.Hour))
		}
		return err
	})
	state := func(id string) policy.TaskState {
		var k policy.Task
		if err := w.Store.Read(t.Context(), func(tx *store.Tx) (err error) { k, err = tx.Task(id); return err }); err != nil {
			t.Fatal(err)
		}
		return k.State
	}
	next, err := w.Expire(t.Context())
	if err != nil || !next.Equal(one.Until) {
		t.Error(next, err)
	}
	w.set(one.Until)
	if next, err = w.Expire(t.Context()); err != nil || !next.Equal(two.Until) || state(one.ID) != policy.TaskClosed || state(two.ID) != policy.TaskOpen {
		t.Error(next, err, state(one.ID), state(two.ID))
	}
	w.do(func(c *registry.Change) error { return c.CloseTask(one.ID, "again") })
	w.do(func(c *registry.Change) error {
		_, err := c.Transition("bot", identity.Retired, "retire", "", registry.End{})
		return err
	})
	if state(two.ID) != policy.TaskClosed {
		t.Error("a retired identity has an open task")
	}
	w.fails("takes no task", func(c *registry.Change) error { _, err := c.OpenTask(work("bot", time.Hour)); return err })
	w.fails("there is no task", func(c *registry.Change) error { return c.CloseTask("task_x", "") })
}

// TestCounters: a counter counts what there is to be counted, and a task keeps it as it was.
func TestCounters(t *testing.T) {
	w := open(t)
	put := func(counters map[string]policy.Counter) func(*registry.Change) error {
		return func(c *registry.Change) error {
			_, err := c.PutUpstream(policy.Upstream{Name: "mail", URL: "http://127.0.0.1:1", Owner: "maya", Family: "patterns", Counters: counters,
				Description: []byte("GET /m/{id} -> m.read read /m/{id}\nPOST /m -> m.send write /m")}, nil)
			return err
		}
	}
	for says, counters := range map[string]map[string]policy.Counter{
		"no name for one":     {"calls": {Actions: []string{"m.read"}, Argument: "id"}},
		"counters.x":          {"x": {}},
		"no argument":         {"x": {Actions: []string{"m.read"}, Argument: "amount"}},
		"has no action":       {"x": {Actions: []string{"m.pay"}, Argument: "id"}},
		"none of its actions": {"x": {Actions: []string{"delete"}, Argument: "id"}},
		"m.send has no":       {"x": {Actions: []string{"m.*"}, Argument: "id"}},
	} {
		w.fails(says, put(counters))
	}
	w.do(put(map[string]policy.Counter{"ids": {Actions: []string{"m.read"}, Argument: "id"}}))
	var k policy.Task
	w.do(func(c *registry.Change) (err error) {
		in := work("bot", time.Hour)
		in.Budget = policy.Budget{"ids": 5}
		k, err = c.OpenTask(in)
		return err
	})
	w.do(put(nil))
	if len(k.Counts) != 1 || k.Counts[0].Name != "ids" || k.Counts[0].Upstream != "mail" || k.Counts[0].Argument != "id" {
		t.Errorf("%+v", k.Counts)
	}
	w.fails("counts", func(c *registry.Change) error {
		in := work("bot", time.Hour)
		in.Budget = policy.Budget{"ids": 5}
		_, err := c.OpenTask(in)
		return err
	})
}

// TestTasksRequired: an identity acts under tasks alone when that is said, and in no other word.
func TestTasksRequired(t *testing.T) {
	w := open(t)
	in := bot("bot")
	in.Tasks = "always"
	w.fails("use required", func(c *registry.Change) error { _, _, err := c.PutIdentity(in); return err })
	in.Tasks = identity.TasksRequired
	w.do(func(c *registry.Change) error {
		i, out, err := c.PutIdentity(in)
		if i.Tasks != identity.TasksRequired || !out.Changed() {
			t.Error(i, out)
		}
		return err
	})
}

// sizes counts what is made while the ledger has each size: how much one transaction does.
type sizes struct {
	*world
	made map[int64]int
}

func (s sizes) Read(b []byte) (int, error) {
	s.made[s.Store.Size()]++
	return rand.Read(b)
}

// TestManyTasksEnd: however many end at one moment, others need not wait for all of them.
func TestManyTasksEnd(t *testing.T) {
	w := open(t)
	const many = 700
	w.do(func(c *registry.Change) (err error) {
		for range many {
			_, err2 := c.OpenTask(work("bot", time.Hour))
			err = errors.Join(err, err2)
		}
		return err
	})
	w.set(w.now.Add(2 * time.Hour))
	s := sizes{w, map[int64]int{}}
	w.Rand = s
	before := w.Store.Size()
	if next, err := w.Expire(t.Context()); err != nil || w.Store.Size() != before+many {
		t.Errorf("%v, %v, %d of %d", next, err, w.Store.Size()-before, many)
	}
	if len(s.made) != 2 {
		t.Errorf("in one transaction: %v", s.made)
	}
}
