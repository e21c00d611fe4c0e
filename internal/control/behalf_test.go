package control

import (
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// portal is what the IdP gave to the organisation's portal when ben signed in there.
func (w *trust) portal(change map[string]any) string {
	m := map[string]any{"iss": w.idp.URL, "sub": "00u2", "aud": "portal", "azp": "portal", "iat": storetest.Epoch.Unix(), "exp": storetest.Epoch.Add(2 * time.Minute).Unix(), "email": "ben@example.com", "email_verified": true}
	for k, v := range change {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	b, _ := json.Marshal(m)
	return rs256(w.T, w.idp.keys["k1"], "k1", string(b))
}

// behalf asks for a token of scribe's on behalf of whom a token is about.
func (w *trust) behalf(subject string, more ...string) (g granted) {
	w.Helper()
	f := url.Values{"grant_type": {token.GrantExchange}, "subject_token": {subject}, "subject_token_type": {token.TypeID}, "resource": {"http://gateway.test/files"}, "client_id": {scribe}, "client_secret": {w.secret}}
	for i := 0; i < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	res, err := http.PostForm(w.network.URL+"/oauth/token", f)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&g); err != nil || (res.StatusCode == 200) != (g.Token != "") {
		w.Fatalf("%d %+v %v", res.StatusCode, g, err)
	}
	return g
}

// TestOnBehalf: by the token that the organisation's provider gave a person at one of its
// applications, an agent acts for that person: as far as provider, upstream and its own grants go.
func TestOnBehalf(t *testing.T) {
	w := newTrust(t, "")
	w.issuer.AllowBearer = true
	w.must("PUT", "/v1/identities/scribe/grants/files", `{"upstream":"files","actions":["read","write","delete"]}`)
	if g := w.behalf(w.portal(nil)); g.Error != "invalid_grant" {
		t.Errorf("a provider that is trusted for something else: %+v", g)
	}
	if e := w.last(); !strings.Contains(e.Reason, "on_behalf") || e.Detail["issuer"] != w.idp.URL {
		t.Errorf("%+v", e)
	}
	if status, answer := w.ask("PUT", "/v1/providers/acme", `{"issuer":"`+w.idp.URL+`","uses":["on_behalf"]}`); status != 422 || !strings.Contains(answer, "audience") {
		t.Errorf("for any application: %d %s", status, answer)
	}
	w.must("PUT", "/v1/providers/acme", `{"issuer":"`+w.idp.URL+`","uses":["id_jag","on_behalf"],"scopes":["read","write"],"audience":["portal"]}`)
	g := w.behalf(w.portal(nil))
	c := w.claims(g)
	if strings.Join(c.Chain.Texts(), " ") != scribe+" spiffe://lanyard.local/person/ben" || g.Scope != "read write" || c.Expires.After(storetest.Epoch.Add(2*time.Minute)) || c.Audience != "http://gateway.test/files" {
		t.Fatalf("%+v %+v", g, c)
	}
	e := w.last()
	if e.Actor != scribe || len(e.Chain) != 2 || e.Detail["provider"] != "acme" || e.Detail["grant_type"] != "token-exchange" || e.Owner != "maya" {
		t.Errorf("%+v", e)
	}
	for name, k := range map[string]struct {
		change map[string]any
		more   []string
		code   string
		record string
	}{
		"another application's": {map[string]any{"aud": "games", "azp": nil}, nil, "invalid_grant", "another application"},
		"a stranger":            {map[string]any{"email": "eve@example.com"}, nil, "invalid_grant", "no owner has the email"},
		"a team":                {map[string]any{"email": "desk@example.com"}, nil, "invalid_grant", "a team"},
		"unverified":            {map[string]any{"email_verified": false}, nil, "invalid_grant", "verified"},
		"expired":               {map[string]any{"exp": storetest.Epoch.Unix()}, nil, "invalid_grant", "expired"},
		"another provider":      {map[string]any{"iss": "https://evil.example"}, nil, "invalid_grant", "no provider"},
		"more than the word is": {nil, []string{"scope", "delete"}, "invalid_scope", "never widens"},
		"without consent":       {nil, []string{"resource", "http://gateway.test/mail"}, "invalid_target", ""},
		"for an agent":          {map[string]any{"may_act": map[string]string{"sub": "spiffe://lanyard.local/agent/other"}}, nil, "invalid_grant", "somebody else"},
	} {
		if g := w.behalf(w.portal(k.change), k.more...); g.Error != k.code {
			t.Errorf("%s: %+v", name, g)
		}
		if e := w.last(); !strings.Contains(e.Reason, k.record) || e.Outcome != "refused" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	k := w.idp.keys["k1"]
	w.idp.add(t, "k1") // another of that name
	stolen := rs256(t, k, "k2", `{"iss":"`+w.idp.URL+`","sub":"1","aud":"portal","iat":1,"exp":2}`)
	if g := w.behalf(stolen); g.Error != "invalid_grant" || strings.Contains(g.Text, "signature") {
		t.Errorf("a key that is not published: %+v", g)
	}
	w.must("POST", "/v1/kill", `{"owner":"ben","reason":"test"}`)
	if w.live(c) == nil {
		t.Error("a token on behalf of who was killed lives on")
	}
	w.idp.mu.Lock()
	w.idp.keys["k1"] = k
	w.idp.mu.Unlock()
	if g := w.behalf(w.portal(nil)); g.Error != "invalid_grant" || !strings.Contains(g.Text, "sign in again") {
		t.Errorf("what was got before the kill: %+v", g)
	}
	if g := w.behalf(w.portal(map[string]any{"iat": storetest.Epoch.Add(time.Second).Unix()})); g.Token == "" {
		t.Errorf("after signing in again: %+v", g)
	}
	w.must("POST", "/v1/providers/acme/disable", `{}`)
	if g := w.behalf(w.portal(nil)); g.Error != "invalid_grant" {
		t.Errorf("a provider that is disabled: %+v", g)
	}
}

// TestOnBehalfOpens: a task that is opened with a token on a person's behalf gives no more than that token does, at the token endpoint as at POST /v1/tasks.
func TestOnBehalfOpens(t *testing.T) {
	w := newTrust(t, "")
	w.issuer.AllowBearer = true
	w.must("PUT", "/v1/upstreams/ask-scribe", `{"url":"http://127.0.0.1:1","owner":"maya","agent":"scribe","family":"patterns","description":"POST /ask -> ask write /ask","consent":{"owners":["ben"],"classes":["read","write"]}}`)
	w.must("PUT", "/v1/identities/scribe/grants/files", `{"upstream":"files","actions":["read","write"]}`)
	w.must("PUT", "/v1/identities/a", `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	w.must("PUT", "/v1/identities/a/grants/ask", `{"upstream":"ask-scribe","actions":["ask"]}`)
	w.must("PUT", "/v1/identities/a/grants/files", `{"upstream":"files","actions":["read"]}`)
	var key struct {
		Secret string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(w.must("POST", "/v1/identities/a/credentials", `{"api_key":true}`)), &key); err != nil {
		t.Fatal(err)
	}
	w.must("PUT", "/v1/providers/acme", `{"issuer":"`+w.idp.URL+`","uses":["on_behalf"],"scopes":["read"],"audience":["portal"]}`)
	opens := func(actions string) []string {
		return []string{"authorization_details", `[{"type":"lanyard_task","on":"ben","purpose":"tests","locations":["http://gateway.test/files"],"actions":` + actions + `}]`}
	}
	for _, actions := range []string{`["write"]`, `["read","f.put"]`, `["*"]`} {
		if g := w.behalf(w.portal(nil), opens(actions)...); g.Error != "invalid_authorization_details" || !strings.Contains(g.Text, "limited to the scope") {
			t.Errorf("a task for %s, with a token for reading: %+v", actions, g)
		}
	}
	if c := w.claims(w.behalf(w.portal(nil), opens(`["read"]`)...)); c.Task == "" || c.Scope != "read" {
		t.Errorf("%+v", c)
	}
	w.must("PUT", "/v1/providers/acme", `{"issuer":"`+w.idp.URL+`","uses":["on_behalf"],"scopes":["read","write","delete","admin"],"audience":["portal"]}`)
	asked := w.behalf(w.portal(nil), "resource", "http://gateway.test/ask-scribe", "client_id", "spiffe://lanyard.local/agent/a", "client_secret", key.Secret)
	i, err := w.Source("gw").(source).Introduce(t.Context(), "ask-scribe", asked.Token)
	if err != nil {
		t.Fatal(asked, err)
	}
	if g := w.behalf(i.Token, append(opens(`["read"]`), "subject_token_type", token.TypeJWT)...); g.Error != "invalid_authorization_details" || !strings.Contains(g.Text, "leave them out") {
		t.Errorf("ben asked a, and a asked scribe, whose own task would be ben's alone: %+v", g)
	}
	if c := w.claims(w.behalf(i.Token, "subject_token_type", token.TypeJWT)); len(c.Chain) != 3 {
		t.Errorf("without a task: %+v", c)
	}
}

// TestIntroduce: a gateway learns nothing by asking that it could not show a token for, and the
// agent that is called goes on with what it got, for as long as all behind it may act.
func TestIntroduce(t *testing.T) {
	p := start(t)
	p.settle()
	p.issuer.AllowBearer = true
	for _, name := range []string{"a", "b"} {
		p.must("PUT", "/v1/identities/"+name, `{"kind":"agent","owner":"maya","purpose":"tests"}`)
		p.must("PUT", "/v1/upstreams/ask-"+name, `{"url":"http://127.0.0.1:1","owner":"maya","agent":"`+name+`","chain_header":"true","family":"patterns","description":"POST /ask -> ask write /ask"}`)
	}
	p.must("PUT", "/v1/identities/a/grants/ask", `{"upstream":"ask-b","actions":["ask"]}`)
	p.must("PUT", "/v1/identities/a/grants/mail", `{"upstream":"mail","actions":["read"]}`)
	p.must("PUT", "/v1/identities/b/grants/mail", `{"upstream":"mail","actions":["read"],"only_for_others":true}`)
	if answer := p.must("GET", "/v1/upstreams/ask-b", ""); !strings.Contains(answer, `"agent":"spiffe://lanyard.local/agent/b"`) || !strings.Contains(answer, `"chain_header":"Lanyard-Chain"`) {
		t.Error(answer)
	}
	if answer := p.must("GET", "/v1/identities/b", ""); !strings.Contains(answer, "context.for_others") {
		t.Error(answer)
	}
	for body, says := range map[string]string{
		`"agent":"nobody"`: "no identity", `"chain_header":"Authorization"`: "X-", `"chain_header":"x y"`: "X-", `"chain_header":"X_Y"`: "X-",
		`"chain_header":"Lanyard-On-Behalf-Of"`: "X-", `"chain_header":"X-Key","credential":{"header":"x-key","value":"v"}`: "X-",
	} {
		if status, answer := p.ask("PUT", "/v1/upstreams/odd", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"POST /ask -> ask write /ask",`+body+`}`); status < 400 || !strings.Contains(answer, says) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if status, answer := p.ask("PUT", "/v1/upstreams/even", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"POST /ask -> ask write /ask","chain_header":"false"}`); status >= 400 || strings.Contains(answer, "chain_header") {
		t.Errorf("false: %d %s", status, answer)
	}
	source := p.Source("gw").(source)
	access := p.keyed("a", p.GatewayURL+"/ask-b")
	i, err := source.Introduce(t.Context(), "ask-b", access)
	if err != nil {
		t.Fatal(err)
	}
	if e := p.last(); e.Type != "token.introduce" || e.Gateway != "gw" || e.Detail["may_act"] != "spiffe://lanyard.local/agent/b" || strings.Contains(string(e.Leaf()), i.Token) {
		t.Errorf("%+v", e)
	}
	for name, k := range map[string][2]string{"another upstream": {"ask-a", access}, "no agent": {"mail", p.keyed("a", p.GatewayURL+"/mail")}, "no token": {"ask-b", "x"}, "an introduction": {"ask-b", i.Token}, "unknown": {"nowhere", access}} {
		if _, err := source.Introduce(t.Context(), k[0], k[1]); err == nil {
			t.Error(name)
		}
	}
	if status, _ := p.ask("GET", "/v1/self", "", "Authorization", "Bearer "+i.Token); status != 401 {
		t.Error("an introduction is taken at the control plane: ", status)
	}
	p.must("POST", "/v1/identities/b/suspend", `{}`)
	if _, err := source.Introduce(t.Context(), "ask-b", access); err == nil {
		t.Error("an agent that is suspended is introduced to")
	}
}

// rs256 signs claims without a typ, as identity providers sign ID tokens.
func rs256(t *testing.T, k *rsa.PrivateKey, kid, claims string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: k, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := j.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
