package registry_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/connector/patterns"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const key = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}` // RFC 8037 appendix A.2

// world is a registry with a clock that the test moves.
type world struct {
	*testing.T
	*registry.Registry
	now   time.Time       // for what the test expects
	clock storetest.Clock // the same, for who runs beside it
}

func (w *world) set(now time.Time) {
	w.now = now
	w.clock.Set(now)
}

var maya = registry.Actor{Name: "operator:maya"}

func open(t *testing.T) *world {
	w := &world{T: t}
	w.set(storetest.Epoch)
	c := storetest.Config(t)
	c.Dir, c.Now = t.TempDir(), w.clock.Now
	storetest.Elsewhere(t, &c)
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w.Registry = &registry.Registry{Store: db, Domain: "lanyard.local", Families: []connector.Family{patterns.Family(), mcp.Family(), google.Family()}, Rand: rand.Reader}
	w.do(func(c *registry.Change) error {
		_, err1 := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "ben"})
		_, err2 := c.PutOwner(identity.Owner{ID: "ben", Name: "Ben Okafor", Email: "ben@example.com"})
		_, err3 := c.PutUpstream(policy.Upstream{Name: "mail", URL: "http://127.0.0.1:1", Owner: "maya", Family: "patterns", Description: []byte("GET /m/{id} -> m.read read /m/{id}\nPOST /m -> m.send write /m")}, nil)
		_, _, err4 := c.PutIdentity(bot("bot"))
		_, _, err5 := c.PutGrant("bot", "read", policy.Grant{Upstream: "mail", Actions: []string{"read"}, Plain: true}, registry.End{})
		_, _, err6 := c.AddCredential("bot", registry.Proof{PublicKey: []byte(key)})
		return errors.Join(err1, err2, err3, err4, err5, err6)
	})
	return w
}

func bot(name string) registry.Wanted {
	return registry.Wanted{Kind: identity.Agent, Name: name, Owner: "maya", Purpose: "tests"}
}

func (w *world) do(f func(*registry.Change) error) {
	w.Helper()
	if _, err := w.Do(w.Context(), maya, f); err != nil {
		w.Fatal(err)
	}
}

// fails runs what must be refused with that text, and checks that nothing of it is kept.
func (w *world) fails(says string, f func(*registry.Change) error) {
	w.Helper()
	head, size := w.Store.Head(), w.Store.Size()
	_, err := w.Do(w.Context(), maya, f)
	if err == nil || !strings.Contains(err.Error(), says) {
		w.Errorf("%v, want %q", err, says)
	}
	if w.Store.Head() != head || w.Store.Size() != size {
		w.Errorf("%q: something was kept", says)
	}
}

func (w *world) identity(name string) (i identity.Identity, k []identity.Credential, g []policy.Grant) {
	w.Helper()
	err := w.Store.Read(w.Context(), func(tx *store.Tx) (err error) {
		if i, err = tx.IdentityByName(name); err != nil {
			return err
		}
		var err2 error
		k, err = tx.Credentials(i.ID)
		g, err2 = tx.Grants(i.ID)
		return errors.Join(err, err2)
	})
	if err != nil {
		w.Fatal(err)
	}
	return i, k, g
}

// last is the newest events' types, the newest first.
func (w *world) last(n int) string {
	w.Helper()
	found, err := w.Store.Search(w.Context(), ledger.Query{}, 0, n)
	if err != nil {
		w.Fatal(err)
	}
	var types []string
	for _, e := range found.Entries {
		if e.Event.Actor != maya.Name && e.Event.Actor != "lanyard" {
			w.Errorf("%s by %s", e.Event.Type, e.Event.Actor)
		}
		types = append(types, e.Event.Type)
	}
	return strings.Join(types, " ")
}

func state(to identity.State, verb string, end registry.End) func(*registry.Change) error {
	return func(c *registry.Change) error { _, err := c.Transition("bot", to, verb, "because", end); return err }
}

// TestLife: what an identity needs to act, and where it can go from where.
func TestLife(t *testing.T) {
	w := open(t)
	if i, k, g := w.identity("bot"); i.State != identity.Active || !i.Expires.Equal(w.now.Add(90*24*time.Hour)) || len(k) != 1 || !k[0].Expires.Equal(i.Expires) || len(g) != 1 || !g[0].Until.Equal(i.Expires) {
		t.Errorf("%+v %+v %+v", i, k, g)
	}
	if got := w.last(6); got != "credential.add grant.put identity.register upstream.add owner.add owner.add" {
		t.Error(got)
	}
	for says, change := range map[string]func(*registry.Wanted){
		"there is no owner \"zoe\"": func(x *registry.Wanted) { x.Owner = "zoe" },
		"say in one sentence":       func(x *registry.Wanted) { x.Purpose = "  " },
		"further away than":         func(x *registry.Wanted) { x.Expires = registry.For(366 * 24 * time.Hour) },
		"has passed":                func(x *registry.Wanted) { x.Expires = registry.At(w.now) },
		"cannot be its own backup":  func(x *registry.Wanted) { x.Backup = "maya" },
		"environment":               func(x *registry.Wanted) { x.Environment = "Prod uction" },
		"use 1 to 64":               func(x *registry.Wanted) { x.Name = "../x" },
	} {
		x := bot("x")
		change(&x)
		w.fails(says, func(c *registry.Change) error { _, _, err := c.PutIdentity(x); return err })
	}
	x := bot("bot")
	x.Kind = identity.Service
	w.fails("a kind never changes", func(c *registry.Change) error { _, _, err := c.PutIdentity(x); return err })

	w.do(state(identity.Suspended, "suspend", registry.End{}))
	w.do(state(identity.Active, "resume", registry.End{}))
	w.set(w.now.Add(80 * 24 * time.Hour))
	w.do(state(identity.Active, "renew", registry.For(90*24*time.Hour)))
	if i, k, g := w.identity("bot"); !i.Expires.Equal(w.now.Add(90*24*time.Hour)) || !k[0].Expires.Equal(i.Expires) || !g[0].Until.Equal(i.Expires) {
		t.Errorf("renewed: %v, key %v, grant %v", i.Expires, k[0].Expires, g[0].Until)
	}
	w.set(w.now.Add(91 * 24 * time.Hour))
	if next, err := w.Expire(t.Context()); err != nil || !next.IsZero() {
		t.Errorf("expire: %v %v", next, err)
	}
	if i, _, _ := w.identity("bot"); i.State != identity.Expired || w.last(1) != "identity.expire" {
		t.Errorf("%s, %s", i.State, w.last(1))
	}
	w.fails("give it a later one", state(identity.Active, "activate", registry.End{}))
	w.do(state(identity.Active, "renew", registry.For(24*time.Hour)))
	w.do(state(identity.Retired, "retire", registry.End{}))
	if i, k, g := w.identity("bot"); i.State != identity.Retired || k[0].Revoked.IsZero() || len(g) != 0 {
		t.Errorf("retired: %+v %+v %+v", i, k, g)
	}
	if got := w.last(3); got != "grant.revoke credential.revoke identity.retire" {
		t.Error(got)
	}
	w.fails("its name stays taken", func(c *registry.Change) error { _, _, err := c.PutIdentity(bot("bot")); return err })
	w.fails("cannot become active", state(identity.Active, "activate", registry.End{}))
	w.fails("takes no grant", func(c *registry.Change) error {
		_, _, err := c.PutGrant("bot", "x", policy.Grant{Upstream: "mail", Actions: []string{"read"}, Plain: true}, registry.End{})
		return err
	})
	w.do(func(c *registry.Change) error {
		p := bot("later")
		p.Pending = true
		_, _, err := c.PutIdentity(p)
		return err
	})
	if i, _, _ := w.identity("later"); i.State != identity.Pending {
		t.Error(i.State)
	}
	w.fails("nothing to stop", func(c *registry.Change) error { _, err := c.Kill(registry.Aim{Identity: "later"}, "x"); return err })
}

// TestCredentials: one key, one identity, one life.
func TestCredentials(t *testing.T) {
	w := open(t)
	w.do(func(c *registry.Change) error { _, _, err := c.PutIdentity(bot("two")); return err })
	w.fails("is already cred_", func(c *registry.Change) error {
		_, _, err := c.AddCredential("two", registry.Proof{PublicKey: []byte(key)})
		return err
	})
	_, k, _ := w.identity("bot")
	w.do(func(c *registry.Change) error { return c.RevokeCredential(k[0].ID, "rotated") })
	w.do(func(c *registry.Change) error { return c.RevokeCredential(k[0].ID, "again") }) // it is so already
	if got := w.last(2); got != "credential.revoke identity.register" {
		t.Error(got)
	}
	for _, name := range []string{"bot", "two"} {
		w.fails("a revoked key stays dead", func(c *registry.Change) error {
			_, _, err := c.AddCredential(name, registry.Proof{PublicKey: []byte(key)})
			return err
		})
	}
	for says, p := range map[string]registry.Proof{
		"private":            {PublicKey: []byte(strings.Replace(key, `"x"`, `"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x"`, 1))},
		"public_key":         {PublicKey: []byte("nonsense")},
		"no certificate":     {Certificate: []byte("nonsense")},
		"which has passed":   {PublicKey: []byte(key), Expires: registry.At(w.now)},
		"there is no identi": {},
	} {
		who := "two"
		if p.PublicKey == nil && p.Certificate == nil {
			who = "nobody"
		}
		w.fails(says, func(c *registry.Change) error { _, _, err := c.AddCredential(who, p); return err })
	}
	var api string
	w.do(func(c *registry.Change) (err error) {
		_, api, err = c.AddCredential("two", registry.Proof{})
		return err
	})
	_, k, _ = w.identity("two")
	if !strings.HasPrefix(api, "lyd_") || len(k) != 1 || strings.Contains(fmt.Sprintf("%+v", k), api) || !k[0].Expires.Equal(w.now.Add(90*24*time.Hour)) {
		t.Errorf("%+v", k)
	}
}

// TestOwners: who leaves hands over, and who has no heir stops.
func TestOwners(t *testing.T) {
	w := open(t)
	gone := func(id identity.OwnerID) {
		w.Helper()
		w.do(func(c *registry.Change) error {
			o, err := c.Owner(id)
			if err != nil {
				return err
			}
			o.State = identity.OwnerGone
			_, err = c.PutOwner(o)
			return err
		})
	}
	w.fails("still owns", func(c *registry.Change) error { return c.RemoveOwner("maya") })
	w.fails("backup of maya", func(c *registry.Change) error { return c.RemoveOwner("ben") })
	w.fails("no owner \"zoe\"", func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "zoe"})
		return err
	})
	w.fails("cannot stand in for itself", func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "maya"})
		return err
	})
	gone("maya")
	if i, _, _ := w.identity("bot"); i.Owner != "ben" || i.State != identity.Active || w.last(3) != "upstream.assign identity.assign owner.change" {
		t.Errorf("%+v after %s", i, w.last(3))
	}
	w.fails("maya has left", func(c *registry.Change) error { _, _, err := c.PutIdentity(bot("x")); return err })
	gone("ben")
	if i, _, _ := w.identity("bot"); i.State != identity.Suspended || w.last(1) != "identity.suspend" {
		t.Errorf("%+v after %s", i, w.last(1))
	}
	w.fails("has left", state(identity.Active, "resume", registry.End{}))
}

// TestCord: what was killed comes back without what it had.
func TestCord(t *testing.T) {
	w := open(t)
	before, _, _ := w.identity("bot")
	var k registry.Killed
	kill := func(a registry.Aim) {
		w.Helper()
		w.do(func(c *registry.Change) (err error) { k, err = c.Kill(a, "test"); return err })
	}
	kill(registry.Aim{Identity: "agent/bot"})
	i, c, _ := w.identity("bot")
	if i.State != identity.Killed || i.Generation != before.Generation+1 || i.KilledBy != k.ID || c[0].Revoked.IsZero() || k.Credentials != 1 || w.last(1) != "identity.kill" {
		t.Errorf("%+v %+v %+v", i, c, k)
	}
	kill(registry.Aim{All: true})
	if len(k.Identities) != 0 {
		t.Errorf("killed twice: %v", k.Identities)
	}
	w.fails("lanyard restore bot brings it back", state(identity.Active, "activate", registry.End{}))
	w.fails("takes no new credential", func(c *registry.Change) error { _, _, err := c.AddCredential("bot", registry.Proof{}); return err })
	var r registry.Restored
	w.do(func(c *registry.Change) (err error) {
		r, err = c.Restore(registry.Aim{Kill: i.KilledBy}, "test")
		return err
	})
	i, c, _ = w.identity("bot")
	if len(r.Identities) != 1 || i.State != identity.Active || i.Generation != before.Generation+1 || i.KilledBy != "" || c[0].Revoked.IsZero() {
		t.Errorf("restored: %+v %+v", i, c)
	}
	kill(registry.Aim{Owner: "maya"})
	w.set(w.now.Add(100 * 24 * time.Hour))
	w.do(func(c *registry.Change) (err error) { r, err = c.Restore(registry.Aim{All: true}, "test"); return err })
	if len(r.Identities) != 0 || len(r.Left) != 1 || !strings.Contains(r.Left[0].Why, "expiry") {
		t.Errorf("an expired one: %+v", r)
	}
	kill(registry.Aim{Upstream: "mail"})
	w.do(func(c *registry.Change) (err error) {
		r, err = c.Restore(registry.Aim{Upstream: "mail"}, "test")
		return err
	})
	if r.Upstream != "mail" || w.last(2) != "upstream.restore upstream.kill" {
		t.Errorf("%+v %s", r, w.last(2))
	}
	w.fails("say why", func(c *registry.Change) error { _, err := c.Kill(registry.Aim{All: true}, ""); return err })
	w.fails("exactly one", func(c *registry.Change) error { _, err := c.Kill(registry.Aim{}, "x"); return err })
}

// TestPolicyHolds: what grants and guardrails stand on cannot be taken away beneath them.
func TestPolicyHolds(t *testing.T) {
	w := open(t)
	up := func(description string) func(*registry.Change) error {
		return func(c *registry.Change) error {
			u, err := c.Upstream("mail")
			if err != nil {
				return err
			}
			u.Description = []byte(description)
			_, err = c.PutUpstream(u, nil)
			return err
		}
	}
	w.do(func(c *registry.Change) error {
		_, err := c.PutGuardrail(policy.Guardrail{ID: "no-send", Cedar: `forbid(principal, action == Lanyard::Action::"m.send", resource);`})
		return err
	})
	w.fails("guardrail no-send", up("GET /m/{id} -> m.read read /m/{id}"))
	w.do(func(c *registry.Change) error {
		_, _, err := c.PutGrant("bot", "send", policy.Grant{Upstream: "mail", Actions: []string{"m.send"}, Plain: true}, registry.End{})
		return err
	})
	w.do(func(c *registry.Change) error { return c.RemoveGuardrail("no-send") })
	w.fails("grant bot/send", up("GET /m/{id} -> m.read read /m/{id}"))
	w.fails("still has grants", func(c *registry.Change) error { return c.RemoveUpstream("mail") })
	w.do(up("GET /m/{id} -> m.read read /m/{id}\nPOST /m -> m.send write /m\nDELETE /m/{id} -> m.delete delete /m/{id}"))
	w.fails("after bot itself ends", func(c *registry.Change) error {
		_, _, err := c.PutGrant("bot", "x", policy.Grant{Upstream: "mail", Actions: []string{"read"}, Plain: true}, registry.For(200*24*time.Hour))
		return err
	})
	size := w.Store.Size()
	if err := w.Try(t.Context(), maya, func(c *registry.Change) error { _, _, err := c.PutIdentity(bot("x")); return err }); err != nil || w.Store.Size() != size {
		t.Errorf("try: %v, %d events", err, w.Store.Size()-size)
	}
	w.do(func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Berg", Email: "maya@example.com", Backup: "ben"})
		return err
	})
	w.Store.Read(t.Context(), func(tx *store.Tx) error {
		if u, err := tx.Upstream("mail"); err != nil || u.OwnerName != "Maya Berg" {
			t.Errorf("%v %q", err, u.OwnerName)
		}
		return nil
	})
}
