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

// TestSlowGateway: who takes nothing in for too long is cut, and goes on from where it was.
func TestSlowGateway(t *testing.T) {
	t.Parallel()
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
