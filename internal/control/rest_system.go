package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/issuer"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

func (p *Plane) systemRoutes(api door) {
	const tag = "system"
	handle(api, "GET", "/status", "get-status", tag, "How everything stands", func(ctx context.Context, in *none) (Status, error) { return p.status(ctx) })
	handle(api, "GET", "/keys", "list-keys", tag, "The keys that sign tokens", func(ctx context.Context, in *none) (Page[KeyView], error) {
		return page(p.keys()), nil
	})
	handle(api, "POST", "/keys/rotate", "rotate-keys", tag, "Make a new signing key; tokens of the old one stay good until they end", func(ctx context.Context, in *none) (Rotated, error) {
		id, err := p.ring.Rotate(ctx, in.actor().Name)
		return Rotated{id, p.keys()}, err
	})
	handle(api, "POST", "/admin/token", "new-admin-token", tag, "Make a new admin token, over the Unix socket only; the old one is dead", func(ctx context.Context, in *none) (AdminToken, error) {
		if !strings.HasPrefix(in.remote, localPrefix) {
			return AdminToken{}, refusal(http.StatusForbidden, "A new admin token is made on the machine itself: lanyard token admin, over the Unix socket.")
		}
		secret, err := p.NewAdminToken(ctx, in.actor())
		return AdminToken{secret}, err
	})
	handle(api, "POST", "/admin/sign-in", "make-admin-link", tag, "Make a link with which the local administrator signs in at the console, once, within ten minutes", func(ctx context.Context, in *none) (AdminLink, error) {
		return p.SignInLink(ctx, in.actor(), false)
	})
	handle(api, "POST", "/explain", "explain", tag, "What would be decided about a call, and which policies had a say", func(ctx context.Context, in *body[ExplainRequest]) (ExplainResult, error) {
		return p.explain(ctx, &in.Caller, in.Body)
	})
}

func (p *Plane) keys() (list []KeyView) {
	for _, k := range p.ring.Keys() {
		list = append(list, KeyView(k))
	}
	return list
}

func (p *Plane) status(ctx context.Context) (Status, error) {
	root := p.Store.Root()
	s := Status{Version: p.Version, TrustDomain: p.Domain, URL: p.URL, GatewayURL: p.GatewayURL, Started: p.started.UTC(), Now: p.Now().UTC(), Cursor: p.Store.Head(),
		Ledger:     LedgerStatus{Size: p.Store.Size(), Root: root.String(), Key: p.Store.Verifier(), Writable: true},
		Gateways:   []GatewayStatus{},
		Identities: map[string]int{}, Upstreams: []UpstreamSummary{}, MaxExpiry: p.registry.Longest().String(), TokenTTL: issuer.DefaultTTL.String()}
	if p.TokenTTL > 0 {
		s.TokenTTL = min(p.TokenTTL, issuer.LongestTTL).String()
	}
	if err := p.Store.Ready(); err != nil {
		s.Ledger.Writable, s.Ledger.Why = false, err.Error()
	}
	now := p.Clock()
	p.acks.mu.Lock()
	for name, a := range p.acks.of {
		if over(name, a, now) || a.row.none {
			continue
		}
		s.Gateways = append(s.Gateways, GatewayStatus{Name: name, Cursor: a.cursor, At: a.at.UTC(), Stops: p.Now().UTC().Add(surely(p.acks.end(a), now)), Behind: p.acks.lag(a, s.Cursor, now)})
	}
	p.acks.mu.Unlock()
	slices.SortFunc(s.Gateways, func(a, b GatewayStatus) int { return strings.Compare(a.Name, b.Name) })
	return s, p.Store.Read(ctx, func(tx *store.Tx) error {
		counts, err1 := tx.CountIdentities("")
		for state, n := range counts {
			s.Identities[string(state)] = n
		}
		owners, err2 := tx.Owners()
		s.Owners = len(owners)
		rails, err3 := tx.Guardrails()
		s.Guardrails = len(rails)
		ups, err4 := tx.Upstreams()
		for _, u := range ups {
			names, _ := tx.Secrets(store.UpstreamSecret(u.Name))
			one := UpstreamSummary{Name: u.Name, URL: u.URL, Killed: u.Killed, Secret: slices.Contains(names, store.UpstreamSecret(u.Name))}
			if u.OAuth != nil {
				one.OAuth, one.Owner = string(u.OAuth.Account), string(u.Owner)
				connected, err := tx.Accounts(u.Name)
				for _, o := range connected {
					switch a, e := registry.FindAccount(tx, u, o); {
					case e != nil && !errors.Is(e, store.ErrNotFound):
						err = errors.Join(err, e)
					case a.Lapsed != "":
						one.Lapsed = append(one.Lapsed, string(o))
					case e == nil:
						one.Connected++
					}
				}
				if err != nil {
					return err
				}
			}
			s.Upstreams = append(s.Upstreams, one)
		}
		return errors.Join(err1, err2, err3, err4)
	})
}
