package e2e

//lint:file-ignore SA1019 servers of all revisions ask for what the newest one only still allows

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/test/port"
)

// TestJoinAsks: what an older server asks the person in the midst of a call reaches a client of the newest revision, whose
// answer goes back through a gateway elsewhere, too; it is on record, and an operator can forbid it.
func TestJoinAsks(t *testing.T) {
	t.Parallel()
	feed := port.Free()
	h := build(t, "--role", "control", "--feed-listen", feed)
	h.outpost("gw-a", h.gateA, feed).started(h.joinToken("gw-a"))
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	server(t, h, "shop", []string{"2025-11-25"}, func(s *mcp.Server) {
		mcp.AddTool(s, &mcp.Tool{Name: "order", Description: "Orders.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
			func(ctx context.Context, r *mcp.CallToolRequest, in note) (*mcp.CallToolResult, any, error) {
				answer, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "For whom?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}}}`)})
				if err != nil {
					return nil, nil, err
				}
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(in.Path, " for ", answer.Content["name"])}}}, nil, nil
			})
	})
	h.do("upstream", "put", "desk", "--join", "shop", "--owner", "maya")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	s, _ := h.connected(ctx, "scribe", "desk", &mcp.ClientOptions{ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ann, who was asked " + r.Params.Message}}, nil
	}}, "shop")
	order := func() (string, error) {
		res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "shop__order", Arguments: note{Path: "soup"}})
		return text(res), err
	}
	if v := s.InitializeResult().ProtocolVersion; v != "2026-07-28" {
		t.Errorf("it speaks %s", v)
	}
	if got, err := order(); err != nil || got != "soup for Ann, who was asked For whom?" {
		t.Errorf("%q %v", got, err)
	}
	h.eventually("the question on record", func() bool {
		return strings.Contains(h.do("audit", "search", "--type", "request.ask"), "mcp.elicit on shop")
	})
	rule := filepath.Join(h.dir, "no-forms.cedar")
	if err := os.WriteFile(rule, []byte(`forbid(principal, action == Lanyard::Action::"mcp.elicit", resource) when { context.args has mode && context.args.mode == "form" };`), 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("guardrail", "put", "no-forms", "--cedar", rule, "--description", "Servers ask nobody for anything.")
	if got, err := order(); err == nil || !strings.Contains(err.Error(), "Servers ask nobody for anything") {
		t.Errorf("forbidden: %q %v", got, err)
	}
}

// TestJoinEverything: the official server, a command, asks for all that there is to ask for.
func TestJoinEverything(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	h.serveStdio("everything")
	h.do("upstream", "put", "desk", "--join", "everything", "--owner", "maya")
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	h.connected(ctx, "scribe", "desk", nil)
	h.do("grant", "put", "scribe", "asking", "--upstream", "everything", "--action", "mcp.*", "--action", "tools.trigger-elicitation-request", "--action", "tools.trigger-sampling-request", "--action", "tools.get-roots-list")
	badge, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/scribe", KeyFile: filepath.Join(h.dir, "scribe.key.jwk")})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		c := mcp.NewClient(&mcp.Implementation{Name: "scribe", Version: "1"}, &mcp.ClientOptions{
			ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ann"}}, nil
			},
			CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
				return &mcp.CreateMessageResult{Role: "assistant", Model: "a model", Content: &mcp.TextContent{Text: "an answer"}}, nil
			}})
		c.AddRoots(&mcp.Root{URI: "file:///home/ann", Name: "ann"})
		s, err := c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: h.gate + "/desk/mcp", HTTPClient: badge.HTTPClient(h.gate + "/desk"), MaxRetries: -1}, &mcp.ClientSessionOptions{ProtocolVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		for tool, want := range map[string]string{"trigger-elicitation-request": "Ann", "trigger-sampling-request": "an answer", "get-roots-list": "file:///home/ann"} {
			bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
			res, err := s.CallTool(bounded, &mcp.CallToolParams{Name: "everything__" + tool, Arguments: map[string]any{}})
			if tool == "trigger-sampling-request" {
				res, err = s.CallTool(bounded, &mcp.CallToolParams{Name: "everything__" + tool, Arguments: map[string]any{"prompt": "hm"}})
			}
			cancel()
			b, _ := json.Marshal(res)
			if err != nil || !strings.Contains(string(b), want) {
				t.Errorf("%s, %s: %s %v", version, tool, b, err)
			}
		}
		s.Close()
	}
}
