package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// block is how many events have a sieve together.
const block = 256

// atOneTime is how many sieves are made in one transaction, or read for a search.
const atOneTime = 128

// sieveLoop makes the sieves of events that have none yet, on the node that leads. A search that comes before reads those events instead.
func (db *DB) sieveLoop() {
	defer db.ended.Done()
	var done int64 // how many there are to be, when they were last made: most commits bring none
	for {
		more := db.bell.Listen()
		var err error
		if n := db.Size() / block; n != done && db.Leads() && !db.full.Load() {
			var made int
			if made, err = db.makeSieves(db.ctx); made == atOneTime && err == nil {
				continue
			} else if err == nil {
				done = n
			}
		}
		again := make(<-chan time.Time)
		if err != nil || !db.Leads() {
			again = time.After(poll)
		}
		select {
		case <-db.ctx.Done():
			return
		case <-again:
		case <-more:
		}
	}
}

// makeSieves makes some of those that there are not, and returns how many.
func (db *DB) makeSieves(ctx context.Context) (n int, err error) {
	var from int64
	if err := db.r.QueryRowContext(ctx, "SELECT COALESCE(MAX(n) + 1, 0) FROM sieves").Scan(&from); err != nil {
		return 0, db.mapped(err)
	}
	to := min(db.Size()/block, from+atOneTime)
	if to <= from {
		return 0, nil
	}
	var list []ledger.Sieve
	for at := from; at < to; at++ {
		s, err := db.sieve(ctx, at)
		if err != nil {
			return 0, err
		}
		list = append(list, s)
	}
	if err := db.acquire(ctx); err != nil {
		return 0, err
	}
	defer db.release()
	return len(list), db.judge(db.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for i, s := range list {
			if _, err := tx.ExecContext(ctx, "INSERT INTO sieves (n, first, last, own, bits) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (n) DO NOTHING",
				from+int64(i), micros(s.First), micros(s.Last), micros(s.Own), s.Bits); err != nil {
				return err
			}
		}
		return nil
	}))
}

// sieve makes one of the events themselves.
func (db *DB) sieve(ctx context.Context, n int64) (s ledger.Sieve, err error) {
	leaves, err := db.allOf(ctx, db.r, n*block, (n+1)*block)
	if err != nil {
		return s, err
	}
	events := make([]ledger.Event, len(leaves))
	for i, leaf := range leaves {
		if events[i], err = db.parsed(n*block+int64(i), leaf); err != nil {
			return s, err
		}
	}
	return ledger.NewSieve(events), nil
}

// sieves are those that there are from one number up to, and without, another.
func (db *DB) sieves(ctx context.Context, from, before int64) (map[int64]ledger.Sieve, error) {
	r, err := db.r.QueryContext(ctx, "SELECT n, first, last, own, bits FROM sieves WHERE n >= $1 AND n < $2", from, before)
	if err != nil {
		return nil, db.mapped(err)
	}
	defer r.Close()
	list := map[int64]ledger.Sieve{}
	for r.Next() {
		var n, first, last, own int64
		var s ledger.Sieve
		if err := r.Scan(&n, &first, &last, &own, &s.Bits); err != nil {
			return nil, db.mapped(err)
		}
		s.First, s.Last, s.Own = at(first), at(last), at(own)
		list[n] = s
	}
	return list, db.mapped(r.Err())
}

var errSieve = errors.New("what searches pass these events and the 255 before them by is not theirs: a search may not find them")

// checkSieve compares a sieve, if it was made, with the events that it is of.
func (db *DB) checkSieve(ctx context.Context, n int64) error {
	known, err := db.sieves(ctx, n, n+1)
	is, made := known[n]
	if err != nil || !made {
		return err
	}
	s, err := db.sieve(ctx, n)
	if err == nil && (!s.First.Equal(is.First) || !s.Last.Equal(is.Last) || !s.Own.Equal(is.Own) || !bytes.Equal(s.Bits, is.Bits)) {
		return errSieve
	}
	return err
}

// looked is how many events one search reads at most: some of what there is at once, and the rest when it is asked for, is better than
// all of it after a minute.
const looked = 20_000

// Found is a part of what a search finds.
type Found struct {
	Entries []Entry   // the newest first
	Next    int64     // before which index it goes on; 0: there is nothing more
	BackTo  time.Time // of the last event that was looked at, when there were fewer than asked for and it goes on
}

// Search returns at most limit events that q selects, of those before an index (0: all). It reads a bounded number, and passes over those
// that their sieves say it may pass over.
func (db *DB) Search(ctx context.Context, q ledger.Query, before int64, limit int) (f Found, err error) {
	h, err := db.current(ctx)
	if err != nil {
		return f, err
	}
	f.Next = h.tree.Size()
	if before > 0 {
		f.Next = min(f.Next, before)
	}
	sieved := q.Sieves()
	var known map[int64]ledger.Sieve
	lowest := f.Next/block + 1 // known has what there is from here on
	var oldest []byte
	for read := 0; f.Next > 0 && read < looked; {
		n := (f.Next - 1) / block
		if sieved && n < lowest {
			lowest = n + 1 - atOneTime
			if known, err = db.sieves(ctx, lowest, n+1); err != nil {
				return f, err
			}
		}
		if s, ok := known[n]; ok {
			if passed(q, s.Own) {
				f.Next = 0
				break
			}
			if !s.May(q) {
				f.Next = n * block
				continue
			}
		}
		part, err := db.allOf(ctx, db.r, n*block, f.Next)
		if err != nil {
			return f, err
		}
		for read += len(part); len(part) > 0; part = part[:len(part)-1] {
			f.Next--
			leaf := part[len(part)-1]
			if oldest = leaf; !q.InText(leaf) {
				continue
			}
			e, err := db.parsed(f.Next, leaf)
			if err != nil {
				return f, err
			}
			if e.Gateway == "" && passed(q, e.Time) {
				f.Next = 0
				return f, nil
			}
			if q.Match(e, leaf) {
				if f.Entries = append(f.Entries, Entry{f.Next, leaf, e}); len(f.Entries) == limit {
					return f, nil
				}
			}
		}
	}
	if f.Next > 0 {
		e, err := db.parsed(f.Next, oldest)
		f.BackTo = e.Time
		return f, err
	}
	return f, nil
}

func (db *DB) parsed(index int64, leaf []byte) (ledger.Event, error) {
	e, err := ledger.Parse(leaf)
	if err != nil {
		err = fmt.Errorf("ledger is damaged: event %d: %w", index, err)
	}
	return e, err
}

// passed reports whether there is nothing from q's beginning on before an event of our own of that time. They reach the ledger a
// little after their time, never by an hour. What a gateway elsewhere says of the time ends no search.
func passed(q ledger.Query, own time.Time) bool {
	return !q.Since.IsZero() && !own.IsZero() && own.Before(q.Since.Add(-time.Hour))
}
