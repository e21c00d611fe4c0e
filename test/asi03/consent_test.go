package asi03

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/lanyard-dev/lanyard/client"
)

// person is somebody at a browser, who keeps cookies and is not taken away from the control plane.
type person struct {
	*house
	http.Client
	leads string // where the last answer wanted the browser, when that is elsewhere
}

func (h *house) person() *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.Fatal(err)
	}
	p := &person{house: h}
	p.Client = http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), h.control) {
			p.leads = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return p
}

func (p *person) read(res *http.Response, err error) (int, string) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (p *person) follows(link string) (int, string) {
	p.Helper()
	p.leads = ""
	return p.read(p.Get(link))
}

// sends submits a form of a page that came from origin.
func (p *person) sends(path, origin string, form url.Values) (int, string) {
	p.Helper()
	p.leads = ""
	r, err := http.NewRequest("POST", p.control+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", origin)
	return p.read(p.Do(r))
}

func (p *person) signsIn(name, page string) (int, string) {
	p.Helper()
	var code struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal([]byte(p.do("owner", "sign-in", name, "-o", "json")), &code); err != nil {
		p.Fatal(err)
	}
	return p.sends("/signin", p.control, url.Values{"code": {code.Code}, "return": {hidden(page, "return")}})
}

func hidden(page, name string) string {
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// TestDeviceCodeAndConsentPhishing: an attacker has a person open a link, to get tokens for what is that person's. There
// is no device code to talk anybody into typing; what the page shows is where the client really is; a
// code goes only to an address of the client's own and is of use only to who began; nothing is
// given without a click on our page; and what is given is no more than that page says, to an
// identity of its own that its person or an operator stops at once.
func TestDeviceCodeAndConsentPhishing(t *testing.T) {
	t.Parallel()
	h := build(t, "--local-clients")
	h.upstream("payroll", "--consent", "ben")
	var site *httptest.Server
	site = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"client_id": site.URL + "/client.json", "client_name": "Payroll Sign-in", "redirect_uris": []string{"http://127.0.0.1/callback"}, "token_endpoint_auth_method": "none"})
	}))
	t.Cleanup(site.Close)
	client, verifier := site.URL+"/client.json", oauth2.GenerateVerifier()
	link := func(change ...string) string {
		q := url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {"http://127.0.0.1:50001/callback"}, "state": {"st"}, "resource": {h.gate + "/payroll"},
			"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"}}
		for i := 0; i < len(change); i += 2 {
			if q.Set(change[i], change[i+1]); change[i+1] == "" {
				q.Del(change[i])
			}
		}
		return h.control + "/oauth/authorize?" + q.Encode()
	}
	// Device codes.
	status, metadata := h.person().follows(h.control + "/.well-known/oauth-authorization-server")
	if status != 200 || strings.Contains(metadata, "device") {
		t.Errorf("device codes are offered: %s", metadata)
	}
	if status, said := h.ask(url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {"x"}, "client_id": {client}}); status != 400 || !strings.Contains(said, "unsupported_grant_type") {
		t.Errorf("a device code: %d %s", status, said)
	}
	// Links that would take the code to the attacker, or let another than who began use it.
	ben := h.person()
	_, page := ben.follows(link())
	if status, page = ben.signsIn("ben", page); status != 200 || ben.leads != "" {
		t.Fatalf("%d %s", status, page)
	}
	if shown := html.UnescapeString(page); !strings.Contains(shown, strings.TrimPrefix(site.URL, "http://")) || !strings.Contains(shown, "Payroll Sign-in") {
		t.Errorf("the page does not say where the client is:\n%s", shown)
	}
	for name, k := range map[string]struct {
		link string
		says string
	}{
		"the code to the attacker's site":  {link("redirect_uri", "https://evil.example/callback"), "not one of its own"},
		"to one that looks alike":          {link("redirect_uri", "http://127.0.0.1.evil.example/callback"), "not one of its own"},
		"no challenge, so whoever has it":  {link("code_challenge", "", "code_challenge_method", ""), ""},
		"a challenge that is the secret":   {link("code_challenge_method", "plain"), ""},
		"the token in the link back":       {link("response_type", "token"), ""},
		"another client, nobody knows who": {link("client_id", "https://evil.example/client.json"), "cannot be made out"},
	} {
		status, page := ben.follows(k.link)
		if status == 200 || strings.Contains(ben.leads, "code=") || !strings.Contains(html.UnescapeString(page), k.says) {
			t.Errorf("%s: %d, leads to %q\n%s", name, status, ben.leads, page)
		}
	}
	// A page of the attacker's that clicks for the person; the attacker's own page's form, in the person's browser.
	_, page = ben.follows(link())
	yes := url.Values{"request": {hidden(page, "request")}, "decision": {"connect"}, "for": {"7d"}, "class-read": {"all"}, "class-delete": {"all"}}
	if status, _ := ben.sends("/oauth/authorize", "https://evil.example", yes); status != 403 || ben.leads != "" {
		t.Errorf("another site clicks: %d", status)
	}
	eve := h.person()
	_, hers := eve.follows(h.control + "/signin")
	eve.signsIn("eve", hers)
	if status, _ := eve.sends("/oauth/authorize", h.control, yes); status != 400 || eve.leads != "" {
		t.Errorf("ben's form in eve's browser: %d %q", status, eve.leads)
	}
	if res, err := ben.Get(link()); err != nil || res.Header.Get("X-Frame-Options") != "DENY" && !strings.Contains(res.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Error("the page can be put in a frame")
	} else {
		res.Body.Close()
	}
	// The person is talked into it all the same: to an identity of its own, for reading, as the page says.
	if status, page := ben.sends("/oauth/authorize", h.control, yes); status/100 == 4 {
		t.Fatalf("%d %s", status, page)
	}
	back, err := url.Parse(ben.leads)
	if err != nil || back.Query().Get("code") == "" || back.Query().Get("iss") != h.control {
		t.Fatal(ben.leads, err)
	}
	exchange := url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "code": {back.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1:50001/callback"}}
	for name, v := range map[string]string{"who saw the code": oauth2.GenerateVerifier(), "nobody's": ""} {
		exchange.Set("code_verifier", v)
		if status, said := h.ask(exchange); status != 400 {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
	exchange.Set("code_verifier", verifier)
	status, said := h.ask(exchange)
	var got struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(said), &got); err != nil || status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	use := func(method, upstream string) int {
		r, err := http.NewRequest(method, h.gate+"/"+upstream+"/records/7", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+got.Access)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	h.upstream("mail", "--consent", "ben")
	if read, drop, elsewhere := use("GET", "payroll"), use("DELETE", "payroll"), use("GET", "mail"); read != 200 || drop != 403 || elsewhere != 401 {
		t.Errorf("what it was given is not what the page said: %d %d %d", read, drop, elsewhere)
	}
	h.onRecord("consent.give", "ben")
	h.onRecord(`"records.get"`, "allowed", "payroll-sign-in-ben")
	h.do("kill", "payroll-sign-in-ben", "--reason", "ben was talked into it")
	if status := use("GET", "payroll"); status != 401 {
		t.Errorf("after the kill: %d", status)
	}
	// It is no way to more: what a client was given by a person is not exchanged for another resource.
	if status, said := h.ask(url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {client}, "subject_token": {got.Access},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {h.gate + "/mail"}}); status != 401 {
		t.Errorf("exchanged: %d %s", status, said)
	}
}

// TestDeviceCodeAndConsentPhishingByTasks: an agent of the attacker's asks ben to let it work in his name. What waits is of no use to it;
// it cannot say yes itself, nor have another's session or site do it; what a no ends stays ended; and ben ends what he was talked into.
func TestDeviceCodeAndConsentPhishingByTasks(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--consent", "ben")
	bot := h.agent("bot", "eve")
	h.do("grant", "put", "bot", "payroll", "--upstream", "payroll", "--action", "read", "--action", "write")
	ask := func(purpose string) (id string) {
		status, said := h.sends(bot, h.control, "POST", "/v1/tasks", `{"on":"ben","purpose":"`+purpose+`","scope":[{"upstream":"payroll","actions":["read","write"]}]}`)
		var k struct{ ID, State string }
		if err := json.Unmarshal([]byte(said), &k); err != nil || status != 200 || k.State != "waiting" {
			t.Fatalf("%d %s", status, said)
		}
		return k.ID
	}
	task := ask("IT support: confirm your mailbox")
	with := func(task string) *client.Source {
		return h.under(task, client.Config{Identity: id("bot"), KeyFile: filepath.Join(h.dir, "bot.key.jwk")})
	}
	useless := func(name string) {
		t.Helper()
		if status, said := h.call(with(task), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "waits for the yes of ben") {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
	useless("while it waits")
	for _, grant := range []string{"urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba"} {
		if status, said := h.ask(url.Values{"grant_type": {grant}, "device_code": {task}, "auth_req_id": {task}, "client_id": {id("bot")}}); status != 400 || !strings.Contains(said, "unsupported_grant_type") {
			t.Errorf("%s: %d %s", grant, status, said)
		}
	}
	for _, path := range []string{"/v1/tasks/" + task + "/approve", "/v1/tasks/" + task + "/open", "/v1/approvals/" + task + "/approve"} {
		if status, said := h.sends(bot, h.control, "POST", path, "{}"); status < 400 {
			t.Errorf("the agent opens it at %s: %d %s", path, status, said)
		}
	}
	if status, _ := h.sends(bot, h.control, "POST", "/approvals/"+task, "request=x&decision=allow", "Content-Type", "application/x-www-form-urlencoded"); status != 403 {
		t.Errorf("the agent's token on the page: %d", status)
	}
	useless("after it tried by itself")
	ben, eve := h.in("ben"), h.in("eve")
	_, page := ben.follows(h.control + "/approvals/" + task)
	if shown := html.UnescapeString(page); !strings.Contains(shown, "bot") || !strings.Contains(shown, "Eve Moran answers for") || !strings.Contains(shown, "(write)") || !strings.Contains(shown, "in your name: read.") {
		t.Errorf("the page does not say who asks and for what:\n%s", shown)
	}
	form := url.Values{"request": {hidden(page, "request")}, "decision": {"allow"}}
	if status, page := eve.follows(h.control + "/approvals/" + task); status != 404 || strings.Contains(page, "IT support") {
		t.Errorf("the owner of the agent sees it: %d %s", status, page)
	}
	for name, k := range map[string]struct {
		who    *person
		origin string
	}{"in eve's browser": {eve, h.control}, "another site clicks": {ben, "https://evil.example"}, "nobody": {h.person(), h.control}, "another session of ben's": {h.in("ben"), h.control}} {
		if status, said := k.who.sends("/approvals/"+task, k.origin, form); status < 400 {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
	useless("after others tried")
	h.onRecord("task.answer", "refused", task)
	if status, said := ben.decides(task, "deny"); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	if status, said := h.call(with(task), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "said no") {
		t.Errorf("after the no: %d %s", status, said)
	}
	if status, said := h.sends(bot, h.control, "POST", "/v1/tasks", `{"on":"ben","purpose":"Please, it is urgent","scope":[{"upstream":"payroll","actions":["read"]}]}`); status != 409 {
		t.Errorf("asked again in other words: %d %s", status, said)
	}
	if status, said := h.sends(bot, h.control, "POST", "/v1/tasks", `{"on":"eve","purpose":"p","scope":[{"upstream":"payroll","actions":["read"]}]}`); status < 400 {
		t.Errorf("somebody is asked who has nothing to give: %d %s", status, said)
	}
	if n, _ := payroll.reached(); n != 0 {
		t.Errorf("%d requests reached the payroll", n)
	}
	// Another of eve's agents has more luck: it reads, as far as ben himself may have it read, until he ends it.
	bot = h.agent("other", "eve")
	h.do("grant", "put", "other", "payroll", "--upstream", "payroll", "--action", "read", "--action", "write")
	task = ask("IT support: confirm your mailbox")
	if status, said := ben.decides(task, "allow"); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	lucky := h.under(task, client.Config{Identity: id("other"), KeyFile: filepath.Join(h.dir, "other.key.jwk")})
	read, _ := h.call(lucky, "payroll", "GET", "/records/7")
	write, said := h.call(lucky, "payroll", "PUT", "/records/7")
	if read != 200 || write != 403 || !strings.Contains(said, "ben, on whose behalf it is asked") {
		t.Errorf("%d %d %s", read, write, said)
	}
	h.onRecord("task.open", "owner:ben", task)
	h.onRecord(`"records.get"`, "allowed", id("other"), "spiffe://lanyard.local/person/ben")
	if status, said := ben.decides(task, "end"); status != 200 {
		t.Errorf("%d %s", status, said)
	}
	if status, said := h.call(lucky, "payroll", "GET", "/records/7"); status == 200 {
		t.Errorf("after ben ended it: %d %s", status, said)
	}
}
