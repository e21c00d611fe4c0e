package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// Explanation is a decision with everything that was looked at for it.
type Explanation struct {
	Decision   Decision  `json:"decision"`
	Guardrails []Verdict `json:"guardrails"`
	Grants     []Verdict `json:"grants"`
}

// Verdict is what one grant or guardrail said to one call.
type Verdict struct {
	ID      string `json:"id"`
	Matched bool   `json:"matched"`
	Why     string `json:"why"` // for people: what matched, or the first thing that did not
}

// Explain decides and says what each grant and guardrail had to do with it.
func (s *Set) Explain(r Request) Explanation {
	e := Explanation{Decision: s.Decide(r), Guardrails: []Verdict{}, Grants: []Verdict{}}
	if s == nil || s.rails == nil || r.Upstream == nil {
		return e
	}
	q, err := s.question(&r)
	if err != nil {
		return e
	}
	if s.person() {
		e.Grants = append(e.Grants, Verdict{r.Upstream.Name + "/consent", s.consents(&r), "what " + s.subject.ID.Name() + " may have done there: " + classWords(r.Upstream.Limit(s.subject.Owner))})
	} else {
		e.Guardrails = append(e.Guardrails, Verdict{EnvironmentGuardrail, s.crosses(r.Upstream), fmt.Sprintf("%s is in %s, %s in %s", s.subject.ID.Name(), s.subject.Environment, r.Upstream.Name, r.Upstream.Environment)})
	}
	for _, rules := range [2][]rule{s.rails.rules, s.rails.asking} {
		for i := range rules {
			e.Guardrails = append(e.Guardrails, q.verdict(&rules[i]))
		}
	}
	for _, rules := range [2][]rule{s.rules, s.asking} {
		for i := range rules {
			e.Grants = append(e.Grants, q.verdict(&rules[i]))
		}
	}
	if p := s.subject.Parent; !p.IsZero() {
		e.Grants = append(e.Grants, Verdict{p.Name(), s.inherits(r.Chain), "it may do what " + p.Name() + " may"})
	}
	return e
}

// verdict asks one rule alone.
func (q *question) verdict(r *rule) Verdict {
	v := Verdict{ID: r.id()}
	switch g := r.grant; {
	case g != nil && g.Upstream != q.Call.Upstream:
		v.Why = "is for upstream " + g.Upstream
	case g != nil && g.Ended(q.Now):
		v.Why = "ended on " + g.Until.UTC().Format("2006-01-02 15:04")
	case !r.about(q):
		v.Why = "is not about this action"
	case !r.concerns(q):
		v.Why = "is not about this identity or this resource"
	default:
		why := q.ask([]rule{*r}, nil)
		switch {
		case len(why.errors) > 0:
			v.Matched, v.Why = g == nil, "could not be evaluated: "+why.errors[0].Message
		case len(why.reasons) > 0:
			v.Matched, v.Why = true, "covers the call"
			if a := r.asks(); a != nil {
				v.Why += ", and asks for the yes of " + a.Of[0].String()
			}
			if r.layers != nil {
				v.Why += ", and holds something back: " + strings.Join(r.layers.Say(), " ")
			}
		default:
			v.Why = "its conditions do not hold for this resource and these arguments"
		}
	}
	return v
}

// denial says in one sentence what is missing and who can grant it.
func (s *Set) denial(q *question) string {
	c := &q.Call
	var may []string
	var ended string
	near := false // a grant is about this action, but not with these arguments
	alone := ""   // one is, and it is for others only
	for _, r := range slices.Concat(s.rules, s.asking) {
		if r.grant.Upstream != c.Upstream {
			continue
		}
		if r.grant.Ended(q.Now) {
			ended = r.grant.ID
			continue
		}
		near = near || r.about(q)
		if r.grant.ForOthers && !q.forOthers() && r.about(q) {
			alone = r.grant.ID
		}
		may = append(may, r.grant.words()...)
	}
	who := "an operator"
	if q.Upstream.OwnerName != "" {
		who = q.Upstream.OwnerName + ", owner of " + c.Upstream + ","
	}
	if s.person() {
		return fmt.Sprintf("%s, on whose behalf it is asked, may not have %s (%s) done on %s: what its consent gives there is %s; %s can give more.",
			s.subject.ID.Name(), c.Action, c.Class, c.Upstream, classWords(q.Upstream.Limit(s.subject.Owner)), who)
	}
	if !s.subject.Parent.IsZero() {
		return fmt.Sprintf("%s may do what %s may, which is not behind this request.", s.subject.ID.Name(), s.subject.Parent.Name())
	}
	start := fmt.Sprintf("%s may not do %s (%s) on %s", s.subject.ID.Name(), c.Action, c.Class, c.Upstream)
	switch {
	case len(may) == 0 && ended != "":
		return fmt.Sprintf("%s: its grant %s has ended; %s can renew it.", start, ended, who)
	case len(may) == 0:
		return fmt.Sprintf("%s: it has no grant there; %s can give one.", start, who)
	case alone != "":
		return fmt.Sprintf("%s for itself: its grant %s is only for acting on behalf of others; it is to exchange what it was called with for a token of its own.", start, alone)
	case near:
		return fmt.Sprintf("%s with this resource or these arguments (%s): the conditions of its grants do not cover them; %s can widen them.", start, c.Resource, who)
	}
	slices.Sort(may)
	if may = slices.Compact(may); len(may) > 5 {
		may = append(may[:5], fmt.Sprintf("%d more", len(may)-5))
	}
	return fmt.Sprintf("%s: its grants there cover only %s; %s can grant more.", start, strings.Join(may, ", "), who)
}

func classWords(list []Class) string {
	if len(list) == 0 {
		return "nothing"
	}
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = string(c)
	}
	return strings.Join(words, ", ")
}

// words is what the grant is about, for people.
func (g *Grant) words() []string {
	if len(g.Actions) > 0 {
		return g.Actions
	}
	return []string{"what grant " + g.ID + " says"}
}

var _ cedar.PolicyIterator = (*evaluation)(nil)
