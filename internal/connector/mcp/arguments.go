package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// nested takes in the members of an argument that is an object.
func (t *tool) nested(path string, p Property, depth int) {
	if _, ambiguous := t.members[path]; ambiguous || depth == maxNested {
		return
	}
	t.members[path] = "object"
	for name, m := range p.Properties {
		switch at := path + "." + name; {
		case strings.Contains(name, "."): // two paths would read alike
		case m.kind() != "":
			t.members[at] = m.kind()
		case m.Type == "object":
			t.nested(at, m, depth+1)
		}
	}
}

func (p Property) kind() string {
	switch p.Type {
	case "string", "integer", "number", "boolean":
		return p.Type.(string)
	case "array":
		if p.Items != nil && p.Items.Type == "string" {
			return "strings"
		}
	}
	return ""
}

// arguments are those that policies can speak of. One that the schema does not have is refused.
// The texts in others are handed on beside them.
func (t tool) arguments(o object) (args map[string]any, rest []provenance.Argument, err error) {
	args = map[string]any{}
	for _, m := range o {
		kind, known := t.parameters[m.name]
		if !known {
			return nil, nil, fmt.Errorf("the tool has no argument %.60q", m.name)
		}
		if m.value.Kind() == 'n' {
			continue
		}
		if t.members[m.name] == "object" {
			if err := t.inside(args, m.name, m.value); err != nil {
				return nil, nil, err
			}
		}
		if kind == "" {
			if rest, err = connector.Texts(rest, m.name, m.value); err != nil {
				return nil, nil, fmt.Errorf("argument %.60q: %w", m.name, err)
			}
			continue
		}
		v, err := argument(kind, m.value)
		if err != nil {
			return nil, nil, fmt.Errorf("argument %.60q: %w", m.name, err)
		}
		args[m.name] = v
	}
	return args, rest, nil
}

// text is v if it is one.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// inside takes the members of an argument that is an object, those that policies can speak of.
func (t tool) inside(args map[string]any, path string, v jsontext.Value) error {
	o, err := parseObject(v)
	if err != nil {
		return fmt.Errorf("argument %.60q: %w", path, err)
	}
	for _, m := range o {
		at := path + "." + m.name
		kind := t.members[at]
		if kind == "" || strings.Contains(m.name, ".") || m.value.Kind() == 'n' {
			continue
		}
		if kind == "object" {
			if err := t.inside(args, at, m.value); err != nil {
				return err
			}
			continue
		}
		if args[at], err = argument(kind, m.value); err != nil {
			return fmt.Errorf("argument %.60q: %w", at, err)
		}
	}
	return nil
}

func argument(kind string, v jsontext.Value) (any, error) {
	unquoted := func(v jsontext.Value) (string, error) {
		if v.Kind() != '"' {
			return "", errors.New("it is to be a text")
		}
		b, err := jsontext.AppendUnquote(nil, v)
		return string(b), err
	}
	switch kind {
	case "string":
		return unquoted(v)
	case "boolean":
		if k := v.Kind(); k != 't' && k != 'f' {
			return nil, errors.New("it is to be true or false")
		}
		return v.Kind() == 't', nil
	case "integer":
		n, err := strconv.ParseInt(string(v), 10, 64)
		if v.Kind() != '0' || err != nil {
			return nil, errors.New("it is to be a whole number, written as one")
		}
		return n, nil
	case "number":
		if v.Kind() != '0' {
			return nil, errors.New("it is to be a number")
		}
		return policy.Number(v), nil
	}
	raw, err := elements(v)
	if err != nil {
		return nil, errors.New("it is to be a list of texts")
	}
	list := make([]string, len(raw))
	for i := range raw {
		if list[i], err = unquoted(raw[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// elements are those of a list.
func elements(v jsontext.Value) (list []jsontext.Value, err error) {
	if v.Kind() != '[' || json.Unmarshal(v, &list) != nil {
		return nil, errors.New("it is to be a list")
	}
	return list, nil
}
