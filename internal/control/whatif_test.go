package control

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// What would have been is told of each request that the record is enough for, and nothing is changed by asking.
func TestWhatIf(t *testing.T) {
	p := start(t)
	office(p)
	p.must("PUT", "/v1/identities/mayas/grants/mail", `{"upstream":"mail","actions":["read"]}`)
	n := 0
	record := func(who, owner, upstream, action, class string, outcome ledger.Outcome, ago time.Duration) {
		n++
		id := "spiffe://lanyard.local/agent/" + who
		if err := p.Store.Record(t.Context(), []ledger.Event{{ID: fmt.Sprintf("evt_%03d", n), Time: p.Now().Add(-ago), Type: "request", Outcome: outcome, Actor: id, Chain: []string{id}, Owner: owner, Upstream: upstream, Action: action, Class: class, Resource: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	record("mayas", "maya", "mail", "m.read", "read", ledger.Allowed, 30*24*time.Hour) // too long ago
	record("mayas", "maya", "mail", "m.read", "read", ledger.Allowed, time.Hour)
	record("mayas", "maya", "mail", "m.read", "read", ledger.Allowed, time.Hour)
	record("mayas", "maya", "mail", "m.send", "write", ledger.Refused, time.Hour)
	record("mayas", "maya", "mail", "m.send", "write", ledger.Pending, time.Hour)
	record("bens", "ben", "books", "b.read", "read", ledger.Allowed, time.Hour)
	record("bens", "ben", "books", "b.read", "read", ledger.Refused, time.Hour) // for what is not the policies'
	record("nobody", "ben", "books", "b.read", "read", ledger.Allowed, time.Hour)
	maya := p.begin("maya")
	p.must("GET", "/v1/status", "")
	for _, test := range []struct {
		who, body, want string
	}{
		{"", `{}`, "6 looked at, 2 unsure:"},
		{"", `{"guardrails":[{"id":"no-reading","cedar":"forbid(principal, action in Lanyard::Action::\"read\", resource);"}]}`, "6 looked at, 2 unsure: bens allowed→refused, mayas allowed→refused, mayas allowed→refused; bens 1/0/0 mayas 2/0/0"},
		{maya, `{"guardrails":[{"id":"no-reading","cedar":"forbid(principal, action in Lanyard::Action::\"read\", resource);"}]}`, "3 looked at, 0 unsure: mayas allowed→refused, mayas allowed→refused; mayas 2/0/0"},
		{"", `{"guardrails":[{"id":"ask","cedar":"@approve(\"owner\") forbid(principal, action in Lanyard::Action::\"read\", resource in Lanyard::Upstream::\"books\");"}]}`, "6 looked at, 2 unsure: bens allowed→asked; bens 0/0/1"},
		{"", `{"grants":[{"identity":"mayas","id":"mail","removed":true}]}`, "6 looked at, 2 unsure: mayas allowed→refused, mayas allowed→refused; mayas 2/0/0"},
		{"", `{"grants":[{"identity":"mayas","id":"mayas/send","upstream":"mail","actions":["m.send"]}]}`, "6 looked at, 2 unsure: mayas refused→allowed; mayas 0/1/0"},
		{"", `{"guardrails":[{"id":"args","cedar":"forbid(principal, action in Lanyard::Action::\"read\", resource in Lanyard::Upstream::\"mail\") when { context has args };"}]}`, ""},
		{"", `{"guardrails":[{"id":"no-reading","cedar":"permit(principal, action, resource);"}]}`, "422"},
		{maya, `{"grants":[{"identity":"bens","id":"read","removed":true}]}`, "404"},
	} {
		status, answer := 0, ""
		if test.who == "" {
			status, answer = p.ask("POST", "/v1/what-if", test.body)
		} else {
			status, answer = p.visit(test.who, "POST", "/v1/what-if", test.body)
		}
		var out WhatIf
		if status != 200 || json.Unmarshal([]byte(answer), &out) != nil {
			if test.want != fmt.Sprint(status) && test.want != "" {
				t.Errorf("%s: %d %s", test.body, status, answer)
			}
			continue
		}
		var changed, by []string
		for _, c := range out.Changed {
			changed = append(changed, fmt.Sprint(c.Identity[strings.LastIndex(c.Identity, "/")+1:], " ", c.Was, "→", c.Would))
			if c.Why == "" || !strings.HasPrefix(c.Event, "evt_") {
				t.Errorf("%s: %+v", test.body, c)
			}
		}
		for _, one := range out.ByIdentity {
			by = append(by, fmt.Sprintf("%s %d/%d/%d", one.Identity[strings.LastIndex(one.Identity, "/")+1:], one.Refused, one.Allowed, one.Asked))
		}
		got := fmt.Sprintf("%d looked at, %d unsure: %s; %s", out.Requests, out.Unsure, strings.Join(changed, ", "), strings.Join(by, " "))
		if strings.TrimSuffix(strings.TrimSpace(got), " ;") != test.want && strings.TrimSuffix(got, " ; ") != test.want && test.want != "" {
			t.Errorf("%s: %s, want %s", test.body, got, test.want)
		}
	}
	if answer := p.must("GET", "/v1/guardrails", ""); strings.Contains(answer, "no-reading") {
		t.Errorf("it was kept: %s", answer)
	}
	if answer := p.must("GET", "/v1/identities/mayas", ""); !strings.Contains(answer, "mayas/mail") || strings.Contains(answer, "mayas/send") {
		t.Errorf("it was kept: %s", answer)
	}
}
