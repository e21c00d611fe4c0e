package ledger

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestSieve: what a query selects is never passed over, whatever it asks for, and most of what it does not select is.
func TestSieve(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	id := func() string {
		return fmt.Sprintf("spiffe://lanyard.local/%s/bot-%d", pick("agent", "service"), r.IntN(40))
	}
	event := func() Event {
		e := Event{Time: begin.Add(time.Duration(r.IntN(1e6)) * time.Second), Type: pick("request", "request.approved", "identity.kill", "token.issue"), Outcome: Outcome(pick("allowed", "refused")),
			Actor: pick(id(), "owner:maya", "operator:root"), Owner: fmt.Sprint("owner-", r.IntN(30)), Upstream: pick("", "mail", "drive"), Class: pick("", "read", "write"),
			Action: pick("mail.read", "mail.send", "things.get"), Resource: pick("/a/bot-1", id())}
		if r.IntN(2) == 0 {
			e.Chain = []string{id(), id()}
		}
		if r.IntN(3) == 0 {
			e.Detail = map[string]string{"task": fmt.Sprint("task_", r.IntN(20))}
		}
		return e
	}
	query := func() (q Query) {
		name := fmt.Sprint("bot-", r.IntN(80))
		for _, set := range []func(){
			func() {
				q.Identity = pick(name, "agent/"+name, "spiffe://lanyard.local/agent/"+name, "owner:maya", "lanyard.local", "")
			},
			func() { q.Owner = fmt.Sprint("owner-", r.IntN(60)) },
			func() { q.Of = [][]string{{}, {"maya"}, {"nobody"}, {"owner-1", "owner-55"}}[r.IntN(4)] },
			func() { q.Upstream = pick("mail", "drive", "calendar") },
			func() { q.Action = pick("mail.read", "mail.*", "mail.rea", "other") },
			func() { q.Class = pick("read", "admin") },
			func() { q.Type = pick("request", "identity", "identity.kill", "ident", "grant") },
			func() { q.Outcome = Outcome(pick("allowed", "failed", "ended")) },
			func() { q.By = "identity" },
			func() { q.Text = pick("BOT-1", "maya", "nowhere") },
			func() { q.Task = fmt.Sprint("task_", r.IntN(40)) },
			func() { q.Since = begin.Add(time.Duration(r.IntN(2e6)) * time.Second) },
			func() { q.Until = begin.Add(time.Duration(r.IntN(1e6)) * time.Second) },
		} {
			if r.IntN(4) == 0 {
				set()
			}
		}
		return q
	}
	passed, none := 0, 0
	for range 3000 {
		events := make([]Event, r.IntN(12))
		for i := range events {
			events[i] = event()
		}
		s, q := NewSieve(events), query()
		selects := false
		for _, e := range events {
			is := q.Match(e, e.Leaf())
			if selects = selects || is; is && !q.InText(e.Leaf()) {
				t.Fatalf("%+v selects %s, and would not read it", q, e.Leaf())
			}
		}
		switch may := s.May(q); {
		case selects && !may:
			t.Fatalf("%+v selects one of these, and they are passed over:\n%+v", q, events)
		case !q.Sieves() || q.Outcome == Ended || q.By != "":
		case !selects:
			none++
			if !may {
				passed++
			}
		}
	}
	if passed*10 < none*8 {
		t.Errorf("of %d searches that find nothing %d were spared", none, passed)
	}
}
