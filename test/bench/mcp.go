package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

type echo struct {
	Path string `json:"path"`
}

// tools makes a server of the official SDK with n tools that say what they were given.
func tools(n int) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "bench", Version: "1"}, nil)
	for i := range n {
		sdk.AddTool(s, &sdk.Tool{Name: fmt.Sprintf("tool_%d", i), Description: "Says what it was given.", Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}},
			func(_ context.Context, _ *sdk.CallToolRequest, in echo) (*sdk.CallToolResult, any, error) {
				return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: in.Path}}}, nil, nil
			})
	}
	return s
}

// runTools is the role: an MCP server without sessions.
func runTools(n int) error {
	s := tools(n)
	return serve(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true}), nil)
}

// runMCPWing is the role: a gateway before the MCP server at to. It prints its address and a token.
func runMCPWing(to string, n int) error {
	catalogue, err := catalogueOf(tools(n))
	if err != nil {
		return err
	}
	w, err := newWing()
	if err != nil {
		return err
	}
	up := policy.Upstream{Name: "mail", URL: to, Owner: "maya", Environment: "production", Family: "mcp", Description: catalogue, Version: 1}
	server, err := mcp.Open(catalogue)
	if err != nil {
		return err
	}
	until := time.Now().Add(24 * time.Hour)
	grant, err := policy.Compile(policy.Grant{ID: "bot-0/read", Identity: agentID(0), Upstream: "mail", Actions: []string{"read"}, Plain: true, Until: until},
		policy.Described{Upstream: up, Actions: server.Actions()})
	if err != nil {
		return err
	}
	return w.serve(up, grant, mcp.Family())
}

// catalogueOf is what lanyard mcp catalogue prints of a server.
func catalogueOf(s *sdk.Server) ([]byte, error) {
	ctx := context.Background()
	near, far := sdk.NewInMemoryTransports()
	if _, err := s.Connect(ctx, far, nil); err != nil {
		return nil, err
	}
	session, err := sdk.NewClient(&sdk.Implementation{Name: "bench", Version: "1"}, nil).Connect(ctx, near, nil)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	list := struct {
		Tools []*sdk.Tool `json:"tools"`
	}{}
	for t, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, err
		}
		list.Tools = append(list.Tools, t)
	}
	return json.Marshal(list)
}

// toolCall is one tools/call of revision 2026-07-28.
func toolCall(path string, header ...string) []byte {
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool_7","arguments":{"path":"/invoices/2026/11/17c2.pdf"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	s := "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		"Mcp-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: tool_7\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	for _, h := range header {
		s += h + "\r\n"
	}
	return []byte(s + "\r\n" + body)
}

// mcpCalls compares calling tools through the gateway with calling them directly.
func mcpCalls(conns, rounds int, each time.Duration) error {
	var targets []target
	for _, n := range []int{10, 1000} {
		server, err := child("mcp-server", strconv.Itoa(n))
		if err != nil {
			return err
		}
		defer server.end()
		gate, err := child("mcp-gateway", "http://"+server.addr, strconv.Itoa(n))
		if err != nil {
			return err
		}
		defer gate.end()
		direct, through := toolCall("/mcp"), toolCall("/mail/mcp", "Authorization: Bearer "+gate.more[0])
		targets = append(targets, target{name: fmt.Sprintf("direct-%d", n), addr: server.addr, pid: server.pid, request: func(int) []byte { return direct }},
			target{name: fmt.Sprintf("mcp-%d", n), addr: gate.addr, pid: gate.pid, request: func(int) []byte { return through }})
	}
	got, err := compare(conns, rounds, each, targets...)
	if err != nil {
		return err
	}
	ratio("mcp_vs_direct", rate(got["mcp-10"])/rate(got["direct-10"]))
	ratio("mcp_vs_direct_1000_tools", rate(got["mcp-1000"])/rate(got["direct-1000"]))
	figure("mcp_per_s", rate(got["mcp-10"]), "calls/s")
	figure("mcp_direct_per_s", rate(got["direct-10"]), "calls/s")
	for i, name := range map[int]string{0: "", 2: "_1000_tools"} {
		if err := added(name, targets[i], targets[i+1]); err != nil {
			return err
		}
	}
	return idle(targets[1], 1000)
}

// added says how much longer a call takes through the gateway, one at a time, in turn.
func added(name string, direct, through target) error {
	const calls = 2000
	took := [2][]float64{}
	var links [2]*link
	for k, t := range []target{direct, through} {
		l, err := t.dial()
		if err != nil {
			return err
		}
		defer l.Close()
		links[k] = l
	}
	for range calls {
		for k, t := range []target{direct, through} {
			begun := time.Now()
			if err := links[k].roundTrip(t.request(0)); err != nil {
				return err
			}
			took[k] = append(took[k], time.Since(begun).Seconds()*1000)
		}
	}
	at := func(k, percent int) float64 {
		slices.Sort(took[k])
		return took[k][len(took[k])*percent/100]
	}
	figure("mcp_added_ms_p50"+name, at(1, 50)-at(0, 50), "ms")
	figure("mcp_added_ms_p99"+name, at(1, 99)-at(0, 99), "ms")
	return nil
}

// idle says what a client that has called once and is quiet costs in the gateway's memory.
func idle(t target, n int) error {
	before := resident(t.pid)
	for range n {
		l, err := t.dial()
		if err != nil {
			return err
		}
		defer l.Close()
		if err := l.roundTrip(t.request(0)); err != nil {
			return err
		}
	}
	figure("mcp_idle_connection", (resident(t.pid)-before)/float64(n), "bytes")
	return nil
}

// resident is the memory of a process that is in RAM (proc(5), statm).
func resident(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if f := strings.Fields(string(b)); err == nil && len(f) > 1 {
		pages, _ := strconv.ParseFloat(f[1], 64)
		return pages * float64(os.Getpagesize())
	}
	return 0
}
