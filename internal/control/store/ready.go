package store

import (
	"context"
	"database/sql"

	"golang.org/x/sys/unix"
)

// Probe tries a write that changes nothing when the last one found the disk full, so that
// a store nobody writes to any more finds out that there is space again.
func (db *DB) Probe(ctx context.Context) error {
	now, last := micros(db.now()), db.probed.Load()
	if !db.full.Load() || now >= last && now-last < 1e6 || !db.probed.CompareAndSwap(last, now) { // once a second, whoever asks
		return db.Ready()
	}
	if err := db.acquire(ctx); err != nil {
		return err
	}
	defer db.release()
	err := db.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('probe', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value", make([]byte, 64<<10))
		if err == nil {
			_, err = tx.ExecContext(ctx, "UPDATE meta SET value = $1 WHERE name = 'probe'", []byte{})
		}
		return err
	})
	if err != nil {
		return db.judge(err)
	}
	db.full.Store(false)
	return db.Ready()
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
	Notes   int // to be told
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
		{&c.Notes, "SELECT COUNT(*) FROM outbox", nil},
	} {
		if err := tx.row(q.query, q.args, q.to); err != nil {
			return c, err
		}
	}
	c.Sealed, err = tx.SealedBefore()
	return c, err
}
