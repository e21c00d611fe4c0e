package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// acks: what is known of gateways is there after the next start, moves neither feed nor ledger, and can be forgotten.
func acks(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	head, size := db.Head(), db.Size()
	a := store.Ack{Gateway: "a", Cursor: feed.Cursor{Epoch: "e", Seq: 1 << 40}, At: Epoch, Lease: 10 * time.Second}
	b := store.Ack{Gateway: "b", At: Epoch, Lease: 5 * time.Minute}
	k.must(db.NoteAcks(t.Context(), []store.Ack{a, b}, nil))
	was := turn(k, db, "a")
	a.Cursor.Seq, a.At, a.Lease = 7, Epoch.Add(time.Minute), time.Second
	k.must(db.NoteAcks(t.Context(), []store.Ack{a}, []store.Ack{{Gateway: "nobody"}}))
	if now := turn(k, db, "a"); now == was || was == "" || turn(k, db, "b") != was {
		t.Errorf("turns %q, %q", was, now)
	}
	k.must(db.NoteAcks(t.Context(), nil, []store.Ack{{Gateway: "a", Turn: was}})) // it was noted since
	if db.Head() != head || db.Size() != size {
		t.Error("noting a gateway is a change")
	}
	if db.Shared() { // another node may have given the longer one
		a.Lease = 10 * time.Second
	}
	k.must(db.Close())
	db = k.open()
	want := func(want ...store.Ack) {
		t.Helper()
		k.read(db, func(tx *store.Tx) error {
			got, err := tx.Acks()
			for i := range got {
				got[i].Turn = ""
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v, want %+v", got, want)
			}
			return err
		})
	}
	want(a, b)
	k.must(db.NoteAcks(t.Context(), nil, []store.Ack{{Gateway: "a", Turn: turn(k, db, "a")}}))
	want(b)
}

// turn is that of a gateway's row.
func turn(k kit, db *store.DB, gateway string) (turn string) {
	k.read(db, func(tx *store.Tx) error {
		list, err := tx.Acks()
		for _, a := range list {
			if a.Gateway == gateway {
				turn = a.Turn
			}
		}
		return err
	})
	return turn
}
