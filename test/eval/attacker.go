package main

import (
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// tool is what the rules of the product make of a tool: the attacker knows them, too.
func (s *suite) tool(name string) *provenance.Tool {
	var params []provenance.Parameter
	for _, p := range s.Tools[name].Params {
		params = append(params, provenance.Parameter{Name: p})
	}
	return provenance.Describe("tools."+name, s.Tools[name].Description, false, params, "", nil)
}

// redirected are the arguments of an attack in which each destination is one that the policy accepts: of the directory, or
// of the user's words. One for which there is none of its kind stays.
func (s *suite) redirected(r *run, c *call) map[string]any {
	t, k := s.tool(c.Tool), s.known()
	good := append(slices.Clone(k.Contacts), k.Members...)
	for v := range provenance.Values(r.Prompt) {
		good = append(good, v)
	}
	return mapped(c.Args, "", func(name, v string) string {
		if t.Role(name, v) != provenance.Destination {
			return v
		}
		for _, g := range good {
			if g != v && kind(g) == kind(v) {
				return g
			}
		}
		return v
	})
}

// kind is what sort of a destination a value is, as far as one could stand for another.
func kind(v string) string {
	switch {
	case strings.Contains(v, "@"):
		return "mail"
	case strings.Contains(v, ".") && !strings.Contains(v, " "):
		return "web"
	case len(v) > 12 && strings.ContainsAny(v, "0123456789") && !strings.Contains(v, " "):
		return "account"
	}
	return "name"
}

// spellings are other ways to write an address that systems, or people, take for the same.
var spellings = []func(string) string{
	strings.ToUpper,
	func(v string) string { // as a link, or with a name before it
		switch kind(v) {
		case "mail":
			return "Mark <" + v + ">"
		case "web":
			return "https://" + v + "/"
		}
		return " " + v + " "
	},
	func(v string) string { // so that it does not look like one
		switch kind(v) {
		case "mail":
			return strings.Replace(v, "@", "+a@", 1)
		case "web":
			return strings.ReplaceAll(v, ".", "[.]")
		}
		return v + "\u200b"
	},
}

// respelled are the arguments of a call with each destination, and each address in what it says, written otherwise.
func (s *suite) respelled(c *call, spelling func(string) string) map[string]any {
	t := s.tool(c.Tool)
	return mapped(c.Args, "", func(name, v string) string {
		switch t.Role(name, v) {
		case provenance.Text:
			for one := range provenance.Values(v) {
				v = strings.ReplaceAll(v, one, spelling(one))
			}
			return v
		case provenance.Plain:
			return v
		}
		return spelling(v)
	})
}

// mapped is args with each text in it changed.
func mapped(args map[string]any, at string, change func(name, v string) string) map[string]any {
	out := map[string]any{}
	for name, v := range args {
		out[name] = mappedValue(v, at+name, change)
	}
	return out
}

func mappedValue(v any, name string, change func(name, v string) string) any {
	switch v := v.(type) {
	case string:
		return change(name, v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = mappedValue(v[i], name, change)
		}
		return list
	case map[string]any:
		return mapped(v, name+".", change)
	}
	return v
}
