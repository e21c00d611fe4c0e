package mcp

//lint:file-ignore SA1019 servers of all revisions have tools for clients that can do what the newest one only still allows

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// definition is what of a tool, or of another thing that a server offers, reaches a model or
// decides how it is called: its members, each in one form however it was written.
type definition map[string]string

// sort is one sort of what a server offers.
type sort struct {
	list    string   // the member of a catalogue, and of a list, that holds it
	one     string   // of them, for people
	key     string   // the member that names it
	members []string // that are pinned, as people are told of them
	pin     string   // what its names in Offers begin with
}

var (
	toolSort = sort{"tools", "tool", "name", []string{"name", "title", "description", "inputSchema", "outputSchema", "annotations"}, "tools."}
	others   = []sort{
		{"prompts", "prompt", "name", []string{"name", "title", "description", "arguments"}, "prompts/"},
		{"resourceTemplates", "resource template", "uriTemplate", []string{"uriTemplate", "name", "title", "description", "mimeType"}, "resourceTemplates/"},
		{"resources", "resource", "uri", []string{"uri", "name", "title", "description", "mimeType"}, "resources/"},
	}
)

// pinned are the definitions of one sort, by their names; nil when the catalogue has none, and so approves any.
type pinned map[string]definition

// pins reads what a catalogue holds besides tools.
func pins(description []byte) (map[string]pinned, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(description, &all); err != nil {
		return nil, err
	}
	out := map[string]pinned{}
	for _, s := range others {
		if all[s.list] == nil {
			continue
		}
		list, err := elements(jsontext.Value(all[s.list]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.list, err)
		}
		out[s.list] = pinned{}
		for _, raw := range list {
			o, err := parseObject(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.list, err)
			}
			name, ok := o.text(s.key)
			if _, twice := out[s.list][name]; !ok || name == "" || twice {
				return nil, fmt.Errorf("%s %+q has no %s, or another's", s.one, name, s.key)
			}
			if err := visible(raw); err != nil {
				return nil, fmt.Errorf("%s %+q: %w", s.one, name, err)
			}
			if out[s.list][name], err = s.define(raw); err != nil {
				return nil, fmt.Errorf("%s %+q: %w", s.one, name, err)
			}
		}
	}
	return out, nil
}

func (s sort) define(one []byte) (definition, error) {
	var all map[string]any
	if err := json.Unmarshal(one, &all); err != nil {
		return nil, err
	}
	if hints, ok := all["annotations"].(map[string]any); ok {
		all["annotations"] = annotations(hints)
	}
	if list, ok := all["arguments"].([]any); ok {
		all["arguments"] = arguments(list)
	}
	d := definition{}
	for _, name := range s.members {
		v, ok := all[name]
		if !ok || v == nil || v == "" {
			continue // as good as not there
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		d[name] = string(b)
	}
	return d, nil
}

// arguments are those of a prompt, each without what says nothing; nil for none.
func arguments(list []any) any {
	if len(list) == 0 {
		return nil
	}
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil || v == "" || v == false })
		}
	}
	return list
}

// annotations are those that mean something, each with what it is when nothing is said:
// one server says false where another says nothing.
func annotations(hints map[string]any) any {
	out := map[string]any{}
	for name, usual := range map[string]any{"title": "", "readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": true} {
		if v, ok := hints[name]; ok && v != nil && v != usual {
			out[name] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// differs says which members are not as they were approved; "" is none.
func (s sort) differs(approved definition, now []byte) string {
	d, err := s.define(now)
	if err != nil {
		return "all"
	}
	var out []string
	for _, name := range s.members {
		if d[name] != approved[name] {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

// visible refuses a tool that people and a model, or two parsers, could read differently:
// every text in it, wherever it stands, must be one that people can see.
func visible(tool []byte) error {
	o, err := parseObject(tool)
	if err != nil {
		return err
	}
	if schema := o.get("inputSchema"); schema != nil {
		if _, err := parseObject(schema); err != nil {
			return fmt.Errorf("inputSchema: %w", err)
		}
	}
	d := jsontext.NewDecoder(bytes.NewReader(tool))
	for {
		t, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if t.Kind() != '"' {
			continue
		}
		for _, r := range t.String() {
			if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Variation_Selector, r) && r != '\uFE0F' ||
				unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) {
				return fmt.Errorf("its text holds %U, which people cannot see and a model can; do not approve it", r)
			}
		}
	}
}

// Pin is of a tool its action, of a prompt and a resource what it is called there.
func (c *Connector) Pin(call policy.Call) string {
	switch call.Action {
	case "prompts.get":
		if c.others["prompts"] != nil {
			return call.Resource
		}
	case "resources.read", "resources.subscribe":
		if uri, _ := call.Arguments["uri"].(string); c.others["resources"][uri] != nil {
			return call.Resource
		}
	}
	if strings.HasPrefix(call.Action, "tools.") {
		return call.Action
	}
	return ""
}

// Covers are, of a resource that is not pinned by itself, all templates: which of them a URI is of
// is for the server to say.
func (c *Connector) Covers(call policy.Call) (pins []string) {
	if call.Action != "resources.read" && call.Action != "resources.subscribe" || c.Pin(call) != "" {
		return nil
	}
	for _, template := range slices.Sorted(maps.Keys(c.others["resourceTemplates"])) {
		pins = append(pins, others[1].pin+escape(template))
	}
	return pins
}

// approved refuses a prompt or a resource that is not among those that were approved, if
// any were. A resource may also be one of a template's, and what it is then is not known before.
func (c *Connector) approved(call policy.Call) error {
	list, of := "prompts", "name"
	if call.Action != "prompts.get" {
		list, of = "resources", "uri"
	}
	name, _ := call.Arguments[of].(string)
	all := c.others[list]
	if all == nil || all[name] != nil || list == "resources" && len(c.others["resourceTemplates"]) > 0 {
		return nil
	}
	return no(Denied, "%s %.60q is not among those that were approved", strings.TrimSuffix(list, "s"), name)
}

// maxTools is how many tools, prompts or resources a server may have.
const maxTools = 10_000

// Survey asks the server for what is pinned, in a session of its own.
func (c *Connector) Survey(ctx context.Context, client *http.Client, url string) (connector.Offers, error) {
	can := &sdk.ClientCapabilities{}
	if err := json.Unmarshal(everything, can); err != nil {
		return nil, err
	}
	can.RootsV2 = &sdk.RootCapabilities{}
	session, err := sdk.NewClient(&sdk.Implementation{Name: "lanyard"}, &sdk.ClientOptions{Capabilities: can}).
		Connect(ctx, &sdk.StreamableClientTransport{Endpoint: url + c.path, HTTPClient: client, MaxRetries: -1, DisableStandaloneSSE: true}, nil)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	defer session.Close()
	offers := connector.Offers{}
	if err := survey(session.Tools(ctx, nil), toolSort, offers, func(t *sdk.Tool) (definition, string) {
		return c.tools[t.Name].pinned, toolSort.pin + t.Name
	}); err != nil {
		return nil, err
	}
	has := session.InitializeResult().Capabilities
	if has == nil {
		has = &sdk.ServerCapabilities{}
	}
	if all := c.others["prompts"]; len(all) > 0 && has.Prompts != nil {
		err = survey(session.Prompts(ctx, nil), others[0], offers, func(p *sdk.Prompt) (definition, string) { return all[p.Name], prompt(p.Name).Resource })
	}
	if all := c.others["resourceTemplates"]; err == nil && len(all) > 0 && has.Resources != nil {
		err = survey(session.ResourceTemplates(ctx, nil), others[1], offers, func(t *sdk.ResourceTemplate) (definition, string) {
			return all[t.URITemplate], others[1].pin + escape(t.URITemplate)
		})
	}
	if all := c.others["resources"]; err == nil && len(all) > 0 && has.Resources != nil {
		err = survey(session.Resources(ctx, nil), others[2], offers, func(r *sdk.Resource) (definition, string) { return all[r.URI], resource(r.URI).Resource })
	}
	return offers, err
}

func survey[T any](list iter.Seq2[T, error], s sort, offers connector.Offers, known func(T) (definition, string)) error {
	n := 0
	for v, err := range list {
		if err != nil {
			return fmt.Errorf("listing %s: %w", s.list, err)
		}
		if n++; n > maxTools {
			return fmt.Errorf("it has too many %s", s.list)
		}
		d, pin := known(v)
		if d == nil {
			continue
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if differs := s.differs(d, raw); differs != "" || offers[pin] == "" {
			offers[pin] = differs // one that is there twice differs if either does
		}
	}
	return nil
}
