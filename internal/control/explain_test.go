package control

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

func (p *plane) explained(body string) (e ExplainResult) {
	p.Helper()
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/explain", body)), &e); err != nil {
		p.Fatal(err)
	}
	return e
}

// TestExplainChain: of each who is behind a call it is said what decided, and what would change it.
func TestExplainChain(t *testing.T) {
	p := start(t)
	p.settle()
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Ode","email":"ben@example.com"}`)
	p.must("PUT", "/v1/identities/helper", `{"kind":"agent","owner":"ben","purpose":"helps"}`)
	p.must("PUT", "/v1/identities/helper/grants/all", `{"upstream":"mail","actions":["read","write"],"only_for_others":true}`)
	read := `{"as":["helper","bot","person/ben"],"upstream":"mail","action":"m.read"}`
	e := p.explained(read)
	if e.Allow || len(e.Links) != 3 || !e.Links[0].Allow || !e.Links[1].Allow || e.Links[2].Allow || !strings.Contains(e.Reason, "ben, on whose behalf") {
		t.Fatalf("%+v", e)
	}
	if len(e.Change) != 1 || !strings.HasPrefix(e.Change[0].Who, "Maya Lind, owner of mail") || !strings.Contains(e.Change[0].Command, "--consent ben --consent-class read") {
		t.Errorf("%+v", e.Change)
	}
	p.must("PUT", "/v1/upstreams/mail", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /m/{id} -> m.read read /m/{id}\nPOST /m -> m.send write /m","consent":{"owners":["ben"]}}`)
	if e = p.explained(read); !e.Allow || strings.Join(e.Policies, " ") != "helper/all bot/read mail/consent" || !strings.Contains(e.Reason, "mail/consent") {
		t.Errorf("%+v", e)
	}
	e = p.explained(strings.Replace(read, "m.read", "m.send", 1))
	if e.Allow || len(e.Change) != 2 || e.Change[0].Command != "lanyard grant put bot send --upstream mail --action m.send" || !strings.Contains(e.Change[1].Command, "--consent-class read,write") || !strings.HasPrefix(e.Reason, "bot may not do m.send") {
		t.Errorf("%+v", e)
	}
	if e = p.explained(`{"identity":"helper","upstream":"mail","action":"m.read"}`); e.Allow || !strings.Contains(e.Reason, "on behalf of others") || len(e.Links) != 1 || len(e.Change) != 1 || e.Change[0].Who != "helper" {
		t.Errorf("%+v", e)
	}
	p.must("PUT", "/v1/guardrails/quiet", `{"cedar":"forbid(principal is Lanyard::Person, action, resource) when { context.depth > 2 };"}`)
	if e = p.explained(read); e.Allow || !e.Guardrail || len(e.Change) != 1 || e.Change[0].Command != "lanyard guardrail put quiet --cedar FILE" {
		t.Errorf("%+v", e)
	}
	for _, k := range [][2]string{{"suspend", "lanyard identity resume helper"}, {"retire", ""}} {
		state, says := k[0], k[1]
		p.must("POST", "/v1/identities/helper/"+state, `{}`)
		if e = p.explained(`{"identity":"helper","upstream":"mail","action":"m.read"}`); e.Allow || says != "" && e.Change[0].Command != says || says == "" && e.Change != nil {
			t.Errorf("%s: %+v", state, e)
		}
	}
	for body, says := range map[string]string{
		`{}`: "say who asks",
		`{"as":["person/ben"],"upstream":"mail","action":"m.read"}`:                          "acts for nobody",
		`{"as":["bot","bot"],"upstream":"mail","action":"m.read"}`:                           "twice",
		`{"as":["bot","person/eve"],"upstream":"mail","action":"m.read"}`:                    "no owner",
		`{"as":["bot","1","2","3","4","5","6","7","8"],"upstream":"mail","action":"m.read"}`: "",
		`{"event":"evt_nothing"}`:                                                                 "no event",
		`{"event":"evt_nothing","identity":"bot","upstream":"mail"}`:                              "not both",
		`{"as":["spiffe://lanyard.local/agent/ghost"],"upstream":"mail","action":"m.read"}`:       "no identity",
		`{"as":["bot","spiffe://elsewhere/person/ben"],"upstream":"mail","action":"m.read"}`:      "no identity",
		`{"as":["bot"],"upstream":"nowhere","action":"m.read"}`:                                   "no upstream",
		`{"as":["bot","spiffe://lanyard.local/person/../x"],"upstream":"mail","action":"m.read"}`: "no owner",
	} {
		if status, answer := p.ask("POST", "/v1/explain", body); status < 400 || status >= 500 || !strings.Contains(answer, says) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}

// TestExplainEvent: an event is explained as it was, and as it would be now.
func TestExplainEvent(t *testing.T) {
	p := start(t)
	p.settle()
	put := func(e ledger.Event) string {
		e.Time, e.Outcome, e.Actor = time.Unix(1700000000, 0).UTC(), ledger.Refused, e.Chain[0]
		if err := p.Store.Record(t.Context(), []ledger.Event{e}); err != nil {
			t.Fatal(err)
		}
		return `{"event":"` + e.ID + `"}`
	}
	bot := []string{"spiffe://lanyard.local/agent/bot"}
	e := p.explained(put(ledger.Event{ID: "evt_1", Type: "request", Chain: bot, Action: "m.read", Upstream: "mail", Resource: "/m/1", Reason: "It had none.", Policies: []string{"old"}}))
	if e.Then == nil || e.Then.Reason != "It had none." || e.Then.Outcome != "refused" || e.Then.Policies[0] != "old" || !e.Allow || e.Resource != "/m/1" || e.Links[0].Policies[0] != "bot/read" {
		t.Errorf("%+v %+v", e, e.Then)
	}
	for id, k := range map[string]ledger.Event{
		"evt_2": {Type: "token.issue", Chain: bot}, "evt_3": {Type: "request", Chain: bot, Upstream: "mail"}, "evt_4": {Type: "request", Chain: bot, Upstream: "gone", Action: "x"},
		"evt_5": {Type: "request", Chain: []string{"spiffe://lanyard.local/agent/ghost"}, Upstream: "mail", Action: "m.read"}, "evt_6": {Type: "request", Chain: bot, Upstream: "mail", Action: "m.gone"},
	} {
		k.ID = id
		if e := p.explained(put(k)); e.Then == nil || e.Allow || e.Reason == "" || len(e.Links) != 0 {
			t.Errorf("%s: %+v", id, e)
		}
	}
}

// TestExplainPersonLast: nobody is behind a person.
func TestExplainPersonLast(t *testing.T) {
	p := start(t)
	p.settle()
	p.must("PUT", "/v1/identities/other", `{"kind":"agent","owner":"maya","purpose":"helps"}`)
	for _, as := range []string{`"bot","person/maya","other"`, `"bot","person/maya","person/maya"`} {
		if status, answer := p.ask("POST", "/v1/explain", `{"as":[`+as+`],"upstream":"mail","action":"m.read"}`); status != 422 || !strings.Contains(answer, "ends with whom it is for") {
			t.Errorf("%s: %d %s", as, status, answer)
		}
	}
}
