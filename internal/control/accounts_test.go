package control

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
)

// visitor is a browser at a control plane.
type visitor struct {
	*plane
	http.Client
}

func (p *plane) visitor(owner string) *visitor {
	p.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.Fatal(err)
	}
	v := &visitor{plane: p, Client: http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if owner == "" {
		return v
	}
	code := regexp.MustCompile(`"code":"([^"]+)"`).FindStringSubmatch(p.must("POST", "/v1/owners/"+owner+"/sign-in", ""))
	if status, page, _ := v.send("POST", "/signin", url.Values{"code": {code[1]}}); status != 200 {
		p.Fatalf("%d %s", status, page)
	}
	return v
}

func (v *visitor) send(method, path string, form url.Values, header ...string) (status int, page, leads string) {
	v.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, v.network.URL+path, body)
	if err != nil {
		v.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if len(header) == 0 { // as browsers do
		header = []string{"Sec-Fetch-Site", "same-origin"}
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := v.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header.Get("Location")
}

// TestAccountPages: only who is signed in sees anything, only what is theirs, and no other site has anything done.
func TestAccountPages(t *testing.T) {
	p := start(t)
	p.settle()
	p.must("PUT", "/v1/owners/kim", `{"name":"Kim Sato","email":"kim@example.com"}`)
	p.must("PUT", "/v1/upstreams/crm", `{"url":"http://127.0.0.1:1","family":"patterns","description":"GET /x -> x.read read /x","oauth":{"issuer":"http://127.0.0.1:1"}}`)
	p.must("PUT", "/v1/identities/bot/grants/crm", `{"upstream":"crm","actions":["x.read"]}`)
	nobody, maya, kim := p.visitor(""), p.visitor("maya"), p.visitor("kim")
	for _, path := range []string{"/accounts", "/accounts/crm", "/accounts/none"} {
		if status, page, leads := nobody.send("GET", path, nil); status != 303 || leads != "/signin?return="+url.QueryEscape(path) || strings.Contains(page, "127.0.0.1:1") {
			t.Errorf("%s: %d %s", path, status, leads)
		}
	}
	for _, path := range []string{"/oauth/callback/crm?code=x&state=y", "/oauth/callback/crm"} {
		if status, _, _ := nobody.send("GET", path, nil); status != 403 {
			t.Errorf("%s by nobody: %d", path, status)
		}
		if status, page, _ := maya.send("GET", path, nil); status != 403 || !strings.Contains(page, "answers no sign-in") {
			t.Errorf("%s: %d %s", path, status, page)
		}
	}
	if status, page, _ := maya.send("GET", "/accounts/crm", nil); status != 200 || !strings.Contains(page, "Connect your account at crm") {
		t.Errorf("%d %s", status, page)
	}
	_, none, _ := kim.send("GET", "/accounts/none", nil)
	if status, page, _ := kim.send("GET", "/accounts/crm", nil); status != 404 || page != none {
		t.Errorf("kim can tell what there is: %d %s", status, page)
	}
	if _, page, _ := kim.send("GET", "/accounts", nil); strings.Contains(page, "crm") {
		t.Error(page)
	}
	for _, v := range []*visitor{kim, nobody} {
		if status, page, _ := v.send("POST", "/accounts/crm", url.Values{"do": {"connect"}}); status != 404 && status != 403 || strings.Contains(page, "127.0.0.1:1") {
			t.Errorf("%d %s", status, page)
		}
	}
	connect := func() {
		p.Helper()
		if _, err := p.registry.Do(t.Context(), registry.Self, func(c *registry.Change) error {
			u, err := c.Upstream("crm")
			if err != nil {
				return err
			}
			return c.ConnectAccount(u, registry.Account{Owner: "maya"})
		}); err != nil {
			t.Fatal(err)
		}
	}
	connect()
	for _, header := range [][]string{{"Origin", "http://evil.example.com"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}, {"Referer", "http://evil.example.com/"}} {
		if status, _, _ := maya.send("POST", "/accounts/crm", url.Values{"do": {"disconnect"}}, header...); status != 403 {
			t.Errorf("%v: %d", header, status)
		}
	}
	if _, page, _ := maya.send("GET", "/accounts", nil); !strings.Contains(page, "connected since") {
		t.Error(page)
	}
	if status, page, _ := maya.send("POST", "/accounts/crm", url.Values{"do": {"connect"}}); status != 502 || strings.Contains(page, "refused") || strings.Contains(page, "dial") {
		t.Errorf("what the network says is shown: %d %s", status, page)
	}
	if status, _, leads := maya.send("POST", "/accounts/crm", url.Values{"do": {"disconnect"}}, "Sec-Fetch-Site", "same-origin"); status != 303 || leads != "/accounts/crm" {
		t.Errorf("%d %s", status, leads)
	}
	if status, answer := p.ask("DELETE", "/v1/upstreams/crm/accounts/maya", ""); status != 409 {
		t.Errorf("%d %s", status, answer)
	}
	connect()
	if list := p.must("GET", "/v1/upstreams/crm/accounts", ""); !strings.Contains(list, `"owner":"maya"`) || strings.Contains(list, "token") || strings.Contains(list, "client") {
		t.Error(list)
	}
	p.must("DELETE", "/v1/upstreams/crm/accounts/maya", "")
	// What says nothing of OAuth leaves it; what says none ends it.
	p.must("PUT", "/v1/upstreams/crm", `{"url":"http://127.0.0.1:1","family":"patterns","description":"GET /x -> x.read read /x"}`)
	if one := p.must("GET", "/v1/upstreams/crm", ""); !strings.Contains(one, `"oauth":{"account":"own"`) || !strings.Contains(one, `"sign_in":"`+p.network.URL+`/accounts/crm"`) {
		t.Error(one)
	}
	p.must("PUT", "/v1/upstreams/crm", `{"url":"http://127.0.0.1:1","family":"patterns","description":"GET /x -> x.read read /x","oauth":{"none":true}}`)
	if one := p.must("GET", "/v1/upstreams/crm", ""); strings.Contains(one, `"oauth"`) || strings.Contains(one, `"sign_in"`) {
		t.Error(one)
	}
	if status, page, _ := nobody.send("GET", "/oauth/client/crm", nil); status != 200 || !strings.Contains(page, `"redirect_uris":["`+p.network.URL+`/oauth/callback/crm"]`) {
		t.Errorf("%d %s", status, page)
	}
	if status, _, _ := nobody.send("GET", "/oauth/client/a%22b", nil); status != 404 {
		t.Errorf("%d", status)
	}
	if _, page, _ := nobody.send("GET", "/signin?return="+url.QueryEscape("/accounts/../../evil"), nil); strings.Contains(page, "evil") {
		t.Error("it leads elsewhere")
	}
}
