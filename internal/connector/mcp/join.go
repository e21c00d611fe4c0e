package mcp

import (
	"fmt"
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
	server  Connector // of which only what a message is, and how one is refused, is used
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
	j.server = Connector{path: "/mcp", actions: basics()}
	return j, nil
}

// Members are the upstreams that are joined, in their order.
func (j *Join) Members() []string { return slices.Clone(j.members) }

// Actions, MaxBody, Refusal and Session are those of any MCP server.
func (j *Join) Actions() []policy.Action                             { return j.server.Actions() }
func (j *Join) MaxBody(r *connector.Request) int64                   { return j.server.MaxBody(r) }
func (j *Join) Session(r *connector.Request) (header string, _ bool) { return j.server.Session(r) }
func (j *Join) Refusal(r *connector.Request, reason string, cause error) (int, string, []byte) {
	return j.server.Refusal(r, reason, cause)
}

// Recognise lets through what is one message with one meaning.
func (j *Join) Recognise(r *connector.Request) (policy.Call, error) {
	m, err := j.server.received(r)
	if err != nil {
		return policy.Call{}, err
	}
	call := session
	if m == nil {
		return call, nil
	}
	if m.method == "tools/call" {
		if _, err := m.arguments(); err != nil {
			return policy.Call{}, no(parameters, "%v", err)
		}
	}
	if strings.HasSuffix(m.method, "/list") {
		call.Action, call.Resource = "mcp.list", strings.TrimSuffix(m.method, "/list")
	}
	return call, nil
}
