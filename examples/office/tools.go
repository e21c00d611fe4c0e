package office

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// tools is the same mailbox as an MCP server, at /mcp.
func (o *Office) tools() {
	type find struct {
		Query string `json:"query" jsonschema:"words, or operators such as from: and subject:"`
	}
	type send struct {
		To      string `json:"to"`
		Subject string `json:"subject"`
		Text    string `json:"text"`
	}
	no := false
	s := mcp.NewServer(&mcp.Implementation{Name: "office", Version: "1"}, nil)
	said := func(text string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
	}
	mcp.AddTool(s, &mcp.Tool{Name: "find_mail", Description: "Finds mail and returns the subjects.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, _ *mcp.CallToolRequest, in find) (*mcp.CallToolResult, any, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			text := ""
			for _, m := range slices.Backward(o.messages) {
				if m.matches(in.Query) {
					text += parseMail(m.raw).get("Subject") + "\n"
				}
			}
			return said(text), nil, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "send_mail", Description: "Sends a mail.", Annotations: &mcp.ToolAnnotations{DestructiveHint: &no}},
		func(_ context.Context, _ *mcp.CallToolRequest, in send) (*mcp.CallToolResult, any, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.put(fmt.Appendf(nil, "From: Maya Lind <%s>\r\nTo: %q\r\nSubject: %q\r\n\r\n%s", Mailbox, in.To, in.Subject, in.Text), "", "SENT")
			return said("Sent."), nil, nil
		})
	o.mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}))
}
