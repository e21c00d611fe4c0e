package connector

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// template is a parsed path template.
type template struct {
	text     string
	segments []segment
	captures []capture
}

// segment is what one segment of a path must be.
type segment struct {
	kind           form
	text           string // literal: decoded
	prefix, suffix string // wild and rest: literal text around what is any
}

type form byte

const (
	literal form = iota
	wild         // any one segment that is not empty
	rest         // one or more segments; only at the end
)

// capture is where a parameter stands: segments from to to, less pre and post
// bytes. A rest goes on to the end of the path.
type capture struct {
	name      string
	from, to  int
	pre, post int
	rest      bool
}

func (c capture) of(p *path) string {
	s := p.segment[c.from]
	if c.rest {
		s = strings.Join(p.segment[c.from:p.n], "/")
	} else if c.to > c.from {
		s = strings.Join(p.segment[c.from:c.to+1], "/")
	}
	return s[c.pre : len(s)-c.post]
}

func parseTemplate(text string) (template, error) {
	t := template{text: text}
	if !strings.HasPrefix(text, "/") {
		return t, errors.New("a path begins with a slash")
	}
	if strings.ContainsAny(text, "?#") || !utf8.ValidString(text) {
		return t, errors.New("a path has no ? and no #, and is UTF-8")
	}
	parts := splitTemplate(text[1:])
	for i, s := range parts {
		var err error
		if !strings.ContainsAny(s, "{}") {
			err = t.literal(s, i == len(parts)-1)
		} else {
			err = t.parameter(s)
		}
		if err != nil {
			return t, err
		}
		if n := len(t.segments); n > maxSegments {
			return t, fmt.Errorf("more than %d segments", maxSegments)
		} else if i < len(parts)-1 && t.segments[n-1].kind == rest {
			return t, errors.New("what matches all that follows must stand last")
		}
	}
	return t, nil
}

// splitTemplate splits at the slashes outside of braces.
func splitTemplate(s string) (parts []string) {
	from, inside := 0, false
	for i := range len(s) {
		switch s[i] {
		case '{':
			inside = true
		case '}':
			inside = false
		case '/':
			if !inside {
				parts, from = append(parts, s[from:i]), i+1
			}
		}
	}
	return append(parts, s[from:])
}

func (t *template) literal(s string, last bool) error {
	if s == "" && !last {
		return errors.New("a segment is empty")
	}
	text, _, err := decode(s)
	if s != "" && err != nil {
		return fmt.Errorf("segment %q: no request can have it", s)
	}
	t.segments = append(t.segments, segment{kind: literal, text: text})
	return nil
}

func (t *template) parameter(s string) error {
	prefix, more, opened := strings.Cut(s, "{")
	inner, suffix, closed := strings.Cut(more, "}")
	if !opened || !closed || strings.ContainsAny(prefix+inner, "{}") {
		return fmt.Errorf("segment %q: braces do not match", s)
	}
	if strings.ContainsAny(suffix, "{}") {
		return fmt.Errorf("segment %q: one parameter a segment is what can be told apart", s)
	}
	prefix, err := affixed(prefix)
	if err != nil {
		return err
	}
	if suffix, err = affixed(suffix); err != nil {
		return err
	}
	name, pattern, given := strings.Cut(inner, "=")
	if plain, ok := strings.CutPrefix(name, "+"); ok && !given {
		name, pattern = plain, "**"
	} else if !given {
		pattern = "*"
	}
	for _, c := range t.captures {
		if c.name == name {
			return fmt.Errorf("parameter {%s} stands there twice", name)
		}
	}
	if name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("segment %q: the parameter has no name", s)
	}
	c := capture{name: name, from: len(t.segments), pre: len(prefix), post: len(suffix)}
	forms := strings.Split(pattern, "/")
	for i, f := range forms {
		g := segment{kind: literal, text: f}
		if g.text, err = affixed(f); err != nil {
			return err
		}
		switch f {
		case "*":
			g = segment{kind: wild}
		case "**":
			g, c.rest = segment{kind: rest}, true
		case "":
			return fmt.Errorf("parameter {%s}: a segment of its form is empty", name)
		}
		if i == 0 && prefix != "" && g.kind != wild || c.rest && i < len(forms)-1 || strings.Contains(f, "*") && g.kind == literal {
			return fmt.Errorf("segment %q: that form is not supported", s)
		}
		if i == 0 {
			g.prefix = prefix
		}
		if i == len(forms)-1 {
			g.suffix = suffix
			if g.kind == literal {
				g.text, g.suffix = g.text+suffix, ""
			}
		}
		t.segments = append(t.segments, g)
	}
	c.to = len(t.segments) - 1
	t.captures = append(t.captures, c)
	return nil
}

// affixed is literal text that stands beside a parameter, decoded.
func affixed(s string) (string, error) {
	text, _, err := decode("x" + s)
	if err != nil {
		return "", fmt.Errorf("%q: no request can have it", s)
	}
	return text[1:], nil
}

// relation says how the paths of two templates, or segments, lie to each other.
type relation byte

const (
	same     relation = iota
	narrower          // all of the first's are the second's too
	wider
	disjoint
	crossing // some are both's, and neither is narrower
)

// and is the relation of two things put one behind the other.
func (r relation) and(s relation) relation {
	switch {
	case r == disjoint || s == disjoint:
		return disjoint
	case r == same || r == s:
		return s
	case s == same:
		return r
	}
	return crossing
}

func (a template) relation(b template) relation {
	n, m := len(a.segments), len(b.segments)
	arest, brest := a.segments[n-1].kind == rest, b.segments[m-1].kind == rest
	if n != m && (n > m || !arest) && (m > n || !brest) {
		return disjoint
	}
	r := same
	k := min(n, m)
	for i := range k - 1 {
		r = r.and(a.segments[i].relation(b.segments[i]))
	}
	if n == m {
		return r.and(a.segments[n-1].relation(b.segments[n-1]))
	}
	// One is longer where the other's rest begins: it is the narrower one, unless that rest ends in text of its own.
	long := narrower
	if n < m {
		long = wider
	}
	r = r.and(long)
	return r.and(ends(a.segments[n-1], b.segments[m-1]))
}

// ends is the relation of two last segments by their ends alone.
func ends(a, b segment) relation {
	x, y := a.suffix, b.suffix
	if a.kind == literal {
		x = a.text
	}
	if b.kind == literal {
		y = b.text
	}
	switch {
	case a.kind == literal && !strings.HasSuffix(x, y), b.kind == literal && !strings.HasSuffix(y, x):
		return disjoint
	}
	return affix(strings.HasSuffix(x, y), strings.HasSuffix(y, x))
}

func affix(narrow, wide bool) relation {
	switch {
	case narrow && wide:
		return same
	case narrow:
		return narrower
	case wide:
		return wider
	}
	return disjoint
}

func (a segment) relation(b segment) relation {
	switch {
	case a.kind == literal && b.kind == literal:
		if a.text == b.text {
			return same
		}
		return disjoint
	case a.kind == literal:
		if b.fits(a.text) {
			return narrower
		}
		return disjoint
	case b.kind == literal:
		if a.fits(b.text) {
			return wider
		}
		return disjoint
	}
	r := affix(strings.HasPrefix(a.prefix, b.prefix), strings.HasPrefix(b.prefix, a.prefix)).
		and(affix(strings.HasSuffix(a.suffix, b.suffix), strings.HasSuffix(b.suffix, a.suffix)))
	switch {
	case a.kind == b.kind:
		return r
	case a.kind == wild:
		return r.and(narrower)
	}
	return r.and(wider)
}

// fits reports whether one segment of a path can be a.
func (a segment) fits(s string) bool {
	if a.kind == literal {
		return s == a.text
	}
	return len(s) > len(a.prefix)+len(a.suffix) && strings.HasPrefix(s, a.prefix) && strings.HasSuffix(s, a.suffix)
}
