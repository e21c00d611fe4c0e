package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// person is somebody with a browser.
type person struct {
	*plane
	http.Client
}

// signIn gives an owner a browser and a session.
func (p *plane) signIn(owner string) *person {
	p.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.Fatal(err)
	}
	b := &person{p, http.Client{Jar: jar}}
	if owner != "" {
		b.again(owner)
	}
	return b
}

func (b *person) again(owner string) {
	b.Helper()
	var made SignInCode
	if err := json.Unmarshal([]byte(b.must("POST", "/v1/owners/"+owner+"/sign-in", "")), &made); err != nil {
		b.Fatal(err)
	}
	status, page := b.send("/signin", url.Values{"code": {made.Code}})
	if status != 200 {
		b.Fatal(status, page)
	}
	for _, next := range []string{"/console/", "/approvals", "/accounts"} {
		if !strings.Contains(page, `<a href="`+next+`">`) {
			b.Errorf("who has signed in is not led to %s: %s", next, page)
		}
	}
}

func (b *person) read(res *http.Response, err error) (int, string) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return res.StatusCode, html.UnescapeString(string(page))
}

func (b *person) open(path string) (int, string) {
	b.Helper()
	return b.read(b.Get(b.network.URL + path))
}

func (b *person) send(path string, form url.Values, header ...string) (int, string) {
	b.Helper()
	r, err := http.NewRequest("POST", b.network.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return b.read(b.Do(r))
}

var formPattern = regexp.MustCompile(`name="request" value="([^"]*)"`)

// form is what the page of a question would send.
func (b *person) form(id, decision string, more ...string) url.Values {
	b.Helper()
	_, page := b.open("/approvals/" + id)
	m := formPattern.FindStringSubmatch(page)
	if m == nil {
		b.Fatalf("no form on\n%s", page)
	}
	f := url.Values{"request": {m[1]}, "decision": {decision}}
	for i := 0; i < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return f
}

func (b *person) decide(id, decision string, more ...string) (int, string) {
	b.Helper()
	return b.send("/approvals/"+id, b.form(id, decision, more...))
}

// asks makes the bot's sending need people's yes, and returns what a gateway asks about it.
func (p *plane) asks(words string, fresh time.Duration) func(body string) feed.Question {
	p.Helper()
	p.settle()
	for name, full := range map[string]string{"ben": "Ben Okafor", "kim": "Kim Sato"} {
		p.must("PUT", "/v1/owners/"+name, `{"name":"`+full+`","email":"`+name+`@example.com"}`)
	}
	grant := `{"upstream":"mail","actions":["m.send"],"approve":"` + words + `"`
	if fresh > 0 {
		grant += `,"fresh":"` + fresh.String() + `"`
	}
	p.must("PUT", "/v1/identities/bot/grants/send", grant+"}")
	a, err := policy.ParseApprove(words, "")
	if err != nil {
		p.Fatal(err)
	}
	a.Policy, a.Fresh = "bot/send", fresh
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	return func(body string) feed.Question {
		return feed.Question{Hash: feed.Key(body), Keys: feed.Keyed{Resource: feed.Key("r")}, Ask: &policy.Asking{Of: []policy.Approve{a}}, Chain: identity.Alone(bot, 0), Upstream: "mail", Method: "POST",
			Action: "m.send", Class: policy.Write, Resource: "m", Why: "This needs approval: grant bot/send asks for it.", Request: "r1", Source: "127.0.0.1",
			Shown: &feed.Shown{Target: "/m", Type: "application/json", Body: `{"text": "` + body + `", "raw": "U3ViamVjdDogSGVsbG8KCllvdXJzLCB0aGUgYm90"}`, Size: 10}}
	}
}

func (p *plane) put(q feed.Question) feed.Approval {
	p.Helper()
	a, err := p.Desk().Ask(p.Context(), q)
	if err != nil {
		p.Fatal(err)
	}
	return a
}

func (p *plane) state(id string) ApprovalView {
	p.Helper()
	var v ApprovalView
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/approvals/"+id, "")), &v); err != nil {
		p.Fatal(err)
	}
	return v
}

// refusedFor reports whether the newest event is a refused answer to a question, for a reason.
func (p *plane) refusedFor(reason string) bool {
	e := p.last()
	return e.Type == "approval.answer" && e.Outcome == ledger.Refused && strings.Contains(e.Reason, reason)
}

// TestApprovalEncoded: who decides is told when not all that is encoded is shown.
func TestApprovalEncoded(t *testing.T) {
	p := start(t)
	ask := p.asks("owner", 0)
	maya := p.signIn("maya")
	for n, more := range map[int]bool{20: false, 21: true} {
		q := ask(fmt.Sprint(n))
		q.Shown.Body = `["` + strings.Repeat(`U3ViamVjdDogSGVsbG8KCllvdXJzLCB0aGUgYm90","`, n) + `"]`
		if _, page := maya.open("/approvals/" + p.put(q).ID); strings.Count(page, "is encoded; it says") != 20 || strings.Contains(page, "There is more that is encoded and is not shown.") != more {
			t.Errorf("%d:\n%s", n, page)
		}
	}
}

// TestApprovalGoesTo: who decides sees whom it goes to, where the request does not say so itself, and nothing of that where it does.
func TestApprovalGoesTo(t *testing.T) {
	p := start(t)
	ask := p.asks("owner", 0)
	q, maya := ask("reply"), p.signIn("maya")
	if _, page := maya.open("/approvals/" + p.put(q).ID); strings.Contains(page, "Whom it goes to") {
		t.Errorf("nobody is named:\n%s", page)
	}
	q = ask("another")
	q.Shown.To = []string{"eve@evil.example", "<b>\u202e"}
	if _, page := maya.open("/approvals/" + p.put(q).ID); !strings.Contains(page, "Whom it goes to") || !strings.Contains(page, "<li>eve@evil.example</li>") || strings.Contains(page, "<b>\u202e") {
		t.Errorf("whom it goes to is not shown:\n%s", page)
	}
}

// TestApproval: a person sees exactly what would be done, says yes, and it can be done once.
func TestApproval(t *testing.T) {
	p := start(t)
	ask := p.asks("owner", 0)
	a := p.put(ask("hello \u202eolleh"))
	if again := p.put(ask("hello \u202eolleh")); again.ID != a.ID || a.Who != "Maya Lind" || a.State != feed.Waiting {
		t.Errorf("%+v, again %+v", a, again)
	}
	stranger := p.signIn("")
	if _, page := stranger.open("/approvals/" + a.ID); !strings.Contains(page, "Sign-in code") || strings.Contains(page, "hello") || !strings.Contains(page, `value="/approvals/`+a.ID+`"`) {
		t.Errorf("a stranger sees\n%s", page)
	}
	ben := p.signIn("ben")
	if status, page := ben.open("/approvals/" + a.ID); status != 404 || strings.Contains(page, "m.send") {
		t.Errorf("ben sees %d\n%s", status, page)
	}
	maya := p.signIn("maya")
	if _, page := maya.open("/approvals"); !strings.Contains(page, "/approvals/"+a.ID) || !strings.Contains(page, "m.send") || strings.Contains(page, "hello") {
		t.Errorf("maya's list\n%s", page)
	}
	_, page := maya.open("/approvals/" + a.ID)
	for _, want := range []string{"May bot do this?", "POST /m", `"text": "hello [U+202E]olleh"`, "Subject: Hello", "Yours, the bot", "grant bot/send asks for it", `@approve("owner")`, a.Hash, "not before", "Approve once"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q\n%s", want, page)
		}
	}
	if strings.Contains(page, "for this task") {
		t.Error("there is no task to approve it for")
	}
	if err := p.Desk().Use(t.Context(), a.ID, a.Hash, "r2"); !errors.Is(err, feed.ErrUsed) {
		t.Errorf("used before it was approved: %v", err)
	}
	form := maya.form(a.ID, "once", "note", "fine by me")
	if status, page := maya.send("/approvals/"+a.ID, form); status != 200 || !strings.Contains(page, "approved it once: fine by me") {
		t.Errorf("%d\n%s", status, page)
	}
	if status, page := maya.send("/approvals/"+a.ID, form); status != 400 || !strings.Contains(page, "sent already") || !p.refusedFor("sent already") {
		t.Errorf("the form sent twice: %d\n%s", status, page)
	}
	if got := p.put(ask("hello \u202eolleh")); got.ID != a.ID || got.State != feed.Approved {
		t.Errorf("asked again: %+v", got)
	}
	if err := p.Desk().Use(t.Context(), a.ID, feed.Key("other"), "r2"); !errors.Is(err, feed.ErrUsed) {
		t.Errorf("used for another request: %v", err)
	}
	var used atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if err := p.Desk().Use(t.Context(), a.ID, a.Hash, "r2"); err == nil {
				used.Add(1)
			} else if !errors.Is(err, feed.ErrUsed) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if used.Load() != 1 {
		t.Errorf("used %d times", used.Load())
	}
	if v := p.state(a.ID); v.State != feed.Used || len(v.Decisions) != 1 || v.Decisions[0].By != "maya" || v.Shown != nil {
		t.Errorf("%+v", v)
	}
	if next := p.put(ask("hello \u202eolleh")); next.ID == a.ID {
		t.Error("what was used is asked about no more")
	}
	found, err := p.Store.Search(t.Context(), ledger.Query{}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range found.Entries {
		kinds[e.Event.Type+" "+string(e.Event.Outcome)+" "+e.Event.Actor]++
		if strings.Contains(string(e.Leaf), "olleh") {
			t.Errorf("an event holds what the request holds: %s", e.Leaf)
		}
	}
	const bot = "spiffe://lanyard.local/agent/bot"
	if kinds["approval.ask allowed "+bot] != 2 || kinds["approval.approve allowed owner:maya"] != 1 || kinds["approval.use allowed lanyard"] != 1 {
		t.Errorf("on record: %v", kinds)
	}
}

// TestApprovalHostile: answers of those who may not give them, in ways that they may not be given.
func TestApprovalHostile(t *testing.T) {
	p := start(t)
	ask := p.asks("owner ben", 0)
	a, b, c := p.put(ask("a")), p.put(ask("b")), p.put(ask("c"))
	maya, ben, kim := p.signIn("maya"), p.signIn("ben"), p.signIn("kim")
	mayas := maya.form(a.ID, "once")
	for name, c := range map[string]struct {
		who    *person
		id     string
		form   url.Values
		header []string
		status int
		says   string
	}{
		"another's form":        {ben, a.ID, mayas, nil, 400, "not made for you"},
		"for another question":  {maya, b.ID, mayas, nil, 400, "another question"},
		"made up":               {maya, a.ID, url.Values{"request": {"AAAA"}, "decision": {"once"}}, nil, 400, "not made for you"},
		"without one":           {maya, a.ID, url.Values{"decision": {"once"}}, nil, 400, "not made for you"},
		"from another site":     {maya, a.ID, mayas, []string{"Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		"from another origin":   {maya, a.ID, mayas, []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, 403, "another site"},
		"by who is not asked":   {kim, a.ID, mayas, nil, 404, "other people"},
		"by nobody":             {p.signIn(""), a.ID, mayas, nil, 403, "Nobody is signed in"},
		"saying nothing":        {maya, b.ID, maya.form(b.ID, "maybe"), nil, 400, "does not say"},
		"for a task":            {maya, b.ID, maya.form(b.ID, "task"), nil, 409, "belongs to no task"},
		"with an end long past": {maya, a.ID, maya.form(a.ID, "lasting", "until", "2020-01-01"), nil, 409, "to end between"},
	} {
		before := p.Store.Size()
		status, page := c.who.send("/approvals/"+c.id, c.form, c.header...)
		if status != c.status || !strings.Contains(page, c.says) {
			t.Errorf("%s: %d\n%s", name, status, page)
		}
		if !strings.HasPrefix(name, "from another") && p.Store.Size() == before {
			t.Errorf("%s is not on record", name)
		}
	}
	for _, id := range []string{a.ID, b.ID} {
		if v := p.state(id); v.State != feed.Waiting || len(v.Decisions) != 0 {
			t.Fatalf("%+v", v)
		}
	}
	// An identity decides nothing, sees its own alone, and an operator only where one is named; anybody may be stopped by an operator.
	own := p.keyed("bot", p.URL)
	if status, answer := p.ask("POST", "/v1/approvals/"+a.ID+"/approve", "{}", "Authorization", "Bearer "+own); status != 401 {
		t.Errorf("the bot approves itself: %d %s", status, answer)
	}
	if status, answer := p.ask("GET", "/v1/approvals/"+a.ID, "", "Authorization", "Bearer "+own); status != 200 || strings.Contains(answer, `"shown"`) || !strings.Contains(answer, `"waiting"`) {
		t.Errorf("the bot's own: %d %s", status, answer)
	}
	p.must("PUT", "/v1/identities/cat", `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	if status, answer := p.ask("GET", "/v1/approvals/"+a.ID, "", "Authorization", "Bearer "+p.keyed("cat", p.URL)); status != 404 {
		t.Errorf("another's: %d %s", status, answer)
	}
	if status, answer := p.ask("POST", "/v1/approvals/"+a.ID+"/approve", "{}"); status != 403 || !strings.Contains(answer, "may not decide this") || !p.refusedFor("may not decide") {
		t.Errorf("an operator: %d %s", status, answer)
	}
	// Who leaves while the page is open decides nothing more; nor does a yes of theirs count any more.
	bens := ben.form(a.ID, "once")
	if status, page := ben.decide(b.ID, "once"); status != 200 {
		t.Errorf("ben: %d\n%s", status, page)
	}
	ben.decide(c.ID, "once")
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Okafor","email":"ben@example.com","gone":true}`)
	if status, page := ben.send("/approvals/"+a.ID, bens); status != 403 || !p.refusedFor("has left") {
		t.Errorf("ben has left: %d\n%s", status, page)
	}
	if err := p.Desk().Use(t.Context(), b.ID, b.Hash, "r"); !errors.Is(err, feed.ErrUsed) || p.state(b.ID).State != feed.Expired {
		t.Errorf("what ben approved, who has left: %v, %+v", err, p.last())
	}
	if again := p.put(ask("c")); again.ID == c.ID || again.State != feed.Waiting || p.state(c.ID).State != feed.Expired {
		t.Errorf("asked again after ben, who had approved it, left: %+v", again)
	}
	p.must("POST", "/v1/approvals/"+a.ID+"/deny", `{"note":"no"}`)
	if status, page := maya.send("/approvals/"+a.ID, mayas); status != 409 || !strings.Contains(page, "decided already") {
		t.Errorf("decided already: %d\n%s", status, page)
	}
}

// TestApprovalTwo: two different people have to say yes; the owner's team can be one of those named.
func TestApprovalTwo(t *testing.T) {
	p := start(t)
	ask := p.asks("2 of maya ben kim", 0)
	a := p.put(ask("a"))
	maya, ben, other := p.signIn("maya"), p.signIn("ben"), p.signIn("maya")
	twice := other.form(a.ID, "once")
	if status, page := maya.decide(a.ID, "lasting", "until", "7d"); status != 200 || strings.Contains(page, "Approve once") {
		t.Errorf("the first: %d\n%s", status, page)
	}
	if status, page := other.send("/approvals/"+a.ID, twice); status != 409 || !strings.Contains(page, "said yes already") || !p.refusedFor("said yes already") {
		t.Errorf("maya says yes twice: %d\n%s", status, page)
	}
	_, page := other.open("/approvals/" + a.ID)
	if formPattern.MatchString(page) || p.state(a.ID).State != feed.Waiting {
		t.Errorf("maya may say yes twice\n%s", page)
	}
	if status, _ := ben.decide(a.ID, "once"); status != 200 || p.state(a.ID).State != feed.Approved {
		t.Errorf("the second: %d %+v", status, p.state(a.ID))
	}
	if err := p.Desk().Use(t.Context(), a.ID, a.Hash, "r"); err != nil {
		t.Error(err)
	}
	if len(p.state(a.ID).Grant) > 0 {
		t.Error("ben agreed to one time, and there is a grant")
	}
	b := p.put(ask("b"))
	maya.decide(b.ID, "once")
	if status, _ := ben.decide(b.ID, "deny", "note", "no"); status != 200 || p.state(b.ID).State != feed.Denied {
		t.Errorf("one no: %d %+v", status, p.state(b.ID))
	}
	if got := p.put(ask("b")); got.State != feed.Denied || got.ID != b.ID || len(got.By) != 1 || got.By[0] != "ben" {
		t.Errorf("asked again after a no: %+v", got)
	}
	p.must("PUT", "/v1/owners/desk", `{"name":"The desk","email":"desk@example.com","team":true,"members":["kim","ben"]}`)
	p.must("PUT", "/v1/identities/bot/grants/send", `{"upstream":"mail","actions":["m.send"],"approve":"desk"}`)
	q := ask("c")
	q.Ask = &policy.Asking{Of: []policy.Approve{{Policy: "bot/send", Need: 1, Words: []string{"desk"}}}}
	c := p.put(q)
	if c.Who != "Kim Sato or Ben Okafor" {
		t.Errorf("a team is %q", c.Who)
	}
	if status, _ := maya.open("/approvals/" + c.ID); status != 404 {
		t.Errorf("maya is not of the team: %d", status)
	}
	if status, _ := ben.decide(c.ID, "kill"); status != 200 || p.state(c.ID).State != feed.Denied || !strings.Contains(p.must("GET", "/v1/identities/bot", ""), `"state":"killed"`) {
		t.Errorf("denied and killed: %d", status)
	}
}

// TestApprovalFresh: a yes counts only soon after signing in.
func TestApprovalFresh(t *testing.T) {
	p := start(t)
	ask := p.asks("owner", 5*time.Minute)
	a := p.put(ask("a"))
	maya := p.signIn("maya")
	p.ahead.Store(int64(6 * time.Minute))
	if status, page := maya.decide(a.ID, "once"); status != 403 || !strings.Contains(page, "sign in again") || !strings.Contains(page, `href="/signin?return=%2Fapprovals%2F`+a.ID) || !p.refusedFor("sign in again") {
		t.Errorf("six minutes after: %d\n%s", status, page)
	}
	maya.again("maya")
	if status, _ := maya.decide(a.ID, "once"); status != 200 || p.state(a.ID).State != feed.Approved {
		t.Errorf("signed in again: %d %+v", status, p.state(a.ID))
	}
	p.ahead.Store(int64(2 * time.Hour))
	if err := p.Desk().Use(t.Context(), a.ID, a.Hash, "r"); !errors.Is(err, feed.ErrUsed) {
		t.Errorf("an hour later: %v", err)
	}
	if _, err := p.registry.ExpireApprovals(t.Context()); err != nil || p.state(a.ID).State != feed.Expired || p.last().Type != "approval.expire" {
		t.Errorf("%v %+v", err, p.state(a.ID))
	}
	b := p.put(ask("b"))
	p.ahead.Store(int64(4 * time.Hour))
	maya = p.signIn("maya")
	if _, page := maya.open("/approvals/" + b.ID); formPattern.MatchString(page) || !strings.Contains(page, "expired") {
		t.Errorf("a question that has expired can be answered\n%s", page)
	}
}

// TestApprovalLasting: a lasting yes to what a grant asks is a grant, for exactly that; to what a guardrail asks, it stands.
func TestApprovalLasting(t *testing.T) {
	p := start(t)
	ask := p.asks("owner", 0)
	a := p.put(ask("a"))
	maya := p.signIn("maya")
	if status, page := maya.decide(a.ID, "lasting", "until", "7d"); status != 200 || !strings.Contains(page, "approved it until 30 November 2026") {
		t.Errorf("%d\n%s", status, page)
	}
	v := p.state(a.ID)
	if v.State != feed.Used || v.Grant == "" {
		t.Fatalf("%+v", v)
	}
	subject, _ := p.View.Subject(v.Identity)
	set, err := subject.Set()
	if err != nil {
		t.Fatal(err)
	}
	u, _ := p.View.Upstream("mail")
	call := policy.Call{Upstream: "mail", Action: "m.send", Class: policy.Write, Resource: "m"}
	if d := set.Decide(policy.Request{Call: call, Upstream: u, Now: p.Now()}); !d.Allow || d.Policies[0] != v.Grant {
		t.Errorf("%+v", d)
	}
	if d := set.Decide(policy.Request{Call: call, Upstream: u, Now: p.Now().AddDate(0, 0, 8)}); d.Allow || d.Ask == nil {
		t.Errorf("after its end: %+v", d)
	}
	if call.Resource = "m/1"; set.Decide(policy.Request{Call: call, Upstream: u, Now: p.Now()}).Allow {
		t.Error("it covers another resource")
	}
	q := ask("b")
	q.Ask = &policy.Asking{Of: []policy.Approve{{Policy: "rail", Guardrail: true, Need: 1, Words: []string{"owner"}}}}
	b := p.put(q)
	maya.decide(b.ID, "lasting", "until", "7d")
	if got, ok := p.View.Approval(q.Keys.Resource); !ok || got.ID != b.ID || got.State != feed.Standing || p.View.Good(got, q.Ask, p.Now().AddDate(0, 0, 6)) != nil || p.View.Good(got, q.Ask, p.Now().AddDate(0, 0, 8)) == nil {
		t.Errorf("%+v", got)
	}
}

// TestAnswerStill: who may answer as an operator is asked in the transaction that takes the answer, too.
func TestAnswerStill(t *testing.T) {
	p := start(t)
	ask := p.asks("operator", 0)
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Okafor","email":"ben@example.com","roles":["operator"]}`)
	a := p.put(ask("x"))
	in := &namedBody[ApproveInput]{Caller: Caller{Session: p.begin("ben")}, Name: a.ID}
	if err := p.admit(t.Context(), &huma.Operation{OperationID: "approve", Path: "/v1/approvals/{name}/approve"}, in); err != nil {
		t.Fatal(err)
	}
	as, err := p.approver(t.Context(), &in.Caller, a.ID)
	if err != nil || as.Operator == "" {
		t.Fatal(as, err)
	}
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Okafor","email":"ben@example.com","roles":[]}`)
	if _, _, err := p.registry.Answer(t.Context(), as, "", registry.Answer{Approval: a.ID, Yes: true}); err == nil || p.state(a.ID).State != feed.Waiting {
		t.Errorf("ben, who is no operator any more, approved it: %v", err)
	}
}
