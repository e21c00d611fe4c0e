package policy

import (
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Depends reports whether one of the grants and guardrails of those ids concerns r and speaks of the arguments of a call: without them
// nobody knows what it would say.
func (s *Set) Depends(r Request, ids map[string]bool) bool {
	if s == nil || s.rails == nil || r.Upstream == nil {
		return false
	}
	q, err := s.question(&r)
	if err != nil {
		return false
	}
	for _, rules := range [4][]rule{s.rails.rules, s.rails.asking, s.rules, s.asking} {
		for i := range rules {
			if ids[rules[i].id()] && rules[i].concerns(&q) && rules[i].speaks() {
				return true
			}
		}
	}
	return false
}

// speaks reports whether the conditions of a policy are about arguments.
func (c *program) speaks() (found bool) {
	for _, k := range (*xast.Policy)(c.conditions.AST()).Conditions {
		xast.Inspect(xast.NewNode(k.Body), func(n xast.IsNode) bool {
			found = found || isArgs(n)
			return !found
		})
	}
	return found
}
