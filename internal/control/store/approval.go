package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Approval is a question to people with all that was said to it. What they see of the
// request is kept apart, sealed ([Tx.PutShown]).
type Approval struct {
	feed.Approval
	Question  feed.Question      `json:"question"` // without Shown
	Asked     time.Time          `json:"asked"`
	Asks      []identity.OwnerID `json:"asks"` // who could say yes when it was asked
	Decisions []Verdict          `json:"decisions,omitempty"`
	Ended     time.Time          `json:"ended,omitzero"`  // used, denied or expired at
	Grant     string             `json:"grant,omitempty"` // id of the grant that was made instead of asking again
}

// Scope is for what a yes is.
type Scope string

const (
	Once    Scope = "once"    // the one request
	ForTask Scope = "task"    // all such requests of the same task
	Lasting Scope = "lasting" // all such requests on the same resource, until a date
)

// Verdict is what one person said.
type Verdict struct {
	By     identity.OwnerID `json:"by"` // or operator:<name>
	At     time.Time        `json:"at"`
	Yes    bool             `json:"yes"`
	Scope  Scope            `json:"scope,omitempty"`
	Until  time.Time        `json:"until,omitzero"` // of a lasting yes
	Note   string           `json:"note,omitempty"`
	Looked time.Duration    `json:"looked,omitempty"` // how long the page was open; 0 when there was none
}

// PutApproval adds or changes a question.
func (tx *Tx) PutApproval(a Approval) error {
	a.Question.Shown = nil
	_, err := tx.exec(`INSERT INTO approvals (id, hash, identity, state, asked, expires, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, expires = excluded.expires, doc = excluded.doc`,
		a.ID, a.Hash, a.Identity.String(), string(a.State), micros(a.Asked), micros(a.Expires), encode(a))
	tx.change(feed.Change{Approval: &a.Approval})
	if err == nil {
		_, err = tx.exec("DELETE FROM yeses WHERE approval = $1", a.ID)
	}
	for _, owner := range a.yeses() {
		if err == nil {
			_, err = tx.exec(insertYes, owner, a.ID, a.Grant)
		}
	}
	return err
}

const insertYes = "INSERT INTO yeses (owner, approval, given) VALUES ($1, $2, $3)"

// yeses are those who said yes to what is not over, each once: it is not while it can be used, stands, or is a grant.
func (a Approval) yeses() (by []string) {
	if !a.State.Open() && (a.State != feed.Used || a.Grant == "") {
		return nil
	}
	for _, v := range a.Decisions {
		if v.Yes && a.State != feed.Denied && !slices.Contains(by, string(v.By)) {
			by = append(by, string(v.By))
		}
	}
	return by
}

// Yeses lists what somebody said yes to, and what can still be taken back.
func (tx *Tx) Yeses(by identity.OwnerID) ([]Approval, error) {
	return list(tx, doc[Approval], "SELECT a.doc FROM yeses y JOIN approvals a ON a.id = y.approval WHERE y.owner = $1 ORDER BY a.id", string(by))
}

// fillYeses is the part of a migration that no SQL of both engines could do.
func fillYeses(ctx context.Context, tx *sql.Tx) error {
	r, err := tx.QueryContext(ctx, "SELECT doc FROM approvals")
	if err != nil {
		return err
	}
	defer r.Close()
	var all [][]any
	for r.Next() {
		a, err := doc[Approval](r)
		if err != nil {
			return err
		}
		for _, owner := range a.yeses() {
			all = append(all, []any{owner, a.ID, a.Grant})
		}
	}
	err = errors.Join(r.Err(), r.Close())
	for _, args := range all {
		if err == nil {
			_, err = tx.ExecContext(ctx, insertYes, args...)
		}
	}
	return err
}

// Approval returns the question of that id, or ErrNotFound.
func (tx *Tx) Approval(id string) (Approval, error) {
	return one(tx, "SELECT doc FROM approvals WHERE id = $1", id, none[Approval], nil)
}

// OpenApproval returns the question about the request of that hash from which something can still come, or ErrNotFound.
func (tx *Tx) OpenApproval(hash string) (a Approval, err error) {
	var b []byte
	err = tx.row("SELECT doc FROM approvals WHERE hash = $1 AND state IN ('waiting', 'approved', 'denied') AND expires > $2 ORDER BY asked DESC LIMIT 1", []any{hash, micros(tx.now)}, &b)
	if err != nil {
		return a, err
	}
	return decoded(b, a, nil)
}

// CountWaiting counts what an identity, and all that descend from it, wait for.
func (tx *Tx) CountWaiting(id identity.ID) (n int, err error) {
	return n, tx.row(`WITH RECURSIVE asks (id, of) AS (SELECT id, identity FROM approvals WHERE state = 'waiting' AND expires > $2
		UNION SELECT asks.id, i.parent FROM asks JOIN identities i ON i.id = asks.of WHERE i.parent IS NOT NULL)
		SELECT COUNT(*) FROM asks WHERE of = $1`, []any{id.String(), micros(tx.now)}, &n)
}

// Approvals lists questions, the newest first: those in a state, if it is given, asked since then, at most limit.
func (tx *Tx) Approvals(state feed.ApprovalState, since time.Time, limit int) ([]Approval, error) {
	if state != "" {
		return list(tx, doc[Approval], "SELECT doc FROM approvals WHERE state = $1 AND asked >= $2 ORDER BY asked DESC, id DESC LIMIT $3", string(state), micros(since), limit)
	}
	return list(tx, doc[Approval], "SELECT doc FROM approvals WHERE asked >= $1 ORDER BY asked DESC, id DESC LIMIT $2", micros(since), limit)
}

// EndedApprovals lists those whose time has come, at most limit.
func (tx *Tx) EndedApprovals(limit int) ([]Approval, error) {
	return list(tx, doc[Approval], "SELECT doc FROM approvals WHERE state IN ('waiting', 'approved', 'standing', 'denied') AND expires <= $1 ORDER BY expires LIMIT $2", micros(tx.now), limit)
}

// NextApprovalEnd is when the time of the next one comes; the zero time if there is none.
func (tx *Tx) NextApprovalEnd() (time.Time, error) {
	var next *int64
	err := tx.row("SELECT MIN(expires) FROM approvals WHERE state IN ('waiting', 'approved', 'standing', 'denied')", nil, &next)
	if err != nil || next == nil {
		return time.Time{}, err
	}
	return at(*next), nil
}

// ForgetApprovals drops what ended, and was asked before then; not what became a grant that is there and goes on.
func (tx *Tx) ForgetApprovals(before time.Time) error {
	old, err := list(tx, func(row scanner) (id string, err error) { return id, row.Scan(&id) },
		`SELECT id FROM approvals a WHERE asked < $1 AND state IN ('used', 'expired')
			AND (expires <= $2 OR NOT EXISTS (SELECT 1 FROM yeses y JOIN grants g ON g.id = y.given WHERE y.approval = a.id)) LIMIT 1000`, micros(before), micros(tx.now))
	for _, id := range old {
		if err == nil {
			err = tx.DeleteSecret(shownSecret(id))
		}
		if err == nil {
			_, err = tx.exec("DELETE FROM yeses WHERE approval = $1", id)
		}
		if err == nil {
			_, err = tx.exec("DELETE FROM approvals WHERE id = $1", id)
		}
	}
	return err
}

func shownSecret(approval string) string { return "approval/" + approval }

// PutShown keeps what people see of a request, sealed.
func (tx *Tx) PutShown(approval string, s feed.Shown) error {
	return tx.PutSecret(shownSecret(approval), encode(s))
}

// Shown returns what people see of a request, or ErrNotFound.
func (tx *Tx) Shown(approval string) (s feed.Shown, err error) {
	b, err := tx.Secret(shownSecret(approval))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("what is shown of approval %s is damaged: %w", approval, err)
	}
	return s, nil
}

// Note is what is still to be told through a door.
type Note struct {
	ID, Door, Approval string
	Made               time.Time
}

// PutNote has something told. It is there until it is deleted: it may be told twice.
func (tx *Tx) PutNote(n Note) error {
	tx.changed, tx.noted = true, true
	_, err := tx.exec("INSERT INTO outbox (id, door, approval, made) VALUES ($1, $2, $3, $4)", n.ID, n.Door, n.Approval, micros(n.Made))
	return err
}

// DeleteNote forgets what was told, or is not to be told any more.
func (tx *Tx) DeleteNote(id string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM outbox WHERE id = $1", id)
	return err
}

// Notes lists what is still to be told through a door, if it is given, the oldest first, at most limit.
func (tx *Tx) Notes(door string, limit int) ([]Note, error) {
	query, args := "SELECT id, door, approval, made FROM outbox ORDER BY made, id LIMIT $1", []any{limit}
	if door != "" {
		query, args = "SELECT id, door, approval, made FROM outbox WHERE door = $1 ORDER BY made, id LIMIT $2", []any{door, limit}
	}
	return list(tx, func(row scanner) (n Note, err error) {
		var made int64
		err = row.Scan(&n.ID, &n.Door, &n.Approval, &made)
		n.Made = at(made)
		return n, err
	}, query, args...)
}

// NextNote is closed when there is something more to be told.
func (db *DB) NextNote() <-chan struct{} { return db.noted.Listen() }
