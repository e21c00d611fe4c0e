package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// Ack is what is known of a gateway when it is not there: for the next start of a control plane.
type Ack struct {
	Gateway string
	Cursor  feed.Cursor
	At      time.Time     // when it was last heard of
	Lease   time.Duration // no lease that it was given was longer
}

// Acks lists the gateways by name.
func (tx *Tx) Acks() ([]Ack, error) {
	return list(tx, func(row scanner) (a Ack, err error) {
		var seq, when, lease int64
		err = row.Scan(&a.Gateway, &a.Cursor.Epoch, &seq, &when, &lease)
		a.Cursor.Seq, a.At, a.Lease = uint64(seq), at(when), time.Duration(lease)*time.Microsecond
		return a, err
	}, "SELECT gateway, epoch, seq, at, lease FROM acks ORDER BY gateway")
}

// NoteAcks keeps what is known of gateways, and forgets others that were not heard of since a time. Like
// [DB.TouchCredential] that is no change of state, and has no event: nothing is allowed or refused by it.
func (db *DB) NoteAcks(ctx context.Context, put []Ack, forget []string, since time.Time) error {
	if err := db.acquire(ctx); err != nil {
		return err
	}
	defer db.release()
	return db.judge(db.inTx(context.WithoutCancel(ctx), func(ctx context.Context, tx *sql.Tx) error {
		for _, a := range put {
			if _, err := tx.ExecContext(ctx, `INSERT INTO acks (gateway, epoch, seq, at, lease) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (gateway) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, at = excluded.at, lease = excluded.lease`,
				a.Gateway, a.Cursor.Epoch, int64(a.Cursor.Seq), micros(a.At), a.Lease.Microseconds()); err != nil {
				return err
			}
		}
		for _, name := range forget {
			if _, err := tx.ExecContext(ctx, "DELETE FROM acks WHERE gateway = $1 AND at < $2", name, micros(since)); err != nil {
				return err
			}
		}
		return nil
	}))
}
