package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

func verified(t *testing.T, db *store.DB) {
	t.Helper()
	r, err := db.Verify(t.Context())
	if err != nil || !r.OK() || r.Events != db.Size() {
		t.Errorf("verify: %v %+v, of %d", err, r, db.Size())
	}
}

// record: an event counts once, however often and by whomever it is brought.
func record(t *testing.T, k kit) {
	db := k.open()
	list := []ledger.Event{Event("a"), Event("b"), Event("c")}
	k.must(db.Record(t.Context(), list))
	k.must(db.Record(t.Context(), nil))
	k.must(db.Record(t.Context(), append(list, Event("d"), list[0])))
	if db.Size() != 4 {
		t.Errorf("%d events, want 4", db.Size())
	}
	verified(t, db)
}

// concurrent: everyone's events are there, once, whoever shared a commit with whom.
func concurrent(t *testing.T, k kit) {
	db := k.open()
	k.write(db, func(tx *store.Tx) error { return tx.PutOwner(maya) })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 20 {
				list := []ledger.Event{Event("a"), Event("b"), Event("c")}
				if err := db.Record(t.Context(), list); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			k.write(db, func(tx *store.Tx) error { return tx.PutOwner(maya) })
		})
	}
	all.Wait()
	if want := int64(20*20*3 + 21); db.Size() != want {
		t.Errorf("%d events, want %d", db.Size(), want)
	}
	verified(t, db)
}

// events: search, tail, proofs and exports tell what was recorded.
func events(t *testing.T, k kit) {
	db := k.open()
	var list []ledger.Event
	for n := range 1500 {
		e := Event("request")
		e.Time = Epoch.Add(time.Duration(n) * time.Second)
		e.Upstream = []string{"mail", "drive"}[n%2]
		list = append(list, e)
	}
	k.must(db.Record(t.Context(), list))
	found, err := db.Search(t.Context(), ledger.Query{Upstream: "drive"}, 0, 700)
	k.must(err)
	if e := found.Entries; len(e) != 700 || e[0].Index != 1499 || e[699].Index != 101 || e[0].Event.ID != list[1499].ID {
		t.Errorf("found %d, from %d to %d", len(e), e[0].Index, e[len(e)-1].Index)
	}
	found, err = db.Search(t.Context(), ledger.Query{Upstream: "drive"}, found.Next, 700)
	if err != nil || len(found.Entries) != 50 || found.Next != 0 {
		t.Errorf("the next page has %d (%v)", len(found.Entries), err)
	}
	for n := range int64(1500) {
		if n%97 != 0 && n < 1490 {
			continue
		}
		p, err := db.Prove(t.Context(), n)
		k.must(err)
		if err := p.Check(db.Verifier()); err != nil || !strings.Contains(p.Leaf, list[n].ID) {
			t.Errorf("proof of %d: %v", n, err)
		}
	}
	if _, err := db.Prove(t.Context(), 1500); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("proof of what is not there: %v", err)
	}
	if i, err := db.Index(t.Context(), list[77].ID); i != 77 || err != nil {
		t.Errorf("index %d, %v", i, err)
	}
	note, err := db.Checkpoint(t.Context())
	k.must(err)
	c, err := ledger.OpenCheckpoint(note, db.Verifier())
	if err != nil || c.Size != 1500 || c.Root != db.Root() {
		t.Errorf("checkpoint %+v, %v", c, err)
	}
	var out bytes.Buffer
	k.must(db.Export(t.Context(), c.Size, &out))
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1500 {
		t.Errorf("exported %d lines", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan int64, 10)
	go func() {
		for e, err := range db.Tail(ctx, 1499) {
			if err != nil {
				t.Error(err)
			}
			seen <- e.Index
		}
		close(seen)
	}()
	if n := <-seen; n != 1499 {
		t.Errorf("tail begins at %d", n)
	}
	k.must(db.Record(t.Context(), []ledger.Event{Event("x")}))
	if n := <-seen; n != 1500 {
		t.Errorf("tail goes on with %d", n)
	}
	cancel()
	if _, more := <-seen; more {
		t.Error("tail outlives its context")
	}
}

// damage: a store whose ledger was changed behind its back says so and signs nothing more.
func damage(t *testing.T, k kit) {
	db := k.open()
	var list []ledger.Event
	for range 600 {
		list = append(list, Event("x"))
	}
	k.must(db.Record(t.Context(), list))
	changed := list[300]
	changed.Actor = "operator:tess"
	k.must(db.UnsafeExec("UPDATE events SET leaf = $1 WHERE seq = 300", changed.Leaf()))
	r, err := db.Verify(t.Context())
	if err != nil || r.OK() || r.Problems[0].Line != 301 {
		t.Errorf("event 300 was changed; verify says %v %+v", err, r)
	}
	k.must(db.UnsafeExec("DELETE FROM events WHERE seq = 599"))
	searched := func(what string) {
		ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
		defer done()
		if _, err := db.Search(ctx, ledger.Query{}, 0, 1000); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("a search of a ledger without %s: %v", what, err)
		}
	}
	searched("its last event")
	k.must(db.UnsafeExec("DELETE FROM events WHERE seq >= 512"))
	searched("its last events")
	k.must(db.Close())
	if _, err := store.Open(t.Context(), k.Config); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a store without its last event opens: %v", err)
	}
}
