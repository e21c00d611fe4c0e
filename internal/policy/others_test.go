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
