package connector

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Operation is one row of a [Table]: how a request looks, and what it means.
type Operation struct {
	Method     string
	Path       string        // template: "/gmail/v1/users/{userId}/messages/send", see [Table]
	Action     policy.Action // its Parameters are filled in by NewTable
	Resource   string        // template of the same parameters; empty means Path without its first slash
	Parameters []Parameter   // of the query; of the path only those that are not plain strings
	OpenQuery  bool          // query parameters that are not listed pass unread, instead of being refused
}

// Parameter is what one parameter of a request may hold.
type Parameter struct {
	Name     string
	Path     bool // it stands in the path, not in the query
	Type     Type
	Min, Max int64    // of an Integer; both 0 means all of int64
	Enum     []string // all it may be, if not empty
	Repeated bool     // a set: name=a&name=b
	Commas   bool     // with Repeated: name=a,b instead
	Silent   bool     // checked, but no argument: it changes how the reply looks, not what it says
	Refused  string   // why it may not be used at all
}

// Type is what the text of a parameter must be.
type Type byte

const (
	String  Type = iota
	Integer      // canonical decimal: no plus sign, no leading zeros
	Boolean      // true or false, and no other spelling
)

func (p Parameter) kind() string {
	switch {
	case p.Repeated:
		return "strings"
	case p.Type == Integer:
		return "integer"
	case p.Type == Boolean:
		return "boolean"
	}
	return "string"
}

// Limits of one description, so that opening it and looking things up stay quick.
const (
	maxOperations = 5000
	maxSegments   = 32
	maxParameters = 256
)

// Table recognises requests by method and path. Families make their connectors of it.
//
// A path template is literal text with parameters: {id} is one segment or, with
// literal text around it, part of one ({id}:archive); {name=shelves/*/books/*} is
// the segments of that form, * being any one of them and ** all that follow, as
// in google.api.http; {+name} of RFC 6570 is {name=**}.
//
// Where two templates fit a path, the one that is literal where the other is not
// is meant, whatever the method: a method that it lacks is not looked for in the
// other. Templates that leave open which is meant are refused by [NewTable].
type Table struct {
	root    node
	actions []policy.Action
}

var _ Connector = (*Table)(nil)

// row is an Operation made ready.
type row struct {
	action   string
	class    policy.Class
	word     string // the first of its action's
	captures []capture
	path     []*parameter // by capture
	resource []part
	query    map[string]*parameter
	open     bool
}

// part is a piece of a resource: text, or what capture number n holds.
type part struct {
	text string
	n    int // -1: text
}

// NewTable makes a Table, or says which operations are at odds.
func NewTable(operations []Operation) (*Table, error) {
	if len(operations) > maxOperations {
		return nil, fmt.Errorf("%d operations: the limit is %d", len(operations), maxOperations)
	}
	t, known := &Table{}, map[string]*policy.Action{}
	var leaves []*leaf
	for _, o := range operations {
		tpl, err := parseTemplate(o.Path)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.Method, o.Path, err)
		}
		r, err := newRow(o, tpl, known)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.Method, o.Path, err)
		}
		l, fresh := t.root.add(tpl)
		if fresh {
			leaves = append(leaves, l)
		}
		if l.rows[o.Method] != nil {
			return nil, fmt.Errorf("%s %s is ambiguous: %s %s has the same form", o.Method, o.Path, o.Method, l.template.text)
		}
		l.rows[o.Method] = r
	}
	if err := crossings(leaves); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		t.actions = append(t.actions, *known[name])
	}
	return t, nil
}

// crossings refuses pairs of templates that both fit some path, while neither is the more literal one throughout.
func crossings(leaves []*leaf) error {
	for i, a := range leaves {
		for _, b := range leaves[:i] {
			if a.template.relation(b.template) == crossing {
				return fmt.Errorf("%s and %s are ambiguous: a path can have both forms", b.template.text, a.template.text)
			}
		}
	}
	return nil
}

func newRow(o Operation, tpl template, known map[string]*policy.Action) (*row, error) {
	if !method(o.Method) {
		return nil, fmt.Errorf("method %q: use one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", o.Method)
	}
	if err := checkAction(o.Action); err != nil {
		return nil, err
	}
	r := &row{action: o.Action.Name, class: o.Action.Class, captures: tpl.captures, open: o.OpenQuery, query: map[string]*parameter{}}
	if len(o.Action.Words) > 0 {
		r.word = o.Action.Words[0]
	}
	byName := map[string]*parameter{}
	for _, c := range tpl.captures {
		p := newParameter(Parameter{Name: c.name, Path: true})
		byName[c.name], r.path = p, append(r.path, p)
	}
	for i, given := range o.Parameters {
		p := newParameter(given)
		p.index = i
		switch at := byName[given.Name]; {
		case i >= maxParameters:
			return nil, fmt.Errorf("more than %d parameters", maxParameters)
		case given.Path && at == nil:
			return nil, fmt.Errorf("path parameter %q does not stand in the path", given.Name)
		case given.Path && given.Repeated:
			return nil, fmt.Errorf("path parameter %q is repeated: that is not supported", given.Name)
		case given.Path:
			*at = *p
		case at != nil:
			return nil, fmt.Errorf("parameter %q stands in the path and in the query", given.Name)
		case r.query[given.Name] != nil:
			return nil, fmt.Errorf("parameter %q is described twice", given.Name)
		default:
			r.query[given.Name] = p
		}
	}
	if err := r.setResource(o, tpl); err != nil {
		return nil, err
	}
	return r, r.describe(o, known)
}

func checkAction(a policy.Action) error {
	switch a.Class {
	case policy.Read, policy.Write, policy.Delete, policy.Admin:
	default:
		return fmt.Errorf("action %s: class %q: use one of read, write, delete, admin", a.Name, a.Class)
	}
	if a.Name == "" {
		return fmt.Errorf("the action has no name")
	}
	return nil
}

func method(m string) bool {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return true
	}
	return false
}

// setResource compiles the template of the resource. Without one of its own it is the path's.
func (r *row) setResource(o Operation, tpl template) error {
	text := o.Resource
	if text == "" {
		text = resourceOf(o.Path)
	}
	text = strings.TrimPrefix(text, "/")
	for text != "" {
		before, rest, ok := strings.Cut(text, "{")
		if before != "" {
			r.resource = append(r.resource, part{before, -1})
		}
		if !ok {
			return nil
		}
		name, after, ok := strings.Cut(rest, "}")
		n := slices.IndexFunc(tpl.captures, func(c capture) bool { return c.name == name })
		if !ok || n < 0 {
			return fmt.Errorf("resource %s: the path has no parameter {%s}", o.Resource, name)
		}
		r.resource, text = append(r.resource, part{"", n}), after
	}
	return nil
}

// resourceOf is the path with every {name=...} and {+name} written {name}.
func resourceOf(path string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(path, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		inner, after, _ := strings.Cut(rest, "}")
		name, _, _ := strings.Cut(strings.TrimPrefix(inner, "+"), "=")
		b.WriteString("{" + name + "}")
		path = after
	}
}

// describe adds the row to what is known of its action: an action may have several rows, such as an upload path.
func (r *row) describe(o Operation, known map[string]*policy.Action) error {
	a := known[o.Action.Name]
	if a == nil {
		a = &policy.Action{Name: o.Action.Name, Class: o.Action.Class, Words: o.Action.Words, Summary: o.Action.Summary}
		known[a.Name] = a
	}
	if a.Class != o.Action.Class {
		return fmt.Errorf("action %s is both %s and %s", a.Name, a.Class, o.Action.Class)
	}
	all := slices.Clone(r.path)
	for _, name := range slices.Sorted(maps.Keys(r.query)) {
		if p := r.query[name]; !p.Silent && p.Refused == "" {
			all = append(all, p)
		}
	}
	for _, p := range all {
		n := slices.IndexFunc(a.Parameters, func(q policy.Parameter) bool { return q.Name == p.Name })
		if n < 0 {
			a.Parameters = append(a.Parameters, policy.Parameter{Name: p.Name, Type: p.kind()})
		} else if a.Parameters[n].Type != p.kind() {
			return fmt.Errorf("action %s: parameter %q is both %s and %s", a.Name, p.Name, a.Parameters[n].Type, p.kind())
		}
	}
	return nil
}

// Actions lists every action once, by name. It is the caller's to keep.
func (t *Table) Actions() []policy.Action { return slices.Clone(t.actions) }

// Recognise says which row r is and what its parameters hold.
func (t *Table) Recognise(r *Request) (policy.Call, error) {
	var p path
	if err := p.parse(r.Path); err != nil {
		return policy.Call{}, err
	}
	l := t.root.find(&p, 0)
	if l == nil {
		return policy.Call{}, unrecognised("there is no such path")
	}
	row := l.rows[r.Method]
	if row == nil {
		return policy.Call{}, unrecognised("%s takes %s", l.template.text, strings.Join(slices.Sorted(maps.Keys(l.rows)), ", "))
	}
	call := policy.Call{Action: row.action, Class: row.class, Word: row.word}
	n := len(row.captures)
	if r.Query != "" {
		n += 1 + strings.Count(r.Query, "&")
	}
	if n > 0 {
		call.Arguments = make(map[string]any, min(n, maxParameters))
	}
	var held [maxSegments]string
	for i, c := range row.captures {
		held[i] = c.of(&p)
		v, err := row.path[i].value(held[i])
		if err != nil {
			return policy.Call{}, err
		}
		call.Arguments[c.name] = v
	}
	if err := row.arguments(r.Query, call.Arguments); err != nil {
		return policy.Call{}, err
	}
	var buf [256]byte
	b := buf[:0]
	for _, part := range row.resource {
		if part.n < 0 {
			b = append(b, part.text...)
		} else {
			b = append(b, held[part.n]...)
		}
	}
	call.Resource = string(b)
	return call, nil
}

func unrecognised(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnrecognised}, args...)...)
}

// shown is a caller's text, short and quoted.
func shown(s string) string { return fmt.Sprintf("%+q", s[:min(len(s), 60)]) }
