package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/oauth"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const (
	patience  = 10 * time.Second // for one answer of an authorization server or an upstream
	respite   = 3 * time.Second  // after a renewal that had no answer, nobody asks again
	settling  = 10 * time.Second // a token that is refused so soon after it was got is not renewed: the next would be refused, too
	spare     = 15 * time.Second // a token is not handed out in its last seconds, or the last half of a short life
	claim     = time.Minute      // another control node renews what one that crashed was renewing
	unlimited = time.Hour        // a gateway asks again for what its server gave no end
)

// stale is an account whose token is to be renewed, and the upstream as it was when that was seen.
type stale struct {
	registry.Account
	upstream policy.Upstream
}

// account is the token of the account that serves the chain: of the person it is for, else of
// the actor's owner, or the one that all share.
func (b *Broker) account(tx *store.Tx, u policy.Upstream, chain identity.Chain, refused feed.Secret) (feed.Secret, *stale, error) {
	owner := chain.Root().Owner()
	if owner == "" {
		actor, err := tx.Identity(chain.Actor())
		if err != nil {
			return feed.Secret{}, nil, err
		}
		owner = actor.Owner
	} else if len(u.Limit(owner)) == 0 {
		return feed.Secret{}, nil, fmt.Errorf("%w: nothing may be done there on behalf of %s", ErrRefused, owner)
	}
	holder := u.Holder(owner)
	o, err := tx.Owner(holder)
	if err != nil || o.State != identity.OwnerActive {
		return feed.Secret{}, nil, errors.Join(fmt.Errorf("%w: its account would be of somebody who is not there", ErrRefused), err)
	}
	a, err := registry.FindAccount(tx, u, holder)
	if errors.Is(err, store.ErrNotFound) {
		return feed.Secret{}, nil, b.noAccount(u, o, "has not connected an account there")
	} else if err != nil {
		return feed.Secret{}, nil, err
	}
	if a.Lapsed != "" {
		return feed.Secret{}, nil, b.noAccount(u, o, "has to connect the account there again: "+a.Lapsed)
	}
	s := feed.Secret{Header: "Authorization", Value: "Bearer " + a.Token.Access, Expires: b.Now().Add(unlimited), Owner: holder}
	if !a.Token.Expires.IsZero() {
		s.Expires = a.Token.Expires.Add(-min(spare, a.Token.Expires.Sub(a.Renewed)/2))
	}
	switch {
	case s.Value == refused.Value && b.Now().Before(a.Renewed.Add(settling)):
		return feed.Secret{}, nil, errors.New("it refuses a token that it was given just now")
	case s.Value == refused.Value, !b.Now().Before(s.Expires):
		return feed.Secret{}, &stale{a, u}, nil
	}
	return s, nil, nil
}

func (b *Broker) noAccount(u policy.Upstream, o identity.Owner, why string) error {
	at := b.Page(u.Name)
	return &feed.NoAccount{Text: fmt.Sprintf("%s is used with an account of %s, who %s (%s)", u.Name, o.Name, why, at), URL: at}
}

// Page is where owners connect their account at an upstream.
func (b *Broker) Page(upstream string) string { return b.URL + "/accounts/" + url.PathEscape(upstream) }

// renewal is one under way, or one that failed lately.
type renewal struct {
	done  chan struct{}
	err   error     // once done
	until time.Time // it stands; zero while it is under way
}

// renew shows a refresh token to its server, at most one at a time of each account, whichever control node it is on: one that
// is shown twice looks stolen to a server that rotates them. It goes on when ctx ends.
func (b *Broker) renew(ctx context.Context, a stale) error {
	key := a.Upstream + "/" + string(a.Owner)
	b.mu.Lock()
	r := b.renewal[key]
	if r != nil && !r.until.IsZero() && !b.Now().Before(r.until) {
		r = nil
	}
	if r == nil {
		r = &renewal{done: make(chan struct{})}
		if b.renewal == nil {
			b.renewal, b.unsaved = map[string]*renewal{}, map[string]oauth.Token{}
		}
		if b.closed {
			b.mu.Unlock()
			return store.ErrClosed
		}
		b.renewal[key] = r
		b.busy.Add(1)
		go func() {
			defer b.busy.Done()
			err := b.refresh(context.WithoutCancel(ctx), a)
			b.mu.Lock()
			defer b.mu.Unlock()
			if r.err = err; err == nil {
				delete(b.renewal, key)
			} else {
				r.until = b.Now().Add(respite)
			}
			close(r.done)
		}()
	}
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// claimed waits while another control node renews an account.
func (b *Broker) claimed(ctx context.Context, account string) (free func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		free, err := b.Registry.Store.Claim(ctx, "account/"+account, claim)
		if free != nil || err != nil {
			return free, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("another control node renews the token, and takes long")
		case <-time.After(wait):
		}
	}
}

// refresh renews what is kept of a, unless that is another token by now, and returns once
// that is durable.
func (b *Broker) refresh(ctx context.Context, a stale) error {
	free, err := b.claimed(ctx, a.ID)
	if err != nil {
		return err
	}
	defer func() {
		b.mu.Lock()
		_, only := b.unsaved[a.ID]
		b.mu.Unlock()
		if !only { // else what other nodes could show is spent
			free()
		}
	}()
	var same bool
	err = b.Registry.Store.Read(ctx, func(tx *store.Tx) error {
		now, err := registry.FindAccount(tx, a.upstream, a.Owner)
		same = err == nil && now.ID == a.ID && now.Token.Access == a.Token.Access && now.Lapsed == ""
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && !same {
		return nil // another was faster; whoever waits looks again
	}
	if err == nil {
		err = b.Registry.Store.Ready() // or the next refresh token could not be kept
	}
	if err != nil {
		return err
	}
	c, known, err := b.client(ctx, a.upstream, &a.Account)
	if err != nil {
		return err
	}
	defer c.HTTP.CloseIdleConnections()
	b.mu.Lock()
	next, err := b.unsaved[a.ID], error(nil)
	b.mu.Unlock()
	if next.Access == "" {
		next, err = c.Refresh(ctx, a.Token)
	}
	if err == nil && next.Type != "Bearer" {
		err = errors.New("the server gives a token that is bound to a key")
	}
	if err != nil {
		return b.lapse(ctx, a, known, err)
	}
	var kept bool
	for wait := 50 * time.Millisecond; ; wait *= 2 { // the token before may be spent: there is only this one
		_, err = b.Registry.Do(ctx, registry.Self, func(c *registry.Change) (err error) {
			kept, err = c.Renew(a.Account, next)
			return err
		})
		if err == nil || errors.Is(err, store.ErrClosed) || wait > 500*time.Millisecond {
			break
		}
		time.Sleep(wait)
	}
	b.mu.Lock()
	if delete(b.unsaved, a.ID); err != nil { // tried again before the server is asked again
		b.unsaved[a.ID] = next
	}
	b.mu.Unlock()
	if err == nil && !kept { // signed out of meanwhile
		if err := c.Revoke(ctx, next); err != nil {
			b.Log.Warn("giving up a token at an upstream's server", "upstream", a.Upstream, "error", err)
		}
	}
	return err
}

// lapse judges a renewal that gave nothing. One that only a person can make good is noted.
func (b *Broker) lapse(ctx context.Context, a stale, known *oauth.Memory, err error) error {
	var refusal *oauth.Error
	why := ""
	switch {
	case gone(ctx, known, a.Token.Server.Issuer):
		why = "its server has forgotten Lanyard"
	case errors.Is(err, oauth.ErrSignIn) && a.Token.Refresh == "":
		why = "the token has ended, and there is none to renew it with"
	case errors.Is(err, oauth.ErrSignIn):
		why = "its server says that the sign-in is no longer good"
	}
	if why == "" {
		b.Log.Warn("renewing a token at an upstream's server", "upstream", a.Upstream, "owner", string(a.Owner), "error", err)
		if errors.As(err, &refusal) {
			return fmt.Errorf("its authorization server refuses to renew the token: %w", err)
		}
		return err
	}
	_, err = b.Registry.Do(ctx, registry.Self, func(c *registry.Change) error {
		if gone(ctx, known, a.Token.Server.Issuer) {
			if err := c.Registered(a.upstream, a.Token.Server.Issuer, oauth.Registration{}); err != nil {
				return err
			}
		}
		return c.Lapse(a.Account, why)
	})
	return err // who waits looks again, and hears it then
}

// gone reports whether a server said that it knows the client no more that had registered itself there.
func gone(ctx context.Context, known *oauth.Memory, issuer string) bool {
	r, err := known.Registration(ctx, issuer)
	return err == nil && r.ID == ""
}

// GivenUp tells the servers of accounts that ended, one after the other. They are told once, if they can be reached.
func (b *Broker) GivenUp(ctx context.Context, list []registry.Account) {
	go func() {
		for _, a := range list {
			if err := b.giveUp(ctx, a); err != nil {
				b.Log.Warn("giving up a token at an upstream's server", "upstream", a.Upstream, "owner", string(a.Owner), "error", err)
			}
		}
	}()
}

func (b *Broker) giveUp(ctx context.Context, a registry.Account) error {
	if a.Token.Server.Revocation == "" || len(a.Named) == 0 {
		return nil
	}
	c, known := b.caller(a.Upstream, a.Named)
	defer c.HTTP.CloseIdleConnections()
	if err := known.PutRegistration(ctx, a.Token.Server.Issuer, a.Client); err != nil {
		return err
	}
	return c.Revoke(ctx, a.Token)
}
