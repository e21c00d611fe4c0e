package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// Home counts what the caller sees, and what is over counts no more.
func TestHome(t *testing.T) {
	p := start(t)
	office(p)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.count(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	n := 0
	record := func(who, owner, upstream string, outcome ledger.Outcome, times int) {
		var events []ledger.Event
		for range times {
			n++
			events = append(events, ledger.Event{ID: fmt.Sprintf("evt_%012d", n), Time: p.Now(), Type: "request", Outcome: outcome, Actor: "spiffe://lanyard.local/agent/" + who, Owner: owner, Upstream: upstream})
		}
		if err := p.Store.Record(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	record("mayas", "maya", "files", ledger.Allowed, 5)
	record("mayas", "maya", "files", ledger.Pending, 5)
	record("mayas", "maya", "files", ledger.Refused, 10)
	record("bens", "ben", "books", ledger.Allowed, 31)
	record("bens", "ben", "books", ledger.Refused, 10)
	record("bens", "ben", "books", ledger.Failed, 3)
	p.must("PUT", "/v1/identities/brief", `{"kind":"agent","owner":"ben","purpose":"x","expires":"3d"}`)
	maya := p.begin("maya")
	want := func(what, session string, want Home) {
		t.Helper()
		var got Home
		var since time.Time
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			status, answer := 0, ""
			if session == "" {
				status, answer = p.ask("GET", "/v1/home", "")
			} else {
				status, answer = p.visit(session, "GET", "/v1/home", "")
			}
			if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 {
				t.Fatal(status, answer)
			}
			since, got.Since = got.Since, time.Time{}
			if got == want || time.Now().After(end) {
				break
			}
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		// The lists that the numbers lead to have so many in them.
		for query, n := range map[string]int{"": want.Today.Requests, "&outcome=refused": want.Today.Refused} {
			if query == "" {
				query = "&outcome=ended"
			}
			var list Page[Entry]
			path := "/v1/ledger/events?limit=1000&type=request&by=identity&since=" + since.Format(time.RFC3339) + query
			status, answer := 0, ""
			if session == "" {
				status, answer = p.ask("GET", path, "")
			} else {
				status, answer = p.visit(session, "GET", path, "")
			}
			if err := json.Unmarshal([]byte(answer), &list); err != nil || status != 200 || len(list.Items) != n {
				t.Errorf("%s: %s has %d events, want %d: %d %v", what, query, len(list.Items), n, status, err)
			}
		}
	}
	want("everything", "", Home{Expiring: 1, Odd: 1, Today: Today{59, 20, 2}, Down: 1})
	var odd Counted[IdentityView]
	for session, found := range map[string]string{maya: "mayas", p.begin("ben"): "", p.begin("", identity.RoleAuditor): "mayas"} {
		_, answer := p.visit(session, "GET", "/v1/identities?needs=odd", "")
		if err := json.Unmarshal([]byte(answer), &odd); err != nil || odd.Total != len(odd.Items) || (odd.Total == 1) != (found != "") {
			t.Errorf("who behaves oddly: %s", answer)
		} else if found != "" && (odd.Items[0].Name != found || odd.Items[0].Odd != "10 of its 15 requests in the last 24 hours were refused") {
			t.Errorf("%s: %q", odd.Items[0].Name, odd.Items[0].Odd)
		}
	}
	if answer := p.must("GET", "/v1/identities?needs=odd&q=bens", ""); !strings.Contains(answer, `"items":[]`) {
		t.Errorf("of others: %s", answer)
	}
	if answer := p.must("POST", "/v1/identities/bulk", `{"do":"suspend","where":{"needs":"odd"},"reason":"x","preview":true}`); !strings.Contains(answer, "mayas") || strings.Contains(answer, "bens") {
		t.Errorf("all of them: %s", answer)
	}
	want("maya's", maya, Home{Odd: 1, Today: Today{15, 10, 1}})
	record("bens", "ben", "books", ledger.Allowed, 1)
	want("an upstream that is back", "", Home{Expiring: 1, Odd: 1, Today: Today{60, 20, 2}})
	p.must("POST", "/v1/kill", `{"upstream":"files","reason":"x"}`)
	want("one that is cut off", maya, Home{Odd: 1, Today: Today{15, 10, 1}, Down: 1})
	p.ahead.Add(int64(25 * time.Hour))
	want("a day later", "", Home{Expiring: 1, Down: 1})
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Okri","email":"ben@example.com","gone":true}`)
	p.ahead.Add(int64(30 * 24 * time.Hour))
	want("nobody is there for ben's, and nobody uses maya's", "", Home{Unused: 2, Ownerless: 2, Down: 1})
}
