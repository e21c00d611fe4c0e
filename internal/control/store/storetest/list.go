package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// lists: filters, pages, counts, and what ends next.
func lists(t *testing.T, k kit) {
	db := k.open()
	k.write(db, func(tx *store.Tx) error {
		err := tx.PutOwner(maya)
		for n := range 25 {
			i := agent
			i.ID, i.Expires = identity.MustID(fmt.Sprintf("spiffe://lanyard.local/agent/a%02d", n)), Epoch.Add(time.Duration(n-10)*time.Hour)
			err = errors.Join(err, tx.PutIdentity(i))
		}
		return err
	})
	k.read(db, func(tx *store.Tx) error {
		page, err := tx.Identities(store.Filter{Limit: 10, After: "a04"})
		if len(page) != 10 || page[0].ID.Name() != "a05" {
			t.Errorf("page: %v", page)
		}
		found, err2 := tx.Identities(store.Filter{Query: "a1", State: identity.Active, Owner: "maya", Kind: identity.Agent})
		if len(found) != 10 {
			t.Errorf("found %d", len(found))
		}
		none, err3 := tx.Identities(store.Filter{Query: "%"})
		if len(none) != 0 {
			t.Errorf("a wildcard finds %d", len(none))
		}
		for query, want := range map[string]int{"gent/": 0, "a0": 10, "A2": 5, "0": 0, "A": 25, "a23": 1, "A23": 1} {
			some, err := tx.Identities(store.Filter{Query: query, Limit: 100})
			if len(some) != want || err != nil {
				t.Errorf("%s finds %d, want %d (%v)", query, len(some), want, err)
			}
		}
		count, err4 := tx.CountIdentities("maya")
		if count[identity.Active] != 25 {
			t.Errorf("count %v", count)
		}
		ended, err5 := tx.Expiring(5)
		if len(ended) != 5 || ended[0].ID.Name() != "a00" {
			t.Errorf("ended %v", ended)
		}
		next, err6 := tx.NextExpiry()
		if next != Epoch.Add(-10*time.Hour).UnixMicro() {
			t.Errorf("next %v", next)
		}
		return errors.Join(err, err2, err3, err4, err5, err6)
	})
}

// grantsOf: one owner's, on one upstream, but of nobody who is retired.
func grantsOf(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	k.write(db, func(tx *store.Tx) error {
		ben, drive := maya, mail
		ben.ID, drive.Name = "ben", "drive"
		err := errors.Join(tx.PutOwner(ben), tx.PutUpstream(drive))
		for n, change := range []func(*identity.Identity){func(i *identity.Identity) {}, func(i *identity.Identity) { i.State = identity.Retired }, func(i *identity.Identity) { i.Owner = "ben" }, func(i *identity.Identity) { i.State = identity.Suspended }} {
			i, g, other := agent, grant, grant
			i.ID = identity.MustID(fmt.Sprintf("spiffe://lanyard.local/agent/a%d", n))
			change(&i)
			g.Identity, g.ID = i.ID, i.ID.Name()+"/read"
			other.Identity, other.ID, other.Upstream = i.ID, i.ID.Name()+"/other", "drive"
			err = errors.Join(err, tx.PutIdentity(i), tx.PutGrant(g), tx.PutGrant(other))
		}
		return err
	})
	k.read(db, func(tx *store.Tx) error {
		for owner, want := range map[identity.OwnerID]string{"maya": "a0/read a3/read bot/read ", "ben": "a2/read ", "kim": ""} {
			list, err := tx.GrantsOf(owner, "mail")
			got := ""
			for _, g := range list {
				got += g.ID + " "
			}
			if err != nil || got != want {
				t.Errorf("%s: %v %s, want %s", owner, err, got, want)
			}
		}
		return nil
	})
}

// touchedLater: when a credential was last used is kept, at the latest when the store closes.
func touchedLater(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	db.TouchCredential("cred_1", Epoch.Add(time.Minute))
	db.TouchCredential("cred_1", Epoch)
	k.must(db.Close())
	db = k.open()
	k.read(db, func(tx *store.Tx) error {
		list, err := tx.Credentials(bot)
		if len(list) != 1 || list[0].LastUsed != Epoch.Add(time.Minute) {
			t.Errorf("%+v", list)
		}
		return err
	})
}
