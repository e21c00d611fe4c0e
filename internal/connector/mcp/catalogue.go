package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// everything is what a client can be able to do: some servers have tools for those alone that can.
var everything = json.RawMessage(`{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}`)

// Fetch asks a server for its catalogue: its tools, and of prompts, resourceTemplates and
// resources the lists that are named. Each is exactly as the server describes it, members
// that are not known here included: what is pinned must be what it says.
func Fetch(ctx context.Context, t sdk.Transport, path string, lists ...string) ([]byte, error) {
	conn, err := t.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	q := &asking{conn: conn}
	var hello struct {
		Capabilities map[string]json.RawMessage `json:"capabilities"`
	}
	if err := q.ask(ctx, "initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": everything, "clientInfo": map[string]any{"name": "lanyard", "version": "1"}}, &hello); err != nil {
		return nil, err
	}
	if err := conn.Write(ctx, &jsonrpc.Request{Method: "notifications/initialized", Params: json.RawMessage("{}")}); err != nil {
		return nil, err
	}
	out := map[string]any{"path": path}
	for _, list := range append([]string{"tools"}, lists...) {
		method, capability := list+"/list", list
		switch list {
		case "resourceTemplates":
			method, capability = "resources/templates/list", "resources"
		case "tools", "prompts", "resources":
		default:
			return nil, fmt.Errorf("%q is no list of a server's", list)
		}
		all := []json.RawMessage{}
		if _, has := hello.Capabilities[capability]; has || list == "tools" {
			if all, err = q.all(ctx, method, list); err != nil {
				return nil, fmt.Errorf("%s: %w", method, err)
			}
		}
		out[list] = all
	}
	return json.MarshalIndent(out, "", "  ")
}

// asking is a session of our own with a server.
type asking struct {
	conn sdk.Connection
	n    int64
}

func (q *asking) ask(ctx context.Context, method string, params, result any) error {
	b, err := json.Marshal(params)
	if err != nil {
		return err
	}
	q.n++
	id, err := jsonrpc.MakeID(float64(q.n))
	if err != nil {
		return err
	}
	if err := q.conn.Write(ctx, &jsonrpc.Request{ID: id, Method: method, Params: b}); err != nil {
		return err
	}
	for {
		m, err := q.conn.Read(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *jsonrpc.Response:
			if m.ID != id {
				continue
			}
			if m.Error != nil {
				return m.Error
			}
			return json.Unmarshal(m.Result, result)
		case *jsonrpc.Request: // nobody is there to be asked
			if m.ID.IsValid() {
				if err := q.conn.Write(ctx, &jsonrpc.Response{ID: m.ID, Error: &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: "nobody is there to be asked"}}); err != nil {
					return err
				}
			}
		}
	}
}

// all reads every page of a list.
func (q *asking) all(ctx context.Context, method, list string) ([]json.RawMessage, error) {
	all := []json.RawMessage{}
	for cursor, pages := "", 0; pages < maxTools; pages++ {
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		var page map[string]json.RawMessage
		if err := q.ask(ctx, method, params, &page); err != nil {
			return nil, err
		}
		var some []json.RawMessage
		cursor = ""
		for name, to := range map[string]any{list: &some, "nextCursor": &cursor} {
			if v := page[name]; v != nil {
				if err := json.Unmarshal(v, to); err != nil {
					return nil, err
				}
			}
		}
		if all = append(all, some...); len(all) > maxTools {
			return nil, errors.New("there are too many")
		}
		if cursor == "" {
			return all, nil
		}
	}
	return nil, errors.New("the list has no end")
}

// Catalogue is what the server offers now, of what this catalogue has.
func (c *Connector) Catalogue(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	var lists []string
	for _, s := range others {
		if c.others[s.list] != nil {
			lists = append(lists, s.list)
		}
	}
	return Fetch(ctx, &sdk.StreamableClientTransport{Endpoint: url + c.path, HTTPClient: client, MaxRetries: -1, DisableStandaloneSSE: true}, c.path, lists...)
}

// Difference is one between two catalogues.
type Difference struct {
	What  string `json:"what"` // added, removed, changed
	Sort  string `json:"sort"` // tool, prompt, resource template, resource
	Name  string `json:"name"`
	Field string `json:"field,omitempty"` // of what was changed
	From  string `json:"from,omitempty"`  // JSON
	To    string `json:"to,omitempty"`
}

// Diff says what is another in now than in what was approved. What was added or removed
// comes with its description.
func Diff(approved, now []byte) ([]Difference, error) {
	var out []Difference
	before, err := definitions(approved)
	if err != nil {
		return nil, fmt.Errorf("what was approved: %w", err)
	}
	after, err := definitions(now)
	if err != nil {
		return nil, fmt.Errorf("what is offered now: %w", err)
	}
	for _, s := range append([]sort{toolSort}, others...) {
		names := slices.Collect(maps.Keys(before[s.list]))
		for name := range after[s.list] {
			if before[s.list][name] == nil {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			a, b := before[s.list][name], after[s.list][name]
			switch {
			case a == nil:
				out = append(out, Difference{What: "added", Sort: s.one, Name: name, To: b["description"]})
			case b == nil:
				out = append(out, Difference{What: "removed", Sort: s.one, Name: name, From: a["description"]})
			default:
				for _, field := range s.members {
					if a[field] != b[field] {
						out = append(out, Difference{"changed", s.one, name, field, a[field], b[field]})
					}
				}
			}
		}
	}
	return out, nil
}

// definitions of a catalogue, by list and name. It need not be one that may be approved.
func definitions(catalogue []byte) (map[string]pinned, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(catalogue, &all); err != nil {
		return nil, err
	}
	out := map[string]pinned{}
	for _, s := range append([]sort{toolSort}, others...) {
		var list []json.RawMessage
		if all[s.list] != nil {
			if err := json.Unmarshal(all[s.list], &list); err != nil {
				return nil, fmt.Errorf("%s: %w", s.list, err)
			}
		}
		out[s.list] = pinned{}
		for _, raw := range list {
			d, err := s.define(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.list, err)
			}
			var name string
			if err := json.Unmarshal([]byte(cmp.Or(d[s.key], `""`)), &name); err != nil {
				return nil, fmt.Errorf("%s: one has a name that is no text", s.list)
			}
			out[s.list][name] = d
		}
	}
	return out, nil
}

// Unsuspicious is a catalogue without what Suspicious finds something in, unless keep says
// so; left says what was left out and why.
func Unsuspicious(catalogue []byte, keep func(sort, name string, raw []byte) bool, left func(sort, name, why string)) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(catalogue, &all); err != nil {
		return nil, err
	}
	for _, s := range append([]sort{toolSort}, others...) {
		if all[s.list] == nil {
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(all[s.list], &list); err != nil {
			return nil, fmt.Errorf("%s: %w", s.list, err)
		}
		kept := []json.RawMessage{}
		for _, raw := range list {
			var named map[string]any
			_ = json.Unmarshal(raw, &named) // what has no name is refused when the catalogue is opened
			name, _ := named[s.key].(string)
			if why := Suspicious(raw); why != "" && !keep(s.one, name, raw) {
				left(s.one, name, why)
				continue
			}
			kept = append(kept, raw)
		}
		b, err := json.Marshal(kept)
		if err != nil {
			return nil, err
		}
		all[s.list] = b
	}
	return json.MarshalIndent(all, "", "  ")
}

// Shadow is a tool of one server that may be taken for another server's, or speaks of it.
type Shadow struct{ Server, Tool, Why string }

// Shadows finds the tools of catalogues, by the servers' names, that imitate a tool of
// another of them, or whose texts name one: a model that has both reads one server's word
// as being about the other's tool. Two servers whose tools are defined alike are two of a kind.
func Shadows(catalogues map[string][]byte) ([]Shadow, error) {
	type one struct {
		server, name string
		definition
	}
	var all []one
	for _, server := range slices.Sorted(maps.Keys(catalogues)) {
		d, err := definitions(catalogues[server])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", server, err)
		}
		for _, name := range slices.Sorted(maps.Keys(d["tools"])) {
			all = append(all, one{server, name, d["tools"][name]})
		}
	}
	var out []Shadow
	for _, a := range all {
		text := " " + words(a.definition["description"]+" "+a.definition["title"]+" "+a.definition["inputSchema"]) + " "
		for _, b := range all {
			switch {
			case a.server == b.server || maps.Equal(a.definition, b.definition):
			case skeleton(a.name) == skeleton(b.name):
				out = append(out, Shadow{a.server, a.name, fmt.Sprintf("its name is that of %s of %s, or looks like it, and it is another tool", b.name, b.server)})
			case telling(b.name) && strings.Contains(text, " "+words(b.name)+" "), strings.Contains(text, " "+words(b.server+"__"+b.name)+" "):
				out = append(out, Shadow{a.server, a.name, fmt.Sprintf("its texts speak of %s of %s", b.name, b.server)})
			}
		}
	}
	return out, nil
}

// telling reports whether a name is one that no text has by chance.
func telling(name string) bool {
	return strings.ContainsAny(name, "_-./") || strings.ContainsFunc(name[min(1, len(name)):], func(r rune) bool { return 'A' <= r && r <= 'Z' })
}

// words keeps what names are made of.
func words(s string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '/' {
			return r
		}
		return ' '
	}, s))
}

// skeleton is the same for names that people, or models, take for one another.
func skeleton(name string) string {
	return strings.NewReplacer("0", "o", "1", "l", "i", "l", "5", "s", "_", "", "-", "", ".", "", "/", "", "rn", "m", "vv", "w").Replace(strings.ToLower(name))
}
