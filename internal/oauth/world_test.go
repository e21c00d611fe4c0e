package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// world is an upstream and its authorization server, both on loopback, which do as
// they should until a test changes what they say.
type world struct {
	*testing.T
	as, up *httptest.Server
	store  *Memory
	c      *Client
	now    time.Time

	meta     map[string]any                             // authorization server metadata
	resource map[string]any                             // protected resource metadata; nil: there is none
	answer   func(url.Values)                           // changes what the sign-in page sends back
	token    func(http.ResponseWriter, url.Values) bool // answers a token request, or leaves it
	register func(map[string]any) map[string]any

	mu     sync.Mutex
	count  map[string]int // requests by path; /authorize is the person's
	asked  url.Values     // the last authorization request
	form   url.Values     // the last token request
	issued int
	nonce  string // that both sides want in proofs; empty: they want no DPoP
	need   string // scope that /mcp wants
	scope  map[string]string
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, store: &Memory{}, now: noon, count: map[string]int{}, scope: map[string]string{}}
	w.as = httptest.NewServer(http.HandlerFunc(w.serveAS))
	w.up = httptest.NewServer(http.HandlerFunc(w.serveUp))
	t.Cleanup(w.as.Close)
	t.Cleanup(w.up.Close)
	w.meta = map[string]any{"issuer": w.as.URL, "authorization_endpoint": w.as.URL + "/authorize", "token_endpoint": w.as.URL + "/token",
		"registration_endpoint": w.as.URL + "/register", "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "none"}, "authorization_response_iss_parameter_supported": true}
	w.resource = map[string]any{"resource": w.up.URL + "/mcp", "authorization_servers": []string{w.as.URL}}
	w.c = &Client{HTTP: w.as.Client(), Now: func() time.Time { return w.now }, Rand: rand.Reader, Store: w.store, Loopback: true,
		Name: "Lanyard", Redirect: "http://127.0.0.1:1/callback"}
	return w
}

func (w *world) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count[what]++
}

func (w *world) seen(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count[what]
}

func reply(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(v)
}

func (w *world) serveAS(rw http.ResponseWriter, r *http.Request) {
	w.note(r.URL.Path)
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		reply(rw, 200, w.meta)
	case "/register":
		var ask map[string]any
		_ = json.NewDecoder(r.Body).Decode(&ask)
		got := map[string]any{"client_id": fmt.Sprintf("client-%d", w.seen("/register")), "client_secret": "registered-secret", "token_endpoint_auth_method": ask["token_endpoint_auth_method"]}
		if w.register != nil {
			got = w.register(ask)
		}
		reply(rw, 201, got)
	case "/token":
		w.serveToken(rw, r)
	default:
		http.NotFound(rw, r)
	}
}

func (w *world) serveToken(rw http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	w.mu.Lock()
	w.form = r.PostForm
	w.issued++
	access, nonce, asked := fmt.Sprintf("access-%d", w.issued), w.nonce, w.asked
	if r.PostForm.Get("grant_type") == "authorization_code" {
		w.scope[access] = asked.Get("scope")
	} else {
		w.scope[access] = r.PostForm.Get("scope")
	}
	w.mu.Unlock()
	if w.token != nil && w.token(rw, r.PostForm) {
		return
	}
	got := map[string]any{"access_token": access, "token_type": "bearer", "expires_in": 300, "refresh_token": "refresh-" + access}
	if nonce != "" {
		rw.Header().Set("DPoP-Nonce", nonce)
		p, err := token.ParseProof(r.Header.Get("DPoP"))
		if err == nil {
			_, err = p.Check(token.ProofWant{Method: "POST", URL: w.as.URL + "/token", Nonce: func(s string) bool { return s == nonce }, Now: noon})
		}
		if err != nil {
			reply(rw, 400, map[string]any{"error": "use_dpop_nonce"})
			return
		}
		got["token_type"] = "DPoP"
	}
	if r.PostForm.Get("grant_type") == "authorization_code" {
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") || r.PostForm.Get("resource") != asked.Get("resource") || r.PostForm.Get("redirect_uri") != asked.Get("redirect_uri") {
			reply(rw, 400, map[string]any{"error": "invalid_grant"})
			return
		}
	}
	reply(rw, 200, got)
}

// serveUp is an upstream that takes what was issued last, and its scope if it needs one.
func (w *world) serveUp(rw http.ResponseWriter, r *http.Request) {
	w.note("up:" + r.URL.Path)
	if r.URL.Path == "/.well-known/oauth-protected-resource/mcp" && w.resource != nil {
		reply(rw, 200, w.resource)
		return
	}
	if r.URL.Path != "/mcp" {
		http.NotFound(rw, r)
		return
	}
	w.mu.Lock()
	need, nonce, last := w.need, w.nonce, fmt.Sprintf("access-%d", w.issued)
	scope := w.scope[last]
	w.mu.Unlock()
	where := fmt.Sprintf(`resource_metadata="%s/.well-known/oauth-protected-resource/mcp"`, w.up.URL)
	scheme, access, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case nonce != "" && scheme == "DPoP" && access == last:
		p, err := token.ParseProof(r.Header.Get("DPoP"))
		if err == nil {
			_, err = p.Check(token.ProofWant{Method: r.Method, URL: w.up.URL + "/mcp", TokenHash: token.TokenHash(access), Nonce: func(s string) bool { return s == nonce }, Now: noon})
		}
		if err != nil {
			rw.Header().Set("DPoP-Nonce", nonce)
			rw.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			rw.WriteHeader(401)
		}
	case nonce != "":
		rw.Header().Set("WWW-Authenticate", `DPoP algs="ES256", `+where)
		rw.WriteHeader(401)
	case scheme != "Bearer" || access != last:
		rw.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", scope="base", `+where)
		rw.WriteHeader(401)
	case need != "" && !within(scopes(scope), scopes(need)):
		rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+need+`", `+where)
		rw.WriteHeader(403)
	}
}

// person consents at once.
func (w *world) person(_ context.Context, open string) (url.Values, error) {
	u, err := url.Parse(open)
	if err != nil {
		return nil, err
	}
	w.note("/authorize")
	w.mu.Lock()
	w.asked = u.Query()
	w.mu.Unlock()
	back := url.Values{"code": {"the-code"}, "state": {u.Query().Get("state")}, "iss": {w.as.URL}}
	if w.answer != nil {
		w.answer(back)
	}
	return back, nil
}

func (w *world) transport() *Transport {
	return &Transport{Client: w.c, Upstream: w.up.URL + "/mcp", Flow: Person(w.person)}
}

// call sends one request through t, and returns its status.
func (w *world) call(t *Transport) (int, error) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), "POST", t.Upstream, strings.NewReader(`{"jsonrpc":"2.0"}`))
	if err != nil {
		w.Fatal(err)
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return res.StatusCode, nil
}

func (w *world) must(t *Transport, status int) {
	w.Helper()
	if got, err := w.call(t); err != nil || got != status {
		w.Fatalf("%d, not %d (%v)", got, status, err)
	}
}

func (w *world) refused(err error, text string) {
	w.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		w.Errorf("%v, not %q", err, text)
	}
}
