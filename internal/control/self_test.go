package control

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// keyed gives an identity an API key and returns a bearer token of its for resource.
func (p *plane) keyed(name, resource string) string {
	p.Helper()
	var made struct {
		Secret string `json:"api_key"`
	}
	answer := p.must("POST", "/v1/identities/"+name+"/credentials", `{"api_key":true,"expires":"1d"}`)
	if err := json.Unmarshal([]byte(answer), &made); err != nil || made.Secret == "" {
		p.Fatal(answer, err)
	}
	res, err := http.PostForm(p.network.URL+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "resource": {resource},
		"client_id": {"spiffe://lanyard.local/agent/" + name}, "client_secret": {made.Secret}})
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Token == "" {
		p.Fatal(res.StatusCode, err)
	}
	return got.Token
}

// TestSelf: an identity calls the control plane for itself, with a token for that and nothing else.
func TestSelf(t *testing.T) {
	p := start(t)
	p.settle()
	own, mail := p.keyed("bot", p.URL), p.keyed("bot", p.GatewayURL+"/mail")
	status, answer := p.ask("GET", "/v1/self", "", "Authorization", "Bearer "+own)
	if status != 200 || !strings.Contains(answer, `"name":"bot"`) {
		t.Fatal(status, answer)
	}
	for name, c := range map[string]struct {
		path   string
		header []string
		status int
		says   string
	}{
		"for an upstream":       {"/v1/self", []string{"Authorization", "Bearer " + mail}, 401, "not for"},
		"none":                  {"/v1/self", []string{"Authorization", ""}, 401, "carries no access token"},
		"another scheme":        {"/v1/self", []string{"Authorization", "DPoP " + own}, 401, "cannot be sent with the DPoP scheme"},
		"an operator's":         {"/v1/identities", []string{"Authorization", "Bearer " + own}, 401, "admin token"},
		"a name made up":        {"/v1/self", []string{"Authorization", "", "Lanyard-Identity", "spiffe://lanyard.local/agent/bot"}, 401, "carries no access token"},
		"a name with the admin": {"/v1/self", []string{"Lanyard-Identity", "spiffe://lanyard.local/agent/bot"}, 404, "no identity"},
	} {
		if status, answer := p.ask("GET", c.path, "", c.header...); status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	p.must("POST", "/v1/kill", `{"identity":"bot","reason":"test"}`)
	if status, answer := p.ask("GET", "/v1/self", "", "Authorization", "Bearer "+own); status != 401 || !strings.Contains(answer, "killed") {
		t.Error(status, answer)
	}
}
