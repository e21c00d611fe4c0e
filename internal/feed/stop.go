package feed

import (
	"slices"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Stop says what a change may have taken the ground from. Whoever runs something
// that it touches asks [View.Check] and the policy again, and ends what no longer
// may. It is told after the view has changed.
type Stop struct {
	Identities []identity.ID    // killed, suspended, changed; or whose credential or grant it was
	Credential string           // id: only what was obtained with it
	Grant      string           // id: only what stood on it
	Person     identity.OwnerID // left, killed or changed
	Token      string           // jti
	Task       string           // id: closed
	Upstream   string           // killed, removed or changed
	Account    *Account         // signed in to anew, signed out of, or no longer good
	Everything bool             // a guardrail or a new snapshot: it may be anything

	many map[identity.ID]bool // of Identities, when there are many
}

// Touches reports whether s may concern a request made with a token of those
// claims to that upstream. It may report too much, never too little.
func (s *Stop) Touches(c *token.Claims, upstream string) bool {
	switch {
	case s.Everything, s.Upstream != "" && s.Upstream == upstream, s.Token != "" && (s.Token == c.ID || slices.Contains(c.From, s.Token)), s.Task != "" && s.Task == c.Task:
		return true
	case s.Account != nil:
		return s.Account.Upstream == upstream
	case s.Credential != "":
		return s.Credential == c.Credential || slices.Contains(c.From, s.Credential)
	case s.Person != "":
		return c.Chain.Root().Owner() == s.Person
	}
	return slices.ContainsFunc(c.Chain, func(l identity.Link) bool { return s.names(l.ID) })
}

func (s *Stop) names(id identity.ID) bool {
	if s.many != nil {
		return s.many[id]
	}
	return slices.Contains(s.Identities, id)
}

// tell calls everyone who asked to know.
func (v *View) tell(s *Stop) {
	if len(s.Identities) > 8 {
		s.many = make(map[identity.ID]bool, len(s.Identities))
		for _, id := range s.Identities {
			s.many[id] = true
		}
	}
	for _, f := range v.onStop {
		f(*s)
	}
}
