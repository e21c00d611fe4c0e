package registry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// leave marks an owner as gone.
func (w *world) leave(id identity.OwnerID) {
	w.Helper()
	w.do(func(c *registry.Change) error {
		o, err := c.Owner(id)
		o.State = identity.OwnerGone
		_, err2 := c.PutOwner(o)
		return errors.Join(err, err2)
	})
}

// TestLeaveAfterBackup: who left before cannot keep anyone from leaving.
func TestLeaveAfterBackup(t *testing.T) {
	w := open(t)
	other := bot("other")
	other.Backup = "zoe"
	w.do(func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "zoe", Name: "Zoe Berg", Email: "zoe@example.com"})
		_, _, err2 := c.PutIdentity(other)
		return errors.Join(err, err2)
	})
	w.leave("ben")
	w.fails("ben has left", func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "zoe", Name: "Zoe Berg", Email: "zoe@example.com", Backup: "ben"})
		return err
	})
	w.fails("no owner \"nobody\"", func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "nobody", State: identity.OwnerGone})
		return err
	})
	w.leave("maya")
	if i, _, _ := w.identity("bot"); i.State != identity.Suspended || i.Owner != "maya" {
		t.Errorf("without an heir: %s of %s", i.State, i.Owner)
	}
	if i, _, _ := w.identity("other"); i.State != identity.Active || i.Owner != "zoe" {
		t.Errorf("with a backup of its own: %s of %s", i.State, i.Owner)
	}
}

// TestRemoveBackup: who stands in for an identity is not removed from under it.
func TestRemoveBackup(t *testing.T) {
	w := open(t)
	x := bot("x")
	x.Backup = "zoe"
	w.do(func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "zoe", Name: "Zoe Berg", Email: "zoe@example.com"})
		_, _, err2 := c.PutIdentity(x)
		return errors.Join(err, err2)
	})
	w.fails("backup of the identity x", func(c *registry.Change) error { return c.RemoveOwner("zoe") })
	w.do(func(c *registry.Change) error {
		_, err := c.Transition("x", identity.Retired, "retire", "because", registry.End{})
		return errors.Join(err, c.RemoveOwner("zoe")) // what is over needs nobody to stand in
	})
}

// TestUpstreamOfGone: nobody who has left is put in charge of an upstream.
func TestUpstreamOfGone(t *testing.T) {
	w := open(t)
	w.leave("ben")
	w.fails("ben has left; name another", func(c *registry.Change) error {
		u, err := c.Upstream("mail")
		u.Owner = "ben"
		_, err2 := c.PutUpstream(u, nil)
		return errors.Join(err, err2)
	})
	w.leave("maya") // and nobody takes over
	w.Store.Read(t.Context(), func(tx *store.Tx) error {
		if u, err := tx.Upstream("mail"); err != nil || u.Owner != "maya" {
			t.Errorf("%v %q", err, u.Owner)
		}
		return nil
	})
}

// TestNameGivenAgain: nothing that was done for a removed owner is good for who gets the name.
func TestNameGivenAgain(t *testing.T) {
	w := open(t)
	zoe := identity.Owner{ID: "zoe", Name: "Zoe Berg", Email: "zoe@example.com"}
	put := func() (o identity.Owner) {
		w.do(func(c *registry.Change) (err error) {
			_, err = c.PutOwner(zoe)
			o, _ = c.Owner("zoe")
			return err
		})
		return o
	}
	seen := map[uint64]bool{}
	for range 3 {
		w.set(w.now.Add(time.Hour))
		o := put()
		if seen[o.Generation] {
			t.Errorf("generation %d was another's", o.Generation)
		}
		seen[o.Generation] = true
		if len(seen) > 1 && !o.Stopped.Equal(w.now.Add(-time.Hour)) {
			t.Errorf("what is from before %v is not hers", o.Stopped)
		}
		w.kill(registry.Aim{Owner: "zoe"})
		w.leave("zoe")
		if o = put(); seen[o.Generation] {
			t.Errorf("back: generation %d", o.Generation)
		}
		seen[o.Generation] = true
		w.do(func(c *registry.Change) error { return c.RemoveOwner("zoe") })
	}
}

// TestRemovedIsNotNamed: an owner is removed only when no team and no consent names them any more; who gets the name later would be a member, and connect clients, as they did.
func TestRemovedIsNotNamed(t *testing.T) {
	mail := policy.Upstream{Name: "mail", URL: "http://127.0.0.1:1", Owner: "maya", Family: "patterns", Description: []byte("GET /m/{id} -> m.read read /m/{id}\nPOST /m -> m.send write /m")}
	for name, k := range map[string]struct {
		names, not func(*registry.Change) error
		says       string
	}{
		"of a team": {
			func(c *registry.Change) error {
				_, err := c.PutOwner(identity.Owner{ID: "desk", Name: "Desk", Email: "desk@example.com", Team: true, Members: []identity.OwnerID{"kim"}})
				return err
			},
			func(c *registry.Change) error {
				_, err := c.PutOwner(identity.Owner{ID: "desk", Name: "Desk", Email: "desk@example.com", Team: true})
				return err
			}, "member of the team desk"},
		"who may connect": {
			func(c *registry.Change) error {
				u := mail
				u.Consent.Owners = []identity.OwnerID{"kim"}
				_, err := c.PutUpstream(u, nil)
				return err
			},
			func(c *registry.Change) error { _, err := c.PutUpstream(mail, nil); return err }, "consent of the upstream mail"},
	} {
		w := open(t)
		w.do(func(c *registry.Change) error {
			_, err := c.PutOwner(identity.Owner{ID: "kim", Name: "Kim Sato", Email: "kim@example.com"})
			return errors.Join(err, k.names(c))
		})
		var conflict *registry.Conflict
		if _, err := w.Do(t.Context(), maya, func(c *registry.Change) error { return c.RemoveOwner("kim") }); !errors.As(err, &conflict) || !strings.Contains(err.Error(), k.says) {
			t.Errorf("%s: %v", name, err)
		}
		w.do(func(c *registry.Change) error { return errors.Join(k.not(c), c.RemoveOwner("kim")) })
	}
}
