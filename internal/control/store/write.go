package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// Tx is one transaction. It has one time, and its reads see what it wrote. It is
// for one goroutine and ends with the function it was given to.
type Tx struct {
	db      *DB
	ctx     context.Context
	sql     *sql.Tx
	now     time.Time
	changed bool // something was put
	asked   bool // by somebody whom nobody has answered, see Unanswered
	noted   bool // somebody is to be told something
	changes []feed.Change
	events  []ledger.Event
}

// Now is the time of the transaction, in microseconds UTC.
func (tx *Tx) Now() time.Time { return tx.now }

// Changes are those so far, as the feed will say them.
func (tx *Tx) Changes() []feed.Change { return tx.changes }

// Record adds an event, which commits with everything else.
func (tx *Tx) Record(e ledger.Event) { tx.events = append(tx.events, e) }

func (tx *Tx) change(c feed.Change) {
	tx.changed = true
	tx.changes = append(tx.changes, c)
}

func (tx *Tx) exec(query string, args ...any) (int64, error) {
	res, err := tx.sql.ExecContext(tx.ctx, query, args...)
	if err != nil {
		return 0, tx.db.mapped(err)
	}
	return res.RowsAffected()
}

func (tx *Tx) row(query string, args []any, to ...any) error {
	return tx.db.mapped(tx.sql.QueryRowContext(tx.ctx, query, args...).Scan(to...))
}

// Write runs f and commits all it did, or nothing. When it returns without error
// the changes are on disk, and the cursor is where followers will find the last.
func (db *DB) Write(ctx context.Context, f func(*Tx) error) (feed.Cursor, error) {
	if err := db.acquire(ctx); err != nil {
		return feed.Cursor{}, err
	}
	defer db.release()
	// Once begun it is not left halfway because the caller went away.
	err := db.write(context.WithoutCancel(ctx), f)
	return db.Head(), err
}

// WriteRegardless is Write for what must work on a full disk, too: the cord. For
// that it gives up what Open set aside. It is also tried again when the
// connection to the database broke. f may run twice.
func (db *DB) WriteRegardless(ctx context.Context, f func(*Tx) error) (feed.Cursor, error) {
	at, err := db.Write(ctx, f)
	if errors.Is(err, ErrUnavailable) && ctx.Err() == nil || errors.Is(err, ErrFull) && !db.engine.shared && os.Remove(db.reserve()) == nil {
		return db.Write(ctx, f)
	}
	return at, err
}

// reserve is a file that takes up a megabyte until that is needed.
func (db *DB) reserve() string { return filepath.Join(db.Dir, "reserve") }

// setAside makes the reserve if it is not there. On a full disk there is none, until there is space again.
func (db *DB) setAside() {
	if db.engine.shared { // what is full then is another machine's disk
		return
	}
	if _, err := os.Stat(db.reserve()); err == nil {
		return
	}
	f, err := os.OpenFile(db.reserve(), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	_, err = f.Write(make([]byte, 1<<20)) // not a hole: it is to take the space
	if errors.Join(err, f.Sync(), f.Close()) != nil {
		os.Remove(db.reserve())
	}
}

func (db *DB) write(ctx context.Context, f func(*Tx) error) error {
	ctx, cancel := db.patient(ctx)
	defer cancel()
	stx, err := db.begin(ctx)
	if err != nil {
		return db.judge(err)
	}
	defer stx.Rollback()
	tx := &Tx{db: db, ctx: ctx, sql: stx, now: db.now()}
	if err := f(tx); err != nil {
		return db.judge(err)
	}
	switch {
	case len(tx.events) > 0:
	case tx.asked && len(tx.changes) == 0:
		return db.judge(stx.Commit())
	case tx.changed:
		return ErrUnrecorded
	default:
		return nil // it changed nothing
	}
	next := *db.head.Load()
	if err := tx.append(&next); err != nil {
		return db.judge(err)
	}
	if err := stx.Commit(); err != nil {
		if !db.engine.shared {
			return db.judge(err)
		}
		if err := db.settle(tx.events[0].ID, err); err != nil { // after it the head is what the database has, which others may have moved on
			return err
		}
	} else {
		db.head.Store(&next)
	}
	db.full.Store(false)
	db.bell.Ring()
	if tx.noted {
		db.noted.Ring()
	}
	return nil
}

func (db *DB) now() time.Time { return db.Now().UTC().Truncate(time.Microsecond) }

// judge maps an error. After one that leaves open what is on disk there is no
// going on: a second fsync would say that all is well. The process ends, and
// the next start reads what is there.
func (db *DB) judge(err error) error {
	if db.engine.broken(err) {
		db.Fatal(fmt.Errorf("writing to %s: %w", db.place(), err))
	}
	err = db.mapped(err)
	if errors.Is(err, ErrFull) {
		db.full.Store(true)
	}
	return err
}

// append writes changes and events after h and moves h to their end.
func (tx *Tx) append(h *head) error {
	for i := range tx.changes {
		h.seq++
		doc, err := json.Marshal(tx.changes[i])
		if err != nil {
			return err
		}
		if _, err := tx.sql.ExecContext(tx.ctx, "INSERT INTO changes (seq, doc) VALUES ($1, $2)", h.seq, doc); err != nil {
			return err
		}
	}
	if h.seq > h.kept+tx.db.Keep+tx.db.Keep/4 { // now and then, not each time
		h.kept = h.seq - tx.db.Keep
		if _, err := tx.sql.ExecContext(tx.ctx, "DELETE FROM changes WHERE seq <= $1", h.kept); err != nil {
			return err
		}
	}
	if err := tx.appendEvents(h); err != nil {
		return err
	}
	root := h.tree.Root()
	// The schema is looked at again: a newer program may have changed it while this waited to be the one writer.
	res, err := tx.sql.ExecContext(tx.ctx, "UPDATE head SET seq = $1, kept = $2, size = $3, root = $4 WHERE (SELECT MAX(version) FROM schema_version) <= $5"+tx.db.told,
		h.seq, h.kept, h.tree.Size(), root[:], len(steps()))
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		tx.db.newer.Store(true)
		err = ErrNewer
	}
	return err
}

// insertRows is how many events one statement inserts, the most first.
var insertRows = []int{64, 8, 1}

func insertEvents(rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO events (seq, id, leaf) VALUES ")
	for n := range rows {
		if n > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($%d, $%d, $%d)", 3*n+1, 3*n+2, 3*n+3)
	}
	return b.String()
}

func (tx *Tx) appendEvents(h *head) error {
	if tx.db.engine.bulk != "" {
		return tx.appendBulk(h)
	}
	events := tx.events
	args := make([]any, 0, 3*min(len(events), insertRows[0]))
	for _, rows := range insertRows {
		for ; len(events) >= rows; events = events[rows:] {
			args = args[:0]
			for i := range events[:rows] {
				leaf := events[i].Leaf()
				args = append(args, h.tree.Size(), events[i].ID, leaf)
				for _, t := range h.tree.Append(leaf) {
					if _, err := tx.sql.ExecContext(tx.ctx, "INSERT INTO tiles (level, n, data) VALUES ($1, $2, $3)", t.Level, t.Index, t.Data()); err != nil {
						return err
					}
				}
			}
			if _, err := tx.sql.StmtContext(tx.ctx, tx.db.inserts[rows]).ExecContext(tx.ctx, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendBulk is appendEvents in one statement, where each costs the way to another machine and back.
func (tx *Tx) appendBulk(h *head) error {
	seqs, ids, leaves := make([]int64, len(tx.events)), make([]string, len(tx.events)), make([][]byte, len(tx.events))
	for i := range tx.events {
		seqs[i], ids[i], leaves[i] = h.tree.Size(), tx.events[i].ID, tx.events[i].Leaf()
		for _, t := range h.tree.Append(leaves[i]) {
			if _, err := tx.sql.ExecContext(tx.ctx, "INSERT INTO tiles (level, n, data) VALUES ($1, $2, $3)", t.Level, t.Index, t.Data()); err != nil {
				return err
			}
		}
	}
	_, err := tx.sql.ExecContext(tx.ctx, tx.db.engine.bulk, seqs, ids, leaves)
	return err
}

// Read runs f on one state of the store; nothing that others write shows in it.
func (db *DB) Read(ctx context.Context, f func(*Tx) error) error {
	stx, err := db.r.BeginTx(ctx, &db.engine.read)
	for n := 0; n < 10 && err != nil && db.engine.lost(err) && ctx.Err() == nil && db.Ready() == nil; n++ { // of before the database was restarted
		stx, err = db.r.BeginTx(ctx, &db.engine.read)
	}
	if err != nil {
		return db.mapped(err)
	}
	defer stx.Rollback()
	return db.mapped(f(&Tx{db: db, ctx: ctx, sql: stx, now: db.now()}))
}

// UnsafeExec runs a statement past all rules: for tests that do what an intruder would.
func (db *DB) UnsafeExec(query string, args ...any) error {
	_, err := db.w.Exec(query, args...)
	return err
}
