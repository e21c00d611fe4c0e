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
	Turn    string        // another one each time that this was noted
}

// Acks lists the gateways by name.
func (tx *Tx) Acks() ([]Ack, error) {
	return list(tx, func(row scanner) (a Ack, err error) {
		var seq, when, lease int64
		err = row.Scan(&a.Gateway, &a.Cursor.Epoch, &seq, &when, &lease, &a.Turn)
		a.Cursor.Seq, a.At, a.Lease = uint64(seq), at(when), time.Duration(lease)*time.Microsecond
		return a, err
	}, "SELECT gateway, epoch, seq, at, lease, turn FROM acks ORDER BY gateway")
}

// NoteAcks keeps what is known of gateways, and forgets others if nobody has noted them since: by their turn. Like
// [DB.TouchCredential] that is no change of state, and has no event: nothing is allowed or refused by it. Where
// other nodes may have given a longer lease, that one stays.
func (db *DB) NoteAcks(ctx context.Context, put, forget []Ack) error {
	if len(put)+len(forget) == 0 {
		return nil
	}
	turn, err := db.epoch()
	if err != nil {
		return err
	}
	lease := "excluded.lease"
	if db.engine.shared {
		lease = "CASE WHEN excluded.lease < acks.lease THEN acks.lease ELSE excluded.lease END"
	}
	if err := db.acquire(ctx); err != nil {
		return err
	}
	defer db.release()
	return db.judge(db.inTx(context.WithoutCancel(ctx), func(ctx context.Context, tx *sql.Tx) error {
		for _, a := range put {
			if _, err := tx.ExecContext(ctx, `INSERT INTO acks (gateway, epoch, seq, at, lease, turn) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (gateway) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, at = excluded.at, lease = `+lease+`, turn = excluded.turn`,
				a.Gateway, a.Cursor.Epoch, int64(a.Cursor.Seq), micros(a.At), a.Lease.Microseconds(), turn); err != nil {
				return err
			}
		}
		for _, a := range forget {
			if _, err := tx.ExecContext(ctx, "DELETE FROM acks WHERE gateway = $1 AND turn = $2", a.Gateway, a.Turn); err != nil {
				return err
			}
		}
		return nil
	}))
}
