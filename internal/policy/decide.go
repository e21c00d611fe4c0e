package policy

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// EnvironmentGuardrail is built in: no identity calls an upstream of another environment.
const EnvironmentGuardrail = "lanyard.environment"

// Builtin lists the guardrails that are always there. The first is decided
// without Cedar, because it is asked of every call.
func Builtin() []Guardrail {
	return []Guardrail{{ID: EnvironmentGuardrail, Description: "An identity never calls a system of another environment.",
		Cedar: "forbid (principal, action, resource) unless { principal.environment == resource.environment };"}}
}

// Request is what is to be decided.
type Request struct {
	Call     Call
	Upstream *Upstream
	Now      time.Time
	Source   string            // peer address
	Chain    identity.Chain    // all who are behind it, actor first
	Facts    *provenance.Facts // where its values came from; nil where nobody looked
}

// Subject is the identity a Set belongs to.
type Subject struct {
	ID          identity.ID
	Owner       identity.OwnerID
	Environment string
	Parent      identity.ID // whose rights it has, as far as they go; zero: it has its own grants alone
}

// Guardrails is all of them, compiled once and shared by every Set.
type Guardrails struct {
	rules  []rule
	asking []rule            // that let pass what people said yes to
	text   map[string]string // id → description
	grants programs
	traces bool // some asks where values came from
}

// NewGuardrails compiles guardrails that [CompileGuardrail] accepted. The built-in ones come on their own.
func NewGuardrails(list []Guardrail) (*Guardrails, error) {
	g := &Guardrails{text: map[string]string{}}
	for _, r := range Builtin() {
		g.text[r.ID] = r.Description
	}
	for _, r := range list {
		list, err := compileText(r.Cedar, cedar.Forbid)
		if err != nil {
			return nil, fmt.Errorf("guardrail %s: %w", r.ID, err)
		}
		for _, p := range list {
			rail := rule{program: p, key: cedar.PolicyID(railMark + r.ID)}
			g.traces = g.traces || p.traces
			if rail.asks() != nil {
				g.asking = append(g.asking, rail)
			} else {
				g.rules = append(g.rules, rail)
			}
		}
		g.text[r.ID] = r.Description
	}
	return g, nil
}

// Set is what one identity may do: its own grants and the guardrails, precompiled.
// The zero Set denies everything.
type Set struct {
	subject   Subject
	principal types.EntityUID
	rails     *Guardrails
	rules     []rule
	asking    []rule                       // of grants that ask for people's yes
	traces    bool                         // some grant asks where values came from
	known     atomic.Pointer[types.Entity] // principal with its attributes, once a policy asks for them
}

// NewSet compiles the grants of one identity, which must not change afterwards.
func NewSet(s Subject, grants []Grant, rails *Guardrails) (*Set, error) {
	set := &Set{subject: s, rails: rails, principal: types.NewEntityUID(principalType(s.ID.Kind()), types.String(s.ID.String())),
		rules: make([]rule, 0, len(grants))}
	for i := range grants {
		g := &grants[i]
		if g.Identity != s.ID {
			return nil, fmt.Errorf("grant %s is of %s, not of %s", g.ID, g.Identity, s.ID)
		}
		list, err := rails.grants.compile(g.Common())
		if err != nil {
			return nil, fmt.Errorf("grant %s: %w", g.ID, err)
		}
		plain, err := g.approve()
		if err != nil {
			return nil, fmt.Errorf("grant %s: %w", g.ID, err)
		}
		layers, err := rails.grants.rules(g.Layers)
		if err != nil {
			return nil, fmt.Errorf("grant %s: layers.%w", g.ID, err)
		}
		for _, p := range list {
			r := rule{program: p, key: cedar.PolicyID(g.ID), grant: g, plain: plain, layers: layers}
			set.traces = set.traces || p.traces
			if r.asks() != nil {
				set.asking = append(set.asking, r)
			} else {
				set.rules = append(set.rules, r)
			}
		}
	}
	return set, nil
}

// person reports whether the set is of somebody on whose behalf others act. What
// people may have done for them is what the upstreams' consent says ([Upstream.Limit]).
func (s *Set) person() bool { return s.subject.ID.Kind() == identity.Person }

// crosses reports whether the call would leave the subject's environment. People are in all of them.
func (s *Set) crosses(u *Upstream) bool { return !s.person() && s.subject.Environment != u.Environment }

func (s *Set) consents(r *Request) bool {
	return s.person() && slices.Contains(r.Upstream.Limit(s.subject.Owner), r.Call.Class)
}

// inherits reports whether the set leaves it to the next link of the chain what may be
// done: to the parent, and to nobody else. Without that link nothing is allowed.
func (s *Set) inherits(c identity.Chain) bool {
	for i := range c[:max(0, len(c)-1)] {
		if c[i].ID == s.subject.ID {
			return !s.subject.Parent.IsZero() && c[i+1].ID == s.subject.Parent
		}
	}
	return false
}

func (s *Set) entity() types.Entity {
	e := s.known.Load()
	if e == nil {
		e = &types.Entity{UID: s.principal, Attributes: types.NewRecord(types.RecordMap{"name": types.String(s.subject.ID.Name()),
			"owner": types.String(s.subject.Owner), "environment": types.String(s.subject.Environment)})}
		s.known.Store(e)
	}
	return *e
}

// Decide says whether the identity may make the call now. A guardrail that
// matches, or whose evaluation errs, denies; otherwise one grant must match. A
// guardrail with @approve that matches, and a grant with it when no other covers the
// call, ask: then nothing is allowed yet.
// (Cedar skips a policy that errs: for a grant that is right, for a guardrail it
// would not forbid what it was written to forbid.)
func (s *Set) Decide(r Request) Decision {
	if s == nil || s.rails == nil {
		return Decision{Reason: "Nothing is known of what this identity may do."}
	}
	if r.Upstream == nil || r.Upstream.Name != r.Call.Upstream {
		return Decision{Reason: "The upstream is unknown."}
	}
	if isClass(r.Call.Action) { // it would be taken for the group of all actions of that class
		return Decision{Reason: fmt.Sprintf("Action %s of %s has the name of a class, so no policy can speak of it; its description must name it otherwise.", r.Call.Action, r.Call.Upstream)}
	}
	q, err := s.question(&r)
	if err != nil {
		return Decision{Reason: err.Error()}
	}
	if s.crosses(r.Upstream) {
		return s.forbidden(EnvironmentGuardrail)
	}
	why := q.ask(s.rails.rules, s.rules)
	for _, e := range why.errors {
		if id, ok := strings.CutPrefix(string(e.PolicyID), railMark); ok {
			return failed(id)
		}
	}
	if why.rails {
		return s.forbidden(why.reasons...)
	}
	d := Decision{Policies: why.reasons}
	switch {
	case len(d.Policies) > 0:
		d.Before, d.Layers = s.before(d.Policies, r.Call.Class), s.layers(d.Policies)
	case s.consents(&r):
		d.Policies, d.Before = []string{r.Upstream.Name + "/consent"}, r.Call.Class != Read
	case s.inherits(r.Chain):
		d.Reason = "Within what " + s.subject.Parent.Name() + " may do."
	default:
		if d = s.elevated(&q); d.Ask == nil {
			return Decision{Reason: s.denial(&q)}
		}
	}
	return s.asked(&q, d)
}

func failed(guardrail string) Decision {
	return Decision{Guardrail: true, Policies: []string{guardrail}, Reason: fmt.Sprintf("Guardrail %s could not be evaluated for this call, so it is refused.", guardrail)}
}

// elevated is the decision by grants that hold only for what people said yes to.
func (s *Set) elevated(q *question) (d Decision) {
	found, _ := q.matched(s.asking) // one that errs does not match, as Cedar has it for permits
	for _, r := range found {
		d.Ask = d.Ask.With(r.asks())
		if !slices.Contains(d.Policies, r.id()) {
			d.Policies = append(d.Policies, r.id())
		}
	}
	d.Before, d.Layers = s.before(d.Policies, q.Call.Class), s.layers(d.Policies)
	return d
}

// layers are those of the grants that decided: where several cover a call, the layers of all hold.
func (s *Set) layers(decided []string) (list []*layer.Rules) {
	for _, rules := range [2][]rule{s.rules, s.asking} {
		for i := range rules {
			if r := &rules[i]; r.layers != nil && !slices.Contains(list, r.layers) && slices.Contains(decided, string(r.key)) {
				list = append(list, r.layers)
			}
		}
	}
	return list
}

// asked adds the guardrails that want people's yes for what is granted, and allows it when nobody has to be asked.
func (s *Set) asked(q *question, d Decision) Decision {
	rails, bad := q.matched(s.rails.asking)
	if bad != nil {
		return failed(bad.id())
	}
	for _, r := range rails {
		d.Ask = d.Ask.With(r.asks())
		if !slices.Contains(d.Policies, r.id()) {
			d.Policies = append(d.Policies, r.id())
		}
	}
	if d.Ask == nil {
		if d.Allow = true; d.Reason == "" {
			d.Reason = "Granted by " + strings.Join(d.Policies, ", ") + "."
		}
		return d
	}
	d.Reason = s.waits(d.Ask)
	return d
}

// waits says in one sentence who has to say yes, and why.
func (s *Set) waits(a *Asking) string {
	parts := make([]string, len(a.Of))
	for i, one := range a.Of {
		noun := "grant"
		if one.Guardrail {
			noun = "guardrail"
		}
		parts[i] = fmt.Sprintf("%s %s asks for the yes of %s", noun, one.Policy, one)
		if text := s.rails.text[one.Policy]; one.Guardrail && text != "" {
			parts[i] += " (" + strings.TrimSuffix(text, ".") + ")"
		}
	}
	return "This needs approval: " + strings.Join(parts, ", and ") + "."
}

// May reports whether a call of that action can be allowed at all: some grant is
// about it, and no guardrail refuses it whatever the arguments. It is for showing
// people and agents what there is; each call is decided on its own.
func (s *Set) May(r Request) bool {
	if s == nil || s.rails == nil || r.Upstream == nil || s.crosses(r.Upstream) {
		return false
	}
	q, err := s.question(&r)
	if err != nil {
		return false
	}
	about := func(always bool) func(rule) bool {
		return func(r rule) bool { return r.concerns(&q) && (r.always || !always) }
	}
	return !slices.ContainsFunc(s.rails.rules, about(true)) && (slices.ContainsFunc(s.rules, about(false)) || slices.ContainsFunc(s.asking, about(false)) || s.consents(&r) || s.inherits(r.Chain))
}

func (s *Set) forbidden(ids ...string) Decision {
	d := Decision{Guardrail: true, Policies: ids, Reason: fmt.Sprintf("Guardrail %s refuses this, whatever is granted.", ids[0])}
	if text := s.rails.text[ids[0]]; text != "" {
		d.Reason = fmt.Sprintf("Guardrail %s refuses this, whatever is granted: %s", ids[0], text)
	}
	return d
}

// before reports whether the event must be durable first: always when a grant that
// decided says so; for all but reads unless every grant that decided says otherwise.
func (s *Set) before(decided []string, class Class) bool {
	relaxed := true
	for _, rules := range [2][]rule{s.rules, s.asking} {
		for i := range rules {
			if r := &rules[i]; slices.Contains(decided, string(r.key)) {
				if r.record == "before" || r.grant.Record == "before" {
					return true
				}
				relaxed = relaxed && (r.record == "within" || r.grant.Record == "within")
			}
		}
	}
	return class != Read && !relaxed
}

func isClass(action string) bool {
	switch Class(action) {
	case Read, Write, Delete, Admin:
		return true
	}
	return false
}
