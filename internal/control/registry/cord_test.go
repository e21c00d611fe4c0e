package registry_test

import (
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

func (w *world) kill(a registry.Aim) (k registry.Killed) {
	w.Helper()
	w.do(func(c *registry.Change) (err error) { k, err = c.Kill(a, "test"); return err })
	return k
}

func (w *world) restore(a registry.Aim) (r registry.Restored) {
	w.Helper()
	w.do(func(c *registry.Change) (err error) { r, err = c.Restore(a, "test"); return err })
	return r
}

// TestRestoreSuspended: a restore takes back the kill, and not the suspension before it.
func TestRestoreSuspended(t *testing.T) {
	w := open(t)
	w.do(state(identity.Suspended, "suspend", registry.End{}))
	k := w.kill(registry.Aim{All: true})
	if i, _, _ := w.identity("bot"); i.State != identity.Killed || i.KilledFrom != identity.Suspended {
		t.Errorf("killed: %+v", i)
	}
	w.fails("lanyard restore bot brings it back", state(identity.Suspended, "suspend", registry.End{}))
	r := w.restore(registry.Aim{Kill: k.ID})
	i, c, _ := w.identity("bot")
	if len(r.Identities) != 1 || i.State != identity.Suspended || i.KilledBy != "" || i.KilledFrom != "" || i.Generation != 1 || c[0].Revoked.IsZero() {
		t.Errorf("restored: %+v %+v", i, c)
	}
	w.do(state(identity.Active, "resume", registry.End{}))
	w.kill(registry.Aim{Identity: "bot"})
	w.restore(registry.Aim{Identity: "bot"})
	if i, _, _ := w.identity("bot"); i.State != identity.Active || i.KilledFrom != "" {
		t.Errorf("an active one: %+v", i)
	}
}
