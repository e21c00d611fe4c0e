package policy

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

// Compile checks a grant against what its upstream can do and, for the plain
// form, fills in the Cedar that it means. Errors name the field and say what to do.
func Compile(g Grant, d Described) (Grant, error) {
	if g.Upstream != d.Upstream.Name {
		return g, fmt.Errorf("upstream %q is not %q", g.Upstream, d.Upstream.Name)
	}
	if err := d.check(); err != nil {
		return g, err
	}
	if err := g.text(); err != nil {
		return g, err
	}
	if g.Until.IsZero() {
		return g, errors.New("until: a grant needs an end date")
	}
	if g.Record != "" && g.Record != "before" && g.Record != "within" {
		return g, fmt.Errorf("record %q: use before (durable before the reply) or within (100 ms)", g.Record)
	}
	if _, err := g.approve(); err != nil {
		return g, err
	}
	if g.Plain {
		text, err := g.plain(d)
		if err != nil {
			return g, err
		}
		g.Cedar = text
	} else if len(g.Actions)+len(g.Resources)+len(g.Where) > 0 || g.ForOthers {
		return g, errors.New("cedar: give either cedar or the plain fields (actions, resources, conditions, only_for_others), not both")
	}
	if err := g.layered(d); err != nil {
		return g, err
	}
	policies, err := parseList(g.Cedar)
	if err != nil {
		return g, fmt.Errorf("cedar: %w", err)
	}
	for _, p := range policies {
		if p.Effect() != cedar.Permit {
			return g, fmt.Errorf("cedar: %w", errForbids)
		}
		if err := g.scoped(p.AST()); err != nil {
			return g, fmt.Errorf("cedar: %w", err)
		}
	}
	if err := approvals(policies); err != nil {
		return g, fmt.Errorf("cedar: %w", err)
	}
	if err := validateAll(policies, d); err != nil {
		return g, fmt.Errorf("cedar: %w", err)
	}
	return g, nil
}

// layered checks the layers, which only what has mail, files or events can keep.
func (g Grant) layered(d Described) error {
	if g.Layers == nil {
		return nil
	}
	if _, err := layer.New(*g.Layers); err != nil {
		return fmt.Errorf("layers.%w", err)
	}
	if g.Layers.Zero() {
		return errors.New("layers: they hold nothing back; say what they are to, or leave them away")
	}
	if !slices.ContainsFunc(d.Actions, func(a Action) bool { return len(a.Words) > 0 }) {
		return fmt.Errorf("layers: %s has no mail, files or events that they could hold back; leave them away", d.Upstream.Name)
	}
	return nil
}

// text refuses what Cedar could not hold as it is written.
func (g Grant) text() error {
	check := func(field string, list ...string) error {
		for _, s := range list {
			if !utf8.ValidString(s) {
				return fmt.Errorf("%s: %q is not UTF-8", field, s)
			}
		}
		return nil
	}
	if slices.Contains(g.Resources, "") {
		return errors.New("resources: an empty pattern covers nothing; leave the list away to cover all, or write users/me/*")
	}
	err := cmp.Or(check("id", g.ID), check("actions", g.Actions...), check("resources", g.Resources...))
	for name, c := range g.Where {
		err = cmp.Or(err, check("conditions", name), check("conditions."+name, append([]string{c.Is, c.Like}, c.OneOf...)...))
	}
	return err
}

// scoped refuses a policy for another identity or another upstream: it would never
// apply, and who wrote it meant something else.
func (g Grant) scoped(p *ast.Policy) error {
	self := types.NewEntityUID(principalType(g.Identity.Kind()), types.String(g.Identity.String()))
	s, err := compileScope((*xast.Policy)(p).Principal)
	if err != nil {
		return err
	}
	if !s.covers(self, types.EntityUID{}, types.EntityUID{}) {
		return fmt.Errorf("its principal is not this grant's identity; write principal, or principal == %s", self)
	}
	if s, err = compileScope((*xast.Policy)(p).Resource); err != nil {
		return err
	}
	for _, in := range s.in {
		ok := in.Type == upstreamType && string(in.ID) == g.Upstream || in.Type == resourceType && strings.HasPrefix(string(in.ID), g.Upstream+"/")
		if !ok {
			return fmt.Errorf("resource %s is not of upstream %s; write resource, or resource in %s::%s", in, g.Upstream, upstreamType, quote(g.Upstream))
		}
	}
	return nil
}

var (
	errForbids = errors.New("a grant can only permit; to forbid, write a guardrail")
	errPermits = errors.New("a guardrail can only forbid; to permit, write a grant")
)

func parseList(text string) (cedar.PolicyList, error) {
	list, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("no policy")
	}
	return list, nil
}

// CompileGuardrail checks a guardrail against all that can be done on the upstreams.
func CompileGuardrail(g Guardrail, upstreams ...Described) error {
	policies, err := parseList(g.Cedar)
	if err != nil {
		return fmt.Errorf("cedar: %w", err)
	}
	for _, p := range policies {
		if p.Effect() != cedar.Forbid {
			return fmt.Errorf("cedar: %w", errPermits)
		}
	}
	if err := approvals(policies); err != nil {
		return fmt.Errorf("cedar: %w", err)
	}
	if err := validateAll(policies, upstreams...); err != nil {
		return fmt.Errorf("cedar: %w", err)
	}
	return nil
}

// plain is the Cedar that the plain fields mean.
func (g Grant) plain(d Described) (string, error) {
	selected, err := g.selected(d)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.Write(g.head(nil))
	b.WriteString("action in [")
	for i, name := range g.actionNames(selected) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s::%s", actionType, quote(name))
	}
	fmt.Fprintf(&b, "],\n  resource in %s::%s\n) %s", upstreamType, quote(g.Upstream), g.when(nil))
	if len(g.Resources) > 0 {
		b.WriteString(" &&\n  (")
		for i, r := range g.Resources {
			if i > 0 {
				b.WriteString(" || ")
			}
			fmt.Fprintf(&b, "resource.path like %s", quote(r))
		}
		b.WriteString(")")
	}
	if g.ForOthers {
		b.WriteString(" &&\n  context.for_others")
	}
	names := make([]string, 0, len(g.Where))
	for name := range g.Where {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := g.Where[name].write(&b, name, selected); err != nil {
			return "", fmt.Errorf("conditions.%s: %w", name, err)
		}
	}
	b.WriteString("\n};\n")
	return b.String(), nil
}

// head and when are what a plain grant's Cedar has of its own; the rest it has in common with others. They are added to b.
func (g *Grant) head(b []byte) []byte {
	for _, a := range [...][2]string{{"id", g.ID}, {"record", g.Record}, {"approve", g.Approve}, {"fresh", g.Fresh}} {
		if a[1] != "" || a[0] == "id" {
			b = append(append(append(b, '@'), a[0]...), '(')
			b = append(appendQuoted(b, a[1]), ")\n"...)
		}
	}
	b = append(append(b, "permit (\n  principal == "...), principalType(g.Identity.Kind())...)
	return append(appendQuoted(append(b, "::"...), g.Identity.String()), ",\n  "...)
}

// conditions is how a grant's conditions begin. No quoted text holds a line break, so it is in the Cedar once.
const conditions = "when {\n  "

func (g *Grant) when(b []byte) []byte {
	b = append(b, conditions+`context.now < datetime("`...)
	return append(g.Until.UTC().AppendFormat(b, "2006-01-02T15:04:05Z"), `")`...)
}

// Common is the Cedar that g has in common with all grants alike but for id,
// identity, end date, record and who approves, all of which a [Set] minds by itself: a million
// identities of ten sorts have ten such texts. It decides as g's own Cedar does,
// in the Set of g's identity.
func (g Grant) Common() string { return string(g.AppendCommon(nil)) }

// AppendCommon adds what [Grant.Common] returns to b.
func (g *Grant) AppendCommon(b []byte) []byte {
	if scope, rest, ok := g.cut(b); ok {
		b = append(append(b, "permit (\n  principal,\n  "...), scope...)
		return append(append(b, conditions+"true"...), rest...)
	}
	return append(b, g.Cedar...)
}

// cut is the Cedar of a plain grant without what is its own, which is made behind b and compared.
func (g *Grant) cut(b []byte) (scope, rest string, ok bool) {
	own := g.head(b)[len(b):]
	if !g.Plain || len(own) > len(g.Cedar) || g.Cedar[:len(own)] != string(own) {
		return "", "", false
	}
	scope, rest = g.Cedar[len(own):], ""
	own = g.when(b)[len(b):]
	i := strings.Index(scope, conditions)
	if i < 0 || len(own) > len(scope)-i || scope[i:i+len(own)] != string(own) {
		return "", "", false
	}
	return scope[:i], scope[i+len(own):], true
}

// selected returns the upstream's actions that the grant's action words name.
func (g Grant) selected(d Described) ([]Action, error) {
	if len(g.Actions) == 0 {
		return nil, errors.New("actions: name at least one class (read, write, delete, admin) or action")
	}
	var out []Action
	for _, word := range g.Actions {
		found := false
		for _, a := range d.Actions {
			if selects(word, d.Upstream, a) {
				found = true
				out = append(out, a)
			}
		}
		if !found && !slices.Contains(Classes, Class(word)) {
			return nil, fmt.Errorf("actions: %s has no action %q%s", d.Upstream.Name, word, suggest(word, d.Actions, ofDescription))
		}
	}
	return out, nil
}

func selects(word string, u Upstream, a Action) bool {
	if word == string(ClassOf(u, a)) || word == a.Name || slices.Contains(a.Words, word) {
		return true
	}
	return slices.ContainsFunc(append([]string{a.Name}, a.Words...), func(name string) bool { ok, _ := path.Match(word, name); return ok })
}

// actionNames is what stands in the Cedar: classes as they are, patterns as what they select today.
func (g Grant) actionNames(selected []Action) []string {
	var names []string
	for _, word := range g.Actions {
		if !strings.ContainsAny(word, "*?[") {
			names = append(names, word)
			continue
		}
		for _, a := range selected {
			for _, name := range append([]string{a.Name}, a.Words...) {
				if ok, _ := path.Match(word, name); ok && !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// ofDescription is what can be said where no action is like what was written.
const ofDescription = "; use read, write, delete, admin or an action of its description"

// suggest names the action that shares the most with a word nobody knows: whole parts of its name, or what they begin with. Where none
// shares any it says otherwise.
func suggest(word string, actions []Action, otherwise string) string {
	parts := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == '.' || r == '*' || r == '-' || r == '_' })
	}
	best, most := "", 2
	for _, a := range actions {
		n, of := 0, parts(a.Name)
		for _, part := range parts(word) {
			if slices.ContainsFunc(of, func(p string) bool { return strings.HasPrefix(p, part) }) {
				n += len(part)
			}
		}
		if n > most {
			best, most = a.Name, n
		}
	}
	if best == "" {
		return otherwise
	}
	return "; did you mean " + best + "?"
}

func (c Condition) write(b *strings.Builder, name string, selected []Action) error {
	kind := ""
	for _, a := range selected {
		for _, p := range a.Parameters {
			if p.Name == name {
				if kind != "" && kind != p.Type {
					return fmt.Errorf("is %s in one action and %s in another; make two grants", kind, p.Type)
				}
				kind = p.Type
			}
		}
	}
	if kind == "" {
		return fmt.Errorf("none of the actions has this argument; they have %s", arguments(selected))
	}
	attr := "context.args[" + quote(name) + "]"
	tests, err := c.tests(attr, kind)
	if err != nil {
		return err
	}
	if len(tests) == 0 {
		return errors.New("say what must hold: is, one_of, like, min or max")
	}
	fmt.Fprintf(b, " &&\n  context.args has %s && %s", quote(name), strings.Join(tests, " && "))
	return nil
}

// arguments lists what can be tested of the actions.
func arguments(selected []Action) string {
	var names []string
	for _, a := range selected {
		for _, p := range a.Parameters {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return "none"
	}
	if len(names) > 12 {
		names = append(names[:12], fmt.Sprintf("%d more", len(names)-12))
	}
	return strings.Join(names, ", ")
}

func (c Condition) tests(attr, kind string) (tests []string, err error) {
	write := func(s string) (string, error) {
		switch kind {
		case "number":
			return literal(s)
		case "integer":
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return "", fmt.Errorf("%q is no whole number", s)
			}
			return strconv.FormatInt(n, 10), nil
		case "boolean":
			if s != "true" && s != "false" {
				return "", fmt.Errorf("%q is neither true nor false", s)
			}
			return s, nil
		}
		return quote(s), nil
	}
	list := c.OneOf
	if c.Is != "" {
		list = append([]string{c.Is}, list...)
		if len(c.OneOf) > 0 {
			return nil, errors.New("give is or one_of, not both")
		}
	}
	if len(list) > 0 {
		var set []string
		for _, s := range list {
			l, err := write(s)
			if err != nil {
				return nil, err
			}
			set = append(set, l)
		}
		method := "contains"
		if kind == "strings" {
			method = "containsAll" // every value that is asked for must be in the list
		}
		tests = append(tests, fmt.Sprintf("[%s].%s(%s)", strings.Join(set, ", "), method, attr))
	}
	if c.Like != "" {
		if kind != "string" {
			return nil, fmt.Errorf("like is for text, and this argument is of type %s", kind)
		}
		tests = append(tests, attr+" like "+quote(c.Like))
		if strings.Contains(c.Like, "/") && strings.Contains(c.Like, "*") { // a path must not lead out of where the pattern says
			tests = append(tests, "!("+attr+` like "*..*")`, "!("+attr+` like "*%2e*")`, "!("+attr+` like "*%2E*")`)
		}
	}
	for _, limit := range []struct {
		v                *float64
		operator, method string
	}{{c.Min, ">=", "greaterThanOrEqual"}, {c.Max, "<=", "lessThanOrEqual"}} {
		if limit.v == nil {
			continue
		}
		l, err := bound(*limit.v, kind)
		switch {
		case err != nil:
			return nil, err
		case kind == "number": // decimals have methods, not operators
			tests = append(tests, attr+"."+limit.method+"("+l+")")
		default:
			tests = append(tests, attr+" "+limit.operator+" "+l)
		}
	}
	return tests, nil
}
