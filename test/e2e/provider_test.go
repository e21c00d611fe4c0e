package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/oauth"
)

// idp is an organisation's identity provider: it exchanges a person's ID token, which is their
// address here, for an ID-JAG (RFC 8693, draft-ietf-oauth-identity-assertion-authz-grant).
type idp struct {
	*httptest.Server
	issued atomic.Int32
}

// newIDP makes one that knows the client, which is called clientHere at the server that the assertion is for.
func newIDP(t *testing.T, clientHere string) *idp {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "2026-11"}}, (&jose.SignerOptions{}).WithType("oauth-id-jag+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": p.URL, "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/authorize",
			"grant_types_supported": []string{"urn:ietf:params:oauth:grant-type:token-exchange"}, "token_endpoint_auth_methods_supported": []string{"client_secret_post"},
			"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "2026-11", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		f := func(name string) string { return r.PostFormValue(name) }
		if f("requested_token_type") != "urn:ietf:params:oauth:token-type:id-jag" || f("client_id") != "scribe-at-the-idp" || f("client_secret") != "hush" {
			t.Errorf("the identity provider is asked for %v", r.PostForm)
		}
		claims, _ := json.Marshal(map[string]any{"iss": p.URL, "sub": "sub of " + f("subject_token"), "aud": f("audience"), "client_id": clientHere, "resource": f("resource"), "scope": f("scope"),
			"email": f("subject_token"), "jti": rand.Text(), "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(), "auth_time": time.Now().Unix()})
		j, err := signer.Sign(claims)
		if err != nil {
			t.Error(err)
			return
		}
		raw, _ := j.CompactSerialize()
		p.issued.Add(1)
		answer(w, map[string]any{"access_token": raw, "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A", "expires_in": 300, "scope": f("scope")})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// TestManagedByProvider: an organisation's identity provider says whose a client is, and nobody is asked: the
// client signs in with internal/oauth, works as an identity of its own, and stops as all others do.
func TestManagedByProvider(t *testing.T) {
	t.Parallel()
	h := desk(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, _ := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err := os.WriteFile(filepath.Join(h.dir, "scribe.jwk"), public, 0o600); err != nil {
		t.Fatal(err)
	}
	const scribe = "spiffe://lanyard.local/oauth_client/scribe"
	h.do("identity", "register", "scribe", "--kind", "oauth_client", "--owner", "kim", "--purpose", "The desktop client of all who take notes")
	h.do("credential", "add", "scribe", "--public-key", "scribe.jwk")
	p := newIDP(t, scribe)
	h.do("provider", "put", "acme", "--issuer", p.URL, "--use", "id_jag", "--domain", "example.com", "--scope", "read,write")
	if out := h.do("provider", "show", "acme"); !strings.Contains(out, "2026-11") || !strings.Contains(out, "30d") {
		t.Errorf("provider show:\n%s", out)
	}
	if out := h.try("doctor").out; !strings.Contains(out, "the keys of provider acme can be had") {
		t.Errorf("doctor:\n%s", out)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	h.do("upstream", "put", "all", "--join", "notes", "--owner", "maya")
	connect := func(person, upstream string) (*mcp.ClientSession, error) {
		at := h.gate + "/" + upstream + "/mcp"
		kept := &oauth.Memory{}
		c := &oauth.Client{HTTP: &http.Client{Timeout: 20 * time.Second}, Now: time.Now, Rand: rand.Reader, Store: kept, Loopback: true, Name: "Scribe"}
		for issuer, r := range map[string]oauth.Registration{h.control: {ID: scribe, Key: der}, p.URL: {ID: "scribe-at-the-idp", Secret: "hush"}} {
			if err := kept.PutRegistration(ctx, issuer, r); err != nil {
				t.Fatal(err)
			}
		}
		carrier := &oauth.Transport{Client: c, Upstream: at, Flow: oauth.Enterprise{Issuer: p.URL, Subject: func(context.Context) (string, error) { return person, nil }}}
		return mcp.NewClient(&mcp.Implementation{Name: "scribe", Version: "1"}, nil).
			Connect(ctx, &mcp.StreamableClientTransport{Endpoint: at, HTTPClient: &http.Client{Transport: carrier}, MaxRetries: -1}, nil)
	}
	write := func(s *mcp.ClientSession) (string, error) {
		res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "write_note", Arguments: map[string]any{"path": "/a"}})
		return text(res), err
	}
	maya, err := connect("maya@example.com", "notes")
	if err != nil {
		t.Fatal(err)
	}
	defer maya.Close()
	if said, err := write(maya); said != "wrote /a" {
		t.Errorf("maya's client: %q %v", said, err)
	}
	if res, err := maya.CallTool(ctx, &mcp.CallToolParams{Name: "drop_notes", Arguments: map[string]any{"path": "/a"}}); err == nil && !res.IsError {
		t.Error("what maya may do, and the provider's clients may not, was done")
	}
	joined, err := connect("maya@example.com", "all")
	if err != nil {
		t.Fatal(err)
	}
	defer joined.Close()
	if res, err := joined.CallTool(ctx, &mcp.CallToolParams{Name: "notes__read_note", Arguments: map[string]any{"path": "/b"}}); err != nil || text(res) != "read /b" {
		t.Errorf("at joined upstreams: %q %v", text(res), err)
	}
	ben, err := connect("ben@example.com", "notes")
	if err != nil {
		t.Fatal(err)
	}
	defer ben.Close()
	if l, err := ben.ListTools(ctx, nil); err != nil || len(l.Tools) != 1 || l.Tools[0].Name != "read_note" {
		t.Errorf("ben's client is told of %v, %v", l, err)
	}
	for who, why := range map[string]string{"kim@example.com": "kim may not connect a client to notes", "eve@example.com": "no owner has the email address eve@example.com", "maya@evil.example": "does not answer for"} {
		if _, err := connect(who, "notes"); err == nil || strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", who, err)
		}
		if out := h.do("audit", "search", "-o", "json"); !strings.Contains(out, why) {
			t.Errorf("%s: %q is not on record", who, why)
		}
	}
	var all []control.IdentityView
	h.json(&all, "identity", "list", "--query", "scribe-")
	if len(all) != 2 || all[0].Name != "scribe-ben" || all[0].Owner != "ben" || all[1].Name != "scribe-maya" || all[1].Owner != "maya" {
		t.Errorf("%+v", all)
	}

	// Nobody's word: the tokens it had are dead, too, and the same client goes on when it is trusted again.
	h.do("provider", "disable", "acme", "--reason", "test")
	if said, err := write(maya); err == nil {
		t.Errorf("while its provider is disabled: %q", said)
	}
	h.do("provider", "enable", "acme")
	again, err := connect("maya@example.com", "notes") // the streams of the first were cut
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if said, err := write(again); said != "wrote /a" {
		t.Errorf("enabled again: %q %v", said, err)
	}
	h.do("kill", "scribe-maya", "--reason", "test")
	if said, err := write(again); err == nil {
		t.Errorf("after the kill: %q", said)
	}
	issued := p.issued.Load()
	if _, err := connect("maya@example.com", "notes"); err == nil || p.issued.Load() == issued {
		t.Errorf("after the kill, with %d more words of its provider: %v", p.issued.Load()-issued, err)
	}
	h.do("provider", "remove", "acme")
	if _, err := ben.ListTools(ctx, nil); err == nil {
		t.Error("ben's client goes on without the provider")
	}
	out := h.do("audit", "search", "-o", "json", "--limit", "1000")
	for _, want := range []string{"provider.add", "provider.disable", "provider.enable", "provider.remove", "assertion.use", "consent.give", "provider:acme"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not on record", want)
		}
	}
	h.do("audit", "verify")
}

// TestProviderManifest: providers are part of the desired state, and one that was disabled stays so.
func TestProviderManifest(t *testing.T) {
	t.Parallel()
	h := build(t)
	keys := `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	if err := os.WriteFile(filepath.Join(h.dir, "keys.json"), []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	file := func(more string) {
		t.Helper()
		text := "set: people\nowners:\n  maya: {name: Maya Lind, email: maya@example.com}\n" + more
		if err := os.WriteFile(filepath.Join(h.dir, "people.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const acme = "providers:\n  acme:\n    issuer: https://id.internal/realms/acme\n    uses: [id_jag]\n    claim: preferred_username\n    people: {00u1: maya}\n    scopes: [read, write]\n    life: 7d\n    jwks: ./keys.json\n"
	file(acme)
	if out := h.do("apply", "-f", "people.yaml", "--yes"); !strings.Contains(out, "+ provider acme") {
		t.Errorf("apply:\n%s", out)
	}
	if out := h.do("apply", "-f", "people.yaml", "--yes"); !strings.Contains(out, "nothing to do") {
		t.Errorf("apply again:\n%s", out)
	}
	if out := h.do("provider", "show", "acme"); !strings.Contains(out, "k1  (pinned)") || !strings.Contains(out, "00u1 is maya") {
		t.Errorf("provider show:\n%s", out)
	}
	h.do("provider", "disable", "acme")
	file(strings.Replace(acme, "life: 7d", "life: 14d", 1))
	if out := h.do("apply", "-f", "people.yaml", "--yes"); !strings.Contains(out, "life: 7d → 14d") || !strings.Contains(out, "is disabled and stays so") {
		t.Errorf("apply of another life:\n%s", out)
	}
	file(strings.NewReplacer("uses: [id_jag]", "uses: [sign_on]", "{00u1: maya}", "{00u1: mia}").Replace(acme))
	if r := h.try("apply", "-f", "people.yaml", "--yes"); r.code == 0 || !strings.Contains(r.err, "people.yaml:7:") || !strings.Contains(r.err, "people.yaml:9:") {
		t.Errorf("apply of mistakes: %+v", r)
	}
	file("")
	if out := h.do("apply", "-f", "people.yaml", "--yes"); !strings.Contains(out, "- provider acme") {
		t.Errorf("apply without it:\n%s", out)
	}
}
