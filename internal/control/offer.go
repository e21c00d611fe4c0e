package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// offerTime is how long an upstream may take to say what it offers.
const offerTime = 30 * time.Second

// maxOffer is how many bytes one of its replies may have.
const maxOffer = 16 << 20

func (p *Plane) offerRoutes(api door) {
	const tag = "upstreams"
	handle(api, "GET", "/upstreams/{name}/offer", "get-offer", tag, "What an upstream was approved as, and what it offers now", func(ctx context.Context, in *byName) (Offer, error) {
		return p.offer(ctx, in.Name)
	})
	handle(api, "GET", "/upstreams/{name}/description", "get-description", tag, "What an upstream was put with, or approved as", func(ctx context.Context, in *byName) (Described, error) {
		return read(ctx, p, func(tx *store.Tx) (Described, error) {
			u, err := tx.Upstream(in.Name)
			return Described{string(u.Description)}, missing(err, "upstream", in.Name)
		})
	})
	handle(api, "POST", "/upstreams/{name}/approve", "approve-offer", tag, "Approve what an upstream offers now, as it was shown", func(ctx context.Context, in *namedBody[Approval]) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			u, err := c.Upstream(in.Name)
			if err != nil {
				return missing(err, "upstream", in.Name)
			}
			if u.Version != in.Body.Version {
				return &registry.Conflict{Text: fmt.Sprintf("upstream %s was changed meanwhile; look at it again", in.Name)}
			}
			if _, err := p.cataloguer(u); err != nil { // of others the description is put by who may put the upstream
				return err
			}
			u.Description = []byte(in.Body.Description)
			_, err = c.PutUpstream(u, nil)
			return err
		})
	})
}

// cataloguer is what asks u what it offers.
func (p *Plane) cataloguer(u policy.Upstream) (connector.Cataloguer, error) {
	conn, err := connector.Open(p.Families, u.Family, u.Description)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(connector.Cataloguer)
	if !ok {
		return nil, invalid("upstream " + u.Name + " does not say what it offers: only MCP servers do")
	}
	return c, nil
}

// offer asks an upstream, with the credential that it has, what it offers now.
func (p *Plane) offer(ctx context.Context, name string) (Offer, error) {
	var u policy.Upstream
	var secret feed.Secret
	err := p.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if u, err = tx.Upstream(name); err != nil {
			return missing(err, "upstream", name)
		}
		value, err := tx.Secret(store.UpstreamSecret(name))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		secret = feed.Secret{Header: u.Header, Value: string(value)}
		return err
	})
	if err != nil {
		return Offer{}, err
	}
	if u.Killed {
		return Offer{}, invalid("upstream " + name + " is cut off, so it is not asked anything")
	}
	c, err := p.cataloguer(u)
	if err != nil {
		return Offer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, offerTime)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: offerTime, MaxResponseHeaderBytes: 256 << 10}
	client := &http.Client{Transport: &shows{transport, secret}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	now, err := c.Catalogue(ctx, client, strings.TrimSuffix(u.URL, "/"))
	if err != nil {
		p.Log.Warn("asking an upstream what it offers", "upstream", name, "error", err)
		return Offer{}, invalid("upstream " + name + " did not say what it offers; the log of the control plane has what it said instead")
	}
	return Offer{Approved: string(u.Description), Now: string(now), Version: u.Version}, nil
}

// shows carries our own requests to an upstream, with its credential.
type shows struct {
	transport *http.Transport
	secret    feed.Secret
}

func (s *shows) RoundTrip(in *http.Request) (*http.Response, error) {
	out := in.Clone(in.Context())
	if s.secret.Value != "" {
		out.Header.Set(s.secret.Header, s.secret.Value)
	}
	res, err := s.transport.RoundTrip(out)
	if err == nil {
		res.Body = http.MaxBytesReader(nil, res.Body, maxOffer)
	}
	return res, err
}
