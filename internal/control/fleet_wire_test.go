package control

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/feed/feedtest"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestWire: the suite of every feed.Source, over a real socket.
func TestWire(t *testing.T) {
	t.Parallel()
	feedtest.Test(t, func(t *testing.T) feedtest.Kit {
		p := start(t)
		return feedtest.Kit{Source: p.joined(p.abroad(), "gw-1", `{}`), Put: func(c feed.Change) feed.Cursor { return storetest.Put(t, p.Store, c) }}
	})
}

// TestWireAsks: what a gateway asks for, and why it does not get it, is the same over the wire as in the process.
func TestWireAsks(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.settle()
	at := p.abroad()
	g := p.joined(at, "gw-1", `{}`)
	bot := identity.Alone(identity.MustID("spiffe://lanyard.local/agent/bot"), 0)
	s, err := g.Credential(t.Context(), "mail", bot, feed.Secret{})
	if err != nil || s.Header != "Authorization" || s.Value != "Bearer hush-hush" {
		t.Errorf("credential: %v", err)
	}
	nobody := identity.Alone(identity.MustID("spiffe://lanyard.local/agent/nobody"), 0)
	if _, err := g.Credential(t.Context(), "mail", nobody, feed.Secret{}); !errors.Is(err, feed.ErrRefused) {
		t.Errorf("credential for nobody: %v", err)
	}
	if strings.Contains(p.log.String(), "hush-hush") {
		t.Error("the secret is in the log")
	}
	head := p.Store.Head()
	if lease, err := g.Ack(t.Context(), head); err != nil || lease <= 0 || lease > feed.DefaultLease {
		t.Errorf("lease of %s: %v", lease, err)
	}
	if r := p.reached(head); r.Confirmed["gw-1"].IsZero() {
		t.Errorf("not confirmed: %v", r.Confirmed)
	}
	for _, wrong := range []feed.Cursor{{Epoch: head.Epoch, Seq: head.Seq + 1}, {Epoch: "x", Seq: 1}, {}} {
		if _, err := g.Ack(t.Context(), wrong); !errors.Is(err, feed.ErrCompacted) {
			t.Errorf("acknowledgement of %v: %v", wrong, err)
		}
	}
	one, two := event(t, "gw-1"), event(t, "gw-1")
	size := p.Store.Size()
	for range 2 {
		if err := g.Record(t.Context(), []ledger.Event{one, two}); err != nil {
			t.Error(err)
		}
	}
	if p.Store.Size() != size+2 {
		t.Errorf("%d events of two sent twice", p.Store.Size()-size)
	}
	if got := p.last(); string(got.Leaf()) != string(two.Leaf()) {
		t.Errorf("recorded %s\nsent     %s", got.Leaf(), two.Leaf())
	}
	var made TaskOpened
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/tasks", `{"identity":"bot","purpose":"x","scope":[{"upstream":"mail","actions":["m.read"]}],"budget":{"calls":5}}`)), &made); err != nil {
		t.Fatal(err)
	}
	if got, err := g.Draw(t.Context(), made.ID, policy.Budget{"calls": 1}); err != nil || got["calls"] < 1 {
		t.Errorf("budget: %v %v", got, err)
	}
	var spent *feed.Spent
	if _, err := g.Draw(t.Context(), made.ID, policy.Budget{"calls": 50}); !errors.As(err, &spent) || spent.Limit != 5 {
		t.Errorf("too much: %v", err)
	}
	for _, bad := range []error{errOf(g.Draw(t.Context(), "task_x", policy.Budget{"calls": 1})), errOf(g.Draw(t.Context(), made.ID, policy.Budget{"x": 1}))} {
		if !errors.Is(bad, feed.ErrRefused) {
			t.Errorf("budget of what is not there: %v", bad)
		}
	}
	if _, err := g.Introduce(t.Context(), "mail", "x"); err == nil {
		t.Error("a token that is none is introduced")
	}
}

func errOf[T any](_ T, err error) error { return err }

// TestWireDesk: people are asked through the wire, and of all who use what they said one does.
func TestWireDesk(t *testing.T) {
	p := start(t)
	q := p.asks("maya", 0)("body")
	at := p.abroad()
	a, b := p.joined(at, "gw-1", `{}`), p.joined(at, "gw-2", `{}`)
	if _, err := a.Ask(t.Context(), q); !errors.Is(err, feed.ErrRefused) {
		t.Errorf("a question in another gateway's name: %v", err)
	}
	q.Gateway = "gw-1"
	asked, err := a.Ask(t.Context(), q)
	if err != nil || asked.State != feed.Waiting {
		t.Fatalf("%+v %v", asked, err)
	}
	again, err := a.Ask(t.Context(), q)
	if err != nil || again.ID != asked.ID {
		t.Errorf("asked once more: %+v %v", again, err)
	}
	if err := b.Use(t.Context(), asked.ID, q.Hash, "req"); !errors.Is(err, feed.ErrUsed) {
		t.Errorf("used before anybody said yes: %v", err)
	}
	p.signIn("maya").decide(asked.ID, "once")
	used := 0
	for _, g := range []*far{a, b, a} {
		if err := g.Use(t.Context(), asked.ID, q.Hash, "req"); err == nil {
			used++
		} else if !errors.Is(err, feed.ErrUsed) {
			t.Error(err)
		}
	}
	if used != 1 {
		t.Errorf("used %d times", used)
	}
}

// TestBoundaries: a gateway gets nothing of upstreams that it is not for, and records nothing in another's name.
func TestBoundaries(t *testing.T) {
	p := start(t)
	p.settle()
	p.must("PUT", "/v1/upstreams/drive", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /d/{id} -> d.read read /d/{id}"}`)
	p.must("PUT", "/v1/identities/bot/grants/drive", `{"upstream":"drive","actions":["d.read"]}`)
	g := p.joined(p.abroad(), "gw-1", `{"upstreams":["drive"]}`)
	bot := identity.Alone(identity.MustID("spiffe://lanyard.local/agent/bot"), 0)
	var made TaskOpened
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/tasks", `{"identity":"bot","purpose":"x","scope":[{"upstream":"mail","actions":["m.read"]}],"budget":{"calls":5}}`)), &made); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Credential(t.Context(), "drive", bot, feed.Secret{}); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"credential": errOf(g.Credential(t.Context(), "mail", bot, feed.Secret{})), "budget": errOf(g.Draw(t.Context(), made.ID, policy.Budget{"calls": 1})),
		"question": errOf(g.Ask(t.Context(), feed.Question{Upstream: "mail", Gateway: "gw-1"})), "introduction": errOf(g.Introduce(t.Context(), "mail", "x")),
	} {
		if !errors.Is(err, feed.ErrRefused) || !strings.Contains(err.Error(), "gw-1") {
			t.Errorf("%s: %v", what, err)
		}
	}
	size := p.Store.Size()
	for what, edit := range map[string]func(*ledger.Event){
		"another's name": func(e *ledger.Event) { e.Gateway = "gw-2" }, "no name": func(e *ledger.Event) { e.Gateway = "" },
		"what operators do": func(e *ledger.Event) { e.Type = "identity.kill" }, "no time": func(e *ledger.Event) { e.Time = time.Time{} },
		"no id": func(e *ledger.Event) { e.ID = "" },
	} {
		good, bad := event(t, "gw-1"), event(t, "gw-1")
		edit(&bad)
		if err := g.Record(t.Context(), []ledger.Event{good, bad}); !errors.Is(err, feed.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if p.Store.Size() != size {
		t.Error("a part of what was refused is recorded")
	}
	early := event(t, "gw-1")
	said := early.Time.Add(30 * 24 * time.Hour)
	early.Time = said
	for range 2 { // it may come again
		if err := g.Record(t.Context(), []ledger.Event{early, event(t, "gw-1")}); err != nil {
			t.Fatal("a clock that is wrong holds up what comes after it:", err)
		}
	}
	found, err := p.Store.Search(t.Context(), ledger.Query{Type: early.Type}, 0, 10)
	n := 0
	for _, e := range found.Entries {
		if e.Event.ID == early.ID {
			n++
			if e.Event.Time.After(p.Now()) || e.Event.Detail["dated"] != said.UTC().Format(time.RFC3339) {
				t.Errorf("it is dated %s and says %v", e.Event.Time, e.Event.Detail)
			}
		}
	}
	if err != nil || n != 1 {
		t.Errorf("it is there %d times: %v", n, err)
	}
}

// TestFeedRefuses: what comes up is read strictly, and a newer gateway is told which to update.
func TestFeedRefuses(t *testing.T) {
	p := start(t)
	g := p.joined(p.abroad(), "gw-1", `{}`)
	config := feed.MemberTLS(g.member.Load, p.Now)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	for name, r := range map[string]struct {
		path, version, body string
		status              int
		says                string
	}{
		"a newer gateway":    {feed.PathAck, "2", `{}`, 409, "update it before its gateways"},
		"no version":         {feed.PathAck, "", `{}`, 409, "version"},
		"an unknown member":  {feed.PathCredential, "1", `{"upstream":"mail","as":"admin"}`, 400, "unknown"},
		"no JSON":            {feed.PathRecord, "1", `events`, 400, "no JSON"},
		"two values":         {feed.PathAck, "1", `{} {}`, 400, "no JSON"},
		"too much":           {feed.PathUse, "1", `{"id":"` + strings.Repeat("x", 2<<20) + `"}`, 400, "too much"},
		"another type":       {feed.PathBudget, "1", `{"task":1}`, 400, "type"},
		"no request":         {feed.PathRotate, "1", `{"request":"AAAA"}`, 403, "no request"},
		"a question of none": {feed.PathAsk, "1", `{"upstream":"mail","gateway":"gw-1"}`, 400, ""},
	} {
		req, _ := http.NewRequest("POST", g.Addresses[0]+r.path, strings.NewReader(r.body))
		if r.version != "" {
			req.Header.Set(feed.VersionHeader, r.version)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != r.status || !strings.Contains(string(b), r.says) {
			t.Errorf("%s: %d %s", name, res.StatusCode, b)
		}
	}
}

// TestEveryEventOfGateways: what gateways put on record is taken from those elsewhere, too.
func TestEveryEventOfGateways(t *testing.T) {
	p := start(t)
	g := p.joined(p.abroad(), "gw-1", `{}`)
	for _, kind := range []string{"request", "request.ask", "upstream.differ"} {
		e := event(t, "gw-1")
		e.Type = kind
		if err := g.Record(t.Context(), []ledger.Event{e}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestEventsTogether: an event of a gateway that no database takes is refused alone: it shares a commit with what others record.
func TestEventsTogether(t *testing.T) {
	p := start(t)
	g := p.joined(p.abroad(), "gw-1", `{}`)
	for _, id := range []string{"evt_\x00" + rand.Text(), "evt_\n" + rand.Text(), "evt_\ufffd" + rand.Text(), "evt_ " + rand.Text()} {
		e := event(t, "gw-1")
		e.ID = id
		if err := g.Record(t.Context(), []ledger.Event{e}); !errors.Is(err, feed.ErrRefused) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
