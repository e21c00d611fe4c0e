package control

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// The console is at its place, asks nobody else for anything, and what is no file is its page.
func TestConsoleIsServed(t *testing.T) {
	p := start(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(path, accept string) *http.Response {
		req, err := http.NewRequest("GET", p.network.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	if res := get("/", "text/html,*/*"); res.StatusCode != 302 || res.Header.Get("Location") != "/console/" {
		t.Errorf("a browser at /: %d %s", res.StatusCode, res.Header.Get("Location"))
	}
	if res := get("/", "*/*"); res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("curl at /: %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	if res := get("/console", "text/html"); res.StatusCode/100 != 3 || res.Header.Get("Location") != "/console/" {
		t.Errorf("without the slash: %d %s", res.StatusCode, res.Header.Get("Location"))
	}
	for _, path := range []string{"/console/", "/console/identities/mayas"} {
		res := get(path, "text/html")
		if csp := res.Header.Get("Content-Security-Policy"); res.StatusCode != 200 && res.StatusCode != 404 || !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %d %s", path, res.StatusCode, csp)
		}
	}
	if status, answer := p.ask("GET", "/console/sign-in/options", "", "Authorization", ""); status != 200 || strings.TrimSpace(answer) != `{"oidc":null,"passkey":false}` {
		t.Errorf("how to sign in: %d %s", status, answer)
	}
}

// Signing out ends the session, or all of them; another site cannot have it done.
func TestSignOut(t *testing.T) {
	p := start(t)
	one, two := p.begin("", identity.RoleAdmin), p.begin("", identity.RoleAdmin)
	if status, _ := p.ask("POST", "/console/sign-out", `{"everywhere":true}`, "Authorization", "", "Cookie", "lanyard="+one, "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("by another site: %d", status)
	}
	three := p.begin("", identity.RoleAdmin)
	for _, test := range []struct {
		body string
		left []bool
	}{{"{}", []bool{false, true, true}}, {`{"everywhere":true}`, []bool{false, false, false}}} {
		which := one
		if strings.Contains(test.body, "everywhere") {
			which = two
		}
		if status, answer := p.visit(which, "POST", "/console/sign-out", test.body); status != 200 {
			t.Errorf("%d %s", status, answer)
		}
		for n, text := range []string{one, two, three} {
			if status, _ := p.visit(text, "GET", "/v1/me", ""); (status == 200) != test.left[n] {
				t.Errorf("after %s, session %d: %d", test.body, n, status)
			}
		}
	}
}

// The link of the first start signs the administrator in once, who then does what an administrator does.
func TestAdministratorsLink(t *testing.T) {
	p := start(t)
	var link AdminLink
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/admin/sign-in", "")), &link); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link.URL)
	if err != nil || u.Path != "/signin" {
		t.Fatal(link, err)
	}
	code := u.Query().Get("code")
	if _, answer := p.ask("GET", u.RequestURI(), "", "Authorization", ""); !strings.Contains(answer, `value="`+code+`"`) || !strings.Contains(answer, `value="/console/"`) {
		t.Errorf("the page of the link: %s", answer)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for n := range 2 {
		res, err := client.PostForm(p.network.URL+"/signin", u.Query())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if n == 1 {
			if res.StatusCode != 403 {
				t.Errorf("the link, used again: %d", res.StatusCode)
			}
			break
		}
		if res.StatusCode != 303 || res.Header.Get("Location") != "/console/" || len(res.Cookies()) != 1 || !res.Cookies()[0].HttpOnly || res.Cookies()[0].SameSite != http.SameSiteLaxMode {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		session := res.Cookies()[0].Value
		if status, answer := p.visit(session, "GET", "/v1/me", ""); status != 200 || !strings.Contains(answer, `"roles":["admin"]`) || strings.Contains(answer, `"owner"`) {
			t.Errorf("who is signed in: %d %s", status, answer)
		}
		if status, _ := p.visit(session, "POST", "/v1/admin/sign-in", ""); status != 403 {
			t.Errorf("a person makes another: %d", status)
		}
		if status, answer := p.visit(session, "PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com","roles":["auditor"]}`); status != 200 {
			t.Errorf("the administrator adds an owner: %d %s", status, answer)
		}
	}
	maya := p.begin("maya")
	if _, answer := p.visit(maya, "GET", "/v1/me", ""); !strings.Contains(answer, `"roles":["auditor","owner"]`) {
		t.Errorf("maya's roles: %s", answer)
	}
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya","email":"maya@example.com"}`)
	if _, answer := p.visit(maya, "GET", "/v1/me", ""); !strings.Contains(answer, `"roles":["auditor","owner"]`) {
		t.Errorf("left out, they stay: %s", answer)
	}
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya","email":"maya@example.com","roles":[]}`)
	if _, answer := p.visit(maya, "GET", "/v1/me", ""); !strings.Contains(answer, `"roles":["owner"]`) {
		t.Errorf("taken away, they are gone at once: %s", answer)
	}
}
