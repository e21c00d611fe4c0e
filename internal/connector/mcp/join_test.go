package mcp

import (
	"errors"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/connectortest"
)

// TestJoin: what is joined is named readably, and what comes is one message with one meaning, as at any server.
func TestJoin(t *testing.T) {
	for description, why := range map[string]string{
		"": "name 1 to 64", "\n \n": "name 1 to 64", "notes\nnotes": "twice", "a__b": "single _", "Notes": "name upstreams", "a.b": "name upstreams",
		strings.Repeat("x", 33): "name upstreams", "notes\nde sk": "name upstreams",
	} {
		if _, err := JoinFamily().Open([]byte(description)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", description, err, why)
		}
	}
	c, err := JoinFamily().Open([]byte(" notes \n\nmail_2\n"))
	if err != nil || strings.Join(c.(connector.Joiner).Members(), " ") != "notes mail_2" {
		t.Fatalf("%+v %v", c, err)
	}
	for body, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`: "mcp.list", call("notes__read", `{"a":1}`): "mcp.session",
	} {
		connectortest.Check(t, c, post(body))
		if got, err := c.Recognise(post(body)); err != nil || got.Action != want {
			t.Errorf("%s: %+v %v", body, got, err)
		}
	}
	for why, r := range map[string]*connector.Request{
		"more than one Mcp-Protocol-Version": post(call("notes__read", `{}`), "Mcp-Protocol-Version", "2025-11-25", "Mcp-Protocol-Version", "2026-07-28"),
		"says another thing":                 post(call("notes__read", `{}`), "Mcp-Name", "notes__write"),
		"in case alone":                      post(call("notes__read", `{"a":1,"A":2}`)),
		"batch":                              post(`[]`),
		"at /mcp alone":                      {Method: "GET", Path: "/mcp/x"},
	} {
		if _, err := c.Recognise(r); !errors.Is(err, connector.ErrUnrecognised) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %q", err, why)
		}
	}
}
