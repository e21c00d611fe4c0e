package mcp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of one message. Nesting is bounded before anything recurses into it.
const (
	maxMessage = 4 << 20
	maxMembers = 1024
	maxDepth   = 64
)

// member is one member of a JSON object, its value as it stands in the message.
type member struct {
	name  string
	value jsontext.Value
}

type object []member

func (o object) get(name string) jsontext.Value {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// text is a member that must be a string. Without it the result is "", false.
func (o object) text(name string) (string, bool) {
	v := o.get(name)
	if v.Kind() != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}

// parseObject reads an object of which two parsers can only read one thing: no
// member twice, none that differs from another in case alone (Go's encoding/json
// takes the one for the other: CVE-2026-27896), no NUL in a name, only UTF-8.
func parseObject(data []byte) (object, error) {
	if deep(data) {
		return nil, errors.New("it nests too deep")
	}
	d := jsontext.NewDecoder(bytes.NewReader(data)) // refuses duplicate names and bad UTF-8 at every depth
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errors.New("it is to be a JSON object")
	}
	var o object
	seen := map[string]bool{}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("it is no JSON that has one meaning: %w", err)
		}
		name := t.String()
		folded := name
		if strings.ContainsFunc(name, func(c rune) bool { return c >= unicode.MaxASCII || c >= 'A' && c <= 'Z' }) {
			folded = strings.ToLower(strings.ToUpper(name)) // U+017F and the Kelvin sign fold as well
		}
		if strings.ContainsRune(name, 0) || seen[folded] || len(o) == maxMembers {
			return nil, fmt.Errorf("member %.40q is there twice, differs from another in case alone, or is one too many", name)
		}
		seen[folded] = true
		v, err := d.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("it is no JSON that has one meaning: %w", err)
		}
		o = append(o, member{name, v.Clone()})
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("it is no JSON that has one meaning: %w", err)
	}
	if rest := bytes.TrimLeft(data[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, errors.New("something follows the JSON object")
	}
	return o, nil
}

// deep reports whether data nests more than maxDepth, without recursion.
func deep(data []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// message is one JSON-RPC 2.0 message.
type message struct {
	id     jsontext.Value // nil for a notification
	method string         // "" for a response
	params object
}

// name is of what a message asks for: a tool, a prompt, or the URI of a resource; "" where there is none.
func (m message) name() (string, error) {
	member := "name"
	switch m.method {
	case "tools/call", "prompts/get":
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		member = "uri"
	default:
		return "", nil
	}
	name, ok := m.params.text(member)
	if !ok || !plain(name) {
		return "", fmt.Errorf("%s is missing, or none", member)
	}
	if member == "uri" && dotted(name) {
		return "", errDotted
	}
	return name, nil
}

// followed is the resource that a client wants to be told of; "" if it listens to changes of lists alone.
func (m message) followed() (string, error) {
	v := m.params.get("notifications")
	if v == nil {
		return "", nil
	}
	o, err := parseObject(v)
	if err != nil {
		return "", fmt.Errorf("notifications: %w", err)
	}
	v = o.get("resourceSubscriptions")
	if v == nil || v.Kind() == 'n' {
		return "", nil
	}
	uris, err := elements(v)
	if err != nil {
		return "", fmt.Errorf("resourceSubscriptions: %w", err)
	}
	switch len(uris) {
	case 0:
		return "", nil
	case 1: // each is decided by itself
	default:
		return "", errors.New("follow one resource in each subscriptions/listen, and others in others")
	}
	uri, ok := object{{"uri", jsontext.Value(uris[0])}}.text("uri")
	if !ok || !plain(uri) {
		return "", errors.New("resourceSubscriptions: that is no URI")
	}
	if dotted(uri) {
		return "", errDotted
	}
	return uri, nil
}

// plain reports whether a name or a URI can be spoken of.
func plain(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 2048 && !strings.ContainsFunc(name, unicode.IsControl)
}

var errDotted = errors.New("a URI with the segment . or .. is another to who resolves it (RFC 3986 section 5.2.4); write it without")

// dotted reports whether a URI has a dot segment, however it is encoded: a policy compares what is written, and the server goes
// where it leads.
func dotted(uri string) bool {
	for {
		for s := range strings.FieldsFuncSeq(uri, func(c rune) bool { return strings.ContainsRune(`/\:?#;`, c) }) {
			if s == "." || s == ".." {
				return true
			}
		}
		again := unescaped.Replace(uri)
		if again == uri {
			return false
		}
		uri = again
	}
}

// unescaped leaves alone what is no escape, as lenient readers do.
var unescaped = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`, "%25", "%")

// arguments of a call, which may have none.
func (m message) arguments() (object, error) {
	v := m.params.get("arguments")
	if v == nil {
		return nil, nil
	}
	o, err := parseObject(v)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	return o, nil
}

func parseMessage(data []byte) (m message, err error) {
	if data = bytes.TrimSpace(data); len(data) > 0 && data[0] == '[' {
		return m, errors.New("a batch is not taken: send one message at a time")
	}
	o, err := parseObject(data)
	if err != nil {
		return m, err
	}
	for _, member := range o {
		switch member.name {
		case "jsonrpc", "id", "method", "params", "result", "error":
		default:
			return m, fmt.Errorf("a message has no member %.40q", member.name)
		}
	}
	if v, _ := o.text("jsonrpc"); v != "2.0" {
		return m, errors.New(`jsonrpc is to be "2.0"`)
	}
	id := o.get("id")
	switch id.Kind() {
	case '"', 0:
	case '0':
		if bytes.ContainsAny(id, ".eE") || len(id) > 18 {
			return m, errors.New("id is to be a text or a whole number")
		}
	default:
		return m, errors.New("id is to be a text or a whole number")
	}
	m.id = id
	if o.get("method") == nil {
		if id == nil || (o.get("result") == nil) == (o.get("error") == nil) || o.get("params") != nil {
			return m, errors.New("it is neither a request, nor a notification, nor a response")
		}
		return m, nil
	}
	if o.get("result") != nil || o.get("error") != nil {
		return m, errors.New("it is a request and a response at once")
	}
	var ok bool
	if m.method, ok = o.text("method"); !ok || m.method == "" {
		return m, errors.New("method is to be a text")
	}
	if p := o.get("params"); p != nil {
		if m.params, err = parseObject(p); err != nil {
			return m, fmt.Errorf("params: %w", err)
		}
	}
	if notification := strings.HasPrefix(m.method, "notifications/"); notification != (id == nil) {
		return m, fmt.Errorf("%.60q with an id, or without, is not what the protocol has", m.method)
	}
	return m, nil
}
