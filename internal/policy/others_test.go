package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// TestForOthers: a grant for others only is of no use to who acts for itself, also not by way of what it started.
func TestForOthers(t *testing.T) {
	s := set(t, nil, Grant{Actions: []string{"read"}, ForOthers: true, Where: map[string]Condition{"userId": {Is: "me"}}})
	agent := func(name string) identity.Link {
		return identity.Link{ID: identity.MustID("spiffe://lanyard.local/agent/" + name)}
	}
	self, maya := identity.Link{ID: bot}, identity.Link{ID: identity.MustID("spiffe://lanyard.local/person/maya")}
	for name, c := range map[string]struct {
		chain identity.Chain
		want  bool
	}{
		"alone": {identity.Chain{self}, false}, "nobody": {nil, false}, "for a person": {identity.Chain{self, maya}, true}, "for an agent": {identity.Chain{self, agent("a")}, true},
		"its child, for it": {identity.Chain{agent("child"), self}, false}, "its child, for a person": {identity.Chain{agent("child"), self, maya}, true},
		"called, and it began": {identity.Chain{agent("b"), agent("a"), self}, false},
	} {
		r := ask("messages.list", Read, map[string]any{"userId": "me"})
		r.Chain = c.chain
		d := s.Decide(r)
		if d.Allow != c.want || s.May(r) != true {
			t.Errorf("%s: %+v", name, d)
		}
		if !c.want && !strings.Contains(d.Reason, "g0 is only for acting on behalf of others") {
			t.Errorf("%s: %s", name, d.Reason)
		}
	}
	g, err := Compile(Grant{ID: "g", Identity: bot, Upstream: "mail", Plain: true, Actions: []string{"read"}, ForOthers: true, Until: now.Add(time.Hour)}, mail)
	if err != nil || !strings.Contains(g.Cedar, "context.for_others") || g.Common() == g.Cedar {
		t.Errorf("%v\n%s", err, g.Cedar)
	}
	if _, err := Compile(Grant{ID: "g", Identity: bot, Upstream: "mail", Cedar: g.Cedar, ForOthers: true, Until: now.Add(time.Hour)}, mail); err == nil {
		t.Error("Cedar and a plain field")
	}
	if _, err := Compile(Grant{ID: "g", Identity: bot, Upstream: "mail", Cedar: g.Cedar, Until: now.Add(time.Hour)}, mail); err != nil {
		t.Error(err)
	}
}

// TestAlike: grants that compile to the same text, of one identity and of several, each keep what is theirs alone.
func TestAlike(t *testing.T) {
	rails, err := NewGuardrails(nil)
	if err != nil {
		t.Fatal(err)
	}
	u := bank.Upstream
	other := identity.MustID("spiffe://lanyard.local/agent/other")
	grant := func(of identity.ID, id string, change func(*Grant)) Grant {
		g := Grant{ID: id, Identity: of, Upstream: "mail", Plain: true, Actions: []string{"write"}, Until: now.Add(time.Hour)}
		change(&g)
		g, err := Compile(g, bank)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	plain, asks := func(*Grant) {}, func(g *Grant) { g.Approve, g.Fresh = "owner", "5m" }
	kim, soon := func(g *Grant) { g.Approve = "kim" }, func(g *Grant) { g.Until = now.Add(time.Minute) }
	within, others := func(g *Grant) { g.Record = "within" }, func(g *Grant) { g.ForOthers, g.Approve = true, "owner" }
	if a, b := grant(bot, "b/a", asks).Common(), grant(other, "o/k", kim).Common(); a != b || a != grant(bot, "b/p", plain).Common() {
		t.Fatalf("they are not alike:\n%s\n%s", a, b)
	}
	for name, c := range map[string]struct {
		of     identity.ID
		grants []Grant
		after  time.Duration
		depth  int
		want   string
	}{
		"one that asks":              {bot, []Grant{grant(bot, "b/a", asks)}, 0, 1, "asks owner 5m0s"},
		"another that asks another":  {other, []Grant{grant(other, "o/k", kim)}, 0, 1, "asks kim 0s"},
		"a plain one beside":         {bot, []Grant{grant(bot, "b/a", asks), grant(bot, "b/p", plain)}, 0, 1, "allows b/p before"},
		"a plain one that ended":     {bot, []Grant{grant(bot, "b/a", asks), grant(bot, "b/s", soon)}, 2 * time.Minute, 1, "asks owner 5m0s"},
		"both that ask":              {bot, []Grant{grant(bot, "b/a", asks), grant(bot, "b/k", kim)}, 0, 1, "asks owner 5m0s kim 0s"},
		"a plain one, recorded late": {other, []Grant{grant(other, "o/w", within), grant(other, "o/k", kim)}, 0, 1, "allows o/w"},
		"for others, alone":          {bot, []Grant{grant(bot, "b/o", others)}, 0, 1, "denies"},
		"for others, for another":    {bot, []Grant{grant(bot, "b/o", others)}, 0, 2, "asks owner 0s"},
	} {
		s, err := NewSet(Subject{ID: c.of, Environment: "production"}, c.grants, rails)
		if err != nil {
			t.Fatal(err)
		}
		chain := identity.Alone(c.of, 0)
		if c.depth > 1 {
			chain = append(chain, identity.Link{ID: identity.MustID("spiffe://lanyard.local/agent/caller")})
		}
		d := s.Decide(Request{Call{"mail", "tools.pay", Write, "tools/pay", nil, ""}, &u, now.Add(c.after), "", chain})
		got := "denies"
		switch {
		case d.Allow:
			got = strings.Join(append([]string{"allows"}, d.Policies...), " ")
			if d.Before {
				got += " before"
			}
		case d.Ask != nil:
			got = "asks"
			for _, one := range d.Ask.Of {
				got += " " + one.String() + " " + one.Fresh.String()
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
