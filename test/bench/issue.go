package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/issuer"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// runIssuer is the role: the authorization server over a ledger that is durable before each reply.
func runIssuer(jwk, database string) error {
	view := feed.NewView()
	record, _, err := book(database)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ring := &issuer.KeyRing{Now: time.Now, Rand: rand.Reader, Vault: issuer.Vault{
		Load: func(context.Context) (map[string][]byte, error) { return nil, nil },
		Save: func(_ context.Context, _ map[string][]byte, _ []string, k feed.Keys, _ ledger.Event) error {
			return view.Apply(feed.Change{Keys: &k})
		},
	}}
	if err := ring.Open(context.Background()); err != nil {
		return err
	}
	if err := populate(view, "http://127.0.0.1:1", 10); err != nil {
		return err
	}
	print, err := token.Thumbprint([]byte(jwk))
	if err != nil {
		return err
	}
	if err := view.Apply(feed.Change{Credential: &identity.Credential{ID: "cred_key", Identity: agentID(0), Kind: identity.PrivateKeyJWT,
		Thumbprint: print, PublicKey: []byte(jwk), Expires: time.Now().Add(time.Hour)}}); err != nil {
		return err
	}
	is := &issuer.Issuer{URL: "http://" + l.Addr().String(), GatewayURL: "http://gateway.bench", View: view, Ring: ring, Record: record,
		RevokeToken: func(context.Context, token.Claims, string) error { return nil }, Touch: func(string, time.Time) {},
		Now: time.Now, Rand: rand.Reader, Start: time.Now().Truncate(time.Second), AllowBearer: true}
	mux := http.NewServeMux()
	if err := is.Mount(mux); err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go exitWithParent()
	return (&http.Server{Handler: mux}).Serve(l)
}

// issuing compares tokens issued with one verification and one signature in a loop.
func issuing(conns, rounds int, each time.Duration) error {
	h, err := newHolder()
	if err != nil {
		return err
	}
	p, err := child("issuer", h.jwk, "")
	if err != nil {
		return err
	}
	defer p.end()
	t := issueTarget(h, p)
	if _, err := t.load(conns, each/4, 8000); err != nil {
		return err
	}
	var issued, signed []float64
	for range rounds {
		r, err := t.load(conns, each, 12_000)
		if err != nil {
			return err
		}
		issued = append(issued, r.perSecond)
		signed = append(signed, signLoop(h, each/2))
	}
	ratio("issue_vs_sign", median(issued)/median(signed))
	figure("issue_per_s", median(issued), "tokens/s")
	figure("sign_loop_per_s", median(signed), "loops/s")
	return nil
}

// issueTarget asks an issuer for tokens.
func issueTarget(h holder, p process) target {
	return target{name: "issue", addr: p.addr, pid: p.pid, fresh: true, request: func(int) []byte {
		form := url.Values{"grant_type": {"client_credentials"}, "resource": {"http://gateway.bench/mail"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {h.assertion(agentID(0).String(), "http://"+p.addr)}}.Encode()
		return []byte(fmt.Sprintf("POST /oauth/token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", p.addr, len(form), form))
	}}
}

// signLoop verifies one signature and makes one, over and over on one core; it returns how often a second.
func signLoop(h holder, d time.Duration) float64 {
	msg := make([]byte, 400)
	sig := ed25519.Sign(h.key, msg)
	pub := h.key.Public().(ed25519.PublicKey)
	n, begun := 0, time.Now()
	for ; time.Since(begun) < d; n++ {
		if !ed25519.Verify(pub, msg, sig) {
			panic("a signature of ours does not verify")
		}
		sig = ed25519.Sign(h.key, msg)
	}
	return float64(n) / time.Since(begun).Seconds()
}
