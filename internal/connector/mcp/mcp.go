// Package mcp recognises what a client asks of an MCP server over Streamable HTTP
// (Model Context Protocol, revisions 2025-03-26 to 2026-07-28): the JSON-RPC message in
// the body, not the path, says what a request means.
//
// The description is the server's catalogue as an operator approved it: the tools as
// tools/list gave them. It pins them: a tool that is not in it is refused, and so is
// an argument that its schema does not have. So are prompts, resource templates and
// resources, each sort if the catalogue has it. Actions are tools.<name>, resources.read,
// resources.subscribe, prompts.get, mcp.list (what there is), mcp.complete and
// mcp.session (opening, closing, pings, notifications, answers); what the server asks of
// its client is mcp.elicit, mcp.sample and mcp.roots. A tool's arguments of
// simple types are what policies can speak of.
//
// A tool that says it only reads is of class read, one that says it destroys nothing of
// class write, and every other of class delete. A server's word is not to be trusted:
// the upstream's classes overrule it.
package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// Family makes connectors of catalogues.
func Family() connector.Family { return connector.Family{Name: "mcp", Open: Open} }

// Catalogue is what an MCP server offers, as it was approved.
type Catalogue struct {
	Path  string `json:"path,omitempty"` // of the endpoint, after the upstream's URL; default /mcp
	Tools []Tool `json:"tools"`
	// Prompts, resource templates and resources are pinned by their definitions alone. A sort
	// that a catalogue does not have is not pinned.
}

// Tool is one tool of a catalogue, with what tools/list says of it.
type Tool struct {
	Name        string      `json:"name"`
	Title       string      `json:"title,omitempty"`
	Description string      `json:"description,omitempty"`
	InputSchema Schema      `json:"inputSchema"`
	Annotations Annotations `json:"annotations,omitzero"`
}

// Schema is of a tool's input what policies can speak of.
type Schema struct {
	Properties map[string]Property `json:"properties,omitempty"`
}

// Property is one argument of a tool, or a part of one.
type Property struct {
	Type       any                 `json:"type,omitempty"` // a name, or a list of names, which no policy can speak of
	Format     any                 `json:"format,omitempty"`
	Summary    any                 `json:"description,omitempty"`
	Items      *Property           `json:"items,omitempty"`
	Properties map[string]Property `json:"properties,omitempty"`
	Header     any                 `json:"x-mcp-header,omitempty"` // the name after Mcp-Param- of the header that says the same
}

// Annotations are a server's own word about a tool.
type Annotations struct {
	ReadOnly    bool  `json:"readOnlyHint,omitempty"`
	Destructive *bool `json:"destructiveHint,omitempty"`
}

// Connector recognises the messages of one catalogue.
type Connector struct {
	path    string
	tools   map[string]tool
	others  map[string]pinned // prompts, resourceTemplates, resources; of each, nil if the catalogue has none
	actions []policy.Action
}

type tool struct {
	action     policy.Action
	pinned     definition        // as it was approved
	mirrors    []mirror          // arguments that stand in headers, too
	parameters map[string]string // every argument that it has, to its type; "" is one that no policy can speak of
	members    map[string]string // of arguments that are objects, by their paths ("recipient.email"), to their types
}

var (
	_ connector.BodyReader    = (*Connector)(nil)
	_ connector.Refuser       = (*Connector)(nil)
	_ connector.Lister        = (*Connector)(nil)
	_ connector.Checker       = (*Connector)(nil)
	_ connector.Pinner        = (*Connector)(nil)
	_ connector.SessionKeeper = (*Connector)(nil)
	_ connector.Cataloguer    = (*Connector)(nil)
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,128}$`)

// Open reads a catalogue. A tool whose texts hold what people cannot see is refused.
func Open(description []byte) (connector.Connector, error) {
	var list Catalogue
	var whole struct {
		Tools []json.RawMessage `json:"tools"`
	}
	if err := errors.Join(json.Unmarshal(description, &list), json.Unmarshal(description, &whole)); err != nil {
		return nil, fmt.Errorf("mcp: the catalogue is no JSON like {\"tools\": [...]}: %w", err)
	}
	c := &Connector{path: list.Path, tools: map[string]tool{}}
	if c.path == "" {
		c.path = "/mcp"
	}
	if !strings.HasPrefix(c.path, "/") || strings.ContainsAny(c.path, "?#%;") || strings.Contains(c.path, "//") {
		return nil, fmt.Errorf("mcp: path %q is to be a plain path like /mcp", c.path)
	}
	c.actions = append(basics(), []policy.Action{
		{Name: "mcp.complete", Class: policy.Read, Summary: "Suggests how an argument goes on"},
		{Name: "resources.read", Class: policy.Read, Summary: "Reads a resource", Parameters: []policy.Parameter{{Name: "uri", Type: "string", Format: provenance.OwnURI}}},
		{Name: "resources.subscribe", Class: policy.Read, Summary: "Follows a resource", Parameters: []policy.Parameter{{Name: "uri", Type: "string", Format: provenance.OwnURI}}},
		{Name: "prompts.get", Class: policy.Read, Summary: "Gets a prompt", Parameters: []policy.Parameter{{Name: "name", Type: "string"}}},
	}...)
	c.actions = append(c.actions, questions()...)
	for i, t := range list.Tools {
		err := visible(whole.Tools[i])
		var ready tool
		if err == nil {
			ready, err = t.ready()
		}
		if err == nil {
			ready.pinned, err = toolSort.define(whole.Tools[i])
		}
		if err != nil {
			return nil, fmt.Errorf("mcp: tool %+q: %w", t.Name, err)
		}
		if _, twice := c.tools[t.Name]; twice {
			return nil, fmt.Errorf("mcp: tool %s is there twice", t.Name)
		}
		c.tools[t.Name] = ready
		c.actions = append(c.actions, ready.action)
	}
	var err error
	if c.others, err = pins(description); err != nil {
		return nil, fmt.Errorf("mcp: %w", err)
	}
	return c, nil
}

// basics are what every client needs, of every server.
func basics() []policy.Action {
	return []policy.Action{
		{Name: "mcp.session", Class: policy.Read, Basic: true, Summary: "Opens, closes and keeps a session"},
		{Name: "mcp.list", Class: policy.Read, Basic: true, Summary: "Lists tools, resources and prompts"},
	}
}

func (t Tool) ready() (tool, error) {
	if !namePattern.MatchString(t.Name) {
		return tool{}, errors.New("a name is 1 to 128 of A-Z a-z 0-9 _ . / -")
	}
	summary, _, _ := strings.Cut(strings.TrimSpace(t.Description), "\n")
	out := tool{parameters: map[string]string{}, members: map[string]string{}, action: policy.Action{Name: "tools." + t.Name, Class: policy.Delete, Summary: summary}}
	switch {
	case t.Annotations.ReadOnly:
		out.action.Class = policy.Read
	case t.Annotations.Destructive != nil && !*t.Annotations.Destructive:
		out.action.Class = policy.Write
	}
	for _, name := range slices.Sorted(maps.Keys(t.InputSchema.Properties)) {
		p := t.InputSchema.Properties[name]
		if out.parameters[name] = p.kind(); p.kind() != "" {
			out.action.Parameters = append(out.action.Parameters, policy.Parameter{Name: name, Type: p.kind(), Format: text(p.Format), Summary: text(p.Summary)})
		} else if p.Type == "object" {
			out.nested(name, p, 1)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(out.members)) {
		if _, taken := t.InputSchema.Properties[path]; taken && strings.Contains(path, ".") {
			delete(out.members, path) // the argument of that name is meant
		} else if kind := out.members[path]; kind != "object" {
			out.action.Parameters = append(out.action.Parameters, policy.Parameter{Name: path, Type: kind})
		}
	}
	var err error
	out.mirrors, err = mirrors(nil, nil, t.InputSchema.Properties)
	return out, err
}

// Actions lists what can be done with the catalogue.
func (c *Connector) Actions() []policy.Action { return slices.Clone(c.actions) }

// MaxBody is that of a message.
func (c *Connector) MaxBody(r *connector.Request) int64 {
	if r.Method == http.MethodPost {
		return maxMessage
	}
	return 0
}

// session is what opens, closes or keeps a session.
var session = policy.Call{Action: "mcp.session", Class: policy.Read, Resource: "session"}

// Recognise says what a message means.
func (c *Connector) Recognise(r *connector.Request) (policy.Call, error) {
	m, err := c.received(r)
	if err != nil {
		return policy.Call{}, err
	}
	if m == nil {
		return session, nil
	}
	call, err := c.meaning(*m, r.Header)
	if err != nil {
		return policy.Call{}, err
	}
	return call, nil
}

// received is the message that r brings; nil for the stream of a session, and its end.
func (c *Connector) received(r *connector.Request) (*message, error) {
	if r.Path != c.path || r.Query != "" {
		return nil, no(Denied, "the server is at %s alone", c.path)
	}
	for _, name := range []string{"Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name", "Last-Event-Id"} {
		if len(r.Header.Values(name)) > 1 {
			return nil, no(mismatch, "there is more than one %s", name)
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodDelete:
		return nil, nil
	case http.MethodPost:
	default:
		return nil, no(Denied, "method %.20q", r.Method)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" || len(r.Header.Values("Content-Type")) != 1 {
		return nil, no(Denied, "Content-Type is to be application/json")
	}
	m, err := parseMessage(r.Body)
	if err != nil {
		return nil, no(invalid, "the message: %v", err)
	}
	if err := mirrored(r.Header, m); err != nil {
		return nil, no(mismatch, "%v", err)
	}
	return &m, nil
}

// Endpoint is the path of the server's endpoint.
func (c *Connector) Endpoint() string { return c.path }

// stateless reports whether a message is of a revision without sessions, which mirrors in
// headers what the body says.
func stateless(h http.Header) bool { return h.Get("Mcp-Protocol-Version") >= "2026-07-28" }

// Session is the header of revisions that have sessions.
func (c *Connector) Session(r *connector.Request) (string, bool) {
	return "Mcp-Session-Id", !stateless(r.Header)
}

// meaning is what a message asks for.
func (c *Connector) meaning(m message, h http.Header) (policy.Call, error) {
	call := session
	if stateless(h) && slices.Contains([]string{"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}, m.method) {
		return call, no(unknown, "revision 2026-07-28 has no method %q", m.method)
	}
	name, err := m.name()
	if err != nil {
		return call, no(parameters, "%v", err)
	}
	switch m.method {
	case "", "initialize", "ping", "logging/setLevel":
	case "subscriptions/listen":
		uri, err := m.followed()
		if err != nil {
			return call, no(parameters, "%v", err)
		}
		if uri != "" {
			call = resource(uri)
			call.Action = "resources.subscribe"
			return call, c.approved(call)
		}
	case "server/discover":
		call.Resource = "discover"
	case "tools/list", "resources/list", "resources/templates/list", "prompts/list":
		call.Action, call.Resource = "mcp.list", strings.TrimSuffix(m.method, "/list")
	case "completion/complete":
		call.Action, call.Resource = "mcp.complete", "completion"
	case "resources/read":
		call = resource(name)
		return call, c.approved(call)
	case "resources/subscribe", "resources/unsubscribe":
		call = resource(name)
		call.Action = "resources.subscribe"
		return call, c.approved(call)
	case "prompts/get":
		call = prompt(name)
		return call, c.approved(call)
	case "tools/call":
		t, ok := c.tools[name]
		if !ok {
			return call, no(Denied, "tool %.60q is not among those that were approved", name)
		}
		call.Action, call.Class, call.Resource = t.action.Name, t.action.Class, "tools/"+url.PathEscape(name)
		o, err := m.arguments()
		if err == nil {
			call.Arguments, call.Rest, err = t.arguments(o)
		}
		if err != nil {
			return call, no(parameters, "%v", err)
		}
		if stateless(h) {
			if err := t.mirrored(h, o); err != nil {
				return call, no(mismatch, "%v", err)
			}
		}
	default:
		if !strings.HasPrefix(m.method, "notifications/") {
			return call, no(unknown, "method %.60q", m.method)
		}
	}
	return call, nil
}

func escape(s string) string { return url.PathEscape(s) }

func resource(uri string) policy.Call {
	return policy.Call{Action: "resources.read", Class: policy.Read, Resource: "resources/" + escape(uri), Arguments: map[string]any{"uri": uri}}
}

func prompt(name string) policy.Call {
	return policy.Call{Action: "prompts.get", Class: policy.Read, Resource: "prompts/" + escape(name), Arguments: map[string]any{"name": name}}
}
