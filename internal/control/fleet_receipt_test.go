package control

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// reached is a receipt of now.
func (p *plane) reached(at feed.Cursor) feed.Receipt {
	r := feed.Receipt{Cursor: at}
	p.acks.fill(&r, p.Clock(), p.Now())
	return r
}

// TestReceiptsAfterRestart: a gateway that may have a lease is waited for from the start, and one that never had any is not.
func TestReceiptsAfterRestart(t *testing.T) {
	p := start(t)
	at := p.abroad()
	if _, err := p.joined(at, "gw-1", `{}`).Ack(t.Context(), p.Store.Head()); err != nil {
		t.Fatal(err)
	}
	p.joined(at, "gw-2", `{}`)
	again, err := Open(t.Context(), func() Config { c := p.Config; c.Metrics = newMetrics(); return c }())
	if err != nil {
		t.Fatal(err)
	}
	r := feed.Receipt{Cursor: p.Store.Head()}
	again.acks.fill(&r, again.Clock(), p.Now())
	if until, ok := r.Waiting["gw-1"]; !ok || !r.Waiting["gw-2"].IsZero() || until.Sub(r.AsOf) > p.Lease+time.Second {
		t.Errorf("waiting for %v", r.Waiting)
	}
	if err := p.Store.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Gateway("gw-1"); return err }); err != nil {
		t.Error(err)
	}
}

// TestReplacedReceipts: what the one confirms that took a gateway's place is not taken for the word of the one before, which may still
// have a lease; also the next control plane knows that, and forgets it when it is over.
func TestReplacedReceipts(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.settle()
	at := p.abroad()
	old := p.joined(at, "gw-1", `{}`)
	if lease, err := old.Ack(t.Context(), p.Store.Head()); err != nil || lease <= 0 {
		t.Fatalf("%s %v", lease, err)
	}
	next := p.joined(at, "gw-1", `{"replace":true}`)
	p.must("POST", "/v1/kill", `{"identity":"bot","reason":"x"}`)
	if _, err := next.Ack(t.Context(), p.Store.Head()); err != nil {
		t.Fatal(err)
	}
	if lease, err := old.Ack(t.Context(), p.Store.Head()); !errors.Is(err, feed.ErrEvicted) || lease != 0 {
		t.Errorf("the old one gets a lease of %s: %v", lease, err)
	}
	r := p.reached(p.Store.Head())
	if stops := r.Waiting["gw-1 (evicted)"].Sub(r.AsOf); r.Confirmed["gw-1"].IsZero() || stops <= 0 || stops > p.Lease || r.Settled() {
		t.Errorf("%+v", r)
	}
	if err := p.recall(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = p.reached(p.Store.Head())
	if stops := r.Waiting["gw-1 (evicted)"].Sub(r.AsOf); stops <= 0 || stops > p.Lease {
		t.Errorf("after a restart it stops in %s", stops)
	}
	over := p.Clock().Add(p.Lease + time.Second)
	if p.acks.fill(&r, over, p.Now()); !r.Waiting["gw-1 (evicted)"].IsZero() {
		t.Errorf("after its lease: %+v", r)
	}
	names := p.acks.forget(over)
	if len(names) != 1 || names[0].Gateway != "gw-1 (evicted)" {
		t.Errorf("forgotten: %v", names)
	}
	if err := p.Store.NoteAcks(t.Context(), nil, names); err != nil {
		t.Fatal(err)
	}
	for _, k := range errFree(read(t.Context(), p.Plane, func(tx *store.Tx) ([]store.Ack, error) { return tx.Acks() })) {
		if k.Gateway == "gw-1 (evicted)" {
			t.Error("its row stays")
		}
	}
}

func errFree[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestEvictedUnderWay: an acknowledgement that was on its way when its gateway was evicted gives no lease, and brings it not back.
func TestEvictedUnderWay(t *testing.T) {
	p := start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	if lease, err := p.acknowledged(ctx, "far", time.Time{}, p.Store.Head()); err != nil || lease <= 0 {
		t.Fatalf("%s %v", lease, err)
	}
	cancel(feed.ErrEvicted)
	p.evict(t.Context(), "far")
	if lease, err := p.acknowledged(ctx, "far", time.Time{}, p.Store.Head()); err == nil || lease != 0 {
		t.Errorf("a lease of %s: %v", lease, err)
	}
	if r := p.reached(p.Store.Head()); !r.Confirmed["far"].IsZero() || !r.Waiting["far"].IsZero() {
		t.Errorf("it is back: %+v", r)
	}
}

// TestEvictedBeforeTheEnd: a control plane that ended when a gateway was evicted, and nothing of that was noted yet, waits for that one after it
// begins again, and takes nobody's word for it who has its name by then.
func TestEvictedBeforeTheEnd(t *testing.T) {
	for name, joinedBefore := range map[string]bool{"joined before the end": true, "joined after it": false} {
		p := start(t)
		at := p.abroad()
		if lease, err := p.joined(at, "gw-1", `{}`).Ack(t.Context(), p.Store.Head()); err != nil || lease <= 0 {
			t.Fatal(lease, err)
		}
		if err := p.noteAcksOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.registry.Do(t.Context(), registry.Self, func(c *registry.Change) error { return c.EvictGateway("gw-1", "x") }); err != nil {
			t.Fatal(err)
		}
		p.ahead.Add(int64(time.Second))
		again := func() {
			if err := p.recall(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if !joinedBefore {
			again()
		}
		next := p.joined(at, "gw-1", `{}`)
		if joinedBefore {
			again()
		}
		if lease, err := next.Ack(t.Context(), p.Store.Head()); err != nil || lease <= 0 {
			t.Fatalf("%s: %s %v", name, lease, err)
		}
		r := p.reached(p.Store.Head())
		if stops := r.Waiting["gw-1 (evicted)"].Sub(r.AsOf); r.Confirmed["gw-1"].IsZero() || stops <= 0 || stops > p.Lease || r.Settled() {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestShorterLeaseKept: what a control plane with a shorter lease notes of a gateway does not hide from the next one that it may still have a longer.
func TestShorterLeaseKept(t *testing.T) {
	p := start(t)
	begin := func(lease time.Duration) *Plane {
		c := p.Config
		c.Metrics, c.Lease = newMetrics(), lease
		next, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	joined := p.Now()
	for _, lease := range []time.Duration{feed.MaxLease, feed.DefaultLease} {
		next := begin(lease)
		if got, err := next.acknowledged(t.Context(), "far", joined, errFree(p.Store.Latest(t.Context()))); err != nil || got <= 0 {
			t.Fatalf("%s %v", got, err)
		}
	}
	next := errFree(p.Store.Latest(t.Context()))
	next.Seq++
	r := (&plane{T: t, Plane: begin(feed.DefaultLease)}).reached(next) // the one before crashed before it noted more
	if left := r.Waiting["far"].Sub(r.AsOf); left < feed.MaxLease-time.Minute {
		t.Errorf("a receipt says that it stops in %s; it may have a lease of %s", left, feed.MaxLease)
	}
}
