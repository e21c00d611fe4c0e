package feed

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

func taskOf(name, id string, until time.Time) *policy.Task {
	return &policy.Task{ID: id, Identity: agent(name), Purpose: "tests", State: policy.TaskOpen, Until: until,
		Scope: []policy.Grant{{ID: id + "/0", Identity: agent(name), Upstream: "mail", Cedar: `permit(principal, action in Lanyard::Action::"read", resource);`, Until: until}}}
}

// TestTask: a token for a task is good while that goes on and by those whose it is.
func TestTask(t *testing.T) {
	v := office(t)
	var stops []Stop
	v.OnStop(func(s Stop) { stops = append(stops, s) })
	check := func(name, task, says string) {
		t.Helper()
		c := claims(name)
		c.Task = task
		err := v.Check(c, now)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s for %q: %v, want %q", name, task, err, says)
		}
	}
	check("bot", "task_1", "its task task_1 is unknown")
	apply(t, v, Change{Task: taskOf("bot", "task_1", later)}, Change{Task: taskOf("bot", "task_2", now)})
	check("bot", "task_1", "")
	check("bot", "", "")
	check("bot", "task_2", "its task task_2 ended")
	check("other", "task_1", "another identity's")
	k, ok := v.Task("task_1")
	if !ok {
		t.Fatal("there is no task")
	}
	set, err := k.Set()
	if err != nil || len(set.Names(ask("messages.list", policy.Read))) != 1 || len(set.Names(ask("messages.send", policy.Write))) != 0 {
		t.Error("what it names", err)
	}
	if again, _ := k.Set(); again != set {
		t.Error("it is compiled twice")
	}
	if len(stops) != 0 {
		t.Errorf("opening stops %+v", stops)
	}
	closed := *taskOf("bot", "task_1", later)
	closed.State, closed.Closed = policy.TaskClosed, now
	apply(t, v, Change{Task: &closed})
	check("bot", "task_1", "is closed")
	if k, _ := v.Task("task_1"); len(k.Scope) != 0 {
		t.Error("a closed task is kept whole")
	}
	if len(stops) != 1 || stops[0].Task != "task_1" {
		t.Fatalf("%+v", stops)
	}
	with, without := claims("bot"), claims("bot")
	with.Task = "task_1"
	if !stops[0].Touches(&with, "mail") || stops[0].Touches(&without, "mail") {
		t.Error("whom it touches")
	}
	for _, bad := range []policy.Task{{}, {ID: "task_3", Until: later}, {ID: "task_3", Identity: agent("bot")}, {Identity: agent("bot"), Until: later}} {
		if v.Apply(Change{Task: &bad}) == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// TestTasksAreForgotten: those that ended do not stay for ever.
func TestTasksAreForgotten(t *testing.T) {
	v := office(t)
	at := now
	v.Now = func() time.Time { return at }
	for i := range 10_000 {
		apply(t, v, Change{Task: taskOf("bot", fmt.Sprint("task_", i), at.Add(time.Second))})
		at = at.Add(time.Second)
	}
	if n := v.now.Load().tasks.sweep(func(*Task) bool { return false }); n > 2500 {
		t.Errorf("%d tasks are held, of which one goes on", n)
	}
	if _, ok := v.Task("task_9999"); !ok {
		t.Error("the last one is forgotten")
	}
}
