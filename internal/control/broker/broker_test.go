package broker_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/broker"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestOwners: each agent goes with the account of its own owner, and with that of its new one once it is handed over.
func TestOwners(t *testing.T) {
	w := open(t)
	if text := w.none("mayas"); !strings.Contains(text, "an account of Maya Lind, who has not connected an account there") || !strings.Contains(text, plane+"/accounts/notes") {
		t.Error(text)
	}
	w.connect("maya")
	mayas := w.gets("mayas")
	if mayas.Owner != "maya" || !mayas.Expires.After(w.Now()) || mayas.Expires.After(w.Now().Add(10*time.Minute)) {
		t.Errorf("%s until %v", mayas.Owner, mayas.Expires)
	}
	w.none("bens")
	w.connect("ben")
	bens := w.gets("bens")
	if bens.Value == mayas.Value || bens.Owner != "ben" || w.gets("mayas").Value != mayas.Value {
		t.Error("they go with one account")
	}
	w.do(func(c *registry.Change) error {
		_, _, err := c.PutIdentity(registry.Wanted{Kind: identity.Agent, Name: "mayas", Owner: "ben", Purpose: "tests"})
		return err
	})
	if got := w.gets("mayas"); got.Value != bens.Value || got.Owner != "ben" {
		t.Error("what was handed over goes with the account of who had it before")
	}
	// The one who acts counts, not those it acts for.
	w.do(func(c *registry.Change) error {
		_, _, err := c.PutIdentity(registry.Wanted{Kind: identity.Agent, Name: "other", Owner: "maya", Purpose: "tests"})
		return err
	})
	s, err := w.Credential(t.Context(), "notes", identity.Chain{{ID: id("bens")}, {ID: id("other")}}, mayas)
	if err != nil || s.Owner != "ben" {
		t.Errorf("%s %v", s.Owner, err)
	}
}

// TestPerson: what is done for a person goes with that person's account, or the one that all share, for
// as long as anything may be done there on the person's behalf, and with nobody else's.
func TestPerson(t *testing.T) {
	w := open(t)
	w.connect("maya")
	w.connect("ben")
	mayas := w.gets("mayas")
	link := func(person string, generation uint64) identity.Link {
		return identity.Link{ID: identity.MustID("spiffe://lanyard.local/person/" + person), Generation: generation}
	}
	gets := func(chain ...identity.Link) (feed.Secret, error) {
		return w.Credential(t.Context(), "notes", chain, feed.Secret{})
	}
	bens := identity.Link{ID: id("bens")}
	if s, err := gets(bens, link("maya", 0)); !errors.Is(err, broker.ErrRefused) || s.Value != "" {
		t.Errorf("without a consent: %s %v", s.Owner, err)
	}
	u := w.notes()
	u.Consent = policy.Consent{Owners: []identity.OwnerID{"maya"}}
	w.put(u)
	if s, err := gets(bens, link("maya", 0)); err != nil || s.Owner != "maya" || s.Value != mayas.Value {
		t.Errorf("for maya: %s %v", s.Owner, err)
	}
	for name, chain := range map[string]identity.Chain{
		"of another generation": {bens, link("maya", 1)},
		"of nobody":             {bens, link("zoe", 0)},
		"in the middle":         {bens, link("maya", 0), {ID: id("mayas")}},
		"first":                 {link("maya", 0)},
	} {
		if s, err := gets(chain...); err == nil && (s.Owner == "maya" || s.Value == mayas.Value) || name != "in the middle" && err == nil {
			t.Errorf("a person %s: %s %v", name, s.Owner, err)
		}
	}
	u.OAuth.Account, u.Owner = policy.Shared, "ben"
	w.put(u)
	w.connect("ben")
	if s, err := gets(bens, link("maya", 0)); err != nil || s.Owner != "ben" {
		t.Errorf("shared: %s %v", s.Owner, err)
	}
	w.do(func(c *registry.Change) error {
		_, err := c.Kill(registry.Aim{Owner: "maya"}, "test")
		return err
	})
	if s, err := gets(bens, link("maya", 0)); err == nil {
		t.Errorf("after all that is maya's was stopped: %s", s.Owner)
	}
}

func says(body string) func(http.ResponseWriter, url.Values) bool {
	return func(rw http.ResponseWriter, _ url.Values) bool { _, _ = io.WriteString(rw, body); return true }
}

// TestEnds: what ends an account has it forgotten and given up at its server, and nothing of it is used.
func TestEnds(t *testing.T) {
	move := func(f func(*policy.Upstream)) func(*world, *registry.Change) error {
		return func(w *world, c *registry.Change) error {
			u := w.notes()
			f(&u)
			_, err := c.PutUpstream(u, nil)
			return err
		}
	}
	for name, f := range map[string]func(*world, *registry.Change) error{
		"disconnected":   func(_ *world, c *registry.Change) error { return c.Disconnect("notes", "maya") },
		"another URL":    move(func(u *policy.Upstream) { u.URL += "/v2" }),
		"another issuer": move(func(u *policy.Upstream) { u.OAuth.Issuer += "/tenant" }),
		"another client": move(func(u *policy.Upstream) { u.OAuth.Client = "ours" }),
		"shared":         move(func(u *policy.Upstream) { u.OAuth.Account, u.Owner = policy.Shared, "maya" }),
		"no OAuth":       move(func(u *policy.Upstream) { u.OAuth = nil }),
		"the cord": func(_ *world, c *registry.Change) error {
			_, err := c.Kill(registry.Aim{Upstream: "notes"}, "x")
			return err
		},
		"the owner leaves": func(_ *world, c *registry.Change) error {
			_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "ben", State: identity.OwnerGone})
			return err
		},
		"removed": func(_ *world, c *registry.Change) error {
			return errors.Join(c.RevokeGrant("mayas/read", "x"), c.RevokeGrant("bens/read", "x"), c.RemoveUpstream("notes"))
		},
	} {
		w := open(t)
		w.connect("maya")
		had, err := w.account("maya")
		if err != nil {
			t.Fatal(err)
		}
		w.do(func(c *registry.Change) error { return f(w, c) })
		if _, err := w.account("maya"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if s, err := w.ask("mayas"); name != "no OAuth" && err == nil || s.Value != "" {
			t.Errorf("%s: %v", name, err)
		}
		w.eventually(name+": it is given up", func() bool { return slices.Contains(w.as.gone(), had.Token.Refresh) })
	}
}

// TestMoved: an account that is somehow still there is not shown at another place.
func TestMoved(t *testing.T) {
	w := open(t)
	w.connect("maya")
	u := w.notes()
	u.URL = "http://127.0.0.1:9"
	w.do(func(c *registry.Change) error { // past the registry
		return errors.Join(c.Tx.PutUpstream(u), c.Disconnect("notes", "maya"), c.RenewAccount("notes", "maya", must(w.account("maya"))))
	})
	w.none("mayas")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestShared: one account serves all, and it is the upstream's owner's alone to connect.
func TestShared(t *testing.T) {
	w := open(t)
	u := w.notes()
	u.Owner, u.OAuth.Account = "ben", policy.Shared
	w.put(u)
	if _, _, err := w.Begin(t.Context(), "notes", "maya", "s", registry.Self); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("maya may connect it: %v", err)
	}
	if text := w.none("mayas"); !strings.Contains(text, "Ben Okafor") {
		t.Error(text)
	}
	w.connect("ben")
	if a, b := w.gets("mayas"), w.gets("bens"); a.Value != b.Value || a.Owner != "ben" {
		t.Errorf("%s %s", a.Owner, b.Owner)
	}
	u.Owner = "maya"
	w.put(u)
	w.none("bens")
}

// TestConsenting: who may connect clients to an upstream may connect an account there, which goes when the owner is removed.
func TestConsenting(t *testing.T) {
	w := open(t)
	w.do(func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "kim", Name: "Kim Sato", Email: "kim@example.com"})
		return err
	})
	if _, _, err := w.Begin(t.Context(), "notes", "kim", "s", registry.Self); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without any part in it: %v", err)
	}
	u := w.notes()
	u.Consent.Owners = []identity.OwnerID{"kim"}
	w.put(u)
	w.connect("kim")
	w.do(func(c *registry.Change) error {
		u.Consent.Owners = nil
		_, err := c.PutUpstream(u, nil)
		return errors.Join(err, c.RemoveOwner("kim"))
	})
	if _, err := w.account("kim"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	w.eventually("it is given up", func() bool { return len(w.as.gone()) == 1 })
}
