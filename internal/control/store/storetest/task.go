package storetest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// tasks: they are found, listed and ended by time; what was given of a budget is kept whatever else
// changes; and a snapshot has those that go on.
func tasks(t *testing.T, k kit) {
	var clock Clock
	k.Now = clock.Now
	db := k.open()
	task := func(id string, until time.Duration, state policy.TaskState) policy.Task {
		return policy.Task{ID: id, Identity: bot, Purpose: "tests", Scope: []policy.Grant{grant}, Budget: policy.Budget{"calls": 10}, Until: Epoch.Add(until), State: state, Created: Epoch, By: "operator:test"}
	}
	one, two, three := task("task_1", time.Hour, policy.TaskOpen), task("task_2", time.Minute, policy.TaskOpen), task("task_3", time.Hour, policy.TaskClosed)
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("x"))
		return errors.Join(world(tx), tx.PutTask(one), tx.PutTask(two), tx.PutTask(three), tx.PutGiven("task_1", store.Given{"gw": {"calls": 1}, "gw-2": {"calls": 2}}))
	})
	clock.Pass(time.Minute)
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("x"))
		one.Purpose = "more tests"
		return tx.PutTask(one)
	})
	k.read(db, func(tx *store.Tx) error {
		got, err := tx.Task("task_1")
		if !reflect.DeepEqual(got, one) {
			t.Errorf("%+v", got)
		}
		given, err2 := tx.Given("task_1")
		none, err3 := tx.Given("task_2")
		if given["gw"]["calls"] != 1 || given.All()["calls"] != 3 || len(none) != 0 {
			t.Error(given, none)
		}
		ending, err4 := tx.EndingTasks(10)
		if len(ending) != 1 || ending[0].ID != "task_2" {
			t.Error(ending)
		}
		next, err5 := tx.NextTaskEnd()
		if next != two.Until.UnixMicro() {
			t.Error(next)
		}
		n, err6 := tx.CountTasks(bot)
		if n != 2 {
			t.Error(n)
		}
		return errors.Join(err, err2, err3, err4, err5, err6)
	})
	for name, c := range map[string]struct {
		filter store.TaskFilter
		want   int
	}{
		"all": {store.TaskFilter{}, 3}, "open": {store.TaskFilter{State: policy.TaskOpen}, 2}, "some": {store.TaskFilter{Limit: 2}, 2}, "after": {store.TaskFilter{After: "task_2"}, 1},
		"of bot": {store.TaskFilter{Identity: bot}, 3}, "of another": {store.TaskFilter{Identity: identity.MustID("spiffe://lanyard.local/agent/other")}, 0},
	} {
		k.read(db, func(tx *store.Tx) error {
			list, err := tx.Tasks(c.filter)
			if len(list) != c.want {
				t.Errorf("%s: %d", name, len(list))
			}
			return err
		})
	}
	var sent []string
	for c, err := range db.Watch(t.Context(), feed.Cursor{}) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Task != nil {
			sent = append(sent, c.Task.ID)
		}
		if c.Synced {
			break
		}
	}
	if !reflect.DeepEqual(sent, []string{"task_1"}) {
		t.Error(sent)
	}
	askedFor(t, k, db, task)
	bad := task("task_4", time.Hour, policy.TaskOpen)
	bad.Identity = identity.MustID("spiffe://lanyard.local/agent/nobody")
	for name, f := range map[string]func(*store.Tx) error{
		"of nobody":        func(tx *store.Tx) error { return tx.PutTask(bad) },
		"given of no task": func(tx *store.Tx) error { return tx.PutGiven("task_9", nil) },
		"no task":          func(tx *store.Tx) error { _, err := tx.Task("task_9"); return err },
		"given, unknown":   func(tx *store.Tx) error { _, err := tx.Given("task_9"); return err },
	} {
		_, err := db.Write(t.Context(), func(tx *store.Tx) error { tx.Record(Event("x")); return f(tx) })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k.must(db.UnsafeExec("UPDATE tasks SET given = $1 WHERE id = 'task_2'", []byte(`{"calls":4}`)))
	k.read(db, func(tx *store.Tx) error {
		old, err := tx.Given("task_2")
		if old.All()["calls"] != 4 || old["gw"] != nil {
			t.Errorf("of before it was kept who drew: %v", old)
		}
		return err
	})
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.PutGiven("task_1", store.Given{"gw": {"calls": 4}}) }); !errors.Is(err, store.ErrUnrecorded) {
		t.Errorf("without an event: %v", err)
	}
}

// askedFor: what waits for a person is found by who asked and by who is asked, ends when it is too late, and is nobody else's
// business: the feed gets it when it is decided.
func askedFor(t *testing.T, k kit, db *store.DB, task func(string, time.Duration, policy.TaskState) policy.Task) {
	waits := task("task_5", time.Hour, policy.TaskWaiting)
	waits.On, waits.AnswerBy = "maya", Epoch.Add(30*time.Minute)
	denied := task("task_6", time.Hour, policy.TaskDenied)
	denied.On, denied.AnswerBy = "maya", Epoch.Add(time.Minute) // is now: she can be asked again
	before := db.Head()
	note := db.NextNote()
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("x"))
		return errors.Join(tx.PutTask(waits), tx.PutNote(store.Note{ID: "note_t", Door: "mail", Approval: waits.ID, Made: tx.Now()}))
	})
	if db.Head() != before {
		t.Error("the feed has a task that waits")
	}
	select {
	case <-note:
	default:
		t.Error("who tells people does not hear that there is something to tell")
	}
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("x"))
		return errors.Join(tx.PutTask(denied), tx.DeleteNote("note_t"))
	})
	if db.Head() == before {
		t.Error("nobody hears that a task was denied")
	}
	k.read(db, func(tx *store.Tx) error {
		n, err := tx.CountAsked(bot)
		hers, err2 := tx.TasksFor("maya", policy.TaskWaiting, 10)
		nobodys, err3 := tx.TasksFor("", policy.TaskOpen, 10)
		asked, err4 := tx.AskedFor(bot, "maya")
		next, err5 := tx.NextTaskEnd()
		if n != 1 || len(hers) != 1 || len(nobodys) != 0 || len(asked) != 1 || asked[0].ID != waits.ID || next > waits.AnswerBy.UnixMicro() {
			t.Error(n, hers, nobodys, asked, next)
		}
		return errors.Join(err, err2, err3, err4, err5)
	})
}
