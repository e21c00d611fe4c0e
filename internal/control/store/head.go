package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// headRow is the head as the database has it.
type headRow struct {
	head
	size int64
	root []byte
}

// queryer is a database or a transaction on it.
type queryer interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// readHead reads the head, and refuses one beside which a newer program keeps what this one does not know of: it may have
// begun while this one runs.
func readHead(ctx context.Context, q queryer, hold string) (r headRow, err error) {
	at, known := 0, len(steps())
	err = q.QueryRowContext(ctx, "SELECT epoch, seq, kept, size, root, (SELECT MAX(version) FROM schema_version) FROM head"+hold).Scan(&r.epoch, &r.seq, &r.kept, &r.size, &r.root, &at)
	if err == nil && at > known {
		err = fmt.Errorf("%w: its schema is version %d, this program knows %d", ErrNewer, at, known)
	}
	return r, err
}

// is reports whether a head is what the database has.
func (r headRow) is(h *head) bool {
	root := h.tree.Root()
	return h.epoch == r.epoch && h.seq == r.seq && h.kept == r.kept && h.tree.Size() == r.size && bytes.Equal(root[:], r.root)
}

// load reads the head, rebuilds the tree under it and compares. On the first start it makes both.
func (db *DB) load(ctx context.Context) error {
	r, err := readHead(ctx, db.w, "")
	if errors.Is(err, sql.ErrNoRows) {
		if err = db.first(ctx); err == nil {
			r, err = readHead(ctx, db.w, "")
		}
	}
	if err != nil {
		return err
	}
	h, err := db.rebuilt(ctx, db.w, r)
	if err != nil {
		return err
	}
	db.head.Store(h)
	if err := db.w.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'ledger.key'").Scan(&db.verifier); err != nil {
		return fmt.Errorf("reading the ledger's key: %w", err)
	}
	// A seal key that does not fit is found now, not at the first request.
	return db.Read(ctx, func(tx *Tx) error { _, err := tx.Secret(checkpointKey); return err })
}

// errDamaged says that the ledger is not what the head says of it.
var errDamaged = errors.New("ledger is damaged: its events do not have the root that was recorded; lanyard audit verify on the last export says where")

// rebuilt is the head with the tree that is under it.
func (db *DB) rebuilt(ctx context.Context, q queryer, r headRow) (*head, error) {
	h := r.head
	var err error
	if h.tree, err = ledger.Load(r.size, db.readTile(ctx, q), func(from int64) (leaves [][]byte, err error) {
		for leaf, err := range db.leaves(ctx, q, from, r.size) {
			if err != nil {
				return nil, err
			}
			leaves = append(leaves, leaf)
		}
		return leaves, nil
	}); err != nil {
		return nil, err
	}
	if !r.is(&h) {
		return nil, errDamaged
	}
	return &h, nil
}

// catchUp brings what is remembered of the head to what the database has, which others write, too. The caller is the one writer here.
func (db *DB) catchUp(ctx context.Context, q queryer, r headRow) error {
	old := db.head.Load()
	if r.is(old) {
		return nil
	}
	h := r.head
	if h.tree = old.tree; h.epoch == old.epoch && h.tree.Size() <= r.size {
		for leaf, err := range db.leaves(ctx, q, h.tree.Size(), r.size) {
			if err != nil {
				return err
			}
			h.tree.Append(leaf)
		}
	}
	next := &h
	if !r.is(next) { // another store was put in its place, or the ledger is damaged
		var err error
		if next, err = db.rebuilt(ctx, q, r); err != nil {
			return err
		}
	}
	db.head.Store(next)
	db.bell.Ring()
	return nil
}

// current is the head as it is now, whoever wrote last.
func (db *DB) current(ctx context.Context) (*head, error) {
	if !db.engine.shared {
		return db.head.Load(), nil
	}
	ctx, cancel := db.patient(ctx)
	defer cancel()
	r, err := readHead(ctx, db.r, "")
	db.newer.Store(errors.Is(err, ErrNewer))
	if err != nil || r.is(db.head.Load()) {
		return db.head.Load(), db.mapped(err)
	}
	if err := db.acquire(ctx); err != nil {
		return nil, db.mapped(err)
	}
	defer db.release()
	err = db.Read(ctx, func(tx *Tx) error {
		r, err := readHead(ctx, tx.sql, "")
		if err == nil {
			err = db.catchUp(ctx, tx.sql, r)
		}
		return err
	})
	return db.head.Load(), err
}

// checkpointKey is the name of the secret that signs checkpoints.
const checkpointKey = "checkpoint"

// first makes the head and the key of the ledger, in one transaction.
func (db *DB) first(ctx context.Context) error {
	epoch, err := db.epoch()
	if err != nil {
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
	h := &head{epoch: epoch}
	root := h.tree.Root()
	return db.alone(ctx, func(tx *sql.Tx) error {
		if _, err := readHead(ctx, tx, ""); !errors.Is(err, sql.ErrNoRows) {
			return err // another node was first
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO head (one, epoch, seq, kept, size, root) VALUES (1, $1, 0, 0, 0, $2)", h.epoch, root[:])
		if err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO secrets (name, sealed) VALUES ($1, $2)", checkpointKey, sealed)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('ledger.key', $1)", []byte(verifier))
		}
		return err
	})
}

// epoch makes the name of one that was not before.
func (db *DB) epoch() (string, error) {
	var b [8]byte
	_, err := io.ReadFull(db.Rand, b[:])
	return fmt.Sprintf("%x", b), err
}

// Head is the cursor of the last change that this node knows of.
func (db *DB) Head() feed.Cursor {
	h := db.head.Load()
	return feed.Cursor{Epoch: h.epoch, Seq: h.seq}
}

// Latest is the cursor of the last change that any node has committed. Unlike [DB.Head] it asks the database, so that
// who is there is behind nobody: with that a node may say that a gateway is up to date.
func (db *DB) Latest(ctx context.Context) (feed.Cursor, error) {
	h, err := db.current(ctx)
	if err != nil {
		return feed.Cursor{}, err
	}
	return feed.Cursor{Epoch: h.epoch, Seq: h.seq}, nil
}

// Size is the number of events in the ledger.
func (db *DB) Size() int64 { return db.head.Load().tree.Size() }

// Root is the root of the ledger's tree.
func (db *DB) Root() ledger.Hash { return db.head.Load().tree.Root() }

// Verifier is the key that checkpoints of this ledger are verified with. It is public.
func (db *DB) Verifier() string { return db.verifier }
