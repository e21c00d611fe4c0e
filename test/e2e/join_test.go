package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/client"
)

// server is an MCP server of the official SDK that speaks only these revisions.
func server(t *testing.T, h *house, name string, versions []string, fill func(*mcp.Server)) {
	t.Helper()
	s := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, &mcp.ServerOptions{SupportedProtocolVersions: versions})
	fill(s)
	web := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s },
		&mcp.StreamableHTTPOptions{Stateless: slices.Equal(versions, []string{"2026-07-28"}), PropagateRequestCancellation: true}))
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	catalogue := filepath.Join(h.dir, name+".json")
	if err := os.WriteFile(catalogue, []byte(h.do("mcp", "catalogue", web.URL+"/mcp")), 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("upstream", "put", name, "--url", web.URL, "--mcp", catalogue, "--owner", "maya")
}

func reading(s *mcp.Server) {
	mcp.AddTool(s, &mcp.Tool{Name: "read_note", Description: "Reads a note.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, says("read"))
	mcp.AddTool(s, &mcp.Tool{Name: "drop_notes", Description: "Drops notes."}, says("dropped"))
	s.AddResource(&mcp.Resource{URI: "note://welcome", Name: "welcome"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "note://welcome", Text: "hello"}}}, nil
	})
	s.AddPrompt(&mcp.Prompt{Name: "greet"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "hi"}}}}, nil
	})
}

func slow(s *mcp.Server, told chan bool) {
	mcp.AddTool(s, &mcp.Tool{Name: "count", Description: "Counts, slowly.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(ctx context.Context, r *mcp.CallToolRequest, in note) (*mcp.CallToolResult, any, error) {
			for n := range 3 {
				if token := r.Params.GetProgressToken(); token != nil {
					r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: float64(n + 1)})
				}
			}
			switch in.Path {
			case "forever":
				<-ctx.Done()
			case "told": // the last word, which ends the stream, comes after all others have arrived
				<-told
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "three"}}}, nil, nil
		})
}

// agent registers an identity that may do all of these upstreams' reading, and connects it to the endpoint of one.
func (h *house) connected(ctx context.Context, name, to string, o *mcp.ClientOptions, upstreams ...string) (*mcp.ClientSession, *http.Client) {
	h.Helper()
	h.do("identity", "register", name, "--owner", "maya", "--purpose", "tests")
	h.do("keygen", name)
	h.do("credential", "add", name, "--public-key", name+".jwk")
	for _, u := range append(upstreams, to) {
		h.do("grant", "put", name, u, "--upstream", u, "--action", "read")
	}
	badge, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/" + name, KeyFile: filepath.Join(h.dir, name+".key.jwk")})
	if err != nil {
		h.Fatal(err)
	}
	web := badge.HTTPClient(h.gate + "/" + to)
	s, err := mcp.NewClient(&mcp.Implementation{Name: name, Version: "1"}, o).
		Connect(ctx, &mcp.StreamableClientTransport{Endpoint: h.gate + "/" + to + "/mcp", HTTPClient: web, MaxRetries: -1}, nil)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { s.Close() })
	return s, web
}

func names(t *testing.T, ctx context.Context, s *mcp.ClientSession) string {
	t.Helper()
	var out []string
	for tool, err := range s.Tools(ctx, nil) {
		if err != nil {
			t.Error(err)
			break
		}
		out = append(out, tool.Name)
	}
	return strings.Join(out, " ")
}

func text(res *mcp.CallToolResult) string {
	if res == nil || len(res.Content) == 0 {
		return ""
	}
	return res.Content[0].(*mcp.TextContent).Text
}

// TestJoin: several servers of different revisions behind one endpoint; each call is decided and recorded at its own.
func TestJoin(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	server(t, h, "old", []string{"2025-11-25"}, reading)
	told := make(chan bool, 1)
	server(t, h, "new", []string{"2026-07-28"}, func(s *mcp.Server) { slow(s, told) })
	server(t, h, "other", nil, reading)
	h.do("upstream", "put", "desk", "--join", "old,new,other", "--owner", "maya")
	h.fails(3, "no MCP upstream", "upstream", "put", "bad", "--join", "old,nowhere", "--owner", "maya")
	if out := h.do("doctor"); strings.Contains(out, "upstream desk") || !strings.Contains(out, "upstream old can be reached") {
		t.Errorf("a joined endpoint has no address of its own:\n%s", out)
	}
	if out := h.do("status"); strings.Contains(out, "desk at \n") {
		t.Errorf("a joined endpoint at no address:\n%s", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var steps []float64
	s, web := h.connected(ctx, "scribe", "desk", &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, p *mcp.ProgressNotificationClientRequest) {
		if steps = append(steps, p.Params.Progress); len(steps) == 3 {
			told <- true
		}
	}}, "old", "new")
	if v := s.InitializeResult().ProtocolVersion; v != "2026-07-28" {
		t.Errorf("it speaks %s", v)
	}
	if got := names(t, ctx, s); got != "old__read_note new__count" {
		t.Errorf("it is told of %q", got)
	}
	if res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "old__read_note", Arguments: note{Path: "/a"}}); err != nil || text(res) != "read /a" {
		t.Errorf("the older server: %q %v", text(res), err)
	}
	p := &mcp.CallToolParams{Name: "new__count", Arguments: note{Path: "told"}}
	p.SetProgressToken("mine")
	if res, err := s.CallTool(ctx, p); err != nil || text(res) != "three" {
		t.Errorf("the newer server: %q %v", text(res), err)
	}
	if fmt.Sprint(steps) != "[1 2 3]" {
		t.Errorf("it was told of progress %v", steps)
	}
	for name, why := range map[string]string{"old__drop_notes": "Maya Lind, owner of old", "other__read_note": "other", "read_note": "names are", "nowhere__x": "names are"} {
		if res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: note{Path: "/a"}}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %q %v", name, text(res), err)
		}
	}
	if l, err := s.ListResources(ctx, nil); err != nil || len(l.Resources) != 1 {
		t.Errorf("resources: %+v %v", l, err)
	}
	if r, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: "note://welcome"}); err != nil || r.Contents[0].Text != "hello" {
		t.Errorf("a resource: %v", err)
	}
	if l, err := s.ListPrompts(ctx, nil); err != nil || len(l.Prompts) != 1 || l.Prompts[0].Name != "old__greet" {
		t.Errorf("prompts: %+v %v", l, err)
	}
	if r, err := s.GetPrompt(ctx, &mcp.GetPromptParams{Name: "old__greet"}); err != nil || len(r.Messages) != 1 {
		t.Errorf("a prompt: %v", err)
	}
	h.eventually("each call is on record at its own upstream", func() bool {
		out := h.do("audit", "search", "--identity", "scribe")
		return strings.Contains(out, "tools.read_note on old") && strings.Contains(out, "tools.count on new") && strings.Contains(out, "tools.drop_notes on old")
	})

	// A client of the first revision with sessions, by hand, and one that takes another's session.
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25"} {
		session, said := speak(t, web, h.gate+"/desk/mcp", "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+version+`","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
		if session == "" || !strings.Contains(said, version) {
			t.Fatalf("%s: %q %s", version, session, said)
		}
		speak(t, web, h.gate+"/desk/mcp", session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		if _, said = speak(t, web, h.gate+"/desk/mcp", session, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"new__count","arguments":{"path":"x"}}}`); !strings.Contains(said, "three") {
			t.Errorf("%s: %s", version, said)
		}
		_, thief := h.connected(ctx, "thief-"+version, "desk", nil, "old")
		if _, said = speak(t, thief, h.gate+"/desk/mcp", session, `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`); !strings.Contains(said, "404") {
			t.Errorf("another's session: %s", said)
		}
	}

	// Who is killed in the middle of a call hears of it at once.
	before := strings.Count(h.do("audit", "search", "--identity", "scribe"), "tools.count on new")
	ended := make(chan error, 1)
	go func() {
		_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "new__count", Arguments: note{Path: "forever"}})
		ended <- err
	}()
	h.eventually("the call runs", func() bool {
		return strings.Count(h.do("audit", "search", "--identity", "scribe"), "tools.count on new") > before
	})
	h.do("kill", "scribe", "--reason", "test")
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a killed call ended well")
		}
	case <-time.After(20 * time.Second):
		t.Error("a killed call went on")
	}
	if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "old__read_note", Arguments: note{Path: "/a"}}); err == nil {
		t.Error("after the kill it goes on")
	}
}

// speak posts one message and returns the session's name, and what was answered or the status.
func speak(t *testing.T, web *http.Client, at, session, message string) (string, string) {
	t.Helper()
	r, err := http.NewRequest("POST", at, strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if session != "" {
		r.Header.Set("Mcp-Session-Id", session)
	}
	res, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	said := fmt.Sprint(res.StatusCode, " ")
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		said += lines.Text()
	}
	return res.Header.Get("Mcp-Session-Id"), said
}

// TestJoinMany: of more tools than a model can read it is given a search.
func TestJoinMany(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	server(t, h, "many", nil, func(s *mcp.Server) {
		for n := range 250 {
			mcp.AddTool(s, &mcp.Tool{Name: fmt.Sprintf("tool_%03d", n), Description: fmt.Sprintf("Does thing number %d with invoices.", n), Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, says(fmt.Sprint(n)))
		}
		mcp.AddTool(s, &mcp.Tool{Name: "drop_invoices", Description: "Drops invoices."}, says("dropped"))
	})
	h.do("upstream", "put", "desk", "--join", "many", "--owner", "maya")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	s, _ := h.connected(ctx, "scribe", "desk", nil, "many")
	if got := names(t, ctx, s); got != "find_tools use_tool" {
		t.Fatalf("it is told of %q", got)
	}
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "find_tools", Arguments: map[string]any{"query": "thing 217 invoices"}})
	if err != nil {
		t.Fatal(err)
	}
	var found struct {
		Tools    []*mcp.Tool
		Matching int
	}
	if err := json.Unmarshal([]byte(text(res)), &found); err != nil || len(found.Tools) != 20 || found.Tools[0].Name != "many__tool_217" || found.Matching != 250 || strings.Contains(text(res), "drop_invoices") {
		t.Errorf("found %d of %d: %.300s", len(found.Tools), found.Matching, text(res))
	}
	use := func(name string) (*mcp.CallToolResult, error) {
		return s.CallTool(ctx, &mcp.CallToolParams{Name: "use_tool", Arguments: map[string]any{"name": name, "arguments": note{Path: "/a"}}})
	}
	if res, err := use("many__tool_217"); err != nil || text(res) != "217 /a" {
		t.Errorf("used: %q %v", text(res), err)
	}
	if res, err := use("many__drop_invoices"); err == nil || !strings.Contains(err.Error(), "Maya Lind, owner of many") {
		t.Errorf("what is not granted: %q %v", text(res), err)
	}
	if _, err := use("use_tool"); err == nil {
		t.Error("use_tool of use_tool")
	}
}
