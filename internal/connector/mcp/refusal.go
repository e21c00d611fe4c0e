package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// Codes of JSON-RPC errors (JSON-RPC 2.0 section 5.1; MCP 2026-07-28, Transports).
const (
	invalid    = -32600 // what came is no message
	unknown    = -32601 // no such method
	parameters = -32602 // of a method, or of a tool
	mismatch   = -32020 // headers and body say different things
	Denied     = -32001 // ours, among those left to implementations: a no
	MustOpen   = -32042 // a page is to be opened first (2025-11-25, Elicitation)
)

// fault is why a request is refused here, with the code that its client hears.
type fault struct {
	code int
	text string
}

func no(code int, format string, args ...any) error {
	return &fault{code, fmt.Sprintf(format, args...)}
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return connector.ErrUnrecognised }

// Refusal answers a message with a JSON-RPC error, so that the session goes on. What
// is no message, or two at once, is answered with an HTTP error as well, and what the
// stateless revision has a status for with that.
func (c *Connector) Refusal(r *connector.Request, reason string, cause error) (int, string, []byte) {
	if r.Method != http.MethodPost {
		return 0, "", nil
	}
	f := &fault{code: Denied}
	if errors.As(cause, &f) && f.code != Denied {
		reason = f.text
	}
	id := json.RawMessage("null")
	m, err := parseMessage(r.Body)
	switch {
	case err == nil && m.id != nil && m.method != "":
		id = json.RawMessage(m.id)
	case f.code != invalid && f.code != mismatch:
		return 0, "", nil // a notification or an answer: nobody waits for a reply to it
	}
	status := http.StatusOK
	switch {
	case f.code == invalid, f.code == mismatch, f.code == parameters && stateless(r.Header):
		status = http.StatusBadRequest
	case f.code == unknown && stateless(r.Header):
		status = http.StatusNotFound
	}
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": f.code, "message": reason}})
	if err != nil {
		return 0, "", nil
	}
	return status, "application/json", b
}
