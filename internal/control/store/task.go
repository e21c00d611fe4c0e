package store

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// PutTask adds or changes a task. What of its budget was given out stays as it is. While it
// waits for a person the feed does not have it.
func (tx *Tx) PutTask(t policy.Task) error {
	ends := t.Until
	if t.State == policy.TaskWaiting || t.State == policy.TaskDenied {
		ends = t.AnswerBy
	}
	_, err := tx.exec(`INSERT INTO tasks (id, identity, state, until, given, doc, person) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, until = excluded.until, doc = excluded.doc`,
		t.ID, t.Identity.String(), string(t.State), micros(ends), []byte("{}"), encode(t), string(t.On))
	if tx.changed = true; t.State != policy.TaskWaiting {
		tx.change(feed.Change{Task: &t})
	}
	return err
}

// Task returns the task of that id, or ErrNotFound.
func (tx *Tx) Task(id string) (policy.Task, error) {
	return one(tx, "SELECT doc FROM tasks WHERE id = $1", id, none[policy.Task], nil)
}

// TaskFilter selects tasks. Empty fields select all.
type TaskFilter struct {
	Identity identity.ID
	State    policy.TaskState
	Owners   []identity.OwnerID // of an identity of theirs, or on their behalf; nil: whoever
	After    string             // id: those after it
	Limit    int                // at most; 0 is all
}

// Tasks lists tasks by id.
func (tx *Tx) Tasks(f TaskFilter) ([]policy.Task, error) {
	if f.Limit == 0 {
		f.Limit = 1 << 30
	}
	w := &wheres{}
	w.add("id > ?", f.After)
	if !f.Identity.IsZero() {
		w.add("identity = ?", f.Identity.String())
	}
	if f.State != "" {
		w.add("state = ?", string(f.State))
	}
	if f.Owners != nil {
		w.tests = append(w.tests, "("+w.in("person", f.Owners)+" OR identity IN (SELECT id FROM identities WHERE "+w.in("owner", f.Owners)+"))")
	}
	return list(tx, doc[policy.Task], "SELECT doc FROM tasks "+w.text()+"ORDER BY id LIMIT "+strconv.Itoa(f.Limit), w.args...)
}

// CountTasks counts the open tasks of an identity.
func (tx *Tx) CountTasks(id identity.ID) (n int, err error) {
	return n, tx.row("SELECT COUNT(*) FROM tasks WHERE identity = $1 AND state = 'open'", []any{id.String()}, &n)
}

// CountAsked counts what an identity waits for people to agree to.
func (tx *Tx) CountAsked(id identity.ID) (n int, err error) {
	return n, tx.row("SELECT COUNT(*) FROM tasks WHERE identity = $1 AND state = 'waiting' AND until > $2", []any{id.String(), micros(tx.now)}, &n)
}

// TasksFor lists the tasks on a person's behalf in a state whose time has not come, the latest end first, at most limit.
func (tx *Tx) TasksFor(person identity.OwnerID, state policy.TaskState, limit int) ([]policy.Task, error) {
	return list(tx, doc[policy.Task], "SELECT doc FROM tasks WHERE person = $1 AND person <> '' AND state = $2 AND until > $3 ORDER BY until DESC, id LIMIT $4",
		string(person), string(state), micros(tx.now), limit)
}

// AskedFor lists what of an identity's tasks a person was asked for and has not let go on: what still waits, and what was denied not
// long ago.
func (tx *Tx) AskedFor(id identity.ID, person identity.OwnerID) ([]policy.Task, error) {
	return list(tx, doc[policy.Task], "SELECT doc FROM tasks WHERE identity = $1 AND person = $2 AND state IN ('waiting', 'denied') AND until > $3 ORDER BY until DESC",
		id.String(), string(person), micros(tx.now))
}

// EndingTasks lists the tasks that are open, or wait for a person, though their end has come, at most limit.
func (tx *Tx) EndingTasks(limit int) ([]policy.Task, error) {
	return list(tx, doc[policy.Task], "SELECT doc FROM tasks WHERE state IN ('open', 'waiting') AND until <= $1 ORDER BY until LIMIT $2", micros(tx.now), limit)
}

// NextTaskEnd is when the next of them ends; ErrNotFound if none does.
func (tx *Tx) NextTaskEnd() (int64, error) {
	var next *int64
	err := tx.row("SELECT MIN(until) FROM tasks WHERE state IN ('open', 'waiting')", nil, &next)
	if err == nil && next == nil {
		err = ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return *next, nil
}

// Given is what of a task's budget was drawn and not given back, by gateway.
type Given map[string]policy.Budget

// All is what all gateways have drawn.
func (g Given) All() policy.Budget {
	all := policy.Budget{}
	for _, drawn := range g {
		for kind, n := range drawn {
			all[kind] += n
		}
	}
	return all
}

// Given is what of a task's budget was drawn, or ErrNotFound.
func (tx *Tx) Given(task string) (Given, error) {
	var doc []byte
	if err := tx.row("SELECT given FROM tasks WHERE id = $1", []any{task}, &doc); err != nil {
		return nil, err
	}
	given := Given{}
	if json.Unmarshal(doc, &given) == nil {
		return given, nil
	}
	var all policy.Budget // of before it was kept who drew: nobody can give it back
	if err := json.Unmarshal(doc, &all); err != nil {
		return nil, fmt.Errorf("a task in the store is damaged: %w", err)
	}
	return Given{"": all}, nil
}

// PutGiven keeps what of a task's budget was drawn. Gateways do not hear of it.
func (tx *Tx) PutGiven(task string, given Given) error {
	tx.changed = true
	n, err := tx.exec("UPDATE tasks SET given = $1 WHERE id = $2", encode(given), task)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}
