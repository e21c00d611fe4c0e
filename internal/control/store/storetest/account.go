package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// accounts: each is of one owner at one upstream, sealed for that pair, and gateways hear when one is another or ends.
func accounts(t *testing.T, k kit) {
	db := k.open()
	told := func(f func(*store.Tx) error) (list []feed.Account) {
		before := db.Head()
		k.write(db, func(tx *store.Tx) error { tx.Record(Event("account.put")); return f(tx) })
		head := db.Head()
		if head == before {
			return nil
		}
		for c, err := range db.Watch(t.Context(), before) {
			if err != nil || c.Account == nil {
				t.Fatalf("%v %v", c, err)
			}
			if list = append(list, *c.Account); c.Cursor == head {
				break
			}
		}
		return list
	}
	get := func(upstream, owner string) (v string, err error) {
		return v, db.Read(t.Context(), func(tx *store.Tx) error { return tx.Account(upstream, identity.OwnerID(owner), &v) })
	}
	maya := feed.Account{Upstream: "notes", Owner: "maya"}
	if got := told(func(tx *store.Tx) error { return tx.PutAccount("notes", "maya", "one") }); !slices.Equal(got, []feed.Account{maya}) {
		t.Errorf("put: %v", got)
	}
	if got := told(func(tx *store.Tx) error { return tx.RenewAccount("notes", "maya", "two") }); got != nil {
		t.Errorf("renewed: %v", got)
	}
	told(func(tx *store.Tx) error {
		return errors.Join(tx.PutAccount("notes", "ben", "bens"), tx.PutAccount("notes-2", "maya", "other"), tx.PutAccount("note", "s", "short"))
	})
	if v, err := get("notes", "maya"); v != "two" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	for _, absent := range [][2]string{{"notes", "priya"}, {"crm", "maya"}, {"notes", ""}, {"note", "maya"}} {
		if v, err := get(absent[0], absent[1]); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v: %q %v", absent, v, err)
		}
	}
	k.read(db, func(tx *store.Tx) error {
		owners, err := tx.Accounts("notes")
		if !slices.Equal(owners, []identity.OwnerID{"ben", "maya"}) {
			t.Errorf("%v", owners)
		}
		return err
	})
	// Who can write into the database gives ben's account to maya's agents no more than that.
	if err := db.UnsafeExec("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'account/notes/ben') WHERE name = 'account/notes/maya'"); err != nil {
		t.Fatal(err)
	}
	if v, err := get("notes", "maya"); err == nil || v != "" || strings.Contains(err.Error(), "bens") {
		t.Errorf("ben's account, moved to maya: %q %v", v, err)
	}
	if got := told(func(tx *store.Tx) error { return tx.DeleteAccount("notes", "maya") }); !slices.Equal(got, []feed.Account{maya}) {
		t.Errorf("deleted: %v", got)
	}
	if _, err := get("notes", "maya"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	told(func(tx *store.Tx) error {
		return errors.Join(tx.PutAccount("notes", "kim", "kims"), tx.PutAccount("notes", "maya", "again"))
	})
	if got := told(func(tx *store.Tx) error { return tx.DeleteAccounts("notes") }); got != nil {
		t.Errorf("all deleted: %v", got)
	}
	_, err1 := get("notes", "kim")
	_, err2 := get("notes", "ben")
	if v, err := get("notes-2", "maya"); !errors.Is(err1, store.ErrNotFound) || !errors.Is(err2, store.ErrNotFound) || v != "other" {
		t.Errorf("%v %v, and at another upstream %q %v", err1, err2, v, err)
	}
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.RenewAccount("notes", "ben", "x") }); !errors.Is(err, store.ErrUnrecorded) {
		t.Errorf("without an event: %v", err)
	}
}
