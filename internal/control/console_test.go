package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

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

// A program is let in by a person, for what that person may do, once, and is out when they are.
func TestDevice(t *testing.T) {
	p := start(t)
	office(p)
	post := func(path string, form url.Values) (status int, got map[string]any) {
		t.Helper()
		status, answer := p.ask("POST", path, form.Encode(), "Authorization", "", "Content-Type", "application/x-www-form-urlencoded")
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(status, answer)
		}
		return status, got
	}
	take := func(device any) map[string]any {
		_, got := post("/console/device/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {fmt.Sprint(device)}})
		return got
	}
	answer := func(session, code, decision string) (int, string) {
		_, page := p.visit(session, "GET", "/console/device?user_code="+url.QueryEscape(strings.ToLower(code)), "")
		m := regexp.MustCompile(`name="request" value="([^"]+)"`).FindStringSubmatch(page)
		if m == nil {
			return 404, page
		}
		return p.ask("POST", "/console/device", url.Values{"request": {m[1]}, "user_code": {code}, "decision": {decision}}.Encode(), "Authorization", "", "Cookie", "lanyard="+session, "Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded")
	}
	maya, ben := p.begin("maya"), p.begin("ben")
	size := p.Store.Size()
	for n := range 51 { // from one address, whoever it is
		if status, asked := post("/console/device/authorization", url.Values{"client_id": {"lanyard"}}); (status == 200) != (n < 50) || n == 50 && asked["error"] != "temporarily_unavailable" {
			t.Fatal(n, status, asked)
		}
	}
	if got := p.Store.Size(); got != size {
		t.Errorf("who was let in by nobody wrote %d events", got-size)
	}
	p.ahead.Add(int64(11 * time.Minute))
	for decision, want := range map[string]string{"yes": "", "no": "access_denied"} {
		status, asked := post("/console/device/authorization", url.Values{"client_id": {"lanyard"}})
		code := fmt.Sprint(asked["user_code"])
		if status != 200 || len(code) != 9 || !strings.HasSuffix(fmt.Sprint(asked["verification_uri_complete"]), "/console/device?user_code="+code) {
			t.Fatal(status, asked)
		}
		if got := take(asked["device_code"]); got["error"] != "authorization_pending" {
			t.Errorf("before anybody answered: %v", got)
		}
		if got := take(code); got["error"] != "expired_token" {
			t.Errorf("with the code for the person: %v", got)
		}
		if status, page := p.ask("POST", "/console/device", url.Values{"request": {"forged"}, "user_code": {code}, "decision": {"yes"}}.Encode(), "Authorization", "", "Cookie", "lanyard="+maya, "Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded"); status != 403 {
			t.Errorf("a form that nobody was shown: %d %s", status, page)
		}
		if status, page := answer(maya, code, decision); status != 200 {
			t.Fatalf("%s: %d %s", decision, status, page)
		}
		if status, _ := answer(ben, code, "yes"); status != 404 {
			t.Errorf("answered again: %d", status)
		}
		got := take(asked["device_code"])
		if fmt.Sprint(got["error"]) != want && want != "" {
			t.Errorf("%s: %v", decision, got)
		}
		if want != "" {
			continue
		}
		token := fmt.Sprint(got["access_token"])
		if again := take(asked["device_code"]); again["error"] != "expired_token" {
			t.Errorf("taken again: %v", again)
		}
		if status, answer := p.ask("GET", "/v1/me", "", "Authorization", "Bearer "+token); status != 200 || !strings.Contains(answer, `"method":"device"`) || !strings.Contains(answer, `"owner":"maya"`) {
			t.Errorf("who it is: %d %s", status, answer)
		}
		if status, _ := p.ask("POST", "/v1/identities/mayas/suspend", "{}", "Authorization", "Bearer "+token); status != 200 {
			t.Errorf("it suspends maya's: %d", status)
		}
		if status, _ := p.ask("POST", "/v1/identities/bens/suspend", "{}", "Authorization", "Bearer "+token); status != 404 {
			t.Errorf("it suspends ben's: %d", status)
		}
		if status, _ := p.visit(token, "GET", "/v1/me", ""); status != 401 {
			t.Errorf("as a cookie: %d", status)
		}
		if status, page := p.visit(token, "GET", "/approvals", ""); strings.Contains(page, "Signed in as") {
			t.Errorf("as a cookie, at the pages: %d", status)
		}
		p.must("POST", "/v1/kill", `{"owner":"maya","reason":"x"}`)
		if status, _ := p.ask("GET", "/v1/me", "", "Authorization", "Bearer "+token); status != 401 {
			t.Errorf("after the cord: %d", status)
		}
		maya = p.begin("maya")
	}
}
