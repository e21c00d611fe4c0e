package control

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// The graph has those around an identity, and what the cord would stop is what is under way.
func TestGraphAndStops(t *testing.T) {
	p := start(t)
	office(p)
	const mayas, bens = "spiffe://lanyard.local/agent/mayas", "spiffe://lanyard.local/agent/bens"
	for n, e := range []ledger.Event{
		{Type: "token.issue", Outcome: ledger.Allowed, Actor: mayas, Time: p.Now()}, {Type: "token.issue", Outcome: ledger.Allowed, Actor: mayas, Time: p.Now().Add(-6 * time.Minute)}, {Type: "token.issue", Outcome: ledger.Refused, Actor: mayas, Time: p.Now()},
		{Type: "request", Outcome: ledger.Pending, Actor: mayas, Request: "r1"}, {Type: "request", Outcome: ledger.Pending, Actor: mayas, Request: "r2"}, {Type: "request", Outcome: ledger.Allowed, Actor: mayas, Request: "r1", Chain: []string{mayas, bens}},
		{Type: "request", Outcome: ledger.Allowed, Actor: mayas, Chain: []string{mayas, "spiffe://lanyard.local/person/ben"}},
	} {
		if e.ID = fmt.Sprint("evt_", n); e.Time.IsZero() {
			e.Time = p.Now()
		}
		p.tally.add(e)
	}
	var g Graph
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities/mayas/graph", "")), &g); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range g.Edges {
		got = append(got, e.From[strings.LastIndex(e.From, "/")+1:]+" "+e.What+" "+e.To[strings.LastIndex(e.To, "/")+1:])
	}
	if want := []string{"maya owns mayas", "mayas may files", "mayas acted for bens", "mayas acted for ben"}; !slices.Equal(got, want) || len(g.Nodes) != 5 {
		t.Errorf("%v %v, want %v", got, g.Nodes, want)
	}
	var s Stops
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities/mayas/stops", "")), &s); err != nil || s.Count != 1 || s.Running != 1 || s.Tokens != 1 || len(s.Identities) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if status, _ := p.visit(p.begin("ben"), "GET", "/v1/identities/mayas/graph", ""); status != 404 {
		t.Errorf("ben looks around maya's: %d", status)
	}
	p.must("POST", "/v1/kill", `{"identity": "mayas", "reason": "test"}`)
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities/mayas/stops", "")), &s); err != nil || s.Tokens != 0 {
		t.Errorf("of what is killed no token is alive: %+v %v", s, err)
	}
}

// A stream has what the person sees, goes on where it broke off, and ends with the session.
func TestStreamOfEvents(t *testing.T) {
	t.Parallel()
	p := start(t)
	office(p)
	maya := p.begin("maya")
	follow := func(last string) (*bufio.Scanner, context.CancelFunc) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		req, err := http.NewRequestWithContext(ctx, "GET", p.network.URL+"/v1/ledger/stream?type=identity", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", "lanyard="+maya)
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatal(err, res)
		}
		t.Cleanup(func() { res.Body.Close() })
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() && lines.Text() != ":" {
		}
		return lines, cancel
	}
	next := func(lines *bufio.Scanner) (id, data string) {
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = text
			}
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return id, text
			}
		}
		return id, ""
	}
	lines, cancel := follow("")
	p.must("POST", "/v1/identities/bens/suspend", `{}`)
	p.must("POST", "/v1/identities/mayas/suspend", `{}`)
	first, data := next(lines)
	if !strings.Contains(data, "identity.suspend") || !strings.Contains(data, "agent/mayas") || !strings.Contains(data, `"index":`+first) {
		t.Errorf("the first that maya sees: %s %s", first, data)
	}
	cancel()
	p.must("POST", "/v1/identities/mayas/resume", `{}`)
	lines, cancel = follow(first)
	defer cancel()
	if _, data := next(lines); !strings.Contains(data, "identity.resume") {
		t.Errorf("after %s: %s", first, data)
	}
	p.visit(maya, "POST", "/console/sign-out", "{}")
	if id, data := next(lines); data != "" {
		t.Errorf("after signing out: %s %s", id, data)
	}
}
