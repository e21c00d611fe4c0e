package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// ErrNotEmpty means that a store is there, which was not to be written over.
var ErrNotEmpty = errors.New("there is a store already")

// Restoring says how an archive is put in place.
type Restoring struct {
	Force      bool   // over a store that is there, which then is gone
	Checkpoint []byte // signed; the archive's ledger must contain it
	Key        string // the verifier that the archive must be signed with; without it, the one in it is believed

	mark func() error // of a copy, which goes on where the store was and keeps the epoch of its feed: called before it is there
}

// Restore puts an archive in the place that c names, in one transaction: all of
// it is there, and is what was backed up, or nothing was changed. The feed gets
// another epoch, so that no gateway goes on from a place that the store may be behind.
func Restore(ctx context.Context, c Config, in io.Reader, o Restoring) (a Archive, err error) {
	r, a, err := readArchive(in)
	if err != nil {
		return a, err
	}
	db := newDB(c)
	defer func() { err = errors.Join(err, db.shut()) }()
	if err := db.connect(); err != nil {
		return a, fmt.Errorf("opening the store in %s: %w", db.place(), err)
	}
	err = db.alone(ctx, func(tx *sql.Tx) error {
		if err := db.clear(ctx, tx, a.Schema, o.Force); err != nil {
			return err
		}
		if err := db.fill(ctx, tx, r, a.Schema); err != nil {
			return err
		}
		if err := db.verifyRestored(ctx, tx, r, a, o); err != nil {
			return err
		}
		if o.mark != nil {
			return o.mark()
		}
		return db.newEpoch(ctx, tx)
	})
	return a, db.mapped(err)
}

// newEpoch has every gateway take a new snapshot.
func (db *DB) newEpoch(ctx context.Context, tx *sql.Tx) error {
	epoch, err := db.epoch()
	if err == nil {
		_, err = tx.ExecContext(ctx, "UPDATE head SET epoch = $1"+db.told, epoch)
	}
	return err
}

// clear makes the empty tables of a schema, in the place of what is there.
func (db *DB) clear(ctx context.Context, tx *sql.Tx, schema int, force bool) error {
	if db.engine.shared {
		if _, err := tx.ExecContext(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
			return err
		}
		free := false
		for n := 0; !free; n++ { // the server may take a moment to see that a node ended
			if n > 20 {
				return errors.New("it is in use by a running lanyard serve; stop every one on this database first")
			}
			if n > 0 {
				time.Sleep(50 * time.Millisecond)
			}
			if err := tx.QueryRowContext(ctx, "SELECT pg_try_advisory_xact_lock("+usingLock+")").Scan(&free); err != nil {
				return err
			}
		}
	}
	at, err := schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	old, err := tables(at)
	if err != nil {
		return err
	}
	if at > 0 {
		var stores int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM head").Scan(&stores); err != nil {
			return err
		}
		if stores > 0 && !force {
			return fmt.Errorf("%w in %s; with --force it is written over, and gone", ErrNotEmpty, db.place())
		}
	}
	for _, name := range slices.Backward(old) {
		if _, err := tx.ExecContext(ctx, "DROP TABLE "+name); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM schema_version"); err != nil {
		return err
	}
	for n := range schema {
		if err := db.step(ctx, tx, n+1); err != nil {
			return err
		}
	}
	return nil
}

// fill writes the rows of all tables.
func (db *DB) fill(ctx context.Context, tx *sql.Tx, r *reader, schema int) error {
	names, err := tables(schema)
	if err != nil {
		return err
	}
	for _, name := range names {
		var t table
		if err := json.Unmarshal(r.peek(), &t); r.err != nil || err != nil || t.Table != name {
			return errors.Join(fmt.Errorf("the backup is damaged in line %d: table %s is not there", r.n+1, name), r.err)
		}
		r.take()
		none, err := tx.QueryContext(ctx, "SELECT * FROM "+name+" LIMIT 0")
		if err != nil {
			return err
		}
		known, err := none.Columns()
		if err = errors.Join(err, none.Close()); err != nil {
			return err
		}
		if err := r.insert(ctx, tx, t, known); err != nil {
			return err
		}
	}
	return nil
}

// verifyRestored holds what was written against what was backed up: the archive's
// signature, the ledger event by event, and the seal key.
func (db *DB) verifyRestored(ctx context.Context, stx *sql.Tx, r *reader, a Archive, o Restoring) error {
	tx := &Tx{db: db, ctx: ctx, sql: stx, now: db.now()}
	key, err := tx.Meta("ledger.key")
	if err != nil {
		return fmt.Errorf("the backup has no key of the ledger: %w", err)
	}
	if o.Key != "" && strings.TrimSpace(o.Key) != string(key) {
		return errors.New("the backup is of another ledger than that key")
	}
	if err := r.signed(string(key)); err != nil {
		return err
	}
	var known *ledger.Checkpoint
	if o.Checkpoint != nil {
		c, err := ledger.OpenCheckpoint(o.Checkpoint, string(key))
		if err != nil {
			return err
		}
		known = &c
	}
	if err := tx.opened(); err != nil {
		return fmt.Errorf("the backup's secrets cannot be opened: %w", err)
	}
	secret, err := tx.Secret(checkpointKey)
	if err != nil {
		return fmt.Errorf("the backup's secrets cannot be opened: %w", err)
	}
	if err := pair(string(secret), string(key)); err != nil {
		return err
	}
	h, err := readHead(ctx, stx, "")
	if err != nil {
		return err
	}
	var tree ledger.Tree
	behind := known != nil && known.Size > h.size
	differs := known != nil && known.Size == 0 && known.Root != tree.Root()
	for leaf, err := range db.leaves(ctx, stx, 0, h.size) {
		if err != nil {
			return err
		}
		for _, t := range tree.Append(leaf) {
			data, err := db.readTile(ctx, stx)(t.Level, t.Index)
			if err != nil || string(data) != string(t.Data()) {
				return errors.Join(fmt.Errorf("the backup's ledger is damaged: the tile %d/%d is not that of its events", t.Level, t.Index), err)
			}
		}
		differs = differs || known != nil && known.Size == tree.Size() && known.Root != tree.Root()
	}
	root := tree.Root()
	switch {
	case string(root[:]) != string(h.root) || string(h.root) != string(a.Root) || h.size != a.Events:
		return errors.New("the backup's ledger is damaged: its events do not have the root that was recorded")
	case behind:
		return fmt.Errorf("the backup has %d events and the checkpoint is of %d: it is older", h.size, known.Size)
	case differs:
		return errors.New("the backup's ledger is not that of the checkpoint: one of them was changed")
	}
	return nil
}

// pair reports whether a secret key and a verifier belong together.
func pair(secret, verifier string) error {
	signer, err := note.NewSigner(secret)
	if err != nil {
		return errors.New("the key that signs checkpoints is malformed")
	}
	v, err := note.NewVerifier(verifier)
	if err != nil || v.Name() != signer.Name() || v.KeyHash() != signer.KeyHash() {
		return errors.New("the backup's ledger is signed with another key than it says")
	}
	return nil
}

// Copy puts all of one store into an empty place of another engine. The copy goes on where the store was: followers
// resume at their cursor. The store itself gets another epoch first, so that the two are never taken for one.
func Copy(ctx context.Context, from, to Config) (a Archive, err error) {
	if !Exists(from.Dir) {
		return a, fmt.Errorf("there is no store in %s", from.Dir)
	}
	db := newDB(from)
	defer func() { err = errors.Join(err, db.shut()) }()
	if err := db.connect(); err != nil {
		return a, fmt.Errorf("opening the store in %s: %w", db.place(), err)
	}
	in, out := io.Pipe()
	go func() {
		_, err := db.archive(ctx, out)
		out.CloseWithError(err)
	}()
	a, err = Restore(ctx, to, in, Restoring{mark: func() error {
		if err := db.alone(ctx, func(tx *sql.Tx) error { return db.newEpoch(ctx, tx) }); err != nil {
			return fmt.Errorf("nothing was copied, because the store in %s could not be marked as copied: %w", from.Dir, err)
		}
		return nil
	}})
	in.CloseWithError(err)
	return a, err
}

// Schema is how many migrations a store has, and how many this program knows. None are of a store that is not there.
func Schema(ctx context.Context, c Config) (have, know int, err error) {
	know = len(steps())
	if c.Database == "" && !Exists(c.Dir) {
		return 0, know, nil
	}
	db := newDB(c)
	defer func() { err = errors.Join(err, db.shut()) }()
	if db.w, db.r, err = db.engine.open(db.Config); err != nil {
		return 0, know, err
	}
	if err := db.r.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&have); err != nil && !db.engine.missing(err) {
		return 0, know, fmt.Errorf("reading the store in %s: %w", db.place(), db.mapped(err))
	}
	return have, know, nil
}

// Migrate brings the schema of a store up to date, and makes it where there is none. [Open] does the same.
func Migrate(ctx context.Context, c Config) (err error) {
	db := newDB(c)
	defer func() { err = errors.Join(err, db.shut()) }()
	if err = db.connect(); err == nil {
		err = db.migrate(ctx)
	}
	if err != nil {
		return fmt.Errorf("migrating the store in %s: %w", db.place(), db.mapped(err))
	}
	return nil
}
