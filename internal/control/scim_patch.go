package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// PATCH (RFC 7644 section 3.5.2), with what Okta and Microsoft Entra ID send beside it: operations in capitals, truth as text, members to remove as a value
// instead of a path, and operations without a path whose members are paths themselves.

// scimOperation is one of a PATCH.
type scimOperation struct {
	op, path string
	value    any
	has      bool // a value
}

const (
	scimOperations = 1000    // in one PATCH
	scimWork       = 1 << 28 // bytes of paths that are held against values, in one PATCH: seconds
	scimLook       = 16      // such bytes that an operation without a path comes to
)

// applyAll does operations to a resource of kept attributes, as far as they do not take long: others wait meanwhile.
func (k *scimKind) applyAll(r map[string]any, ops []scimOperation) error {
	work := 0
	for _, o := range ops {
		for _, v := range r {
			if list, ok := v.([]any); ok {
				work += len(list) * max(len(o.path), scimLook)
			}
		}
		if work > scimWork {
			return &scimError{413, "tooMany", "these operations are too much work for one request, with as many values as there are; send fewer at a time"}
		}
		if err := k.apply(r, o); err != nil {
			return err
		}
	}
	return nil
}

// parseScimPatch reads the body of a PATCH, whose names may be in any case.
func parseScimPatch(body map[string]any) (ops []scimOperation, err error) {
	var list []any
	for name, v := range body {
		if strings.EqualFold(name, "operations") {
			list, _ = v.([]any)
		}
	}
	if len(list) == 0 || len(list) > scimOperations {
		return nil, fmt.Errorf("the Operations are a list of 1 to %d", scimOperations)
	}
	for n, one := range list {
		m, ok := one.(map[string]any)
		var o scimOperation
		for name, v := range m {
			s, text := v.(string)
			switch strings.ToLower(name) {
			case "op":
				o.op = strings.ToLower(s)
			case "path":
				if ok = ok && (text || v == nil); ok {
					o.path = strings.TrimSpace(s)
				}
			case "value":
				o.value, o.has = v, true
			}
		}
		if !ok || !slices.Contains([]string{"add", "replace", "remove"}, o.op) || !o.has && o.op != "remove" {
			return nil, fmt.Errorf("operation %d is no object with op (add, replace or remove), a path that is text, and a value", n+1)
		}
		ops = append(ops, o)
	}
	return ops, nil
}

// apply does one operation to a resource of kept attributes.
func (k *scimKind) apply(r map[string]any, o scimOperation) error {
	if o.path != "" {
		p, err := parseScimPath(o.path, k)
		if err != nil {
			return &scimError{400, "invalidPath", "path " + quoted(o.path) + ": " + err.Error()}
		}
		if p.attr == "" { // the whole schema: its attributes are in the value
			o.path = ""
			return k.apply(r, o)
		}
		return k.applyAt(r, p, o, true)
	}
	value, ok := o.value.(map[string]any)
	if o.op == "remove" || !ok {
		return &scimError{400, "noTarget", "an operation without a path needs an object of attributes, and remove a path"}
	}
	for _, name := range slices.Sorted(maps.Keys(value)) {
		p, err := parseScimPath(name, k)
		if err != nil {
			return &scimError{400, "invalidPath", quoted(name) + ": " + err.Error()}
		}
		one := scimOperation{op: o.op, value: value[name], has: true}
		if p.attr == "" {
			one.path = ""
			err = k.apply(r, one)
		} else {
			err = k.applyAt(r, p, one, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// applyAt does it at a path. What nobody can change is refused where it is named, and passed over among others.
func (k *scimKind) applyAt(r map[string]any, p scimPath, o scimOperation, named bool) error {
	if p.attr == "externalId" {
		s, ok := o.value.(string)
		if o.op == "remove" || o.value == nil || s == "" && ok {
			delete(r, p.attr)
		} else if r[p.attr] = s; !ok {
			return &scimError{400, "invalidValue", "externalId is a text"}
		}
		return nil
	}
	a, ok := k.find(p.attr)
	switch {
	case ok && a.Mutability != readOnly:
	case strings.Contains(p.attr, ":"), k.known(p.attr): // not kept
		return nil
	case !ok && !slices.Contains(scimCommon, p.attr) && named:
		return &scimError{400, "invalidPath", "a " + k.noun + " has no attribute " + quoted(p.attr)}
	case named:
		return &scimError{400, "mutability", p.attr + " is not to be changed"}
	default:
		return nil
	}
	if o.op == "remove" && a.Required && p.pick == nil && p.sub == "" && o.value == nil {
		return &scimError{400, "mutability", a.Name + " is needed; replace it instead"}
	}
	if a.Type == "boolean" && (o.op == "remove" || o.value == nil) {
		return &scimError{400, "invalidValue", a.Name + " is true or false"}
	}
	if a.Multi {
		return k.applyMany(r, a, p, o)
	}
	if p.pick != nil {
		return &scimError{400, "invalidPath", a.Name + " has one value; [ ] is for lists"}
	}
	if p.sub != "" {
		whole, _ := r[a.Name].(map[string]any)
		whole = maps.Clone(whole)
		if whole == nil {
			whole = map[string]any{}
		}
		if err := k.setPart(a, whole, p.sub, o); err != nil {
			return err
		}
		if r[a.Name] = whole; len(whole) == 0 {
			delete(r, a.Name)
		}
		return nil
	}
	if o.op == "remove" {
		delete(r, a.Name)
		return nil
	}
	value, err := k.value(a, o.value)
	if err != nil {
		return &scimError{400, "invalidValue", err.Error()}
	}
	if parts, ok := value.(map[string]any); ok { // what it does not name stays
		whole, _ := r[a.Name].(map[string]any)
		whole = maps.Clone(whole)
		if whole == nil {
			whole = map[string]any{}
		}
		maps.Copy(whole, parts)
		value = whole
	}
	if r[a.Name] = value; value == nil {
		delete(r, a.Name)
	}
	return nil
}

// setPart changes one part of an object.
func (k *scimKind) setPart(a scimAttribute, whole map[string]any, sub string, o scimOperation) error {
	n := slices.IndexFunc(a.Parts, func(p scimAttribute) bool { return p.Name == sub })
	switch {
	case n < 0:
		return &scimError{400, "invalidPath", a.Name + " has no part " + quoted(sub)}
	case a.Parts[n].Mutability == readOnly:
		return &scimError{400, "mutability", a.Name + "." + sub + " is not to be changed"}
	case o.op == "remove":
		delete(whole, sub)
		return nil
	}
	v, err := scimSimple(a.Parts[n], o.value)
	if err != nil {
		return &scimError{400, "invalidValue", a.Name + "." + err.Error()}
	}
	if whole[sub] = v; v == nil {
		delete(whole, sub)
	}
	return nil
}

// applyMany does it to a list.
func (k *scimKind) applyMany(r map[string]any, a scimAttribute, p scimPath, o scimOperation) error {
	list, _ := r[a.Name].([]any)
	var given []any
	if o.has && o.value != nil && p.sub == "" {
		v, err := k.value(a, o.value)
		if err != nil {
			return &scimError{400, "invalidValue", err.Error()}
		}
		given, _ = v.([]any)
	}
	var out []any
	switch {
	case p.pick == nil && p.sub == "" && o.op == "replace":
		out = onePrimary(given)
	case p.pick == nil && p.sub == "" && o.op == "add":
		out = slices.Clone(list)
		have := valuesOf(list)
		for _, g := range given {
			n, ok := have[g.(map[string]any)["value"]]
			if ok {
				whole := maps.Clone(out[n].(map[string]any))
				maps.Copy(whole, g.(map[string]any))
				out[n] = whole
			} else {
				out = append(out, g)
				have[g.(map[string]any)["value"]] = len(out) - 1
			}
		}
		out = onePrimary(out, given...)
	case p.pick == nil && p.sub == "" && len(given) > 0: // Entra names whom to take out in the value
		cut := valuesOf(given)
		out = slices.DeleteFunc(slices.Clone(list), func(v any) bool { _, ok := cut[v.(map[string]any)["value"]]; return ok })
	case p.pick == nil && p.sub == "":
	default:
		matched := false
		for _, v := range list {
			one := v.(map[string]any)
			if p.pick != nil && !p.pick.match(one) {
				out = append(out, one)
				continue
			}
			matched = true
			if one = maps.Clone(one); p.sub != "" {
				if err := k.setPart(a, one, p.sub, o); err != nil {
					return err
				}
			} else if o.op == "remove" {
				continue
			} else if len(given) == 1 {
				maps.Copy(one, given[0].(map[string]any))
			}
			if one["value"] != nil { // without, nothing is left of it
				out = append(out, one)
			}
		}
		if !matched && o.op != "remove" {
			one, ok := made(p.pick)
			if o.op != "add" || !ok {
				return &scimError{400, "noTarget", "no value of " + a.Name + " is meant by the path"}
			}
			if p.sub != "" {
				if err := k.setPart(a, one, p.sub, o); err != nil {
					return err
				}
			} else if len(given) == 1 {
				maps.Copy(one, given[0].(map[string]any))
			}
			if _, ok := one["value"]; ok {
				out = append(out, one)
			}
		}
	}
	if r[a.Name] = out; len(out) == 0 {
		delete(r, a.Name)
	}
	return nil
}

// valuesOf are where the values of a list stand.
func valuesOf(list []any) map[any]int {
	at := map[any]int{}
	for n, v := range list {
		at[v.(map[string]any)["value"]] = n
	}
	return at
}

// onePrimary leaves one primary value (RFC 7643 section 2.4): the last of those that are given now, if one of them is.
func onePrimary(list []any, given ...any) []any {
	var last any
	for _, g := range append(slices.Clone(list), given...) {
		if m := g.(map[string]any); m["primary"] == true {
			last = m["value"]
		}
	}
	out := make([]any, 0, len(list))
	for _, v := range list {
		if m := v.(map[string]any); m["primary"] == true && m["value"] != last {
			m = maps.Clone(m)
			m["primary"] = false
			v = m
		}
		out = append(out, v)
	}
	return out
}

// made is the value that a filter like type eq "work" and primary eq true is true of.
func made(f scimFilter) (map[string]any, bool) {
	switch f := f.(type) {
	case nil:
		return map[string]any{}, true
	case scimAnd:
		a, ok := made(f.a)
		b, ok2 := made(f.b)
		maps.Copy(a, b)
		return a, ok && ok2
	case scimTest:
		if f.op == "eq" && f.want != nil && f.path.pick == nil && f.path.sub == "" {
			return map[string]any{f.path.attr: f.want}, true
		}
	}
	return map[string]any{}, false
}

func quoted(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return fmt.Sprintf("%q", s)
}
