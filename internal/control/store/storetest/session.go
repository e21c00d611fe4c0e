package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// sessions: one is found by its text until it ends, and those of a person, an owner or a provider end together.
func sessions(t *testing.T, k kit) {
	var clock Clock
	k.Now = clock.Now
	db := k.open()
	put := func(text, person, provider string, owner identity.OwnerID) {
		k.write(db, func(tx *store.Tx) error {
			tx.Record(Event("owner.sign_in"))
			return tx.PutSession(text, store.Session{ID: "ses_" + text, Person: person, Owner: owner, Provider: provider, Method: store.ByLink, Expires: clock.Now().Add(time.Hour)})
		})
	}
	left := func() (list []string) {
		k.read(db, func(tx *store.Tx) error {
			for _, text := range []string{"a", "b", "c", "d"} {
				s, err := tx.Session(text)
				if err == nil && s.ID == "ses_"+text {
					list = append(list, text)
				} else if !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
			return nil
		})
		return list
	}
	for name, test := range map[string]struct {
		end  store.Ended
		want []string
	}{
		"a person's": {store.Ended{Person: "owner:maya"}, []string{"c", "d"}}, "an owner's but one": {store.Ended{Owner: "maya", But: "ses_b"}, []string{"b", "c", "d"}},
		"a provider's": {store.Ended{Provider: "sso"}, []string{"a", "d"}}, "all": {store.Ended{}, nil}, "all but one": {store.Ended{But: "ses_d"}, []string{"d"}},
	} {
		put("a", "owner:maya", "", "maya")
		put("b", "owner:maya", "sso", "maya")
		put("c", "person:sso/1", "sso", "")
		put("d", "operator:admin", "", "")
		if got := left(); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
			t.Fatalf("all that there are: %v", got)
		}
		k.write(db, func(tx *store.Tx) error {
			tx.Record(Event("owner.sign_in_code"))
			return tx.PutTicket(store.SignInCode, "mayas", clock.Now().Add(time.Hour), identity.OwnerID("maya"))
		})
		k.write(db, func(tx *store.Tx) error { tx.Record(Event("x")); return tx.EndSessions(test.end) })
		if got := left(); !slices.Equal(got, test.want) {
			t.Errorf("%s: left are %v, want %v", name, got, test.want)
		}
		k.read(db, func(tx *store.Tx) error {
			var id identity.OwnerID
			_, err := tx.Ticket(store.SignInCode, "mayas", &id)
			if gone := errors.Is(err, store.ErrNotFound); gone != (test.end.Owner == "maya" || name == "all" || name == "all but one") {
				t.Errorf("%s: maya's code: %v", name, err)
			}
			return nil
		})
		k.write(db, func(tx *store.Tx) error { tx.Record(Event("x")); return tx.EndSessions(store.Ended{}) })
	}
	for text, at := range map[string][2]string{"p1": {"maya", "s1"}, "p2": {"maya", "s2"}, "p3": {"maya", ""}, "p4": {"ben", "s1"}, "p5": {"ben", ""}} {
		k.write(db, func(tx *store.Tx) error {
			tx.Record(Event("owner.sign_in"))
			return tx.PutSession(text, store.Session{ID: "ses_" + text, Person: "person:sso/" + at[0], Provider: "sso", Subject: at[0], SID: at[1], Method: store.ByOIDC, Expires: clock.Now().Add(time.Hour)})
		})
	}
	for asked, want := range map[[2]string]string{{"maya", ""}: "p1 p2 p3", {"", "s1"}: "p1 p4", {"maya", "s1"}: "p1 p3", {"kim", "s1"}: "", {"", ""}: ""} {
		k.read(db, func(tx *store.Tx) error {
			list, err := tx.SessionsAt("sso", asked[0], asked[1])
			var got []string
			for _, s := range list {
				got = append(got, strings.TrimPrefix(s.ID, "ses_"))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("at the provider, of %v: %v, want %s", asked, got, want)
			}
			return err
		})
	}
	k.write(db, func(tx *store.Tx) error { tx.Record(Event("x")); return tx.EndSessions(store.Ended{}) })
	put("a", "owner:maya", "", "maya")
	put("b", "owner:maya", "", "maya")
	k.read(db, func(tx *store.Tx) error {
		list, err := tx.Sessions("owner:maya")
		if len(list) != 2 || list[0].ID != "ses_a" {
			t.Errorf("maya's: %v", list)
		}
		return err
	})
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("x"))
		if err := tx.DeleteSession("owner:ben", "ses_a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("ben ends maya's: %v", err)
		}
		return tx.DeleteSession("owner:maya", "ses_a")
	})
	if got := left(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("after one ended: %v", got)
	}
	if clock.Pass(time.Hour); left() != nil {
		t.Error("a session is good after its end")
	}
}

// listed: identities are found, sorted and given in parts that fit together.
func listed(t *testing.T, k kit) {
	now := Epoch
	db := k.open()
	k.write(db, func(tx *store.Tx) error {
		err := errors.Join(tx.PutOwner(maya), tx.PutOwner(identity.Owner{ID: "ben", State: identity.OwnerGone}))
		for n, i := range []identity.Identity{
			{Purpose: "Reads 100% of Mail", Owner: "maya", State: identity.Active, Expires: now.Add(time.Hour)},
			{Purpose: "Files", Owner: "ben", State: identity.Suspended, Expires: now.Add(1000 * time.Hour), Environment: "test"},
			{Purpose: "Files", Owner: "maya", State: identity.Active, Expires: now.Add(2000 * time.Hour), Created: now.Add(-time.Hour)},
			{Purpose: "Old", Owner: "ben", State: identity.Retired, Expires: now.Add(3000 * time.Hour)},
			{Purpose: "A child's", Owner: "maya", State: identity.Active, Expires: now.Add(time.Hour), Parent: identity.Link{ID: identity.MustID("spiffe://lanyard.local/agent/a0")}},
		} {
			i.ID = identity.MustID(fmt.Sprint("spiffe://lanyard.local/agent/a", n))
			if i.Created.IsZero() {
				i.Created = now.Add(-time.Duration(100+n) * 24 * time.Hour)
			}
			err = errors.Join(err, tx.PutIdentity(i))
		}
		return errors.Join(err, tx.PutCredential(identity.Credential{ID: "cred_2", Identity: identity.MustID("spiffe://lanyard.local/agent/a2"), Thumbprint: "t2"}))
	})
	for want, l := range map[string]store.Listing{
		"a0 a1 a2 a3 a4": {Sort: "name"}, "a4 a3 a2 a1 a0": {Sort: "name", Down: true}, "a1 a3 a0 a2 a4": {Sort: "owner"}, "a1 a3 a4 a2 a0": {Sort: "state", Down: true},
		"a4 a3 a1 a0 a2": {Sort: "created"}, "a0 a4 a1 a2 a3": {Sort: "expires"}, "a3 a1": {Sort: "last_used", Down: true, Owner: "ben"}, "a0": {Sort: "name", Query: "100% OF m"},
		"a1 a2": {Sort: "name", Query: "files"}, "": {Sort: "name", Query: "%f"}, "a1 a3 a4": {Sort: "name", Query: "child", QueryOwners: []identity.OwnerID{"ben"}},
		"a1": {Sort: "name", Environment: "test"}, "a0 a2 a4": {Sort: "name", Owners: []identity.OwnerID{"maya", "kim"}}, " ": {Sort: "name", Owners: []identity.OwnerID{}},
		"a0 ": {Sort: "name", Expiring: now.Add(24 * time.Hour)}, " a1": {Sort: "name", Ownerless: true, Gone: []identity.OwnerID{"ben"}}, " a0": {Sort: "name", Unused: now.Add(-30 * 24 * time.Hour)},
		"a0 a1 a2 a3": {Sort: "name", Roots: true}, "a3": {Sort: "name", State: identity.Retired}, "a2 ": {Sort: "name", Name: "A2"},
	} {
		for size := 1; size < 7; size++ {
			if got := inParts(t, k, db, l, size); got != strings.TrimSpace(want) {
				t.Errorf("%+v in parts of %d: %s, want %s", l, size, got, want)
			}
		}
	}
	db.TouchCredential("cred_2", now)
	k.must(db.Close())
	db = k.open()
	if got, _, _ := finds(t, db, store.Listing{Sort: "last_used", Down: true, Limit: 1}); got != "a2" {
		t.Errorf("the last that was used: %s", got)
	}
	begins := identity.Identity{ID: identity.MustID("spiffe://lanyard.local/agent/files"), Owner: "maya", State: identity.Active, Created: now, Expires: now.Add(time.Hour)}
	k.write(db, func(tx *store.Tx) error { return tx.PutIdentity(begins) })
	for want, l := range map[string]store.Listing{ // by name, those that begin with it first; of two letters those alone
		"files a1 a2": {Query: "Files"}, "files a2 a1": {Query: "files", Down: true}, "files ": {Query: "FI"}, "files": {Name: "fil"}, "": {Query: "es"}, "a0 a1 a2 a3 a4": {Name: "a"},
		"files a2": {Query: "files", Owner: "maya"}, "a1 a3 files": {Query: "fi", QueryOwners: []identity.OwnerID{"ben"}},
	} {
		for size := 1; size < 5; size++ {
			l.Sort = "name"
			if got := inParts(t, k, db, l, size); got != strings.TrimSpace(want) {
				t.Errorf("%+v in parts of %d: %s, want %s", l, size, got, want)
			}
		}
	}
	var long strings.Builder // a purpose that is longer than an index takes, and that nothing makes shorter
	for r := range 4000 {
		long.WriteRune(rune(0x20000 + r*7919%40000))
	}
	begins.Purpose = "Tells " + long.String()
	k.write(db, func(tx *store.Tx) error { return tx.PutIdentity(begins) })
	if got, _, _ := finds(t, db, store.Listing{Sort: "name", Query: "tells " + string(rune(0x20000)), Limit: 9}); got != "files" {
		t.Errorf("found by how a long purpose begins: %q", got)
	}
	if _, _, err := finds(t, db, store.Listing{Sort: "doc", Limit: 1}); err == nil {
		t.Error("sorted by what nobody sorts by")
	}
}

// inParts is what a listing has, in parts of a size.
func inParts(t *testing.T, k kit, db *store.DB, l store.Listing, size int) string {
	var got []string
	l.Limit = size
	k.read(db, func(tx *store.Tx) error {
		for {
			part, next, err := tx.Listed(l)
			if err != nil {
				return err
			}
			for _, i := range part {
				got = append(got, i.ID.Name())
			}
			if l.After = next; next == nil {
				break
			}
		}
		n, err := tx.Count(l, 100)
		if n != len(got) {
			t.Errorf("%+v: %d are counted, and %v listed", l, n, got)
		}
		return err
	})
	return strings.Join(got, " ")
}

func finds(t *testing.T, db *store.DB, l store.Listing) (names string, n int, err error) {
	err = db.Read(t.Context(), func(tx *store.Tx) (err error) { names, n, err = find(tx, l); return err })
	return names, n, err
}

func find(tx *store.Tx, l store.Listing) (names string, n int, err error) {
	list, _, err := tx.Listed(l)
	for _, i := range list {
		names += i.ID.Name()
	}
	return names, len(list), err
}
