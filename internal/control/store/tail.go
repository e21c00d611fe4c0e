package store

import (
	"errors"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// tail is the last of the feed as it travels: what each of a thousand gateways would read from the database is read once.
type tail struct {
	bell feed.Bell // rings when there is more

	mu    sync.Mutex
	from  feed.Cursor    // what is held follows it
	lines []feed.Encoded // without a gap
	size  int            // in bytes
}

// What is held: so many changes, and of those that are large so many bytes.
const (
	tailLines = 4096
	tailBytes = 16 << 20
)

// after returns some of what is held after a cursor. What is not held is to be asked of the database.
func (t *tail) after(at feed.Cursor) (list []feed.Encoded, held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at.Epoch != t.from.Epoch || at.Seq < t.from.Seq {
		return nil, false
	}
	n := at.Seq - t.from.Seq
	if n >= uint64(len(t.lines)) {
		return nil, true
	}
	list = t.lines[n:]
	list = list[:min(len(list), atOnce):min(len(list), atOnce)]
	return list, true
}

func (t *tail) add(batch []feed.Encoded) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, batch...)
	for _, e := range batch {
		t.size += len(e.Is)
	}
	drop := 0
	for left := len(t.lines); left > tailLines || t.size > tailBytes && left > 0; left-- {
		t.size -= len(t.lines[drop].Is)
		t.from = t.lines[drop].Cursor
		drop++
	}
	if drop > 0 { // whoever reads keeps what was
		t.lines = append([]feed.Encoded(nil), t.lines[drop:]...)
	}
}

// begin has the tail begin behind a cursor.
func (t *tail) begin(at feed.Cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.from, t.lines, t.size = at, nil, 0
}

// tailLoop reads what is new, and rings for those who wait for it.
func (db *DB) tailLoop() {
	defer db.ended.Done()
	at := db.Head()
	db.tail.begin(at)
	for db.ctx.Err() == nil {
		more := db.bell.Listen()
		batch, err := db.encoded(db.ctx, at)
		if errors.Is(err, feed.ErrCompacted) { // another store is in its place: who follows what was is told so by the database
			if at, err = db.Latest(db.ctx); err == nil {
				db.tail.begin(at)
				db.tail.bell.Ring()
				continue
			}
		}
		if len(batch) > 0 {
			db.tail.add(batch)
			at = batch[len(batch)-1].Cursor
			db.tail.bell.Ring()
			continue
		}
		again := make(<-chan time.Time)
		if err != nil {
			again = time.After(poll)
		}
		select {
		case <-db.ctx.Done():
		case <-more:
		case <-again:
		}
	}
}
