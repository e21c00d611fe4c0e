package control

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestApprovalAsked: there are only so many open questions, and nobody is asked what nobody can answer, or for who was stopped.
func TestApprovalAsked(t *testing.T) {
	p := start(t)
	ask := p.asks("kim operator", 0)
	var last feed.Approval
	for n := range 20 {
		last = p.put(ask(string(rune('a' + n))))
	}
	var no *feed.NotAsked
	if _, err := p.Desk().Ask(t.Context(), ask("one more")); !errors.As(err, &no) || !strings.Contains(no.Why, "20 questions") {
		t.Errorf("the 21st: %v", err)
	}
	waited := make(chan ApprovalView, 1)
	go func() {
		var v ApprovalView
		status, answer := p.ask("GET", "/v1/approvals/"+last.ID+"?wait=30s", "", "Authorization", "Bearer "+p.token)
		if status != 200 || json.Unmarshal([]byte(answer), &v) != nil {
			t.Error(status, answer)
		}
		waited <- v
	}()
	eventually(t, "it waits", func() bool { return p.waiting.count() > 0 })
	if v := p.state(last.ID); v.Shown == nil || v.Shown.Target != "/m" {
		t.Errorf("an operator who may decide sees %+v", v.Shown)
	}
	p.must("POST", "/v1/approvals/"+last.ID+"/approve", `{"note":"go"}`)
	if v := <-waited; v.State != feed.Approved || len(v.Decisions) != 1 || v.Decisions[0].Note != "go" {
		t.Errorf("who waited hears %+v", v)
	}
	first := p.put(ask("a"))
	kim := p.signIn("kim")
	form := kim.form(first.ID, "once")
	p.must("POST", "/v1/kill", `{"identity":"bot","reason":"test"}`)
	if status, page := kim.send("/approvals/"+first.ID, form); status != 409 || !strings.Contains(page, "nothing to approve") {
		t.Errorf("who asked was killed: %d\n%s", status, page)
	}
	if err := p.Desk().Use(t.Context(), last.ID, last.Hash, "r"); !errors.Is(err, feed.ErrUsed) {
		t.Errorf("used by who was killed: %v", err)
	}
	q := ask("x")
	q.Ask = &policy.Asking{Of: []policy.Approve{{Policy: "bot/send", Need: 1, Words: []string{"person"}}}}
	p.must("POST", "/v1/approvals/"+first.ID+"/deny", `{}`)
	if _, err := p.Desk().Ask(t.Context(), q); !errors.As(err, &no) || !strings.Contains(no.Why, "nobody is there") {
		t.Errorf("of nobody: %v", err)
	}
	for body, wrong := range map[string]string{`"approve":"nobody"`: "nor the name of an owner", `"approve":"Ben"`: "no name", `"fresh":"5m"`: "say who", `"approve":"owner","fresh":"1s"`: "1m to 8h"} {
		if status, answer := p.ask("PUT", "/v1/identities/bot/grants/x", `{"upstream":"mail","actions":["read"],`+body+`}`); status != 422 || !strings.Contains(answer, wrong) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if status, answer := p.ask("PUT", "/v1/guardrails/x", `{"cedar":"@approve(\"nobody\") forbid(principal, action, resource);"}`); status != 422 || !strings.Contains(answer, "nor the name of an owner") {
		t.Errorf("%d %s", status, answer)
	}
	for members, wrong := range map[string]string{`"members":["ben"]`: "a person has none", `"team":true,"members":["nobody"]`: "there is no owner", `"team":true,"members":["squad"]`: "no member of itself"} {
		if status, answer := p.ask("PUT", "/v1/owners/squad", `{"name":"S","email":"s@example.com",`+members+`}`); status != 422 || !strings.Contains(answer, wrong) {
			t.Errorf("%s: %d %s", members, status, answer)
		}
	}
}

// TestApprovalFatigue: how often and how fast people say yes is counted, and they are told when it is much.
func TestApprovalFatigue(t *testing.T) {
	p := start(t)
	ask := p.asks("owner", 0)
	maya := p.signIn("maya")
	for n := range 11 {
		a := p.put(ask(string(rune('a' + n))))
		form := maya.form(a.ID, "once")
		p.ahead.Add(int64(time.Second))
		if n > 5 {
			p.ahead.Add(int64(10 * time.Second))
		}
		maya.send("/approvals/"+a.ID, form)
	}
	a := p.put(ask("z"))
	if _, page := maya.open("/approvals/" + a.ID); !strings.Contains(page, "You approved 11 times in the last hour") || !strings.Contains(page, "11 more times") {
		t.Errorf("not warned\n%s", page)
	}
	maya.decide(a.ID, "deny")
	p.put(ask("y"))
	p.ahead.Add(int64(2 * time.Hour))
	if _, err := p.registry.ExpireApprovals(t.Context()); err != nil {
		t.Fatal(err)
	}
	var s ApprovalStats
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/approvals/stats", "")), &s); err != nil {
		t.Fatal(err)
	}
	if s.Asked != 13 || len(s.Approvers) != 1 || s.Approvers[0] != (ApproverStats{By: "maya", Asked: 13, Approved: 11, Denied: 1, Expired: 1, Median: "1s", Fastest: "0s", Hasty: 6}) {
		t.Errorf("%+v", s)
	}
}

// TestApprovalFlood: answers of strangers are refused however many come, and do not fill the ledger.
func TestApprovalFlood(t *testing.T) {
	p := start(t)
	a := p.put(p.asks("owner", 0)("a"))
	size := p.Store.Size()
	stranger := p.signIn("")
	for range 700 {
		if status, _ := stranger.send("/approvals/"+a.ID, url.Values{"decision": {"once"}}); status != 403 {
			t.Fatal(status)
		}
	}
	if n := p.Store.Size() - size; n < 100 || n > 600 {
		t.Errorf("%d events of 700 answers", n)
	}
}

// TestWaitersShare: one that waits often leaves places for others, and takes its own up again.
func TestWaitersShare(t *testing.T) {
	p := start(t)
	a := p.put(p.asks("kim operator", 0)("x"))
	own := p.keyed("bot", p.URL)
	var all sync.WaitGroup
	for range waitersEach {
		all.Go(func() {
			if status, answer := p.ask("GET", "/v1/approvals/"+a.ID+"?wait=30s", "", "Authorization", "Bearer "+own); status != 200 || !strings.Contains(answer, `"state":"approved"`) {
				t.Error(status, answer)
			}
		})
	}
	eventually(t, "all of them wait", func() bool { return p.waiting.count() == waitersEach })
	if status, answer := p.ask("GET", "/v1/approvals/"+a.ID+"?wait=30s", "", "Authorization", "Bearer "+own); status != 200 || !strings.Contains(answer, `"state":"waiting"`) {
		t.Errorf("one more: %d %s", status, answer)
	}
	all.Go(func() { p.ask("GET", "/v1/approvals/"+a.ID+"?wait=30s", "") })
	eventually(t, "an operator waits too", func() bool { return p.waiting.count() == waitersEach+1 })
	p.must("POST", "/v1/approvals/"+a.ID+"/approve", `{}`)
	all.Wait()
	if n := p.waiting.count(); n != 0 {
		t.Errorf("%d wait still", n)
	}
	if len(p.waiting.of) != 0 {
		t.Errorf("remembered: %v", p.waiting.of)
	}
}

// TestWaiters: all together are bounded, too.
func TestWaiters(t *testing.T) {
	var w waiting
	for i := range waiters {
		if !w.enter(string(rune('a' + i/waitersEach))) {
			t.Fatal(i)
		}
	}
	if w.enter("one more") {
		t.Error("there is no bound")
	}
	if w.leave("a"); w.enter("b") || !w.enter("one more") {
		t.Error("who left left no place, or for who has too many")
	}
}
