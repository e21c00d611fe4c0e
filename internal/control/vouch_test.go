package control

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// idp is an identity provider, and what has been asked of it.
type idp struct {
	*httptest.Server
	mu    sync.Mutex
	keys  map[string]*rsa.PrivateKey // published
	asked atomic.Int32               // for keys
	down  atomic.Bool
	said  string // issuer in its metadata, when it is another
}

func newIDP(t *testing.T) *idp {
	p := &idp{keys: map[string]*rsa.PrivateKey{}}
	p.add(t, "k1")
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			issuer := p.URL
			if p.said != "" {
				issuer = p.said
			}
			json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": p.URL + "/keys"})
		case "/keys":
			p.asked.Add(1)
			w.Write(p.set())
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *idp) add(t *testing.T, kid string) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[kid] = k
	return k
}

func (p *idp) set() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set jose.JSONWebKeySet
	for kid, k := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"})
	}
	b, _ := json.Marshal(set)
	return b
}

// trust is a plane that trusts an IdP, and a client of its own at it, scribe.
type trust struct {
	*plane
	idp    *idp
	secret string
	n      int
}

const scribe = "spiffe://lanyard.local/oauth_client/scribe"

func newTrust(t *testing.T, more string) *trust {
	w := &trust{plane: start(t), idp: newIDP(t)}
	w.issuer.Fetch = fetch.New(true)
	w.settle()
	w.must("PUT", "/v1/owners/ben", `{"name":"Ben Okafor","email":"ben@example.com"}`)
	w.must("PUT", "/v1/owners/desk", `{"name":"The desk","email":"desk@example.com","team":true}`)
	w.must("PUT", "/v1/upstreams/files", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /f/{id} -> f.read read /f/{id}\nPOST /f -> f.put write /f\nDELETE /f/{id} -> f.drop delete /f/{id}","consent":{"owners":["ben"],"classes":["read","write"]}}`)
	w.must("PUT", "/v1/identities/scribe", `{"kind":"oauth_client","owner":"maya","purpose":"the desktop client"}`)
	var key struct {
		Secret string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(w.must("POST", "/v1/identities/scribe/credentials", `{"api_key":true}`)), &key); err != nil {
		t.Fatal(err)
	}
	w.secret = key.Secret
	w.must("PUT", "/v1/providers/acme", `{"issuer":"`+w.idp.URL+`","uses":["id_jag"],"scopes":["read","write"]`+more+`}`)
	return w
}

// word is what the IdP says of maya; change replaces members, nil leaves one out.
func (w *trust) word(change map[string]any) map[string]any {
	w.n++
	m := map[string]any{"iss": w.idp.URL, "sub": "00u1", "aud": w.network.URL, "client_id": scribe, "jti": fmt.Sprint("j", w.n), "resource": "http://gateway.test/files/mcp",
		"scope": "read write openid", "iat": storetest.Epoch.Unix(), "exp": storetest.Epoch.Add(5 * time.Minute).Unix(), "email": "Maya@example.com", "email_verified": true}
	for k, v := range change {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	return m
}

func (w *trust) sign(kid string, k *rsa.PrivateKey, claims map[string]any) string {
	w.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: k, KeyID: kid}}, (&jose.SignerOptions{}).WithType("oauth-id-jag+jwt"))
	if err != nil {
		w.Fatal(err)
	}
	b, _ := json.Marshal(claims)
	j, err := s.Sign(b)
	if err != nil {
		w.Fatal(err)
	}
	raw, err := j.CompactSerialize()
	if err != nil {
		w.Fatal(err)
	}
	return raw
}

func (w *trust) jag(change map[string]any) string {
	return w.sign("k1", w.idp.keys["k1"], w.word(change))
}

type granted struct {
	Token   string `json:"access_token"`
	Type    string `json:"token_type"`
	Scope   string `json:"scope"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
	Text    string `json:"error_description"`
}

// show presents an assertion; form says what else, and replaces.
func (w *trust) show(assertion string, form url.Values) (g granted) {
	w.Helper()
	v := url.Values{"grant_type": {token.GrantJWT}, "assertion": {assertion}, "client_id": {scribe}, "client_secret": {w.secret}}
	for k, x := range form {
		if v[k] = x; x == nil {
			v.Del(k)
		}
	}
	res, err := http.PostForm(w.network.URL+"/oauth/token", v)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&g); err != nil || (res.StatusCode == 200) != (g.Token != "") {
		w.Fatalf("%d %+v %v", res.StatusCode, g, err)
	}
	return g
}

func (w *trust) claims(g granted) token.Claims {
	w.Helper()
	c, err := w.ring.Verifier().Verify(g.Token, w.network.URL, "", storetest.Epoch)
	if err != nil {
		w.Fatalf("%+v: %v", g, err)
	}
	return c
}

func (w *trust) live(c token.Claims) error { return w.View.Check(c, storetest.Epoch) }

// TestVouched: on the provider's word the client acts as an identity of its own for the
// person, as far as provider, upstream and assertion all say, and with no refresh token.
func TestVouched(t *testing.T) {
	w := newTrust(t, "")
	g := w.show(w.jag(nil), nil)
	c := w.claims(g)
	if c.Actor().String() != "spiffe://lanyard.local/agent/scribe-maya" || c.Owner != "maya" || c.Client != scribe || c.Audience != "http://gateway.test/files" || g.Scope != "read write" || g.Refresh != "" || g.Type != "Bearer" {
		t.Errorf("%+v %+v", g, c)
	}
	e := w.last()
	if e.Type != "token.issue" || e.Actor != c.Actor().String() || e.Detail["provider"] != "acme" || e.Detail["assertion"] != "j1" || e.Detail["subject"] != "00u1" {
		t.Errorf("%+v", e)
	}
	var i IdentityView
	if err := json.Unmarshal([]byte(w.must("GET", "/v1/identities/scribe-maya", "")), &i); err != nil {
		t.Fatal(err)
	}
	if !i.Expires.Equal(storetest.Epoch.Add(30*24*time.Hour)) || len(i.Credentials) != 1 || i.Credentials[0].Kind != identity.Vouched || i.Credentials[0].Provider != "acme" ||
		len(i.Grants) != 1 || strings.Join(i.Grants[0].Actions, " ") != "f.put f.read" && strings.Join(i.Grants[0].Actions, " ") != "f.read f.put" { // not f.drop
		t.Errorf("%+v", i)
	}
	// The next one changes nothing but that it is used.
	size := w.Store.Size()
	if again := w.claims(w.show(w.jag(map[string]any{"scope": nil}), nil)); again.Actor() != c.Actor() || again.Credential != c.Credential || again.Scope != "read" || w.Store.Size() != size+2 {
		t.Errorf("%+v after %d events", again, w.Store.Size()-size)
	}
	// Of another person it is another identity, for what that person may give.
	ben := w.claims(w.show(w.jag(map[string]any{"email": "ben@example.com", "sub": "00u2", "scope": "read delete"}), url.Values{"scope": {"read"}, "resource": {"http://gateway.test/files"}}))
	if ben.Actor().Name() != "scribe-ben" || ben.Owner != "ben" || ben.Scope != "read" {
		t.Errorf("%+v", ben)
	}
	// The client may give back what it got.
	res, err := http.PostForm(w.network.URL+"/oauth/revoke", url.Values{"client_id": {scribe}, "client_secret": {w.secret}, "token": {g.Token}})
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	res.Body.Close()
	eventually(t, "it is revoked", func() bool { return w.View.TokenRevoked(c.ID) })
}

// TestVouchedRefused: each is refused, its client learns nothing of people and upstreams, and the record says why.
func TestVouchedRefused(t *testing.T) {
	w := newTrust(t, "")
	stranger := newIDP(t)
	w.must("PUT", "/v1/owners/twin", `{"name":"Twin","email":"ben@example.com"}`)
	w.must("PUT", "/v1/owners/left", `{"name":"Left","email":"left@example.com","gone":true}`)
	w.must("PUT", "/v1/providers/self", `{"issuer":"`+w.network.URL+`","uses":["id_jag"],"jwks":`+string(w.idp.set())+`}`)
	used := w.jag(nil)
	w.show(used, nil)
	anyone := "not from a trusted identity provider, or what it says is not allowed"
	for what, c := range map[string]struct {
		assertion        string
		form             url.Values
		code, told, kept string
	}{
		"used before":                 {used, nil, "invalid_grant", anyone, "was used before"},
		"the jti of another word":     {w.jag(map[string]any{"jti": "j1", "scope": "read"}), nil, "invalid_grant", anyone, "was used before"},
		"another issuer":              {w.sign("k1", stranger.keys["k1"], w.word(map[string]any{"iss": stranger.URL})), nil, "invalid_grant", anyone, "no provider that is trusted"},
		"the issuer with a slash":     {w.jag(map[string]any{"iss": w.idp.URL + "/"}), nil, "invalid_grant", anyone, "no provider that is trusted"},
		"our own":                     {w.jag(map[string]any{"iss": w.network.URL}), nil, "invalid_grant", anyone, "no provider that is trusted"},
		"another's key":               {w.sign("k1", stranger.keys["k1"], w.word(nil)), nil, "invalid_grant", anyone, "signature is wrong"},
		"an unknown key":              {w.sign("k9", stranger.keys["k1"], w.word(nil)), nil, "invalid_grant", anyone, "signature is wrong"},
		"another audience":            {w.jag(map[string]any{"aud": "http://gateway.test"}), nil, "invalid_grant", "another audience", "another audience"},
		"expired":                     {w.jag(map[string]any{"exp": storetest.Epoch.Unix()}), nil, "invalid_grant", "has expired", "has expired"},
		"another client":              {w.jag(map[string]any{"client_id": "https://other.example/client.json"}), nil, "invalid_grant", anyone, "another client showed it"},
		"a client unproven":           {w.jag(nil), url.Values{"client_secret": {"lyd_wrong"}}, "invalid_client", "unknown or its credential", "unknown or its credential"},
		"a client that shows nothing": {w.jag(nil), url.Values{"client_secret": nil}, "invalid_client", "shows no credential", "shows no credential"},
		"nobody":                      {w.jag(map[string]any{"email": "kim@example.com"}), nil, "invalid_grant", anyone, "no owner has the email address kim@example.com"},
		"two of an address":           {w.jag(map[string]any{"email": "ben@example.com"}), nil, "invalid_grant", anyone, "more than one owner"},
		"one who left":                {w.jag(map[string]any{"email": "left@example.com"}), nil, "invalid_grant", anyone, "left has left"},
		"a team":                      {w.jag(map[string]any{"email": "desk@example.com"}), nil, "invalid_grant", anyone, "is a team"},
		"an unverified address":       {w.jag(map[string]any{"email_verified": nil}), nil, "invalid_grant", anyone, "verified"},
		"no address":                  {w.jag(map[string]any{"email": nil}), nil, "invalid_grant", anyone, "gives no email address"},
		"an upstream not there":       {w.jag(map[string]any{"resource": "http://gateway.test/x"}), nil, "invalid_grant", anyone, "there is no upstream"},
		"no upstream of ours":         {w.jag(map[string]any{"resource": "http://other.test/files"}), nil, "invalid_target", "must be the URL of an upstream", "must be"},
		"another resource":            {w.jag(nil), url.Values{"resource": {"http://gateway.test/mail"}}, "invalid_target", "for files, and for nothing else", "for files"},
		"more scope":                  {w.jag(map[string]any{"scope": "read"}), url.Values{"scope": {"read write"}}, "invalid_scope", "allowed is the scope", "allowed"},
		"only scope not allowed":      {w.jag(map[string]any{"scope": "delete admin"}), nil, "invalid_scope", "Nothing of the scope", "allowed is"},
		"bound to a key":              {w.jag(map[string]any{"cnf": map[string]string{"jkt": "x"}}), nil, "invalid_grant", "bound to a key", "bound to a key"},
		"no assertion":                {"", nil, "invalid_request", "assertion is missing", "missing"},
	} {
		g := w.show(c.assertion, c.form)
		e := w.last()
		if g.Error != c.code || !strings.Contains(g.Text, c.told) || e.Type != "token.issue" || e.Outcome != ledger.Refused || !strings.Contains(e.Reason, c.kept) {
			t.Errorf("%s: %+v; on record %q", what, g, e.Reason)
		}
	}
	var all Page[IdentityView]
	if err := json.Unmarshal([]byte(w.must("GET", "/v1/identities?query=scribe-", "")), &all); err != nil || len(all.Items) != 1 {
		t.Errorf("something was born: %+v %v", all, err)
	}
	// What was refused for another reason was not used up.
	right := w.jag(nil)
	w.show(right, url.Values{"scope": {"admin"}})
	if g := w.show(right, nil); g.Token == "" {
		t.Errorf("%+v", g)
	}
}

// TestVouchedOnce: of any number who show one assertion at once, one gets a token.
func TestVouchedOnce(t *testing.T) {
	w := newTrust(t, "")
	raw := w.jag(nil)
	var got atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if w.show(raw, nil).Token != "" {
				got.Add(1)
			}
		})
	}
	if all.Wait(); got.Load() != 1 {
		t.Errorf("%d got one", got.Load())
	}
}

// TestVouchedEnds: what ends a client that acts on a provider's word, and that the word does not bring it back.
func TestVouchedEnds(t *testing.T) {
	w := newTrust(t, "")
	for what, c := range map[string]struct {
		end, back [3]string
		says      string
	}{
		"the provider is disabled": {[3]string{"POST", "/v1/providers/acme/disable", `{"reason":"test"}`}, [3]string{"POST", "/v1/providers/acme/enable", `{}`}, "no provider that is trusted"},
		"the provider is removed":  {[3]string{"DELETE", "/v1/providers/acme", ""}, [3]string{"PUT", "/v1/providers/acme", `{"issuer":"` + w.idp.URL + `","uses":["id_jag"],"scopes":["read","write"]}`}, "no provider that is trusted"},
		"it is killed":             {[3]string{"POST", "/v1/kill", `{"identity":"scribe-maya","reason":"test"}`}, [3]string{"POST", "/v1/restore", `{"identity":"scribe-maya","reason":"test"}`}, "is killed"},
		"it is suspended":          {[3]string{"POST", "/v1/identities/scribe-maya/suspend", `{}`}, [3]string{"POST", "/v1/identities/scribe-maya/resume", `{}`}, "is suspended"},
		"the client is suspended":  {[3]string{"POST", "/v1/identities/scribe/suspend", `{}`}, [3]string{"POST", "/v1/identities/scribe/resume", `{}`}, "is suspended"},
	} {
		c1 := w.claims(w.show(w.jag(nil), nil))
		if err := w.live(c1); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		w.must(c.end[0], c.end[1], c.end[2])
		if err := w.live(c1); (err == nil) != (what == "the client is suspended") {
			t.Errorf("%s: the token it had: %v", what, err)
		}
		if g := w.show(w.jag(nil), nil); g.Token != "" || !strings.Contains(w.last().Reason, c.says) {
			t.Errorf("%s: %+v; on record %q", what, g, w.last().Reason)
		}
		w.must(c.back[0], c.back[1], c.back[2])
		if err := w.live(w.claims(w.show(w.jag(nil), nil))); err != nil {
			t.Errorf("%s, and no more: %v", what, err)
		}
	}
	// A kill of all of a person's holds for clients that were never there, too; and a kill of everything for everybody's.
	w.must("POST", "/v1/kill", `{"owner":"maya","reason":"test"}`)
	w.must("PUT", "/v1/identities/other", `{"kind":"oauth_client","owner":"ben","purpose":"another client"}`)
	var key CredentialCreated
	if err := json.Unmarshal([]byte(w.must("POST", "/v1/identities/other/credentials", `{"api_key":true}`)), &key); err != nil {
		t.Fatal(err)
	}
	const other = "spiffe://lanyard.local/oauth_client/other"
	form := url.Values{"client_id": {other}, "client_secret": {key.APIKey}}
	if g := w.show(w.jag(map[string]any{"client_id": other}), form); g.Token != "" || !strings.Contains(w.last().Reason, "no new client of theirs") {
		t.Errorf("%+v; on record %q", g, w.last().Reason)
	}
	if g := w.show(w.jag(map[string]any{"client_id": other, "email": "ben@example.com"}), form); g.Token == "" {
		t.Errorf("ben's: %+v", g)
	}
	w.must("POST", "/v1/kill", `{"all":true,"reason":"test"}`)
	if e := w.last(); e.Detail["providers_disabled"] != "acme" {
		t.Errorf("%+v", e)
	}
	if v := w.must("GET", "/v1/providers/acme", ""); !strings.Contains(v, `"disabled":true`) || !strings.Contains(v, `"clients":0`) {
		t.Error(v)
	}
}
