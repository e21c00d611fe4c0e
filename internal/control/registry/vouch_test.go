package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

var acme = identity.Provider{Name: "acme", Issuer: "https://acme.example", Uses: []identity.ProviderUse{identity.IDJAG}, Scopes: []string{"read", "write"}}

// vouch shows the word number n of acme, for maya's scribe on her mail.
func (w *world) vouch(n int) (k identity.Credential) {
	w.Helper()
	v := word(w, n)
	w.do(func(c *registry.Change) (err error) {
		k, err = c.Vouch(v)
		return err
	})
	return k
}

// word is one that was judged by what acme is now.
func word(w *world, n int) registry.Vouched {
	p := identity.Provider{Name: "acme"}
	w.Store.Read(w.Context(), func(tx *store.Tx) error {
		if now, err := tx.Provider("acme"); err == nil {
			p = now
		}
		return nil
	})
	return registry.Vouched{Provider: p, Key: fmt.Sprint("word ", n), Ends: w.now.Add(5 * time.Minute), Client: scribe, Upstream: "mail"}
}

func (w *world) trust(p identity.Provider) {
	w.Helper()
	w.do(func(c *registry.Change) error { _, err := c.PutProvider(p); return err })
}

// TestVouchLife: a client lives as long as it is vouched for again and again, and what it has
// is written anew only when a good part of it is gone.
func TestVouchLife(t *testing.T) {
	w := open(t)
	w.trust(acme)
	day := 24 * time.Hour
	start := w.now
	first := w.vouch(1)
	w.set(start.Add(12 * time.Hour))
	if k := w.vouch(2); k.ID != first.ID || !k.Expires.Equal(start.Add(30*day)) {
		t.Errorf("half a day later: %+v", k)
	}
	w.set(start.Add(2 * day))
	k := w.vouch(3)
	i, _, g := w.identity("scribe-desktop-maya")
	if k.ID != first.ID || !k.Expires.Equal(start.Add(32*day)) || !i.Expires.Equal(k.Expires) || len(g) != 1 || !g[0].Until.Equal(k.Expires) {
		t.Errorf("two days later: %+v %+v %+v", k, i, g)
	}
	// A shorter life takes effect with the next word.
	short := acme
	short.Life = "7d"
	w.trust(short)
	if k := w.vouch(4); k.ID != first.ID || !k.Expires.Equal(w.now.Add(7*day)) {
		t.Errorf("with a shorter life: %+v", k)
	}
	// Without a word it ends by itself, and with one it goes on, as it was allowed to by then.
	w.set(w.now.Add(40 * day))
	if _, err := w.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i, _, _ := w.identity("scribe-desktop-maya"); i.State != identity.Expired {
		t.Errorf("%+v", i)
	}
	w.do(func(c *registry.Change) error {
		u, err := c.Upstream("mail")
		u.Owner, u.Consent = "ben", policy.Consent{Owners: []identity.OwnerID{"*"}}
		_, err2 := c.PutUpstream(u, nil)
		return errors.Join(err, err2)
	})
	k = w.vouch(5)
	if i, _, g := w.identity("scribe-desktop-maya"); i.State != identity.Active || k.ID == first.ID || strings.Join(g[0].Actions, " ") != "m.read" {
		t.Errorf("%+v %+v %+v", k, i, g)
	}
}

// TestVouchRefused: nothing is kept of what is refused, in whichever order things went.
func TestVouchRefused(t *testing.T) {
	w := open(t)
	w.trust(acme)
	w.vouch(1)
	refused := func(says string, v registry.Vouched) {
		t.Helper()
		var untrusted *registry.Untrusted
		w.fails(says, func(c *registry.Change) error {
			_, err := c.Vouch(v)
			if !errors.As(err, &untrusted) {
				t.Errorf("%q is told to who asks: %v", says, err)
			}
			return err
		})
	}
	refused("was used before", word(w, 1))
	elsewhere, unknown, ben, late := word(w, 2), word(w, 2), word(w, 2), word(w, 2)
	late.Ends = w.now
	refused("has expired", late)
	elsewhere.Upstream, unknown.Provider.Name, ben.Client.Person = "drive", "okta", "ben"
	refused("there is no upstream", elsewhere)
	refused("removed or disabled", unknown)
	refused("ben may not connect a client to mail", ben)
	w.do(func(c *registry.Change) error { _, err := c.Kill(registry.Aim{Upstream: "mail"}, "test"); return err })
	refused("may not connect a client to mail", word(w, 2))
	w.do(func(c *registry.Change) error { return c.SwitchProvider("acme", false, "test") })
	refused("removed or disabled", word(w, 2))
	w.do(func(c *registry.Change) error { return c.RemoveProvider("acme") })
	refused("removed or disabled", word(w, 2))
}

// TestProviderChanged: what stood on a provider's word ends when that is another's word.
func TestProviderChanged(t *testing.T) {
	w := open(t)
	w.trust(acme)
	n := 0
	for what, c := range map[string]struct {
		change func(*identity.Provider)
		ends   bool
	}{
		"nothing": {func(*identity.Provider) {}, false},
		"scopes":  {func(p *identity.Provider) { p.Scopes = []string{"read"} }, false},
		"issuer":  {func(p *identity.Provider) { p.Issuer = "https://other.example" }, true},
		"keys": {func(p *identity.Provider) {
			p.JWKS = []byte(`{"keys":[` + key + `]}`)
		}, true},
	} {
		n++
		k := w.vouch(n)
		p := acme
		c.change(&p)
		w.trust(p)
		_, all, _ := w.identity("scribe-desktop-maya")
		for _, now := range all {
			if now.ID == k.ID && now.Revoked.IsZero() == c.ends {
				t.Errorf("%s: %+v", what, now)
			}
		}
		w.trust(acme)
	}
}

// TestVouchMeanwhile: a word that was judged by what the provider's entry said before counts for nothing by what it says now.
func TestVouchMeanwhile(t *testing.T) {
	for what, change := range map[string]func(*registry.Change) error{
		"its keys": func(c *registry.Change) error {
			p := acme
			p.JWKS = []byte(`{"keys":[` + key + `]}`)
			_, err := c.PutProvider(p)
			return err
		},
		"its people": func(c *registry.Change) error {
			p := acme
			p.People = map[string]identity.OwnerID{"u1": "ben"}
			_, err := c.PutProvider(p)
			return err
		},
		"another of the same name": func(c *registry.Change) error {
			p := acme
			p.Issuer = "https://other.example"
			_, err := c.PutProvider(p)
			return err
		},
		"another of the same name and version": func(c *registry.Change) error {
			p := acme
			p.Issuer = "https://other.example"
			err := c.RemoveProvider("acme")
			_, err2 := c.PutProvider(p)
			return errors.Join(err, err2)
		},
	} {
		w := open(t)
		w.trust(acme)
		v := word(w, 1)
		w.do(change)
		var untrusted *registry.Untrusted
		w.fails("has changed since", func(c *registry.Change) error {
			_, err := c.Vouch(v)
			if !errors.As(err, &untrusted) {
				t.Errorf("%s: %v", what, err)
			}
			return err
		})
	}
}
