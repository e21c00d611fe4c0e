package openapi

import (
	"fmt"
	"math"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

type parameter struct {
	Ref     string         `json:"$ref" yaml:"$ref"`
	Name    string         `json:"name" yaml:"name"`
	In      string         `json:"in" yaml:"in"`
	Style   string         `json:"style" yaml:"style"`
	Explode *bool          `json:"explode" yaml:"explode"`
	Schema  *schema        `json:"schema" yaml:"schema"`
	Content map[string]any `json:"content" yaml:"content"`
}

type schema struct {
	Ref    string  `json:"$ref" yaml:"$ref"`
	Type   any     `json:"type" yaml:"type"` // a name, or since 3.1 a list of them
	Format string  `json:"format" yaml:"format"`
	Enum   []any   `json:"enum" yaml:"enum"`
	Items  *schema `json:"items" yaml:"items"`
}

// maxRefs is how many references may lead to one thing: a circle ends there.
const maxRefs = 16

// local is the name that a reference into this document has in a section of its components.
func local(ref, section string) (string, error) {
	name, ok := strings.CutPrefix(ref, "#/components/"+section+"/")
	if !ok || strings.Contains(name, "/") {
		return "", fmt.Errorf("$ref %q: only #/components/%s/… is followed", ref, section)
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(name), nil // RFC 6901 section 4
}

// follow returns what the first of a row of references leads to.
func follow[T any](at *T, section string, ref func(*T) string, among map[string]*T) (*T, error) {
	for range maxRefs {
		if at == nil {
			return nil, fmt.Errorf("one of the %s is empty or missing", section)
		}
		r := ref(at)
		if r == "" {
			return at, nil
		}
		name, err := local(r, section)
		if err != nil {
			return nil, err
		}
		at = among[name]
	}
	return nil, fmt.Errorf("references among the %s go in a circle", section)
}

func (d *document) item(i *pathItem) (*pathItem, error) {
	return follow(i, "pathItems", func(i *pathItem) string { return i.Ref }, d.Components.PathItems)
}

// parameters are an operation's own and, unless it describes them anew, its path's.
func (d *document) parameters(shared, own []*parameter) ([]connector.Parameter, error) {
	type key struct{ in, name string }
	var list []connector.Parameter
	seen := map[key]bool{}
	for level, from := range [][]*parameter{own, shared} {
		for _, p := range from {
			p, err := follow(p, "parameters", func(p *parameter) string { return p.Ref }, d.Components.Parameters)
			if err != nil {
				return nil, err
			}
			k := key{p.In, p.Name}
			if seen[k] && level == 0 {
				return nil, fmt.Errorf("parameter %q is described twice", p.Name)
			}
			if seen[k] || p.In != "path" && p.In != "query" {
				continue // a header or a cookie is no argument
			}
			seen[k] = true
			c, err := d.parameter(p)
			if err != nil {
				return nil, fmt.Errorf("parameter %q: %w", p.Name, err)
			}
			list = append(list, c)
		}
	}
	return list, nil
}

func (d *document) parameter(p *parameter) (connector.Parameter, error) {
	c := connector.Parameter{Name: p.Name, Path: p.In == "path"}
	if p.Name == "" {
		return c, fmt.Errorf("it has no name")
	}
	if p.Schema == nil {
		return c, nil // content: its text is the argument
	}
	s, err := d.schema(p.Schema)
	if err != nil {
		return c, err
	}
	kind := s.kind()
	if kind == "array" && !c.Path {
		exploded := p.Explode == nil || *p.Explode
		c.Repeated, c.Commas = true, !exploded
		if s.Items == nil {
			s, kind = &schema{}, ""
		} else if s, err = d.schema(s.Items); err != nil {
			return c, err
		} else {
			kind = s.kind()
		}
	}
	if p.Style != "" && p.Style != "form" && p.Style != "simple" || kind == "object" || kind == "array" {
		return connector.Parameter{Name: p.Name, Path: c.Path, Refused: "its style is not understood here"}, nil
	}
	switch kind {
	case "integer":
		c.Type = connector.Integer
		if s.Format == "int32" {
			c.Min, c.Max = math.MinInt32, math.MaxInt32
		}
	case "boolean":
		c.Type = connector.Boolean
	}
	for _, v := range s.Enum {
		if v != nil {
			c.Enum = append(c.Enum, text(v))
		}
	}
	return c, nil
}

func (d *document) schema(s *schema) (*schema, error) {
	return follow(s, "schemas", func(s *schema) string { return s.Ref }, d.Components.Schemas)
}

// kind is the one type that the schema allows beside null, or nothing if there are several.
func (s *schema) kind() string {
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		one := ""
		for _, v := range t {
			name, _ := v.(string)
			switch {
			case name == "null":
			case one != "":
				return ""
			default:
				one = name
			}
		}
		return one
	}
	return ""
}

// text is an enum's value as it stands in a request.
func text(v any) string {
	if f, ok := v.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return fmt.Sprintf("%d", int64(f)) // JSON has one kind of number
	}
	return fmt.Sprint(v)
}
