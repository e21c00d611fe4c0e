package broker_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/connector/patterns"
	"github.com/lanyard-dev/lanyard/internal/control/broker"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const plane = "http://127.0.0.1:1"

// server is an authorization server that rotates refresh tokens, until a test has it do otherwise.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	n       int
	live    map[string]bool   // refresh tokens
	codes   map[string]string // code → challenge
	asked   map[string]int    // token requests by grant type
	reused  int               // refresh tokens that were shown twice
	revoked []string
	answer  func(http.ResponseWriter, url.Values) bool // instead
	meta    func(map[string]any)
}

func newServer(t testing.TB) *server {
	s := &server{live: map[string]bool{}, codes: map[string]string{}, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	say := func(status int, v any) { w.WriteHeader(status); _ = json.NewEncoder(w).Encode(v) }
	_ = r.ParseForm()
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		m := map[string]any{"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token", "registration_endpoint": s.URL + "/register",
			"revocation_endpoint": s.URL + "/revoke", "code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
			"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "none"}}
		if s.meta != nil {
			s.meta(m)
		}
		say(200, m)
	case "/.well-known/oauth-protected-resource/mcp":
		say(200, map[string]any{"resource": s.URL + "/mcp", "authorization_servers": []string{s.URL}, "scopes_supported": []string{"notes"}})
	case "/register":
		s.n++
		say(201, map[string]any{"client_id": fmt.Sprint("client-", s.n), "token_endpoint_auth_method": "none"})
	case "/revoke":
		s.revoked = append(s.revoked, r.PostForm.Get("token"))
		delete(s.live, r.PostForm.Get("token"))
	case "/token":
		s.asked[r.PostForm.Get("grant_type")]++
		if s.answer != nil && s.answer(w, r.PostForm) {
			return
		}
		if old := r.PostForm.Get("refresh_token"); old != "" {
			if !s.live[old] {
				s.reused++
				say(400, map[string]any{"error": "invalid_grant"})
				return
			}
			delete(s.live, old)
		} else {
			sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
			challenge := s.codes[r.PostForm.Get("code")]
			delete(s.codes, r.PostForm.Get("code"))
			if challenge == "" || challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
				say(400, map[string]any{"error": "invalid_grant"})
				return
			}
		}
		s.n++
		s.live[fmt.Sprint("refresh-", s.n)] = true
		say(200, map[string]any{"access_token": fmt.Sprint("access-", s.n), "refresh_token": fmt.Sprint("refresh-", s.n), "token_type": "Bearer", "expires_in": 600})
	default:
		http.NotFound(w, r)
	}
}

// answers has token requests answered by f instead; nil: as they should be.
func (s *server) answers(f func(http.ResponseWriter, url.Values) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// count is how often a grant was asked for.
func (s *server) count(grant string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[grant]
}

func (s *server) gone() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.revoked...)
}

// person says yes on the sign-in page and returns what comes back with the browser.
func (s *server) person(t testing.TB, open string) url.Values {
	t.Helper()
	u, err := url.Parse(open)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != plane+broker.Callback+"notes" || u.Path != "/authorize" {
		t.Fatalf("the sign-in page is opened with %s", open)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	code := fmt.Sprint("code-", s.n)
	s.codes[code] = q.Get("code_challenge")
	return url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {s.URL}}
}

// world is a broker over a store, with two owners, an agent of each, and an upstream that both may use.
type world struct {
	testing.TB
	*broker.Broker
	as    *server
	clock storetest.Clock
}

func id(name string) identity.ID { return identity.MustID("spiffe://lanyard.local/agent/" + name) }

func open(t testing.TB) *world {
	w := &world{TB: t, as: newServer(t)}
	c := storetest.Config(t)
	c.Dir, c.Now = t.TempDir(), w.clock.Now
	storetest.Elsewhere(t, &c)
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &registry.Registry{Store: db, Domain: "lanyard.local", Families: []connector.Family{patterns.Family(), mcp.Family()}, Rand: rand.Reader}
	w.Broker = &broker.Broker{Registry: r, URL: plane, Now: w.clock.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler)}
	r.GivenUp = w.Broker.GivenUp
	w.do(func(c *registry.Change) error {
		_, err1 := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "ben"})
		_, err2 := c.PutOwner(identity.Owner{ID: "ben", Name: "Ben Okafor", Email: "ben@example.com"})
		return errors.Join(err1, err2)
	})
	w.put(w.notes())
	for name, owner := range map[string]identity.OwnerID{"mayas": "maya", "bens": "ben"} {
		w.do(func(c *registry.Change) error {
			_, _, err1 := c.PutIdentity(registry.Wanted{Kind: identity.Agent, Name: name, Owner: owner, Purpose: "tests"})
			_, _, err2 := c.PutGrant(name, "read", policy.Grant{Upstream: "notes", Actions: []string{"read"}, Plain: true}, registry.End{})
			return errors.Join(err1, err2)
		})
	}
	return w
}

func (w *world) notes() policy.Upstream {
	return policy.Upstream{Name: "notes", URL: w.as.URL, Family: "patterns", Description: []byte("GET /n -> n.read read /n"), OAuth: &policy.OAuth{Account: policy.Own, Issuer: w.as.URL, Scopes: []string{"notes"}}}
}

func (w *world) put(u policy.Upstream) {
	w.Helper()
	w.do(func(c *registry.Change) error { _, err := c.PutUpstream(u, nil); return err })
}

func (w *world) do(f func(*registry.Change) error) {
	w.Helper()
	if _, err := w.Registry.Do(w.Context(), registry.Actor{Name: "operator:test"}, f); err != nil {
		w.Fatal(err)
	}
}

func (w *world) pass(d time.Duration) {
	w.clock.Pass(d)
}

func (w *world) begin(owner identity.OwnerID, session string) string {
	w.Helper()
	open, issuer, err := w.Begin(w.Context(), "notes", owner, session, registry.Actor{Name: registry.Person(owner)})
	if err != nil || issuer != w.as.URL {
		w.Fatalf("%q %v", issuer, err)
	}
	return open
}

func (w *world) finish(owner identity.OwnerID, session string, answer url.Values) error {
	return w.Finish(w.Context(), "notes", owner, session, answer, registry.Actor{Name: registry.Person(owner)})
}

// connect takes an owner through all of it.
func (w *world) connect(owner identity.OwnerID) {
	w.Helper()
	session := "session of " + string(owner)
	if err := w.finish(owner, session, w.as.person(w.TB, w.begin(owner, session))); err != nil {
		w.Fatal(err)
	}
}

func (w *world) ask(agent string, refused ...feed.Secret) (feed.Secret, error) {
	return w.Credential(w.Context(), "notes", identity.Alone(id(agent), 0), append(refused, feed.Secret{})[0])
}

// gets asks as agent and returns the token.
func (w *world) gets(agent string, refused ...feed.Secret) feed.Secret {
	w.Helper()
	s, err := w.ask(agent, refused...)
	if err != nil || s.Header != "Authorization" || s.Value == "" {
		w.Fatalf("%s: %q %v", agent, s.Header, err)
	}
	return s
}

// none checks that agent gets nothing, and returns what is said.
func (w *world) none(agent string) string {
	w.Helper()
	s, err := w.ask(agent)
	var no *feed.NoAccount
	if !errors.As(err, &no) || s.Value != "" || no.URL != plane+"/accounts/notes" {
		w.Fatalf("%s: %s %v", agent, s.Value, err)
	}
	return no.Text
}

func (w *world) account(owner identity.OwnerID) (a registry.Account, err error) {
	return a, w.Registry.Store.Read(context.Background(), func(tx *store.Tx) error { return tx.Account("notes", owner, &a) })
}

func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("never: %s", what)
		}
	}
}
