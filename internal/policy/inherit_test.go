package policy

import (
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// TestInherit: who has its parent's rights has none without its parent behind the request, and no guardrail less.
func TestInherit(t *testing.T) {
	child, other := identity.MustID("spiffe://lanyard.local/agent/bot.x"), identity.MustID("spiffe://lanyard.local/agent/other")
	rails, err := NewGuardrails([]Guardrail{{ID: "no-admin", Cedar: `forbid(principal, action in Lanyard::Action::"admin", resource);`}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSet(Subject{ID: child, Owner: "maya", Environment: "production", Parent: bot}, nil, rails)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := NewSet(Subject{ID: child, Owner: "maya", Environment: "production"}, nil, rails)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := NewSet(Subject{ID: child, Owner: "maya", Environment: "staging", Parent: bot}, nil, rails)
	if err != nil {
		t.Fatal(err)
	}
	link := func(ids ...identity.ID) (c identity.Chain) {
		for _, id := range ids {
			c = append(c, identity.Link{ID: id})
		}
		return c
	}
	for name, c := range map[string]struct {
		set   *Set
		chain identity.Chain
		class Class
		want  bool
	}{
		"its parent is behind it":      {s, link(child, bot), Read, true},
		"and others are":               {s, link(other, child, bot, other), Write, true},
		"nobody is said to be":         {s, nil, Read, false},
		"it is alone":                  {s, link(child), Read, false},
		"its parent is not next":       {s, link(child, other, bot), Read, false},
		"its parent is before it":      {s, link(bot, child), Read, false},
		"it is not in it":              {s, link(other, bot), Read, false},
		"it has its own grants alone":  {plain, link(child, bot), Read, false},
		"a guardrail is in the way":    {s, link(child, bot), Admin, false},
		"it is in another environment": {elsewhere, link(child, bot), Read, false},
	} {
		r := ask("messages.x", c.class, nil)
		r.Chain = c.chain
		d := c.set.Decide(r)
		if d.Allow != c.want || c.set.May(r) != c.want || d.Reason == "" || d.Before || len(d.Policies) > 0 == d.Allow && d.Allow {
			t.Errorf("%s: %+v, may %v", name, d, c.set.May(r))
		}
		e := c.set.Explain(r)
		if v := len(e.Grants) == 1 && e.Grants[0].Matched; e.Decision.Allow != c.want || c.set == s && c.class != Admin && v != c.want {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if d := s.Decide(ask("messages.x", Read, nil)); !strings.Contains(d.Reason, "what invoice-bot may, which is not behind this request") {
		t.Error(d.Reason)
	}
}
