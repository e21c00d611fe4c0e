package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// statuses: places of tokens come with their events, in the order of commits, so that who asks for those after the last it knows
// misses none; those of tokens that ended are not among them.
func statuses(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	const writers, each = 8, 40
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				s := store.Status{List: fmt.Sprintf("l%d", w), Index: n, Expires: Epoch.Add(time.Minute), Doc: []byte{byte(w), byte(n)}}
				if err := db.RecordStatus(t.Context(), Event("token.issue"), s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen, last := map[string]bool{}, int64(-1)
	look := func() {
		list, at, err := db.Statuses(t.Context(), last)
		k.must(err)
		if at != db.Head() {
			t.Errorf("at %v, the head is %v", at, db.Head())
		}
		for _, s := range list {
			if s.Seq <= last || string(s.Doc) != string([]byte{s.List[1] - '0', byte(s.Index)}) || !s.Expires.Equal(Epoch.Add(time.Minute)) {
				t.Errorf("after %d: %+v", last, s)
			}
			last = s.Seq
			seen[fmt.Sprint(s.List, " ", s.Index)] = true
		}
	}
	for range 20 {
		look()
	}
	all.Wait()
	if look(); len(seen) != writers*each {
		t.Errorf("saw %d of %d", len(seen), writers*each)
	}
	k.must(db.RecordStatus(t.Context(), Event("token.issue"), store.Status{List: "old", Expires: Epoch, Doc: []byte{0, 0}}))
	if look(); seen["old 0"] {
		t.Error("the place of a token that has ended is there")
	}
	entry, err := db.Search(t.Context(), ledger.Query{}, 0, 1)
	if k.must(err); entry.Entries[0].Index != last+1 {
		t.Errorf("the last event is %d, the last place %d", entry.Entries[0].Index, last)
	}
}

// receivers: what they are told goes with the last of those who are told it.
func receivers(t *testing.T, k kit) {
	db := k.open()
	a := identity.Receiver{Name: "a", URL: "https://a.example/events", Audience: "https://a.example", Stream: "stream_1", Secret: true, Set: "s", Version: 2}
	b := identity.Receiver{Name: "b", URL: "https://b.example/events", Audience: "https://b.example"}
	n1, n2 := store.Note{ID: "n1", Door: store.ReceiverDoor("a"), Approval: "sig_1", Made: Epoch}, store.Note{ID: "n2", Door: store.ReceiverDoor("b"), Approval: "sig_1", Made: Epoch}
	k.write(db, func(tx *store.Tx) error {
		return errors.Join(tx.PutReceiver(b), tx.PutReceiver(a), tx.PutSecret(store.ReceiverSecret("a"), []byte("Bearer x")), tx.PutSignal("sig_1", map[string]int{"x": 1}), tx.PutNote(n1), tx.PutNote(n2))
	})
	there := func(want bool, waiting int) {
		t.Helper()
		k.read(db, func(tx *store.Tx) error {
			var s map[string]int
			err := tx.Signal("sig_1", &s)
			if want && (err != nil || s["x"] != 1) || !want && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the signal is to be there: %v; %v %v", want, s, err)
			}
			n, err := tx.Waiting(store.ReceiverDoor("b"))
			if n != waiting {
				t.Errorf("%d wait for b", n)
			}
			return err
		})
	}
	k.read(db, func(tx *store.Tx) error {
		list, err := tx.Receivers()
		got, err2 := tx.Receiver("a")
		if len(list) != 2 || list[0] != a || got != a {
			t.Errorf("%+v %+v", list, got)
		}
		if _, err := tx.Receiver("c"); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
		return errors.Join(err, err2)
	})
	there(true, 1)
	k.write(db, func(tx *store.Tx) error { return tx.DeleteSignal(n1) })
	there(true, 1)
	k.write(db, func(tx *store.Tx) error { return tx.DeleteReceiver("b") })
	there(false, 0)
	k.write(db, func(tx *store.Tx) error { return tx.DeleteReceiver("a") })
	k.read(db, func(tx *store.Tx) error {
		if _, err := tx.Secret(store.ReceiverSecret("a")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("its secret: %v", err)
		}
		return nil
	})
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.PutReceiver(a) }); !errors.Is(err, store.ErrUnrecorded) {
		t.Errorf("without an event: %v", err)
	}
}

// manyStatuses: more places than are read at once are read in parts.
func manyStatuses(t *testing.T, k kit) {
	db := k.open()
	const all = store.MaxStatuses + 5
	var wait sync.WaitGroup
	turn := make(chan struct{}, 512)
	for n := range all {
		turn <- struct{}{}
		wait.Go(func() {
			defer func() { <-turn }()
			if err := db.RecordStatus(t.Context(), Event("token.issue"), store.Status{List: "l", Index: n, Expires: Epoch.Add(time.Minute), Doc: []byte("x")}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	first, _, err := db.Statuses(t.Context(), -1)
	if k.must(err); len(first) != store.MaxStatuses {
		t.Fatalf("%d", len(first))
	}
	rest, _, err := db.Statuses(t.Context(), first[len(first)-1].Seq)
	if k.must(err); len(rest) != 5 {
		t.Errorf("%d", len(rest))
	}
}
