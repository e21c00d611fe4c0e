package control

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/ca"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// GatewayView is a gateway and how far it has come.
type GatewayView struct {
	Name      string      `json:"name"`
	State     string      `json:"state" enum:"joined,evicted,admitted,local" doc:"admitted: it may join as soon as it is attested; local: it runs in the control plane's own process"`
	Following bool        `json:"following" doc:"It follows the feed at this moment"`
	Upstreams []string    `json:"upstreams,omitempty" doc:"That it is for; none: all"`
	Serial    string      `json:"serial,omitempty" doc:"Of its certificate"`
	Expires   time.Time   `json:"expires,omitzero" doc:"End of its certificate"`
	Joined    time.Time   `json:"joined,omitzero"`
	From      string      `json:"from,omitempty" doc:"Peer address that it joined from"`
	Seen      time.Time   `json:"seen,omitzero" doc:"When it last confirmed something, or else was heard of"`
	Evicted   time.Time   `json:"evicted,omitzero"`
	Reason    string      `json:"reason,omitempty" doc:"Of the eviction"`
	Stops     time.Time   `json:"stops,omitzero" doc:"It has stopped by then, if it is not heard of"`
	Provider  string      `json:"provider,omitempty" doc:"Who attests it whenever it joins; none: it joins by join tokens alone"`
	Subject   string      `json:"subject,omitempty" doc:"Which workload it is, in the provider's words"`
	Cursor    feed.Cursor `json:"cursor" doc:"It enforces everything up to here"`
	Behind    uint64      `json:"behind" doc:"Changes it has not confirmed"`
}

// GatewayInvite is POST /v1/gateways/{name}/token.
type GatewayInvite struct {
	Upstreams []string `json:"upstreams,omitempty" doc:"That it is for: nothing is given out to it for others; none: all" maxItems:"500"`
	Replace   bool     `json:"replace,omitempty" doc:"The gateway of that name is evicted when this one joins"`
}

// GatewayToken is the answer to it.
type GatewayToken struct {
	Name    string    `json:"name"`
	Token   string    `json:"token" doc:"For lanyard serve --role gateway, once; shown this once"`
	Expires time.Time `json:"expires"`
}

// GatewayAdmit is PUT /v1/gateways/{name}/admission.
type GatewayAdmit struct {
	Provider  string   `json:"provider" doc:"That is trusted to attest" maxLength:"64"`
	Subject   string   `json:"subject" doc:"Which workload it is: exactly sub of what the provider signs" maxLength:"512" example:"system:serviceaccount:edge:lanyard"`
	Upstreams []string `json:"upstreams,omitempty" doc:"That it is for; none: all" maxItems:"500"`
}

// GatewayAdmitted is the answer to it: what such a gateway is started with.
type GatewayAdmitted struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint" doc:"Of the authority by which the gateway knows the control plane"`
	Audience    string `json:"audience" doc:"Whom the provider's token has to be for, alone"`
}

// AuthorityList is GET /v1/ca.
type AuthorityList struct {
	Items []ca.Info `json:"items"`
}

const noFleet = "This control plane takes no gateways in: it was started without --feed-listen."

func (p *Plane) fleetRoutes(api door) {
	const tag = "gateways"
	handle(api, "GET", "/gateways", "list-gateways", tag, "Gateways, by name", func(ctx context.Context, in *none) (Page[GatewayView], error) {
		all, err := read(ctx, p, func(tx *store.Tx) ([]store.Gateway, error) { return tx.Gateways() })
		var list []GatewayView
		for _, g := range all {
			list = append(list, p.gatewayView(g))
		}
		for _, name := range p.Local {
			list = append(list, p.gatewayView(store.Gateway{Name: name, State: "local"}))
		}
		slices.SortFunc(list, func(a, b GatewayView) int { return strings.Compare(a.Name, b.Name) })
		return page(list), err
	})
	one := func(ctx context.Context, name string) (GatewayView, error) {
		g, err := read(ctx, p, func(tx *store.Tx) (store.Gateway, error) { return tx.Gateway(name) })
		if slices.Contains(p.Local, name) {
			g, err = store.Gateway{Name: name, State: "local"}, nil
		}
		return p.gatewayView(g), missing(err, "gateway", name)
	}
	handle(api, "GET", "/gateways/{name}", "get-gateway", tag, "A gateway", func(ctx context.Context, in *byName) (GatewayView, error) { return one(ctx, in.Name) })
	handle(api, "POST", "/gateways/{name}/token", "invite-gateway", tag, "Make a token with which a gateway joins by that name, once, within 15 minutes", func(ctx context.Context, in *namedBody[GatewayInvite]) (GatewayToken, error) {
		if p.fleet == nil {
			return GatewayToken{}, refusal(http.StatusConflict, noFleet)
		}
		var b [32]byte
		if _, err := io.ReadFull(p.Rand, b[:]); err != nil {
			return GatewayToken{}, fmt.Errorf("reading randomness: %w", err)
		}
		t := feed.JoinToken{Secret: base64.RawURLEncoding.EncodeToString(b[:]), Fingerprint: p.fleet.ca.List()[0].Fingerprint, Name: in.Name}
		_, err := p.do(ctx, in.actor(), func(c *registry.Change) error {
			return c.InviteGateway(in.Name, in.Body.Upstreams, in.Body.Replace, t.Secret)
		})
		return GatewayToken{in.Name, t.UnsafeText(), p.Now().Add(registry.JoinLife).UTC()}, err
	})
	handle(api, "PUT", "/gateways/{name}/admission", "admit-gateway", tag, "Let the workload that a provider attests join as that gateway, whenever it comes, until it is evicted", func(ctx context.Context, in *namedBody[GatewayAdmit]) (GatewayAdmitted, error) {
		if p.fleet == nil {
			return GatewayAdmitted{}, refusal(http.StatusConflict, noFleet)
		}
		_, err := p.do(ctx, in.actor(), func(c *registry.Change) error {
			return c.AdmitGateway(in.Name, store.Admission{Provider: in.Body.Provider, Subject: in.Body.Subject, Upstreams: in.Body.Upstreams})
		})
		return GatewayAdmitted{in.Name, p.fleet.ca.List()[0].Fingerprint, p.URL}, err
	})
	handle(api, "POST", "/gateways/{name}/evict", "evict-gateway", tag, "Evict a gateway: its connections end, and nothing it asks for is answered any more", func(ctx context.Context, in *namedBody[ReasonInput]) (GatewayView, error) {
		if slices.Contains(p.Local, in.Name) {
			return GatewayView{}, refusal(http.StatusConflict, in.Name+" runs in the control plane's own process; it ends with that.")
		}
		if _, err := p.do(ctx, in.actor(), func(c *registry.Change) error { return c.EvictGateway(in.Name, in.Body.Reason) }); err != nil {
			return GatewayView{}, err
		}
		if p.fleet != nil {
			p.fleet.evicted(in.Name, "", time.Time{})
		} else {
			p.evict(ctx, in.Name)
			p.tellNodes(context.WithoutCancel(ctx), word{Evicted: &evictedWord{Name: in.Name}})
		}
		return one(ctx, in.Name)
	})
	handle(api, "GET", "/ca", "list-authorities", tag, "The authorities that gateways' certificates come from", func(ctx context.Context, in *none) (AuthorityList, error) {
		if p.fleet == nil {
			return AuthorityList{Items: []ca.Info{}}, nil
		}
		return AuthorityList{p.fleet.ca.List()}, nil
	})
	handle(api, "POST", "/ca/rotate", "rotate-authority", tag, "Make a new authority; the one before stays trusted for 30 days", func(ctx context.Context, in *none) (AuthorityList, error) {
		if p.fleet == nil {
			return AuthorityList{}, refusal(http.StatusConflict, "This control plane has no authority: it was started without --feed-listen.")
		}
		err := p.fleet.ca.Rotate(ctx, in.actor().Name)
		return AuthorityList{p.fleet.ca.List()}, err
	})
}

func (p *Plane) gatewayView(g store.Gateway) GatewayView {
	v := GatewayView{Name: g.Name, State: string(g.State), Following: g.State == "local", Upstreams: g.Upstreams, Serial: g.Current.Serial, Expires: g.Current.Expires,
		Joined: g.Joined, From: g.From, Seen: g.Seen, Evicted: g.Evicted, Reason: g.Reason}
	if g.Admit != nil {
		v.Provider, v.Subject = g.Admit.Provider, g.Admit.Subject
	}
	if p.fleet != nil && p.fleet.watching()[g.Name] {
		v.Following = true
	}
	p.acks.mu.Lock()
	defer p.acks.mu.Unlock()
	name := g.Name
	if g.State == "local" {
		name = p.here(name)
	}
	if a, ok := p.acks.of[name]; ok {
		v.Stops = p.Now().UTC().Add(surely(p.acks.end(a), p.Clock()))
		v.Cursor, v.Behind = a.cursor, p.acks.lag(a, p.Store.Head(), p.Clock())
		if a.at.After(v.Seen) {
			v.Seen = a.at.UTC()
		}
	}
	return v
}
