package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// crowd is the office with more of others around what is maya's: an owner and a bot whose names stand nowhere else, on an upstream of their own.
func crowd(p *plane) {
	p.Helper()
	office(p)
	for _, put := range [][2]string{
		{"owners/aaron", `{"name":"Aaron Hush","email":"aaron@hush.example"}`}, {"owners/nora", `{"name":"Nora Hush","email":"nora@hush.example"}`}, {"owners/zoe", `{"name":"Zoe Hush","email":"zoe@hush.example"}`},
		{"upstreams/hushed", `{"url":"http://127.0.0.1:1","owner":"nora","family":"patterns","description":"GET /s -> h.peek read /s"}`},
		{"identities/hush-bot", `{"kind":"agent","owner":"nora","purpose":"Hushes"}`}, {"identities/hush-bot/grants/peek", `{"upstream":"hushed","actions":["read"]}`},
		{"upstreams/files", `{"url":"http://127.0.0.1:1","owner":"ben","family":"patterns","description":"GET /f -> f.read read /f","agent":"hush-bot","consent":{"owners":["nora","maya"]}}`},
	} {
		p.must("PUT", "/v1/"+put[0], put[1])
	}
	for n, upstream := range []string{"files", "hushed", "files"} {
		const domain = "spiffe://lanyard.local/"
		e := ledger.Event{ID: fmt.Sprintf("evt_crowd%d", n), Time: p.Now(), Type: "request", Outcome: ledger.Allowed, Actor: domain + "agent/mayas", Owner: "maya", Upstream: upstream, Action: "f.read", Class: "read", Resource: "/f",
			Chain: []string{domain + "agent/mayas", domain + "agent/hush-bot", domain + "person/nora"}}
		if n == 2 {
			e.Chain = e.Chain[:1]
		}
		if err := p.Store.Record(p.Context(), []ledger.Event{e}); err != nil {
			p.Fatal(err)
		}
		p.tally.add(e)
	}
}

// Whatever an owner asks, the answer has no name of what is another's, and is the same as if that were not there.
func TestOwnersLearnOfNobodyElse(t *testing.T) {
	p := start(t)
	crowd(p)
	maya := p.begin("maya")
	for _, path := range []string{"owners", "owners?limit=1", "owners?limit=1&after=billing", "owners?limit=2&after=m", "identities", "identities?limit=1", "identities?sort=-owner&limit=1", "identities?q=hush", "identities?query=hush", "identities?owner=nora", "identities?needs=unused",
		"upstreams", "upstreams/files", "upstreams/files/actions", "upstreams/files/description", "schema", "home", "identities/mayas", "identities/mayas/tree", "identities/mayas/graph", "identities/mayas/stops",
		"tasks", "tasks?limit=1", "approvals", "ledger/events?owner=nora", "ledger/events?text=peek", "ledger/events?upstream=hushed&type=upstream", "me", "guardrails"} {
		if status, answer := p.visit(maya, "GET", "/v1/"+path, ""); status != 200 || strings.Contains(strings.ToLower(answer), "hush") && !strings.Contains(path, "hush") || strings.Contains(answer, "nora") || strings.Contains(answer, "aaron") {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	for name, test := range map[string]struct{ method, path, body string }{ // %s is what is there and another's, and then what is not
		"a parent":                  {"GET", "identities?parent=%s", ""},
		"tasks of":                  {"GET", "tasks?identity=%s", ""},
		"a credential of":           {"POST", "identities/%s/credentials", `{"api_key":true}`},
		"a grant of":                {"DELETE", "identities/%s/grants/peek", ""},
		"a grant to revoke":         {"POST", "revoke", `{"grant":"%s/peek","reason":"x"}`},
		"the graph":                 {"GET", "identities/%s/graph", ""},
		"what stops":                {"GET", "identities/%s/stops", ""},
		"explained":                 {"POST", "explain", `{"identity":"%s","upstream":"files","action":"f.read"}`},
		"explained behind":          {"POST", "explain", `{"as":["mayas","%s"],"upstream":"files","action":"f.read"}`},
		"what if without":           {"POST", "what-if", `{"grants":[{"identity":"%s","id":"peek","removed":true}]}`},
		"many":                      {"POST", "identities/bulk", `{"do":"suspend","identities":["%s"],"reason":"x"}`},
		"handed over":               {"POST", "identities/bulk", `{"do":"transfer","identities":["%s"],"owner":"maya","reason":"x"}`},
		"the cord":                  {"POST", "kill", `{"identity":"%s","reason":"x"}`},
		"a task":                    {"POST", "tasks", `{"identity":"%s","purpose":"x","scope":[{"upstream":"files","actions":["read"]}]}`},
		"a grant on what is none's": {"PUT", "identities/%s/grants/more", `{"upstream":"hushed","actions":["read"]}`},
	} {
		say := func(word string) string {
			status, answer := p.visit(maya, test.method, "/v1/"+strings.Replace(test.path, "%s", word, 1), strings.Replace(test.body, "%s", word, 1))
			return fmt.Sprint(status, strings.ReplaceAll(answer, word, "IT"))
		}
		if there, not := say("hush-bot"), say("no-bot"); there != not || !strings.Contains(there, "there is no") || strings.Contains(there, "nora") {
			t.Errorf("%s:\n%s\n%s", name, there, not)
		}
	}
	for name, test := range map[string]struct{ method, path, body string }{ // the same of upstreams
		"explained":       {"POST", "explain", `{"identity":"mayas","upstream":"%s","action":"h.peek"}`},
		"explained path":  {"POST", "explain", `{"identity":"mayas","upstream":"%s","method":"GET","path":"/s"}`},
		"what if on":      {"POST", "what-if", `{"grants":[{"identity":"mayas","id":"more","upstream":"%s","actions":["h.peek"]}]}`},
		"a task":          {"POST", "tasks", `{"identity":"mayas","purpose":"x","scope":[{"upstream":"%s","actions":["read"]}]}`},
		"a grant":         {"PUT", "identities/mayas/grants/more", `{"upstream":"%s","actions":["read"]}`},
		"accounts":        {"GET", "upstreams/%s/accounts", ""},
		"an account":      {"DELETE", "upstreams/%s/accounts/maya", ""},
		"the cord":        {"POST", "kill", `{"upstream":"%s","reason":"x"}`},
		"what it offers":  {"GET", "upstreams/%s/offer", ""},
		"what if railed":  {"POST", "what-if", `{"guardrails":[{"id":"g","cedar":"forbid(principal, action, resource in Lanyard::Upstream::\"%s\");"}]}`},
		"what if guarded": {"POST", "what-if", `{"guardrails":[{"id":"g","cedar":"forbid(principal, action == Lanyard::Action::\"%s/h.peek\", resource);"}]}`},
	} {
		say := func(word string) string {
			status, answer := p.visit(maya, test.method, "/v1/"+strings.Replace(test.path, "%s", word, 1), strings.Replace(test.body, "%s", word, 1))
			return fmt.Sprint(status, strings.ReplaceAll(answer, word, "IT"))
		}
		if there, not := say("hushed"), say("no-such"); there != not || strings.Contains(there, "nora") || strings.Contains(there, "Nora") {
			t.Errorf("%s:\n%s\n%s", name, there, not)
		}
	}
	if status, answer := p.visit(maya, "PUT", "/v1/identities/hush-bot/grants/peek", `{"upstream":"mail","actions":["read"]}`); status != 404 || strings.Contains(answer, "hushed") || strings.Contains(answer, "upstream") {
		t.Errorf("in place of a grant that another gave: %d %s", status, answer)
	}
	p.must("PUT", "/v1/identities/hush-old", `{"kind":"agent","owner":"nora","purpose":"Hushed"}`)
	p.must("POST", "/v1/identities/hush-old/retire", `{}`)
	if status, answer := p.visit(maya, "PUT", "/v1/identities/hush-old/grants/more", `{"upstream":"mail","actions":["read"]}`); status != 404 || strings.Contains(answer, "retired") {
		t.Errorf("a grant for who is another's, and retired: %d %s", status, answer)
	}
	if status, answer := p.visit(maya, "PUT", "/v1/identities/hush-bot/grants/more", `{"upstream":"mail","actions":["read"],"until":"2027-11-01"}`); status != 422 || strings.Contains(answer, "2027-02") {
		t.Errorf("a grant for longer than another's identity lasts: %d %s", status, answer)
	}
	if status, answer := p.visit(maya, "PUT", "/v1/identities/hush-bot/grants/more", `{"upstream":"mail","actions":["read"]}`); status != 200 {
		t.Errorf("a grant on one's own upstream: %d %s", status, answer)
	}
	var graph Graph
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities/mayas/graph", "")), &graph); err != nil || !strings.Contains(fmt.Sprint(graph), "hush-bot") {
		t.Errorf("an operator sees whom it acted for: %v %v", graph, err)
	}
}

// A key is another's, it is said, and not whose; the credential of another is as none.
func TestAnothersKeyIsNotNamed(t *testing.T) {
	p := start(t)
	crowd(p)
	p.must("POST", "/v1/identities/hush-bot/credentials", `{"public_key":`+key+`}`)
	var there IdentityView
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities/hush-bot", "")), &there); err != nil || len(there.Credentials) != 1 {
		t.Fatal(err, there.Credentials)
	}
	maya := p.begin("maya")
	add := func() {
		t.Helper()
		if status, answer := p.visit(maya, "POST", "/v1/identities/mayas/credentials", `{"public_key":`+key+`}`); status != 422 || strings.Contains(answer, "hush") || strings.Contains(answer, there.Credentials[0].ID) {
			t.Errorf("a key that is taken: %d %s", status, answer)
		}
	}
	add()
	if status, answer := p.visit(maya, "POST", "/v1/revoke", `{"credential":"`+there.Credentials[0].ID+`","reason":"x"}`); status != 404 || strings.Contains(answer, "hush") {
		t.Errorf("another's credential: %d %s", status, answer)
	}
	p.must("POST", "/v1/revoke", `{"credential":"`+there.Credentials[0].ID+`","reason":"x"}`)
	add()
	if status, answer := p.ask("POST", "/v1/identities/mayas/credentials", `{"public_key":`+key+`}`); status != 422 || !strings.Contains(answer, "hush-bot") {
		t.Errorf("operators are told whose it was: %d %s", status, answer)
	}
}

// An event of one's own is explained as far as oneself, and no further.
func TestExplainIsOfOnesOwn(t *testing.T) {
	p := start(t)
	crowd(p)
	p.settle()
	maya := p.begin("maya")
	explain := func(event string) (e ExplainResult, answer string) {
		t.Helper()
		status, answer := p.visit(maya, "POST", "/v1/explain", `{"event":"`+event+`"}`)
		if err := json.Unmarshal([]byte(answer), &e); err != nil || status != 200 {
			t.Fatal(status, answer, err)
		}
		return e, answer
	}
	e, answer := explain("evt_crowd0")
	if e.Allow || len(e.Links) != 3 || !e.Links[0].Allow || len(e.Links[0].Grants) == 0 || len(e.Links[1].Grants)+len(e.Links[2].Grants)+len(e.Links[1].Policies)+len(e.Links[2].Policies)+len(e.Links[1].Change)+len(e.Links[2].Change) > 0 || !strings.Contains(e.Reason, "hush-bot is another's") {
		t.Error(answer)
	}
	if e, answer = explain("evt_crowd1"); e.Action != "" || e.Owner != "" || !strings.Contains(e.Reason, "there is no upstream") {
		t.Error(answer)
	}
	if e, answer = explain("evt_crowd2"); !e.Allow || len(e.Links) != 1 {
		t.Error(answer)
	}
	var out WhatIf
	_, answer = p.visit(maya, "POST", "/v1/what-if", `{"grants":[{"identity":"mayas","id":"read","removed":true}]}`)
	if err := json.Unmarshal([]byte(answer), &out); err != nil || out.Requests != 3 || out.Unsure != 2 || len(out.Changed) != 1 || out.Changed[0].Event != "evt_crowd2" {
		t.Error(answer, err)
	}
}

// Who may run identities gives packs to them, and switches no guardrails on; an owner does neither.
func TestPacksAreNoWayToGuardrails(t *testing.T) {
	p := start(t)
	office(p)
	maya, run := p.begin("maya"), p.begin("", identity.RoleOperator)
	for _, test := range []struct {
		who, path, body string
		want            int
	}{
		{maya, "identities/mayas/packs/drafter", `{"upstreams":["mail"]}`, 403}, {maya, "identities/mayas/packs/hijack", `{"upstreams":["mail"]}`, 403}, {maya, "guardrails/hijack", `{"cedar":"forbid(principal, action, resource);"}`, 403},
		{run, "identities/mayas/packs/hijack", `{"upstreams":["mail"]}`, 422}, {run, "guardrails/hijack", `{"cedar":"forbid(principal, action, resource);"}`, 403},
	} {
		if status, answer := p.visit(test.who, "PUT", "/v1/"+test.path, test.body); status != test.want {
			t.Errorf("%s: %d %s", test.path, status, answer)
		}
	}
}

// What waits for an answer ends when the person who waits is signed out, or may see less than before.
func TestWaitingEndsWithTheSession(t *testing.T) {
	t.Parallel()
	p := start(t)
	office(p)
	p.settle()
	p.Lease = feed.MaxLease // what far has ends before nobody's wait
	put := func(roles, members string) {
		t.Helper()
		p.must("PUT", "/v1/owners/maya?wait=1ms", `{"name":"Maya Lind","email":"maya@example.com","roles":[`+roles+`]}`)
		p.must("PUT", "/v1/owners/billing?wait=1ms", `{"name":"Billing","email":"billing@example.com","team":true,"members":[`+members+`]}`)
	}
	put(`"auditor"`, `"maya"`)
	p.must("PUT", "/v1/identities/mayas/grants/mail", `{"upstream":"mail","actions":["read"]}`)
	var task policy.Task
	if _, err := p.registry.Do(t.Context(), registry.Self, func(c *registry.Change) (err error) {
		task, err = c.AskTask(registry.Work{Identity: "mayas", On: "maya", Purpose: "x", Scope: []policy.Grant{{Upstream: "mail", Actions: []string{"read"}}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		end  func(session string)
		want string
	}{
		"signed out": {func(s string) { p.visit(s, "POST", "/console/sign-out", "{}") }, "signed-out"},
		"the role":   {func(string) { put("", `"maya"`) }, "changed meanwhile"},
		"the team":   {func(string) { put(`"auditor"`, "") }, "changed meanwhile"},
	} {
		put(`"auditor"`, `"maya"`)
		if _, err := p.acknowledged(t.Context(), "far", time.Time{}, p.Store.Head()); err != nil {
			t.Fatal(err)
		}
		p.must("PUT", "/v1/owners/ben?wait=1ms", `{"name":"Ben `+name+`","email":"ben@example.com"}`) // which far does not hear of
		session, head := p.begin("maya"), p.Store.Head()
		type said struct {
			path, text string
			status     int
			after      time.Duration
		}
		answers := make(chan said)
		begun := time.Now()
		ask := func(path string) {
			status, text := p.visit(session, "GET", path, "")
			answers <- said{path, text, status, time.Since(begun)}
		}
		go ask(fmt.Sprintf("/v1/receipt?epoch=%s&seq=%d&wait=60s&known=100", head.Epoch, head.Seq))
		go ask("/v1/tasks/" + task.ID + "?wait=60s")
		for p.waiting.count() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if status, text := p.visit(session, "GET", "/v1/tasks/"+task.ID, ""); status != 200 { // who waits does so since before this
			t.Fatal(status, text)
		}
		test.end(session)
		for range 2 {
			if a := <-answers; a.after > 20*time.Second || a.status == http.StatusOK || !strings.Contains(a.text, test.want) {
				t.Errorf("%s: %s: %d %s after %s", name, a.path, a.status, a.text, a.after)
			}
		}
	}
}

// A stream of everything ends when who follows it may see no more than what is theirs.
func TestStreamEndsWithTheRole(t *testing.T) {
	t.Parallel()
	p := start(t)
	office(p)
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com","roles":["auditor"]}`)
	session := p.begin("maya")
	req, err := http.NewRequestWithContext(t.Context(), "GET", p.network.URL+"/v1/ledger/stream?type=identity", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "lanyard="+session)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(err, res)
	}
	defer res.Body.Close()
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com","roles":[]}`)
	time.Sleep(2 * lookAgain)
	p.must("POST", "/v1/identities/bens/suspend", `{}`)
	ended := make(chan string)
	go func() { b, _ := io.ReadAll(res.Body); ended <- string(b) }()
	select {
	case all := <-ended:
		if strings.Contains(all, "agent/bens") {
			t.Errorf("after the role was gone: %s", all)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on")
	}
}
