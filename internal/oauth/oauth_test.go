package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// TestSignIn: a person signs in once; then the token is used, refreshed when it is old, and asked for again when it is spent.
func TestSignIn(t *testing.T) {
	w := newWorld(t)
	w.meta["scopes_supported"] = []string{"base", "offline_access"}
	tr := w.transport()
	w.must(tr, 200)
	for name, want := range map[string]string{"response_type": "code", "client_id": "client-1", "redirect_uri": w.c.Redirect, "resource": w.up.URL + "/mcp",
		"code_challenge_method": "S256", "scope": "base offline_access", "prompt": "consent"} {
		if got := w.asked.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if len(w.asked.Get("state")) < 40 || w.form.Get("resource") != w.up.URL+"/mcp" || w.form.Has("client_secret") {
		t.Error(w.asked, w.form)
	}
	w.must(tr, 200)
	w.now = noon.Add(295 * time.Second)
	w.must(tr, 200)
	if w.form.Get("grant_type") != "refresh_token" || w.form.Get("refresh_token") != "refresh-access-1" || w.seen("/authorize") != 1 || w.seen("/register") != 1 {
		t.Error(w.form, w.count)
	}
	if kept, _ := w.store.Token(t.Context(), tr.Upstream); kept.Access != "access-2" || kept.Refresh != "refresh-access-2" || !reflect.DeepEqual(kept.Scope, []string{"base", "offline_access"}) {
		t.Errorf("%#v", kept.Scope)
	}
	w.now = w.now.Add(time.Hour)
	w.token = func(rw http.ResponseWriter, f url.Values) bool {
		if f.Get("grant_type") == "refresh_token" {
			reply(rw, 400, map[string]any{"error": "invalid_grant"})
			return true
		}
		return false
	}
	tr.Flow = nil
	asked := w.seen("/token")
	for range 3 {
		if _, err := w.call(tr); !errors.Is(err, ErrSignIn) {
			t.Error(err)
		}
	}
	if w.seen("/token") != asked+1 {
		t.Error("a spent refresh token is shown again")
	}
	tr.Flow = Person(w.person)
	w.must(tr, 200)
	if w.seen("/authorize") != 2 || w.seen("/register") != 1 {
		t.Error("a spent refresh token does not lead to one new sign-in: ", w.count)
	}
}

// TestGivenUp: a request that is given up while its token is renewed does not lose the new one.
func TestGivenUp(t *testing.T) {
	w := newWorld(t)
	tr := w.transport()
	w.must(tr, 200)
	w.now = noon.Add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	w.token = func(http.ResponseWriter, url.Values) bool { cancel(); return false }
	req, err := http.NewRequestWithContext(ctx, "GET", tr.Upstream, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.RoundTrip(req); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if kept, _ := w.store.Token(t.Context(), tr.Upstream); kept.Refresh != "refresh-access-2" {
		t.Error("the new refresh token is lost")
	}
}

// TestEnterprise: the identity provider's assertion is for that server and that upstream, or it is not used.
func TestEnterprise(t *testing.T) {
	w, idp := newWorld(t), newWorld(t)
	answer := map[string]any{"access_token": "the-jag", "issued_token_type": tokenIDJAG, "token_type": "N_A"}
	idp.token = func(rw http.ResponseWriter, f url.Values) bool {
		for name, want := range map[string]string{"grant_type": grantExchange, "audience": w.as.URL, "resource": w.up.URL + "/mcp", "subject_token": "id-token", "client_id": "here", "scope": "base"} {
			if f.Get(name) != want {
				t.Errorf("%s is %q, not %q", name, f.Get(name), want)
			}
		}
		reply(rw, 200, answer)
		return true
	}
	w.store.registrations = map[string]Registration{w.as.URL: {ID: "there", Secret: "s"}, idp.as.URL: {ID: "here"}}
	tr := w.transport()
	tr.Flow = Enterprise{Issuer: idp.as.URL, Subject: func(context.Context) (string, error) { return "id-token", nil }}
	w.must(tr, 200)
	if w.form.Get("grant_type") != grantJWT || w.form.Get("assertion") != "the-jag" {
		t.Error(w.form)
	}
	w.store.tokens = nil
	answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
	_, err := w.call(tr)
	w.refused(err, "no ID-JAG")
	answer["issued_token_type"], answer["token_type"] = tokenIDJAG, "Bearer"
	_, err = w.call(tr)
	w.refused(err, "no ID-JAG")
	w.store.registrations[idp.as.URL] = Registration{}
	_, err = w.call(tr)
	w.refused(err, "no credentials for that server")
	if w.seen("/token") != 1 {
		t.Error(w.count)
	}
}

// TestNobodyThere: without a flow, what is needed of a person is said.
func TestNobodyThere(t *testing.T) {
	w := newWorld(t)
	tr := w.transport()
	tr.Flow = nil
	if _, err := w.call(tr); !errors.Is(err, ErrSignIn) {
		t.Error(err)
	}
	ch, err := w.c.Probe(t.Context(), tr.Upstream)
	if err != nil || !reflect.DeepEqual(ch, Challenge{Metadata: w.up.URL + "/.well-known/oauth-protected-resource/mcp", Scope: []string{"base"}, Error: "invalid_token"}) {
		t.Fatalf("%+v %v", ch, err)
	}
	up, err := w.c.Discover(t.Context(), tr.Upstream, ch)
	if err != nil {
		t.Fatal(err)
	}
	open, pending, err := w.c.Begin(t.Context(), up, up.Scope(ch))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := w.person(t.Context(), open)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := w.c.Finish(t.Context(), pending, answer)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.PutToken(t.Context(), tr.Upstream, tok); err != nil {
		t.Fatal(err)
	}
	w.must(tr, 200)
	w.now = w.now.Add(time.Hour)
	w.must(tr, 200)
	if w.seen("/authorize") != 1 {
		t.Error("it needed the person again")
	}
}

// TestStepUp: more is asked for once, with what was granted before; an upstream that is never content gets no more.
func TestStepUp(t *testing.T) {
	w := newWorld(t)
	tr := w.transport()
	w.must(tr, 200)
	w.need = "write"
	w.must(tr, 200)
	if w.asked.Get("scope") != "base write" {
		t.Error(w.asked.Get("scope"))
	}
	w.need = "more"
	w.answer = func(url.Values) { w.asked.Set("scope", "base") } // it is not granted
	w.must(tr, 403)
	w.must(tr, 403)
	if n := w.seen("/authorize"); n != 3 {
		t.Errorf("%d sign-ins, not 3", n)
	}
	w = newWorld(t)
	w.token = func(rw http.ResponseWriter, _ url.Values) bool {
		reply(rw, 200, map[string]any{"access_token": "not-taken", "token_type": "Bearer"})
		return true
	}
	w.must(w.transport(), 401)
	if n := w.seen("/authorize"); n != 1 {
		t.Errorf("%d sign-ins, not 1", n)
	}
}

// TestTogether: requests that come together sign in once, and one that is cut meanwhile does not wait.
func TestTogether(t *testing.T) {
	w := newWorld(t)
	tr := w.transport()
	begun, consent := make(chan struct{}), make(chan struct{})
	tr.Flow = Person(func(ctx context.Context, open string) (url.Values, error) {
		close(begun)
		<-consent
		return w.person(ctx, open)
	})
	var all sync.WaitGroup
	send := func() {
		if got, err := w.call(tr); err != nil || got != 200 {
			t.Error(got, err)
		}
	}
	all.Go(send)
	<-begun
	all.Go(send)
	all.Go(send)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.lock(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(consent)
	all.Wait()
	if n := w.seen("/authorize"); n != 1 {
		t.Errorf("%d sign-ins", n)
	}
}

// TestDPoP: where the upstream wants bound tokens, proofs go to both, with the nonces they give; a bearer token will not do.
func TestDPoP(t *testing.T) {
	w := newWorld(t)
	w.nonce = "n1"
	w.meta["dpop_signing_alg_values_supported"] = []string{"ES256"}
	tr := w.transport()
	w.must(tr, 200)
	w.nonce = "n2"
	w.must(tr, 200)
	kept, _ := w.store.Token(t.Context(), tr.Upstream)
	if kept.Type != "DPoP" || kept.Key == nil || w.seen("/authorize") != 1 {
		t.Error(kept.Type, w.count)
	}
	w.now = w.now.Add(time.Hour) // its proofs are too new now, but the nonce says so first
	if _, err := w.c.Refresh(t.Context(), kept); err == nil || w.form.Get("grant_type") != "refresh_token" {
		t.Error("a refresh without a good proof passed")
	}
	w = newWorld(t)
	w.nonce = "n1"
	w.token = func(rw http.ResponseWriter, _ url.Values) bool {
		reply(rw, 200, map[string]any{"access_token": "access-1", "token_type": "Bearer"})
		return true
	}
	_, err := w.call(w.transport())
	w.refused(err, "only tokens bound to a key")
	w = newWorld(t)
	w.nonce = "n1"
	w.meta["dpop_signing_alg_values_supported"] = []string{"RS256"}
	_, err = w.call(w.transport())
	w.refused(err, "ES256")
	w = newWorld(t) // an upstream that says nothing of DPoP may not understand it
	w.meta["dpop_signing_alg_values_supported"] = []string{"ES256"}
	w.must(w.transport(), 200)
}

// TestElsewhere: a token is shown to its upstream only.
func TestElsewhere(t *testing.T) {
	w := newWorld(t)
	tr := w.transport()
	w.must(tr, 200)
	for _, u := range []string{w.as.URL + "/mcp", w.up.URL + "/", w.up.URL + "/mcp2", w.up.URL + "/mcp/../other", w.up.URL + "/mcp/%2e%2e/x", "https://" + strings.TrimPrefix(w.up.URL, "http://") + "/mcp"} {
		req, err := http.NewRequest("GET", u, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := tr.RoundTrip(req); err == nil {
			t.Errorf("%s: %s", u, res.Status)
		}
	}
	redirect, err := http.NewRequest("GET", tr.Upstream+"/below", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.RoundTrip(redirect); err != nil {
		t.Error(err)
	}
}

// TestIssuers: a registration is shown to the server it was made at, and to no other.
func TestIssuers(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	tr := w.transport()
	w.must(tr, 200)
	w.resource["authorization_servers"] = []string{other.as.URL}
	w.issued = 100 // the upstream takes what it took no more
	_, err := w.call(tr)
	w.refused(err, "is not of "+other.as.URL) // w's person answers for w's server: a mix-up
	if other.seen("/register") != 1 || other.seen("/token") != 0 {
		t.Error(other.count)
	}
	w.resource["authorization_servers"] = []string{other.as.URL, w.as.URL}
	w.store.registrations[other.as.URL] = Registration{}
	up, err := w.c.Discover(t.Context(), tr.Upstream, Challenge{})
	if err != nil || up.Server.Issuer != w.as.URL {
		t.Error("not the server it is registered with: ", up.Server.Issuer, err)
	}
	tr.Flow = Credentials{}
	if err := w.store.PutRegistration(t.Context(), "https://elsewhere.example", Registration{ID: "a", Secret: "b"}); err != nil {
		t.Fatal(err)
	}
	w.store.registrations[w.as.URL] = Registration{}
	_, err = w.call(tr)
	w.refused(err, "no credentials for that server")
}

// TestRegistration: the client registers when it must: not with a document, again when its secret expired or it was forgotten.
func TestRegistration(t *testing.T) {
	w := newWorld(t)
	w.register = func(ask map[string]any) map[string]any {
		if ask["application_type"] != "native" || ask["client_name"] != "Lanyard" || !reflect.DeepEqual(ask["grant_types"], []any{"authorization_code", "refresh_token"}) {
			t.Error(ask)
		}
		return map[string]any{"client_id": "c", "client_secret": "s", "client_secret_expires_at": noon.Unix() + 60}
	}
	w.must(w.transport(), 200)
	if r, _ := w.store.Registration(t.Context(), w.as.URL); !r.Expires.Equal(noon.Add(time.Minute)) || r.Method != "client_secret_basic" || !r.Dynamic {
		t.Errorf("%s %s %v", r.Expires, r.Method, r.Dynamic)
	}
	w.now = noon.Add(time.Minute)
	w.issued = 100
	w.store.tokens = nil
	w.must(w.transport(), 200)
	w.token = func(rw http.ResponseWriter, _ url.Values) bool {
		reply(rw, 401, map[string]any{"error": "invalid_client", "error_description": "who\x1b[31m?"})
		return true
	}
	w.store.tokens = nil
	w.now = noon
	_, err := w.call(w.transport())
	var e *Error
	if !errors.As(err, &e) || e.Code != "invalid_client" || e.Description != "who?[31m?" || e.Status != 401 {
		t.Error(err)
	}
	if r, _ := w.store.Registration(t.Context(), w.as.URL); r.ID != "" || w.seen("/register") != 2 {
		t.Error("a forgotten registration is kept: ", r, w.count)
	}

	w = newWorld(t)
	w.meta["client_id_metadata_document_supported"] = true
	w.c.Document = "https://lanyard.example/client.json"
	w.must(w.transport(), 200)
	if w.asked.Get("client_id") != w.c.Document || w.form.Get("client_id") != w.c.Document || w.seen("/register") != 0 {
		t.Error(w.asked, w.form)
	}
	w.now = noon.Add(time.Hour)
	w.must(w.transport(), 200)
	if w.form.Get("grant_type") != "refresh_token" || w.form.Get("client_id") != w.c.Document {
		t.Error(w.form)
	}
}

// TestMethods: how the client shows who it is, from the registration and the metadata.
func TestMethods(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r       Registration
		offered string
		want    string
	}{
		{Registration{}, "", "none"}, {Registration{Secret: "s"}, "", "client_secret_basic"}, {Registration{Key: der}, "", "private_key_jwt"},
		{Registration{Secret: "s"}, "client_secret_post", "client_secret_post"}, {Registration{Secret: "s"}, "none private_key_jwt", ""},
		{Registration{Secret: "s", Key: der}, "client_secret_basic private_key_jwt", "private_key_jwt"}, {Registration{}, "client_secret_basic", ""},
		{Registration{Secret: "s", Method: "none"}, "client_secret_basic", "none"}, {Registration{Method: "client_secret_post"}, "client_secret_post", ""},
		{Registration{Secret: "s", Method: "tls_client_auth"}, "tls_client_auth", ""},
	} {
		got, err := c.r.method(Server{Methods: strings.Fields(c.offered)})
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v %q: %q %v", c.r, c.offered, got, err)
		}
	}
	w := newWorld(t)
	w.meta["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"}
	w.store.registrations = map[string]Registration{w.as.URL: {ID: "machine", Key: der}}
	tr := w.transport()
	tr.Flow = Credentials{}
	w.must(tr, 200)
	a, err := token.ParseAssertion(w.form.Get("client_assertion"))
	if err != nil {
		t.Fatal(err)
	}
	ck, err := key(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(ck.JWK(), []string{w.as.URL}, noon); err != nil || a.Subject != "machine" || w.form.Get("grant_type") != "client_credentials" {
		t.Error(err, w.form)
	}
	w.meta["token_endpoint_auth_signing_alg_values_supported"] = []string{"RS256"}
	w.store.tokens = nil
	_, err = w.call(tr)
	w.refused(err, "ES256")
	w.meta["grant_types_supported"] = []string{"authorization_code"}
	_, err = w.call(tr)
	w.refused(err, "does not offer")
}

// TestWorkload: an assertion that was refused is not shown twice.
func TestWorkload(t *testing.T) {
	w := newWorld(t)
	w.token = func(rw http.ResponseWriter, _ url.Values) bool {
		reply(rw, 400, map[string]any{"error": "invalid_grant"})
		return true
	}
	jwt := "one"
	tr := w.transport()
	tr.Flow = &Workload{Assertion: func(_ context.Context, audience string) (string, error) {
		if audience != w.as.URL {
			t.Error(audience)
		}
		return jwt, nil
	}}
	for range 3 {
		_, err := w.call(tr)
		w.refused(err, "invalid_grant")
	}
	if w.seen("/token") != 1 || w.form.Get("assertion") != "one" {
		t.Error(w.count)
	}
	jwt, w.token = "two", nil
	w.must(tr, 200)
}

// TestSecrets: nothing secret is printed by accident.
func TestSecrets(t *testing.T) {
	const secret = "hush"
	for _, v := range []any{Token{Access: secret, Refresh: secret, Key: []byte(secret)}, Registration{ID: "x", Secret: secret, Key: []byte(secret)},
		Pending{State: secret, Verifier: secret, As: Registration{Secret: secret}}} {
		if s := fmt.Sprintf("%v %+v %#v %s", v, v, v, v); strings.Contains(s, secret) || strings.Contains(s, fmt.Sprint([]byte(secret))) {
			t.Error(s)
		}
	}
}

// TestRefreshKept: a server that gives no new refresh token means the old one; a token of another client is not renewed.
func TestRefreshKept(t *testing.T) {
	w := newWorld(t)
	tr := w.transport()
	w.must(tr, 200)
	old, err := w.store.Token(t.Context(), tr.Upstream)
	if err != nil {
		t.Fatal(err)
	}
	w.token = func(rw http.ResponseWriter, _ url.Values) bool {
		reply(rw, 200, map[string]any{"access_token": "new", "token_type": "Bearer"})
		return true
	}
	got, err := w.c.Refresh(t.Context(), old)
	if err != nil || got.Refresh != old.Refresh || got.Access != "new" || !reflect.DeepEqual(got.Scope, old.Scope) || !got.Expires.IsZero() {
		t.Error(got.Scope, err)
	}
	w.store.registrations[w.as.URL] = Registration{ID: "another", Secret: "s"}
	if _, err := w.c.Refresh(t.Context(), old); !errors.Is(err, ErrSignIn) {
		t.Error(err)
	}
	if _, err := w.c.Refresh(t.Context(), Token{Access: "a"}); !errors.Is(err, ErrSignIn) {
		t.Error(err)
	}
}

// TestRevoke: a token is given up where it was got, as the client it was got by, if its server wants to be told.
func TestRevoke(t *testing.T) {
	w := newWorld(t)
	told := 0
	var form url.Values
	status := http.StatusOK
	end := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		told, form = told+1, r.PostForm
		rw.WriteHeader(status)
	}))
	defer end.Close()
	tok := Token{Access: "a", Refresh: "r", Client: "ours", Server: Server{Issuer: w.as.URL, Token: w.as.URL + "/token", Methods: []string{"none"}}}
	if err := w.store.PutRegistration(t.Context(), w.as.URL, Registration{ID: "ours"}); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Revoke(t.Context(), tok); err != nil || told != 0 {
		t.Errorf("a server that wants to be told nothing: %v", err)
	}
	tok.Server.Revocation = end.URL
	if err := w.c.Revoke(t.Context(), tok); err != nil || form.Get("token") != "r" || form.Get("token_type_hint") != "refresh_token" || form.Get("client_id") != "ours" {
		t.Errorf("%v %v", form, err)
	}
	tok.Refresh = ""
	if err := w.c.Revoke(t.Context(), tok); err != nil || form.Get("token") != "a" || form.Get("token_type_hint") != "access_token" {
		t.Errorf("%v %v", form, err)
	}
	if status = http.StatusServiceUnavailable; w.c.Revoke(t.Context(), tok) == nil {
		t.Error("a no is taken for a yes")
	}
	if tok.Client = "another"; w.c.Revoke(t.Context(), tok) == nil || told != 3 {
		t.Error("it was told as another client")
	}
	if tok.Access = ""; w.c.Revoke(t.Context(), tok) != nil || told != 3 {
		t.Error("it was told of nothing")
	}
	w.meta["revocation_endpoint"] = "http://as.example.com/revoke"
	if _, err := w.c.Server(t.Context(), w.as.URL); err == nil || !strings.Contains(err.Error(), "revocation_endpoint") {
		t.Errorf("one that cannot be told safely: %v", err)
	}
}
