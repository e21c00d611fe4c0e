package control

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// nodesOn are several control nodes on one database, and where gateways join the last one.
func nodesOn(t *testing.T, n int) (list []*plane, at string) {
	t.Helper()
	var shared pgserver.Shared
	t.Cleanup(shared.End)
	c := storetest.Config(t)
	c.Database = shared.New(t)
	for range n {
		p := node(t, c)
		at = p.abroad()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.tellAcks(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		list = append(list, p)
	}
	for _, p := range list { // the last one made it anew
		p.token = list[n-1].token
	}
	list[0].settle()
	return list, at
}

// stops is by when a receipt says that a gateway has stopped; 0: it does not wait for it.
func stops(r feed.Receipt, gateway string) time.Duration {
	if until, ok := r.Waiting[gateway]; ok {
		return until.Sub(r.AsOf)
	}
	return 0
}

// TestReceiptOfNodes: a receipt of one control node names the gateways that follow another, confirmed as soon as that one hears it,
// and those that say nothing with a bound that holds for whatever lease they were given there.
func TestReceiptOfNodes(t *testing.T) {
	t.Parallel()
	nodes, at := nodesOn(t, 2)
	a, b := nodes[0], nodes[1]
	good, deaf := b.joined(at, "good", `{}`), b.joined(at, "deaf", `{}`)
	for _, g := range []*far{good, deaf} {
		if lease, err := g.Ack(t.Context(), errFree(b.Store.Latest(t.Context()))); err != nil || lease <= 0 {
			t.Fatalf("%s %v", lease, err)
		}
	}
	following, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed.Follow(following, good, feed.NewView(), func(error) {})
	}()
	defer func() { cancel(); <-done }()
	for i := range 5 {
		var c Changed
		if err := json.Unmarshal([]byte(a.must("PUT", fmt.Sprintf("/v1/guardrails/r%d?wait=1500ms", i), `{"cedar":"forbid (principal, action == Lanyard::Action::\"m.send\", resource);"}`)), &c); err != nil {
			t.Fatal(err)
		}
		r := c.Receipt
		names := slices.Sorted(maps.Keys(r.Confirmed))
		if want := []string{"good", a.here("gw"), b.here("gw")}; !slices.Equal(names, slices.Sorted(slices.Values(want))) {
			t.Errorf("confirmed by %q, want %q; waiting %v", names, want, r.Waiting)
		}
		if d := stops(r, "deaf"); d <= 0 || d > a.Lease || len(r.Waiting) != 1 || r.Settled() {
			t.Errorf("deaf stops in %s: %+v", d, r)
		}
		// What the other node gives it now ends a lease after the commit, and that was before the receipt was waited for.
		lease, err := deaf.Ack(t.Context(), feed.Cursor{Epoch: r.Cursor.Epoch, Seq: r.Cursor.Seq - 1})
		if err != nil || lease > a.Lease-1500*time.Millisecond {
			t.Errorf("a lease of %s: %v", lease, err)
		}
	}
	// The other node, asked for the same change later, says the same.
	var r feed.Receipt
	head := errFree(b.Store.Latest(t.Context()))
	if err := json.Unmarshal([]byte(b.must("GET", fmt.Sprintf("/v1/receipt?epoch=%s&seq=%d&wait=2s", head.Epoch, head.Seq), "")), &r); err != nil || r.Confirmed["good"].IsZero() || r.Confirmed[a.here("gw")].IsZero() || stops(r, "deaf") <= 0 {
		t.Errorf("%v %+v", err, r)
	}
}

// TestEvictedAtAnotherNode: who is evicted at one node is cut off at the other at once, gets no lease there, and is waited for until it has none.
func TestEvictedAtAnotherNode(t *testing.T) {
	t.Parallel()
	nodes, at := nodesOn(t, 2)
	a, b := nodes[0], nodes[1]
	b.fleet.alive = time.Hour // it does not look by itself
	g := b.joined(at, "gw-1", `{}`)
	if lease, err := g.Ack(t.Context(), errFree(b.Store.Latest(t.Context()))); err != nil || lease <= 0 {
		t.Fatalf("%s %v", lease, err)
	}
	ended := make(chan error, 1)
	seen := make(chan struct{})
	go func() {
		for c, err := range g.Watch(t.Context(), feed.Cursor{}) {
			if err != nil {
				ended <- err
				return
			}
			if c.Synced {
				close(seen)
			}
		}
	}()
	<-seen
	a.must("POST", "/v1/gateways/gw-1/evict", `{"reason":"x"}`)
	select {
	case err := <-ended:
		if !strings.Contains(err.Error(), "evicted") {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it follows still")
	}
	if lease, err := g.Ack(t.Context(), errFree(b.Store.Latest(t.Context()))); err == nil || lease != 0 {
		t.Errorf("a lease of %s: %v", lease, err)
	}
	next := errFree(b.Store.Latest(t.Context()))
	next.Seq++ // a change that it cannot have heard of
	for _, p := range nodes {
		r := feed.Receipt{Cursor: next}
		if err := p.meet(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.acks.fill(&r, p.Clock(), p.Now())
		if d := stops(r, "gw-1 (evicted)"); d <= 0 || d > p.Lease {
			t.Errorf("it stops in %s: %+v", d, r)
		}
	}
}

// TestStoppedNode: what ran at a node that ended is waited for no more; of one that crashed, as long as it takes to be sure.
func TestStoppedNode(t *testing.T) {
	t.Parallel()
	nodes, _ := nodesOn(t, 3)
	crashed, ended, clock := nodes[1], nodes[2], &ticker{}
	c := nodes[0].Config
	c.Metrics, c.Fleet, c.Clock = newMetrics(), false, clock.now
	a, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	change := errFree(a.Store.Latest(t.Context()))
	waits := func() feed.Receipt {
		t.Helper()
		change.Seq++ // which nobody has
		r := feed.Receipt{Cursor: change}
		if err := a.meet(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.acks.fill(&r, a.Clock(), a.Now())
		return r
	}
	for _, p := range nodes {
		if d := stops(waits(), p.here("gw")); d <= 0 || d > p.Lease {
			t.Errorf("%s stops in %s", p.Node, d)
		}
	}
	if err := ended.leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.recall(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := waits(); stops(r, ended.here("gw")) != 0 || stops(r, crashed.here("gw")) != a.Lease {
		t.Errorf("%+v", r)
	}
	clock.pass(right)
	if d := stops(waits(), crashed.here("gw")); d != a.Lease {
		t.Errorf("it may have a lease until %s", d)
	}
	clock.pass(a.Lease / 2)
	if d := stops(waits(), crashed.here("gw")); d != a.Lease/2 {
		t.Errorf("it may have a lease until %s", d)
	}
	clock.pass(a.Lease)
	if d := stops(waits(), crashed.here("gw")); d > 0 {
		t.Errorf("its row did not change for longer than anybody may give leases on it, and it stops in %s", d)
	}
	if err := crashed.Store.NoteAcks(t.Context(), []store.Ack{{Gateway: crashed.here("gw"), At: a.Now(), Lease: a.Lease}}, nil); err != nil {
		t.Fatal(err)
	}
	if d := stops(waits(), crashed.here("gw")); d <= 0 {
		t.Error("its row was put again, and it is not waited for")
	}
	clock.pass(gone + right + a.Lease + time.Second)
	for _, k := range a.acks.forget(clock.now()) {
		if err := a.Store.NoteAcks(t.Context(), nil, []store.Ack{k}); err != nil {
			t.Fatal(err)
		}
	}
	if d, ok := waits().Waiting[crashed.here("gw")]; ok {
		t.Errorf("it is told of for ever: %s", d)
	}
}

// TestFirstLease: a gateway that comes to a node gets no lease from before its row was there, so that who looks there after a change misses nobody.
func TestFirstLease(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.settle()
	before := p.Store.Head()
	if _, err := p.Source("a").Ack(t.Context(), before); err != nil { // so that there is a moment at which that was all
		t.Fatal(err)
	}
	p.must("PUT", "/v1/owners/zoe", `{"name":"Zoe","email":"zoe@example.com"}`)
	if lease, err := p.Source("late").Ack(t.Context(), before); err != nil || lease != 0 {
		t.Errorf("a lease of %s: %v", lease, err)
	}
	if lease, err := p.Source("late").Ack(t.Context(), p.Store.Head()); err != nil || lease <= 0 {
		t.Errorf("a lease of %s: %v", lease, err)
	}
}

// TestUnknownGateways: a receipt is not settled while the database does not say who there is.
func TestUnknownGateways(t *testing.T) {
	t.Parallel()
	nodes, _ := nodesOn(t, 1)
	a := nodes[0]
	r := feed.Receipt{Cursor: a.Store.Head()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is read under it
	a.await(ctx, &r, 50*time.Millisecond, func() bool { return r.Settled() })
	if d := stops(r, others); d <= a.Lease || r.Settled() {
		t.Errorf("%+v", r)
	}
}

// TestRowOver: a node that stood still between looking at a row and giving a lease on it gives none.
func TestRowOver(t *testing.T) {
	t.Parallel()
	nodes, _ := nodesOn(t, 1)
	clock, looks := &ticker{}, 0
	c := nodes[0].Config
	c.Metrics, c.Fleet = newMetrics(), false
	c.Clock = func() feed.Instant { // the second look of an acknowledgement is the moment that leases are counted from
		if looks++; looks == 2 {
			clock.pass(right)
		}
		return clock.now()
	}
	p, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, stood := range []bool{false, false, true} {
		if looks = 10; stood {
			looks = 0
		}
		lease, err := p.acknowledged(t.Context(), "far", time.Time{}, errFree(p.Store.Latest(t.Context())))
		if err != nil || (lease == 0) != stood {
			t.Errorf("stood still %v: a lease of %s: %v", stood, lease, err)
		}
	}
}

// TestRowPutAgain: a gateway whose row was away for a while gets no lease from before it was there again: who looked meanwhile saw nobody.
func TestRowPutAgain(t *testing.T) {
	t.Parallel()
	nodes, _ := nodesOn(t, 1)
	clock := &ticker{}
	c := nodes[0].Config
	c.Metrics, c.Fleet, c.Clock = newMetrics(), false, clock.now
	p, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ack := func(name string, at feed.Cursor) time.Duration {
		t.Helper()
		lease, err := p.acknowledged(t.Context(), name, time.Time{}, at)
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
	forget := func(name string) {
		t.Helper()
		rows := errFree(read(t.Context(), p, func(tx *store.Tx) ([]store.Ack, error) { return tx.Acks() }))
		rows = slices.DeleteFunc(rows, func(k store.Ack) bool { return k.Gateway != name })
		if err := p.Store.NoteAcks(t.Context(), nil, rows); err != nil || len(rows) != 1 {
			t.Fatal(err, rows)
		}
	}
	for name, again := range map[string]func(){
		"it came itself": func() {},
		"another node put it again": func() {
			if err := p.Store.NoteAcks(t.Context(), []store.Ack{{Gateway: "far", At: p.Now(), Lease: p.Lease}}, nil); err != nil {
				t.Fatal(err)
			}
		},
		"and it was looked at": func() {
			if err := p.Store.NoteAcks(t.Context(), []store.Ack{{Gateway: "far", At: p.Now(), Lease: p.Lease}}, nil); err != nil {
				t.Fatal(err)
			}
			if err := p.meet(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		before := errFree(p.Store.Latest(t.Context()))
		if lease := ack("far", before); lease != p.Lease {
			t.Fatalf("%s: at first %s", name, lease)
		}
		clock.pass(right + time.Second) // it went to another node, which forgot it in the end
		forget("far")
		ack("other", before) // at this moment there was nothing after it
		clock.pass(p.Lease / 4)
		nodes[0].must("PUT", "/v1/owners/zoe", `{"name":"Zoe `+name+`","email":"zoe@example.com"}`)
		again()
		if lease := ack("far", before); lease != 0 {
			t.Errorf("%s: a lease of %s from before its row was there", name, lease)
		}
		if lease := ack("far", errFree(p.Store.Latest(t.Context()))); lease != p.Lease {
			t.Errorf("%s: when it has caught up: %s", name, lease)
		}
		// The same while this node could note nothing for longer than its right lasts.
		clock.pass(right + time.Second)
		before = errFree(p.Store.Latest(t.Context()))
		ack("other", before)
		clock.pass(p.Lease / 4)
		nodes[0].must("PUT", "/v1/owners/zoe", `{"name":"Zoe again `+name+`","email":"zoe@example.com"}`)
		if err := p.noteAcksOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if lease := ack("far", before); lease != 0 {
			t.Errorf("%s: noted anew: a lease of %s", name, lease)
		}
	}
}

// TestJoinedByAnEvictedName: who joins by the name of a gateway that was evicted gets no lease from before it joined, at whichever node, also at one that
// did not hear of the eviction.
func TestJoinedByAnEvictedName(t *testing.T) {
	t.Parallel()
	var shared pgserver.Shared
	t.Cleanup(shared.End)
	for name, test := range map[string]struct{ evict, join int }{ // at which node; 0 is where it had been and acknowledges, -1: it is replaced
		"evicted and joined elsewhere": {1, 1}, "evicted elsewhere": {1, 0}, "joined elsewhere": {0, 1}, "evicted and joined there": {0, 0}, "replaced elsewhere": {-1, 1}, "replaced there": {-1, 0},
	} {
		c := storetest.Config(t)
		c.Database = shared.New(t)
		var nodes []*plane // nobody has them hear each other's words
		var at []string
		for range 2 {
			p := node(t, c)
			nodes, at = append(nodes, p), append(at, p.abroad())
		}
		nodes[0].token = nodes[1].token
		here := nodes[0]
		old := here.joined(at[0], "gw-1", `{}`)
		before := errFree(here.Store.Latest(t.Context()))
		if lease, err := old.Ack(t.Context(), before); err != nil || lease <= 0 {
			t.Fatalf("%s: %s %v", name, lease, err)
		}
		if test.evict >= 0 {
			nodes[test.evict].must("POST", "/v1/gateways/gw-1/evict", `{"reason":"x"}`)
		}
		for _, p := range nodes {
			p.ahead.Add(int64(time.Second))
		}
		nodes[1].must("PUT", "/v1/owners/zoe", `{"name":"Zoe","email":"zoe@example.com"}`)
		joins := nodes[test.join].joined(at[test.join], "gw-1", fmt.Sprintf(`{"replace":%v}`, test.evict < 0))
		next := here.as(at[0], joins.member.Load())
		if lease, err := next.Ack(t.Context(), before); err != nil || lease != 0 {
			t.Errorf("%s: a lease of %s from before it joined: %v", name, lease, err)
		}
		head := errFree(here.Store.Latest(t.Context()))
		if lease, err := next.Ack(t.Context(), head); err != nil || lease <= 0 {
			t.Errorf("%s: %s %v", name, lease, err)
		}
		if lease, err := old.Ack(t.Context(), head); err == nil || lease != 0 {
			t.Errorf("%s: the one before has a lease of %s", name, lease)
		}
		for n, p := range nodes {
			r := feed.Receipt{Cursor: head}
			if err := p.meet(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.acks.fill(&r, p.Clock(), p.Now())
			if d := stops(r, "gw-1 (evicted)"); d <= 0 || d > p.Lease+right || n == 0 && r.Confirmed["gw-1"].IsZero() {
				t.Errorf("%s: by node %d the one before stops in %s: %+v", name, n, d, r)
			}
		}
	}
}

// TestEvictedHeardLate: a node that hears late that a gateway was replaced at another one, after it heard of the new one, does not take the new
// one's word for the one before, which may still have a lease.
func TestEvictedHeardLate(t *testing.T) {
	nodes, at := nodesOn(t, 2)
	a, b := nodes[0], nodes[1]
	old := b.joined(at, "gw-1", `{}`)
	if lease, err := old.Ack(t.Context(), errFree(b.Store.Latest(t.Context()))); err != nil || lease <= 0 {
		t.Fatalf("%s %v", lease, err)
	}
	if err := a.meet(t.Context()); err != nil {
		t.Fatal(err)
	}
	words := make(chan string, 100)
	a.Store.OnTold(func(word string) { words <- word })
	a.must("PUT", "/v1/guardrails/r?wait=1ms", `{"cedar":"forbid (principal, action == Lanyard::Action::\"m.send\", resource);"}`)
	change := errFree(a.Store.Latest(t.Context()))
	b.ahead.Add(int64(time.Second))
	b.joined(at, "gw-1", `{"replace":true}`)
	next := errFree(a.Store.Gateway(t.Context(), "gw-1"))
	if lease, err := a.acknowledged(t.Context(), "gw-1", next.Joined, errFree(a.Store.Latest(t.Context()))); err != nil {
		t.Fatalf("%s %v", lease, err)
	}
	for word := ""; !strings.Contains(word, "evicted"); {
		select {
		case word = <-words:
			a.told(word)
		case <-time.After(20 * time.Second):
			t.Fatal("it was not heard of")
		}
	}
	if err := a.meet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := a.reached(change); stops(r, "gw-1 (evicted)") <= 0 || stops(r, "gw-1 (evicted)") > a.Lease {
		t.Errorf("%+v", r)
	}
}

// TestReceiptAskedElsewhere: whoever balances between nodes may bring the next question to one that has not heard of the change yet.
func TestReceiptAskedElsewhere(t *testing.T) {
	nodes, _ := nodesOn(t, 2)
	a, b := nodes[0], nodes[1]
	for n := range 50 {
		at, err := a.registry.Do(t.Context(), registry.Self, func(c *registry.Change) error {
			_, err := c.PutOwner(identity.Owner{ID: identity.OwnerID(fmt.Sprint("o", n)), Name: "x", Email: fmt.Sprint("o", n, "@example.com")})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		b.must("GET", fmt.Sprintf("/v1/receipt?epoch=%s&seq=%d", at.Epoch, at.Seq), "")
	}
}

// TestRestoredBeneath: a node that was cut off from its database while an older backup was put in place there gives leases on that one's
// changes, and not only once there are as many as there were.
func TestRestoredBeneath(t *testing.T) {
	var a acks
	clock := &ticker{}
	a.see(clock.now(), feed.Cursor{Epoch: "before", Seq: 10})
	clock.pass(time.Minute)
	a.see(clock.now(), feed.Cursor{Epoch: "restored", Seq: 7})
	if from, ok := a.current(7); !ok || from != clock.now() {
		t.Errorf("leases run from %v, %v; it is %v", from, ok, clock.now())
	}
}
