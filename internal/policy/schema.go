package policy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Classes lists the classes of action, in the order shown to people.
var Classes = []Class{Read, Write, Delete, Admin}

// The names of the Cedar model.
const (
	actionType   = types.EntityType("Lanyard::Action")
	resourceType = types.EntityType("Lanyard::Resource")
	upstreamType = types.EntityType("Lanyard::Upstream")
)

// principalType is the Cedar entity type of a kind of identity.
func principalType(k identity.Kind) types.EntityType {
	switch k {
	case identity.Agent:
		return "Lanyard::Agent"
	case identity.Service:
		return "Lanyard::Service"
	case identity.Bot:
		return "Lanyard::Bot"
	case identity.APIKey:
		return "Lanyard::ApiKey"
	case identity.OAuthClient:
		return "Lanyard::OAuthClient"
	case identity.Person:
		return "Lanyard::Person"
	}
	return "Lanyard::Nobody"
}

// ClassOf is the class of an action on an upstream: what the operator says, else
// what the description says. Among the operator's patterns (path.Match) the longest wins.
func ClassOf(u Upstream, a Action) Class {
	class, longest := a.Class, -1
	for pattern, c := range u.Classes {
		if ok, _ := path.Match(pattern, a.Name); ok && len(pattern) > longest {
			class, longest = c, len(pattern)
		}
	}
	return class
}

// Described is an upstream with what can be done on it. One made by [Describe]
// is checked, and compiles many grants quicker than one made by hand.
type Described struct {
	Upstream Upstream
	Actions  []Action
	Joined   []string // upstreams that it puts behind one endpoint; it has none of its own then

	validator func() (*validate.Validator, error)
}

// Describe puts together an upstream and what its connector says can be done on it.
func Describe(u Upstream, actions []Action) (Described, error) {
	d := Described{Upstream: u, Actions: actions}
	d.validator = sync.OnceValues(func() (*validate.Validator, error) { return newValidator(d) })
	return d, d.check()
}

// check refuses what policies could not speak of, or would take for something else.
func (d Described) check() error {
	for _, a := range d.Actions {
		switch {
		case isClass(a.Name):
			return fmt.Errorf("upstream %s: action %q has the name of a class; its description must name it otherwise", d.Upstream.Name, a.Name)
		case !slices.Contains(Classes, a.Class):
			return fmt.Errorf("upstream %s: action %s has class %q; use read, write, delete or admin", d.Upstream.Name, a.Name, a.Class)
		}
		for _, p := range a.Parameters {
			if cedarTypes[p.Type] == "" {
				return fmt.Errorf("upstream %s: parameter %s of %s has type %q; use string, integer, number, boolean or strings", d.Upstream.Name, p.Name, a.Name, p.Type)
			}
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(d.Upstream.Classes)) {
		if c := d.Upstream.Classes[pattern]; !slices.Contains(Classes, c) {
			return fmt.Errorf("upstream %s: classes.%s: %q is no class; use read, write, delete or admin", d.Upstream.Name, pattern, c)
		}
		if !slices.ContainsFunc(d.Actions, func(a Action) bool { ok, err := path.Match(pattern, a.Name); return ok && err == nil }) {
			return fmt.Errorf("upstream %s: classes.%s: it has no such action%s", d.Upstream.Name, pattern, suggest(pattern, d.Actions, ofDescription))
		}
	}
	return nil
}

// Schema is the Cedar schema that policies on those upstreams are checked against.
func Schema(upstreams ...Described) string {
	var b strings.Builder
	b.WriteString(`namespace Lanyard {
  entity Agent, Service, Bot, ApiKey, OAuthClient, Person {
    name: String, owner: String, environment: String
  };
  entity Upstream;
  entity Resource in [Upstream] {
    path: String, upstream: String, environment: String
  };
`)
	for _, c := range Classes {
		writeAction(&b, string(c), nil, nil)
	}
	var order, words []string
	of := map[string]*declared{}
	for _, d := range upstreams {
		for _, a := range d.Actions {
			if of[a.Name] == nil {
				of[a.Name] = &declared{types: map[string]string{}}
				order = append(order, a.Name)
			}
			of[a.Name].add(ClassOf(d.Upstream, a), a)
			for _, w := range a.Words {
				if !slices.Contains(words, w) {
					words = append(words, w)
				}
			}
		}
	}
	for _, w := range words {
		if of[w] == nil { // else some upstream has an action of that name, and it is a group as well
			writeAction(&b, w, nil, nil)
		}
	}
	for _, name := range order {
		writeAction(&b, name, of[name].parents, of[name].parameters)
	}
	b.WriteString("}\n")
	return b.String()
}

// declared joins the actions of one name of several upstreams: a policy over all may meet any of them.
type declared struct {
	parents    []string // class and word
	parameters []Parameter
	types      map[string]string // of parameters, by name
}

func (d *declared) add(c Class, a Action) {
	for _, p := range append([]string{string(c)}, a.Words...) {
		if p != a.Name && !slices.Contains(d.parents, p) {
			d.parents = append(d.parents, p)
		}
	}
	for _, p := range a.Parameters {
		if d.types[p.Name] == "" {
			d.types[p.Name] = p.Type
			d.parameters = append(d.parameters, p)
		}
	}
}

func writeAction(b *strings.Builder, name string, parents []string, parameters []Parameter) {
	fmt.Fprintf(b, "  action %s", quote(name))
	if len(parents) > 0 {
		in := make([]string, len(parents))
		for i, p := range parents {
			in[i] = quote(p)
		}
		fmt.Fprintf(b, " in [%s]", strings.Join(in, ", "))
	}
	b.WriteString(" appliesTo {\n    principal: [Agent, Service, Bot, ApiKey, OAuthClient, Person], resource: [Resource],\n    context: { now: datetime, source: String, depth: Long, for_others: Bool, person?: String, " + tracedSchema + ", args: {")
	for i, p := range parameters {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(b, " %s?: %s", quote(p.Name), cedarTypes[p.Type])
	}
	b.WriteString(" } }\n  };\n")
}

var cedarTypes = map[string]string{"string": "String", "integer": "Long", "number": "decimal", "boolean": "Bool", "strings": "Set<String>"}

// quote is s as Cedar writes it. Most texts need no escape.
func quote(s string) string { return string(appendQuoted(nil, s)) }

func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '\'' {
			return append(b, types.String(s).MarshalCedar()...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func newValidator(upstreams ...Described) (*validate.Validator, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema(upstreams...))); err != nil {
		return nil, fmt.Errorf("schema of the upstreams: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("schema of the upstreams: %w", err)
	}
	return validate.New(resolved), nil
}

// validateAll checks policies against the schema of upstreams.
func validateAll(policies cedar.PolicyList, upstreams ...Described) error {
	var v *validate.Validator
	var err error
	if len(upstreams) == 1 && upstreams[0].validator != nil {
		v, err = upstreams[0].validator()
	} else {
		v, err = newValidator(upstreams...)
	}
	if err != nil {
		return err
	}
	for i, p := range policies {
		if err := known((*xast.Policy)(p.AST()), upstreams); err != nil {
			return err
		}
		if err := v.Policy(fmt.Sprint("policy ", i+1), (*xast.Policy)(p.AST())); err != nil {
			return err
		}
	}
	return nil
}

// known says better than the validator which action of the scope there is not.
func known(p *xast.Policy, upstreams []Described) error {
	s, err := compileScope(p.Action)
	if err != nil {
		return err
	}
	for _, uid := range s.in {
		name, found := string(uid.ID), isClass(string(uid.ID))
		var all []Action
		for _, d := range upstreams {
			all = append(all, d.Actions...)
		}
		found = found || slices.ContainsFunc(all, func(a Action) bool { return a.Name == name || slices.Contains(a.Words, name) })
		if uid.Type != actionType {
			return fmt.Errorf("action %s: write %s::%s", uid, actionType, quote(name))
		}
		if !found {
			return fmt.Errorf("no upstream has an action or word %q%s", name, suggest(name, all, "; lanyard upstream actions lists those of one"))
		}
	}
	return nil
}
