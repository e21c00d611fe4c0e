package store

import (
	"context"
	"database/sql"
	"io"

	"golang.org/x/sys/unix"
)

// probe tries a write that changes nothing after one that found the disk full, so that a store nobody writes to any more,
// because it is not ready, finds out that there is space again. The caller is the one writer.
func (db *DB) probe() {
	b := make([]byte, 64<<10) // more than is left in pages that are there
	err := db.inTx(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := io.ReadFull(db.Rand, b) // zeros would be pressed together
		if err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('probe', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value", b)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "UPDATE meta SET value = $1 WHERE name = 'probe'", []byte{})
		}
		return err
	})
	if db.judge(err) == nil {
		db.full.Store(false)
	}
}

// Space is how much is left for what the store keeps in its folder, of how much; 0 when that is not known.
func (db *DB) Space() (free, size uint64) {
	var s unix.Statfs_t
	if unix.Statfs(db.Dir, &s) != nil {
		return 0, 0
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize)
}

// Counts is how much there is of what people watch.
type Counts struct {
	Waiting int // questions without an answer
	Tasks   int // open
	Notes   int // to be told people
	Signals int // to be told receivers
	Sealed  int // secrets of an older data key
}

// Counts counts it.
func (tx *Tx) Counts() (c Counts, err error) {
	for _, q := range []struct {
		to    *int
		query string
		args  []any
	}{
		{&c.Waiting, "SELECT COUNT(*) FROM approvals WHERE state = 'waiting' AND expires > $1", []any{micros(tx.now)}},
		{&c.Tasks, "SELECT COUNT(*) FROM tasks WHERE state = 'open' AND until > $1", []any{micros(tx.now)}},
		{&c.Notes, "SELECT COUNT(*) FROM outbox WHERE door < $1 OR door >= $2", receiverDoors},
		{&c.Signals, "SELECT COUNT(*) FROM outbox WHERE door >= $1 AND door < $2", receiverDoors},
	} {
		if err := tx.row(q.query, q.args, q.to); err != nil {
			return c, err
		}
	}
	c.Sealed, err = tx.SealedBefore()
	return c, err
}
