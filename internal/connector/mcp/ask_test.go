package mcp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

func posted(body, revision string) *connector.Request {
	h := http.Header{"Content-Type": {"application/json"}}
	if revision != "" {
		h.Set("Mcp-Protocol-Version", revision)
	}
	return &connector.Request{Method: "POST", Path: "/mcp", Header: h, Body: []byte(body)}
}

func TestExact(t *testing.T) {
	c := &Connector{path: "/mcp"}
	exact := func(body string) string {
		b, err := c.Exact(posted(body, ""))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return string(b)
	}
	const base = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"to":"ben","sum":9007199254740993}}}`
	for _, same := range []string{
		`{"jsonrpc":"2.0","id":"another","method":"tools/call","params":{"name":"pay","arguments":{"to":"ben","sum":9007199254740993}}}`,
		` {"params":{"arguments":{"sum":9007199254740993, "to":"\u0062en"},"_meta":{"progressToken":1},"name":"pay"},"method":"tools/call","id":1,"jsonrpc":"2.0"}`,
	} {
		if exact(same) != exact(base) {
			t.Errorf("%s\nis %s\nnot %s", same, exact(same), exact(base))
		}
	}
	for _, other := range []string{
		strings.Replace(base, "ben", "kim", 1), strings.Replace(base, "9007199254740993", "9007199254740992", 1), strings.Replace(base, "9007199254740993", "9007199254740993.0", 1),
		strings.Replace(base, "tools/call", "prompts/get", 1), strings.Replace(base, `"to"`, `"for"`, 1), strings.Replace(base, `"name":"pay"`, `"name":"pay","task":{}`, 1),
	} {
		if exact(other) == exact(base) {
			t.Errorf("%s is taken for\n%s", other, base)
		}
	}
	if b, err := c.Exact(&connector.Request{Method: "GET"}); b != nil || err != nil {
		t.Errorf("a stream: %s %v", b, err)
	}
	if _, err := c.Exact(posted("[]", "")); err == nil {
		t.Error("a batch has a meaning")
	}
}

func TestElicits(t *testing.T) {
	c := &Connector{path: "/mcp"}
	initialize := func(revision, capabilities string) *connector.Request {
		return posted(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+revision+`","capabilities":`+capabilities+`}}`, "")
	}
	meta := func(capabilities string) *connector.Request {
		return posted(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"io.modelcontextprotocol/clientCapabilities":`+capabilities+`}}}`, "2026-07-28")
	}
	for name, r := range map[string]struct {
		r    *connector.Request
		want bool
	}{
		"says so": {initialize("2025-11-25", `{"elicitation":{"url":{}}}`), true}, "forms alone": {initialize("2025-11-25", `{"elicitation":{"form":{}}}`), false},
		"as it was before": {initialize("2025-06-18", `{"elicitation":{"url":{}}}`), false}, "nothing": {initialize("2025-11-25", `{}`), false}, "null": {initialize("2025-11-25", `{"elicitation":{"url":null}}`), false},
		"in each request": {meta(`{"elicitation":{"url":{}}}`), true}, "not in this one": {meta(`{"elicitation":{}}`), false}, "another shape": {meta(`[]`), false},
		"another message": {posted(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{"url":{}}}}}`, ""), false},
	} {
		if got := c.Elicits(r.r); got != r.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestResume: what was asked for in the server's place does not reach it; what it asked for itself does.
func TestResume(t *testing.T) {
	c := &Connector{path: "/mcp"}
	call := func(rest string) *connector.Request {
		return posted(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"n":1.50}`+rest+`}}`, "2026-07-28")
	}
	ours := `,"requestState":"lanyard.approval/appr_1","inputResponses":{"lanyard.approval":{"action":"accept"}}`
	b, ok := c.Resume(call(ours))
	if plain := call("").Body; !ok || !bytes.Equal(b, plain) {
		t.Errorf("%v %s, want %s", ok, b, plain)
	}
	for _, theirs := range []string{"", `,"requestState":"abc","inputResponses":{"q":{}}`, `,"requestState":7`} {
		if b, ok := c.Resume(call(theirs)); ok {
			t.Errorf("%s was changed to %s", theirs, b)
		}
	}
	p := connector.Pending{ID: "appr_1", URL: "https://l/approvals/appr_1", Reason: "why", Elicit: true}
	for name, r := range map[string]struct {
		r    *connector.Request
		want string
	}{
		"asks":                                {call(""), `"input_required"`},
		"while the server asks itself":        {call(`,"requestState":"abc"`), `"code":-32001`},
		"of a method that is not tried again": {posted(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`, "2026-07-28"), `"code":-32001`},
		"with a session":                      {posted(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`, "2025-11-25"), `"code":-32042`},
	} {
		if _, _, b := c.Asked(r.r, p); !strings.Contains(string(b), r.want) || !json.Valid(b) {
			t.Errorf("%s: %s", name, b)
		}
	}
	if status, _, _ := c.Asked(posted(`{"jsonrpc":"2.0","method":"notifications/x"}`, ""), p); status != 0 {
		t.Error("a notification is answered")
	}
}

// FuzzExact: the exact form of a message is one of a message's own, whatever its id; and what is resumed is a message.
func FuzzExact(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","_meta":{},"arguments":{"b":1,"a":[1e5,"\u00e9"]},"requestState":"lanyard.approval/x"}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":"a","result":{}}`))
	c := &Connector{path: "/mcp"}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := posted(string(body), "2026-07-28")
		m, bad := parseMessage(body)
		exact, err := c.Exact(r)
		if (bad == nil) != (err == nil) {
			t.Fatalf("%v, and as a message %v", err, bad)
		}
		c.Elicits(r)
		resumed, ok := c.Resume(r)
		if bad != nil {
			return
		}
		if !json.Valid(exact) {
			t.Errorf("%s is no JSON", exact)
		}
		if ok {
			again, err := parseMessage(resumed)
			if err != nil || again.method != m.method || !bytes.Equal(again.id, m.id) || again.params.get("requestState") != nil {
				t.Errorf("%s: %v", resumed, err)
			}
		}
		if m.method == "" || m.id == nil {
			return
		}
		whole, err := parseObject(body)
		if err != nil {
			return
		}
		for i := range whole {
			if whole[i].name == "id" {
				whole[i].value = []byte(`"another"`)
			}
		}
		other, err := c.Exact(posted(string(whole.encode()), "2026-07-28"))
		if err != nil || !bytes.Equal(exact, other) {
			t.Errorf("with another id %s is %s (%v)", exact, other, err)
		}
	})
}

// TestExactMeta: of a message's metadata what says something of the one try alone is not part of what is approved, and all else is.
func TestExactMeta(t *testing.T) {
	c := &Connector{path: "/mcp"}
	exact := func(meta string) string {
		b, err := c.Exact(posted(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay",`+meta+`"arguments":{}}}`, ""))
		if err != nil {
			t.Fatalf("%s: %v", meta, err)
		}
		return string(b)
	}
	for _, same := range []string{
		`"_meta":{},`, `"_meta":{"progressToken":1,"traceparent":"00-1-1-00","tracestate":"a=b","io.modelcontextprotocol/clientInfo":{"name":"x"}},`,
		`"_meta":{"claudecode/toolUseId":"toolu_1","vscode.requestId":"r"},`,
	} {
		if exact(same) != exact("") {
			t.Errorf("%s is %s", same, exact(same))
		}
	}
	vendor := exact(`"_meta":{"vendor.example/account":"a"},`)
	for _, other := range []string{
		"", `"_meta":{"vendor.example/account":"b"},`, `"_meta":{"vendor.example/account":"a","baggage":"x"},`, `"_meta":"a",`, `"_meta":null,`,
		`"_meta":{"vendor.example/account":"a","claudecode/toolUseId":{"account":"b"}},`, `"_meta":{"vendor.example/account":"a","vscode.requestId":"` + strings.Repeat("x", 200) + `"},`,
	} {
		if exact(other) == vendor {
			t.Errorf("%s is taken for another", other)
		}
	}
	if exact(`"_meta":{"progressToken":1,"b":1,"vendor.example/account":"a"},`) != exact(`"_meta":{"vendor.example/account":"a","b":1},`) {
		t.Error("in another order it is another")
	}
}
