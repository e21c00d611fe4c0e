package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// asking makes the desk's tool calls need people's yes.
func (d *desk) asking(p *people) {
	d.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("owner") forbid(principal, action == Lanyard::Action::"tools.drop_notes", resource);`}})
	p.view = d.view
}

func newAskingDesk(t *testing.T) (*desk, *people) {
	p := &people{}
	d := newDesk(t, func(c *Config) { c.Desk = p })
	d.asking(p)
	return d, p
}

func (d *desk) say(raw, message string, header ...string) string {
	d.t.Helper()
	r := d.request("POST", "/notes/mcp", raw, strings.NewReader(message))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	_, text := d.do(r)
	return text
}

func (d *desk) token() string {
	c := d.claims("bot")
	c.Audience = testScope + "/notes"
	return d.mint(c)
}

// TestApproveMCP: a tool call waits for people in the words of its client's revision; another id, other metadata or
// members in another order are the same call, another argument is not.
func TestApproveMCP(t *testing.T) {
	d, p := newAskingDesk(t)
	raw := d.token()
	call := func(id, rest string) string {
		return d.say(raw, `{"jsonrpc":"2.0","id":`+id+`,"method":"tools/call","params":`+rest+`}`)
	}
	text := call("1", `{"name":"drop_notes","arguments":{"path":"/a"}}`)
	if !strings.Contains(text, `"code":-32001`) || !strings.Contains(text, `"approval":{`) || !strings.Contains(text, issuer+"/approvals/appr_1") || !strings.Contains(text, `"id":1`) {
		t.Fatal(text)
	}
	if p.last.Shown == nil || !strings.Contains(p.last.Shown.Body, `"path": "/a"`) {
		t.Errorf("people see %+v", p.last.Shown)
	}
	call("2", `{"name":"drop_notes","arguments":{"path":"/b"}}`)
	if p.count() != 2 {
		t.Fatalf("%d questions", p.count())
	}
	p.mu.Lock()
	p.all[0].State, p.all[0].By = feed.Approved, []identity.OwnerID{"maya"}
	err := p.tell(p.all[0])
	p.mu.Unlock()
	if text := call(`"x"`, `{"_meta":{"progressToken":7},"arguments": {"path":"\u002fa"}, "name":"drop_notes"}`); err != nil || !strings.Contains(text, "drop_notes did it") {
		t.Errorf("the same call: %s", text)
	}
	if text := call("3", `{"name":"drop_notes","arguments":{"path":"/b"}}`); !strings.Contains(text, "appr_2") || d.calls.Load() != 1 {
		t.Errorf("another argument: %s", text)
	}
	if text := call("4", `{"name":"read_note","arguments":{}}`); !strings.Contains(text, "read_note did it") {
		t.Errorf("what nobody has to approve: %s", text)
	}
	if text := d.say(raw, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`); !strings.Contains(text, "drop_notes") {
		t.Errorf("a tool that can be approved is not shown: %s", text)
	}
	p.say(t, func(a *feed.Approval) { a.State = feed.Denied })
	if text := call("5", `{"name":"drop_notes","arguments":{"path":"/b"}}`); !strings.Contains(text, "maya denied it") {
		t.Errorf("denied: %s", text)
	}
}

// TestApproveElicit: a client that shows addresses is given one: as an error in 2025-11-25, as a question in 2026-07-28,
// whose answer is waited for and does not reach the server.
func TestApproveElicit(t *testing.T) {
	d, p := newAskingDesk(t)
	server := sdk.NewServer(&sdk.Implementation{Name: "notes", Version: "1"}, nil)
	var seen atomic.Pointer[string]
	sdk.AddTool(server, &sdk.Tool{Name: "drop_notes", Description: "Drops notes."}, func(_ context.Context, r *sdk.CallToolRequest, _ struct {
		Path string `json:"path,omitempty"`
	}) (*sdk.CallToolResult, any, error) {
		s := r.Params.RequestState
		seen.Store(&s)
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "dropped"}}}, nil, nil
	})
	sessions := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{JSONResponse: true})
	serve := http.HandlerFunc(sessions.ServeHTTP)
	d.answers.Store(&serve)
	raw := d.token()
	open := func(capabilities string) string {
		r := d.request("POST", "/notes/mcp", raw, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":`+capabilities+`,"clientInfo":{"name":"c","version":"1"}}}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		res, text := d.do(r)
		if res.StatusCode != 200 {
			t.Fatal(text)
		}
		return res.Header.Get("Mcp-Session-Id")
	}
	const drop = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"drop_notes","arguments":{"path":"/a"}}}`
	able, unable := open(`{"elicitation":{"url":{}}}`), open(`{"elicitation":{"form":{}}}`)
	text := d.say(raw, drop, "Mcp-Session-Id", able, "Mcp-Protocol-Version", "2025-11-25")
	if !strings.Contains(text, `"code":-32042`) || !strings.Contains(text, `"elicitations":[{"elicitationId":"appr_1"`) || !strings.Contains(text, `"mode":"url"`) || !strings.Contains(text, issuer+"/approvals/appr_1") {
		t.Errorf("who can show an address hears %s", text)
	}
	if text := d.say(raw, drop, "Mcp-Session-Id", unable, "Mcp-Protocol-Version", "2025-11-25"); !strings.Contains(text, `"code":-32001`) {
		t.Errorf("who cannot hears %s", text)
	}
	mac, name, _ := strings.Cut(unable, ".")
	_, other, _ := strings.Cut(able, ".")
	if text := d.say(raw, drop, "Mcp-Session-Id", mac+"."+other, "Mcp-Protocol-Version", "2025-11-25"); strings.Contains(text, "-32042") || name == other {
		t.Errorf("a session put together hears %s", text)
	}
	p.say(t, yes)
	if text := d.say(raw, drop, "Mcp-Session-Id", unable, "Mcp-Protocol-Version", "2025-11-25"); !strings.Contains(text, "dropped") {
		t.Errorf("approved: %s", text)
	}

	web := &http.Client{Transport: bearer(raw)}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var shown atomic.Int64
	stateless := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	serve2 := http.HandlerFunc(stateless.ServeHTTP)
	d.answers.Store(&serve2)
	client := sdk.NewClient(&sdk.Implementation{Name: "c", Version: "1"}, &sdk.ClientOptions{
		Capabilities: &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{URL: &sdk.URLElicitationCapabilities{}}},
		ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			if shown.Add(1); r.Params.Mode != "url" || !strings.HasPrefix(r.Params.URL, issuer+"/approvals/appr_") {
				t.Errorf("shown %+v", r.Params)
			}
			go func() {
				time.Sleep(50 * time.Millisecond)
				p.say(t, yes)
			}()
			return &sdk.ElicitResult{Action: "accept"}, nil
		}})
	s, err := client.Connect(ctx, &sdk.StreamableClientTransport{Endpoint: d.front.URL + "/notes/mcp", HTTPClient: web, MaxRetries: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v := s.InitializeResult().ProtocolVersion; v < "2026-07-28" {
		t.Fatalf("the client speaks %s", v)
	}
	res, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "drop_notes", Arguments: map[string]any{"path": "/c"}})
	if err != nil || len(res.Content) != 1 || res.Content[0].(*sdk.TextContent).Text != "dropped" || shown.Load() != 1 {
		t.Fatalf("%+v %v, shown %d times", res, err, shown.Load())
	}
	if state := seen.Load(); state == nil || *state != "" {
		t.Errorf("the server was told of %v", state)
	}
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// TestApproveJoined: behind a joined endpoint the call waits at its own upstream, and the client is told where.
func TestApproveJoined(t *testing.T) {
	p := &people{}
	d := joined(t)
	d.g.Desk = p
	d.asking(p)
	_, text := d.do(d.joinedCall("notes__drop_notes"))
	if !strings.Contains(text, issuer+"/approvals/appr_1") || p.count() != 1 || p.last.Upstream != "notes" {
		t.Fatalf("%d questions, %s", p.count(), text)
	}
	if d.do(d.joinedCall("notes__drop_notes")); p.count() != 1 {
		t.Errorf("asked %d times", p.count())
	}
	p.say(t, yes)
	if _, text := d.do(d.joinedCall("notes__drop_notes")); !strings.Contains(text, "drop_notes did it") {
		t.Errorf("approved: %s", text)
	}
	if _, text := d.do(d.joinedCall("notes__drop_notes")); !strings.Contains(text, "appr_2") || d.calls.Load() != 1 {
		t.Errorf("a second time: %s", text)
	}
}

// TestApproveComplete: a client with sessions at a joined endpoint that was sent to where people approve hears when they have
// decided, and nobody else does.
func TestApproveComplete(t *testing.T) {
	for _, upstream := range []string{withSessions, withoutSessions} {
		t.Run(upstream, func(t *testing.T) {
			p := &people{}
			d := joined(t)
			d.g.Desk = p
			d.asking(p)
			server := sdk.NewServer(&sdk.Implementation{Name: "notes", Version: "1"}, &sdk.ServerOptions{SupportedProtocolVersions: []string{upstream}})
			sdk.AddTool(server, &sdk.Tool{Name: "drop_notes", Description: "Drops notes."}, func(context.Context, *sdk.CallToolRequest, struct {
				Path string `json:"path,omitempty"`
			}) (*sdk.CallToolResult, any, error) {
				return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "dropped"}}}, nil, nil
			})
			serve := http.HandlerFunc(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{Stateless: upstream == withoutSessions}).ServeHTTP)
			keep(t, server)
			d.answers.Store(&serve)
			claims := d.claims("bot")
			claims.Audience = testScope + "/office"
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var told, other atomic.Pointer[string]
			enter := func(told *atomic.Pointer[string]) *sdk.ClientSession {
				s, err := sdk.NewClient(&sdk.Implementation{Name: "c", Version: "1"}, &sdk.ClientOptions{
					Capabilities: &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{URL: &sdk.URLElicitationCapabilities{}}},
					ElicitationCompleteHandler: func(_ context.Context, r *sdk.ElicitationCompleteNotificationRequest) {
						told.Store(&r.Params.ElicitationID)
					},
					ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
						time.AfterFunc(50*time.Millisecond, func() { p.say(t, yes) })
						return &sdk.ElicitResult{Action: "accept"}, nil
					},
				}).Connect(ctx, &sdk.StreamableClientTransport{Endpoint: d.front.URL + "/office/mcp", MaxRetries: -1, HTTPClient: &http.Client{Transport: bearer(d.mint(claims))}}, &sdk.ClientSessionOptions{ProtocolVersion: withSessions})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				return s
			}
			s := enter(&told)
			enter(&other)
			drop := func() string {
				return said(s.CallTool(ctx, &sdk.CallToolParams{Name: "notes__drop_notes", Arguments: map[string]any{"path": "/a"}}))
			}
			if upstream == withoutSessions { // which asks in the midst of the call
				if text := drop(); text != "dropped" {
					t.Errorf("it is answered %s", text)
				}
			} else {
				_, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "notes__drop_notes", Arguments: map[string]any{"path": "/a"}})
				var needs *jsonrpc.Error
				if !errors.As(err, &needs) || needs.Code != mcp.MustOpen || !strings.Contains(string(needs.Data), issuer+"/approvals/appr_1") {
					t.Fatalf("it is answered %v", err)
				}
				if told.Load() != nil {
					t.Error("it is told before anything is decided")
				}
				p.say(t, yes)
			}
			eventually(t, "it is told", func() bool { id := told.Load(); return id != nil && *id == "appr_1" })
			if other.Load() != nil {
				t.Error("another session is told")
			}
			if text := drop(); upstream == withSessions && text != "dropped" {
				t.Errorf("afterwards it is answered %s", text)
			}
		})
	}
}
