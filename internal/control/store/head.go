package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// load reads the head, rebuilds the tree under it and compares. On the first start it makes both.
func (db *DB) load(ctx context.Context) error {
	var h head
	var size int64
	var root []byte
	err := db.w.QueryRowContext(ctx, "SELECT epoch, seq, kept, size, root FROM head").Scan(&h.epoch, &h.seq, &h.kept, &size, &root)
	if errors.Is(err, sql.ErrNoRows) {
		return db.begin(ctx)
	}
	if err != nil {
		return err
	}
	if h.tree, err = ledger.Load(size, db.readTile(ctx), func(from int64) (leaves [][]byte, err error) {
		for leaf, err := range db.leaves(ctx, from, size) {
			if err != nil {
				return nil, err
			}
			leaves = append(leaves, leaf)
		}
		return leaves, nil
	}); err != nil {
		return err
	}
	if got := h.tree.Root(); string(got[:]) != string(root) {
		return errors.New("ledger is damaged: its events do not have the root that was recorded; lanyard audit verify on the last export says where")
	}
	db.head.Store(&h)
	if err := db.w.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'ledger.key'").Scan(&db.verifier); err != nil {
		return fmt.Errorf("reading the ledger's key: %w", err)
	}
	// A seal key that does not fit is found now, not at the first request.
	return db.Read(ctx, func(tx *Tx) error { _, err := tx.Secret(checkpointKey); return err })
}

// checkpointKey is the name of the secret that signs checkpoints.
const checkpointKey = "checkpoint"

// begin makes the head and the key of the ledger, in one transaction.
func (db *DB) begin(ctx context.Context) error {
	var b [8]byte
	if _, err := io.ReadFull(db.Rand, b[:]); err != nil {
		return err
	}
	secret, verifier, err := ledger.NewKey(db.Rand, db.Origin)
	if err != nil {
		return err
	}
	sealed, err := db.Seal.Seal([]byte(secret), checkpointKey)
	if err != nil {
		return err
	}
	h := &head{epoch: fmt.Sprintf("%x", b)}
	root := h.tree.Root()
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO head (one, epoch, seq, kept, size, root) VALUES (1, $1, 0, 0, 0, $2)", h.epoch, root[:])
		if err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO secrets (name, sealed) VALUES ($1, $2)", checkpointKey, sealed)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('ledger.key', $1)", []byte(verifier))
		}
		return err
	})
	if err != nil {
		return err
	}
	db.verifier = verifier
	db.head.Store(h)
	return nil
}

// Head is the cursor of the last change.
func (db *DB) Head() feed.Cursor {
	h := db.head.Load()
	return feed.Cursor{Epoch: h.epoch, Seq: h.seq}
}

// Size is the number of events in the ledger.
func (db *DB) Size() int64 { return db.head.Load().tree.Size() }

// Root is the root of the ledger's tree.
func (db *DB) Root() ledger.Hash { return db.head.Load().tree.Root() }

// Verifier is the key that checkpoints of this ledger are verified with. It is public.
func (db *DB) Verifier() string { return db.verifier }
