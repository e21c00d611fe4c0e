package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
)

// sealKeys is where the data keys lie that secrets are sealed with, wrapped by a key that is not here.
const sealKeys = "seal"

// ErrMoved means that somebody else changed the seal keys in the meantime.
var ErrMoved = errors.New("the seal keys were changed by another node in the meantime; try again")

// unseal opens the data keys, and makes them on the first start.
func (db *DB) unseal(ctx context.Context) error {
	var kept []byte
	err := db.w.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = $1", sealKeys).Scan(&kept)
	if errors.Is(err, sql.ErrNoRows) {
		var secrets int
		if err := db.w.QueryRowContext(ctx, "SELECT COUNT(*) FROM secrets").Scan(&secrets); err != nil {
			return err
		}
		n, err := db.Seal.Begin(ctx, secrets > 0, db.now())
		if err != nil {
			return err
		}
		if secrets > 0 { // a key file that does not fit must not be taken in
			db.Seal.Apply(n)
			if err := db.Read(ctx, func(tx *Tx) error { _, err := tx.Secret(checkpointKey); return err }); err != nil {
				return err
			}
		}
		if err := db.alone(ctx, func(tx *sql.Tx) error { // another node may have been first
			if _, err := tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", sealKeys, n.Kept); err != nil {
				return err
			}
			return tx.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = $1", sealKeys).Scan(&kept)
		}); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return db.Seal.Use(ctx, kept)
}

// PutSeal keeps what the seal keys will be. Apply it to the box after the commit.
func (tx *Tx) PutSeal(n *seal.Next) error {
	kept, err := tx.Meta(sealKeys)
	if err != nil {
		return err
	}
	if !bytes.Equal(kept, n.After) {
		return ErrMoved
	}
	return tx.PutMeta(sealKeys, n.Kept)
}

// current has the box seal with the newest of the seal keys that this transaction sees, so that a key with which nothing is sealed can
// be dropped: another node may have rotated them. One that has only wrapped them anew, in a key that is perhaps not here, changes nothing.
func (tx *Tx) current() error {
	kept, err := tx.Meta(sealKeys)
	if err != nil {
		return fmt.Errorf("reading the seal keys: %w", err)
	}
	if tx.db.Seal.Seals(kept) {
		return nil
	}
	return tx.db.Seal.Use(tx.ctx, kept)
}

// Unseal opens what was sealed here or on another node, which may have rotated the keys since this one looked.
func (tx *Tx) Unseal(sealed []byte, place string) ([]byte, error) {
	plain, err := tx.db.Seal.Unseal(sealed, place)
	if err != nil && tx.current() == nil {
		plain, err = tx.db.Seal.Unseal(sealed, place)
	}
	return plain, err
}

// Unseal is [Tx.Unseal] of what is in no transaction: a form, or a cookie. Only on a store that others have, too, is it looked for
// newer keys.
func (db *DB) Unseal(ctx context.Context, sealed []byte, place string) ([]byte, error) {
	plain, err := db.Seal.Unseal(sealed, place)
	if err != nil && db.engine.shared && db.RefreshSeal(ctx) == nil {
		plain, err = db.Seal.Unseal(sealed, place)
	}
	return plain, err
}

// opened has the box use the seal keys that this transaction sees, or what the key file itself was for in a store from before
// there were such keys.
func (tx *Tx) opened() error {
	err := tx.current()
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	n, err := tx.db.Seal.Begin(tx.ctx, true, tx.now)
	if err == nil {
		tx.db.Seal.Apply(n)
	}
	return err
}

// SealedBefore counts the secrets that another data key than the newest sealed.
func (tx *Tx) SealedBefore() (n int, err error) {
	return n, tx.row("SELECT COUNT(*) FROM secrets WHERE substr(sealed, 1, 5) <> $1", []any{tx.db.Seal.Prefix()}, &n)
}

// Reseal seals up to n secrets with the newest data key that were sealed with another, and returns how many it did. It
// changes no state: what is kept stays what it was, and so there is no event of it.
func (db *DB) Reseal(ctx context.Context, n int) (done int, err error) {
	if err := db.acquire(ctx); err != nil {
		return 0, err
	}
	defer db.release()
	err = db.inTx(context.WithoutCancel(ctx), func(ctx context.Context, stx *sql.Tx) error {
		tx := &Tx{db: db, ctx: ctx, sql: stx, now: db.now()}
		if err := tx.current(); err != nil {
			return err
		}
		type secret struct {
			name   string
			sealed []byte
		}
		old, err := list(tx, func(row scanner) (s secret, err error) { return s, row.Scan(&s.name, &s.sealed) },
			"SELECT name, sealed FROM secrets WHERE substr(sealed, 1, 5) <> $1 ORDER BY name LIMIT $2", db.Seal.Prefix(), n)
		if err != nil {
			return err
		}
		for _, s := range old {
			plain, err := db.Seal.Unseal(s.sealed, s.name)
			if err != nil {
				return err
			}
			sealed, err := db.Seal.Seal(plain, s.name)
			clear(plain)
			if err != nil {
				return err
			}
			if _, err := tx.exec("UPDATE secrets SET sealed = $1 WHERE name = $2 AND sealed = $3", sealed, s.name, s.sealed); err != nil {
				return err
			}
		}
		done = len(old)
		return nil
	})
	if err != nil {
		return 0, db.judge(err)
	}
	return done, nil
}

// RefreshSeal has the box use the seal keys as they are kept now, wrapped as they are, as the next start will.
func (db *DB) RefreshSeal(ctx context.Context) error {
	return db.Read(ctx, func(tx *Tx) error {
		kept, err := tx.Meta(sealKeys)
		if err != nil {
			return fmt.Errorf("reading the seal keys: %w", err)
		}
		return tx.db.Seal.Use(ctx, kept)
	})
}
