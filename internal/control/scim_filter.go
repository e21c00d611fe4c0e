package control

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Filters and paths of SCIM (RFC 7644 sections 3.4.2.2 and 3.5.2), and the form of a filter that Microsoft Entra ID has beside them:
// emails[type eq "work"].value eq "x". They are read here, because the parser there is for Go knows neither that nor escapes.

const (
	scimLongest = 4096 // bytes of a filter or a path
	scimDeepest = 20   // parentheses within each other
)

// scimPath is an attribute, some of its values, and a part of those: urn:…:User:emails[type eq "work"].value.
type scimPath struct {
	urn, attr, sub string
	pick           scimFilter // nil: all values
}

// scimFilter reports whether a resource, or one value of an attribute, is meant.
type scimFilter interface {
	match(r map[string]any) bool
}

type (
	scimAnd struct{ a, b scimFilter }
	scimOr  struct{ a, b scimFilter }
	scimNot struct{ f scimFilter }
	// scimTest compares an attribute; without an op it asks whether some value is picked.
	scimTest struct {
		path scimPath
		op   string // eq ne co sw ew gt ge lt le pr; "" for attr[filter]
		want any    // string, float64, bool or nil
	}
)

func (f scimAnd) match(r map[string]any) bool { return f.a.match(r) && f.b.match(r) }
func (f scimOr) match(r map[string]any) bool  { return f.a.match(r) || f.b.match(r) }
func (f scimNot) match(r map[string]any) bool { return !f.f.match(r) }

func (f scimTest) match(r map[string]any) bool {
	values := f.path.values(r)
	switch f.op {
	case "", "pr":
		return slices.ContainsFunc(values, func(v any) bool { return v != nil && v != "" })
	case "ne":
		return !scimTest{f.path, "eq", f.want}.match(r)
	}
	exact := f.path.attr == "id" || f.path.attr == "externalId" || f.path.attr == "meta" || f.path.attr == "members"
	for _, v := range values {
		if scimCompare(f.op, v, f.want, exact) {
			return true
		}
	}
	return f.op == "eq" && f.want == nil && len(values) == 0
}

func scimCompare(op string, have, want any, exact bool) bool {
	switch a := have.(type) {
	case string:
		b, ok := want.(string)
		if !ok {
			return false
		}
		if !exact {
			a, b = strings.ToLower(a), strings.ToLower(b)
		}
		switch op {
		case "eq":
			return a == b
		case "co":
			return strings.Contains(a, b)
		case "sw":
			return strings.HasPrefix(a, b)
		case "ew":
			return strings.HasSuffix(a, b)
		case "gt":
			return a > b
		case "ge":
			return a >= b
		case "lt":
			return a < b
		case "le":
			return a <= b
		}
	case bool:
		switch b := want.(type) {
		case bool:
			return op == "eq" && a == b
		case string: // Entra writes truth as "True"
			return op == "eq" && strings.EqualFold(b, strconv.FormatBool(a))
		}
	}
	return false
}

// values are those that a path names in a resource.
func (p scimPath) values(r map[string]any) (list []any) {
	v, ok := r[p.attr]
	if !ok {
		return nil
	}
	many, multi := v.([]any)
	if !multi {
		many = []any{v}
	}
	for _, one := range many {
		parts, complex := one.(map[string]any)
		if p.pick != nil && !(complex && p.pick.match(parts)) {
			continue
		}
		switch {
		case complex && p.sub != "":
			if s, ok := parts[p.sub]; ok {
				list = append(list, s)
			}
		case complex && multi && p.pick == nil: // emails eq "x" means their values
			list = append(list, parts["value"])
		case p.sub == "":
			list = append(list, one)
		}
	}
	return list
}

// scimReader reads a filter or a path from left to right.
type scimReader struct {
	s     string
	at    int
	depth int
	kind  *scimKind // whose attributes there are
	in    string    // the attribute whose parts are meant, within brackets
}

func (r *scimReader) wrong(format string, args ...any) error {
	return fmt.Errorf("at character %d: %s", r.at+1, fmt.Sprintf(format, args...))
}

// parseScimFilter reads a filter of a kind of resource.
func parseScimFilter(s string, kind *scimKind) (f scimFilter, err error) {
	r := &scimReader{s: s, kind: kind}
	if len(s) > scimLongest || !utf8.ValidString(s) {
		return nil, r.wrong("a filter is UTF-8, %d bytes at most", scimLongest)
	}
	if f, err = r.or(); err == nil && r.peek() != "" {
		err = r.wrong("nothing is expected after the filter")
	}
	return f, err
}

// parseScimPath reads the path of a PATCH operation.
func parseScimPath(s string, kind *scimKind) (p scimPath, err error) {
	r := &scimReader{s: s, kind: kind}
	if len(s) > scimLongest || !utf8.ValidString(s) {
		return p, r.wrong("a path is UTF-8, %d bytes at most", scimLongest)
	}
	if p, err = r.path(); err == nil && r.peek() != "" {
		err = r.wrong("nothing is expected after the path")
	}
	return p, err
}

func (r *scimReader) space() {
	for r.at < len(r.s) && (r.s[r.at] == ' ' || r.s[r.at] == '\t') {
		r.at++
	}
}

// peek is the next word, or character that is none; "" at the end.
func (r *scimReader) peek() string {
	r.space()
	end := r.at
	for end < len(r.s) && wordly(r.s[end]) {
		end++
	}
	if end == r.at && end < len(r.s) {
		end++
	}
	return r.s[r.at:end]
}

// wordly are the characters of attribute names, with those of URNs before them.
func wordly(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == ':' || c == '.' || c == '$' || c == '+'
}

// take goes on if the next word is that one, in any case.
func (r *scimReader) take(word string) bool {
	next := r.peek()
	if !strings.EqualFold(next, word) {
		return false
	}
	r.at += len(next)
	return true
}

func (r *scimReader) or() (scimFilter, error) {
	if r.depth++; r.depth > scimDeepest {
		return nil, r.wrong("there are more than %d parentheses within each other", scimDeepest)
	}
	defer func() { r.depth-- }()
	f, err := r.and()
	for err == nil && r.take("or") {
		var b scimFilter
		b, err = r.and()
		f = scimOr{f, b}
	}
	return f, err
}

func (r *scimReader) and() (scimFilter, error) {
	f, err := r.term()
	for err == nil && r.take("and") {
		var b scimFilter
		b, err = r.term()
		f = scimAnd{f, b}
	}
	return f, err
}

func (r *scimReader) term() (scimFilter, error) {
	not := r.take("not")
	if not || r.peek() == "(" {
		if !r.take("(") {
			return nil, r.wrong("( is expected after not")
		}
		f, err := r.or()
		if err == nil && !r.take(")") {
			err = r.wrong(") is expected")
		}
		if not {
			f = scimNot{f}
		}
		return f, err
	}
	p, err := r.path()
	if err != nil {
		return nil, err
	}
	op := strings.ToLower(r.peek())
	switch {
	case slices.Contains([]string{"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"}, op):
		r.at += len(op)
		want, err := r.value()
		return scimTest{p, op, want}, err
	case op == "pr":
		r.at += len(op)
		return scimTest{p, op, nil}, nil
	case p.pick != nil:
		return scimTest{p, "", nil}, nil
	}
	return nil, r.wrong("eq, ne, co, sw, ew, gt, ge, lt, le or pr is expected")
}

// path reads an attribute with what belongs to it.
func (r *scimReader) path() (p scimPath, err error) {
	word := r.peek()
	if word == "" || !wordly(word[0]) {
		return p, r.wrong("the name of an attribute is expected")
	}
	at := r.at
	r.at += len(word)
	name := word
	if n := strings.LastIndexByte(word, ':'); n >= 0 { // the version in a URN has a dot
		p.urn, name = word[:n], word[n+1:]
		if strings.EqualFold(word, r.kind.urn) || strings.HasPrefix(strings.ToLower(word), "urn:") && r.extension(word) {
			p.urn, name = word, ""
		}
	}
	p.attr, p.sub, _ = strings.Cut(name, ".")
	if r.in != "" {
		if p.urn != "" || p.sub != "" {
			return p, r.wrong("within [ ] stand names of parts alone")
		}
		p.attr = r.kind.part(r.in, p.attr)
		return p, nil
	}
	if p.urn == "" || strings.EqualFold(p.urn, r.kind.urn) {
		p.attr = r.kind.attribute(p.attr)
		p.sub = r.kind.part(p.attr, p.sub)
	} else { // of a schema whose attributes are not kept
		p.attr, p.sub = p.urn+":"+p.attr, ""
	}
	if r.at < len(r.s) && r.s[r.at] == '[' {
		if p.sub != "" || p.attr == "" {
			return p, fmt.Errorf("at character %d: [ is expected after an attribute that has parts", at+1)
		}
		r.at++
		r.in = p.attr
		p.pick, err = r.or()
		r.in = ""
		if err == nil && !r.take("]") {
			err = r.wrong("] is expected")
		}
		if err == nil && r.at < len(r.s) && r.s[r.at] == '.' {
			r.at++
			sub := r.peek()
			if sub == "" || !wordly(sub[0]) || strings.ContainsAny(sub, ".:") {
				return p, r.wrong("the name of a part is expected")
			}
			r.at += len(sub)
			p.sub = r.kind.part(p.attr, sub)
		}
	}
	return p, err
}

// extension reports whether a URN is that of a schema alone, without an attribute after it: urn:…:2.0:User.
func (r *scimReader) extension(word string) bool {
	return strings.HasSuffix(strings.ToLower(word), ":2.0:user") || strings.HasSuffix(strings.ToLower(word), ":2.0:group")
}

// value reads what is compared with: JSON, but an object or a list.
func (r *scimReader) value() (any, error) {
	r.space()
	rest := r.s[r.at:]
	if strings.HasPrefix(rest, `"`) {
		end := 1
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(rest) {
			return nil, r.wrong("the text has no end")
		}
		var s string
		if err := json.Unmarshal([]byte(rest[:end+1]), &s); err != nil {
			return nil, r.wrong("this is no text as JSON has it")
		}
		r.at += end + 1
		return s, nil
	}
	word := r.peek()
	r.at += len(word)
	switch strings.ToLower(word) {
	case "true", "false":
		return strings.EqualFold(word, "true"), nil
	case "null":
		return nil, nil
	}
	if n, err := strconv.ParseFloat(word, 64); err == nil {
		return n, nil
	}
	return nil, r.wrong("a value is expected: a text in double quotes, a number, true, false or null")
}

// indexed is a column by which all that a filter can mean are found quickly, and its value; "" when none is.
func (k *scimKind) indexed(f scimFilter) (column, value string) {
	switch f := f.(type) {
	case scimAnd:
		if column, value = k.indexed(f.a); column == "" {
			column, value = k.indexed(f.b)
		}
	case scimTest:
		s, ok := f.want.(string)
		if !ok || f.op != "eq" || f.path.pick != nil || f.path.sub != "" {
			return "", ""
		}
		switch f.path.attr {
		case k.name:
			return "name", strings.ToLower(s)
		case "externalId":
			return "external", s
		case "id":
			return "id", s
		}
	}
	return column, value
}
