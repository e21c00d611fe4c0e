package cabinet

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/lanyard-dev/lanyard/internal/bridge"
)

// query is what a search in Drive's words asks for (https://developers.google.com/drive/api/guides/ref-search-terms),
// as far as files of WebDAV can be searched by it; what is not known is refused.
type query struct {
	meets  func(*file) bool
	parent []string // every file that meets it is in this folder
	within bool     // parent is given
}

// Limits of a query.
const (
	maxQuery = 4096 // bytes
	maxNest  = 20
)

func parseQuery(q string) (query, error) {
	if strings.TrimSpace(q) == "" {
		return query{meets: func(*file) bool { return true }}, nil
	}
	p := &parser{}
	if len(q) > maxQuery || !p.split(q) {
		return query{}, bridge.Invalid("Invalid Value: q cannot be read.")
	}
	v, err := p.either(0)
	if err == nil && len(p.words) > 0 {
		err = bridge.Invalid("Invalid Value: q goes on with %.40q.", p.words[0].text)
	}
	return v, err
}

// word is a word of a query, or what is in quotes.
type word struct {
	text   string
	quoted bool
}

type parser struct{ words []word }

// split takes a query apart.
func (p *parser) split(q string) bool {
	for q = strings.TrimSpace(q); q != ""; q = strings.TrimSpace(q) {
		n := 0
		switch c := q[0]; {
		case c == '\'':
			var b strings.Builder
			for n = 1; n < len(q) && q[n] != '\''; n++ {
				if q[n] == '\\' && n+1 < len(q) {
					n++
				}
				b.WriteByte(q[n])
			}
			if n >= len(q) {
				return false
			}
			n++
			p.words = append(p.words, word{b.String(), true})
			q = q[n:]
			continue
		case c == '(' || c == ')':
			n = 1
		case strings.ContainsRune("=!<>", rune(c)):
			for n < len(q) && strings.ContainsRune("=!<>", rune(q[n])) {
				n++
			}
		default:
			if n = strings.IndexFunc(q, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("()'=!<>", r) }); n < 0 {
				n = len(q)
			}
		}
		p.words = append(p.words, word{q[:n], false})
		q = q[n:]
	}
	return true
}

// take takes the next word if it is one of these, not quoted.
func (p *parser) take(these ...string) (string, bool) {
	if len(p.words) == 0 || p.words[0].quoted || !slices.ContainsFunc(these, func(s string) bool { return strings.EqualFold(s, p.words[0].text) }) {
		return "", false
	}
	s := p.words[0].text
	p.words = p.words[1:]
	return strings.ToLower(s), true
}

// value takes what is in quotes.
func (p *parser) value() (string, error) {
	if len(p.words) == 0 || !p.words[0].quoted {
		return "", bridge.Invalid("Invalid Value: q wants a value in single quotes.")
	}
	s := p.words[0].text
	p.words = p.words[1:]
	return s, nil
}

func (p *parser) either(depth int) (query, error) {
	v, err := p.both(depth)
	for err == nil {
		if _, ok := p.take("or"); !ok {
			break
		}
		var w query
		if w, err = p.both(depth); err == nil {
			a, b := v.meets, w.meets
			v.meets = func(f *file) bool { return a(f) || b(f) }
			if !v.within || !w.within || !slices.Equal(v.parent, w.parent) {
				v.parent, v.within = nil, false
			}
		}
	}
	return v, err
}

func (p *parser) both(depth int) (query, error) {
	v, err := p.term(depth)
	for err == nil {
		if _, ok := p.take("and"); !ok {
			break
		}
		var w query
		if w, err = p.term(depth); err == nil {
			a, b := v.meets, w.meets
			if !v.within {
				v.parent, v.within = w.parent, w.within
			}
			v.meets = func(f *file) bool { return a(f) && b(f) }
		}
	}
	return v, err
}

func (p *parser) term(depth int) (query, error) {
	if depth > maxNest {
		return query{}, bridge.Invalid("Invalid Value: q is nested too deep.")
	}
	if _, ok := p.take("not"); ok {
		v, err := p.term(depth + 1)
		if err != nil {
			return v, err
		}
		return query{meets: func(f *file) bool { return !v.meets(f) }}, nil
	}
	if _, ok := p.take("("); ok {
		v, err := p.either(depth + 1)
		if _, ok := p.take(")"); !ok && err == nil {
			err = bridge.Invalid("Invalid Value: q wants a ).")
		}
		return v, err
	}
	if len(p.words) > 0 && p.words[0].quoted { // 'id' in parents
		id, _ := p.value()
		_, in := p.take("in")
		what, ok := p.take("parents")
		if names, err := parseID(id); in && ok && err == nil {
			return query{func(f *file) bool { return len(f.names) > 0 && f.parent() == id }, names, true}, nil
		} else if in && ok {
			return query{}, &bridge.Failure{Status: 404, Message: "File not found: " + id + "."}
		}
		return query{}, bridge.Invalid("Invalid Value: of lists q knows 'id' in parents, not %.40q.", what)
	}
	name, ok := p.take("name", "mimetype", "trashed", "starred", "sharedwithme", "modifiedtime", "createdtime")
	if !ok {
		return query{}, bridge.Invalid("Invalid Value: q knows name, mimeType, modifiedTime, createdTime, trashed, starred, sharedWithMe and parents, and of texts nothing.")
	}
	op, ok := p.take("=", "!=", "contains", "<", "<=", ">", ">=")
	if !ok {
		return query{}, bridge.Invalid("Invalid Value: q wants a comparison after %s.", name)
	}
	f, err := p.compare(name, op)
	return query{meets: f}, err
}

func (p *parser) compare(name, op string) (func(*file) bool, error) {
	bad := bridge.Invalid("Invalid Value: q cannot compare %s by %s, or not with that.", name, op)
	equal, differs := op == "=", op == "!="
	if name == "trashed" || name == "starred" || name == "sharedwithme" { // nothing is, here
		b, ok := p.take("true", "false")
		if !ok || !equal && !differs {
			return nil, bad
		}
		return func(*file) bool { return (b == "false") == equal }, nil
	}
	value, err := p.value()
	if err != nil {
		return nil, err
	}
	switch name {
	case "name", "mimetype":
		of := (*file).name
		if name == "mimetype" {
			of = func(f *file) string { return f.kind }
		}
		switch low := strings.ToLower(value); {
		case equal, differs:
			return func(f *file) bool { return (of(f) == value) == equal }, nil
		case op == "contains":
			return func(f *file) bool { return strings.Contains(strings.ToLower(of(f)), low) }, nil
		}
		return nil, bad
	}
	var t time.Time
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err = time.Parse(form, value); err == nil {
			break
		}
	}
	if err != nil || op == "contains" {
		return nil, bad
	}
	return func(f *file) bool {
		at := f.changed
		if name == "createdtime" {
			at = f.created
		}
		c := at.Compare(t)
		return map[string]bool{"=": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op]
	}, nil
}
