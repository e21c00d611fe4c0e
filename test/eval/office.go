package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// office is a real MCP server with a suite's tools, which answers as was recorded: a call that comes
// through is answered with the result of the call that is being played.
type office struct {
	url string
	web *httptest.Server

	mu      sync.Mutex
	playing *call
	came    bool // the call that is played has reached it
}

func newOffice(s *suite, runs []*run) *office {
	o := &office{}
	server := sdk.NewServer(&sdk.Implementation{Name: s.Name, Version: "1"}, nil)
	for _, name := range slices.Sorted(maps.Keys(s.Tools)) {
		server.AddTool(&sdk.Tool{Name: name, Description: s.Tools[name].Description, InputSchema: s.schema(name, runs)}, o.handle)
	}
	o.web = httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{JSONResponse: true}))
	o.url = o.web.URL
	return o
}

func (o *office) close() {
	o.web.CloseClientConnections()
	o.web.Close()
}

// play says which call comes next, and done whether it came.
func (o *office) play(c *call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.playing, o.came = c, false
}

func (o *office) done() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.came
}

func (o *office) handle(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.playing == nil || o.playing.Tool != r.Params.Name || o.came {
		return nil, errors.New("nobody plays this call now")
	}
	o.came = true
	result := o.playing.Result
	if o.playing.Error != nil && result == "" {
		b, _ := json.Marshal(o.playing.Error)
		result = string(b)
	}
	return &sdk.CallToolResult{IsError: o.playing.Error != nil, Content: []sdk.Content{&sdk.TextContent{Text: result}}}, nil
}
