package control

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// ticker is a boot clock for tests, which begins long after the start of the machine.
type ticker struct{ boot, steady atomic.Int64 }

func (c *ticker) now() feed.Instant {
	return feed.Instant{Boot: time.Hour + time.Duration(c.boot.Load()), Steady: time.Hour + time.Duration(c.steady.Load())}
}

func (c *ticker) pass(d time.Duration) {
	c.boot.Add(int64(d))
	c.steady.Add(int64(d))
}

// TestReceipt: the answer to a kill names who enforces it, and when who does not has stopped.
func TestReceipt(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.settle()
	if lease, err := p.Source("deaf").Ack(t.Context(), p.Store.Head()); err != nil || lease != feed.DefaultLease {
		t.Fatal(lease, err)
	}
	var k KillResult
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/kill", `{"identity":"bot","reason":"x"}`)), &k); err != nil {
		t.Fatal(err)
	}
	stops := k.Receipt.Waiting[p.here("deaf")]
	if _, ok := k.Receipt.Confirmed[p.here("gw")]; !ok || len(k.Receipt.Waiting) != 1 || !stops.Equal(k.Receipt.Bound) || k.Receipt.Settled() || k.Count != 1 || k.Credentials != 1 {
		t.Errorf("%+v", k)
	}
	if left := stops.Sub(k.Receipt.AsOf); left <= 0 || left > feed.DefaultLease {
		t.Errorf("it stops in %s", left)
	}
	s, _ := p.View.Subject(k.Identities[0])
	if s.Identity.State != identity.Killed {
		t.Errorf("confirmed, and yet %s", s.Identity.State)
	}
}

// TestReceiptWait: who waits is answered when the last has confirmed, or has stopped, and can ask how it goes on.
func TestReceiptWait(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.settle()
	p.Lease = 3 * time.Second // longer than nobody waits, shorter than who does
	deaf := p.Source("deaf")
	if _, err := deaf.Ack(t.Context(), p.Store.Head()); err != nil {
		t.Fatal(err)
	}
	var c Changed
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/identities/bot/suspend?wait=30s", `{"reason":"x"}`)), &c); err != nil || !c.Receipt.Settled() || len(c.Receipt.Waiting) != 1 {
		t.Fatalf("%v %+v", err, c)
	}
	at := fmt.Sprintf("/v1/receipt?epoch=%s&seq=%d", c.Receipt.Cursor.Epoch, c.Receipt.Cursor.Seq)
	var r feed.Receipt
	if err := json.Unmarshal([]byte(p.must("GET", at, "")), &r); err != nil || len(r.Waiting) != 1 {
		t.Errorf("%v %+v", err, r)
	}
	if _, err := deaf.Ack(t.Context(), c.Receipt.Cursor); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(p.must("GET", at+"&wait=30s&known=1", "")), &r); err != nil || len(r.Confirmed) != 2 {
		t.Errorf("%v %+v", err, r)
	}
	for path, want := range map[string]int{
		"/v1/receipt?epoch=x&seq=1": 404, at + "0000": 404, at + "&wait=1h": 422, at + "&wait=soon": 422,
		"/v1/status?wait=1s": 422, "/v1/identities?wait=1s": 422,
	} {
		if status, body := p.ask("GET", path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	doc, err := p.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Paths map[string]map[string]struct{ Parameters []struct{ Name string } }
	}
	if err := json.Unmarshal(doc, &api); err != nil {
		t.Fatal(err)
	}
	waits := func(path, method string) bool {
		for _, q := range api.Paths[path][method].Parameters {
			if q.Name == "wait" {
				return true
			}
		}
		return false
	}
	if !waits("/v1/kill", "post") || !waits("/v1/receipt", "get") || !waits("/v1/guardrails/{name}", "put") || waits("/v1/status", "get") || waits("/v1/guardrails/{name}", "get") {
		t.Error("the description does not say where one can wait")
	}
}

// TestLeaseRule holds what is given and what is promised against each other, whatever gateways say.
func TestLeaseRule(t *testing.T) {
	const lease = 10 * time.Second
	type step struct {
		after time.Duration
		do    string // ack GATEWAY BEHIND, commit, receipt
		lease time.Duration
		waits string // receipt: gateway=until, from the beginning
	}
	for name, steps := range map[string][]step{
		"nothing changes": {{0, "ack a 0", lease, ""}, {3 * time.Second, "ack a 0", lease, ""}},
		"it is cut off": {{0, "ack a 0", lease, ""}, {4 * time.Second, "commit", 0, ""}, {0, "receipt", 0, "a=10s"},
			{20 * time.Second, "receipt", 0, "a=10s"}},
		"its changes are held up and its acks are not": {{0, "ack a 0", lease, ""}, {4 * time.Second, "ack a 0", lease, ""}, {time.Second, "commit", 0, ""}, {0, "receipt", 0, "a=14s"},
			{3 * time.Second, "ack a 1", 6 * time.Second, ""}, {3 * time.Second, "ack a 1", 3 * time.Second, ""}, {0, "receipt", 0, "a=14s"}, {4 * time.Second, "ack a 1", 0, ""}},
		"held up, and nobody has asked for a receipt": {{0, "ack a 0", lease, ""}, {time.Second, "ack b 0", lease, ""}, {time.Second, "commit", 0, ""}, {3 * time.Second, "ack b 0", lease, ""},
			{0, "ack a 1", 6 * time.Second, ""}, {0, "receipt", 0, "a=11s"}},
		"it catches up": {{0, "ack a 0", lease, ""}, {time.Second, "commit", 0, ""}, {0, "receipt", 0, "a=10s"}, {8 * time.Second, "ack a 0", lease, ""}, {0, "receipt", 0, ""}},
		"under one name two": {{0, "ack a 0", lease, ""}, {time.Second, "commit", 0, ""}, {0, "ack a 0", lease, ""}, {5 * time.Second, "ack a 1", 4 * time.Second, ""},
			{0, "receipt", 0, "a=11s"}, {0, "ack a 0", lease, ""}, {0, "receipt", 0, ""}},
		"an old view comes back": {{0, "ack a 0", lease, ""}, {0, "commit", 0, ""}, {0, "ack a 0", lease, ""}, {time.Minute, "ack a 1", 0, ""}},
		"somebody sets the wall clock": {{0, "ack a 0", lease, ""}, {0, "wall 5h", 0, ""}, {time.Second, "ack a 0", lease, ""}, {0, "wall -90h", 0, ""}, {2 * time.Second, "commit", 0, ""}, {0, "wall 1000h", 0, ""},
			{0, "receipt", 0, "a=11s"}, {3 * time.Second, "ack a 1", 5 * time.Second, ""}, {0, "wall -3h", 0, ""}, {0, "receipt", 0, "a=11s"}},
		"a history that is over": {{0, "ack a 0", lease, ""}, {0, "ack a other", 0, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			p.settle()
			clock := &ticker{}
			p.Clock = clock.now
			p.acks = acks{of: map[string]*ack{}, begun: clock.now(), nodes: newNodes(false)}
			begun, promised := clock.now(), map[string]time.Duration{}
			for i, s := range steps {
				clock.pass(s.after)
				f := strings.Fields(s.do)
				passed := clock.now().Since(begun)
				switch f[0] {
				case "wall":
					d, err := time.ParseDuration(f[1])
					if err != nil {
						t.Fatal(err)
					}
					p.ahead.Add(int64(d))
				case "commit":
					if _, err := p.Store.Write(t.Context(), func(tx *store.Tx) error {
						tx.Record(storetest.Event("test.put"))
						return tx.RevokeToken(feed.TokenRevocation{ID: fmt.Sprint("tok_", i), Expires: time.Now().Add(time.Hour)})
					}); err != nil {
						t.Fatal(err)
					}
				case "ack":
					at := p.Store.Head()
					if f[2] == "1" {
						at.Seq--
					} else if f[2] == "other" {
						at.Epoch = "other"
					}
					got, err := p.Source(f[1]).Ack(t.Context(), at)
					if err != nil || got != s.lease {
						t.Errorf("step %d: %s: lease %s, want %s (%v)", i, s.do, got, s.lease, err)
					}
					if until, ok := promised[f[1]]; ok && got > 0 && f[2] == "1" && passed+got > until {
						t.Errorf("step %d: a lease until %s, and %s was promised", i, passed+got, until)
					}
				case "receipt":
					r := feed.Receipt{Cursor: p.Store.Head()}
					p.acks.fill(&r, clock.now(), p.Now())
					delete(r.Waiting, "gw") // follows by the clock of the machine
					var waits []string
					for _, g := range []string{"a"} {
						if until, ok := r.Waiting[g]; ok {
							promised[g] = passed + until.Sub(r.AsOf)
							waits = append(waits, fmt.Sprint(g, "=", promised[g]))
						}
					}
					if got := strings.Join(waits, " "); got != s.waits {
						t.Errorf("step %d: waiting %s, want %s", i, got, s.waits)
					}
				}
			}
		})
	}
}

// TestRecall: the next control plane knows which gateways there were, and until when they may act by what the one before gave them.
func TestRecall(t *testing.T) {
	p := start(t)
	p.settle()
	if p.Store.Shared() {
		t.Skip("there another node may have given a lease since: TestStoppedNode")
	}
	p.Lease = time.Minute
	if _, err := p.Source("far").Ack(t.Context(), p.Store.Head()); err != nil {
		t.Fatal(err)
	}
	clock := &ticker{}
	p.Clock, p.Lease = clock.now, 10*time.Second
	again := func() (stops time.Duration, ok bool) {
		r := feed.Receipt{Cursor: p.Store.Head()}
		p.acks.fill(&r, clock.now(), p.Now())
		until, ok := r.Waiting[p.here("far")]
		return until.Sub(r.AsOf), ok
	}
	if err := p.recall(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, ok := again(); !ok || d != time.Minute {
		t.Errorf("it stops in %s", d)
	}
	clock.pass(30 * time.Second)
	stale := p.Store.Head()
	stale.Epoch = "other"
	if _, err := p.Source("far").Ack(t.Context(), stale); err != nil {
		t.Fatal(err)
	}
	if d, _ := again(); d != 30*time.Second {
		t.Errorf("a shorter lease than before makes it stop in %s", d)
	}
	for _, want := range []time.Duration{time.Minute, 10 * time.Second} { // the row is shortened when the longer one is over
		for _, k := range p.acks.noted(clock.now(), p.Lease) {
			if k.Gateway == p.here("far") && k.Lease != want {
				t.Errorf("noted %+v, want %s", k, want)
			}
		}
		clock.pass(time.Minute)
	}
	if names := p.acks.forget(clock.now()); len(names) != 0 {
		t.Errorf("forgotten: %v", names)
	}
	clock.pass(2 * gone)
	if names := p.acks.forget(clock.now()); !strings.Contains(fmt.Sprint(names), "far") {
		t.Errorf("never forgotten: %v", names)
	}
}

// TestSuspended: a machine that was suspended has no lease left, and is promised no sooner than that.
func TestSuspended(t *testing.T) {
	c := &ticker{}
	until := c.now().Add(10 * time.Second)
	c.boot.Add(int64(time.Minute))
	if l := left(until, c.now()); l > 0 {
		t.Errorf("left: %s", l)
	}
	if s := surely(until, c.now()); s != 10*time.Second {
		t.Errorf("promised: %s", s)
	}
}

// TestBehindOldEpoch: a gateway that follows what was before a restore is behind by all that there is, wherever that is said.
func TestBehindOldEpoch(t *testing.T) {
	p := start(t)
	p.settle()
	head := p.Store.Head()
	old := feed.Cursor{Epoch: "before", Seq: head.Seq}
	if _, err := p.Source("far").Ack(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	s, err := p.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]uint64{"a gateway": p.gatewayView(store.Gateway{Name: "far", State: "local"}).Behind}
	for _, g := range s.Gateways {
		if g.Name == p.here("far") {
			said["status"] = g.Behind
		}
	}
	all, err := p.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == "lanyard_feed_behind_changes" {
			said["metrics"] = uint64(m.GetMetric()[0].GetGauge().GetValue())
		}
	}
	for where, n := range said {
		if n != head.Seq {
			t.Errorf("%s: %d behind, want %d", where, n, head.Seq)
		}
	}
	if len(said) != 3 {
		t.Errorf("%v", said)
	}
}
