package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"iter"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/patterns"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/gateway"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

const (
	issuerURL   = "http://issuer.bench"
	description = "GET /things/{id} -> things.read read /things/{id}\n"
)

// wing is the gateway with a control plane in the same process, as `lanyard serve` has it.
type wing struct {
	feed.Closed // for whatever else is asked

	view   *feed.View
	signer *token.Signer
	record func(context.Context, []ledger.Event) error
}

// newWing makes one that signs with a key of its own, which its view knows.
func newWing() (*wing, error) {
	key, err := token.NewKey(rand.Reader, time.Now().Add(-time.Hour))
	if err != nil {
		return nil, err
	}
	w := &wing{view: feed.NewView()}
	if w.signer, err = token.NewSigner(key); err != nil {
		return nil, err
	}
	if w.record, _, err = book(""); err != nil {
		return nil, err
	}
	return w, w.view.Apply(feed.Change{Keys: &feed.Keys{JWKS: w.signer.JWKS()}})
}

func (w *wing) Watch(context.Context, feed.Cursor) iter.Seq2[feed.Change, error] { return nil }
func (w *wing) Ack(context.Context, feed.Cursor) (time.Duration, error) {
	return feed.DefaultLease, nil
}
func (w *wing) Record(ctx context.Context, e []ledger.Event) error { return w.record(ctx, e) }
func (w *wing) Credential(context.Context, string, identity.Chain, feed.Secret) (feed.Secret, error) {
	return feed.Secret{Header: "Authorization", Value: "Bearer bench-upstream-secret"}, nil
}

func agentID(n int) identity.ID {
	return identity.MustID(fmt.Sprintf("spiffe://lanyard.local/agent/bot-%d", n))
}

// populate fills a view with n agents that may read things upstream, each with a credential.
func populate(view *feed.View, to string, n int) error {
	mail := policy.Upstream{Name: "mail", URL: to, Owner: "maya", Environment: "production", Family: "patterns", Description: []byte(description), Version: 1}
	table, err := patterns.Open(mail.Description)
	if err != nil {
		return err
	}
	until := time.Now().Add(24 * time.Hour)
	changes := []feed.Change{
		{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerActive}},
		{Upstream: &mail},
		{Guardrail: &policy.Guardrail{ID: "no-admin", Cedar: `forbid(principal, action in Lanyard::Action::"admin", resource);`}},
	}
	first, err := policy.Compile(policy.Grant{ID: "bot-0/read", Identity: agentID(0), Upstream: "mail", Actions: []string{"read"}, Plain: true, Until: until},
		policy.Described{Upstream: mail, Actions: table.Actions()})
	if err != nil {
		return err
	}
	for i := range n {
		id, g := agentID(i), first // compiling validates, which is slow; the others are the same but for the name
		g.ID, g.Identity, g.Cedar = id.Name()+"/read", id, strings.ReplaceAll(first.Cedar, "bot-0", id.Name())
		changes = append(changes,
			feed.Change{Identity: &identity.Identity{ID: id, Owner: "maya", Purpose: "Measures", Environment: "production", State: identity.Active, Expires: until}},
			feed.Change{Credential: &identity.Credential{ID: "cred_" + id.Name(), Identity: id, Kind: identity.PrivateKeyJWT, Thumbprint: "t-" + id.Name(), Expires: until}},
			feed.Change{Grant: &g})
		for _, c := range changes {
			if err := view.Apply(c); err != nil {
				return err
			}
		}
		changes = changes[:0]
	}
	return view.Apply(feed.Change{Synced: true})
}

// mint makes a token of a chain that begins with the first agent, for mail behind base.
func (w *wing) mint(base string, c token.Confirmation, chain identity.Chain) (string, error) {
	now := time.Now()
	return w.signer.Mint(token.Claims{ID: "tok_" + rand.Text(), Issuer: issuerURL, Chain: chain, Client: agentID(0).String(),
		Audience: base + "/mail", Issued: now, Expires: now.Add(15 * time.Minute), Owner: "maya", Credential: "cred_bot-0", Key: c})
}

// runWing is the role: it prints its plain and its TLS address, and tokens for
// them: unbound, bound to jkt, bound to x5t, and one of a chain of four.
func runWing(to, jkt, x5t string) error {
	w, err := newWing()
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	guarded, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	line := plain.Addr().String() + " " + guarded.Addr().String()
	var servers []*http.Server
	for i, l := range []net.Listener{plain, guarded} {
		base := []string{"http://", "https://"}[i] + l.Addr().String()
		g, err := gateway.New(gateway.Config{Name: "bench", URL: base, Issuer: issuerURL, Source: w, View: w.view,
			Families: []connector.Family{patterns.Family()}, Now: time.Now, Rand: rand.Reader})
		if err != nil {
			return err
		}
		servers = append(servers, g.Server())
		for _, c := range [][]token.Confirmation{{{}, {JKT: jkt}}, {{X5TS256: x5t}}}[i] {
			raw, err := w.mint(base, c, lineOf(1))
			if err != nil {
				return err
			}
			line += " " + raw
		}
	}
	four, err := w.mint("http://"+plain.Addr().String(), token.Confirmation{}, lineOf(4))
	if err != nil {
		return err
	}
	line += " " + four
	if err := populate(w.view, to, 10); err != nil {
		return err
	}
	conf, _, err := serverTLS()
	if err != nil {
		return err
	}
	conf.ClientAuth = tls.RequestClientCert
	if a := os.Getenv("LANYARD_BENCH_PPROF"); a != "" {
		go http.ListenAndServe(a, nil)
	}
	go servers[1].Serve(tls.NewListener(guarded, conf))
	fmt.Println(line)
	go exitWithParent()
	return servers[0].Serve(gateway.Strict(plain))
}

// serve is a gateway before one upstream, which one agent may use until its grant ends. It prints its address and a token of the agent, and ends with its parent.
func (w *wing) serve(up policy.Upstream, grant policy.Grant, family connector.Family) error {
	for _, c := range []feed.Change{
		{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerActive}},
		{Upstream: &up},
		{Identity: &identity.Identity{ID: agentID(0), Owner: "maya", Purpose: "Measures", Environment: "production", State: identity.Active, Expires: grant.Until}},
		{Credential: &identity.Credential{ID: "cred_bot-0", Identity: agentID(0), Kind: identity.PrivateKeyJWT, Thumbprint: "t", Expires: grant.Until}},
		{Grant: &grant}, {Synced: true},
	} {
		if err := w.view.Apply(c); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	base := "http://" + l.Addr().String()
	g, err := gateway.New(gateway.Config{Name: "bench", URL: base, Issuer: issuerURL, Source: w, View: w.view, Families: []connector.Family{family}, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		return err
	}
	raw, err := w.mint(base, token.Confirmation{}, lineOf(1))
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().String(), raw)
	go exitWithParent()
	return g.Server().Serve(gateway.Strict(l))
}
