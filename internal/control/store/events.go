package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// readTile reads complete tiles.
func (db *DB) readTile(ctx context.Context, q queryer) ledger.ReadFunc {
	return func(level, index int64) (data []byte, err error) {
		return data, db.mapped(q.QueryRowContext(ctx, "SELECT data FROM tiles WHERE level = $1 AND n = $2", level, index).Scan(&data))
	}
}

// leaves goes through the leaves from one index up to, and without, another.
func (db *DB) leaves(ctx context.Context, q queryer, from, to int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for i := from; i < to; {
			// In parts, so that a slow reader does not hold a state of the database for hours.
			part, err := db.part(ctx, q, i, min(i+1000, to))
			if err == nil && len(part) == 0 {
				err = fmt.Errorf("ledger is damaged: event %d is missing", i)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, leaf := range part {
				if !yield(leaf, nil) {
					return
				}
			}
			i += int64(len(part))
		}
	}
}

func (db *DB) part(ctx context.Context, q queryer, from, to int64) (leaves [][]byte, err error) {
	r, err := q.QueryContext(ctx, "SELECT seq, leaf FROM events WHERE seq >= $1 AND seq < $2 ORDER BY seq", from, to)
	if err != nil {
		return nil, db.mapped(err)
	}
	defer r.Close()
	for want := from; r.Next(); want++ {
		var seq int64
		var leaf []byte
		if err := r.Scan(&seq, &leaf); err != nil {
			return nil, db.mapped(err)
		}
		if seq != want {
			return nil, fmt.Errorf("ledger is damaged: event %d is missing", want)
		}
		leaves = append(leaves, leaf)
	}
	return leaves, db.mapped(r.Err())
}

// allOf is part, of which none may be missing.
func (db *DB) allOf(ctx context.Context, q queryer, from, to int64) ([][]byte, error) {
	leaves, err := db.part(ctx, q, from, to)
	if n := from + int64(len(leaves)); err == nil && n < to {
		err = fmt.Errorf("ledger is damaged: event %d is missing", n)
	}
	return leaves, err
}

// Leaves goes through the first size leaves, as they were recorded.
func (db *DB) Leaves(ctx context.Context, size int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		h, err := db.current(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		db.leaves(ctx, db.r, 0, min(size, h.tree.Size()))(yield)
	}
}

// Entry is an event with its index in the ledger.
type Entry struct {
	Index int64
	Leaf  []byte
	Event ledger.Event
}

// Events goes through the events from an index on, up to the last of now.
func (db *DB) Events(ctx context.Context, from int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		h, err := db.current(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for leaf, err := range db.leaves(ctx, db.r, from, h.tree.Size()) {
			var e ledger.Event
			if err == nil {
				e, err = ledger.Parse(leaf)
			}
			if !yield(Entry{from, leaf, e}, err) || err != nil {
				return
			}
			from++
		}
	}
}

// Tail goes through the events from an index on, and waits for more, until ctx or the store ends.
func (db *DB) Tail(ctx context.Context, from int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			more := db.bell.Listen()
			h, err := db.current(ctx)
			if err != nil {
				if ctx.Err() == nil && db.ctx.Err() == nil {
					yield(Entry{}, err)
				}
				return
			}
			for leaf, err := range db.leaves(ctx, db.r, from, h.tree.Size()) {
				var e ledger.Event
				if err == nil {
					e, err = ledger.Parse(leaf)
				}
				if ctx.Err() != nil || !yield(Entry{from, leaf, e}, err) || err != nil {
					return
				}
				from++
			}
			select {
			case <-ctx.Done():
				return
			case <-db.ctx.Done():
				return
			case <-more:
			}
		}
	}
}

// EventIndex returns where an event is in the ledger, or ErrNotFound.
func (tx *Tx) EventIndex(id string) (index int64, err error) {
	return index, tx.row("SELECT seq FROM events WHERE id = $1", []any{id}, &index)
}

// Leaf returns the event at an index as it was recorded, or ErrNotFound.
func (tx *Tx) Leaf(index int64) (leaf []byte, err error) {
	return leaf, tx.row("SELECT leaf FROM events WHERE seq = $1", []any{index}, &leaf)
}

// Since returns the index of the first event that is not older than t, as far as events lie in the order of their times.
func (db *DB) Since(ctx context.Context, t time.Time) (int64, error) {
	h, err := db.current(ctx)
	if err != nil {
		return 0, err
	}
	from, to := int64(0), h.tree.Size()
	for from < to {
		middle := (from + to) / 2
		part, err := db.part(ctx, db.r, middle, middle+1)
		if err != nil || len(part) != 1 {
			return 0, errors.Join(err, fmt.Errorf("reading event %d of the ledger", middle))
		}
		e, err := ledger.Parse(part[0])
		if err != nil {
			return 0, fmt.Errorf("ledger is damaged: event %d: %w", middle, err)
		}
		if e.Time.Before(t) {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from, nil
}

// Index returns where an event is in the ledger, or ErrNotFound.
func (db *DB) Index(ctx context.Context, id string) (index int64, err error) {
	return index, db.mapped(db.r.QueryRowContext(ctx, "SELECT seq FROM events WHERE id = $1", id).Scan(&index))
}

type signed struct {
	size int64
	root ledger.Hash
	note []byte
}

// Checkpoint returns a signed checkpoint of the ledger as it is.
func (db *DB) Checkpoint(ctx context.Context) ([]byte, error) {
	h, err := db.current(ctx)
	if err != nil {
		return nil, err
	}
	return db.checkpoint(ctx, h)
}

func (db *DB) checkpoint(ctx context.Context, h *head) ([]byte, error) {
	if s := db.signed.Load(); s != nil && s.size == h.tree.Size() && s.root == h.tree.Root() {
		return s.note, nil
	}
	var secret []byte
	err := db.Read(ctx, func(tx *Tx) (err error) { secret, err = tx.Secret(checkpointKey); return err })
	if err != nil {
		return nil, err
	}
	note, err := ledger.Checkpoint{Origin: db.Origin, Size: h.tree.Size(), Root: h.tree.Root()}.Sign(string(secret))
	if err != nil {
		return nil, err
	}
	db.signed.Store(&signed{h.tree.Size(), h.tree.Root(), note})
	return note, nil
}

// Prove returns an event with the proof that it stands at its place under a signed checkpoint.
func (db *DB) Prove(ctx context.Context, index int64) (p ledger.Inclusion, err error) {
	h, err := db.current(ctx)
	if err != nil {
		return p, err
	}
	if index < 0 || index >= h.tree.Size() {
		return p, ErrNotFound
	}
	leaves, err := db.part(ctx, db.r, index, index+1)
	if err != nil || len(leaves) != 1 {
		return p, errors.Join(err, fmt.Errorf("reading event %d of the ledger", index))
	}
	proof, err := tlog.ProveRecord(h.tree.Size(), index, h.tree.Reader(db.readTile(ctx, db.r)))
	if err != nil {
		return p, fmt.Errorf("proving event %d: %w", index, err)
	}
	note, err := db.checkpoint(ctx, h)
	return ledger.Inclusion{Index: index, Leaf: string(leaves[0]), Proof: proof, Checkpoint: string(note)}, err
}

// Verify reads the whole ledger and says where it is not what was recorded. It
// compares with the tiles and the root in the store; to trust neither, use an
// export and [ledger.Check].
func (db *DB) Verify(ctx context.Context) (ledger.Report, error) {
	h, err := db.current(ctx)
	if err != nil {
		return ledger.Report{}, err
	}
	r := ledger.Report{Checkpoint: ledger.Checkpoint{Origin: db.Origin, Size: h.tree.Size(), Root: h.tree.Root()}}
	add := func(line int64, what string) {
		if len(r.Problems) < 100 {
			r.Problems = append(r.Problems, ledger.Problem{Line: line, What: what})
		}
	}
	var tree ledger.Tree
	var tile []byte // level 0, of the 256 events being read
	for leaf, err := range db.leaves(ctx, db.r, 0, h.tree.Size()) {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil {
			add(r.Events+1, err.Error())
			return r, nil
		}
		if r.Events%256 == 0 {
			if tile, err = db.readTile(ctx, db.r)(0, r.Events/256); errors.Is(err, ErrNotFound) {
				if tile = nil; r.Events+256 <= h.tree.Size() {
					add(r.Events+1, "the tile over this event and the 255 after it is missing")
				}
			} else if err != nil {
				return r, err
			}
		}
		hash := tlog.RecordHash(leaf)
		if at := int(r.Events % 256 * tlog.HashSize); tile != nil && (len(tile) < at+tlog.HashSize || !bytes.Equal(hash[:], tile[at:at+tlog.HashSize])) {
			add(r.Events+1, "the event is not what was recorded")
		}
		tree.AppendHash(hash)
		if r.Events++; r.Events%block == 0 && len(r.Problems) == 0 {
			if err := db.checkSieve(ctx, r.Events/block-1); errors.Is(err, errSieve) {
				add(r.Events, err.Error())
			} else if err != nil {
				return r, err
			}
		}
	}
	if tree.Root() != h.tree.Root() && len(r.Problems) == 0 {
		add(0, "the events do not have the root that was recorded; one of the last 255, or a tile with them, was changed")
	}
	return r, nil
}

// Export writes the first size leaves, one a line.
func (db *DB) Export(ctx context.Context, size int64, w io.Writer) error {
	for leaf, err := range db.Leaves(ctx, size) {
		if err != nil {
			return err
		}
		if _, err := w.Write(append(leaf, '\n')); err != nil {
			return err
		}
	}
	return nil
}
