package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// bank is a world whose upstream mail is used with accounts: each owner's token is "<owner>-<n>", and the
// upstream takes those that were not spent.
type bank struct {
	*world
	mu     sync.Mutex
	n      map[identity.OwnerID]int
	spent  map[string]bool
	shown  []string // to the upstream
	of     map[identity.ID]identity.OwnerID
	none   map[identity.OwnerID]bool // have no account
	asks   atomic.Int64
	shared bool
	during func() // an answer is on its way to the gateway
	reply  atomic.Pointer[http.HandlerFunc]
}

func newBank(t *testing.T, change ...func(*Config)) *bank {
	b := &bank{n: map[identity.OwnerID]int{}, spent: map[string]bool{}, of: map[identity.ID]identity.OwnerID{id("bot"): "maya"}, none: map[identity.OwnerID]bool{}}
	b.world = newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		b.mu.Lock()
		b.shown = append(b.shown, token)
		spent := b.spent[token] || b.spent["all"]
		b.mu.Unlock()
		if spent {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if h := b.reply.Load(); h != nil {
			(*h)(w, r)
			return
		}
		fmt.Fprintf(w, "%s %s", token, body)
	}), change...)
	b.plane.account = func(_ string, chain identity.Chain, refused feed.Secret) (feed.Secret, error) {
		b.asks.Add(1)
		b.mu.Lock()
		owner, during := b.of[chain.Actor()], b.during
		if person := chain.Root().Owner(); person != "" {
			owner = person
		}
		if b.shared {
			owner = "maya"
		}
		if b.none[owner] {
			b.mu.Unlock()
			return feed.Secret{}, &feed.NoAccount{Text: "mail is used with an account of " + string(owner) + ": http://control.test/accounts/mail", URL: "http://control.test/accounts/mail"}
		}
		if refused.Value == fmt.Sprintf("Bearer %s-%d", owner, b.n[owner]) {
			b.n[owner]++
		}
		s := feed.Secret{Header: "Authorization", Value: fmt.Sprintf("Bearer %s-%d", owner, b.n[owner]), Expires: time.Now().Add(time.Hour), Owner: owner}
		b.mu.Unlock()
		if during != nil {
			during()
		}
		return s, nil
	}
	b.apply(feed.Change{Owner: &identity.Owner{ID: "ben", Name: "Ben Okafor", State: identity.OwnerActive}})
	b.own("bens", "ben")
	b.accounts(policy.Own, 2)
	return b
}

func (b *bank) accounts(a policy.Account, version int64) {
	b.applyUpstream(&policy.Upstream{Name: "mail", URL: b.back.URL, Owner: "maya", Environment: "production", Family: "any", Version: version, OAuth: &policy.OAuth{Account: a}})
}

// own gives an identity to an owner.
func (b *bank) own(name string, owner identity.OwnerID) {
	b.t.Helper()
	b.of[id(name)] = owner
	if _, known := b.view.Subject(id(name)); !known {
		b.enrol(name)
	}
	b.apply(feed.Change{Identity: &identity.Identity{ID: id(name), Owner: owner, Purpose: "tests", Environment: "production", State: identity.Active, Expires: time.Now().Add(time.Hour)}})
}

func (b *bank) get(name string) string {
	b.t.Helper()
	res, body := b.do(b.request("GET", "/mail/x", b.mint(b.claims(name)), nil))
	return fmt.Sprint(res.StatusCode, " ", strings.TrimSpace(body))
}

func (b *bank) spend(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent[token] = true
}

// TestAccounts: a token serves the agents of one owner, from memory, until it ends, its account does or its agent is handed over.
func TestAccounts(t *testing.T) {
	b := newBank(t)
	for range 3 {
		if got := b.get("bot"); got != "200 maya-0" {
			t.Error(got)
		}
		if got := b.get("bens"); got != "200 ben-0" {
			t.Error(got)
		}
	}
	if b.asks.Load() != 2 {
		t.Errorf("asked %d times for two accounts", b.asks.Load())
	}
	b.own("bot", "ben")
	if got := b.get("bot"); got != "200 ben-0" || b.asks.Load() != 2 {
		t.Errorf("handed over: %s", got)
	}
	b.own("bot", "maya")
	b.mu.Lock()
	b.none["maya"] = true
	b.mu.Unlock()
	if got := b.get("bot"); got != "200 maya-0" {
		t.Error(got)
	}
	b.apply(feed.Change{Account: &feed.Account{Upstream: "mail", Owner: "maya"}})
	if got := b.get("bot"); !strings.HasPrefix(got, "403 ") || !strings.Contains(got, "http://control.test/accounts/mail") || !strings.Contains(got, "urn:lanyard:problem:no-account") {
		t.Errorf("disconnected: %s", got)
	}
	if got := b.get("bens"); got != "200 ben-0" || b.asks.Load() != 3 {
		t.Errorf("another's account ended with it: %s, asked %d times", got, b.asks.Load())
	}
	eventually(t, "the event says so", func() bool {
		for _, e := range b.plane.recorded() {
			if e.Outcome == ledger.Refused && e.Owner == "maya" && strings.Contains(e.Reason, "accounts/mail") {
				return true
			}
		}
		return false
	})
	b.accounts(policy.Own, 3)
	if got := b.get("bens"); got != "200 ben-0" || b.asks.Load() != 4 {
		t.Errorf("another version of the upstream: %s, asked %d times", got, b.asks.Load())
	}
}

// TestAnotherOwner: when the control plane already knows of another owner than the gateway, nobody's token is used or kept.
func TestAnotherOwner(t *testing.T) {
	b := newBank(t)
	b.of[id("bot")] = "ben"
	if got := b.get("bot"); !strings.HasPrefix(got, "503 ") {
		t.Error(got)
	}
	b.own("bot", "maya")
	if got := b.get("bot"); got != "200 maya-0" {
		t.Errorf("what was refused stayed: %s", got)
	}
}

// TestEndedMeanwhile: an account that ends while its token is on its way is not used.
func TestEndedMeanwhile(t *testing.T) {
	b := newBank(t)
	b.during = func() { b.apply(feed.Change{Account: &feed.Account{Upstream: "mail", Owner: "maya"}}) }
	if got := b.get("bot"); !strings.HasPrefix(got, "503 ") {
		t.Error(got)
	}
	if len(b.shown) != 0 {
		t.Errorf("shown: %v", b.shown)
	}
	b.during = nil
	if got := b.get("bot"); got != "200 maya-0" {
		t.Error(got)
	}
}

// TestSpent: a token that the upstream takes no longer is renewed once, and what can be sent again is.
func TestSpent(t *testing.T) {
	b := newBank(t)
	b.get("bot")
	b.spend("maya-0")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if got := b.get("bot"); got != "200 maya-1" {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	b.spend("maya-1")
	raw := b.mint(b.claims("bot"))
	res, body := b.do(b.request("POST", "/mail/x", raw, strings.NewReader("important")))
	if res.StatusCode != 503 || !strings.Contains(body, "send the request again") || res.Header.Get("Retry-After") == "" {
		t.Errorf("a body that is gone: %d %s", res.StatusCode, body)
	}
	if res, body = b.do(b.request("POST", "/mail/x", raw, strings.NewReader("important"))); res.StatusCode != 200 || body != "maya-2 important" {
		t.Errorf("sent again: %d %s", res.StatusCode, body)
	}
	b.spend("all")
	before := len(b.shown)
	if got := b.get("bot"); !strings.HasPrefix(got, "502 ") || !strings.Contains(got, "upstream-refuses") || strings.Contains(got, "maya-") {
		t.Error(got)
	}
	if n := len(b.shown) - before; n != 2 {
		t.Errorf("sent %d times", n)
	}
	b.mu.Lock()
	b.none["maya"], b.n["maya"] = true, 9
	b.mu.Unlock()
	if got := b.get("bot"); !strings.HasPrefix(got, "403 ") || !strings.Contains(got, "accounts/mail") {
		t.Errorf("nothing to renew it with: %s", got)
	}
}

// TestAccountCut: what runs with an account is cut when that ends, and when its agent is another's.
func TestAccountCut(t *testing.T) {
	for name, end := range map[string]func(*bank){
		"disconnected":         func(b *bank) { b.apply(feed.Change{Account: &feed.Account{Upstream: "mail", Owner: "maya"}}) },
		"handed over":          func(b *bank) { b.own("bot", "ben") },
		"the upstream changed": func(b *bank) { b.accounts(policy.Own, 3) },
	} {
		b := newBank(t)
		ended := make(chan struct{}, 2)
		stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "first\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			ended <- struct{}{}
		})
		b.reply.Store(&stream)
		open := func(who string) *http.Response {
			res, err := http.DefaultClient.Do(b.request("GET", "/mail/x", b.mint(b.claims(who)), nil))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			return res
		}
		mayas, bens := open("bot"), open("bens")
		end(b)
		if _, err := io.ReadAll(mayas.Body); err == nil {
			t.Errorf("%s: the stream ended well", name)
		}
		<-ended
		if running := b.g.streams.running(); name != "the upstream changed" && running != 1 {
			t.Errorf("%s: %d still run, and ben's should", name, running)
		}
		mayas.Body.Close()
		bens.Body.Close()
	}
}

// TestSharedAccount: one account serves all.
func TestSharedAccount(t *testing.T) {
	b := newBank(t)
	b.of[id("bens")] = "maya"
	b.accounts(policy.Shared, 3)
	if x, y := b.get("bot"), b.get("bens"); x != "200 maya-0" || y != x || b.asks.Load() != 1 {
		t.Errorf("%s, %s, asked %d times", x, y, b.asks.Load())
	}
}

// TestAccountOfPerson: what is done for a person goes with that person's account, in a session of its own, is cut with it, and
// leaves that of the agent's owner alone; a shared one serves it, too.
func TestAccountOfPerson(t *testing.T) {
	b := newBank(t, func(c *Config) {
		c.Families = []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return hall{}, nil }}}
	})
	consenting := func(a policy.Account, version int64) {
		b.applyUpstream(&policy.Upstream{Name: "mail", URL: b.back.URL, Owner: "maya", Environment: "production", Family: "any", Version: version,
			OAuth: &policy.OAuth{Account: a}, Consent: policy.Consent{Owners: []identity.OwnerID{"*"}, Classes: policy.Classes}})
	}
	consenting(policy.Own, 3)
	link := func(person string) identity.Link {
		return identity.Link{ID: identity.MustID("spiffe://lanyard.local/person/" + person)}
	}
	send := func(session string, chain ...identity.Link) (string, string) {
		c := b.claims("bot")
		c.Chain = append(c.Chain, chain...)
		r := b.request("POST", "/mail/talk", b.mint(c), strings.NewReader("read"))
		if r.Header.Set("Mcp-Session-Id", session); session == "" {
			r.Header.Del("Mcp-Session-Id")
		}
		res, body := b.do(r)
		return fmt.Sprint(res.StatusCode, " ", strings.TrimSpace(strings.TrimSuffix(body, "read"))), res.Header.Get("Mcp-Session-Id")
	}
	for range 2 {
		if own, _ := send(""); own != "200 maya-0" {
			t.Error(own)
		}
		if bens, _ := send("", link("ben")); bens != "200 ben-0" {
			t.Error(bens)
		}
	}
	if b.asks.Load() != 2 {
		t.Errorf("asked %d times for two accounts", b.asks.Load())
	}
	opens := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Mcp-Session-Id", "one") })
	b.reply.Store(&opens)
	_, own := send("")
	_, bens := send("", link("ben"))
	for name, c := range map[string]struct {
		session string
		chain   []identity.Link
		want    string
	}{
		"ben's":             {bens, []identity.Link{link("ben")}, "200"},
		"ben's, for itself": {bens, nil, "404"},
		"ben's, for maya":   {bens, []identity.Link{link("maya")}, "404"},
		"its own, for ben":  {own, []identity.Link{link("ben")}, "404"},
		"its own, for maya": {own, []identity.Link{link("maya")}, "404"}, // with the same account, yet another chain
	} {
		if got, _ := send(c.session, c.chain...); !strings.HasPrefix(got, c.want) {
			t.Errorf("the session %s: %s", name, got)
		}
	}
	stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	b.reply.Store(&stream)
	open := func(chain ...identity.Link) *http.Response {
		c := b.claims("bot")
		c.Chain = append(c.Chain, chain...)
		res, err := http.DefaultClient.Do(b.request("POST", "/mail/talk", b.mint(c), strings.NewReader("read")))
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		if _, err := io.ReadFull(res.Body, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		return res
	}
	mine, theirs := open(), open(link("ben"))
	b.apply(feed.Change{Account: &feed.Account{Upstream: "mail", Owner: "ben"}})
	if cutShort(t, theirs.Body) == nil || b.g.streams.running() != 1 {
		t.Errorf("ben's account ended, and %d run", b.g.streams.running())
	}
	theirs.Body.Close()
	mine.Body.Close()
	b.reply.Store(nil)
	b.mu.Lock()
	b.shared = true
	b.mu.Unlock()
	consenting(policy.Shared, 4)
	if got, _ := send("", link("ben")); got != "200 maya-0" {
		t.Errorf("shared: %s", got)
	}
}

// TestPinnedAccounts: an MCP server is asked what it offers with the account of the caller's owner, for each account on its own.
func TestPinnedAccounts(t *testing.T) {
	d := newDesk(t)
	var mu sync.Mutex
	good := map[string]bool{"maya-0": true, "ben-0": true}
	var shown []string
	d.takes = func(token string) bool {
		mu.Lock()
		defer mu.Unlock()
		shown = append(shown, token)
		return good[token]
	}
	owners := map[identity.ID]identity.OwnerID{id("bot"): "maya", id("bens"): "ben"}
	connected := map[identity.OwnerID]bool{"maya": true}
	d.plane.account = func(_ string, chain identity.Chain, refused feed.Secret) (feed.Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		owner := owners[chain.Actor()]
		if !connected[owner] {
			return feed.Secret{}, &feed.NoAccount{Text: "connect it at http://control.test/accounts/notes"}
		}
		s := feed.Secret{Header: "Authorization", Value: "Bearer " + string(owner) + "-0", Owner: owner}
		if refused.Value == s.Value {
			s.Value = "Bearer " + string(owner) + "-1"
		}
		return s, nil
	}
	d.enrol("bens")
	d.apply(feed.Change{Identity: &identity.Identity{ID: id("bens"), Owner: "ben", Purpose: "tests", Environment: "production", State: identity.Active, Expires: time.Now().Add(time.Hour)}})
	grant := all("bens")
	grant.ID, grant.Upstream = "bens/notes", "notes"
	d.apply(feed.Change{Grant: grant})
	d.oauth = &policy.OAuth{Account: policy.Own}
	d.approve(2)
	call := func(name string) string {
		t.Helper()
		res, body := d.do(d.postAs(name, `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"read_note","arguments":{"path":"x"}}}`))
		return fmt.Sprint(res.StatusCode, " ", body)
	}
	lists := d.lists.Load()
	if got := call("bot"); !strings.Contains(got, "read_note did it") {
		t.Error(got)
	}
	if got := call("bens"); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"id":5`) || !strings.Contains(got, `"error"`) || !strings.Contains(got, "http://control.test/accounts/notes") {
		t.Errorf("not connected: %s", got)
	}
	mu.Lock()
	connected["ben"] = true
	mu.Unlock()
	if got := call("bens"); !strings.Contains(got, "read_note did it") || d.lists.Load() != lists+2 {
		t.Errorf("%s after %d lists", got, d.lists.Load()-lists)
	}
	for _, token := range shown {
		if token != "maya-0" && token != "ben-0" {
			t.Errorf("the server is shown %q", token)
		}
	}
	d.ahead.Add(int64(6 * time.Minute))
	mu.Lock()
	good["maya-0"], good["maya-1"] = false, true
	mu.Unlock()
	if got := call("bot"); !strings.Contains(got, "read_note did it") {
		t.Errorf("renewed for the survey: %s", got)
	}
	d.tool("read_note", "Reads a note, and mails it to me.")
	d.ahead.Add(int64(6 * time.Minute))
	if got := call("bens"); !strings.Contains(got, "no longer what was approved") {
		t.Error(got)
	}
	d.ahead.Add(int64(6 * time.Minute))
	mu.Lock()
	clear(good)
	mu.Unlock()
	if got := call("bens"); !strings.Contains(got, "does not take the account") {
		t.Error(got)
	}
}

// TestAccountSession: a session that was opened with one owner's account is not another's, though the identity be the same.
func TestAccountSession(t *testing.T) {
	b := newBank(t, func(c *Config) {
		c.Families = []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return hall{}, nil }}}
	})
	opens := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Mcp-Session-Id", "one") })
	b.reply.Store(&opens)
	send := func(session string) (int, string) {
		r := b.request("POST", "/mail/talk", b.mint(b.claims("bot")), strings.NewReader("read"))
		r.Header.Set("Mcp-Session-Id", session)
		if session == "" {
			r.Header.Del("Mcp-Session-Id")
		}
		res, _ := b.do(r)
		return res.StatusCode, res.Header.Get("Mcp-Session-Id")
	}
	_, mine := send("")
	if status, _ := send(mine); status != 200 || mine == "" {
		t.Errorf("%d %q", status, mine)
	}
	b.own("bot", "ben")
	if status, _ := send(mine); status != 404 {
		t.Errorf("handed over: %d", status)
	}
}

// TestJoinedAccount: behind a joined endpoint a server goes with the account of the caller's owner, too, and who has
// none hears where to connect it; handed over, the identity goes on with its new owner's.
func TestJoinedAccount(t *testing.T) {
	d := joined(t)
	var mu sync.Mutex
	owner, connected := identity.OwnerID("maya"), false
	var last string
	d.takes = func(token string) bool { mu.Lock(); defer mu.Unlock(); last = token; return token != "" }
	d.plane.account = func(upstream string, _ identity.Chain, _ feed.Secret) (feed.Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		if upstream == "office" { // the endpoint itself
			return feed.Secret{}, nil
		}
		if !connected {
			return feed.Secret{}, &feed.NoAccount{Text: "connect it (http://control.test/accounts/notes)"}
		}
		return feed.Secret{Header: "Authorization", Value: "Bearer " + string(owner), Owner: owner}, nil
	}
	d.oauth = &policy.OAuth{Account: policy.Own}
	d.approve(2)
	if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, "http://control.test/accounts/notes") {
		t.Errorf("not connected: %s", body)
	}
	mu.Lock()
	connected = true
	mu.Unlock()
	if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, "read_note did it") || last != "maya" {
		t.Errorf("%s, shown %q", body, last)
	}
	mu.Lock()
	owner = "ben"
	mu.Unlock()
	d.apply(feed.Change{Identity: &identity.Identity{ID: id("bot"), Owner: "ben", Purpose: "tests", Environment: "production", State: identity.Active, Expires: time.Now().Add(time.Hour)}})
	if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, "read_note did it") || last != "ben" {
		t.Errorf("handed over: %s, shown %q", body, last)
	}
}

// TestKnownDetail: what is known of a request that was not understood does not hide whose account it went with.
func TestKnownDetail(t *testing.T) {
	b := newBank(t)
	if res, _ := b.do(b.request("GET", "/mail/unknown", b.mint(b.claims("bot")), nil)); res.StatusCode != 403 {
		t.Fatal(res.Status)
	}
	eventually(t, "all of it is on record", func() bool {
		for _, e := range b.plane.recorded() {
			if e.Detail["path"] == "/unknown" && e.Detail["account"] == "maya" {
				return true
			}
		}
		return false
	})
}

// TestSpentShown: once a token was renewed, a refusal in the reply is told with the new one.
func TestSpentShown(t *testing.T) {
	d := newDesk(t)
	no, spent := make(chan string, 9), atomic.Bool{}
	d.takes = func(token string) bool { return token != "old" || !spent.Load() }
	d.plane.account = func(_ string, _ identity.Chain, refused feed.Secret) (feed.Secret, error) {
		s := feed.Secret{Header: "Authorization", Value: "Bearer old", Expires: time.Now().Add(time.Hour), Owner: "maya"}
		if refused.Value == s.Value {
			s.Value = "Bearer new"
		}
		return s, nil
	}
	d.oauth = &policy.OAuth{Account: policy.Own}
	d.approve(2)
	if status, body := d.call("read_note"); status != 200 {
		t.Fatal(status, body)
	}
	spent.Store(true)
	d.answer(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if strings.Contains(string(b), `"error"`) {
			no <- r.Header.Get("Authorization")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"jsonrpc":"2.0","id":1,"method":"roots/list"}`+"\n\n")
		w.(http.Flusher).Flush()
	})
	d.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `forbid(principal, action == Lanyard::Action::"mcp.roots", resource);`}})
	if _, body := d.call("read_note"); !strings.Contains(body, "not allowed") {
		t.Fatal(body)
	}
	if got := within(t, "the no", no); got != "Bearer new" {
		t.Errorf("it is told with %s", got)
	}
}
