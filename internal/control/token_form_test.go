package control

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// TestTokenForms: whatever is combined at the token endpoint is answered, and what it refuses leaves nothing behind.
func TestTokenForms(t *testing.T) {
	p := start(t)
	p.asks("owner", 0)
	p.must("PUT", "/v1/identities/cat", `{"kind":"agent","owner":"ben","purpose":"tests","tasks":"required"}`)
	p.must("PUT", "/v1/identities/cat/grants/read", `{"upstream":"mail","actions":["read"]}`)
	p.must("PUT", "/v1/identities/bot", `{"kind":"agent","owner":"maya","purpose":"tests","children":{"at_once":5,"depth":2}}`)
	p.must("PUT", "/v1/upstreams/catty", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /c -> c.read read /c","agent":"cat"}`)
	p.must("PUT", "/v1/identities/bot/grants/call", `{"upstream":"catty","actions":["read"]}`)
	p.must("PUT", "/v1/providers/acme", `{"issuer":"https://idp.example","uses":["id_jag","on_behalf"],"audience":["app"],"jwks":`+string(newIDP(t).set())+`}`)
	task := p.opened(`{"identity":"bot","on":"maya","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}]}`)
	secrets := map[string]string{}
	for _, name := range []string{"bot", "cat"} {
		var made struct {
			Secret string `json:"api_key"`
		}
		if err := json.Unmarshal([]byte(p.must("POST", "/v1/identities/"+name+"/credentials", `{"api_key":true,"expires":"1d"}`)), &made); err != nil {
			t.Fatal(err)
		}
		secrets["spiffe://lanyard.local/agent/"+name] = made.Secret
	}
	call := p.keyed("bot", p.GatewayURL+"/catty")
	introduced, err := p.issuer.Introduce(t.Context(), "catty", call, "gw")
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	tokens := []string{"", "x", "a.b.c", "e30.e30.e30", call, p.keyed("bot", p.URL), p.keyed("bot", p.GatewayURL+"/mail"), introduced.Token, strings.Repeat("x", 20<<10)}
	types := []string{"", token.TypeAccess, token.TypeJWT, token.TypeID, "urn:x"}
	details := []string{"", "", "", "[]", "null", "[null]", "[{}]", "{", `[{"type":"lanyard_task"}]`, `[{"type":"lanyard_task","task":"` + task + `"}]`, `[{"type":"lanyard_task","task":"task_x"}]`,
		`[{"type":"lanyard_task","purpose":"p","locations":["` + p.GatewayURL + `/mail"],"actions":["read"]}]`,
		`[{"type":"lanyard_task","purpose":"p","locations":["` + p.GatewayURL + `/catty"],"actions":["read"],"budget":{"calls":-1}}]`,
		`[{"type":"lanyard_task","purpose":"p","locations":[],"actions":null,"conditions":{"id":{}},"until":"8h"}]`}
	got := map[int]int{}
	for range 4000 {
		who := pick("spiffe://lanyard.local/agent/bot", "spiffe://lanyard.local/agent/cat")
		form := url.Values{"grant_type": {pick("client_credentials", "authorization_code", "refresh_token", token.GrantExchange, token.GrantExchange, token.GrantJWT, "", "password")}}
		if rnd.IntN(6) > 0 {
			form["client_id"], form["client_secret"] = []string{who}, []string{secrets[who]}
		}
		for name, list := range map[string][]string{"subject_token": tokens, "actor_token": append(tokens[:2:2], tokens[5]), "subject_token_type": types, "actor_token_type": types, "requested_token_type": append(types, "", "", "", ""),
			"assertion": tokens, "code": {"", "x"}, "refresh_token": {"", "x"}, "code_verifier": {"", "x"}, "redirect_uri": {"", "http://x", ":"}, "audience": {"", "", "", "x"},
			"resource": {"", p.URL, p.GatewayURL + "/mail", p.GatewayURL + "/catty", p.GatewayURL + "/catty/mcp", "x", p.GatewayURL + "/"}, "scope": {"", "", "read", "read write", "openid"}, "authorization_details": details} {
			if v := pick(list...); (name == "resource" || rnd.IntN(2) > 0) && (!strings.HasPrefix(name, "actor") || rnd.IntN(6) == 0) {
				form.Set(name, v)
			}
		}
		res, err := http.PostForm(p.network.URL+"/oauth/token", form)
		if err != nil {
			t.Fatalf("%v: %v", form, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if got[res.StatusCode]++; err != nil || res.StatusCode >= 500 && !strings.Contains(string(body), "temporarily_unavailable") {
			t.Errorf("%v: %d %s %v", form, res.StatusCode, body, err)
		}
		var a struct {
			Token string `json:"access_token"`
		}
		if json.Unmarshal(body, &a) != nil || (a.Token != "") != (res.StatusCode == 200) {
			t.Errorf("%v: %d %s", form, res.StatusCode, body)
		}
		if res.StatusCode != 200 {
			continue
		}
		c, err := p.issuer.Ring.Verifier().Verify(a.Token, p.URL, "", p.Now())
		if err != nil || c.Actor().String() != who || p.View.Check(c, p.Now()) != nil {
			t.Errorf("%v: %+v %v", form, c, err)
		}
		if cat := identity.MustID("spiffe://lanyard.local/agent/cat"); c.Actor() == cat && c.Task == "" && c.Audience != p.URL {
			t.Errorf("%v: cat acts without a task: %+v", form, c)
		}
		if person := c.Chain.Root().Owner(); person != "" && c.Task != task {
			t.Errorf("%v: on behalf of %s, who said nothing: %+v", form, person, c)
		}
	}
	if got[200] < 40 || got[400] < 50 {
		t.Errorf("%v: the test tries too little", got)
	}
	if log := p.log.String(); strings.Contains(log, "panic") || strings.Contains(log, introduced.Token) {
		t.Error(log)
	}
}
