package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// EnvironmentGuardrail is built in: no identity calls an upstream of another environment.
const EnvironmentGuardrail = "lanyard.environment"

// Request is what is to be decided.
type Request struct {
	Call     Call
	Upstream *Upstream
	Now      time.Time
	Source   string // peer address
}

// Subject is the identity a Set belongs to.
type Subject struct {
	ID          identity.ID
	Owner       identity.OwnerID
	Environment string
}

// Guardrails is all of them, compiled once and shared by every Set.
type Guardrails struct {
	compiled []compiled
	text     map[string]string // id → description
}

type compiled struct {
	id     cedar.PolicyID
	policy *cedar.Policy
	until  time.Time // of a grant
	before bool      // @record("before")
	within bool      // @record("within")
	where  string    // upstream of a grant
}

// NewGuardrails compiles guardrails that [CompileGuardrail] accepted, and the built-in one.
func NewGuardrails(list []Guardrail) (*Guardrails, error) {
	g := &Guardrails{text: map[string]string{EnvironmentGuardrail: "An identity never calls a system of another environment."}}
	builtin := Guardrail{ID: EnvironmentGuardrail, Cedar: "forbid (principal, action, resource) unless { principal.environment == resource.environment };"}
	for _, r := range append([]Guardrail{builtin}, list...) {
		policies, err := parseList(r.Cedar)
		if err != nil {
			return nil, fmt.Errorf("guardrail %s: %w", r.ID, err)
		}
		for _, p := range policies {
			g.compiled = append(g.compiled, compiled{id: cedar.PolicyID(r.ID), policy: p})
		}
		if r.Description != "" {
			g.text[r.ID] = r.Description
		}
	}
	return g, nil
}

// Set is what one identity may do: its own grants and the guardrails, precompiled.
type Set struct {
	subject   Subject
	principal types.Entity
	rails     *Guardrails
	grants    []compiled
	plain     []Grant // for the sentence of a denial
}

// NewSet compiles the grants of one identity.
func NewSet(s Subject, grants []Grant, rails *Guardrails) (*Set, error) {
	uid := types.NewEntityUID(principalType(s.ID.Kind()), types.String(s.ID.String()))
	set := &Set{subject: s, rails: rails, plain: grants, principal: types.Entity{UID: uid, Attributes: types.NewRecord(types.RecordMap{
		"name": types.String(s.ID.Name()), "owner": types.String(s.Owner), "environment": types.String(s.Environment),
	})}}
	for _, g := range grants {
		policies, err := parseList(g.Cedar)
		if err != nil {
			return nil, fmt.Errorf("grant %s: %w", g.ID, err)
		}
		for _, p := range policies {
			record := p.Annotations()["record"]
			set.grants = append(set.grants, compiled{cedar.PolicyID(g.ID), p, g.Until,
				g.Record == "before" || record == "before", g.Record == "within" || record == "within", g.Upstream})
		}
	}
	return set, nil
}

// Decide says whether the identity may make the call now. A guardrail that
// matches, or whose evaluation errs, denies; otherwise one grant must match.
// (Cedar skips a policy that errs: for a grant that is right, for a guardrail it
// would not forbid what it was written to forbid.)
func (s *Set) Decide(r Request) Decision {
	if r.Upstream == nil || r.Upstream.Name != r.Call.Upstream {
		return Decision{Reason: "The upstream is unknown."}
	}
	request, world, err := s.world(r)
	if err != nil {
		return Decision{Reason: err.Error()}
	}
	verdict, why := cedar.Authorize(policies{s.rails.compiled, nil, r}, world, request)
	if len(why.Errors) > 0 {
		id := string(why.Errors[0].PolicyID)
		return Decision{Guardrail: true, Policies: []string{id}, Reason: fmt.Sprintf("Guardrail %s could not be evaluated for this call, so it is refused.", id)}
	}
	if len(why.Reasons) > 0 {
		d := Decision{Guardrail: true, Policies: ids(why.Reasons)}
		d.Reason = fmt.Sprintf("Guardrail %s refuses this for everyone.", d.Policies[0])
		if text := s.rails.text[d.Policies[0]]; text != "" {
			d.Reason = fmt.Sprintf("Guardrail %s refuses this for everyone: %s", d.Policies[0], text)
		}
		return d
	}
	verdict, why = cedar.Authorize(policies{nil, s.grants, r}, world, request)
	if verdict != cedar.Allow {
		return Decision{Reason: s.denial(r)}
	}
	d := Decision{Allow: true, Policies: ids(why.Reasons), Before: r.Call.Class != Read}
	within := d.Before
	for _, g := range s.grants {
		if slices.Contains(d.Policies, string(g.id)) {
			d.Before = d.Before || g.before
			within = within && g.within && !g.before
		}
	}
	d.Before = d.Before && !within // relaxed only if every grant that decided says so
	d.Reason = "Granted by " + strings.Join(d.Policies, ", ") + "."
	return d
}

// policies is what one evaluation goes through: the guardrails, or the grants that
// are for this upstream and have not ended.
type policies struct {
	rails, grants []compiled
	r             Request
}

func (p policies) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for i := range p.rails {
			if !yield(p.rails[i].id, p.rails[i].policy) {
				return
			}
		}
		for i := range p.grants {
			g := &p.grants[i]
			if g.where == p.r.Call.Upstream && p.r.Now.Before(g.until) && !yield(g.id, g.policy) {
				return
			}
		}
	}
}

func ids(reasons []cedar.DiagnosticReason) []string {
	var out []string
	for _, r := range reasons {
		if id := string(r.PolicyID); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// world is the three entities of one request, for Cedar to look up.
type world [3]types.Entity

func (w *world) Get(uid types.EntityUID) (types.Entity, bool) {
	for i := range w {
		if w[i].UID == uid {
			return w[i], true
		}
	}
	return types.Entity{}, false
}

func (s *Set) world(r Request) (cedar.Request, *world, error) {
	c := r.Call
	args := make(types.RecordMap, len(c.Arguments))
	for name, value := range c.Arguments {
		v, err := cedarValue(value)
		if err != nil {
			return cedar.Request{}, nil, fmt.Errorf("argument %s is of a kind that no policy can judge", name)
		}
		args[types.String(name)] = v
	}
	action := types.NewEntityUID(actionType, types.String(c.Action))
	resource := types.NewEntityUID(resourceType, types.String(c.Upstream+"/"+c.Resource))
	w := &world{
		s.principal,
		{UID: action, Parents: types.NewEntityUIDSet(types.NewEntityUID(actionType, types.String(c.Class)))},
		{UID: resource, Parents: types.NewEntityUIDSet(types.NewEntityUID(upstreamType, types.String(c.Upstream))), Attributes: types.NewRecord(types.RecordMap{
			"path": types.String(c.Resource), "upstream": types.String(c.Upstream), "environment": types.String(r.Upstream.Environment),
		})},
	}
	context := types.NewRecord(types.RecordMap{"now": types.NewDatetime(r.Now), "source": types.String(r.Source), "args": types.NewRecord(args)})
	return cedar.Request{Principal: s.principal.UID, Action: action, Resource: resource, Context: context}, w, nil
}

func cedarValue(v any) (types.Value, error) {
	switch v := v.(type) {
	case string:
		return types.String(v), nil
	case int64:
		return types.Long(v), nil
	case bool:
		return types.Boolean(v), nil
	case []string:
		values := make([]types.Value, len(v))
		for i, s := range v {
			values[i] = types.String(s)
		}
		return types.NewSet(values...), nil
	}
	return nil, fmt.Errorf("%T", v)
}

// denial says in one sentence what is missing and who can grant it.
func (s *Set) denial(r Request) string {
	c := r.Call
	may := map[string]bool{}
	var ended string
	for _, g := range s.plain {
		if g.Upstream != c.Upstream {
			continue
		}
		if g.Ended(r.Now) {
			ended = g.ID
			continue
		}
		for _, a := range g.Actions {
			may[a] = true
		}
		if len(g.Actions) == 0 {
			may["what grant "+g.ID+" says"] = true
		}
	}
	who := "an operator"
	if r.Upstream.OwnerName != "" {
		who = r.Upstream.OwnerName + ", owner of " + c.Upstream + ","
	}
	asked := fmt.Sprintf("%s (%s) on %s", c.Action, c.Class, c.Upstream)
	name := s.subject.ID.Name()
	switch {
	case len(may) == 0 && ended != "":
		return fmt.Sprintf("%s may not do %s: its grant %s has ended; %s can renew it.", name, asked, ended, who)
	case len(may) == 0:
		return fmt.Sprintf("%s may not do %s: it has no grant there; %s can give one.", name, asked, who)
	case may[string(c.Class)] || may[c.Action]:
		return fmt.Sprintf("%s may not do %s with this resource or these arguments (%s): the conditions of its grants do not cover them; %s can widen them.", name, asked, c.Resource, who)
	}
	words := make([]string, 0, len(may))
	for w := range may {
		words = append(words, w)
	}
	slices.Sort(words)
	return fmt.Sprintf("%s may not do %s: its grants there cover only %s; %s can grant more.", name, asked, strings.Join(words, ", "), who)
}
