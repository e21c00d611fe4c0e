package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"iter"
	"strconv"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// A snapshot is made of what is stored as it is stored: nothing is decoded that need not be, since there may be millions.

// part is one kind of thing in a snapshot: a query, and what adds the members of the change that says a row.
type part struct {
	query string
	args  []any
	add   func(b []byte, row scanner) ([]byte, error)
}

func (tx *Tx) parts() []part {
	return []part{
		{"SELECT value FROM meta WHERE name = 'jwks'", nil, func(b []byte, row scanner) ([]byte, error) {
			var jwks []byte
			err := row.Scan(&jwks)
			return member(b, "keys", encode(feed.Keys{JWKS: jwks})), err
		}},
		{"SELECT doc FROM owners ORDER BY id", nil, asIs("owner")},
		{"SELECT doc FROM upstreams ORDER BY name", nil, asIs("upstream")},
		{"SELECT doc FROM guardrails ORDER BY id", nil, asIs("guardrail")},
		// Of these there are most, and they come as they lie in the database: in an order it would look for each row where that is.
		{identityColumns, nil, addIdentity},
		{"SELECT doc, revoked FROM credentials", nil, addCredential},
		{"SELECT doc FROM grants", nil, asIs("grant")},
		// Those that ended are unknown, and so are good for nothing.
		{"SELECT doc FROM tasks WHERE state = 'open' AND until > $1 ORDER BY id", []any{micros(tx.now)}, asIs("task")},
		{"SELECT doc FROM approvals WHERE state IN ('waiting', 'approved', 'standing', 'denied') ORDER BY asked, id", nil, func(b []byte, row scanner) ([]byte, error) {
			a, err := doc[Approval](row)
			return member(b, "approval", encode(a.Approval)), err
		}},
		{"SELECT id, expires FROM tokens ORDER BY id", nil, func(b []byte, row scanner) ([]byte, error) {
			var t feed.TokenRevocation
			var expires int64
			err := row.Scan(&t.ID, &expires)
			t.Expires = at(expires)
			return member(b, "token", encode(t)), err
		}},
	}
}

func member(b []byte, name string, value []byte) []byte {
	b = append(append(append(b, '"'), name...), '"', ':')
	return append(b, value...)
}

func asIs(name string) func([]byte, scanner) ([]byte, error) {
	return func(b []byte, row scanner) ([]byte, error) {
		var doc sql.RawBytes
		err := row.Scan(&doc)
		return member(b, name, doc), err
	}
}

// addIdentity decodes those alone that were changed in bulk: whatever does that counts the version up beside the doc.
func addIdentity(b []byte, row scanner) ([]byte, error) {
	var doc, state, killedBy, killedFrom sql.RawBytes
	var generation uint64
	var version int64
	if err := row.Scan(&doc, &state, &generation, &killedBy, &killedFrom, &version); err != nil {
		return b, err
	}
	if bytes.HasSuffix(doc, append(strconv.AppendInt([]byte(`,"version":`), version, 10), '}')) {
		return member(b, "identity", doc), nil
	}
	r, err := decoded(doc, identityRow{state: identity.State(state), generation: generation, killedBy: string(killedBy), killedFrom: identity.State(killedFrom), version: version}, (*identityRow).fix)
	return member(b, "identity", encode(r.Identity)), err
}

// addCredential decodes those that were revoked. When one was last used no gateway needs to know.
func addCredential(b []byte, row scanner) ([]byte, error) {
	var doc sql.RawBytes
	var revoked int64
	if err := row.Scan(&doc, &revoked); err != nil {
		return b, err
	}
	if revoked == 0 && !bytes.Contains(doc, []byte(`"revoked":`)) {
		return member(b, "credential", doc), nil
	}
	c, err := decoded(doc, identity.Credential{}, nil)
	c.Revoked = at(revoked)
	return member(b, "credential", encode(c)), err
}

// snapshot yields all there is as of one moment, then Synced, some at a time.
func (db *DB) snapshot(ctx context.Context) iter.Seq2[[]feed.Encoded, error] {
	return func(yield func([]feed.Encoded, error) bool) {
		err := db.Read(ctx, func(tx *Tx) error {
			var at feed.Cursor
			if err := tx.row("SELECT epoch, seq FROM head", nil, &at.Epoch, &at.Seq); err != nil {
				return err
			}
			const most = 64 << 10
			var batch []feed.Encoded
			b := make([]byte, 0, most+most/4)
			for _, p := range tx.parts() {
				for next, err := range rows(tx, func(row scanner) ([]byte, error) { return p.add(b, row) }, p.query, p.args...) {
					if err != nil {
						return err
					}
					batch = append(batch, feed.Encoded{Cursor: at, Is: next[len(b):len(next):len(next)], Part: true})
					if b = next; len(b) < most {
						continue
					}
					if !yield(batch, nil) {
						return errStopped
					}
					batch, b = nil, make([]byte, 0, most+most/4)
				}
			}
			if !yield(append(batch, feed.Encoded{Cursor: at, Is: []byte(`"synced":true`), Synced: true}), nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

// errStopped says that whoever reads has had enough.
var errStopped = errors.New("stopped")
