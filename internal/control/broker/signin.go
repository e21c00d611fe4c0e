package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/oauth"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Where an upstream's authorization server sends people back to, and where it reads who Lanyard is (Client ID
// Metadata Document), each followed by the upstream's name: what one server is made to send for another does not
// come to the other's place (RFC 9700 section 4.4.2.2; many servers do not say who they are, by iss).
const (
	Callback = "/oauth/callback/"
	Document = "/oauth/client/"
)

// clientName is what a person reads on the sign-in page.
const clientName = "Lanyard"

// ErrChanged means that the upstream became another while somebody signed in.
var ErrChanged = errors.New("the upstream was changed meanwhile; begin again")

// caller is Lanyard as a client of the server that an upstream leads to, which is at the first of the named addresses.
func (b *Broker) caller(upstream string, named []string) (*oauth.Client, *oauth.Memory) {
	known := &oauth.Memory{}
	c := &oauth.Client{HTTP: fetch.Guarded(patience, named...), Now: b.Now, Rand: b.Rand, Store: known, Name: clientName, Redirect: b.URL + Callback + upstream}
	if u, err := url.Parse(named[0]); err == nil {
		c.Loopback = fetch.Loopback(u.Hostname())
	}
	if strings.HasPrefix(b.URL, "https:") {
		c.Document = b.URL + Document + upstream
	}
	return c, known
}

// ClientDocument says who Lanyard is to an upstream's server that reads it (draft-ietf-oauth-client-id-metadata-document).
func (b *Broker) ClientDocument(upstream string) map[string]any {
	return map[string]any{"client_id": b.URL + Document + upstream, "client_name": clientName, "client_uri": b.URL, "redirect_uris": []string{b.URL + Callback + upstream},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "none"}
}

func named(u policy.Upstream) []string {
	if u.OAuth.Issuer == "" {
		return []string{u.URL}
	}
	return []string{u.URL, u.OAuth.Issuer}
}

// client is Lanyard as a client of u's server: as the one that a was signed in with, or with none as the one that
// an operator registered there, or it itself did before.
func (b *Broker) client(ctx context.Context, u policy.Upstream, a *registry.Account) (*oauth.Client, *oauth.Memory, error) {
	c, known := b.caller(u.Name, named(u))
	return c, known, b.Registry.Store.Read(ctx, func(tx *store.Tx) error {
		ours := oauth.Registration{ID: u.OAuth.Client}
		if ours.ID != "" {
			secret, err := tx.Secret(store.UpstreamClient(u.Name))
			if ours.Secret = string(secret); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		switch {
		case a != nil && a.Client.ID == ours.ID:
			return known.PutRegistration(ctx, a.Token.Server.Issuer, ours)
		case a != nil:
			return known.PutRegistration(ctx, a.Token.Server.Issuer, a.Client)
		case ours.ID != "":
			return known.PutRegistration(ctx, u.OAuth.Issuer, ours)
		}
		list, err := registry.Registrations(tx, u.Name)
		for issuer, r := range list {
			err = errors.Join(err, known.PutRegistration(ctx, issuer, r))
		}
		return err
	})
}

// Begin sends an owner to sign in to an upstream: open is the address for the browser in which
// that session is, issuer whose page it is.
func (b *Broker) Begin(ctx context.Context, upstream string, owner identity.OwnerID, session string, by registry.Actor) (open, issuer string, err error) {
	u, err := b.upstream(ctx, upstream, owner)
	if err != nil {
		return "", "", err
	}
	c, known, err := b.client(ctx, u, nil)
	if err != nil {
		return "", "", err
	}
	defer c.HTTP.CloseIdleConnections()
	up, scope, err := b.discover(ctx, c, u)
	if err != nil {
		return "", "", err
	}
	before, err := known.Registration(ctx, up.Server.Issuer)
	if err != nil {
		return "", "", err
	}
	open, pending, err := c.Begin(ctx, up, scope)
	if err == nil {
		open, err = with(open, u.OAuth.Parameters)
	}
	if err != nil {
		return "", "", err
	}
	_, err = b.Registry.Do(ctx, by, func(c *registry.Change) error {
		if pending.As.Dynamic && pending.As.ID != before.ID {
			if err := c.Registered(u, up.Server.Issuer, pending.As); err != nil {
				return err
			}
		}
		return c.BeginSignIn(u, owner, session, pending)
	})
	return open, up.Server.Issuer, err
}

// upstream is one at which owner may connect an account.
func (b *Broker) upstream(ctx context.Context, name string, owner identity.OwnerID) (u policy.Upstream, err error) {
	err = b.Registry.Store.Read(ctx, func(tx *store.Tx) error {
		if u, err = tx.Upstream(name); err != nil {
			return err
		}
		ok, err := registry.MayConnect(tx, u, owner)
		if err == nil && !ok {
			err = store.ErrNotFound // or the names of upstreams could be found out
		}
		if err == nil && u.Killed {
			err = &registry.Conflict{Text: name + " is cut off: the cord was pulled on it"}
		}
		return err
	})
	return u, err
}

// discover finds u's authorization server and what to ask it for.
func (b *Broker) discover(ctx context.Context, c *oauth.Client, u policy.Upstream) (up oauth.Upstream, scope []string, err error) {
	if u.Family != "mcp" {
		up.URL = u.URL
		up.Server, err = c.Server(ctx, u.OAuth.Issuer)
		return up, u.OAuth.Scopes, err
	}
	at, err := b.Registry.Endpoint(u)
	if err != nil {
		return up, nil, err
	}
	ch, err := c.Probe(ctx, at)
	if err != nil {
		return up, nil, err
	}
	if up, err = c.Discover(ctx, at, ch); err != nil {
		return up, nil, err
	}
	switch {
	case u.OAuth.Issuer != "" && up.Server.Issuer != u.OAuth.Issuer:
		return up, nil, fmt.Errorf("%s says that its authorization server is %.200q, and not %s, which was named", u.Name, up.Server.Issuer, u.OAuth.Issuer)
	case up.Bound:
		return up, nil, fmt.Errorf("%s takes only tokens that are bound to a key (DPoP), which the gateway cannot show to upstreams", u.Name)
	}
	up.DPoP = false
	if scope = u.OAuth.Scopes; len(scope) == 0 {
		scope = up.Scope(ch)
	}
	return up, scope, nil
}

// with is the address of a sign-in page with what its server wants besides. What is there already stays.
func with(open string, parameters map[string]string) (string, error) {
	u, err := url.Parse(open)
	if err != nil {
		return "", err
	}
	q := u.Query()
	for name, value := range parameters {
		if !q.Has(name) {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Finish takes the answer that came to the callback of an upstream in a session of owner's, and keeps what
// it is good for. An answer is taken once.
func (b *Broker) Finish(ctx context.Context, upstream string, owner identity.OwnerID, session string, answer url.Values, by registry.Actor) error {
	ctx = context.WithoutCancel(ctx) // a code is good once: the token for it must not be lost
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return store.ErrClosed
	}
	b.busy.Add(1)
	b.mu.Unlock()
	defer b.busy.Done()
	state := answer["state"]
	if len(state) != 1 {
		return registry.ErrNoSignIn
	}
	err := b.Registry.Store.Read(ctx, func(tx *store.Tx) error { // who guesses does not hold up those who write
		_, err := tx.Ticket(store.UpstreamSignIn, state[0], new(json.RawMessage))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return registry.ErrNoSignIn
	} else if err != nil {
		return err
	}
	var begun registry.Begun
	var pending oauth.Pending
	_, err = b.Registry.Do(ctx, by, func(c *registry.Change) (err error) {
		begun, pending, err = c.TakeSignIn(state[0], session, upstream, owner)
		return err
	})
	if err == nil && begun.Session == "" {
		err = registry.ErrNoSignIn
	}
	if err != nil {
		return err
	}
	u, err := b.upstream(ctx, upstream, owner)
	if err == nil && u.Place() != begun.Place {
		err = ErrChanged
	}
	if err != nil {
		return err
	}
	return b.exchange(ctx, u, owner, pending, answer, by)
}

// exchange takes the code to the server, and keeps what it gives.
func (b *Broker) exchange(ctx context.Context, u policy.Upstream, owner identity.OwnerID, pending oauth.Pending, answer url.Values, by registry.Actor) error {
	c, known := b.caller(u.Name, named(u))
	defer c.HTTP.CloseIdleConnections()
	issuer := pending.Server.Issuer
	if err := known.PutRegistration(ctx, issuer, pending.As); err != nil {
		return err
	}
	t, err := c.Finish(ctx, pending, answer)
	if err != nil {
		if pending.As.Dynamic && gone(ctx, known, issuer) {
			_, again := b.Registry.Do(ctx, registry.Self, func(c *registry.Change) error { return c.Registered(u, issuer, oauth.Registration{}) })
			err = errors.Join(err, again)
		}
		return err
	}
	a := registry.Account{Owner: owner, Scope: t.Scope, Named: named(u), Client: pending.As, Token: t}
	if _, err = b.Registry.Do(ctx, by, func(c *registry.Change) error { return c.ConnectAccount(u, a) }); err != nil {
		err = errors.Join(err, c.Revoke(ctx, t))
	}
	return err
}
