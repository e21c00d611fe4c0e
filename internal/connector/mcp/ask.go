package mcp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// What waits for people is told in the words of the client's revision: with sessions, as
// an error that has an address to show (2025-11-25, Elicitation, URL mode); without, as a
// result that asks for input and is tried again with it (2026-07-28, Multi Round-Trip
// Requests). A client that can do neither hears an error with the address in it.

const (
	inputKey    = "lanyard.approval"
	statePrefix = "lanyard.approval/"
)

var _ connector.Asker = (*Connector)(nil)

// Exact is a message as another try of the same says it: without its id and what its metadata says of the
// try, its members in order. Numbers and texts stay as they are written: what is written otherwise is another.
func (c *Connector) Exact(r *connector.Request) ([]byte, error) {
	if r.Method != http.MethodPost {
		return nil, nil
	}
	m, err := parseMessage(r.Body)
	if err != nil {
		return nil, no(invalid, "the message: %v", err)
	}
	out := object{{"method", quoted(m.method)}}
	if m.method == "" { // an answer to the server, which is for that one question
		out = append(out, member{"answers", jsontext.Value(r.Body)})
	}
	if m.params != nil {
		out = append(out, member{"params", m.params.exact().encode()})
	}
	v := out.encode()
	if err := v.Format(jsontext.ReorderRawObjects(true), jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return nil, no(invalid, "the message: %v", err)
	}
	return v, nil
}

// exact is params without what their metadata says of the one try.
func (o object) exact() object {
	meta, err := parseObject(o.get("_meta"))
	if err != nil { // there is none, or it is whatever it is
		return o
	}
	meta = slices.DeleteFunc(meta, func(m member) bool { return OfConnection(m.name) || ofTrace[m.name] || ofTry[m.name] && m.short() })
	out := o.without("_meta")
	if len(meta) > 0 {
		out = append(out, member{"_meta", meta.encode()})
	}
	return out
}

// OfConnection reports whether a member of a message's metadata says something of the connection
// that the message comes by, and so neither goes on to another nor is part of what is asked for.
func OfConnection(name string) bool {
	return name == "progressToken" || strings.HasPrefix(name, "io.modelcontextprotocol/")
}

var (
	ofTrace = map[string]bool{"traceparent": true, "tracestate": true}
	// ofTry are names that clients give each try, so that a yes to the one before would be for no other.
	ofTry = map[string]bool{"claudecode/toolUseId": true, "vscode.requestId": true}
)

// short reports whether a member is a text too short to say much.
func (m member) short() bool { return m.value.Kind() == '"' && len(m.value) <= 128 }

func quoted(s string) jsontext.Value {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return jsontext.Value(`""`) // not UTF-8, which parseObject refuses
	}
	return b
}

// without is the object less one member.
func (o object) without(name string) object {
	out := make(object, 0, len(o))
	for _, m := range o {
		if m.name != name {
			out = append(out, m)
		}
	}
	return out
}

// within is the object at a path of members; nil if there is none.
func (o object) within(path ...string) object {
	for _, name := range path {
		inner, err := parseObject(o.get(name))
		if err != nil {
			return nil
		}
		if o = inner; o == nil {
			o = object{}
		}
	}
	return o
}

// Elicits reports whether the client says that it shows addresses: when it opens its
// session, or, without sessions, in each request.
func (c *Connector) Elicits(r *connector.Request) bool {
	if r.Method != http.MethodPost || !bytes.Contains(r.Body, []byte("elicitation")) { // who writes it in another way is asked in another
		return false
	}
	m, err := parseMessage(r.Body)
	switch {
	case err != nil:
		return false
	case stateless(r.Header):
		return m.params.within("_meta", "io.modelcontextprotocol/clientCapabilities", "elicitation", "url") != nil
	case m.method != "initialize":
		return false
	}
	revision, _ := m.params.text("protocolVersion")
	return revision >= "2025-11-25" && m.params.within("capabilities", "elicitation", "url") != nil
}

// tries reports whether a method of the stateless revision can be answered with a question.
func tries(method string) bool {
	return method == "tools/call" || method == "prompts/get" || method == "resources/read"
}

// Asked is the answer to a message that waits for people.
func (c *Connector) Asked(r *connector.Request, p connector.Pending) (int, string, []byte) {
	m, err := parseMessage(r.Body)
	if r.Method != http.MethodPost || err != nil || m.id == nil || m.method == "" {
		return 0, "", nil
	}
	shown := map[string]any{"mode": "url", "message": p.Reason, "url": p.URL, "elicitationId": p.ID}
	reply := map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(m.id)}
	_, busy := m.params.text("requestState") // of the server's own: it would be lost
	switch {
	case p.Elicit && stateless(r.Header) && tries(m.method) && !busy && m.params.get("inputResponses") == nil:
		reply["result"] = map[string]any{"resultType": "input_required", "requestState": statePrefix + p.ID,
			"inputRequests": map[string]any{inputKey: map[string]any{"method": "elicitation/create", "params": shown}}}
	case p.Elicit && !stateless(r.Header):
		reply["error"] = map[string]any{"code": MustOpen, "message": p.Reason, "data": map[string]any{"elicitations": []any{shown}}}
	default:
		reply["error"] = map[string]any{"code": Denied, "message": p.Reason,
			"data": map[string]any{"approval": map[string]any{"id": p.ID, "url": p.URL, "who": p.Who, "expires": p.Expires.UTC().Format(time.RFC3339)}}}
	}
	b, err := json.Marshal(reply)
	if err != nil {
		return 0, "", nil
	}
	return http.StatusOK, "application/json", b
}

// Resume is a message that comes back with what Asked asked for, without it: the server
// behind never asked.
func (c *Connector) Resume(r *connector.Request) ([]byte, bool) {
	if r.Method != http.MethodPost || !stateless(r.Header) ||
		!bytes.Contains(r.Body, []byte("requestState")) && !bytes.Contains(r.Body, []byte(`\u`)) { // in whichever way it is written
		return nil, false
	}
	whole, err := parseObject(r.Body)
	if err != nil {
		return nil, false
	}
	params := whole.within("params")
	state, _ := params.text("requestState")
	if !strings.HasPrefix(state, statePrefix) {
		return nil, false
	}
	params = params.without("requestState").without("inputResponses")
	for i := range whole {
		if whole[i].name == "params" {
			whole[i].value = params.encode()
		}
	}
	return whole.encode(), true
}
