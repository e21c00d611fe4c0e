package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// queued is how many callers of Record wait for a commit before more wait for a place; maxBatch
// bounds the events of one commit.
const (
	queued   = 1024
	maxBatch = 4096
)

// batch is what one caller of Record brings.
type batch struct {
	events []ledger.Event
	status *Status    // of the token that the one event is about; nil: it has none
	done   chan error // has room for one
}

// Record returns nil once the events are on disk. Callers that wait at the same
// time share one commit. An event that is in the ledger already is not added again.
func (db *DB) Record(ctx context.Context, events []ledger.Event) error {
	if len(events) == 0 {
		return nil
	}
	return db.enqueue(ctx, &batch{events: events, done: make(chan error, 1)})
}

func (db *DB) enqueue(ctx context.Context, b *batch) error {
	if db.ctx.Err() != nil {
		return ErrClosed
	}
	select {
	case db.queue <- b:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.ctx.Done():
		return ErrClosed
	}
	select {
	case err := <-b.done:
		return err
	case <-ctx.Done(): // it may yet be written; the same event recorded again counts once
		return ctx.Err()
	case <-db.recorded: // the last commit was made: was this in it?
		select {
		case err := <-b.done:
			return err
		default:
			return ErrClosed
		}
	}
}

// recordLoop commits what waits. After Close it refuses what still waits.
func (db *DB) recordLoop() {
	defer db.ended.Done()
	defer close(db.recorded)
	for {
		select {
		case b := <-db.queue:
			db.commit(db.gather(b))
		case <-db.ctx.Done():
			for {
				select {
				case b := <-db.queue:
					b.done <- ErrClosed
				default:
					return
				}
			}
		}
	}
}

// gather takes whoever else is waiting.
func (db *DB) gather(b *batch) []*batch {
	all, n := []*batch{b}, len(b.events)
	for n < maxBatch {
		select {
		case b := <-db.queue:
			all, n = append(all, b), n+len(b.events)
		default:
			return all
		}
	}
	return all
}

func (db *DB) commit(all []*batch) {
	err := db.acquire(context.Background())
	if err == nil {
		err = db.record(all, false)
		if errors.Is(err, ErrExists) { // seldom: a gateway tried again
			err = db.record(all, true)
		}
		db.release()
	}
	for _, b := range all {
		b.done <- err
	}
}

// record writes the events of all; known tells it to leave out what is there already.
func (db *DB) record(all []*batch, known bool) error {
	return db.write(context.Background(), func(tx *Tx) error {
		seen, size := map[string]bool{}, db.Size()
		var statuses []Status
		for _, b := range all {
			for _, e := range b.events {
				if known {
					if seen[e.ID] {
						continue
					}
					seen[e.ID] = true
					var one int
					err := tx.row("SELECT 1 FROM events WHERE id = $1", []any{e.ID}, &one)
					if err == nil {
						continue
					}
					if !errors.Is(err, ErrNotFound) {
						return err
					}
				}
				if b.status != nil {
					b.status.Seq = size + int64(len(tx.events))
					statuses = append(statuses, *b.status)
				}
				tx.Record(e)
			}
		}
		return tx.putStatuses(statuses)
	})
}

// touched holds when credentials were last used, or gateways and directories heard of, until that is written.
type touched struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (t *touched) note(id string, when time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = map[string]time.Time{}
	}
	if when.After(t.last[id]) {
		t.last[id] = when
	}
}

func (t *touched) take() map[string]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.last
	t.last = nil
	return last
}

// TouchCredential notes that a credential was used. It does not wait for the disk.
func (db *DB) TouchCredential(id string, when time.Time) { db.touched.note(id, when) }

func (db *DB) touchLoop() {
	defer db.ended.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
			full := db.full.Load()
			if !full && n%30 != 0 || db.acquire(db.ctx) != nil {
				continue
			}
			if n%30 == 0 {
				_ = db.flushTouched() // what was not written is seen again with the next use
			}
			if full {
				db.probe()
			} else if n%60 == 0 {
				db.setAside()
			}
			db.release()
		case <-db.ctx.Done():
			return
		}
	}
}

// flushTouched writes when credentials were last used, and gateways and directories heard of, and drops clients' assertions and tokens' places that are over. That is no change of
// state and has no event of its own: what they were used for has.
func (db *DB) flushTouched() error {
	last, heard, asked := db.touched.take(), db.heard.take(), db.asked.take()
	if len(last) == 0 && len(heard) == 0 && len(asked) == 0 {
		return nil
	}
	return db.judge(db.inTx(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		for id, when := range last {
			if _, err := tx.ExecContext(ctx, "UPDATE credentials SET last_used = $1 WHERE id = $2 AND last_used < $1", when.UnixMicro(), id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE identities SET used = $1 WHERE id = (SELECT identity FROM credentials WHERE id = $2) AND used < $1", when.UnixMicro(), id); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM tickets WHERE kind = $1 AND expires < $2", string(ClientAssertion), micros(db.now())); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM statuses WHERE expires < $1", micros(db.now())); err != nil {
			return err
		}
		for name, when := range heard {
			if _, err := tx.ExecContext(ctx, "UPDATE gateways SET seen = $1 WHERE name = $2 AND seen < $1", when.UnixMicro(), name); err != nil {
				return err
			}
		}
		for name, when := range asked {
			if _, err := tx.ExecContext(ctx, "UPDATE directories SET heard = $1 WHERE name = $2 AND heard < $1", when.UnixMicro(), name); err != nil {
				return err
			}
		}
		return nil
	}))
}
