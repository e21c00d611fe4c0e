package gateway

//lint:file-ignore SA1019 servers of all revisions ask for what the newest one only still allows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const (
	withSessions    = "2025-11-25"
	withoutSessions = "2026-07-28"
)

type order struct {
	Dish string `json:"dish"`
}

var forName = &sdk.ElicitParams{Mode: "form", Message: "Your name?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}}}`)}

// curious is an MCP server that asks its client things in the midst of calls, each in the way of its revision.
func curious(t *testing.T, version string) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "curious", Version: "1"}, &sdk.ServerOptions{SupportedProtocolVersions: []string{version},
		CompletionHandler: func(_ context.Context, r *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{r.Params.Ref.Name + r.Params.Ref.URI + " " + r.Params.Argument.Value + "!"}}}, nil
		}})
	ask := func(name string, questions sdk.InputRequestMap, says func(sdk.InputResponseMap) string) {
		sdk.AddTool(s, &sdk.Tool{Name: name, Description: "Asks."}, func(ctx context.Context, r *sdk.CallToolRequest, in order) (*sdk.CallToolResult, any, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(t.Context(), cancel)() // nobody answers after the test
			answers := r.Params.InputResponses
			if version == withSessions {
				answers = sdk.InputResponseMap{}
				for key, q := range questions {
					var err error
					switch q := q.(type) {
					case *sdk.ElicitParams:
						answers[key], err = answered(r.Session.Elicit(ctx, q))
					case *sdk.CreateMessageWithToolsParams:
						answers[key], err = answered(r.Session.CreateMessageWithTools(ctx, q))
					case *sdk.ListRootsParams:
						answers[key], err = answered(r.Session.ListRoots(ctx, q))
					}
					if err != nil {
						return nil, nil, fmt.Errorf("the client says: %w", err)
					}
				}
			} else if answers == nil {
				return &sdk.CallToolResult{InputRequests: questions, RequestState: "mine:" + in.Dish}, nil, nil
			} else if r.Params.RequestState != "mine:"+in.Dish {
				return nil, nil, fmt.Errorf("it brings back %q", r.Params.RequestState)
			}
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: in.Dish + " for " + says(answers)}}}, nil, nil
		})
	}
	ask("order", sdk.InputRequestMap{"who": forName}, func(a sdk.InputResponseMap) string {
		r := a["who"].(*sdk.ElicitResult)
		return fmt.Sprint(r.Action, " ", r.Content["name"])
	})
	ask("think", sdk.InputRequestMap{"m": &sdk.CreateMessageWithToolsParams{MaxTokens: 7, Messages: []*sdk.SamplingMessageV2{{Role: "user", Content: []sdk.Content{&sdk.TextContent{Text: "hm"}}}}}}, func(a sdk.InputResponseMap) string {
		return a["m"].(*sdk.CreateMessageWithToolsResult).Model
	})
	ask("where", sdk.InputRequestMap{"r": &sdk.ListRootsParams{}}, func(a sdk.InputResponseMap) string {
		return a["r"].(*sdk.ListRootsResult).Roots[0].URI
	})
	ask("both", sdk.InputRequestMap{"r": &sdk.ListRootsParams{}, "who": forName}, func(a sdk.InputResponseMap) string {
		return fmt.Sprint(a["who"].(*sdk.ElicitResult).Content["name"], " at ", a["r"].(*sdk.ListRootsResult).Roots[0].URI)
	})
	ask("page", sdk.InputRequestMap{"p": &sdk.ElicitParams{Mode: "url", Message: "Sign", URL: "https://sign.example/secret", ElicitationID: "e1"}}, func(a sdk.InputResponseMap) string {
		return a["p"].(*sdk.ElicitResult).Action
	})
	s.AddPrompt(&sdk.Prompt{Name: "greet"}, func(ctx context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		answer, _ := r.Params.InputResponses["who"].(*sdk.ElicitResult)
		if version == withSessions {
			var err error
			if answer, err = r.Session.Elicit(ctx, forName); err != nil {
				return nil, err
			}
		} else if answer == nil {
			return &sdk.GetPromptResult{InputRequests: sdk.InputRequestMap{"who": forName}}, nil
		}
		return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: "Greet " + fmt.Sprint(answer.Content["name"])}}}}, nil
	})
	return s
}

// salon is a world with a curious server behind it, and behind a joined endpoint.
func salon(t *testing.T, version string) *world {
	s := curious(t, version)
	w := newWorld(t, sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s },
		&sdk.StreamableHTTPOptions{Stateless: version == withoutSessions, PropagateRequestCancellation: true}), func(c *Config) {
		c.Families = append(c.Families, mcp.Family(), mcp.JoinFamily())
	})
	keep(t, s)
	var tools []map[string]any
	for _, name := range []string{"order", "think", "where", "both", "page"} {
		tools = append(tools, map[string]any{"name": name, "description": "Asks.", "inputSchema": map[string]any{"type": "object", "properties": map[string]any{"dish": map[string]any{"type": "string"}}, "required": []string{"dish"}, "additionalProperties": false}})
	}
	b, err := json.Marshal(map[string]any{"path": "/mcp", "tools": tools})
	if err != nil {
		t.Fatal(err)
	}
	w.applyUpstream(&policy.Upstream{Name: "curious", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "mcp", Description: b, Version: 1})
	w.applyUpstream(&policy.Upstream{Name: "office", Owner: "maya", Environment: "production", Family: "join", Description: []byte("curious\n"), Version: 1})
	for _, u := range []string{"curious", "office"} {
		grant := all("bot")
		grant.ID, grant.Upstream = "bot/"+u, u
		w.apply(feed.Change{Grant: grant})
	}
	return w
}

// patron is a client of bot's at an upstream, and what it answers; nil is a client that can be asked nothing.
func (w *world) patron(ctx context.Context, upstream, version, name string) *sdk.ClientSession {
	w.t.Helper()
	claims := w.claims("bot")
	claims.Audience = testScope + "/" + upstream
	raw := w.mint(claims)
	o := &sdk.ClientOptions{Capabilities: &sdk.ClientCapabilities{}}
	if name != "" {
		o.Capabilities = &sdk.ClientCapabilities{RootsV2: &sdk.RootCapabilities{}, Elicitation: &sdk.ElicitationCapabilities{Form: &sdk.FormElicitationCapabilities{}, URL: &sdk.URLElicitationCapabilities{}}}
		o.ElicitationHandler = func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"name": name}}, nil
		}
		o.CreateMessageWithToolsHandler = func(context.Context, *sdk.CreateMessageWithToolsRequest) (*sdk.CreateMessageWithToolsResult, error) {
			return &sdk.CreateMessageWithToolsResult{Role: "assistant", Model: "model of " + name, Content: []sdk.Content{&sdk.TextContent{Text: "ah"}}}, nil
		}
	}
	c := sdk.NewClient(&sdk.Implementation{Name: "patron", Version: "1"}, o)
	if name != "" {
		c.AddRoots(&sdk.Root{URI: "file:///home/" + name})
	}
	s, err := c.Connect(ctx, &sdk.StreamableClientTransport{Endpoint: w.front.URL + "/" + upstream + "/mcp", MaxRetries: -1,
		HTTPClient: &http.Client{Transport: carrying(raw)}}, &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

type carrying string

func (c carrying) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(c))
	return http.DefaultTransport.RoundTrip(r)
}

func said(res *sdk.CallToolResult, err error) string {
	switch {
	case err != nil:
		return "error: " + err.Error()
	case len(res.Content) == 0:
		return "nothing"
	}
	return res.Content[0].(*sdk.TextContent).Text
}

// TestAsked: whatever the revisions on both sides, what a server asks in the midst of a call is answered by the client
// whose call it is, and by no other; each question is on record.
func TestAsked(t *testing.T) {
	for _, server := range []string{withSessions, withoutSessions} {
		for _, client := range []string{withSessions, withoutSessions} {
			t.Run("server "+server+" client "+client, func(t *testing.T) {
				before := runtime.NumGoroutine()
				t.Run("asks", func(t *testing.T) {
					w := salon(t, server)
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					defer cancel()
					call := func(s *sdk.ClientSession, tool, dish string) string {
						return said(s.CallTool(ctx, &sdk.CallToolParams{Name: "curious__" + tool, Arguments: order{dish}}))
					}
					ann := w.patron(ctx, "office", client, "ann")
					if v := ann.InitializeResult().ProtocolVersion; v != client {
						t.Fatalf("it speaks %s", v)
					}
					for tool, want := range map[string]string{"order": "soup for accept ann", "think": "soup for model of ann", "where": "soup for file:///home/ann", "both": "soup for ann at file:///home/ann", "page": "soup for accept"} {
						if got := call(ann, tool, "soup"); got != want {
							t.Errorf("%s: %q, want %q", tool, got, want)
						}
					}
					if p, err := ann.GetPrompt(ctx, &sdk.GetPromptParams{Name: "curious__greet"}); err != nil || p.Messages[0].Content.(*sdk.TextContent).Text != "Greet ann" {
						t.Errorf("a prompt: %+v %v", p, err)
					}
					for _, ref := range []*sdk.CompleteReference{{Type: "ref/prompt", Name: "curious__greet"}, {Type: "ref/resource", URI: "x://{y}"}} {
						want := strings.TrimPrefix(ref.Name, "curious__") + ref.URI + " a!"
						if c, err := ann.Complete(ctx, &sdk.CompleteParams{Ref: ref, Argument: sdk.CompleteParamsArgument{Name: "n", Value: "a"}}); err != nil || len(c.Completion.Values) != 1 || c.Completion.Values[0] != want {
							t.Errorf("a completion: %+v %v", c, err)
						}
					}
					var all sync.WaitGroup // of one identity, at the same time: none is asked for another
					for _, name := range []string{"ben", "cleo", "dora"} {
						s := w.patron(ctx, "office", client, name)
						for n := range 3 {
							all.Go(func() {
								for range 4 {
									dish := fmt.Sprint("dish ", n)
									if got, want := call(s, "order", dish), dish+" for accept "+name; got != want {
										t.Errorf("%q, want %q", got, want)
									}
								}
							})
						}
					}
					all.Wait()
					mute := w.patron(ctx, "office", client, "")
					for tool, why := range map[string]string{"order": "elicitation", "think": "", "where": ""} {
						if got := call(mute, tool, "soup"); strings.HasPrefix(got, "soup") || !strings.Contains(got, why) {
							t.Errorf("a client that can be asked nothing, %s: %q", tool, got)
						}
					}
					eventually(t, "the questions on record", func() bool {
						n := map[string]int{}
						for _, e := range w.plane.recorded() {
							if e.Type == "request.ask" && e.Upstream == "curious" && e.Actor == id("bot").String() && e.Outcome == "allowed" {
								n[e.Action]++
								if strings.Contains(fmt.Sprint(e), "secret") || e.Action == "mcp.elicit" && e.Detail["mode"] == "" {
									t.Fatalf("on record: %+v", e)
								}
							}
						}
						return n["mcp.elicit"] >= 40 && n["mcp.sample"] > 0 && n["mcp.roots"] > 1
					})
					w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "no-forms", Description: "Nobody is asked for anything.", Cedar: `forbid(principal, action == Lanyard::Action::"mcp.elicit", resource) when { context.args.mode == "form" };`}})
					late := w.patron(ctx, "office", client, "late")
					for _, s := range []*sdk.ClientSession{ann, late} {
						if got := call(s, "order", "soup"); strings.HasPrefix(got, "soup") || !strings.Contains(got, "Nobody is asked for anything") {
							t.Errorf("a form that is forbidden: %q", got)
						}
						if got := call(s, "page", "soup"); got != "soup for accept" {
							t.Errorf("a page: %q", got)
						}
					}
					if client == server { // the same at the upstream's own endpoint
						alone := w.patron(ctx, "curious", client, "eve")
						if got := said(alone.CallTool(ctx, &sdk.CallToolParams{Name: "page", Arguments: order{"soup"}})); got != "soup for accept" {
							t.Errorf("alone, a page: %q", got)
						}
						if got := said(alone.CallTool(ctx, &sdk.CallToolParams{Name: "order", Arguments: order{"soup"}})); !strings.Contains(got, "Nobody is asked for anything") {
							t.Errorf("alone, a form: %q", got)
						}
					}
					w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "no-forms-at-all", Cedar: `forbid(principal, action == Lanyard::Action::"mcp.elicit", resource);`}})
					if got := call(w.patron(ctx, "office", client, "last"), "order", "soup"); strings.HasPrefix(got, "soup") {
						t.Errorf("what is not offered: %q", got)
					}
					if err := w.g.Close(); err != nil {
						t.Error(err)
					}
				})
				eventually(t, "everything that was started has ended", func() bool {
					http.DefaultClient.CloseIdleConnections()
					return runtime.NumGoroutine() <= before+2
				})
			})
		}
	}
}

// TestParked: a call that waits for an answer is gone on with by the same caller, with the same call, once, and by nobody else.
func TestParked(t *testing.T) {
	w := salon(t, withSessions)
	w.enrol("other")
	for _, u := range []string{"curious", "office"} {
		grant := all("other")
		grant.ID, grant.Upstream = "other/"+u, u
		w.apply(feed.Change{Grant: grant})
	}
	ask := func(who, dish, more string) (string, string) {
		claims := w.claims(who)
		claims.Audience = testScope + "/office"
		r := w.request("POST", "/office/mcp", w.mint(claims), strings.NewReader(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"curious__order","arguments":{"dish":"`+dish+`"},`+more+
			`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}}}}}`))
		for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": withoutSessions, "Mcp-Method": "tools/call", "Mcp-Name": "curious__order"} {
			r.Header.Set(name, value)
		}
		_, body := w.do(r)
		var reply struct {
			Result struct {
				State string `json:"requestState"`
			} `json:"result"`
		}
		_ = json.Unmarshal([]byte(strings.TrimPrefix(body[max(0, strings.Index(body, "{")):], "data: ")), &reply)
		return reply.Result.State, body
	}
	answer := func(state, answers string) string {
		return `"requestState":"` + state + `","inputResponses":` + answers + `,`
	}
	const accepts = `{"answer":{"action":"accept","content":{"name":"ann"}}}`
	state, body := ask("bot", "soup", "")
	if state == "" || !strings.Contains(body, `"resultType":"input_required"`) || !strings.Contains(body, "Your name?") {
		t.Fatal(body)
	}
	for name, try := range map[string]func() (string, string){
		"another's":          func() (string, string) { return ask("other", "soup", answer(state, accepts)) },
		"another call":       func() (string, string) { return ask("bot", "cake", answer(state, accepts)) },
		"no answer":          func() (string, string) { return ask("bot", "soup", answer(state, "{}")) },
		"another sort":       func() (string, string) { return ask("bot", "soup", answer(state, `{"answer":{"roots":[]}}`)) },
		"made up":            func() (string, string) { return ask("bot", "soup", answer(state+"0", accepts)) },
		"none of ours":       func() (string, string) { return ask("bot", "soup", answer("mine:soup", accepts)) },
		"another upstream's": func() (string, string) { return ask("bot", "soup", answer("door:notes:1", accepts)) },
	} {
		if _, body := try(); strings.Contains(body, "for accept") || !strings.Contains(body, `"error"`) {
			t.Errorf("%s: %s", name, body)
		}
	}
	if _, body := ask("bot", "soup", answer(state, accepts)); !strings.Contains(body, "soup for accept ann") {
		t.Errorf("the answer: %s", body)
	}
	if _, body := ask("bot", "soup", answer(state, accepts)); !strings.Contains(body, `"error"`) {
		t.Errorf("the answer a second time: %s", body)
	}
	for n := range maxParked + 1 {
		_, body := ask("bot", fmt.Sprint(n), "")
		if full := strings.Contains(body, "answer those first"); full != (n == maxParked) {
			t.Errorf("call %d that waits: %s", n, body)
		}
	}
	// Who is killed is asked no more, and what ran at the upstream has ended.
	state, _ = ask("other", "soup", "")
	w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot", "other"), At: time.Now()}})
	eventually(t, "nothing runs", func() bool { return w.g.streams.running() == 0 })
	if _, body := ask("other", "soup", answer(state, accepts)); strings.Contains(body, "for accept") {
		t.Errorf("after the kill: %s", body)
	}
}

// TestAskedOutOfTurn: an upstream that asks when nobody has called it, or asks without end, gets an error, and the call its end.
func TestAskedOutOfTurn(t *testing.T) {
	s := sdk.NewServer(&sdk.Implementation{Name: "nosy", Version: "1"}, &sdk.ServerOptions{SupportedProtocolVersions: []string{withSessions}})
	sdk.AddTool(s, &sdk.Tool{Name: "order", Description: "Asks."}, func(ctx context.Context, r *sdk.CallToolRequest, in order) (*sdk.CallToolResult, any, error) {
		for n := 0; ; n++ {
			if _, err := r.Session.Elicit(ctx, forName); err != nil {
				return nil, nil, fmt.Errorf("after %d: %w", n, err)
			}
		}
	})
	var lists atomic.Bool // something is asked in the midst of a list
	lists.Store(true)
	var refused atomic.Int64
	s.AddReceivingMiddleware(func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
			if method == "tools/list" && lists.Load() {
				if _, err := req.GetSession().(*sdk.ServerSession).Elicit(ctx, forName); err != nil {
					refused.Add(1)
				}
			}
			return next(ctx, method, req)
		}
	})
	back := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil))
	t.Cleanup(func() { back.CloseClientConnections(); back.Close() })
	w := salon(t, withSessions)
	u, _ := w.view.Upstream("curious")
	moved := *u
	moved.URL, moved.Version = back.URL, 2
	w.applyUpstream(&moved)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	patron := w.patron(ctx, "office", withSessions, "ann")
	if list, err := patron.ListTools(ctx, nil); err != nil || len(list.Tools) != 1 || refused.Load() == 0 {
		t.Errorf("a list in the midst of which something is asked: %+v %v, refused %d times", list, err, refused.Load())
	}
	alone := w.patron(ctx, "curious", withSessions, "ann") // at its own endpoint the client is asked
	before := refused.Load()
	if list, err := alone.ListTools(ctx, nil); err != nil || len(list.Tools) != 1 || refused.Load() != before {
		t.Errorf("alone, a list in the midst of which something is asked: %+v %v, refused %d times", list, err, refused.Load()-before)
	}
	lists.Store(false)
	if got := said(patron.CallTool(ctx, &sdk.CallToolParams{Name: "curious__order", Arguments: order{"soup"}})); !strings.Contains(got, fmt.Sprint("after ", maxAsked)) {
		t.Errorf("without end: %q", got)
	}
}

// TestParkedShut: a question that comes when its door is closed ends the call.
func TestParkedShut(t *testing.T) {
	w := newWorld(t, http.NotFoundHandler())
	d := &door{g: w.g} // as shut leaves it
	ended := false
	p := &parked{asker: asker{questions: make(chan question, 1)}, end: func() { ended = true }, result: make(chan outcome)}
	p.questions <- question{}
	if o := d.wait(t.Context(), p); !errors.Is(o.err, errShut) || !ended {
		t.Errorf("%v, ended: %v", o.err, ended)
	}
}
