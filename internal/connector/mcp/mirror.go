package mcp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// versionMeta is where the body of a stateless message says its revision.
const versionMeta = "io.modelcontextprotocol/protocolVersion"

// mirrored refuses headers that say another thing than the body (2026-07-28: an
// intermediary may believe the ones, and the server the other).
func mirrored(h http.Header, m message) error {
	if meta := m.params.get("_meta"); meta != nil {
		o, err := parseObject(meta)
		if err != nil {
			return fmt.Errorf("_meta: %w", err)
		}
		if v, ok := o.text(versionMeta); ok && v != h.Get("Mcp-Protocol-Version") {
			return errors.New("the header Mcp-Protocol-Version says another thing than the body")
		}
	}
	name, _ := m.name() // what is wrong with it is said later
	for header, want := range map[string]string{"Mcp-Method": m.method, "Mcp-Name": name} {
		required := stateless(h) && want != "" && (header == "Mcp-Method" || slices.Contains([]string{"tools/call", "resources/read", "prompts/get"}, m.method))
		switch values := h.Values(header); {
		case len(values) > 0 && unwrapped(values[0]) != want:
			return fmt.Errorf("the header %s says another thing than the body", header)
		case len(values) == 0 && required:
			return fmt.Errorf("the header %s is missing, which this revision asks for", header)
		}
	}
	return nil
}

// unwrapped is a header's value, of which =?base64?...?= is what does not fit into one.
func unwrapped(s string) string {
	if inner, ok := strings.CutPrefix(s, "=?base64?"); ok {
		if inner, ok = strings.CutSuffix(inner, "?="); ok {
			if b, err := base64.StdEncoding.Strict().DecodeString(inner); err == nil {
				return string(b)
			}
		}
	}
	return s
}

// mirror is an argument that stands in a header, too, as its tool's schema says (x-mcp-header).
type mirror struct {
	path   []string // of members, from the arguments down
	header string   // Mcp-Param-...
}

const maxNested = 8 // levels of arguments that may be mirrored

// mirrors collects those of a schema. One that no header could be, or that is there twice, is an error.
func mirrors(so []mirror, path []string, properties map[string]Property) ([]mirror, error) {
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		p := properties[name]
		at := append(slices.Clone(path), name)
		if p.Header != nil {
			text, ok := p.Header.(string)
			if !ok || text == "" || strings.ContainsFunc(text, func(c rune) bool {
				return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
			}) {
				return nil, fmt.Errorf("argument %.60q: its x-mcp-header is no name of a header", name)
			}
			if p.Type != "string" && p.Type != "integer" && p.Type != "boolean" {
				return nil, fmt.Errorf("argument %.60q: x-mcp-header is for texts, whole numbers, true and false", name)
			}
			header := "Mcp-Param-" + text
			if slices.ContainsFunc(so, func(m mirror) bool { return strings.EqualFold(m.header, header) }) {
				return nil, fmt.Errorf("argument %.60q: its x-mcp-header is another's, too", name)
			}
			so = append(so, mirror{at, header})
		}
		if len(p.Properties) == 0 {
			continue
		}
		if len(at) == maxNested {
			return nil, fmt.Errorf("argument %.60q nests too deep", name)
		}
		var err error
		if so, err = mirrors(so, at, p.Properties); err != nil {
			return nil, err
		}
	}
	return so, nil
}

// mirrored refuses a call whose headers say other arguments than the body. Headers that
// no schema speaks of are nobody's business here.
func (t tool) mirrored(h http.Header, arguments object) error {
	for _, m := range t.mirrors {
		values := h.Values(m.header)
		v, err := arguments.at(m.path)
		if err != nil {
			return err
		}
		absent := v == nil || v.Kind() == 'n'
		switch {
		case absent && len(values) == 0:
		case absent || len(values) != 1 || !says(unwrapped(values[0]), v):
			return fmt.Errorf("the header %s does not say what the argument %.60q says", m.header, strings.Join(m.path, "."))
		}
	}
	return nil
}

// at is the value at a path of members, nil for none.
func (o object) at(path []string) (v jsontext.Value, err error) {
	for i, name := range path {
		if v = o.get(name); v == nil || i == len(path)-1 {
			return v, nil
		}
		if v.Kind() != '{' {
			return nil, nil
		}
		if o, err = parseObject(v); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// says reports whether a header's text is the value.
func says(text string, v jsontext.Value) bool {
	switch v.Kind() {
	case '"':
		b, err := jsontext.AppendUnquote(nil, v)
		return err == nil && string(b) == text
	case 't', 'f':
		return text == string(v)
	case '0':
		a, err := strconv.ParseFloat(string(v), 64)
		b, errText := strconv.ParseFloat(text, 64)
		return err == nil && errText == nil && a == b && a == math.Trunc(a) && math.Abs(a) < 1<<53
	}
	return false
}
