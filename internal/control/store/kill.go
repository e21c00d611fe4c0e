package store

import (
	"fmt"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Selector says which identities a kill stops. Exactly one field is set.
type Selector struct {
	Identity identity.ID
	Below    identity.ID // what that one started before it was stopped, and what they started; not itself
	Owner    identity.OwnerID
	All      bool
}

// killable are the states from which an identity can be killed.
const killable = "state IN ('active', 'suspended', 'expired')"

func (s Selector) where() (string, []any) {
	switch {
	case s.All:
		return killable, []any{}
	case !s.Below.IsZero():
		return "id IN (" + orphans + ")", []any{s.Below.String()}
	case s.Owner != "":
		return "owner = $1 AND " + killable, []any{string(s.Owner)}
	}
	return "id = $1 AND " + killable, []any{s.Identity.String()}
}

func scanID(row scanner) (id identity.ID, err error) {
	var s string
	if err := row.Scan(&s); err != nil {
		return id, err
	}
	return identity.ParseID(s)
}

// Killable lists what Kill would stop.
func (tx *Tx) Killable(s Selector) ([]identity.ID, error) {
	where, args := s.where()
	return list(tx, scanID, "SELECT id FROM identities WHERE "+where+" ORDER BY id", args...)
}

// Kill stops all that s selects and is not stopped for good already, however
// many, in one statement and one change: state, generation and credentials.
func (tx *Tx) Kill(kill string, s Selector) (ids []identity.ID, credentials int, err error) {
	if ids, err = tx.Killable(s); err == nil {
		err = tx.orphan(s, kill)
	}
	if err != nil || len(ids) == 0 {
		return ids, 0, err
	}
	where, args := s.where()
	set := fmt.Sprintf(`UPDATE identities SET killed_from = state, state = 'killed', generation = generation + 1, version = version + 1, killed_by = $%d,
		ended = CASE WHEN ended > 0 THEN ended ELSE $%d END WHERE `, len(args)+1, len(args)+2)
	if _, err = tx.exec(set+where, append(args, kill, micros(tx.now))...); err != nil {
		return nil, 0, err
	}
	// The index of killed_by is of those that have one, and is used only where that is said.
	n, err := tx.exec("UPDATE credentials SET revoked = $1 WHERE revoked = 0 AND identity IN (SELECT id FROM identities WHERE killed_by = $2 AND killed_by <> '')", micros(tx.now), kill)
	tx.change(feed.Change{Kill: &feed.Kill{ID: kill, Identities: ids, At: tx.now}})
	return ids, int(n), err
}

// KillUpstream cuts an upstream off.
func (tx *Tx) KillUpstream(kill, name string) error {
	u, err := tx.Upstream(name)
	if err != nil {
		return err
	}
	u.Killed = true
	u.Version++
	if _, err := tx.exec("UPDATE upstreams SET killed = 1, version = $1, doc = $2 WHERE name = $3", u.Version, encode(u), name); err != nil {
		return err
	}
	tx.change(feed.Change{Kill: &feed.Kill{ID: kill, Upstream: name, At: tx.now}})
	return nil
}
