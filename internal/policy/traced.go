package policy

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// Provenance is what an upstream's operator says of where values on it come from, beside what follows from its description.
type Provenance struct {
	provenance.Known
	Roles   map[string]provenance.Role   `json:"roles,omitempty"`   // "action.argument", or a glob of that → what it is for
	Effects map[string]provenance.Effect `json:"effects,omitempty"` // action, or a glob of names → what it does
	Labels  map[string][]string          `json:"labels,omitempty"`  // action, or a glob of names → labels that a task gets by it
}

// Check finds what is wrong with it for the upstream, whose actions d knows.
func (p *Provenance) Check(d Described) error {
	if p == nil {
		return nil
	}
	if len(p.Members)+len(p.Contacts) > maxKnown {
		return fmt.Errorf("provenance: it has %d members and contacts at most", maxKnown)
	}
	for _, glob := range slices.Sorted(maps.Keys(p.Roles)) {
		if role := p.Roles[glob]; !slices.Contains(provenance.Roles, role) {
			return fmt.Errorf("provenance.roles.%s: %q is no role; use destination, object, content, privilege or plain", glob, role)
		}
		if !slices.ContainsFunc(d.Actions, func(a Action) bool {
			return slices.ContainsFunc(a.Parameters, func(q Parameter) bool { return globbed(glob, a.Name+"."+q.Name) })
		}) {
			return fmt.Errorf("provenance.roles.%s: there is no such argument; write it as action.argument", glob)
		}
	}
	for _, glob := range slices.Sorted(maps.Keys(p.Effects)) {
		if effect := p.Effects[glob]; !slices.Contains(provenance.Effects, effect) {
			return fmt.Errorf("provenance.effects.%s: %q is no effect; use read, send, pay, create, share, change, delete or act", glob, effect)
		}
		if err := d.some("effects", glob); err != nil {
			return err
		}
	}
	for _, glob := range slices.Sorted(maps.Keys(p.Labels)) {
		for _, l := range p.Labels[glob] {
			if !identity.ValidName(l) {
				return fmt.Errorf("provenance.labels.%s: %q is no label: letters, digits and hyphens", glob, l)
			}
		}
		if err := d.some("labels", glob); err != nil {
			return err
		}
	}
	return nil
}

const maxKnown = 20_000

func (d Described) some(field, glob string) error {
	if !slices.ContainsFunc(d.Actions, func(a Action) bool { return globbed(glob, a.Name) }) {
		return fmt.Errorf("provenance.%s.%s: it has no such action%s", field, glob, suggest(glob, d.Actions, ofDescription))
	}
	return nil
}

func globbed(glob, name string) bool {
	ok, err := path.Match(glob, name)
	return glob == name || ok && err == nil
}

// wordEffects is what is done by each word, the first above all: others are what a user may call it.
var wordEffects = map[string][]provenance.Effect{
	"mail.read": {provenance.Reads}, "mail.search": {provenance.Reads}, "mail.draft": {provenance.Creates, provenance.Sends}, "mail.send": {provenance.Sends},
	"mail.label": {provenance.Changes}, "mail.delete": {provenance.Deletes}, "mail.rule": {provenance.Changes},
	"file.read": {provenance.Reads}, "file.list": {provenance.Reads}, "file.export": {provenance.Reads}, "file.write": {provenance.Creates, provenance.Changes},
	"file.share": {provenance.Shares}, "file.delete": {provenance.Deletes},
	"event.read": {provenance.Reads}, "event.create": {provenance.Creates}, "event.update": {provenance.Changes}, "event.invite": {provenance.Shares, provenance.Creates}, "event.delete": {provenance.Deletes},
}

// Worded is what is to be made of an action of u where a call of it is that word: what an event's invitation does follows from
// no verb in its name.
func (u *Upstream) Worded(a Action, word string) *provenance.Tool {
	t := u.Tool(a)
	if u.Provenance != nil {
		if _, said := longest(u.Provenance.Effects, a.Name); said {
			return t
		}
	}
	if e := wordEffects[word]; e != nil {
		return t.Doing(e...)
	}
	return t
}

// Tool is what is to be made of an action of u, by its description and by what its operator says.
func (u *Upstream) Tool(a Action) *provenance.Tool {
	params := make([]provenance.Parameter, len(a.Parameters))
	roles, effect := map[string]provenance.Role{}, provenance.Effect("")
	for i, p := range a.Parameters {
		params[i] = provenance.Parameter{Name: p.Name, Type: p.Type, Format: p.Format, Description: p.Summary}
		if u.Provenance != nil {
			if r, ok := longest(u.Provenance.Roles, a.Name+"."+p.Name); ok {
				roles[p.Name] = r
			}
		}
	}
	var labels []string
	if u.Provenance != nil {
		effect, _ = longest(u.Provenance.Effects, a.Name)
		for glob, list := range u.Provenance.Labels {
			if globbed(glob, a.Name) {
				labels = append(labels, list...)
			}
		}
	}
	t := provenance.Describe(a.Name, a.Summary, ClassOf(*u, a) == Read, params, effect, roles)
	t.Labels = labels
	return t
}

// longest is what the longest glob that name matches says.
func longest[T any](of map[string]T, name string) (v T, ok bool) {
	size := -1
	for glob, one := range of {
		if globbed(glob, name) && len(glob) > size {
			v, ok, size = one, true, len(glob)
		}
	}
	return v, ok
}

// Texts are the arguments of a call that are texts, each of them, in a fixed order.
func (c *Call) Texts() []provenance.Argument {
	out := make([]provenance.Argument, 0, len(c.Arguments)+len(c.Rest))
	for _, name := range slices.Sorted(maps.Keys(c.Arguments)) {
		switch v := c.Arguments[name].(type) {
		case string:
			out = append(out, provenance.Argument{Name: name, Value: v})
		case []string:
			for _, s := range v {
				out = append(out, provenance.Argument{Name: name, Value: s})
			}
		case int64, Number:
			out = append(out, provenance.Argument{Name: name, Value: fmt.Sprint(v)})
		}
	}
	return append(out, c.Rest...)
}

// tracedSchema is what Cedar may ask of where the values of a call came from.
const tracedSchema = "labels: Set<String>, effect: String, meant: Bool, destinations: Set<String>, links: Set<String>, objects: Set<String>, privileges: Set<String>"

var tracedNames = []string{"labels", "effect", "meant", "destinations", "links", "objects", "privileges"}

// traced gives the context what is known of where values came from. Where nobody looked (what an upstream asks of its
// client, a list of what it offers, an explanation) nothing is: such a call has no values.
func (q *question) traced(c types.RecordMap) {
	f := q.Facts
	if f == nil {
		effect := provenance.Acts
		if q.Call.Class == Read {
			effect = provenance.Reads
		}
		f = &provenance.Facts{Effect: effect, Meant: true}
	}
	labels := make([]types.Value, len(f.Labels))
	for i, l := range f.Labels {
		labels[i] = types.String(l)
	}
	c["labels"], c["effect"], c["meant"] = types.NewSet(labels...), types.String(f.Effect), types.Boolean(f.Meant)
	for i, list := range [4][]provenance.Origin{f.Destinations, f.Links, f.Objects, f.Privileges} {
		values := make([]types.Value, len(list))
		for j, o := range list {
			values[j] = types.String(o)
		}
		c[types.String(tracedNames[3+i])] = types.NewSet(values...)
	}
}

// Traces reports whether any policy that may decide for the identity asks where values came from, so that somebody has to look.
func (s *Set) Traces() bool {
	return s != nil && s.rails != nil && (s.traces || s.rails.traces)
}

// Weighs reports whether any policy that may decide on the call asks what these arguments of it are, or all of them.
func (s *Set) Weighs(r Request, names ...string) bool {
	if s == nil || s.rails == nil {
		return false
	}
	q, err := s.question(&r)
	return err != nil || slices.ContainsFunc([][]rule{s.rules, s.asking, s.rails.rules, s.rails.asking}, func(list []rule) bool {
		return slices.ContainsFunc(list, func(r rule) bool { return r.weighs(names) && r.concerns(&q) })
	})
}

// weighs reports whether the conditions ask for one of these arguments.
func (p *program) weighs(names []string) bool {
	return slices.ContainsFunc(p.args, func(n string) bool { return n == allArgs || slices.Contains(names, n) })
}

// allArgs stands for all arguments, where a policy asks for them as a whole.
const allArgs = ""

// asksFor are the arguments that the conditions of a policy ask for.
func asksFor(p *xast.Policy) (names []string) {
	isArgs := func(n xast.IsNode) bool {
		a, ok := n.(xast.NodeTypeAccess)
		if !ok || a.Value != "args" {
			return false
		}
		v, ok := a.Arg.(xast.NodeTypeVariable)
		return ok && v.Name == "context"
	}
	for _, k := range p.Conditions {
		xast.Inspect(xast.NewNode(k.Body), func(n xast.IsNode) bool {
			switch n := n.(type) {
			case xast.NodeTypeAccess:
				if isArgs(n.Arg) {
					names = append(names, string(n.Value))
					return false
				}
				if v, ok := n.Arg.(xast.NodeTypeVariable); ok && v.Name == "context" {
					if n.Value == "args" {
						names = append(names, allArgs)
					}
					return false
				}
			case xast.NodeTypeHas:
				if isArgs(n.Arg) {
					names = append(names, string(n.Value))
					return false
				}
				if v, ok := n.Arg.(xast.NodeTypeVariable); ok && v.Name == "context" {
					return false
				}
			case xast.NodeTypeVariable:
				if n.Name == "context" {
					names = append(names, allArgs)
				}
			}
			return true
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// traces reports whether the conditions of a policy speak of where values came from, or of the whole context.
func traces(p *xast.Policy) (found bool) {
	for _, k := range p.Conditions {
		xast.Inspect(xast.NewNode(k.Body), func(n xast.IsNode) bool {
			switch n := n.(type) {
			case xast.NodeTypeAccess:
				if v, ok := n.Arg.(xast.NodeTypeVariable); ok && v.Name == "context" {
					found = found || slices.Contains(tracedNames, string(n.Value))
					return false
				}
			case xast.NodeTypeHas:
				if v, ok := n.Arg.(xast.NodeTypeVariable); ok && v.Name == "context" {
					return false
				}
			case xast.NodeTypeVariable:
				found = found || n.Name == "context"
			}
			return !found
		})
	}
	return found
}
