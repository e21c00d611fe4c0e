// Package broker gives a gateway what an upstream wants to see: its credential, or,
// for an upstream that wants OAuth of its own, a short-lived token of the account
// that the owner of the asking identity has there.
//
// Secrets and tokens lie sealed in the store and leave it here only, and only for a
// chain of identities that may use that upstream at this moment: the gateway's word
// for it is not taken. An owner signs in to an upstream once ([Broker.Begin],
// [Broker.Finish]); the refresh token never leaves this room, is shown where it was
// got and nowhere else, and by one caller at a time. What came of it is durable
// before it is used, and whoever is answered was looked at after that.
package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/oauth"
)

// Broker hands out credentials. All fields are required.
type Broker struct {
	Registry *registry.Registry
	URL      string // public base of the control plane: where people sign in, and come back to
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger

	mu      sync.Mutex
	renewal map[string]*renewal    // under way, or failed lately
	unsaved map[string]oauth.Token // by account: came when it could not be kept
	closed  bool
	busy    sync.WaitGroup // with what must be kept once it has come
}

// Close returns when all that was asked of authorization servers is kept. Nothing more is asked for.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.busy.Wait()
}

// ErrRefused means that the chain may not use the upstream.
var ErrRefused = feed.ErrRefused

// Credential returns the upstream's credential for a request that chain is behind,
// the zero Secret for an upstream that needs none. refused is what the upstream no
// longer took, if that is why it is asked for.
func (b *Broker) Credential(ctx context.Context, upstream string, chain identity.Chain, refused feed.Secret) (feed.Secret, error) {
	for renewed := false; ; renewed = true {
		s, stale, err := b.look(ctx, upstream, chain, refused)
		if err == nil && stale != nil && renewed {
			err = errors.New("it was renewed, and has ended already")
		}
		if err == nil && stale != nil {
			if err = b.renew(ctx, *stale); err == nil {
				continue
			}
		}
		if err != nil {
			return feed.Secret{}, fmt.Errorf("credential of %s for %v: %w", upstream, chain, err)
		}
		return s, nil
	}
}

// look decides who may have what, from one state of the store. stale is the account whose
// token must be renewed first.
func (b *Broker) look(ctx context.Context, upstream string, chain identity.Chain, refused feed.Secret) (s feed.Secret, stale *stale, err error) {
	err = b.Registry.Store.Read(ctx, func(tx *store.Tx) error {
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
		if u.OAuth != nil {
			s, stale, err = b.account(tx, u, chain, refused)
			return err
		}
		value, err := tx.Secret(store.UpstreamSecret(upstream))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		s = feed.Secret{Header: u.Header, Value: string(value)}
		return err
	})
	return s, stale, err
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
