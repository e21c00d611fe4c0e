package store

import (
	"errors"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// orphans are the children of one identity that was stopped after it had started them, or
// is over, and all that descend from them: none of them can act any more, whatever its
// own row says. What they are is looked at in here: outside, the index of states would be
// taken, and that is of everyone.
const orphans = `WITH RECURSIVE tree (id) AS (
	SELECT c.id FROM identities c JOIN identities p ON c.parent = p.id WHERE p.id = $1 AND (p.state IN ('killed', 'retired') OR p.generation <> c.born)
	UNION SELECT i.id FROM identities i JOIN tree ON i.parent = tree.id)
	SELECT tree.id FROM tree JOIN identities o ON o.id = tree.id WHERE o.state IN ('active', 'suspended', 'expired')`

// orphan notes that what id has started is to be stopped yet, or that it was.
func (tx *Tx) orphan(s Selector, kill string) (err error) {
	switch {
	case !s.Below.IsZero():
		_, err = tx.exec("DELETE FROM orphaned WHERE root = $1", s.Below.String())
	case !s.Identity.IsZero():
		_, err = tx.exec(`INSERT INTO orphaned (root, kill) SELECT id, $2 FROM identities p WHERE id = $1 AND EXISTS (SELECT 1 FROM identities c WHERE c.parent = p.id AND c.state IN ('active', 'suspended', 'expired'))
			ON CONFLICT (root) DO UPDATE SET kill = excluded.kill`, s.Identity.String(), kill)
	}
	return err
}

// Orphaned reports whether what an identity had started is to be stopped yet.
func (tx *Tx) Orphaned(id identity.ID) (bool, error) {
	return tx.has("SELECT 1 FROM orphaned WHERE root = $1", id.String())
}

// Bereft is an identity that a kill stopped, and that has orphans still listed as living.
type Bereft struct {
	Identity identity.ID
	Kill     string
}

// Bereft lists at most limit of them.
func (tx *Tx) Bereft(limit int) ([]Bereft, error) {
	return list(tx, func(row scanner) (b Bereft, err error) {
		var id string
		if err = row.Scan(&id, &b.Kill); err == nil {
			b.Identity, err = identity.ParseID(id)
		}
		return b, err
	}, "SELECT root, kill FROM orphaned ORDER BY root LIMIT $1", limit)
}

// ended is what is kept as the end of an identity that comes into that state now.
func (tx *Tx) ended(s identity.State) int64 {
	switch s {
	case identity.Killed, identity.Expired, identity.Retired:
		return micros(tx.now)
	}
	return 0
}

// CountChildren counts the living children of an identity, up to limit.
func (tx *Tx) CountChildren(id identity.ID, limit int) (n int, err error) {
	return n, tx.row(`SELECT COUNT(*) FROM (SELECT 1 FROM identities WHERE parent = $1 AND state IN ('active', 'suspended') AND expires > $2 LIMIT $3) living`,
		[]any{id.String(), micros(tx.now), limit}, &n)
}

// descendants is the identity $1 with all that descend from it, and how far.
const descendants = `WITH RECURSIVE tree (id, depth) AS (SELECT id, 0 FROM identities WHERE id = $1
	UNION SELECT i.id, tree.depth + 1 FROM identities i JOIN tree ON i.parent = tree.id WHERE tree.depth < 64) `

// Descendants lists at most limit of all that descend from an identity, ended ones too, parents before children; 0 is all.
func (tx *Tx) Descendants(id identity.ID, limit int) ([]identity.Identity, error) {
	if limit <= 0 {
		limit = 1 << 30
	}
	return list(tx, scanIdentity, descendants+`SELECT i.doc, i.state, i.generation, i.killed_by, i.killed_from, i.version
		FROM tree JOIN identities i ON i.id = tree.id WHERE tree.depth > 0 ORDER BY tree.depth, i.id LIMIT $2`, id.String(), limit)
}

// CountDescendants counts all that descend from an identity, ended ones too.
func (tx *Tx) CountDescendants(id identity.ID) (n int, err error) {
	return n, tx.row(descendants+"SELECT COUNT(*) FROM tree WHERE depth > 0", []any{id.String()}, &n)
}

// Forgettable lists at most limit children that ended before then and have no children themselves,
// nor asked people anything that is still kept.
func (tx *Tx) Forgettable(then time.Time, limit int) ([]identity.ID, error) {
	return list(tx, scanID, `SELECT id FROM identities c WHERE parent IS NOT NULL AND ended > 0 AND ended < $1
		AND NOT EXISTS (SELECT 1 FROM identities k WHERE k.parent = c.id) AND NOT EXISTS (SELECT 1 FROM approvals a WHERE a.identity = c.id) ORDER BY ended LIMIT $2`, micros(then), limit)
}

// Forget removes an identity that has no children, with its credentials, grants and tasks. Its
// keys stay taken, and what the ledger says of it stays.
func (tx *Tx) Forget(id identity.ID) error {
	n, err := tx.CountDescendants(id)
	if err == nil && n > 0 {
		err = ErrInUse
	}
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`INSERT INTO spent_keys (thumbprint) SELECT key_thumbprint FROM credentials WHERE identity = $1
			UNION SELECT thumbprint FROM credentials WHERE identity = $1 ON CONFLICT (thumbprint) DO NOTHING`,
		"DELETE FROM tasks WHERE identity = $1", "DELETE FROM grants WHERE identity = $1", "DELETE FROM credentials WHERE identity = $1",
	} {
		_, e := tx.exec(statement, id.String())
		err = errors.Join(err, e)
	}
	return errors.Join(err, tx.delete("DELETE FROM identities WHERE id = $1", id.String(), feed.Change{Identity: &identity.Identity{ID: id}}))
}

// Spent reports whether a key, or a certificate, was of an identity that is forgotten.
func (tx *Tx) Spent(thumbprint string) (bool, error) {
	return tx.has("SELECT 1 FROM spent_keys WHERE thumbprint = $1", thumbprint)
}

func (tx *Tx) has(query, key string) (bool, error) {
	var one int
	err := tx.row(query, []any{key}, &one)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
