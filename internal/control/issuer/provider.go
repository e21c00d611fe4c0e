package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

const (
	keysAgain   = 30 * time.Second // a provider is asked for its keys at most so often
	keysAtLeast = time.Minute      // and they are kept for so long, whatever it says
)

// published remembers the keys that providers publish: one set an issuer, asked for
// by one request at a time. Only the issuers of providers that are registered come here.
type published struct {
	mu sync.Mutex
	of map[string]*publishedSet
}

type publishedSet struct {
	asking chan struct{} // holds one: who has put it there may ask
	mu     sync.Mutex
	keys   *token.ProviderKeys // nil when there are none
	until  time.Time           // keys are good until then
	again  time.Time           // the provider is not asked before; with failed, for who may ask alone
	failed error               // why the last answer was of no use
}

// good returns the keys that are good at now, or nil.
func (s *publishedSet) good(now time.Time) *token.ProviderKeys {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.until) {
		return s.keys
	}
	return nil
}

func (p *published) set(issuer string) *publishedSet {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil || len(p.of) >= 1000 {
		p.of = map[string]*publishedSet{}
	}
	s := p.of[issuer]
	if s == nil {
		s = &publishedSet{asking: make(chan struct{}, 1)}
		p.of[issuer] = s
	}
	return s
}

// provider finds the provider that is trusted for use and has exactly that issuer; store.ErrNotFound if there is none.
func (i *Issuer) provider(ctx context.Context, issuer string, use identity.ProviderUse) (p identity.Provider, err error) {
	if issuer == i.URL { // what we say is proof of nothing to ourselves
		return p, store.ErrNotFound
	}
	err = i.Registry.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if p, err = tx.ProviderByIssuer(issuer); err == nil && !p.May(use) {
			err = store.ErrNotFound
		}
		return err
	})
	return p, err
}

// owner finds the owner that a provider means; why there is none is for the record. All are read only where it says an email address.
func owner(tx *store.Tx, p identity.Provider, w identity.Word) (o identity.Owner, why string, err error) {
	var owners []identity.Owner
	name, named := p.Named(w)
	if !named {
		owners, err = tx.Owners()
	} else if identity.ValidName(name) {
		if o, err = tx.Owner(identity.OwnerID(name)); err == nil {
			owners = []identity.Owner{o}
		} else if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
	}
	o, why = p.Owner(w, owners)
	return o, why, err
}

// vouching reports whether any provider is trusted to say whose a client is.
func (i *Issuer) vouching(ctx context.Context) bool {
	var all []identity.Provider
	err := i.Registry.Store.Read(ctx, func(tx *store.Tx) (err error) { all, err = tx.Providers(); return err })
	return err == nil && slices.ContainsFunc(all, func(p identity.Provider) bool { return p.May(identity.IDJAG) })
}

// keysOf returns the keys of a provider: those that are pinned, or those it publishes,
// asked for anew when they are too old or knows says that they do not hold the one needed.
// The error is for the record.
func (i *Issuer) keysOf(ctx context.Context, p identity.Provider, knows func(*token.ProviderKeys) bool) (*token.ProviderKeys, error) {
	if p.JWKS != nil {
		return token.ParseProviderKeys(p.JWKS)
	}
	s := i.published.set(p.Issuer)
	if keys := s.good(i.Now()); keys != nil && knows(keys) {
		return keys, nil
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := i.Now()
	known := s.good(now) // somebody else may have asked
	switch {
	case known != nil && (knows(known) || now.Before(s.again)):
		return known, nil // what it does not know stays unknown
	case now.Before(s.again):
		return nil, s.failed
	}
	s.again = now.Add(keysAgain)
	keys, keep, err := i.fetchKeys(context.WithoutCancel(ctx), p.Issuer) // others wait for it
	if err != nil {
		if known != nil {
			return known, nil
		}
		s.failed = fmt.Errorf("the keys of %s cannot be had: %w", p.Name, err)
		return nil, s.failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.until = keys, now.Add(max(keep, keysAtLeast))
	return keys, nil
}

// ProviderKeys returns the ids of a provider's keys, for operators to see that they can be had.
func (i *Issuer) ProviderKeys(ctx context.Context, p identity.Provider) ([]string, error) {
	keys, err := i.keysOf(ctx, p, func(*token.ProviderKeys) bool { return true })
	if err != nil {
		return nil, err
	}
	return keys.IDs(), nil
}

// fetchKeys asks an issuer for its metadata (OpenID Connect Discovery section 4, else
// RFC 8414 section 3) and for the keys that these name.
func (i *Issuer) fetchKeys(ctx context.Context, issuer string) (keys *token.ProviderKeys, keep time.Duration, err error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, 0, err
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	base := u.Scheme + "://" + u.Host
	var said struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	body, _, err := i.Fetch.JSON(ctx, base+path+"/.well-known/openid-configuration")
	if err != nil {
		var second error
		if body, _, second = i.Fetch.JSON(ctx, base+"/.well-known/oauth-authorization-server"+path); second != nil {
			return nil, 0, err
		}
	}
	switch {
	case json.Unmarshal(body, &said) != nil:
		return nil, 0, errors.New("its metadata is no JSON with each member once")
	case said.Issuer != issuer:
		return nil, 0, fmt.Errorf("its metadata is of the issuer %.100q", said.Issuer)
	case said.JWKS == "":
		return nil, 0, errors.New("its metadata names no keys (jwks_uri)")
	}
	if body, keep, err = i.Fetch.JSON(ctx, said.JWKS); err != nil {
		return nil, 0, err
	}
	keys, err = token.ParseProviderKeys(body)
	return keys, keep, err
}
