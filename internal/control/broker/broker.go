// Package broker gives a gateway what an upstream wants to see: its credential.
// The secrets lie sealed in the store and leave it here only, and only for a
// chain of identities that may use that upstream at this moment: the gateway's
// word for it is not taken.
package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// ErrRefused means that the chain may not use the upstream.
var ErrRefused = errors.New("refused")

// Credential returns the upstream's credential for a request that chain is
// behind, the zero Secret for an upstream that needs none.
func Credential(ctx context.Context, db *store.DB, upstream string, chain identity.Chain) (s feed.Secret, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		u, err := tx.Upstream(upstream)
		if err != nil {
			return err
		}
		if u.Killed {
			return fmt.Errorf("%w: the upstream is cut off", ErrRefused)
		}
		if err := usable(tx, u.Name, chain); err != nil {
			return err
		}
		value, err := tx.Secret(store.UpstreamSecret(upstream))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		s = feed.Secret{Header: u.Header, Value: string(value)}
		return err
	})
	if err != nil {
		return feed.Secret{}, fmt.Errorf("credential of %s for %v: %w", upstream, chain.Texts(), err)
	}
	return s, nil
}

func usable(tx *store.Tx, upstream string, chain identity.Chain) error {
	if len(chain) == 0 {
		return fmt.Errorf("%w: nobody asks", ErrRefused)
	}
	holder := -1 // whose grants are asked: the actor's, or of whom it has its rights
	for n := range chain {
		inherits, err := link(tx, chain[n:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if holder < 0 && !inherits {
			holder = n
		}
	}
	if holder < 0 { // link would not have had it
		return fmt.Errorf("%w: nobody has a right to lend", ErrRefused)
	}
	grants, err := tx.Grants(chain[holder].ID)
	if err != nil {
		return err
	}
	for i := range grants {
		if grants[i].Upstream == upstream && !grants[i].Ended(tx.Now()) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s holds no grant there", ErrRefused, chain[holder].ID.Name())
}

// link asks whether the first of a chain may still act, or have others act for it. A
// child never stands in one without its parent, who may have been stopped.
func link(tx *store.Tx, chain identity.Chain) (inherits bool, err error) {
	l := chain[0]
	if person := l.ID.Owner(); person != "" {
		o, err := tx.Owner(person)
		if err == nil && (o.State != identity.OwnerActive || o.Team || o.Generation != l.Generation) {
			err = fmt.Errorf("nobody acts for %s any more", person)
		}
		return false, err
	}
	i, err := tx.Identity(l.ID)
	if err == nil {
		err = i.Usable(tx.Now())
	}
	if err == nil && i.Generation != l.Generation {
		err = fmt.Errorf("%s was stopped", l.ID.Name())
	}
	if child := !i.Parent.ID.IsZero(); err == nil && child && (len(chain) < 2 || chain[1] != i.Parent) {
		err = fmt.Errorf("%s acts without who started it", l.ID.Name())
	}
	return i.Inherits, err
}
