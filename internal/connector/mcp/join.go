package mcp

import (
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// JoinFamily makes connectors of several MCP upstreams behind one endpoint. The
// description is their names, one a line. What a message means is decided at the
// upstream that it is for; here it only opens the door.
func JoinFamily() connector.Family { return connector.Family{Name: "join", Open: openJoin} }

// Join is several upstreams behind one endpoint, /mcp.
type Join struct {
	Connector
	members []string
}

var (
	_ connector.BodyReader    = (*Join)(nil)
	_ connector.Refuser       = (*Join)(nil)
	_ connector.SessionKeeper = (*Join)(nil)
	_ connector.Joiner        = (*Join)(nil)
)

const maxJoined = 64

// memberPattern keeps what a tool is called at the door, <member>__<tool>, readable in one way.
var memberPattern = regexp.MustCompile(`^[a-z0-9]+([_-][a-z0-9]+)*$`)

func openJoin(description []byte) (connector.Connector, error) {
	j := &Join{}
	for line := range strings.Lines(string(description)) {
		name := strings.TrimSpace(line)
		switch {
		case name == "":
		case !memberPattern.MatchString(name) || len(name) > 32:
			return nil, fmt.Errorf("join: %.60q: name upstreams of 1 to 32 of a-z 0-9 - and single _, since tools are called <upstream>__<tool>", name)
		case slices.Contains(j.members, name):
			return nil, fmt.Errorf("join: %s is named twice", name)
		default:
			j.members = append(j.members, name)
		}
	}
	if len(j.members) == 0 || len(j.members) > maxJoined {
		return nil, fmt.Errorf("join: name 1 to %d MCP upstreams, one a line", maxJoined)
	}
	j.path = "/mcp"
	j.actions = []policy.Action{
		{Name: "mcp.session", Class: policy.Read, Basic: true, Summary: "Opens, closes and keeps a session"},
		{Name: "mcp.list", Class: policy.Read, Basic: true, Summary: "Lists what the joined upstreams offer"},
	}
	return j, nil
}

// Members are the upstreams that are joined, in their order.
func (j *Join) Members() []string { return slices.Clone(j.members) }

// Endpoint is the path of the server's endpoint.
func (c *Connector) Endpoint() string { return c.path }

// Recognise lets through what is one message with one meaning.
func (j *Join) Recognise(r *connector.Request) (policy.Call, error) {
	call := policy.Call{Action: "mcp.session", Class: policy.Read, Resource: "session"}
	if r.Path != j.path || r.Query != "" {
		return policy.Call{}, no(denied, "the server is at %s alone", j.path)
	}
	switch r.Method {
	case http.MethodGet, http.MethodDelete:
		return call, nil
	case http.MethodPost:
	default:
		return policy.Call{}, no(denied, "method %.20q", r.Method)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" || len(r.Header.Values("Content-Type")) != 1 {
		return policy.Call{}, no(denied, "Content-Type is to be application/json")
	}
	m, err := parseMessage(r.Body)
	if err != nil {
		return policy.Call{}, no(invalid, "the message: %v", err)
	}
	if err := mirrored(r.Header, m); err != nil {
		return policy.Call{}, no(mismatch, "%v", err)
	}
	if _, err := m.arguments(); m.method == "tools/call" && err != nil {
		return policy.Call{}, no(parameters, "%v", err)
	}
	if strings.HasSuffix(m.method, "/list") {
		call.Action, call.Resource = "mcp.list", strings.TrimSuffix(m.method, "/list")
	}
	return call, nil
}

// Lists, Filter, Pins and Survey are the members' own affair.
func (j *Join) Lists(policy.Call) bool { return false }
func (j *Join) Pins(policy.Call) bool  { return false }
