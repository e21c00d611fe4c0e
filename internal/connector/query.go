package connector

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// parameter is a Parameter made ready.
type parameter struct {
	Parameter
	index int
	enum  map[string]any // each value as an argument, so that none is made per request
}

func newParameter(p Parameter) *parameter {
	q := &parameter{Parameter: p}
	if len(p.Enum) > 0 {
		q.enum = make(map[string]any, len(p.Enum))
		for _, s := range p.Enum {
			if v, err := q.typed(s); err == nil {
				q.enum[s] = v
			}
		}
	}
	return q
}

// value is s as an argument.
func (p *parameter) value(s string) (any, error) {
	if p.Refused != "" {
		return nil, unrecognised("parameter %s: %s", p.Name, p.Refused)
	}
	if p.enum == nil {
		return p.typed(s)
	}
	if v, ok := p.enum[s]; ok {
		return v, nil
	}
	return nil, unrecognised("parameter %s cannot be %s", p.Name, shown(s))
}

func (p *parameter) typed(s string) (any, error) {
	switch p.Type {
	case Integer:
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil || strconv.FormatInt(v, 10) != s || (p.Min != 0 || p.Max != 0) && (v < p.Min || v > p.Max) {
			return nil, unrecognised("parameter %s must be a whole number in its range, not %s", p.Name, shown(s))
		}
		return v, nil
	case Boolean:
		if s != "true" && s != "false" {
			return nil, unrecognised("parameter %s must be true or false, not %s", p.Name, shown(s))
		}
		return s == "true", nil
	}
	return s, nil
}

// arguments reads the query into to. A name without "=", an empty pair and a
// second value where one is meant are refused: servers differ on what they mean.
func (r *row) arguments(query string, to map[string]any) error {
	var seen [maxParameters / 64]uint64
	for more := query != ""; more; {
		var pair string
		pair, query, more = strings.Cut(query, "&")
		rawName, rawValue, ok := strings.Cut(pair, "=")
		name, good := unescapeQuery(rawName)
		if !ok || !good || name == "" {
			return unrecognised("%s in the query is not of the form name=value", shown(pair))
		}
		p := r.query[name]
		if p == nil {
			if _, good = unescapeQuery(rawValue); r.open && good && to[name] == nil {
				continue
			}
			return unrecognised("it has no query parameter %s", shown(name))
		}
		bit := uint64(1) << (p.index % 64)
		if seen[p.index/64]&bit != 0 && (!p.Repeated || p.Commas) {
			return unrecognised("query parameter %s is given twice", p.Name)
		}
		seen[p.index/64] |= bit
		if err := p.read(rawValue, to); err != nil {
			return err
		}
	}
	return nil
}

func (p *parameter) read(raw string, to map[string]any) error {
	text, ok := unescapeQuery(raw)
	if !ok {
		return unrecognised("the value of query parameter %s is badly encoded", p.Name)
	}
	texts := []string{text}
	if p.Commas {
		if texts = strings.Split(text, ","); strings.Count(raw, ",") != len(texts)-1 {
			return unrecognised("query parameter %s has an encoded comma, which some split at", p.Name)
		}
	}
	for _, s := range texts {
		v, err := p.value(s)
		switch {
		case err != nil:
			return err
		case p.Silent:
		case p.Repeated:
			have, _ := to[p.Name].([]string)
			to[p.Name] = append(have, s)
		default:
			to[p.Name] = v
		}
	}
	return nil
}

// unescapeQuery decodes a name or a value of application/x-www-form-urlencoded.
func unescapeQuery(s string) (string, bool) {
	plain := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%' || c == '+':
			plain = false
		case !pchar(c) && c != '/' && c != '?':
			return "", false
		}
	}
	if plain {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			c = ' '
		} else if c == '%' {
			var ok bool
			if c, ok = octet(s[i:]); !ok || c == 0 {
				return "", false
			}
			i += 2
		}
		b = append(b, c)
	}
	return string(b), utf8.Valid(b)
}
