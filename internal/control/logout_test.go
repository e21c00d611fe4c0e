package control

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// TestLogoutToken: the provider's word ends the sessions that it is about, once, and no other word ends any.
func TestLogoutToken(t *testing.T) {
	w := &trust{plane: start(t), idp: newIDP(t)}
	w.issuer.Fetch = fetch.New(true)
	w.settle()
	const put = `","uses":["sign_in"],"client_id":"console"}`
	w.must("PUT", "/v1/providers/acme", `{"issuer":"`+w.idp.URL+put)
	stranger := newIDP(t)
	in := func(sub, sid string) (text string) {
		if _, err := w.registry.Do(t.Context(), registry.Self, func(c *registry.Change) (err error) {
			text, _, err = c.Begin(store.Session{Person: "owner:maya", Owner: "maya", Provider: "acme", Subject: sub, SID: sid, Method: store.ByOIDC}, registry.Browser{})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return text
	}
	lasts := func(text string) bool { status, _ := w.visit(text, "GET", "/v1/me", ""); return status == 200 }
	n := 0
	made := func(key *rsa.PrivateKey, typ string, change map[string]any) string {
		n++
		m := map[string]any{"iss": w.idp.URL, "aud": "console", "jti": fmt.Sprint("out", n), "iat": storetest.Epoch.Unix(), "exp": storetest.Epoch.Add(2 * time.Minute).Unix(), "events": map[string]any{token.LogoutEvent: struct{}{}}}
		for k, v := range change {
			if m[k] = v; v == nil {
				delete(m, k)
			}
		}
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(m)
		j, err := s.Sign(b)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := j.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	send := func(provider, raw string) int {
		status, _ := w.ask("POST", "/console/oidc/logout/"+provider, url.Values{"logout_token": {raw}}.Encode(), "Authorization", "", "Content-Type", "application/x-www-form-urlencoded")
		return status
	}
	key := w.idp.keys["k1"]
	session := in("00u1", "s1")
	for name, raw := range map[string]string{
		"for another":      made(key, "logout+jwt", map[string]any{"sub": "00u1", "aud": "games"}),
		"by another":       made(stranger.keys["k1"], "logout+jwt", map[string]any{"sub": "00u1"}),
		"of another":       made(stranger.keys["k1"], "logout+jwt", map[string]any{"sub": "00u1", "iss": stranger.URL}),
		"with a nonce":     made(key, "logout+jwt", map[string]any{"sub": "00u1", "nonce": "n"}),
		"about nobody":     made(key, "logout+jwt", nil),
		"an ID token":      made(key, "JWT", map[string]any{"sub": "00u1", "events": nil}),
		"an ID-JAG":        made(key, "oauth-id-jag+jwt", map[string]any{"sub": "00u1"}),
		"of an hour ago":   made(key, "logout+jwt", map[string]any{"sub": "00u1", "iat": storetest.Epoch.Add(-time.Hour).Unix(), "exp": nil}),
		"without its time": made(key, "logout+jwt", map[string]any{"sub": "00u1", "iat": nil}),
	} {
		if status := send("acme", raw); status != 400 || !lasts(session) {
			t.Errorf("%s: %d", name, status)
		}
	}
	if e := w.last(); e.Type != "owner.sign_out" || e.Outcome != "refused" || e.Source == "" {
		t.Errorf("that it was refused: %+v", e)
	}
	if status := send("nobody", made(key, "logout+jwt", map[string]any{"sub": "00u1"})); status != 400 {
		t.Errorf("at another's address: %d", status)
	}
	other, elsewhere := in("00u1", "s2"), in("00u2", "s1")
	raw := made(key, "logout+jwt", map[string]any{"sub": "00u1", "sid": "s1"})
	if status := send("acme", raw); status != 200 || lasts(session) || !lasts(other) || !lasts(elsewhere) {
		t.Errorf("one session of a person: %d %v %v %v", status, lasts(session), lasts(other), lasts(elsewhere))
	}
	if e := w.last(); e.Actor != "provider:acme" || e.Owner != "maya" || e.Detail["session"] == "" {
		t.Errorf("on record: %+v", e)
	}
	session = in("00u1", "s1")
	if status := send("acme", raw); status != 400 || !lasts(session) {
		t.Errorf("the same again: %d", status)
	}
	if status := send("acme", made(key, "logout+jwt", map[string]any{"sub": "00u1"})); status != 200 || lasts(session) || lasts(other) || !lasts(elsewhere) {
		t.Errorf("all of a person: %d", status)
	}
	if status := send("acme", made(key, "", map[string]any{"sid": "s1"})); status != 200 || lasts(elsewhere) {
		t.Errorf("one session: %d", status)
	}
	if status := send("acme", made(key, "logout+jwt", map[string]any{"sub": "nobody"})); status != 200 {
		t.Errorf("who is not signed in: %d", status)
	}
	w.must("POST", "/v1/providers/acme/disable", `{"reason":"drill"}`)
	if status := send("acme", made(key, "logout+jwt", map[string]any{"sub": "00u1"})); status != 400 {
		t.Errorf("of one that is disabled: %d", status)
	}
}
