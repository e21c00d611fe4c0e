package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A database elsewhere can be away, or go away in the midst. Then these say what that means for a write.
var (
	// ErrUnavailable means that the database could not be reached: nothing was changed, and the same works once it is there again.
	ErrUnavailable = errors.New("the database cannot be reached")
	// ErrUncertain means that the database went away while it committed and did not come back: all of it was changed, or nothing.
	ErrUncertain = errors.New("the database did not say whether it was changed; look before trying again")
	// ErrNewer means that another process, of a newer version, has brought the database to its schema. This one does nothing more with it.
	ErrNewer = errors.New("a newer lanyard has changed the database: use that one here, too")
)

// patience is how long a write to a database elsewhere, or a look at how far it is, may take; unanswered is how long a commit without an answer is asked after.
const (
	patience   = 30 * time.Second
	unanswered = 20 * time.Second
)

// patient bounds what is asked of a database elsewhere, which may never answer on a connection that stands.
func (db *DB) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if !db.engine.shared {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, db.UnsafePatience)
}

// begin begins a transaction of the one writer, with the head as the database has it. A connection that broke since
// it was last used is replaced.
func (db *DB) begin(ctx context.Context) (*sql.Tx, error) {
	for n := 0; ; n++ {
		tx, err := db.w.BeginTx(ctx, &db.engine.write)
		if !db.engine.shared {
			return tx, err
		}
		if err == nil {
			var r headRow
			if r, err = readHead(ctx, tx, db.engine.hold); err == nil {
				err = db.catchUp(ctx, tx, r)
			}
			if err == nil {
				return tx, nil
			}
			tx.Rollback()
			if errors.Is(err, ErrNewer) {
				db.newer.Store(true)
				return nil, err
			}
		}
		if n == 4 || !db.engine.lost(err) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-db.ctx.Done():
			return nil, err
		case <-time.After(time.Duration(n) * 100 * time.Millisecond):
		}
	}
}

// settle finds out what became of a commit whose answer did not come, by one of its events. Whoever holds the head
// knows that the server has done with that transaction, one way or the other.
func (db *DB) settle(event string, cause error) error {
	ctx, cancel := context.WithTimeout(db.ctx, unanswered)
	defer cancel()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var one int
		ctx1, cancel := context.WithTimeout(ctx, unanswered/4) // a connection that is silent must not be the only one asked
		err := db.inTx(ctx1, func(ctx context.Context, tx *sql.Tx) error {
			return tx.QueryRowContext(ctx, "SELECT 1 FROM events WHERE id = $1", event).Scan(&one)
		})
		cancel()
		switch {
		case one == 1: // the rest of that transaction changed nothing
			return nil
		case errors.Is(err, sql.ErrNoRows):
			return db.judge(cause)
		case err != nil && !db.engine.lost(err):
			return fmt.Errorf("%w: %w", ErrUncertain, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUncertain, cause)
		case <-time.After(wait):
		}
	}
}
