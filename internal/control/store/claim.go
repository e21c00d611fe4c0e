package store

import (
	"context"
	"database/sql"
	"time"
)

// claimed is the kind of a ticket that no text was given out for: it says which node does something.
const claimed = "claim"

// Claim has this node alone, of all that share the store, do something until it calls free, or until life is over, as when it
// crashed. free is nil while another node has it; this one may claim it again. Like [DB.NoteAcks] it is no change of state.
func (db *DB) Claim(ctx context.Context, what string, life time.Duration) (free func(), err error) {
	if !db.engine.shared {
		return func() {}, nil
	}
	n, err := db.claim(ctx, `INSERT INTO tickets (kind, hash, expires, doc) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, hash) DO UPDATE SET expires = excluded.expires, doc = excluded.doc WHERE tickets.expires <= $5 OR tickets.doc = excluded.doc`,
		claimed, TicketHash(what), micros(db.now().Add(life)), []byte(db.node), micros(db.now()))
	if n == 0 || err != nil {
		return nil, err
	}
	return func() {
		// If that fails it is free when its life is over.
		_, _ = db.claim(context.WithoutCancel(ctx), "DELETE FROM tickets WHERE kind = $1 AND hash = $2 AND doc = $3", claimed, TicketHash(what), []byte(db.node))
	}, nil
}

func (db *DB) claim(ctx context.Context, query string, args ...any) (n int64, err error) {
	if err := db.acquire(ctx); err != nil {
		return 0, err
	}
	defer db.release()
	return n, db.judge(db.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, query, args...)
		if err == nil {
			n, err = res.RowsAffected()
		}
		return err
	}))
}
