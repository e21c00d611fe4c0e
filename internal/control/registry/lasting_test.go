package registry_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// sends gives bot a grant to send that asks, and returns what asks for it by those names.
func (w *world) sends(name string, g policy.Grant, until registry.End) policy.Approve {
	w.Helper()
	g.Upstream = "mail"
	if g.Plain = g.Cedar == ""; g.Plain && g.Actions == nil {
		g.Actions = []string{"m.send"}
	}
	w.do(func(c *registry.Change) error { _, _, err := c.PutGrant("bot", name, g, until); return err })
	a, err := policy.ParseApprove(g.Approve, g.Fresh)
	if err != nil {
		w.Fatal(err)
	}
	a.Policy = "bot/" + name
	return a
}

// question has people asked whether bot may send.
func (w *world) question(hash string, of ...policy.Approve) (a store.Approval) {
	w.Helper()
	i, _, _ := w.identity("bot")
	q := feed.Question{Hash: feed.Key(hash), Keys: feed.Keyed{Resource: feed.Key("r")}, Ask: &policy.Asking{Of: of}, Chain: identity.Alone(i.ID, i.Generation),
		Upstream: "mail", Method: "POST", Action: "m.send", Class: policy.Write, Resource: "m"}
	w.do(func(c *registry.Change) (err error) { a, err = c.Ask(q); return err })
	return a
}

func (w *world) yes(session string, a store.Approval, until registry.End) (store.Approval, error) {
	w.Helper()
	a, _, err := w.Answer(w.Context(), registry.Approver{Session: session}, "", registry.Answer{Approval: a.ID, Yes: true, Scope: store.Lasting, Until: until})
	return a, err
}

// granted is the grants of bot that lasting yeses became.
func (w *world) granted() (list []policy.Grant) {
	w.Helper()
	_, _, all := w.identity("bot")
	return slices.DeleteFunc(all, func(g policy.Grant) bool { return g.Approve != "" || g.ID == "bot/read" })
}

// TestLastingEnds: what a lasting yes becomes ends with all that asked, and the page says so.
func TestLastingEnds(t *testing.T) {
	w := open(t)
	first := w.sends("first", policy.Grant{Approve: "ben"}, registry.For(20*day))
	second := w.sends("second", policy.Grant{Approve: "ben"}, registry.For(10*day))
	a, err := w.yes(w.session("ben"), w.question("a", first, second), registry.For(30*day))
	g := w.granted()
	if err != nil || len(g) != 1 || g[0].ID != a.Grant || !g[0].Until.Equal(w.now.Add(10*day)) || !a.Decisions[0].Until.Equal(g[0].Until) || !a.Expires.Equal(g[0].Until) {
		t.Errorf("%v %+v\n%+v", err, g, a)
	}
}

// TestLastingRecorded: what a lasting yes becomes is recorded no later than what asked had it recorded.
func TestLastingRecorded(t *testing.T) {
	for name, g := range map[string][]policy.Grant{
		"said beside it": {{Approve: "ben", Record: "before"}},
		"said in it":     {{Approve: "ben", Cedar: `@record("before") permit (principal, action == Lanyard::Action::"m.send", resource);`}},
		"by the second":  {{Approve: "ben"}, {Approve: "ben", Record: "before"}},
	} {
		w := open(t)
		var of []policy.Approve
		for n, one := range g {
			of = append(of, w.sends(fmt.Sprint("send-", n), one, registry.End{}))
		}
		a, err := w.yes(w.session("ben"), w.question("a", of...), registry.For(day))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, _, all := w.identity("bot"); !slices.ContainsFunc(all, func(g policy.Grant) bool { return g.ID == a.Grant && g.Record == "before" }) {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// TestLastingStale: a lasting yes is none to what no grant asks any more.
func TestLastingStale(t *testing.T) {
	for name, change := range map[string]func(*world){
		"revoked": func(w *world) {
			w.do(func(c *registry.Change) error { return c.RevokeGrant("bot/send", "test") })
		},
		"ended": func(w *world) { w.set(w.now.Add(30 * time.Minute)) },
		"for other things": func(w *world) {
			w.sends("send", policy.Grant{Approve: "ben", Actions: []string{"m.read"}}, registry.End{})
		},
		"elsewhere": func(w *world) {
			w.sends("send", policy.Grant{Approve: "ben", Resources: []string{"n*"}}, registry.End{})
		},
		"of others":       func(w *world) { w.sends("send", policy.Grant{Approve: "maya ben"}, registry.End{}) },
		"only for others": func(w *world) { w.sends("send", policy.Grant{Approve: "ben", ForOthers: true}, registry.End{}) },
	} {
		w := open(t)
		a := w.question("a", w.sends("send", policy.Grant{Approve: "ben"}, registry.For(30*time.Minute)))
		ben := w.session("ben")
		change(w)
		var conflict *registry.Conflict
		if _, err := w.yes(ben, a, registry.For(20*time.Minute)); !errors.As(err, &conflict) || len(w.granted()) != 0 {
			t.Errorf("%s: %v %+v", name, err, w.granted())
		}
	}
	// Of two, the first yes does not keep for the second what is revoked in between; and what is as it was is asked as it was.
	w := open(t)
	asks := w.sends("send", policy.Grant{Approve: "2 of maya ben", Resources: []string{"m*"}}, registry.End{})
	a := w.question("a", asks)
	if _, err := w.yes(w.session("maya"), a, registry.For(day)); err != nil {
		t.Fatal(err)
	}
	w.do(func(c *registry.Change) error { return c.RevokeGrant("bot/send", "test") })
	if _, err := w.yes(w.session("ben"), a, registry.For(day)); err == nil || len(w.granted()) != 0 {
		t.Errorf("%v %+v", err, w.granted())
	}
	w.sends("send", policy.Grant{Approve: "2 of maya ben", Resources: []string{"m*"}}, registry.End{})
	if _, err := w.yes(w.session("ben"), a, registry.For(day)); err != nil || len(w.granted()) != 1 {
		t.Errorf("%v %+v", err, w.granted())
	}
}

// TestLastingRenewed: what somebody said yes to until then is not renewed with who may do it.
func TestLastingRenewed(t *testing.T) {
	w := open(t)
	a := w.question("a", w.sends("send", policy.Grant{Approve: "ben"}, registry.End{}))
	if _, err := w.yes(w.session("ben"), a, registry.For(100*day)); err != nil {
		t.Fatal(err)
	}
	w.do(state(identity.Active, "renew", registry.For(200*day)))
	i, _, _ := w.identity("bot")
	if g := w.granted(); len(g) != 1 || g[0].Until.After(w.now.Add(100*day)) || !i.Expires.Equal(w.now.Add(200*day)) {
		t.Errorf("%+v of %+v", g, i)
	}
}

// TestLastingTakenBack: what somebody's lasting yes became goes with that somebody, and an approval is kept for as long as what it became.
func TestLastingTakenBack(t *testing.T) {
	for name, stop := range map[string]func(*world){
		"stopped": func(w *world) { w.kill(registry.Aim{Owner: "ben"}) },
		"left": func(w *world) {
			w.do(func(c *registry.Change) error {
				_, err := c.PutOwner(identity.Owner{ID: "ben", Name: "Ben Okafor", Email: "ben@example.com", State: identity.OwnerGone})
				_, err2 := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com"})
				return errors.Join(err, err2)
			})
		},
		"denied": nil,
	} {
		w := open(t)
		asks := w.sends("send", policy.Grant{Approve: "maya ben"}, registry.End{})
		bens, mayas := w.question("a", asks), w.question("b", asks)
		both := w.question("c", asks, policy.Approve{Policy: "rail", Guardrail: true, Need: 1, Words: []string{"operator", "ben"}})
		ben := w.session("ben")
		for who, a := range map[string]store.Approval{ben: bens, w.session("maya"): mayas} {
			if _, err := w.yes(who, a, registry.For(85*day)); err != nil {
				t.Fatal(err)
			}
		}
		both, err := w.yes(ben, both, registry.For(85*day))
		if err != nil || both.State != feed.Standing || len(w.granted()) != 3 {
			t.Fatalf("%v %+v %+v", err, both, w.granted())
		}
		want := []string{"bot/approved-" + mayas.ID[len("appr_"):]}
		if name == "denied" {
			if _, _, err := w.Answer(t.Context(), registry.Approver{Operator: "operator:maya"}, "", registry.Answer{Approval: both.ID}); err != nil {
				t.Fatal(err)
			}
			want = append(want, "bot/approved-"+bens.ID[len("appr_"):])
		} else {
			stop(w)
		}
		var got []string
		for _, g := range w.granted() {
			got = append(got, g.ID)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v is left, want %v", name, got, want)
		}
	}
	w := open(t)
	x := bot("bot")
	x.Expires = registry.For(300 * day)
	w.do(func(c *registry.Change) error { _, _, err := c.PutIdentity(x); return err })
	a := w.question("a", w.sends("send", policy.Grant{Approve: "ben"}, registry.End{}))
	if _, err := w.yes(w.session("ben"), a, registry.For(200*day)); err != nil {
		t.Fatal(err)
	}
	forget := func() error {
		w.do(func(c *registry.Change) error {
			c.Record(storetest.Event("test"))
			return c.ForgetApprovals(c.Now().Add(-90 * day))
		})
		return w.Store.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Approval(a.ID); return err })
	}
	w.set(w.now.Add(100 * day))
	if err := forget(); err != nil {
		t.Errorf("forgotten while its grant lives: %v", err)
	}
	over := w.question("b", w.sends("more", policy.Grant{Approve: "ben"}, registry.End{}))
	if _, err := w.yes(w.session("ben"), over, registry.For(10*day)); err != nil {
		t.Fatal(err)
	}
	w.set(w.now.Add(95 * day))
	if forget(); w.Store.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Approval(over.ID); return err }) == nil {
		t.Error("kept though its grant has ended")
	}
	w.kill(registry.Aim{Owner: "ben"})
	if g := w.granted(); slices.ContainsFunc(g, func(g policy.Grant) bool { return !g.Ended(w.now) }) {
		t.Errorf("after a hundred days: %+v", g)
	}
	if err := forget(); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("kept though its grant is gone: %v", err)
	}
}
