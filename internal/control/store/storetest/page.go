package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// belongings: what is read for a page at one time is what is read for each.
func belongings(t *testing.T, k kit) {
	db := k.open()
	k.write(db, family)
	k.read(db, func(tx *store.Tx) error {
		all, err := tx.Identities(store.Filter{})
		some, err2 := tx.Belongings(all, 10)
		for _, i := range all {
			c, err3 := tx.Credentials(i.ID)
			g, err4 := tx.Grants(i.ID)
			o, err5 := tx.Owner(i.Owner)
			n, err6 := tx.CountChildren(i.ID, 10)
			err = errors.Join(err, err3, err4, err5, err6)
			if fmt.Sprint(some.Credentials[i.ID]) != fmt.Sprint(c) || fmt.Sprint(some.Grants[i.ID]) != fmt.Sprint(g) || !reflect.DeepEqual(some.Owners[i.Owner], o) || some.Children[i.ID] != n {
				t.Errorf("%s: %+v, want %v %v %v %d", i.ID, some, c, g, o, n)
			}
		}
		if some.Children[bot] != 2 || len(some.Grants[bot]) != 1 {
			t.Errorf("of %d: %+v", len(all), some)
		}
		few, err7 := tx.Belongings(all, 1)
		nothing, err8 := tx.Belongings(nil, 1)
		if few.Children[bot] != 1 || len(nothing.Owners) != 0 {
			t.Errorf("children %v", few.Children)
		}
		return errors.Join(err, err2, err7, err8)
	})
}

// owned: owners come in pages, with how much each has that is not retired.
func owned(t *testing.T, k kit) {
	db := k.open()
	k.write(db, func(tx *store.Tx) error {
		err := world(tx)
		for n := range 5 {
			o := maya
			o.ID = identity.OwnerID(fmt.Sprint("a", n))
			err = errors.Join(err, tx.PutOwner(o))
			for m := range n {
				i := agent
				i.ID, i.Owner = identity.MustID(fmt.Sprintf("spiffe://lanyard.local/agent/b%d-%d", n, m)), o.ID
				if m == 3 {
					i.State = identity.Retired
				}
				err = errors.Join(err, tx.PutIdentity(i))
			}
		}
		return err
	})
	k.read(db, func(tx *store.Tx) error {
		page, err := tx.OwnersAfter("a1", 3)
		n, err2 := tx.CountOwned(page)
		if len(page) != 3 || page[0].ID != "a2" || n["a2"] != 2 || n["a3"] != 3 || n["a4"] != 3 {
			t.Errorf("%v: %v", page, n)
		}
		return errors.Join(err, err2)
	})
}

// lines: what is passed on as it is stored says what is said to who reads it, in a snapshot and after it.
func lines(t *testing.T, k kit) {
	db := k.open()
	k.write(db, family)
	k.write(db, func(tx *store.Tx) error {
		c := key
		c.Revoked = Epoch.Add(time.Minute)
		_, _, err := tx.Kill("kill_1", store.Selector{Identity: identity.MustID("spiffe://lanyard.local/agent/a")})
		return errors.Join(err, tx.PutCredential(c), tx.PutKeys(feed.Keys{JWKS: []byte(`{"keys":[]}`)}), tx.RevokeToken(feed.TokenRevocation{ID: "tok_1", Expires: Epoch}))
	})
	for _, after := range []feed.Cursor{{}, {Epoch: db.Head().Epoch}} {
		want, got := map[string]bool{}, map[string]bool{}
		for c, err := range db.Watch(t.Context(), after) {
			k.must(err)
			want[fmt.Sprintf("%+v", flat(c))] = true
			if c.Synced || after != (feed.Cursor{}) && c.Cursor == db.Head() {
				break
			}
		}
		for batch, err := range db.Lines(t.Context(), after) {
			k.must(err)
			for _, e := range batch {
				l, err := feed.ParseLine(e.Append(nil))
				k.must(err)
				got[fmt.Sprintf("%+v", flat(*l.Change))] = true
			}
			if last := batch[len(batch)-1]; last.Synced || after != (feed.Cursor{}) && last.Cursor == db.Head() {
				break
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("after %v:\n%v\nwant\n%v", after, got, want)
		}
		if len(want) < 10 {
			t.Errorf("there are %d", len(want))
		}
	}
	// Those who follow get what comes, each once and in order, and who was somewhere else is told.
	at := db.Head()
	seen := make(chan []feed.Encoded, 10)
	go func() {
		defer close(seen)
		for batch, err := range db.Lines(t.Context(), at) {
			if err != nil {
				return
			}
			seen <- batch
			if batch[len(batch)-1].Cursor.Seq == at.Seq+20 {
				return
			}
		}
	}()
	for n := range 20 {
		k.write(db, func(tx *store.Tx) error {
			o := maya
			o.Name = fmt.Sprint("Maya ", n)
			return tx.PutOwner(o)
		})
	}
	next := at.Seq
	for batch := range seen {
		for _, e := range batch {
			c, err := e.Change()
			k.must(err)
			if next++; c.Cursor.Seq != next || c.Owner.Name != fmt.Sprint("Maya ", next-at.Seq-1) {
				t.Fatalf("%+v is the %dth", c, next-at.Seq)
			}
		}
	}
	if next != at.Seq+20 {
		t.Errorf("%d of 20 came", next-at.Seq)
	}
	for _, bad := range []feed.Cursor{{Epoch: "other", Seq: 1}, {Epoch: at.Epoch, Seq: at.Seq + 100}} {
		for _, err := range db.Lines(t.Context(), bad) {
			if !errors.Is(err, feed.ErrCompacted) {
				t.Errorf("from %v: %v", bad, err)
			}
		}
	}
}

// flat is c with what it points to.
func flat(c feed.Change) (list []any) {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			list = append(list, f.Elem().Interface())
		} else if f.Kind() != reflect.Pointer {
			list = append(list, f.Interface())
		}
	}
	return list
}
