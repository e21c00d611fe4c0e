package issuer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

const mail = "http://127.0.0.1:8441/mail"

var (
	bot = identity.MustID("spiffe://lanyard.local/agent/invoice-bot")
	b64 = base64.RawURLEncoding
)

// office is an issuer with one agent that holds a key and an API key.
type office struct {
	*Issuer
	server *httptest.Server
	key    ed25519.PrivateKey
	dpop   ed25519.PrivateKey
	apiKey string
	now    time.Time
	kept   map[string][]byte
	events []ledger.Event
	broken bool // the ledger cannot be written
}

func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), kept: map[string][]byte{}}
	_, o.key, _ = ed25519.GenerateKey(rand.Reader)
	_, o.dpop, _ = ed25519.GenerateKey(rand.Reader)
	now := func() time.Time { return o.now }
	ring := &KeyRing{Now: now, Rand: rand.Reader, Vault: Vault{
		Load: func(context.Context) (map[string][]byte, error) { return o.kept, nil },
		Save: func(_ context.Context, put map[string][]byte, drop []string, _ feed.Keys, _ ledger.Event) error {
			for id, b := range put {
				o.kept[id] = b
			}
			for _, id := range drop {
				delete(o.kept, id)
			}
			return nil
		}}}
	if err := ring.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	o.server = httptest.NewServer(mux)
	t.Cleanup(o.server.Close)
	var hash string
	o.apiKey, hash, _ = token.NewAPIKey(rand.Reader)
	jwk := jwkOf(o.key)
	thumb, _ := token.Thumbprint([]byte(jwk))
	later := o.now.Add(24 * time.Hour)
	view := feed.NewView()
	for _, c := range []feed.Change{
		{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerActive}},
		{Identity: &identity.Identity{ID: bot, Owner: "maya", Purpose: "p", State: identity.Active, Environment: "production", Created: o.now, Expires: later, Generation: 1}},
		{Credential: &identity.Credential{ID: "cred_1", Identity: bot, Kind: identity.PrivateKeyJWT, Thumbprint: thumb, PublicKey: []byte(jwk), Created: o.now, Expires: later}},
		{Credential: &identity.Credential{ID: "cred_2", Identity: bot, Kind: identity.Key, Thumbprint: hash, Created: o.now, Expires: o.now.Add(time.Minute)}},
		{Upstream: &policy.Upstream{Name: "mail", Environment: "production"}},
		{Upstream: &policy.Upstream{Name: "drive", Environment: "production"}},
		{Grant: &policy.Grant{ID: "invoice-bot/read", Identity: bot, Upstream: "mail", Actions: []string{"read"}, Until: later}},
		{Synced: true},
	} {
		if err := view.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	o.Issuer = &Issuer{URL: o.server.URL, GatewayURL: "http://127.0.0.1:8441", View: view, Ring: ring, Now: now, Rand: rand.Reader, Start: o.now,
		Touch: func(string, time.Time) {},
		Record: func(_ context.Context, e []ledger.Event) error {
			if o.broken {
				return errors.New("disk full")
			}
			o.events = append(o.events, e...)
			return nil
		},
		RevokeToken: func(_ context.Context, c token.Claims, _ string) error {
			return view.Apply(feed.Change{Token: &feed.TokenRevocation{ID: c.ID, Expires: c.Expires}})
		}}
	if err := o.Mount(mux); err != nil {
		t.Fatal(err)
	}
	return o
}

func jwkOf(k ed25519.PrivateKey) string {
	return `{"kty":"OKP","crv":"Ed25519","x":"` + b64.EncodeToString(k.Public().(ed25519.PublicKey)) + `"}`
}

func sign(k ed25519.PrivateKey, header string, claims map[string]any) string {
	body, _ := json.Marshal(claims)
	s := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString(body)
	return s + "." + b64.EncodeToString(ed25519.Sign(k, []byte(s)))
}

func (o *office) assertion(k ed25519.PrivateKey, change map[string]any) string {
	c := map[string]any{"iss": bot.String(), "sub": bot.String(), "aud": o.URL, "jti": rand.Text(), "iat": o.now.Unix(), "exp": o.now.Unix() + 60}
	for n, v := range change {
		c[n] = v
	}
	return sign(k, `{"alg":"EdDSA","typ":"JWT"}`, c)
}

func (o *office) form(assertion string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "resource": {mail},
		"client_assertion_type": {token.AssertionType}, "client_assertion": {assertion}}
}

func (o *office) proof(nonce string) string {
	return sign(o.dpop, `{"alg":"EdDSA","typ":"dpop+jwt","jwk":`+jwkOf(o.dpop)+`}`,
		map[string]any{"jti": rand.Text(), "htm": "POST", "htu": o.URL + "/oauth/token", "iat": o.now.Unix(), "nonce": nonce})
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (o *office) post(t testing.TB, path string, form url.Values, header ...string) answer {
	t.Helper()
	r, _ := http.NewRequest("POST", o.URL+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	res, err := o.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{res.StatusCode, res.Header, nil}
	b, _ := io.ReadAll(res.Body)
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a.body); err != nil {
			t.Fatalf("%s: %s", err, b)
		}
	}
	return a
}

func (o *office) token(t testing.TB) string {
	t.Helper()
	a := o.post(t, "/oauth/token", o.form(o.assertion(o.key, nil)), "DPoP", o.proof(o.nonces.Make(o.now)))
	if a.status != 200 {
		t.Fatal(a)
	}
	return a.body["access_token"].(string)
}

func TestIssue(t *testing.T) {
	o := newOffice(t)
	form := o.form(o.assertion(o.key, nil))
	a := o.post(t, "/oauth/token", form, "DPoP", o.proof(""))
	nonce := a.header.Get("DPoP-Nonce")
	if a.status != 400 || a.body["error"] != "use_dpop_nonce" || nonce == "" || len(o.events) != 0 {
		t.Fatal(a)
	}
	proof := o.proof(nonce)
	a = o.post(t, "/oauth/token", form, "DPoP", proof) // the same assertion: it was not used up
	if a.status != 200 || a.body["token_type"] != "DPoP" || a.body["expires_in"] != 300.0 || a.header.Get("Cache-Control") != "no-store" {
		t.Fatal(a)
	}
	c, err := o.Ring.Verifier().Verify(a.body["access_token"].(string), o.URL, mail, o.now)
	jkt, _ := token.Thumbprint([]byte(jwkOf(o.dpop)))
	if err != nil || c.Actor() != bot || c.Owner != "maya" || c.Credential != "cred_1" || c.Key.JKT != jkt || c.Chain[0].Generation != 1 {
		t.Fatal(c, err)
	}
	if len(o.events) != 1 || o.events[0].Token != c.ID || o.events[0].Outcome != ledger.Allowed || o.events[0].Owner != "maya" {
		t.Errorf("%+v", o.events)
	}
	for name, again := range map[string]answer{
		"assertion": o.post(t, "/oauth/token", form, "DPoP", o.proof(nonce)),
		"proof":     o.post(t, "/oauth/token", o.form(o.assertion(o.key, nil)), "DPoP", proof),
	} {
		if again.status == 200 {
			t.Errorf("replayed %s: accepted", name)
		}
	}
	o.broken = true
	a = o.post(t, "/oauth/token", o.form(o.assertion(o.key, nil)), "DPoP", o.proof(nonce))
	if a.status != 503 || a.body["access_token"] != nil {
		t.Error("a token without a record: ", a)
	}
}

func TestRefusals(t *testing.T) {
	o := newOffice(t)
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	with := func(change map[string]any) url.Values { return o.form(o.assertion(o.key, change)) }
	set := func(name string, values ...string) url.Values {
		f := with(nil)
		f[name] = values
		return f
	}
	ghost := "spiffe://lanyard.local/agent/ghost"
	for name, c := range map[string]struct {
		form url.Values
		code string
	}{
		"wrong key": {o.form(o.assertion(other, nil)), "invalid_client"}, "unknown": {with(map[string]any{"iss": ghost, "sub": ghost}), "invalid_client"},
		"audience": {with(map[string]any{"aud": mail}), "invalid_client"}, "before start": {with(map[string]any{"iat": o.now.Unix() - 1}), "invalid_client"},
		"long": {with(map[string]any{"exp": o.now.Unix() + 3600}), "invalid_client"}, "no resource": {set("resource"), "invalid_target"},
		"two resources": {set("resource", mail, mail), "invalid_target"}, "no grant": {set("resource", "http://127.0.0.1:8441/drive"), "invalid_target"},
		"elsewhere": {set("resource", "http://127.0.0.1:9/mail"), "invalid_target"}, "no upstream": {set("resource", mail+"x"), "invalid_target"},
		"scope": {set("scope", "read everything"), "invalid_scope"}, "grant type": {set("grant_type", "password"), "unsupported_grant_type"},
		"no grant type": {set("grant_type"), "invalid_request"}, "twice": {set("scope", "read", "read"), "invalid_request"},
		"two methods": {set("client_secret", o.apiKey), "invalid_request"}, "other client": {set("client_id", ghost), "invalid_request"},
		"nobody": {url.Values{"grant_type": {"client_credentials"}, "resource": {mail}}, "invalid_client"},
		"big":    {set("x", strings.Repeat("x", maxForm)), "invalid_request"},
	} {
		before := len(o.events)
		a := o.post(t, "/oauth/token", c.form, "DPoP", o.proof(o.nonces.Make(o.now)))
		if a.status == 200 || a.body["error"] != c.code {
			t.Errorf("%s: %v, want %s", name, a, c.code)
		}
		if len(o.events) != before+1 || o.events[before].Outcome != ledger.Refused {
			t.Errorf("%s: not recorded", name)
		}
	}
	a := o.post(t, "/oauth/token", o.form(o.assertion(other, nil)))
	b := o.post(t, "/oauth/token", with(map[string]any{"iss": ghost, "sub": ghost}))
	if fmt.Sprint(a.status, a.body) != fmt.Sprint(b.status, b.body) {
		t.Errorf("a wrong key and an unknown client differ: %v, %v", a, b)
	}
	if a := o.post(t, "/oauth/token", with(nil)); a.body["error"] != "invalid_dpop_proof" {
		t.Error("unbound: ", a)
	}
	o.AllowBearer = true
	if a := o.post(t, "/oauth/token", with(nil)); a.body["token_type"] != "Bearer" {
		t.Error("AllowBearer: ", a)
	}
}

func TestAPIKey(t *testing.T) {
	o := newOffice(t)
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {mail}}
	basic := func(user, key string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(user)+":"+url.QueryEscape(key)))
	}
	a := o.post(t, "/oauth/token", form, "Authorization", basic(bot.String(), o.apiKey))
	if a.status != 200 || a.body["token_type"] != "Bearer" || a.body["expires_in"] != 60.0 { // not beyond its credential
		t.Error(a)
	}
	for _, h := range []string{basic("spiffe://lanyard.local/agent/x", o.apiKey), basic(bot.String(), o.apiKey+"x"), "Bearer x"} {
		if a := o.post(t, "/oauth/token", form, "Authorization", h); a.status != 401 || a.body["error"] != "invalid_client" {
			t.Error(a)
		}
	}
	o.now = o.now.Add(time.Minute)
	if a := o.post(t, "/oauth/token", form, "Authorization", basic(bot.String(), o.apiKey)); a.status != 401 {
		t.Error("expired key: ", a)
	}
}

func TestIntrospectRevokeKill(t *testing.T) {
	o := newOffice(t)
	active := func(raw string) bool {
		o.Admin = func(*http.Request) (string, bool) { return "admin", true }
		defer func() { o.Admin = nil }()
		return o.post(t, "/oauth/introspect", url.Values{"token": {raw}}).body["active"] == true
	}
	raw := o.token(t)
	if a := o.post(t, "/oauth/introspect", url.Values{"token": {raw}}); a.status != 401 {
		t.Error("anybody may introspect: ", a)
	}
	if !active(raw) || active(raw[:len(raw)-4]) {
		t.Fatal("a good token is not active, or a bad one is")
	}
	f := o.form(o.assertion(o.key, nil))
	f.Set("token", raw)
	if a := o.post(t, "/oauth/revoke", f); a.status != 200 || active(raw) {
		t.Error("revoked: ", a)
	}
	f = o.form(o.assertion(o.key, nil))
	f.Set("token", "unknown")
	if a := o.post(t, "/oauth/revoke", f); a.status != 200 {
		t.Error("unknown: ", a)
	}
	raw = o.token(t)
	if err := o.View.Apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{bot}, At: o.now}}); err != nil {
		t.Fatal(err)
	}
	if active(raw) {
		t.Error("a killed identity's token is active")
	}
	if a := o.post(t, "/oauth/token", o.form(o.assertion(o.key, nil)), "DPoP", o.proof(o.nonces.Make(o.now))); a.status != 401 {
		t.Error("a killed identity gets a token: ", a)
	}
}

func TestRotate(t *testing.T) {
	o := newOffice(t)
	raw := o.token(t)
	first := o.Ring.Keys()[0].ID
	id, err := o.Ring.Rotate(t.Context(), "operator:local:test")
	if err != nil || id == first {
		t.Fatal(id, err)
	}
	if k := o.Ring.Keys(); len(k) != 2 || k[0].State != "next" || k[1].State != "current" {
		t.Error(k)
	}
	o.now = o.now.Add(lead)
	if k := o.Ring.Keys(); k[0].State != "current" || k[1].State != "retired" {
		t.Error(k)
	}
	again := &KeyRing{Vault: o.Ring.Vault, Now: o.Now, Rand: rand.Reader}
	if err := again.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Verifier().Verify(raw, o.URL, mail, o.now); err != nil {
		t.Error("after a rotation and a restart: ", err)
	}
	o.now = o.now.Add(time.Hour)
	if _, err := o.Ring.Rotate(t.Context(), "operator:local:test"); err != nil || o.kept[first] != nil {
		t.Error("the old key is kept for ever: ", err)
	}
}

func TestMetadata(t *testing.T) {
	o := newOffice(t)
	for path, want := range map[string]int{"/.well-known/oauth-authorization-server": 200, "/oauth/jwks": 200, "/.well-known/openid-configuration": 404} {
		res, err := o.server.Client().Get(o.URL + path)
		if err != nil || res.StatusCode != want {
			t.Errorf("%s: %v %v", path, res.StatusCode, err)
		}
		res.Body.Close()
	}
}

// TestKeysInTime: nothing between may answer with keys of before so long that a token comes of which the key is not among them.
func TestKeysInTime(t *testing.T) {
	o := newOffice(t)
	res, err := o.server.Client().Get(o.URL + "/oauth/jwks")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	age, err := time.ParseDuration(strings.TrimPrefix(res.Header.Get("Cache-Control"), "public, max-age=") + "s")
	if err != nil || age <= 0 || age > lead {
		t.Errorf("%v %q: a new key signs after %s", err, res.Header.Get("Cache-Control"), lead)
	}
}

// BenchmarkIssue is the whole endpoint over keep-alive; BenchmarkSignVerify what it is compared with.
func BenchmarkIssue(b *testing.B) {
	o := newOffice(b)
	o.AllowBearer = true
	for b.Loop() {
		if a := o.post(b, "/oauth/token", o.form(o.assertion(o.key, nil))); a.status != 200 {
			b.Fatal(a)
		}
	}
}

func BenchmarkSignVerify(b *testing.B) {
	pub, k, _ := ed25519.GenerateKey(rand.Reader)
	m := make([]byte, 600)
	for b.Loop() {
		if !ed25519.Verify(pub, m, ed25519.Sign(k, m)) {
			b.Fatal("wrong")
		}
	}
}
