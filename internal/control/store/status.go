package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// Status is the place of one token in a status list, and what the token stands on.
type Status struct {
	Seq     int64 // of its event in the ledger: those that commit later have a higher one
	List    string
	Index   int
	Expires time.Time // of the token: it is forgotten after that
	Doc     []byte
}

// RecordStatus is [DB.Record] for the event that says a token was issued, with the token's place: both are
// in the one commit that is waited for anyway.
func (db *DB) RecordStatus(ctx context.Context, e ledger.Event, s Status) error {
	return db.enqueue(ctx, &batch{events: []ledger.Event{e}, status: &s, done: make(chan error, 1)})
}

// statusRows is how many places one statement inserts.
const statusRows = 100

// putStatuses writes what the events of tx brought with them.
func (tx *Tx) putStatuses(list []Status) error {
	for len(list) > 0 {
		n := min(len(list), statusRows)
		var b strings.Builder
		b.WriteString("INSERT INTO statuses (seq, list, idx, expires, doc) VALUES ")
		args := make([]any, 0, 5*n)
		for i, s := range list[:n] {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "($%d, $%d, $%d, $%d, $%d)", 5*i+1, 5*i+2, 5*i+3, 5*i+4, 5*i+5)
			args = append(args, s.Seq, s.List, s.Index, micros(s.Expires), s.Doc)
		}
		if _, err := tx.sql.ExecContext(tx.ctx, b.String(), args...); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// MaxStatuses is how many places [DB.Statuses] returns at most.
const MaxStatuses = 10_000

// Statuses returns the places of tokens that go on, those after seq in the order in which they were committed (any node's), and
// the last change of the feed by then. When there are MaxStatuses, there may be more.
func (db *DB) Statuses(ctx context.Context, after int64) (all []Status, head feed.Cursor, err error) {
	ctx, cancel := db.patient(ctx)
	defer cancel()
	err = db.Read(ctx, func(tx *Tx) error {
		h, err := readHead(ctx, tx.sql, "")
		if err != nil {
			return err
		}
		head = feed.Cursor{Epoch: h.epoch, Seq: h.seq}
		all, err = list(tx, func(row scanner) (s Status, err error) {
			var expires int64
			err = row.Scan(&s.Seq, &s.List, &s.Index, &expires, &s.Doc)
			s.Expires = at(expires)
			return s, err
		}, "SELECT seq, list, idx, expires, doc FROM statuses WHERE seq > $1 AND expires > $2 ORDER BY seq LIMIT $3", after, micros(tx.now), MaxStatuses)
		return err
	})
	return all, head, err
}
