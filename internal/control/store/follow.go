package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Watch yields changes after a cursor as [feed.Source] wants them, until ctx or the store ends. While the database
// is away there are none, and it goes on as soon as that is back; [DB.Ready] and [DB.Latest] say that it is.
func (db *DB) Watch(ctx context.Context, after feed.Cursor) iter.Seq2[feed.Change, error] {
	return func(yield func(feed.Change, error) bool) {
		at := after
		if at == (feed.Cursor{}) {
			for c, err := range db.snapshot(ctx) {
				if !yield(c, err) || err != nil {
					return
				}
				at = c.Cursor
			}
		}
		for {
			more := db.bell.Listen() // before the look, so that nothing falls between
			batch, err := db.changes(ctx, at, 1000)
			if errors.Is(err, ErrUnavailable) && ctx.Err() == nil && db.ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case <-db.ctx.Done():
				case <-more: // when it is back, or was tried in vain
				case <-time.After(poll):
				}
				continue
			}
			if err != nil {
				if db.ctx.Err() != nil {
					err = ErrClosed
				}
				if ctx.Err() == nil {
					yield(feed.Change{}, err)
				}
				return
			}
			for _, c := range batch {
				if ctx.Err() != nil || !yield(c, nil) {
					return
				}
				at = c.Cursor
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-db.ctx.Done():
				yield(feed.Change{}, ErrClosed)
				return
			case <-more:
			}
		}
	}
}

// changes returns up to limit changes after at, or feed.ErrCompacted.
func (db *DB) changes(ctx context.Context, at feed.Cursor, limit int) ([]feed.Change, error) {
	ctx, cancel := db.patient(ctx)
	defer cancel()
	h, err := db.reached(ctx, at)
	if err != nil {
		return nil, err
	}
	if at.Epoch != h.epoch || at.Seq < h.kept || at.Seq > h.seq {
		return nil, feed.ErrCompacted
	}
	if at.Seq == h.seq {
		return nil, nil
	}
	var out []feed.Change
	err = db.Read(ctx, func(tx *Tx) (err error) {
		next := at.Seq
		out, err = list(tx, func(row scanner) (c feed.Change, err error) {
			var doc []byte
			var seq uint64
			if err := row.Scan(&seq, &doc); err != nil {
				return c, err
			}
			if next++; seq != next {
				return c, feed.ErrCompacted // dropped between the look at the head and this
			}
			if err := json.Unmarshal(doc, &c); err != nil {
				return c, fmt.Errorf("change %d in the store is damaged: %w", seq, err)
			}
			c.Cursor = feed.Cursor{Epoch: h.epoch, Seq: seq}
			return c, nil
		}, "SELECT seq, doc FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2", at.Seq, limit)
		return err
	})
	return out, err
}

// reached is the head that changes can be read up to, for one who is at a cursor.
func (db *DB) reached(ctx context.Context, at feed.Cursor) (*head, error) {
	if db.engine.shared { // what is remembered here may be behind
		r, err := readHead(ctx, db.r, "")
		return &r.head, db.mapped(err)
	}
	h := db.head.Load()
	if at.Epoch == h.epoch && at.Seq > h.seq { // a snapshot has seen a commit that is being published
		if err := db.acquire(ctx); err != nil {
			return nil, err
		}
		db.release()
		h = db.head.Load()
	}
	return h, nil
}

// snapshot yields all there is as of one moment, then Synced.
func (db *DB) snapshot(ctx context.Context) iter.Seq2[feed.Change, error] {
	return func(yield func(feed.Change, error) bool) {
		err := db.Read(ctx, func(tx *Tx) error {
			var at feed.Cursor
			if err := tx.row("SELECT epoch, seq FROM head", nil, &at.Epoch, &at.Seq); err != nil {
				return err
			}
			send := func(c feed.Change) bool { c.Cursor = at; return yield(c, nil) }
			for _, part := range []func() error{
				func() error { return tx.keys(send) },
				func() error {
					return each(rows(tx, doc[identity.Owner], "SELECT doc FROM owners ORDER BY id"), func(o identity.Owner) bool { return send(feed.Change{Owner: &o}) })
				},
				func() error {
					return each(rows(tx, doc[policy.Upstream], "SELECT doc FROM upstreams ORDER BY name"), func(u policy.Upstream) bool { return send(feed.Change{Upstream: &u}) })
				},
				func() error {
					return each(rows(tx, doc[policy.Guardrail], "SELECT doc FROM guardrails ORDER BY id"), func(g policy.Guardrail) bool { return send(feed.Change{Guardrail: &g}) })
				},
				func() error {
					return each(rows(tx, scanIdentity, identityColumns+"ORDER BY id"), func(i identity.Identity) bool { return send(feed.Change{Identity: &i}) })
				},
				func() error {
					return each(rows(tx, scanCredential, credentialColumns+"ORDER BY identity, id"), func(c identity.Credential) bool { return send(feed.Change{Credential: &c}) })
				},
				func() error {
					return each(rows(tx, doc[policy.Grant], "SELECT doc FROM grants ORDER BY identity, id"), func(g policy.Grant) bool { return send(feed.Change{Grant: &g}) })
				},
				func() error { // those that ended are unknown, and so are good for nothing
					return each(rows(tx, doc[policy.Task], "SELECT doc FROM tasks WHERE state = 'open' AND until > $1 ORDER BY id", micros(tx.now)), func(t policy.Task) bool { return send(feed.Change{Task: &t}) })
				},
				func() error {
					return each(rows(tx, doc[Approval], "SELECT doc FROM approvals WHERE state IN ('waiting', 'approved', 'standing', 'denied') ORDER BY asked, id"), func(a Approval) bool { return send(feed.Change{Approval: &a.Approval}) })
				},
				func() error {
					return each(rows(tx, scanToken, "SELECT id, expires FROM tokens ORDER BY id"), func(t feed.TokenRevocation) bool { return send(feed.Change{Token: &t}) })
				},
			} {
				if err := part(); err != nil {
					return err
				}
			}
			if !send(feed.Change{Synced: true}) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) && ctx.Err() == nil {
			yield(feed.Change{}, err)
		}
	}
}

// errStopped says that whoever reads has had enough.
var errStopped = errors.New("stopped")

func each[T any](all iter.Seq2[T, error], send func(T) bool) error {
	for v, err := range all {
		if err != nil {
			return err
		}
		if !send(v) {
			return errStopped
		}
	}
	return nil
}

func (tx *Tx) keys(send func(feed.Change) bool) error {
	jwks, err := tx.Meta("jwks")
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil && !send(feed.Change{Keys: &feed.Keys{JWKS: jwks}}) {
		err = errStopped
	}
	return err
}

func scanToken(row scanner) (t feed.TokenRevocation, err error) {
	var expires int64
	err = row.Scan(&t.ID, &expires)
	t.Expires = at(expires)
	return t, err
}
