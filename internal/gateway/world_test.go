package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

const (
	issuer    = "http://issuer.test"
	canary    = "upstream-secret-canary"
	testScope = "http://gateway.test"
)

// plane is a control plane in memory.
type plane struct {
	feed.Closed // for whatever else is asked

	mu     sync.Mutex
	events []ledger.Event
	down   atomic.Bool
	gone   atomic.Bool                   // the gateway was evicted
	hung   atomic.Pointer[chan struct{}] // writes wait until it is closed
	asked  atomic.Int64                  // for a credential

	intents atomic.Int64 // that were asked to be written
	secret  func(context.Context) (feed.Secret, error)
	account func(upstream string, chain identity.Chain, refused feed.Secret) (feed.Secret, error)
}

func (p *plane) Watch(context.Context, feed.Cursor) iter.Seq2[feed.Change, error] { return nil }
func (p *plane) Ack(context.Context, feed.Cursor) (time.Duration, error) {
	return feed.DefaultLease, nil
}
func (p *plane) Record(ctx context.Context, e []ledger.Event) error {
	if e[0].Outcome == ledger.Pending {
		p.intents.Add(1)
	}
	if hung := p.hung.Load(); hung != nil {
		select {
		case <-*hung:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if p.down.Load() {
		return errors.New("disk full")
	}
	if p.gone.Load() {
		return feed.ErrEvicted
	}
	for _, one := range e {
		if !ledger.OfGateways(one.Type) {
			return fmt.Errorf("%w: a gateway has no events of type %q", feed.ErrRefused, one.Type)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e...)
	return nil
}
func (p *plane) Credential(ctx context.Context, upstream string, chain identity.Chain, refused feed.Secret) (feed.Secret, error) {
	p.asked.Add(1)
	if p.secret != nil {
		return p.secret(ctx)
	}
	if p.account != nil {
		return p.account(upstream, chain, refused)
	}
	return feed.Secret{Header: "Authorization", Value: "Bearer " + canary}, nil
}

func (p *plane) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = nil
}

func (p *plane) recorded() []ledger.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]ledger.Event(nil), p.events...)
}

// anything recognises every request: GET is a read, the rest are writes.
type anything struct{}

func (anything) Actions() []policy.Action {
	return []policy.Action{{Name: "things.read", Class: policy.Read}, {Name: "things.write", Class: policy.Write}}
}

func (anything) Recognise(r *connector.Request) (policy.Call, error) {
	switch {
	case strings.HasPrefix(r.Path, "/unknown"):
		return policy.Call{}, fmt.Errorf("%w: %s", connector.ErrUnrecognised, r.Path)
	case r.Method == "GET" || r.Method == "HEAD":
		return policy.Call{Action: "things.read", Class: policy.Read, Resource: strings.Trim(r.Path, "/")}, nil
	}
	return policy.Call{Action: "things.write", Class: policy.Write, Resource: strings.Trim(r.Path, "/")}, nil
}

// world is a gateway with an upstream behind it.
type world struct {
	t      testing.TB
	plane  *plane
	view   *feed.View
	g      *Gateway
	front  *httptest.Server
	back   *httptest.Server
	addr   string
	signer *token.Signer
}

func newWorld(t testing.TB, upstream http.Handler, change ...func(*Config)) *world {
	t.Helper()
	back := httptest.NewServer(upstream)
	w := &world{t: t, plane: &plane{}, view: feed.NewView(), back: back}
	c := Config{Name: "gw-1", URL: testScope, Issuer: issuer, Source: w.plane, View: w.view, Now: time.Now, Rand: rand.Reader,
		Families: []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return anything{}, nil }}}}
	for _, f := range change {
		f(&c)
	}
	key, err := token.NewKey(rand.Reader, time.Now().Add(-time.Hour))
	if err == nil {
		w.signer, err = token.NewSigner(key)
	}
	if err == nil {
		w.g, err = New(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.apply(feed.Change{Keys: &feed.Keys{JWKS: w.signer.JWKS()}})
	w.apply(feed.Change{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerActive}})
	w.apply(feed.Change{Upstream: &policy.Upstream{Name: "mail", URL: back.URL, Owner: "maya", Environment: "production", Family: "any", WebSocket: true, Version: 1}})
	w.apply(feed.Change{Upstream: &policy.Upstream{Name: "drive", URL: back.URL, Owner: "maya", Environment: "production", Family: "any", Version: 1}})
	w.enrol("bot")
	w.apply(feed.Change{Synced: true})
	w.front = httptest.NewUnstartedServer(w.g)
	w.front.Config = w.g.Server()
	w.front.Listener = Strict(w.front.Listener)
	w.front.Start()
	w.addr = w.front.Listener.Addr().String()
	t.Cleanup(func() {
		back.CloseClientConnections()
		if err := w.g.Close(); err != nil && !w.plane.down.Load() {
			t.Error(err)
		}
		w.front.CloseClientConnections()
		w.front.Close()
		back.Close()
	})
	return w
}

func (w *world) apply(c feed.Change) {
	w.t.Helper()
	if err := w.view.Apply(c); err != nil {
		w.t.Fatal(err)
	}
}

func id(name string) identity.ID { return identity.MustID("spiffe://lanyard.local/agent/" + name) }

func (w *world) enrol(name string) {
	w.t.Helper()
	w.apply(feed.Change{Identity: &identity.Identity{ID: id(name), Owner: "maya", Purpose: "tests", Environment: "production", State: identity.Active, Expires: time.Now().Add(time.Hour)}})
	w.apply(feed.Change{Credential: &identity.Credential{ID: "cred_" + name, Identity: id(name), Kind: identity.PrivateKeyJWT, Thumbprint: "t-" + name, Expires: time.Now().Add(time.Hour)}})
	w.apply(feed.Change{Grant: all(name)})
}

// all lets an identity do anything on every upstream.
func all(name string) *policy.Grant {
	return &policy.Grant{ID: name + "/all", Identity: id(name), Upstream: "mail", Actions: []string{"read", "write"},
		Cedar: `permit(principal, action, resource);`, Until: time.Now().Add(time.Hour)}
}

func (w *world) claims(name string) token.Claims {
	return token.Claims{ID: "tok_" + rand.Text(), Issuer: issuer, Chain: identity.Alone(id(name), 0), Client: id(name).String(), Audience: testScope + "/mail",
		Issued: time.Now(), Expires: time.Now().Add(5 * time.Minute), Owner: "maya", Credential: "cred_" + name}
}

func (w *world) mint(c token.Claims) string {
	w.t.Helper()
	raw, err := w.signer.Mint(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func (w *world) request(method, path, raw string, body io.Reader) *http.Request {
	w.t.Helper()
	r, err := http.NewRequest(method, w.front.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+raw)
	return r
}

func (w *world) do(r *http.Request) (*http.Response, string) {
	w.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(b)
}

// raw sends bytes as they are and returns the status of the first answer, 0 for none.
func (w *world) raw(request string) (int, string) {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, request)
	b, _ := io.ReadAll(c)
	var status int
	_, _ = fmt.Sscanf(string(b), "HTTP/1.1 %d", &status)
	return status, string(b)
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func ids(names ...string) (out []identity.ID) {
	for _, n := range names {
		out = append(out, id(n))
	}
	return out
}

func (w *world) applyUpstream(u *policy.Upstream) {
	w.t.Helper()
	w.apply(feed.Change{Upstream: u})
}

// tls serves the same gateway on another listener, over TLS and HTTP/2.
func (w *world) tls(c *tls.Config) *httptest.Server {
	w.t.Helper()
	s := httptest.NewUnstartedServer(w.g)
	s.Config, s.TLS, s.EnableHTTP2 = w.g.Server(), c, true
	s.StartTLS()
	w.t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}
