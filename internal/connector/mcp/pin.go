package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// definition is what of a tool reaches a model or decides how it is called: its members,
// each in one form however it was written.
type definition map[string]string

// members of a tool that are pinned, as people are told of them.
var members = []string{"name", "title", "description", "inputSchema", "outputSchema", "annotations"}

func define(tool []byte) (definition, error) {
	var all map[string]any
	if err := json.Unmarshal(tool, &all); err != nil {
		return nil, err
	}
	if hints, ok := all["annotations"].(map[string]any); ok {
		all["annotations"] = annotations(hints)
	}
	d := definition{}
	for _, name := range members {
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

// differs says which members of a tool are not as they were approved; "" is none.
func (t tool) differs(now []byte) string {
	d, err := define(now)
	if err != nil {
		return "all"
	}
	var out []string
	for _, name := range members {
		if d[name] != t.pinned[name] {
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

// Pins reports whether call is of a tool.
func (c *Connector) Pins(call policy.Call) bool { return strings.HasPrefix(call.Action, "tools.") }

// maxTools is how many tools a server may have.
const maxTools = 10_000

// Survey asks the server for its tools, in a session of its own.
func (c *Connector) Survey(ctx context.Context, client *http.Client, url string) (connector.Offers, error) {
	session, err := sdk.NewClient(&sdk.Implementation{Name: "lanyard"}, nil).
		Connect(ctx, &sdk.StreamableClientTransport{Endpoint: url + c.path, HTTPClient: client, MaxRetries: -1, DisableStandaloneSSE: true}, nil)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	defer session.Close()
	offers := connector.Offers{}
	n := 0
	for t, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, fmt.Errorf("listing tools: %w", err)
		}
		if n++; n > maxTools {
			return nil, errors.New("it has too many tools")
		}
		known, ok := c.tools[t.Name]
		if !ok {
			continue
		}
		raw, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		if differs := known.differs(raw); differs != "" || offers[known.action.Name] == "" {
			offers[known.action.Name] = differs // one that is there twice differs if either does
		}
	}
	return offers, nil
}
