package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

// rule is one policy of a grant or of a guardrail.
type rule struct {
	*program
	key    cedar.PolicyID // id, marked if it is a guardrail's
	grant  *Grant         // nil for a guardrail
	plain  *Approve       // what the grant itself asks for, beside its policies
	layers *layer.Rules   // of the grant; nil for none
}

// railMark begins the key of a guardrail, so that it is told from a grant of the same id.
const railMark = "\x00"

func (r *rule) id() string { return strings.TrimPrefix(string(r.key), railMark) }

// program is one policy, taken apart: its scope is compared here, before Cedar is
// asked about its conditions. Most policies do not concern a call, and a
// comparison costs a fiftieth of an evaluation.
type program struct {
	scope      [3]scope      // principal, action, resource
	conditions *cedar.Policy // the policy without its scope
	always     bool          // there are no conditions
	traces     bool          // they ask where values came from
	args       []string      // that they ask for, see asksFor
	record     string        // its annotation: before, within or nothing
	approve    *Approve      // its annotation: who must say yes; nil for nobody
}

// compileText parses and takes apart the policies of one text, all of one effect.
func compileText(text string, effect cedar.Effect) ([]*program, error) {
	policies, err := parseList(text)
	if err != nil {
		return nil, err
	}
	list := make([]*program, len(policies))
	for i, p := range policies {
		if p.Effect() != effect && effect == cedar.Permit {
			return nil, errForbids
		} else if p.Effect() != effect {
			return nil, errPermits
		}
		if list[i], err = compileProgram(p); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func compileProgram(p *cedar.Policy) (*program, error) {
	c := &program{record: string(p.Annotations()["record"])}
	var err error
	if c.approve, err = approve(p); err != nil {
		return nil, err
	}
	free := *(*xast.Policy)(p.AST())
	c.always = !slices.ContainsFunc(free.Conditions, func(k xast.ConditionType) bool {
		body, ok := k.Body.(xast.NodeValue)
		return !ok || body.Value != types.True || k.Condition != xast.ConditionWhen
	})
	c.traces, c.args = traces(&free), asksFor(&free)
	for i, s := range []xast.IsScopeNode{free.Principal, free.Action, free.Resource} {
		if c.scope[i], err = compileScope(s); err != nil {
			return nil, err
		}
	}
	free.Principal, free.Action, free.Resource = xast.ScopeTypeAll{}, xast.ScopeTypeAll{}, xast.ScopeTypeAll{}
	c.conditions = cedar.NewPolicyFromAST((*ast.Policy)(&free))
	return c, nil
}

// programs remembers what the texts of grants compile to, so that alike grants of
// many identities are compiled and held once. When it is full it begins anew.
type programs struct {
	mu     sync.RWMutex
	of     map[string][]*program
	layers map[string]*layer.Rules
}

func (m *programs) compile(text string) ([]*program, error) {
	m.mu.RLock()
	list, ok := m.of[text]
	m.mu.RUnlock()
	if ok {
		return list, nil
	}
	list, err := compileText(text, cedar.Permit)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil || len(m.of) >= 4096 {
		m.of = map[string][]*program{}
	}
	m.of[text] = list
	return list, nil
}

// rules are the Rules that layers mean, nil for none.
func (m *programs) rules(l *layer.Layers) (*layer.Rules, error) {
	if l == nil {
		return nil, nil
	}
	b, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.layers[string(b)]; r != nil {
		return r, nil
	}
	r, err := layer.New(*l)
	if err != nil {
		return nil, err
	}
	r.Text = string(b)
	if m.layers == nil || len(m.layers) >= 4096 {
		m.layers = map[string]*layer.Rules{}
	}
	m.layers[r.Text] = r
	return r, nil
}

// scope is the head of a policy for one of principal, action and resource.
type scope struct {
	of   types.EntityType // "is": only entities of this type; empty: any
	in   []types.EntityUID
	many map[types.EntityUID]bool // in, when it is long
	any  bool                     // no entity is named
	deep bool                     // what is in one of them counts too
}

func compileScope(s xast.IsScopeNode) (scope, error) {
	var c scope
	switch s := s.(type) {
	case xast.ScopeTypeAll:
		c.any = true
	case xast.ScopeTypeEq:
		c.in = []types.EntityUID{s.Entity}
	case xast.ScopeTypeIn:
		c.in, c.deep = []types.EntityUID{s.Entity}, true
	case xast.ScopeTypeInSet:
		c.in, c.deep = s.Entities, true
	case xast.ScopeTypeIs:
		c.of, c.any = s.Type, true
	case xast.ScopeTypeIsIn:
		c.of, c.in, c.deep = s.Type, []types.EntityUID{s.Entity}, true
	default:
		return c, fmt.Errorf("scope of a kind that is unknown here: %T", s)
	}
	if len(c.in) > 8 {
		c.many = make(map[types.EntityUID]bool, len(c.in))
		for _, uid := range c.in {
			c.many[uid] = true
		}
	}
	return c, nil
}

// covers reports whether uid, whose parents are given, is in the scope. A zero parent is none.
func (s *scope) covers(uid, parent, other types.EntityUID) bool {
	if s.of != "" && uid.Type != s.of {
		return false
	}
	if s.any {
		return true
	}
	if s.many != nil {
		return s.many[uid] || s.deep && (s.many[parent] || s.many[other])
	}
	for _, in := range s.in {
		if in == uid || s.deep && (in == parent || in == other) {
			return true
		}
	}
	return false
}

// concerns reports whether r is about the call of q: scope, upstream and end date.
func (r *rule) concerns(q *question) bool {
	if g := r.grant; g != nil && (g.Upstream != q.Call.Upstream || g.Ended(q.Now)) {
		return false
	}
	return r.about(q) && r.scope[2].covers(q.resource, q.upstream, types.EntityUID{}) && r.scope[0].covers(q.set.principal, types.EntityUID{}, types.EntityUID{})
}

// about reports whether r is about the action of q: itself, its class or its word.
func (r *rule) about(q *question) bool { return r.scope[1].covers(q.action, q.class, q.word) }

// evaluation is the rules that concern q, for Cedar to go through.
type evaluation struct {
	rails, grants []rule
	q             *question
}

func (e *evaluation) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, rules := range [2][]rule{e.rails, e.grants} {
			for i := range rules {
				if r := &rules[i]; r.concerns(e.q) && !yield(r.key, r.conditions) {
					return
				}
			}
		}
	}
}

// answer is what the rules that concern a question said: the forbids alone if there are any.
type answer struct {
	reasons []string // ids, each once
	rails   bool     // they are guardrails'
	errors  []cedar.DiagnosticError
}

func (a *answer) add(key cedar.PolicyID) {
	id, rail := strings.CutPrefix(string(key), railMark)
	a.rails = a.rails || rail
	if !slices.Contains(a.reasons, id) {
		a.reasons = append(a.reasons, id)
	}
}

// ask evaluates the rules that concern q. Cedar is not needed where none of them has a
// condition; most decisions are such, and cost next to no memory.
func (q *question) ask(rails, grants []rule) (a answer) {
	simple := true
	for i := range rails {
		simple = simple && !rails[i].concerns(q)
	}
	for i := range grants {
		simple = simple && (grants[i].always || !grants[i].concerns(q))
	}
	if !simple {
		return q.evaluate(rails, grants)
	}
	for i := range grants {
		if r := &grants[i]; r.concerns(q) {
			a.add(r.key)
		}
	}
	return a
}

func (q *question) evaluate(rails, grants []rule) (a answer) {
	if inexact := q.inexact(); len(inexact) > 0 {
		for i := range rails {
			if r := &rails[i]; r.concerns(q) && r.looks(inexact) {
				a.errors = append(a.errors, cedar.DiagnosticError{PolicyID: r.key})
			}
		}
		grants = slices.DeleteFunc(slices.Clone(grants), func(r rule) bool { return r.looks(inexact) })
	}
	kept := *q // q itself needs not outlive the decision
	_, why := cedar.Authorize(&evaluation{rails, grants, &kept}, &kept, cedar.Request{Principal: q.set.principal, Action: q.action, Resource: q.resource, Context: q.context()})
	for _, r := range why.Reasons {
		a.add(r.PolicyID)
	}
	a.errors = append(a.errors, why.Errors...)
	return a
}

// inexact names the arguments that are numbers that Cedar cannot hold. An upstream may take
// one for a number that it can: 1e2, or 100.00000000000000000001, for 100.
func (q *question) inexact() (names []string) {
	for name, v := range q.Call.Arguments {
		if n, ok := v.(Number); ok {
			if _, err := n.decimal(); err != nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// looks reports whether the conditions of a policy speak of the value of one of these arguments, or of all at once.
func (c *program) looks(arguments []string) (found bool) {
	for _, k := range (*xast.Policy)(c.conditions.AST()).Conditions {
		xast.Inspect(xast.NewNode(k.Body), func(n xast.IsNode) bool {
			of := n
			switch n := n.(type) {
			case xast.NodeTypeAccess:
				of = n.Arg
				found = found || isArgs(n) || isArgs(of) && slices.Contains(arguments, string(n.Value))
			case xast.NodeTypeHas:
				of = n.Arg
			case xast.NodeTypeVariable:
				found = found || n.Name == "context"
			}
			_, variable := of.(xast.NodeTypeVariable)
			return !found && !variable && !isArgs(of)
		})
	}
	return found
}

// isArgs reports whether n is context.args.
func isArgs(n xast.IsNode) bool {
	a, ok := n.(xast.NodeTypeAccess)
	v, variable := a.Arg.(xast.NodeTypeVariable)
	return ok && variable && v.Name == "context" && a.Value == "args"
}

// question is one request in the words of Cedar. What Cedar may not ask for is made when it asks.
type question struct {
	Request
	set                                     *Set
	action, class, word, resource, upstream types.EntityUID
}

func (s *Set) question(r *Request) (question, error) {
	c := &r.Call
	q := question{Request: *r, set: s,
		action:   types.EntityUID{Type: actionType, ID: types.String(c.Action)},
		class:    types.EntityUID{Type: actionType, ID: types.String(c.Class)},
		resource: types.EntityUID{Type: resourceType, ID: types.String(c.Upstream + "/" + c.Resource)},
		upstream: types.EntityUID{Type: upstreamType, ID: types.String(c.Upstream)},
	}
	if c.Word != "" {
		q.word = types.EntityUID{Type: actionType, ID: types.String(c.Word)}
	}
	for name, value := range c.Arguments {
		switch value.(type) {
		case string, int64, Number, bool, []string:
		default:
			return question{}, fmt.Errorf("argument %s is of a kind that no policy can judge", name)
		}
	}
	return q, nil
}

func (q *question) context() types.Record {
	args := make(types.RecordMap, len(q.Call.Arguments))
	for name, value := range q.Call.Arguments {
		args[types.String(name)] = cedarValue(value)
	}
	c := types.RecordMap{"now": types.NewDatetime(q.Now), "source": types.String(q.Source), "args": types.NewRecord(args), "depth": types.Long(max(1, len(q.Chain))), "for_others": types.Boolean(q.forOthers())}
	if person := q.Chain.Root().Owner(); person != "" {
		c["person"] = types.String(person)
	}
	q.traced(c)
	return types.NewRecord(c)
}

// forOthers reports whether whose set it is acts for another: the chain does not end with it.
func (q *question) forOthers() bool {
	return len(q.Chain) > 1 && q.Chain.Root() != q.set.subject.ID
}

// Get is the three entities that a request has, and no others.
func (q *question) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid {
	case q.set.principal:
		if q.set.person() {
			return types.Entity{UID: uid, Attributes: types.NewRecord(types.RecordMap{"name": types.String(q.set.subject.ID.Name()), "owner": types.String(q.set.subject.Owner), "environment": types.String(q.Upstream.Environment)})}, true
		}
		return q.set.entity(), true
	case q.action:
		if q.word != (types.EntityUID{}) && q.word != uid {
			return types.Entity{UID: uid, Parents: types.NewEntityUIDSet(q.class, q.word)}, true
		}
		return types.Entity{UID: uid, Parents: types.NewEntityUIDSet(q.class)}, true
	case q.resource:
		return types.Entity{UID: uid, Parents: types.NewEntityUIDSet(q.upstream), Attributes: types.NewRecord(types.RecordMap{
			"path": types.String(q.Call.Resource), "upstream": types.String(q.Call.Upstream), "environment": types.String(q.Upstream.Environment),
		})}, true
	}
	return types.Entity{}, false
}

// cedarValue is an argument of one of the kinds that question has let through.
func cedarValue(v any) types.Value {
	switch v := v.(type) {
	case int64:
		return types.Long(v)
	case Number:
		return v.value()
	case bool:
		return types.Boolean(v)
	case []string:
		values := make([]types.Value, len(v))
		for i, s := range v {
			values[i] = types.String(s)
		}
		return types.NewSet(values...)
	default:
		return types.String(v.(string))
	}
}

// Ended reports whether the grant's end date has come.
func (g *Grant) Ended(now time.Time) bool { return !now.Before(g.Until) }
