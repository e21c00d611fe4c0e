package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// The words of an approve that name a part somebody plays, not a person. Every
// other word names an owner; a team stands for its members.
const (
	ByOwner    = "owner"    // of the identity whose grant asks; of the one that acts, when a guardrail does
	ByUpstream = "upstream" // the upstream's owner
	ByPerson   = "person"   // the one it is done for
	ByOperator = "operator" // whoever may operate Lanyard
)

// Approve says who must say yes before a call goes on: so many different people
// of those that the words name, who signed in no longer ago than Fresh.
type Approve struct {
	Policy    string        `json:"policy"`              // id of the grant or guardrail that asks
	Guardrail bool          `json:"guardrail,omitempty"` // it is a guardrail
	Need      int           `json:"need"`
	Words     []string      `json:"words"`
	Fresh     time.Duration `json:"fresh,omitempty"` // 0: whenever they signed in
}

// String is the approve as it is written in a policy.
func (a Approve) String() string {
	words := strings.Join(a.Words, " ")
	if a.Need > 1 {
		words = fmt.Sprintf("%d of %s", a.Need, words)
	}
	return words
}

// Asker is who in a chain the owner that a asks is the owner of: whose grant it is, or who
// acts. An agent that is called is no way around what its caller's owner wants to be asked.
func (a Approve) Asker(chain identity.Chain) identity.ID {
	name, _, granted := strings.Cut(a.Policy, "/")
	for _, l := range chain {
		if granted && !a.Guardrail && l.ID.Kind() != identity.Person && l.ID.Name() == name {
			return l.ID
		}
	}
	return chain.Actor()
}

// Asking is what a call that is neither allowed nor refused waits for: every one of these.
type Asking struct {
	Of []Approve `json:"of"`
}

// Within reports whether whoever agreed to all of approved has agreed to all that a asks.
func (a *Asking) Within(approved []Approve) bool {
	return !slices.ContainsFunc(a.Of, func(one Approve) bool {
		return !slices.ContainsFunc(approved, func(o Approve) bool { return one.same(o) })
	})
}

func (a Approve) same(o Approve) bool {
	return a.Policy == o.Policy && a.Guardrail == o.Guardrail && a.Need == o.Need && a.Fresh == o.Fresh && slices.Equal(a.Words, o.Words)
}

// With is what both ask, each once, in an order that does not hang on the order of policies.
func (a *Asking) With(b *Asking) *Asking {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	out := &Asking{Of: slices.Clone(a.Of)}
	for _, one := range b.Of {
		if !slices.ContainsFunc(out.Of, one.same) {
			out.Of = append(out.Of, one)
		}
	}
	slices.SortFunc(out.Of, func(a, b Approve) int {
		return cmp.Or(strings.Compare(a.Policy, b.Policy), strings.Compare(a.String(), b.String()), cmp.Compare(a.Fresh, b.Fresh), map[bool]int{true: 1}[a.Guardrail]-map[bool]int{true: 1}[b.Guardrail])
	})
	return out
}

// Fresh is the shortest time that any of it lets pass since a sign-in; 0 if none says one.
func (a *Asking) Fresh() (least time.Duration) {
	for _, one := range a.Of {
		if one.Fresh > 0 && (least == 0 || one.Fresh < least) {
			least = one.Fresh
		}
	}
	return least
}

const (
	maxApprovers = 8 // that one policy can need
	maxWords     = 16
	leastFresh   = time.Minute
	mostFresh    = 8 * time.Hour // no session is older
)

// ParseApprove reads what @approve and @fresh say: owner, ben kim, 2 of ben kim maya; 5m.
func ParseApprove(who, fresh string) (a Approve, err error) {
	words := strings.Fields(who)
	if a.Need = 1; len(words) > 1 && words[1] == "of" {
		n, err := strconv.Atoi(words[0])
		if err != nil || n < 1 || n > maxApprovers {
			return a, fmt.Errorf("approve %q: write how many, 1 to %d, as in 2 of ben kim maya", who, maxApprovers)
		}
		a.Need, words = n, words[2:]
	}
	if len(words) == 0 || len(words) > maxWords {
		return a, fmt.Errorf("approve %q: say who: owner, upstream, person, operator, or 1 to %d names of owners", who, maxWords)
	}
	for i, w := range words {
		if !identity.ValidName(w) {
			return a, fmt.Errorf("approve: %q is no name of an owner; write owner, upstream, person, operator, or names, with blanks between them", w)
		}
		if slices.Contains(words[:i], w) {
			return a, fmt.Errorf("approve: %s is named twice", w)
		}
	}
	a.Words = words
	if a.Need > 1 && slices.Equal(words, []string{ByPerson}) {
		return a, fmt.Errorf("approve %q: the person that it is done for is one", who)
	}
	if a.Need > 1 && slices.Contains(words, ByOperator) {
		return a, fmt.Errorf("approve %q: one operator cannot be told from another; where more than one yes is needed, name owners", who)
	}
	if fresh == "" {
		return a, nil
	}
	a.Fresh, err = time.ParseDuration(fresh)
	if err != nil || a.Fresh < leastFresh || a.Fresh > mostFresh {
		return a, fmt.Errorf("fresh %q: write how long ago a sign-in may be, 1m to 8h, as in 5m", fresh)
	}
	if slices.Equal(words, []string{ByOperator}) {
		return a, fmt.Errorf("fresh: operators do not sign in, so it cannot be asked of them alone")
	}
	return a, nil
}

// approve is what a policy's annotations ask for; nil when they ask for nothing.
func approve(p *cedar.Policy) (*Approve, error) {
	notes := p.Annotations()
	who, asks := notes["approve"]
	fresh, timed := notes["fresh"]
	if !asks && timed {
		return nil, fmt.Errorf(`@fresh says how long ago who approves has signed in; write @approve("owner") with it`)
	}
	if !asks {
		return nil, nil
	}
	if timed && fresh == "" {
		return nil, fmt.Errorf(`@fresh: write how long ago a sign-in may be, as in @fresh("5m")`)
	}
	a, err := ParseApprove(string(who), string(fresh))
	return &a, err
}

// misspelt finds an annotation that was meant to ask for approval: Cedar takes any
// word for one, and the policy would mean something else than it says.
func misspelt(p *cedar.Policy) error {
	for name := range p.Annotations() {
		folded := strings.ToLower(string(name))
		for _, word := range []string{"approve", "fresh"} {
			if string(name) != word && (strings.HasPrefix(folded, word[:3]) || strings.HasPrefix(folded, "apr")) {
				return fmt.Errorf("there is no annotation @%s; did you mean @%s?", name, map[bool]string{true: "approve", false: "fresh"}[folded[0] == 'a'])
			}
		}
	}
	return nil
}

// Approvers lists what the policies of a text ask for: for those who know which owners there are.
func Approvers(cedarText string) (list []Approve, err error) {
	policies, err := parseList(cedarText)
	if err != nil {
		return nil, err
	}
	for _, p := range policies {
		a, err := approve(p)
		if err != nil {
			return nil, err
		}
		if a != nil {
			list = append(list, *a)
		}
	}
	return list, nil
}

// approvals checks the annotations of policies.
func approvals(policies cedar.PolicyList) error {
	for _, p := range policies {
		if err := misspelt(p); err != nil {
			return err
		}
		if _, err := approve(p); err != nil {
			return err
		}
	}
	return nil
}

// named is a as the policy of that id asks it.
func (a Approve) named(id string, guardrail bool) Approve {
	a.Policy, a.Guardrail = id, guardrail
	return a
}

// asks is what a rule wants people to say yes to, by its annotations and by its grant; nil for nothing.
func (r *rule) asks() *Asking {
	var all *Asking
	add := func(a *Approve) {
		if a != nil {
			all = all.With(&Asking{Of: []Approve{a.named(r.id(), r.grant == nil)}})
		}
	}
	add(r.approve)
	add(r.plain)
	return all
}

// matched evaluates each of the rules that concern q by itself. failed is the first that could not be.
func (q *question) matched(rules []rule) (found []*rule, failed *rule) {
	for i := range rules {
		r := &rules[i]
		if !r.concerns(q) {
			continue
		}
		why := q.ask([]rule{*r}, nil)
		switch {
		case len(why.errors) == 0 && len(why.reasons) > 0:
			found = append(found, r)
		case len(why.errors) > 0 && failed == nil:
			failed = r
		}
	}
	return found, failed
}

// approve is what the grant itself asks for; nil for nothing.
func (g *Grant) approve() (*Approve, error) {
	if g.Approve == "" && g.Fresh == "" {
		return nil, nil
	}
	if g.Approve == "" {
		return nil, fmt.Errorf("fresh: it says how long ago who approves has signed in; say who, with approve")
	}
	a, err := ParseApprove(g.Approve, g.Fresh)
	return &a, err
}

// Before reports whether the grant, or a policy of it, has what it decides be on record before the reply.
func (g *Grant) Before() (bool, error) {
	list, err := compileText(g.Cedar, cedar.Permit)
	return g.Record == "before" || slices.ContainsFunc(list, func(p *program) bool { return p.record == "before" }), err
}

// Asks lists all that the grant asks for: by itself, and by its policies.
func (g *Grant) Asks() ([]Approve, error) {
	list, err := Approvers(g.Cedar)
	if plain, bad := g.approve(); bad != nil {
		return nil, bad
	} else if plain != nil {
		list = append(list, *plain)
	}
	return list, err
}

// Wants reports whether the grant asks a of such a call, whatever its arguments, when its identity makes it for itself.
func (g *Grant) Wants(a Approve, c Call) (bool, error) {
	list, err := compileText(g.Cedar, cedar.Permit)
	if err != nil {
		return false, err
	}
	plain, err := g.approve()
	if err != nil || g.Upstream != c.Upstream || g.ForOthers || !g.reaches(c.Resource) {
		return false, err
	}
	q, err := (&Set{principal: types.NewEntityUID(principalType(g.Identity.Kind()), types.String(g.Identity.String()))}).question(&Request{Call: c})
	if err != nil {
		return false, err
	}
	for _, p := range list {
		r := rule{program: p, key: cedar.PolicyID(g.ID), grant: g, plain: plain}
		if r.concerns(&q) {
			if asks := r.asks(); asks != nil && slices.ContainsFunc(asks.Of, a.same) {
				return true, nil
			}
		}
	}
	return false, nil
}

// reaches reports whether a resource is one of those that a plain grant is for.
func (g *Grant) reaches(resource string) bool {
	return len(g.Resources) == 0 || slices.ContainsFunc(g.Resources, func(r string) bool {
		var like []any
		for i, part := range strings.Split(r, "*") {
			if i > 0 {
				like = append(like, types.Wildcard{})
			}
			like = append(like, part)
		}
		return types.NewPattern(like...).Match(types.String(resource))
	})
}

// Exactly is the Cedar of a grant for one action on one resource, whatever the arguments,
// for what an identity does for itself.
func Exactly(upstream, action, resource string) (string, error) {
	text := fmt.Sprintf("permit (\n  principal,\n  action == %s::%s,\n  resource == %s::%s\n) when { !context.for_others };\n", actionType, quote(action), resourceType, quote(upstream+"/"+resource))
	_, err := parseList(text)
	return text, err
}
