package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// directories: what a directory told is found by what it is asked for, is its own alone, and goes with it; owners are found by their address.
func directories(t *testing.T, k kit) {
	db := k.open()
	soc := store.DirectoryGroup{ID: "grp_1", Directory: "okta", Display: "SOC", External: "s"}
	k.write(db, func(tx *store.Tx) error {
		err := errors.Join(tx.PutDirectory(identity.Directory{Name: "okta", Roles: map[string][]identity.Role{"SOC": {identity.RoleSecurity}}}), tx.PutDirectory(identity.Directory{Name: "entra"}),
			tx.PutOwner(identity.Owner{ID: "maya", Email: "Maya@Example.com"}))
		for n, name := range []string{"Maya@example.com", "ben", "kim"} {
			err = errors.Join(err, tx.PutDirectoryUser(store.DirectoryUser{ID: "usr_" + string(rune('1'+n)), Directory: "okta", Owner: identity.OwnerID([]string{"maya", "ben", "kim"}[n]), UserName: name, External: "x" + name}))
		}
		return errors.Join(err, tx.PutDirectoryUser(store.DirectoryUser{ID: "usr_9", Directory: "entra", Owner: "zoe", UserName: "ben"}), tx.PutDirectoryGroup(soc), tx.PutDirectoryMember("grp_1", "usr_1"), tx.PutDirectoryMember("grp_1", "usr_1"), tx.PutDirectoryMember("grp_1", "usr_2"))
	})
	for name, u := range map[string]store.DirectoryUser{"a second userName": {ID: "usr_5", Directory: "okta", Owner: "five", UserName: "BEN"}, "an owner twice": {ID: "usr_5", Directory: "entra", Owner: "maya", UserName: "five"}} {
		if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.PutDirectoryUser(u) }); !errors.Is(err, store.ErrExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"a\x00b", "\xff"} { // PostgreSQL has no such text
		k.read(db, func(tx *store.Tx) error {
			_, err := tx.DirectoryUser("okta", id)
			_, err2 := tx.DirectoryGroup("okta", id)
			if !errors.Is(err, store.ErrNotFound) || !errors.Is(err2, store.ErrNotFound) {
				t.Errorf("%q: %v, %v", id, err, err2)
			}
			return nil
		})
	}
	k.read(db, func(tx *store.Tx) error {
		for _, test := range []struct {
			t    store.Told
			want string
		}{{store.Told{Limit: 9}, "123"}, {store.Told{Limit: 1, Offset: 1}, "2"}, {store.Told{Limit: 9, After: "usr_1"}, "23"}, {store.Told{Limit: 9, Column: "name", Value: "maya@example.com"}, "1"},
			{store.Told{Limit: 9, Column: "external", Value: "xkim"}, "3"}, {store.Told{Limit: 9, Column: "id", Value: "usr_9"}, ""}, {store.Told{Limit: 9, Column: "name", Value: "a\x00b"}, ""}, {store.Told{Limit: 9, Column: "id", Value: "\xff"}, ""}, {store.Told{Limit: 9, Column: "name", Value: "ben", After: "usr_2"}, ""}} {
			test.t.Directory = "okta"
			list, err := tx.DirectoryUsers(test.t)
			got := ""
			for _, u := range list {
				got += u.ID[4:]
			}
			if err != nil || got != test.want {
				t.Errorf("%+v: %q %v", test.t, got, err)
			}
		}
		n, err := tx.CountDirectoryUsers(store.Told{Directory: "okta"})
		in, err2 := tx.DirectoryMembers("grp_1")
		of, err3 := tx.DirectoryGroupsOf("usr_2")
		roles, err4 := tx.DirectoryRoles("maya")
		owners, err5 := tx.OwnersByEmail("mAYA@example.com")
		if n != 3 || len(in) != 2 || in[0].ID != "usr_1" || len(of) != 1 || of[0] != soc || len(roles) != 1 || roles[0] != identity.RoleSecurity || len(owners) != 1 {
			t.Errorf("%d %+v %+v %v %v", n, in, of, roles, owners)
		}
		if _, err := tx.DirectoryUser("okta", "usr_9"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another's user: %v", err)
		}
		return errors.Join(err, err2, err3, err4, err5)
	})
	db.TouchDirectory("okta", Epoch.Add(time.Minute))
	k.must(db.Close())
	db = k.open()
	k.read(db, func(tx *store.Tx) error {
		heard, users, groups, err := tx.DirectoryHeard("okta")
		if heard != Epoch.Add(time.Minute) || users != 3 || groups != 1 {
			t.Errorf("%v %d %d", heard, users, groups)
		}
		return err
	})
	k.write(db, func(tx *store.Tx) error {
		return errors.Join(tx.DeleteDirectoryUser("usr_2"), tx.DeleteDirectory("okta"))
	})
	k.read(db, func(tx *store.Tx) error {
		in, err := tx.DirectoryMembers("grp_1")
		_, gone := tx.DirectoryUserOf("maya")
		left, err2 := tx.DirectoryUserOf("zoe")
		if len(in) != 0 || !errors.Is(gone, store.ErrNotFound) || left.UserName != "ben" {
			t.Errorf("%v %v %+v", in, gone, left)
		}
		return errors.Join(err, err2)
	})
	k.must(db.Close())
}
