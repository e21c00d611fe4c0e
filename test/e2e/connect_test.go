package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	"github.com/lanyard-dev/lanyard/internal/control"
)

// browser is what a person has in front of them: it keeps cookies and follows redirects, but not to a client.
type browser struct {
	*house
	http.Client
	leads string // where the last answer wants it, when that is not the control plane
}

func (h *house) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.Fatal(err)
	}
	b := &browser{house: h}
	b.Client = http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), h.control) {
			b.leads = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

func (b *browser) read(res *http.Response, err error) (int, string) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return res.StatusCode, string(page)
}

func (b *browser) open(address string) (int, string) {
	b.Helper()
	b.leads = ""
	return b.read(b.Get(address))
}

func (b *browser) send(path string, form url.Values) (int, string) {
	b.Helper()
	b.leads = ""
	r, err := http.NewRequest("POST", b.control+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.control)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.read(b.Do(r))
}

// signIn signs an owner in, on the page it was led to.
func (b *browser) signIn(owner, page string) (int, string) {
	b.Helper()
	var code control.SignInCode
	b.json(&code, "owner", "sign-in", owner)
	return b.send("/signin", url.Values{"code": {strings.ToLower(code.Code) + " "}, "return": {field(page, "return")}})
}

// field is the value of a hidden input.
func field(page, name string) string {
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// yes is the answer to a consent page that lets the client do everything it shows of those classes.
func yes(page string, classes ...string) url.Values {
	form := url.Values{"request": {field(page, "request")}, "decision": {"connect"}, "for": {"7d"}}
	for _, c := range classes {
		form.Set("class-"+c, "all")
	}
	return form
}

// document publishes the metadata document of a client on this machine.
func document(t *testing.T, change map[string]any) string {
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := map[string]any{"client_id": s.URL + "/client.json", "client_name": "Scribe Desktop", "redirect_uris": []string{"http://127.0.0.1/callback", "scribe://host/callback"}, "token_endpoint_auth_method": "none"}
		for k, v := range change {
			d[k] = v
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(d)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/client.json"
}

// desk makes a house with an MCP upstream of maya's, which ben may connect clients to for reading.
func desk(t *testing.T) *house {
	h := build(t, "--client-registration", "--local-clients")
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	h.do("owner", "put", "ben", "--name", "Ben Okafor", "--email", "ben@example.com")
	h.do("owner", "put", "kim", "--name", "Kim Sato", "--email", "kim@example.com")
	_, server := notes(t)
	if err := os.WriteFile(filepath.Join(h.dir, "notes.json"), []byte(h.do("mcp", "catalogue", server.URL+"/mcp")), 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("upstream", "put", "notes", "--url", server.URL, "--mcp", "notes.json", "--owner", "maya", "--consent", "ben")
	return h
}

// TestConnect: a person connects an unmodified client of the official SDK, which gets an identity of its own.
func TestConnect(t *testing.T) {
	t.Parallel()
	h := desk(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	connect := func(person string, c *auth.AuthorizationCodeHandlerConfig, classes ...string) (*mcp.ClientSession, error) {
		c.RedirectURL = "http://127.0.0.1:43210/callback"
		c.AuthorizationCodeFetcher = func(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			b := h.browser()
			_, page := b.open(args.URL)
			if !strings.Contains(page, "Sign-in code") {
				t.Errorf("a stranger is shown:\n%s", page)
			}
			_, page = b.signIn(person, page)
			if strings.Contains(page, "may not connect") {
				return nil, errors.New(page)
			}
			if !strings.Contains(page, "Connect Scribe Desktop to notes?") {
				t.Errorf("%s is asked:\n%s", person, page)
			}
			b.send("/oauth/authorize", yes(page, classes...))
			back, err := url.Parse(b.leads)
			if err != nil {
				return nil, err
			}
			q := back.Query()
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		}
		handler, err := auth.NewAuthorizationCodeHandler(c)
		if err != nil {
			t.Fatal(err)
		}
		return mcp.NewClient(&mcp.Implementation{Name: "scribe", Version: "1"}, nil).
			Connect(ctx, &mcp.StreamableClientTransport{Endpoint: h.gate + "/notes/mcp", OAuthHandler: handler, MaxRetries: -1}, nil)
	}
	registered := func() *auth.AuthorizationCodeHandlerConfig { // the SDK takes metadata documents over https alone: see TestConnectHostile for those
		return &auth.AuthorizationCodeHandlerConfig{DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "Scribe Desktop", RedirectURIs: []string{"http://127.0.0.1:43210/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"}}}}
	}
	tools := func(s *mcp.ClientSession) (names []string) {
		l, err := s.ListTools(ctx, nil)
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, tool := range l.Tools {
			names = append(names, tool.Name)
		}
		return names
	}
	first, err := connect("maya", registered(), "read", "write")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if got := tools(first); strings.Join(got, " ") != "read_note write_note" {
		t.Errorf("maya's client is told of %v", got)
	}
	if res, err := first.CallTool(ctx, &mcp.CallToolParams{Name: "write_note", Arguments: map[string]any{"path": "/a"}}); err != nil || res.Content[0].(*mcp.TextContent).Text != "wrote /a" {
		t.Errorf("maya's client: %v", err)
	}
	// One that was given too little asks its person for more when it needs it (step-up).
	classes := []string{"read", "read"}
	ladder, err := connect("maya", &auth.AuthorizationCodeHandlerConfig{PreregisteredClient: &oauthex.ClientCredentials{ClientID: h.register("http://127.0.0.1:43210/callback")}}, classes...)
	if err != nil {
		t.Fatal(err)
	}
	defer ladder.Close()
	classes[1] = "write" // what is answered the next time it asks
	if res, err := ladder.CallTool(ctx, &mcp.CallToolParams{Name: "write_note", Arguments: map[string]any{"path": "/b"}}); err != nil || text(res) != "wrote /b" {
		t.Errorf("after asking for more: %q %v", text(res), err)
	}
	classes[1] = "read"
	if res, err := ladder.CallTool(ctx, &mcp.CallToolParams{Name: "drop_notes", Arguments: map[string]any{"path": "/b"}}); err == nil {
		t.Errorf("what its person did not give: %q", text(res))
	}
	// Another person's is another identity, and gets no more than that person may give.
	second, err := connect("ben", registered(), "read", "write", "delete")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := tools(second); strings.Join(got, " ") != "read_note" {
		t.Errorf("ben's client is told of %v", got)
	}
	// A second client of the same person is another, too; and one whose person may not is none.
	third, err := connect("maya", registered(), "read")
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if _, err := connect("kim", registered(), "read"); err == nil || !strings.Contains(err.Error(), "Ask Maya Lind") {
		t.Errorf("kim's client: %v", err)
	}
	var all []control.IdentityView
	h.json(&all, "identity", "list")
	owners := map[string]string{}
	for _, i := range all {
		owners[i.Name] = string(i.Owner)
	}
	for name, owner := range map[string]string{"scribe-desktop-maya": "maya", "scribe-desktop-maya-2": "maya", "scribe-desktop-ben": "ben"} {
		if owners[name] != owner {
			t.Errorf("%s belongs to %q; there is %v", name, owners[name], owners)
		}
	}
	h.do("kill", "scribe-desktop-maya", "--reason", "test")
	if _, err := first.CallTool(ctx, &mcp.CallToolParams{Name: "read_note", Arguments: map[string]any{"path": "/a"}}); err == nil {
		t.Error("a killed client goes on")
	}
	if got := tools(second); len(got) != 1 {
		t.Errorf("ben's client, after maya's was killed: %v", got)
	}
	for _, want := range []string{"consent.give", "owner.sign_in", "credential.add", "client.register"} {
		if out := h.do("audit", "search", "-o", "json"); !strings.Contains(out, want) {
			t.Errorf("%s is not on record", want)
		}
	}
	h.do("audit", "verify")
}

// register registers a client as the SDK does, but once: the SDK registers another each time it asks.
func (h *house) register(redirect string) string {
	h.Helper()
	res, err := http.Post(h.control+"/oauth/register", "application/json", strings.NewReader(`{"client_name":"Scribe Desktop","redirect_uris":["`+redirect+`"]}`))
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	var client struct {
		ID string `json:"client_id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&client); err != nil || client.ID == "" {
		h.Fatalf("registered: %d %v", res.StatusCode, err)
	}
	return client.ID
}

// TestConnectJoined: a person connects a client to several upstreams at once, and gives on each what is theirs to give.
func TestConnectJoined(t *testing.T) {
	t.Parallel()
	h := desk(t)
	server(t, h, "files", nil, reading)
	h.do("upstream", "put", "desk", "--join", "notes,files", "--owner", "maya", "--consent", "ben")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for person, want := range map[string]string{"maya": "notes__read_note notes__write_note files__read_note", "ben": "notes__read_note"} { // files lets nobody but maya
		f := h.flow(h.register("http://127.0.0.1:50001/callback"))
		f.query.Set("resource", h.gate+"/desk/mcp")
		got := h.tokens(f.exchange(f.code(person, "read", "write")))
		if got.Access == "" {
			t.Fatalf("%s: %+v", person, got)
		}
		web := oauth2.NewClient(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: got.Access}))
		s, err := mcp.NewClient(&mcp.Implementation{Name: "scribe", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{Endpoint: h.gate + "/desk/mcp", HTTPClient: web, MaxRetries: -1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if names := names(t, ctx, s); names != want {
			t.Errorf("%s's client is told of %q, want %q", person, names, want)
		}
		if res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "notes__read_note", Arguments: note{Path: "/a"}}); err != nil || text(res) != "read /a" {
			t.Errorf("%s: %q %v", person, text(res), err)
		}
	}
}

// flow is one connection by hand, to be done wrong.
type flow struct {
	*browser
	client, redirect, verifier string
	query                      url.Values
}

func (h *house) flow(client string) *flow {
	f := &flow{browser: h.browser(), client: client, redirect: "http://127.0.0.1:50001/callback", verifier: oauth2.GenerateVerifier()}
	f.query = url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {f.redirect}, "state": {"st"}, "resource": {h.gate + "/notes"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(f.verifier)}, "code_challenge_method": {"S256"}}
	return f
}

// consent signs the person in and brings the page with the question.
func (f *flow) consent(person string) (int, string) {
	f.Helper()
	_, page := f.open(f.control + "/oauth/authorize?" + f.query.Encode())
	return f.signIn(person, page)
}

func (f *flow) code(person string, classes ...string) string {
	f.Helper()
	_, page := f.consent(person)
	f.send("/oauth/authorize", yes(page, classes...))
	return f.answer().Get("code")
}

func (f *flow) answer() url.Values {
	u, err := url.Parse(f.leads)
	if err != nil {
		f.Fatal(err)
	}
	return u.Query()
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
	Text    string `json:"error_description"`
}

func (h *house) tokens(form url.Values) (t tokens) {
	h.Helper()
	res, err := http.PostForm(h.control+"/oauth/token", form)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&t); err != nil {
		h.Fatal(err)
	}
	return t
}

func (f *flow) exchange(code string, change ...string) url.Values {
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {f.client}, "code": {code}, "redirect_uri": {f.redirect}, "code_verifier": {f.verifier}}
	for i := 0; i < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	return form
}

const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

// reaches reports whether an access token still opens notes.
func (h *house) reaches(token string) bool {
	h.Helper()
	r, err := http.NewRequest("POST", h.gate+"/notes/mcp", strings.NewReader(ping))
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode != http.StatusUnauthorized
}

// TestConnectHostile: codes, refresh tokens, forms and addresses, done wrong.
func TestConnectHostile(t *testing.T) {
	t.Parallel()
	h := desk(t)
	client := document(t, nil)

	// A request that cannot be trusted leads nowhere; another leads back with an error.
	for why, change := range map[string][2]string{
		"address that is not one of its own": {"redirect_uri", "https://evil.example/callback"},
		"is not one of its own":              {"redirect_uri", "http://127.0.0.1:1/callback?x=1"},
		"not one of its own, so":             {"redirect_uri", "http://127.0.0.1.evil.example/callback"},
		"cannot be made out":                 {"client_id", "http://127.0.0.1:1/none.json"},
		"https":                              {"client_id", "http://169.254.169.254/latest/meta-data"},
		"no client is registered":            {"client_id", "client_unknown"},
	} {
		f := h.flow(client)
		f.query.Set(change[0], change[1])
		if status, page := f.consent("maya"); status != 400 || f.leads != "" || !strings.Contains(html.UnescapeString(page), why) {
			t.Errorf("%v: %d, leads to %q\n%s", change, status, f.leads, page)
		}
	}
	// A client that the person has never connected is anybody's: the person is not sent anywhere unasked. The way back is a link,
	// also to an app's own scheme.
	for _, redirect := range []string{"http://127.0.0.1:50001/callback", "scribe://host/callback"} {
		f := h.flow(client)
		f.query.Set("redirect_uri", redirect)
		f.query.Set("response_type", "token")
		if status, page := f.consent("maya"); status != 400 || f.leads != "" || !strings.Contains(html.UnescapeString(page), `href="`+redirect+`?error=unsupported_response_type`) {
			t.Errorf("a stranger's mistake: %d, leads to %q\n%s", status, f.leads, page)
		}
	}
	h.flow(client).code("maya", "read")
	for code, change := range map[string][2]string{
		"unsupported_response_type": {"response_type", "token"},
		"invalid_request":           {"code_challenge_method", "plain"},
		"invalid_scope":             {"scope", "root"},
		"invalid_target":            {"resource", h.gate + "/nowhere"},
		"interaction_required":      {"prompt", "none"},
	} {
		f := h.flow(client)
		f.query.Set(change[0], change[1])
		f.consent("maya")
		if a := f.answer(); a.Get("error") != code || a.Get("iss") != h.control || a.Get("state") != "st" {
			t.Errorf("%v: %v", change, a)
		}
	}

	// A form is for the browser it was made in, once, and not for another site's.
	f, other := h.flow(client), h.browser()
	_, page := f.consent("maya")
	_, otherPage := other.open(h.control + "/signin")
	other.signIn("ben", otherPage)
	if status, said := other.send("/oauth/authorize", yes(page, "read")); status != 400 || other.leads != "" || !strings.Contains(said, "not made for you") {
		t.Errorf("maya's form in ben's browser: %d %s", status, other.leads)
	}
	r, _ := http.NewRequest("POST", h.control+"/oauth/authorize", strings.NewReader(yes(page, "read").Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://evil.example")
	if status, _ := f.read(f.Do(r)); status != 403 {
		t.Errorf("a form of another site: %d", status)
	}
	if status, said := f.send("/oauth/authorize", yes(page)); status != 400 || !strings.Contains(said, "chose nothing") {
		t.Errorf("nothing chosen: %d %s", status, said)
	}
	_, page = f.open(h.control + "/oauth/authorize?" + f.query.Encode())
	f.send("/oauth/authorize", yes(page, "read"))
	code := f.answer().Get("code")
	if status, said := f.send("/oauth/authorize", yes(page, "read")); status != 400 || !strings.Contains(said, "sent already") {
		t.Errorf("a form sent twice: %d %s", status, said)
	}

	// A code is for one client, one address, one verifier, once.
	for name, change := range map[string][]string{
		"another verifier": {"code_verifier", oauth2.GenerateVerifier()}, "another client": {"client_id", document(t, nil)}, "another address": {"redirect_uri", "http://127.0.0.1:50002/callback"},
		"another code": {"code", "lyd_code_x"},
	} {
		if got := h.tokens(f.exchange(code, change...)); got.Error != "invalid_grant" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := h.tokens(f.exchange(code, "resource", h.gate+"/mail")); got.Error != "invalid_target" {
		t.Errorf("another resource: %+v", got)
	}
	if got := h.tokens(f.exchange(code, "client_secret", "x")); got.Error != "invalid_client" {
		t.Errorf("a secret: %+v", got)
	}
	got := h.tokens(f.exchange(code))
	if got.Access == "" || got.Refresh == "" || !h.reaches(got.Access) {
		t.Fatalf("the code: %+v", got)
	}
	if again := h.tokens(f.exchange(code)); again.Error != "invalid_grant" || h.reaches(got.Access) {
		t.Errorf("a code used twice: %+v, and the token still works: %v", again, h.reaches(got.Access))
	}

	// A refresh token is for once; a second use ends all that came of it.
	f = h.flow(client)
	one := h.tokens(f.exchange(f.code("maya", "read")))
	refresh := func(token string, change ...string) tokens {
		form := url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {token}}
		for i := 0; i < len(change); i += 2 {
			form.Set(change[i], change[i+1])
		}
		return h.tokens(form)
	}
	if got := refresh(one.Refresh, "client_id", "client_x"); got.Error != "invalid_grant" {
		t.Errorf("another client's refresh token: %+v", got)
	}
	two := refresh(one.Refresh)
	if two.Access == "" || two.Refresh == one.Refresh || !h.reaches(two.Access) || !h.reaches(one.Access) {
		t.Errorf("refreshed: %+v", two)
	}
	if got := refresh(one.Refresh); got.Error != "invalid_grant" {
		t.Errorf("a refresh token used twice: %+v", got)
	}
	if got := refresh(two.Refresh); got.Error != "invalid_grant" || h.reaches(two.Access) {
		t.Errorf("after the theft was noticed: %+v", got)
	}

	// A client may end what it got; a kill ends it all the same.
	f = h.flow(client)
	one = h.tokens(f.exchange(f.code("maya", "read")))
	if res, err := http.PostForm(h.control+"/oauth/revoke", url.Values{"client_id": {client}, "token": {one.Refresh}}); err != nil || res.StatusCode != 200 || h.reaches(one.Access) || refresh(one.Refresh).Error != "invalid_grant" {
		t.Errorf("revoked by the client: %v", err)
	}
	f = h.flow(client)
	code = f.code("maya", "read")
	one = h.tokens(f.exchange(code))
	f = h.flow(client)
	unused := f.code("maya", "read")
	h.do("kill", "scribe-desktop-maya", "--reason", "test")
	if got := refresh(one.Refresh); got.Error != "invalid_grant" {
		t.Errorf("a killed identity's refresh token: %+v", got)
	}
	if got := h.tokens(f.exchange(unused)); got.Error != "invalid_grant" {
		t.Errorf("a killed identity's code: %+v", got)
	}
	f = h.flow(client)
	if status, page := f.consent("maya"); status != 403 || !strings.Contains(page, "is killed") {
		t.Errorf("connecting what was killed: %d\n%s", status, page)
	}
	// Who has left is signed in no more.
	left := h.flow(client)
	left.consent("ben")
	h.do("owner", "gone", "ben")
	if _, page := left.open(h.control + "/oauth/authorize?" + left.query.Encode()); !strings.Contains(page, "Sign-in code") {
		t.Errorf("ben has left and sees\n%s", page)
	}
	h.do("audit", "verify")
}
