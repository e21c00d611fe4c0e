package control

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/feed/feedtest"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// abroad opens the door for gateways elsewhere, and returns its address.
func (p *plane) abroad() string {
	p.Helper()
	var err error
	if p.fleet, err = newFleet(p.Context(), p.Plane); err != nil {
		p.Fatal(err)
	}
	p.fleet.alive = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.Fatal(err)
	}
	s := p.FleetServer()
	go s.Serve(tls.NewListener(l, s.TLSConfig))
	p.Cleanup(func() { p.StopFleet(); s.Close() })
	return "https://" + l.Addr().String()
}

// far is a gateway elsewhere.
type far struct {
	*feed.Client
	member atomic.Pointer[feed.Member]
}

func (p *plane) invite(name, body string) feed.JoinToken {
	p.Helper()
	var made GatewayToken
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/gateways/"+name+"/token", body)), &made); err != nil {
		p.Fatal(err)
	}
	t, err := feed.ParseJoinToken(made.Token)
	if err != nil {
		p.Fatal(err)
	}
	return t
}

// joined is a gateway that has joined; body is the invitation's.
func (p *plane) joined(at, name, body string) *far {
	p.Helper()
	m, err := feed.Join(p.Context(), []string{at}, p.invite(name, body), p.Now, rand.Reader)
	if err != nil {
		p.Fatal(err)
	}
	return p.as(at, m)
}

func (p *plane) as(at string, m *feed.Member) *far {
	p.Helper()
	f := &far{}
	f.member.Store(m)
	var err error
	if f.Client, err = feed.NewClient([]string{at}, feed.MemberTLS(f.member.Load, p.Now)); err != nil {
		p.Fatal(err)
	}
	return f
}

// event is one that a gateway may record.
func event(t *testing.T, gateway string) ledger.Event {
	id, err := ledger.NewID(rand.Reader, storetest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Event{ID: id, Time: storetest.Epoch, Type: "request", Outcome: ledger.Allowed, Actor: "spiffe://lanyard.local/agent/bot", Gateway: gateway, Duration: 1500, Detail: map[string]string{"k": "v"}}
}

// TestWire: the suite of every feed.Source, over a real socket.
func TestWire(t *testing.T) {
	feedtest.Test(t, func(t *testing.T) feedtest.Kit {
		p := start(t)
		return feedtest.Kit{Source: p.joined(p.abroad(), "gw-1", `{}`), Put: func(c feed.Change) feed.Cursor { return storetest.Put(t, p.Store, c) }}
	})
}

// TestWireAsks: what a gateway asks for, and why it does not get it, is the same over the wire as in the process.
func TestWireAsks(t *testing.T) {
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

// TestJoin: one token, one gateway.
func TestJoin(t *testing.T) {
	p := start(t)
	at := p.abroad()
	join := func(tok feed.JoinToken) error {
		_, err := feed.Join(t.Context(), []string{at}, tok, p.Now, rand.Reader)
		return err
	}
	tok := p.invite("gw-1", `{}`)
	if b, _ := json.Marshal(p.last()); strings.Contains(string(b), tok.Secret) {
		t.Error("the secret is in the record")
	}
	stranger := tok
	stranger.Fingerprint = strings.Repeat("A", 43)
	if err := join(stranger); err == nil || !strings.Contains(err.Error(), "another authority") {
		t.Errorf("a control plane of another authority: %v", err)
	}
	renamed := tok
	renamed.Name = "gw-9"
	if err := join(renamed); !errors.Is(err, feed.ErrRefused) || !strings.Contains(err.Error(), "another name") {
		t.Errorf("a token for another name: %v", err)
	}
	if err := join(tok); err != nil {
		t.Errorf("after it was tried for another name: %v", err)
	}
	if err := join(tok); !errors.Is(err, feed.ErrRefused) || !strings.Contains(err.Error(), "was used") {
		t.Errorf("a token that somebody used: %v", err)
	}
	g := p.joined(at, "gw-2", `{}`)
	if status, body := p.ask("POST", "/v1/gateways/gw-2/token", `{}`); status != http.StatusConflict || !strings.Contains(body, "--replace") {
		t.Errorf("a name twice: %d %s", status, body)
	}
	for _, bad := range []string{"GW", "gw", "a b", "../x"} { // gw is the one in the process
		if status, _ := p.ask("POST", "/v1/gateways/"+strings.ReplaceAll(bad, "/", "%2f")+"/token", `{}`); status/100 != 4 {
			t.Errorf("%q: %d", bad, status)
		}
	}
	one, two := p.invite("gw-3", `{}`), p.invite("gw-3", `{}`)
	if err := join(one); err != nil {
		t.Error(err)
	}
	if err := join(two); !errors.Is(err, feed.ErrRefused) {
		t.Errorf("a second of its name: %v", err)
	}
	late := p.invite("gw-4", `{}`)
	p.ahead.Store(int64(16 * time.Minute))
	if err := join(late); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a token of before: %v", err)
	}
	if err := g.Record(t.Context(), []ledger.Event{event(t, "gw-2")}); err != nil {
		t.Error(err)
	}
	p.joined(at, "gw-2", `{"replace":true}`)
	if err := g.Record(t.Context(), []ledger.Event{event(t, "gw-2")}); !errors.Is(err, feed.ErrEvicted) {
		t.Errorf("whose name another has: %v", err)
	}
}

// TestEvict: its watch ends at once, its view is over, and its certificate is good for nothing.
func TestEvict(t *testing.T) {
	p := start(t)
	p.settle()
	at := p.abroad()
	g, other := p.joined(at, "gw-1", `{}`), p.joined(at, "gw-2", `{}`)
	view, far := feed.NewView(), feed.NewView()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go feed.Follow(ctx, g, view, func(error) {})
	go feed.Follow(ctx, other, far, func(error) {})
	eventually(t, "both follow", func() bool {
		r := p.reached(p.Store.Head())
		return view.Live() == nil && far.Live() == nil && !r.Confirmed["gw-1"].IsZero() && !r.Confirmed["gw-2"].IsZero()
	})
	p.must("POST", "/v1/gateways/gw-1/evict", `{"reason":"lost"}`)
	eventually(t, "it knows", func() bool { return errors.Is(view.Live(), feed.ErrEvicted) })
	if far.Live() != nil {
		t.Error("another was evicted as well")
	}
	for what, err := range map[string]error{"events": g.Record(t.Context(), []ledger.Event{event(t, "gw-1")}), "credential": errOf(g.Credential(t.Context(), "mail", nil, feed.Secret{})),
		"ack": errOf(g.Ack(t.Context(), p.Store.Head())), "certificate": errOf(g.Rotate(t.Context(), g.member.Load(), rand.Reader))} {
		if !errors.Is(err, feed.ErrEvicted) {
			t.Errorf("%s of one that is evicted: %v", what, err)
		}
	}
	if e := p.last(); e.Type != "gateway.evict" || e.Reason != "lost" || e.Resource != "gw-1" {
		t.Errorf("%+v", e)
	}
	// It may not have heard: receipts wait for its lease to end, and for nothing else.
	now, r := p.Clock(), p.reached(feed.Cursor{Epoch: "x"})
	if until, ok := r.Waiting["gw-1 (evicted)"]; !ok || until.Sub(r.AsOf) > p.Lease || !r.Waiting["gw-1"].IsZero() {
		t.Errorf("receipts wait for %v", r.Waiting)
	}
	after := feed.Receipt{Cursor: r.Cursor}
	if p.acks.fill(&after, now.Add(p.Lease+time.Second), p.Now()); !after.Waiting["gw-1 (evicted)"].IsZero() {
		t.Errorf("receipts wait for it after its lease: %v", after.Waiting)
	}
	if status, _ := p.ask("POST", "/v1/gateways/gw-1/evict", `{}`); status != http.StatusConflict {
		t.Errorf("evicted twice: %d", status)
	}
	back := p.joined(at, "gw-1", `{}`)
	if _, err := back.Ack(t.Context(), p.Store.Head()); err != nil {
		t.Errorf("joined again: %v", err)
	}
	if _, err := g.Ack(t.Context(), p.Store.Head()); !errors.Is(err, feed.ErrEvicted) {
		t.Errorf("the old one of that name: %v", err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("never: " + what)
		}
	}
}

// TestRotate: the old certificate is good until the new one is shown, and not after; one that ended is good for nothing.
func TestRotate(t *testing.T) {
	p := start(t)
	g := p.joined(p.abroad(), "gw-1", `{}`)
	old := p.as(g.Addresses[0], g.member.Load())
	next, err := g.Rotate(t.Context(), g.member.Load(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	lost, err := g.Rotate(t.Context(), g.member.Load(), rand.Reader) // the answer before got lost
	if err != nil {
		t.Fatal(err)
	}
	head := p.Store.Head()
	if _, err := old.Ack(t.Context(), head); err != nil {
		t.Errorf("the old one, before the new one was shown: %v", err)
	}
	if _, err := p.as(g.Addresses[0], next).Ack(t.Context(), head); err == nil {
		t.Error("of two that were given out the first is good as well")
	}
	g.member.Store(lost)
	g.Forget()
	if _, err := g.Ack(t.Context(), head); err != nil {
		t.Errorf("the new one: %v", err)
	}
	if _, err := old.Ack(t.Context(), head); !errors.Is(err, feed.ErrCertificate) {
		t.Errorf("the old one, after the new one was shown: %v", err)
	}
	p.ahead.Store(int64(25 * time.Hour))
	if _, err := g.Ack(t.Context(), head); err == nil {
		t.Error("a certificate that ended is good")
	}
	fresh := p.as(g.Addresses[0], lost)
	if _, err := fresh.Ack(t.Context(), head); err == nil {
		t.Error("a certificate that ended is good on a new connection")
	}
}

// TestAuthorityRotates: whoever joined before goes on, is told, and whoever was away knows the control plane, too.
func TestAuthorityRotates(t *testing.T) {
	p := start(t)
	at := p.abroad()
	g, away := p.joined(at, "gw-1", `{}`), p.joined(at, "gw-2", `{}`)
	told := make(chan int, 10)
	g.OnTrust = func(ders [][]byte) error { told <- len(ders); return nil }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go feed.Follow(ctx, g, feed.NewView(), func(error) {})
	<-told
	tok := p.invite("gw-3", `{}`)
	p.must("POST", "/v1/ca/rotate", "")
	if n := <-told; n != 2 {
		t.Errorf("told of %d authorities", n)
	}
	head := p.Store.Head()
	if _, err := away.Ack(t.Context(), head); err != nil {
		t.Errorf("who was away: %v", err)
	}
	next, err := away.Rotate(t.Context(), away.member.Load(), rand.Reader)
	if err != nil || len(next.Trust) != 2 {
		t.Fatalf("%v", err)
	}
	if _, err := p.as(at, next).Ack(t.Context(), head); err != nil {
		t.Errorf("a certificate of the new authority: %v", err)
	}
	for name, tok := range map[string]feed.JoinToken{"of before": tok, "of now": p.invite("gw-4", `{}`)} {
		if _, err := feed.Join(t.Context(), []string{at}, tok, p.Now, rand.Reader); err != nil {
			t.Errorf("a join token %s: %v", name, err)
		}
	}
	p.ahead.Store(int64(31 * 24 * time.Hour))
	if err := p.fleet.ca.Prune(t.Context()); err != nil || len(p.fleet.ca.List()) != 1 {
		t.Errorf("%v %v", p.fleet.ca.List(), err)
	}
}

// TestStrangersAtFeed: nothing but joining is for who shows no certificate of the fleet's.
func TestStrangersAtFeed(t *testing.T) {
	p := start(t)
	at := p.abroad()
	size := p.Store.Size()
	listener, err := p.fleet.ca.Listener() // the control plane's own is no gateway's
	if err != nil {
		t.Fatal(err)
	}
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "the control plane's": {*listener}} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}}
		for _, path := range []string{feed.PathWatch, feed.PathAck, feed.PathRecord, feed.PathCredential, feed.PathBudget, feed.PathAsk, feed.PathUse, feed.PathIntroduce, feed.PathRotate, "/v1/status", "/metrics", "/feed/v1/x"} {
			method := "POST"
			if path == feed.PathWatch {
				method = "GET"
			}
			req, _ := http.NewRequest(method, at+path, strings.NewReader("{}"))
			req.Header.Set(feed.VersionHeader, "1")
			res, err := c.Do(req)
			if err != nil {
				if name == "none" {
					t.Errorf("%s: %v", path, err)
				}
				continue
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusNotFound {
				t.Errorf("%s with %s: %d %s", path, name, res.StatusCode, b)
			}
		}
	}
	if p.Store.Size() != size {
		t.Error("a stranger wrote something")
	}
	for name, config := range map[string]*tls.Config{"TLS 1.2": {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}} {
		if c, err := tls.Dial("tcp", strings.TrimPrefix(at, "https://"), config); err == nil {
			c.Close()
			t.Errorf("%s is spoken", name)
		}
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

// TestSlowGateway: who takes nothing in for too long is cut, and goes on from where it was.
func TestSlowGateway(t *testing.T) {
	p := start(t)
	g := p.joined(p.abroad(), "gw-1", `{}`)
	p.fleet.slow = 200 * time.Millisecond
	for range 2 {
		storetest.Put(t, p.Store, feed.Change{Upstream: &policy.Upstream{Name: "big", URL: "http://127.0.0.1:1", Description: []byte(strings.Repeat("x", 3<<20)), Family: "patterns"}})
	}
	sleepy := p.as(g.Addresses[0], g.member.Load())
	var at feed.Cursor
	var ended error
	for c, err := range sleepy.Watch(t.Context(), feed.Cursor{}) {
		if err != nil {
			ended = err
			break
		}
		if at = c.Cursor; c.Synced {
			for range 12 {
				storetest.Put(t, p.Store, feed.Change{Upstream: &policy.Upstream{Name: "big", URL: "http://127.0.0.1:1", Description: []byte(strings.Repeat("y", 3<<20)), Family: "patterns"}})
			}
			time.Sleep(2 * time.Second)
		}
	}
	if ended == nil || at.Seq == p.Store.Head().Seq {
		t.Fatalf("it was not cut: %v, at %v", ended, at)
	}
	p.fleet.slow = 30 * time.Second
	for c, err := range g.Watch(t.Context(), at) {
		if err != nil || c.Cursor.Seq != at.Seq+1 {
			t.Fatalf("after %v comes %v %v", at, c.Cursor, err)
		}
		if at = c.Cursor; at == p.Store.Head() {
			break
		}
	}
}

// TestOneWatch: a gateway has one watch. The older of two is told so.
func TestOneWatch(t *testing.T) {
	p := start(t)
	g := p.joined(p.abroad(), "gw-1", `{}`)
	twin := p.as(g.Addresses[0], g.member.Load())
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for c, err := range g.Watch(t.Context(), feed.Cursor{}) {
			if err != nil {
				ended <- err
				return
			}
			if c.Synced {
				close(began)
			}
		}
	}()
	<-began
	for c, err := range twin.Watch(t.Context(), feed.Cursor{}) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Synced {
			break
		}
	}
	if err := <-ended; !strings.Contains(err.Error(), "another watch") {
		t.Errorf("the older one: %v", err)
	}
}
