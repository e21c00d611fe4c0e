package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// tickets: what was given out is found by its text and kind, until it expires, and its text is not kept.
func tickets(t *testing.T, k kit) {
	var clock Clock
	k.Now = clock.Now
	db := k.open()
	put := func(kind store.TicketKind, text string, life time.Duration, v string) {
		k.write(db, func(tx *store.Tx) error {
			tx.Record(Event("ticket.put"))
			return tx.PutTicket(kind, text, clock.Now().Add(life), v)
		})
	}
	get := func(kind store.TicketKind, text string) (v string, err error) {
		return v, db.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Ticket(kind, text, &v); return err })
	}
	put(store.DeviceCode, "one", time.Hour, "maya")
	put(store.AuthorizationCode, "one", time.Minute, "code")
	put(store.DeviceCode, "one", 2*time.Hour, "ben")
	if v, err := get(store.DeviceCode, "one"); v != "ben" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	if v, err := get(store.RefreshToken, "one"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of another kind: %q %v", v, err)
	}
	clock.Pass(time.Minute)
	if _, err := get(store.AuthorizationCode, "one"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("expired: %v", err)
	}
	k.read(db, func(tx *store.Tx) error {
		n, err := tx.CountTickets(store.DeviceCode)
		if n != 1 {
			t.Errorf("%d sessions", n)
		}
		return err
	})
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("ticket.delete"))
		return errors.Join(tx.DeleteTicket(store.DeviceCode, "one"), tx.DeleteTicket(store.DeviceCode, "two"))
	})
	if _, err := get(store.DeviceCode, "one"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.PutTicket(store.DeviceCode, "x", clock.Now(), "x") }); !errors.Is(err, store.ErrUnrecorded) {
		t.Errorf("without an event: %v", err)
	}
	size := db.Size()
	_, err := db.Write(t.Context(), func(tx *store.Tx) error {
		tx.Unanswered()
		return errors.Join(tx.PutTicket(store.UserCode, "later", clock.Now().Add(2*time.Minute), "later"), tx.PutTicket(store.UserCode, "sooner", clock.Now().Add(time.Minute), "sooner"), tx.PutTicket(store.UserCode, "over", clock.Now(), "over"))
	})
	k.must(err)
	k.read(db, func(tx *store.Tx) error {
		all, err := store.Tickets[string](tx, store.UserCode)
		if len(all) != 2 || all[0] != "sooner" || all[1] != "later" {
			t.Errorf("of strangers: %v", all)
		}
		return err
	})
	if db.Size() != size {
		t.Error("what a stranger asked for is in the ledger")
	}
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error {
		tx.Unanswered()
		return tx.PutOwner(identity.Owner{ID: "quiet", Name: "Quiet", Email: "q@example.com"})
	}); !errors.Is(err, store.ErrUnrecorded) {
		t.Errorf("more than tickets, without an event: %v", err)
	}
}
