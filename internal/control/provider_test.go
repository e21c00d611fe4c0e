package control

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// TestProviderKeys: keys are fetched for registered issuers alone, kept for a while, and asked for
// anew for an unknown key, by one at a time and not too often.
func TestProviderKeys(t *testing.T) {
	w := newTrust(t, "")
	var all sync.WaitGroup
	for range 8 {
		raw := w.jag(nil)
		all.Go(func() {
			if g := w.show(raw, nil); g.Token == "" {
				t.Errorf("%+v", g)
			}
		})
	}
	if all.Wait(); w.idp.asked.Load() != 1 {
		t.Errorf("asked %d times by 8 at once", w.idp.asked.Load())
	}
	var clock storetest.Clock
	w.issuer.Now = clock.Now
	next := w.idp.add(t, "k2")
	rotated := func() granted { return w.show(w.sign("k2", next, w.word(nil)), nil) }
	if g := rotated(); g.Token != "" || w.idp.asked.Load() != 1 {
		t.Errorf("asked %d times within the half minute: %+v", w.idp.asked.Load(), g)
	}
	clock.Pass(31 * time.Second)
	if g := rotated(); g.Token == "" || w.idp.asked.Load() != 2 {
		t.Errorf("asked %d times: %+v", w.idp.asked.Load(), g)
	}
	// While it is down, what is known is good for as long as it was kept for, and no longer.
	w.idp.down.Store(true)
	clock.Pass(4 * time.Minute)
	if g := rotated(); g.Token == "" {
		t.Errorf("%+v", g)
	}
	clock.Pass(59 * time.Second)
	later := func() granted {
		return w.show(w.sign("k2", next, w.word(map[string]any{"exp": clock.Now().Add(time.Minute).Unix()})), nil)
	}
	clock.Pass(time.Minute)
	if g := later(); g.Error != "temporarily_unavailable" || !strings.Contains(w.last().Reason, "cannot be had") {
		t.Errorf("%+v; on record %q", g, w.last().Reason)
	}
	if status, answer := w.ask("GET", "/v1/providers/acme/keys", ""); status != http.StatusBadGateway || !strings.Contains(answer, "cannot be had") {
		t.Errorf("%d %s", status, answer)
	}
	w.idp.down.Store(false)
	clock.Pass(time.Minute)
	w.idp.said = "https://another.example"
	if g := later(); g.Error != "temporarily_unavailable" || !strings.Contains(w.last().Reason, "is of the issuer") {
		t.Errorf("%+v; on record %q", g, w.last().Reason)
	}
	w.idp.said = ""
	clock.Pass(time.Minute)
	if answer := w.must("GET", "/v1/providers/acme/keys", ""); !strings.Contains(answer, "k2") {
		t.Error(answer)
	}
	// Pinned keys are the only ones.
	asked := w.idp.asked.Load()
	w.must("PUT", "/v1/providers/acme", `{"issuer":"`+w.idp.URL+`","uses":["id_jag"],"jwks":`+string(newIDP(t).set())+`}`)
	if g := later(); g.Token != "" || w.idp.asked.Load() != asked {
		t.Errorf("asked %d times more: %+v", w.idp.asked.Load()-asked, g)
	}
}

// TestProviderMetadata: what is not trusted is not offered.
func TestProviderMetadata(t *testing.T) {
	w := newTrust(t, "")
	offered := func() bool {
		_, doc := w.ask("GET", "/.well-known/oauth-authorization-server", "")
		if strings.Contains(doc, token.ProfileIDJAG) != strings.Contains(doc, token.GrantJWT) {
			t.Error(doc)
		}
		return strings.Contains(doc, token.ProfileIDJAG)
	}
	on := offered()
	w.must("POST", "/v1/providers/acme/disable", `{}`)
	if !on || offered() {
		t.Errorf("trusted: %v, disabled: %v", on, offered())
	}
}

// TestPublicVouched: where the provider's entry lets them, clients that have no credential are told by their
// document, or by having registered; it is asked for only when the provider has said that it is theirs.
func TestPublicVouched(t *testing.T) {
	w := newTrust(t, `,"public_clients":true,"people":{"00u7":"ben"}`)
	var asked atomic.Int32
	var site *httptest.Server
	site = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"client_id":%q,"client_name":"Scribe Desktop","redirect_uris":["http://127.0.0.1/cb"]}`, site.URL+"/client.json")
	}))
	defer site.Close()
	id := site.URL + "/client.json"
	form := url.Values{"client_id": {id}, "client_secret": nil}
	if g := w.show(w.jag(nil), form); g.Token != "" || asked.Load() != 0 {
		t.Errorf("%+v, its document was asked for %d times", g, asked.Load())
	}
	c := w.claims(w.show(w.jag(map[string]any{"client_id": id, "sub": "00u7", "email": nil}), form))
	if c.Actor().Name() != "scribe-desktop-ben" || c.Client != id || asked.Load() != 1 {
		t.Errorf("%+v, its document was asked for %d times", c, asked.Load())
	}
	// Where a client has a credential, showing none is not the same.
	if g := w.show(w.jag(nil), url.Values{"client_secret": nil}); g.Token != "" {
		t.Errorf("%+v", g)
	}
}

// TestProviderRules: what a provider's entry may not say.
func TestProviderRules(t *testing.T) {
	w := newTrust(t, "")
	for says, body := range map[string]string{
		"it is to be https":      `{"issuer":"http://idp.example","uses":["id_jag"]}`,
		"it is already the":      `{"issuer":"` + w.idp.URL + `","uses":["id_jag"]}`,
		"to be https://host":     `{"issuer":"https://idp.example?x=1","uses":["id_jag"]}`,
		"there is no owner":      `{"issuer":"https://idp.example","uses":["id_jag"],"people":{"a":"nobody"}}`,
		"no domain like":         `{"issuer":"https://idp.example","uses":["id_jag"],"domains":["*.example.com"]}`,
		"they are of email":      `{"issuer":"https://idp.example","uses":["id_jag"],"claim":"sub","domains":["example.com"]}`,
		"write 30d":              `{"issuer":"https://idp.example","uses":["id_jag"],"life":"2y"}`,
		"private or symmetric":   `{"issuer":"https://idp.example","uses":["id_jag"],"jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}}`,
		"expected value to be o": `{"issuer":"https://idp.example","uses":["anything"]}`,
		"sign_in needs the cl":   `{"issuer":"https://idp.example","uses":["sign_in"]}`,
		"are of sign_in, which":  `{"issuer":"https://idp.example","uses":["id_jag"],"client_id":"x"}`,
		"is no role; there is a": `{"issuer":"https://idp.example","uses":["sign_in"],"client_id":"x","roles":{"ops":["root"]}}`,
	} {
		if status, answer := w.ask("PUT", "/v1/providers/second", body); status != http.StatusUnprocessableEntity || !strings.Contains(answer, says) {
			t.Errorf("%s: %d %s", says, status, answer)
		}
	}
	// Whom it names cannot be removed from under it.
	w.must("PUT", "/v1/providers/second", `{"issuer":"https://idp.example","uses":["id_jag"],"people":{"a":"ben"}}`)
	if status, answer := w.ask("DELETE", "/v1/owners/ben", ""); status != http.StatusConflict || !strings.Contains(answer, "second") {
		t.Errorf("%d %s", status, answer)
	}
	// One that is disabled is not enabled by putting it.
	w.must("POST", "/v1/providers/second/disable", `{}`)
	w.must("PUT", "/v1/providers/second", `{"issuer":"https://idp.example","uses":["id_jag"],"scopes":["write"]}`)
	err := w.Store.Read(t.Context(), func(tx *store.Tx) error {
		p, err := tx.Provider("second")
		if !p.Disabled || p.Life != "30d" || p.Claim != "email" {
			t.Errorf("%+v", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDocumentedKey: a client whose document has its key proves itself with it, and cannot do without.
func TestDocumentedKey(t *testing.T) {
	w := newTrust(t, "")
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := token.NewClientKey(private)
	if err != nil {
		t.Fatal(err)
	}
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	stranger, _ := token.NewClientKey(other)
	var site *httptest.Server
	site = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		id := site.URL + r.URL.Path
		switch r.URL.Path {
		case "/inline":
			fmt.Fprintf(rw, `{"client_id":%q,"client_name":"Inline","token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[%s]}}`, id, mine.JWK())
		case "/at":
			fmt.Fprintf(rw, `{"client_id":%q,"client_name":"At","token_endpoint_auth_method":"private_key_jwt","jwks_uri":%q}`, id, site.URL+"/keys")
		case "/both":
			fmt.Fprintf(rw, `{"client_id":%q,"client_name":"Both","token_endpoint_auth_method":"private_key_jwt","jwks_uri":%q,"jwks":{"keys":[%s]}}`, id, site.URL+"/keys", mine.JWK())
		case "/none":
			fmt.Fprintf(rw, `{"client_id":%q,"client_name":"None","token_endpoint_auth_method":"none"}`, id)
		case "/keys":
			fmt.Fprintf(rw, `{"keys":[%s]}`, mine.JWK())
		}
	}))
	defer site.Close()
	w.issuer.AllowBearer = true
	assert := func(k token.ClientKey, id, audience string) string {
		raw, err := k.Assert(rand.Reader, storetest.Epoch.Add(time.Second), id, audience)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	show := func(id, assertion string) granted {
		return w.show(w.jag(map[string]any{"client_id": id}), url.Values{"client_id": {id}, "client_secret": nil, "client_assertion": {assertion}, "client_assertion_type": {token.AssertionType}})
	}
	for _, name := range []string{"inline", "at"} {
		id := site.URL + "/" + name
		used := assert(mine, id, w.network.URL)
		if c := w.claims(show(id, used)); c.Client != id || c.Actor().Name() != name+"-maya" {
			t.Errorf("%+v", c)
		}
		for says, assertion := range map[string]string{"used before": used, "wrong signature": assert(stranger, id, w.network.URL), "another audience": assert(mine, id, "https://other.example")} {
			if g := show(id, assertion); g.Error != "invalid_client" || !strings.Contains(g.Text, says) {
				t.Errorf("%s, %s: %+v", name, says, g)
			}
		}
		if g := w.show(w.jag(map[string]any{"client_id": id}), url.Values{"client_id": {id}, "client_secret": nil}); g.Error != "invalid_client" || !strings.Contains(g.Text, "send client_assertion") {
			t.Errorf("%s without its key: %+v", name, g)
		}
	}
	for name, says := range map[string]string{"both": "either jwks or jwks_uri", "none": "does not say that it proves itself with a key"} {
		id := site.URL + "/" + name
		if g := show(id, assert(mine, id, w.network.URL)); g.Error != "invalid_client" || !strings.Contains(g.Text, says) {
			t.Errorf("%s: %+v", name, g)
		}
	}
	none := site.URL + "/none"
	if g := w.show(w.jag(map[string]any{"client_id": none}), url.Values{"client_id": {none}, "client_secret": nil}); g.Error != "invalid_client" || !strings.Contains(w.last().Reason, "public_clients") {
		t.Errorf("%+v; on record %q", g, w.last().Reason)
	}
	// Who has a key binds its token to one, as everybody else.
	w.issuer.AllowBearer = false
	id := site.URL + "/inline"
	if g := show(id, assert(mine, id, w.network.URL)); g.Error != token.InvalidProof || !strings.Contains(g.Text, "DPoP") {
		t.Errorf("%+v", g)
	}
}
