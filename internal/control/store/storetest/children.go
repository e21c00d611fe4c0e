package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func childOf(parent identity.Identity, name string) identity.Identity {
	i := agent
	i.ID = identity.MustID("spiffe://lanyard.local/agent/" + name)
	i.Parent = identity.Link{ID: parent.ID, Generation: parent.Generation}
	return i
}

// family is bot with the children a and b, the child aa of a, aaa of that, and a stranger.
func family(tx *store.Tx) error {
	a, b, other := childOf(agent, "a"), childOf(agent, "b"), agent
	aa := childOf(a, "aa")
	aaa := childOf(aa, "aaa")
	other.ID = identity.MustID("spiffe://lanyard.local/agent/other")
	err := errors.Join(world(tx), tx.PutIdentity(other))
	for _, i := range []identity.Identity{a, b, aa, aaa} {
		c := key
		c.ID, c.Identity, c.Thumbprint = "cred_"+i.ID.Name(), i.ID, "print-"+i.ID.Name()
		err = errors.Join(err, tx.PutIdentity(i), tx.PutCredential(c))
	}
	return err
}

func names(list []identity.ID) string {
	var out []string
	for _, id := range list {
		out = append(out, id.Name())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// children: a subtree is counted, listed, stopped in one statement, and forgotten from its leaves on.
func children(t *testing.T, k kit) {
	var clock Clock
	k.Now = clock.Now
	db := k.open()
	k.write(db, family)
	k.read(db, func(tx *store.Tx) error {
		n, err1 := tx.CountChildren(bot, 10)
		one, err2 := tx.CountChildren(bot, 1)
		all, err3 := tx.CountDescendants(bot)
		below, err4 := tx.Descendants(bot, 0)
		two, err5 := tx.Descendants(bot, 2)
		mine, err6 := tx.Identities(store.Filter{Of: bot})
		roots, err7 := tx.Identities(store.Filter{Roots: true})
		if n != 2 || one != 1 || all != 4 || len(below) != 4 || below[3].ID.Name() != "aaa" || below[3].Parent.ID.Name() != "aa" || len(two) != 2 || len(mine) != 2 || len(roots) != 2 {
			t.Errorf("%d children (%d), %d below: %v %v; %d listed, %d roots", n, one, all, below, two, len(mine), len(roots))
		}
		return errors.Join(err1, err2, err3, err4, err5, err6, err7)
	})
	orphans := func() (list []identity.ID) {
		k.read(db, func(tx *store.Tx) error {
			found, err := tx.Bereft(10)
			for _, b := range found {
				list = append(list, b.Identity)
			}
			return err
		})
		return list
	}
	stop := func(kill string, s store.Selector) (ids []identity.ID, n int) {
		k.write(db, func(tx *store.Tx) (err error) { ids, n, err = tx.Kill(kill, s); return err })
		return ids, n
	}
	if ids, _ := stop("kill_0", store.Selector{Below: bot}); len(ids) != 0 || len(orphans()) != 0 {
		t.Errorf("below one that was not stopped: %v, bereft %v", ids, orphans())
	}
	a := identity.MustID("spiffe://lanyard.local/agent/a")
	if ids, _ := stop("kill_1", store.Selector{Identity: a}); names(ids) != "a" || names(orphans()) != "a" {
		t.Errorf("%s, bereft: %s", names(ids), names(orphans()))
	}
	if ids, n := stop("kill_1", store.Selector{Below: a}); names(ids) != "aa aaa" || n != 2 || len(orphans()) != 0 {
		t.Errorf("%s with %d credentials, bereft: %s", names(ids), n, names(orphans()))
	}
	// Brought back, a can start others, which are none of those that ended.
	k.write(db, func(tx *store.Tx) error {
		i, err := tx.Identity(a)
		if err != nil {
			return err
		}
		if i, err = i.Transition(identity.Active, maya, tx.Now()); err != nil {
			return err
		}
		return errors.Join(tx.PutIdentity(i), tx.PutIdentity(childOf(i, "ab")))
	})
	if ids, _ := stop("kill_2", store.Selector{Below: a}); len(ids) != 0 || len(orphans()) != 0 {
		t.Errorf("%s were stopped again, bereft: %s", names(ids), names(orphans()))
	}
	forget := func(want string) {
		t.Helper()
		var over []identity.ID
		k.write(db, func(tx *store.Tx) (err error) {
			if over, err = tx.Forgettable(clock.Now().Add(-time.Hour), 10); err != nil {
				return err
			}
			for _, id := range over {
				err = errors.Join(err, tx.Forget(id))
			}
			return err
		})
		if names(over) != want {
			t.Errorf("forgotten: %s, want %s", names(over), want)
		}
	}
	forget("")
	clock.Pass(2 * time.Hour)
	for name, id := range map[string]identity.ID{"one with children": a, "one that is not there": identity.MustID("spiffe://lanyard.local/agent/x")} {
		if _, err := db.Write(t.Context(), func(tx *store.Tx) error { tx.Record(Event("x")); return tx.Forget(id) }); !errors.Is(err, store.ErrInUse) && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("forgetting %s: %v", name, err)
		}
	}
	aa := identity.MustID("spiffe://lanyard.local/agent/aa")
	k.write(db, func(tx *store.Tx) error {
		return errors.Join(tx.PutTask(policy.Task{ID: "task_1", Identity: identity.MustID("spiffe://lanyard.local/agent/aaa"), State: policy.TaskClosed, Until: clock.Now()}),
			tx.PutApproval(store.Approval{Approval: feed.Approval{ID: "appr_1", Hash: "h", Identity: aa, State: feed.Used, Expires: clock.Now()}, Asked: clock.Now()}))
	})
	forget("aaa") // a lives again, and aa had a child until now
	forget("")    // what aa asked is still kept
	k.write(db, func(tx *store.Tx) error { return tx.ForgetApprovals(clock.Now().Add(time.Hour)) })
	forget("aa")
	forget("")
	k.read(db, func(tx *store.Tx) error {
		_, gone := tx.IdentityByName("aaa")
		_, dead := tx.CredentialByThumbprint("print-aaa")
		spent, err := tx.Spent("print-aaa")
		fresh, err2 := tx.Spent("print-b")
		if !errors.Is(gone, store.ErrNotFound) || !errors.Is(dead, store.ErrNotFound) || !spent || fresh {
			t.Errorf("%v, %v, spent %v %v", gone, dead, spent, fresh)
		}
		return errors.Join(err, err2)
	})
	last := feed.Change{}
	for c, err := range db.Watch(t.Context(), feed.Cursor{Epoch: db.Head().Epoch}) {
		k.must(err)
		if last = c; c.Cursor == db.Head() {
			break
		}
	}
	if !last.Removed || last.Identity == nil || last.Identity.ID.Name() != "aa" {
		t.Errorf("the last change: %+v", last)
	}
}

// loops: a store in which a chain of parents closes is no trap.
func loops(t *testing.T, k kit) {
	db := k.open()
	k.write(db, family)
	k.must(db.UnsafeExec(fmt.Sprintf("UPDATE identities SET parent = '%s' WHERE id = '%s'", "spiffe://lanyard.local/agent/aaa", bot)))
	k.write(db, func(tx *store.Tx) error {
		if _, err := tx.Descendants(bot, 0); err != nil {
			return err
		}
		_, _, err := tx.Kill("kill_1", store.Selector{Identity: bot})
		ids, _, err2 := tx.Kill("kill_1", store.Selector{Below: bot})
		if names(ids) != "a aa aaa b" {
			t.Errorf("stopped: %s", names(ids))
		}
		return errors.Join(err, err2)
	})
}
