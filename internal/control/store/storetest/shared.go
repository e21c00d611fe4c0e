package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// shared: several nodes on one database, started at the same moment. What any of them commits, all see, in one order, and none is missed.
func shared(t *testing.T, k kit) {
	const nodes, writers, each = 3, 8, 30
	list := make([]*store.DB, nodes)
	var all sync.WaitGroup
	for n := range list {
		all.Go(func() {
			db, err := store.Open(t.Context(), k.Config)
			if err != nil {
				t.Error(err)
				return
			}
			list[n] = db
			t.Cleanup(func() { db.Close() })
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if list[0].Verifier() != list[1].Verifier() || list[1].Verifier() != list[2].Verifier() || list[0].Head().Epoch != list[2].Head().Epoch {
		t.Fatal("the nodes made more than one store")
	}
	begin := feed.Cursor{Epoch: list[0].Head().Epoch}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	type seen struct {
		at    feed.Cursor
		owner identity.OwnerID
	}
	follows := make([][]seen, nodes)
	var followers sync.WaitGroup
	for n, db := range list {
		followers.Go(func() {
			for c, err := range db.Watch(ctx, begin) {
				if err != nil {
					t.Errorf("node %d after %d changes: %v", n, len(follows[n]), err)
					return
				}
				if follows[n] = append(follows[n], seen{c.Cursor, c.Owner.ID}); len(follows[n]) == writers*each {
					return
				}
			}
		})
	}
	var mu sync.Mutex
	acked := map[identity.OwnerID]feed.Cursor{}
	for by := range writers {
		db := list[by%nodes]
		all.Go(func() {
			var last uint64
			for i := range each {
				o := maya
				o.ID = identity.OwnerID(fmt.Sprintf("o%d-%d", by, i))
				at, err := db.Write(t.Context(), func(tx *store.Tx) error { tx.Record(Event("test.put")); return tx.PutOwner(o) })
				if err != nil || at.Seq <= last { // what was acknowledged before comes before
					t.Errorf("%s: %v after %d (%v)", o.ID, at, last, err)
				}
				last = at.Seq
				if err := db.Record(t.Context(), []ledger.Event{Event("a"), Event("b")}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				acked[o.ID] = at
				mu.Unlock()
			}
		})
	}
	all.Wait()
	followers.Wait()
	for n, follow := range follows {
		for i, s := range follow {
			if s.at.Seq != uint64(i+1) || acked[s.owner] != s.at {
				t.Fatalf("node %d heard %v of %s as number %d; it was acknowledged as %v", n, s.at, s.owner, i+1, acked[s.owner])
			}
		}
		if len(follow) != writers*each {
			t.Errorf("node %d heard %d changes of %d", n, len(follow), writers*each)
		}
	}
	for _, db := range list {
		verified(t, db)
		if want := int64(writers * each * 3); db.Size() != want || db.Root() != list[0].Root() {
			t.Errorf("%d events, want %d", db.Size(), want)
		}
	}
	// An event is known to all, whoever recorded it, and can be proved by all.
	e := Event("once")
	k.must(list[0].Record(t.Context(), []ledger.Event{e}))
	size := list[0].Size()
	p, err := list[1].Prove(t.Context(), list[0].Size()-1)
	if err != nil || p.Check(list[2].Verifier()) != nil {
		t.Errorf("another node's proof: %v", errors.Join(err, p.Check(list[2].Verifier())))
	}
	k.must(list[2].Record(t.Context(), []ledger.Event{e, Event("more")}))
	if list[2].Size() != size+1 {
		t.Errorf("%d events after %d", list[2].Size(), size)
	}

	// What is good once is good once at all of them together, and again when its time is over.
	over := Epoch.Add(-time.Minute)
	var first atomic.Int32
	once := func(db *store.DB) {
		is, err := db.Once(t.Context(), store.ClientAssertion, "bot 1", Epoch.Add(time.Minute))
		if err != nil {
			t.Error(err)
		} else if is {
			first.Add(1)
		}
	}
	for n := range 4 * nodes {
		all.Go(func() { once(list[n%nodes]) })
	}
	if all.Wait(); first.Load() != 1 {
		t.Errorf("shown for the first time %d times", first.Load())
	}
	if is, err := list[0].Once(t.Context(), store.ClientAssertion, "bot 2", over); err != nil || !is {
		t.Error(is, err)
	}
	if is, err := list[1].Once(t.Context(), store.ClientAssertion, "bot 2", over); err != nil || !is {
		t.Error("what was shown when it was over: ", is, err)
	}

	left := func(want int) {
		t.Helper()
		k.read(list[0], func(tx *store.Tx) error {
			n, err := tx.CountTickets(store.ClientAssertion)
			if n != want {
				t.Errorf("%d assertions are kept, want %d", n, want)
			}
			return err
		})
	}
	left(1)
	later := k.Config
	later.Now = func() time.Time { return Epoch.Add(10 * time.Minute) }
	db, err := store.Open(t.Context(), later)
	k.must(err)
	db.TouchCredential("cred_1", later.Now())
	k.must(db.Close())
	left(0)

	claims(k, list)

	// One of them leads, and when it ends another one does.
	for len(list) > 0 {
		leader := -1
		for begun := time.Now(); leader < 0; time.Sleep(10 * time.Millisecond) {
			for n, db := range list {
				if db.Leads() {
					if leader >= 0 {
						t.Fatal("two lead")
					}
					leader = n
				}
			}
			if time.Since(begun) > 20*time.Second {
				t.Fatalf("of %d nodes none leads", len(list))
			}
		}
		ended := list[leader]
		list = append(list[:leader], list[leader+1:]...)
		idle := busy(k, list)
		k.must(ended.Close())
		if len(list) == 1 {
			succeeds(k, list[0])
		}
		idle()
	}
}

// claims: of all nodes one has what it claimed, until it gives that back or its life is over; and that is no change.
func claims(k kit, list []*store.DB) {
	claim := func(db *store.DB, what string, life time.Duration) (free func()) {
		k.T.Helper()
		free, err := db.Claim(k.Context(), what, life)
		k.must(err)
		return free
	}
	_, err := list[0].Latest(k.Context())
	k.must(err)
	size := list[0].Size()
	free := claim(list[0], "a", time.Hour)
	if free == nil || claim(list[1], "a", time.Hour) != nil {
		k.T.Error("claimed by none, or by two")
	}
	if claim(list[1], "b", time.Hour) == nil || claim(list[0], "a", time.Hour) == nil {
		k.T.Error("another thing, or one's own, cannot be claimed")
	}
	free()
	if claim(list[1], "a", -time.Second) == nil {
		k.T.Error("what was given back cannot be claimed")
	}
	if claim(list[2], "a", time.Hour) == nil {
		k.T.Error("what a node had too long cannot be claimed")
	}
	free() // of one that lost it
	if claim(list[1], "a", time.Hour) != nil {
		k.T.Error("given back by a node that had it no more")
	}
	if list[0].Size() != size {
		k.T.Error("a claim is recorded")
	}
}

// busy has the first node record all the time, until the function it returns is called.
func busy(k kit, list []*store.DB) (idle func()) {
	if len(list) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(k.Context())
	var one sync.WaitGroup
	one.Go(func() {
		for ctx.Err() == nil {
			if err := list[0].Record(ctx, []ledger.Event{Event("busy")}); err != nil && ctx.Err() == nil {
				k.T.Error(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return func() { cancel(); one.Wait() }
}

// succeeds: a node leads soon after the one that did has ended, whatever it has to do itself.
func succeeds(k kit, db *store.DB) {
	for begun := time.Now(); !db.Leads(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			k.T.Fatal("a busy node does not lead")
		}
	}
}
