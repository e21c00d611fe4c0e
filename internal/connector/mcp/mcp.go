// Package mcp recognises what a client asks of an MCP server over Streamable HTTP
// (Model Context Protocol, revisions 2025-03-26 to 2026-07-28): the JSON-RPC message in
// the body, not the path, says what a request means.
//
// The description is the server's catalogue as an operator approved it: the tools as
// tools/list gave them. It pins them: a tool that is not in it is refused, and so is
// an argument that its schema does not have. Actions are tools.<name>, resources.read,
// resources.subscribe, prompts.get, mcp.list (what there is), mcp.complete and
// mcp.session (opening, closing, pings, notifications, answers). A tool's arguments of
// simple types are what policies can speak of.
//
// A tool that says it only reads is of class read, one that says it destroys nothing of
// class write, and every other of class delete. A server's word is not to be trusted:
// the upstream's classes overrule it.
package mcp

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Family makes connectors of catalogues.
func Family() connector.Family { return connector.Family{Name: "mcp", Open: Open} }

// Catalogue is what an MCP server offers, as it was approved.
type Catalogue struct {
	Path  string `json:"path,omitempty"` // of the endpoint, after the upstream's URL; default /mcp
	Tools []Tool `json:"tools"`
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

// Property is one argument of a tool.
type Property struct {
	Type  any       `json:"type,omitempty"` // a name, or a list of names, which no policy can speak of
	Items *Property `json:"items,omitempty"`
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
	actions []policy.Action
}

type tool struct {
	action     policy.Action
	pinned     string            // its definition as it was approved
	parameters map[string]string // every argument that it has, to its type; "" is one that no policy can speak of
}

var (
	_ connector.BodyReader = (*Connector)(nil)
	_ connector.Refuser    = (*Connector)(nil)
	_ connector.Lister     = (*Connector)(nil)
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
	c.actions = []policy.Action{
		{Name: "mcp.session", Class: policy.Read, Basic: true, Summary: "Opens, closes and keeps a session"},
		{Name: "mcp.list", Class: policy.Read, Basic: true, Summary: "Lists tools, resources and prompts"},
		{Name: "mcp.complete", Class: policy.Read, Summary: "Suggests how an argument goes on"},
		{Name: "resources.read", Class: policy.Read, Summary: "Reads a resource", Parameters: []policy.Parameter{{Name: "uri", Type: "string"}}},
		{Name: "resources.subscribe", Class: policy.Read, Summary: "Follows a resource", Parameters: []policy.Parameter{{Name: "uri", Type: "string"}}},
		{Name: "prompts.get", Class: policy.Read, Summary: "Gets a prompt", Parameters: []policy.Parameter{{Name: "name", Type: "string"}}},
	}
	for i, t := range list.Tools {
		ready, err := t.ready()
		if err == nil {
			ready.pinned, err = definition(whole.Tools[i])
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
	return c, nil
}

func (t Tool) ready() (tool, error) {
	if !namePattern.MatchString(t.Name) {
		return tool{}, errors.New("a name is 1 to 128 of A-Z a-z 0-9 _ . / -")
	}
	for _, text := range []string{t.Title, t.Description} {
		for _, r := range text {
			if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) {
				return tool{}, fmt.Errorf("its text holds %U, which people cannot see and a model can; do not approve it", r)
			}
		}
	}
	summary, _, _ := strings.Cut(strings.TrimSpace(t.Description), "\n")
	out := tool{parameters: map[string]string{}, action: policy.Action{Name: "tools." + t.Name, Class: policy.Delete, Summary: summary}}
	switch {
	case t.Annotations.ReadOnly:
		out.action.Class = policy.Read
	case t.Annotations.Destructive != nil && !*t.Annotations.Destructive:
		out.action.Class = policy.Write
	}
	for _, name := range slices.Sorted(maps.Keys(t.InputSchema.Properties)) {
		kind := t.InputSchema.Properties[name].kind()
		if out.parameters[name] = kind; kind != "" {
			out.action.Parameters = append(out.action.Parameters, policy.Parameter{Name: name, Type: kind})
		}
	}
	return out, nil
}

func (p Property) kind() string {
	switch p.Type {
	case "string", "integer", "boolean":
		return p.Type.(string)
	case "array":
		if p.Items != nil && p.Items.Type == "string" {
			return "strings"
		}
	}
	return ""
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

func refused(format string, args ...any) (policy.Call, error) {
	return policy.Call{}, fmt.Errorf("%w: %s", connector.ErrUnrecognised, fmt.Sprintf(format, args...))
}

// Recognise says what a message means.
func (c *Connector) Recognise(r *connector.Request) (policy.Call, error) {
	if r.Path != c.path || r.Query != "" {
		return refused("the server is at %s alone", c.path)
	}
	switch r.Method {
	case http.MethodGet, http.MethodDelete: // the stream of a session, and its end
		return policy.Call{Action: "mcp.session", Class: policy.Read, Resource: "session"}, nil
	case http.MethodPost:
	default:
		return refused("method %.20q", r.Method)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" || len(r.Header.Values("Content-Type")) != 1 {
		return refused("Content-Type is to be application/json")
	}
	m, err := parseMessage(r.Body)
	if err != nil {
		return refused("the message: %v", err)
	}
	call, name, err := c.meaning(m)
	if err != nil {
		return refused("%v", err)
	}
	if err := mirrored(r.Header, m.method, name); err != nil {
		return refused("%v", err)
	}
	return call, nil
}

// refusal is the code of JSON-RPC errors that say no, among those left to implementations.
const refusal = -32001

// Refusal answers a request with a JSON-RPC error, so that the session goes on.
func (c *Connector) Refusal(r *connector.Request, reason string) (string, []byte, bool) {
	m, err := parseMessage(r.Body)
	if err != nil || m.id == nil || m.method == "" {
		return "", nil, false
	}
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(m.id), "error": map[string]any{"code": refusal, "message": reason}})
	return "application/json", b, err == nil
}

// meaning is what a message asks for, and the name that it mirrors in a header.
func (c *Connector) meaning(m message) (call policy.Call, name string, err error) {
	call = policy.Call{Action: "mcp.session", Class: policy.Read, Resource: "session"}
	take := func(member string) bool {
		var ok bool
		name, ok = m.params.text(member)
		return ok && name != "" && name != "." && name != ".." && len(name) <= 2048 && !strings.ContainsFunc(name, unicode.IsControl)
	}
	switch m.method {
	case "", "initialize", "ping", "logging/setLevel", "server/discover", "subscriptions/listen":
	case "tools/list", "resources/list", "resources/templates/list", "prompts/list":
		call.Action, call.Resource = "mcp.list", strings.TrimSuffix(m.method, "/list")
	case "completion/complete":
		call.Action, call.Resource = "mcp.complete", "completion"
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		if !take("uri") {
			return call, "", errors.New("uri is missing, or none")
		}
		call.Action, call.Resource, call.Arguments = "resources.read", "resources/"+url.PathEscape(name), map[string]any{"uri": name}
		if m.method != "resources/read" {
			call.Action = "resources.subscribe"
		}
	case "prompts/get":
		if !take("name") {
			return call, "", errors.New("name is missing, or none")
		}
		call.Action, call.Resource, call.Arguments = "prompts.get", "prompts/"+url.PathEscape(name), map[string]any{"name": name}
	case "tools/call":
		if !take("name") {
			return call, "", errors.New("name is missing, or none")
		}
		t, ok := c.tools[name]
		if !ok {
			return call, "", fmt.Errorf("tool %.60q is not among those that were approved", name)
		}
		call.Action, call.Class, call.Resource = t.action.Name, t.action.Class, "tools/"+url.PathEscape(name)
		call.Arguments, err = t.arguments(m.params.get("arguments"))
	default:
		if !strings.HasPrefix(m.method, "notifications/") {
			err = fmt.Errorf("method %.60q", m.method)
		}
	}
	return call, name, err
}

// arguments are those that policies can speak of. One that the schema does not have is refused.
func (t tool) arguments(v jsontext.Value) (map[string]any, error) {
	if v == nil {
		return nil, nil
	}
	o, err := parseObject(v)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	args := map[string]any{}
	for _, m := range o {
		kind, known := t.parameters[m.name]
		if !known {
			return nil, fmt.Errorf("the tool has no argument %.60q", m.name)
		}
		if kind == "" || m.value.Kind() == 'n' {
			continue
		}
		if args[m.name], err = argument(kind, m.value); err != nil {
			return nil, fmt.Errorf("argument %.60q: %w", m.name, err)
		}
	}
	return args, nil
}

func argument(kind string, v jsontext.Value) (any, error) {
	text := func(v jsontext.Value) (string, error) {
		if v.Kind() != '"' {
			return "", errors.New("it is to be a text")
		}
		b, err := jsontext.AppendUnquote(nil, v)
		return string(b), err
	}
	switch kind {
	case "string":
		return text(v)
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
	}
	var raw []json.RawMessage
	if v.Kind() != '[' || json.Unmarshal(v, &raw) != nil {
		return nil, errors.New("it is to be a list of texts")
	}
	list := make([]string, len(raw))
	for i := range raw {
		var err error
		if list[i], err = text(jsontext.Value(raw[i])); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// mirrored refuses headers that say another thing than the body (2026-07-28: an
// intermediary may believe the ones, and the server the other).
func mirrored(h http.Header, method, name string) error {
	for header, want := range map[string]string{"Mcp-Method": method, "Mcp-Name": name} {
		values := h.Values(header)
		switch {
		case len(values) > 1:
			return fmt.Errorf("there is more than one %s", header)
		case len(values) == 1 && unwrapped(values[0]) != want:
			return fmt.Errorf("the header %s says another thing than the body", header)
		case len(values) == 0 && want != "" && h.Get("Mcp-Protocol-Version") >= "2026-07-28" && (header == "Mcp-Method" || slices.Contains([]string{"tools/call", "resources/read", "prompts/get"}, method)):
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
