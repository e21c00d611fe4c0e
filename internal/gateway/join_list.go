package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// collect puts together what each upstream lists. One that the caller may not use, or that
// does not answer, is left out: its events say why.
func collect[T any](ctx context.Context, d *door, list func(*sdk.ClientSession) iter.Seq2[T, error], as func(member string, v T)) {
	for _, member := range d.joined {
		s, err := d.session(member)
		if err != nil {
			d.g.Log.Debug("a joined upstream", "upstream", member, "door", d.name, "error", err)
			continue
		}
		for v, err := range list(s) {
			if err != nil {
				d.g.Log.Debug("a joined upstream", "upstream", member, "door", d.name, "error", err)
				break
			}
			as(member, v)
		}
	}
}

// page is the part of a list that a cursor stands for, and the next one's.
func page[T any](all []T, cursor string) ([]T, string, error) {
	from := 0
	if cursor != "" {
		n, err := strconv.Atoi(cursor)
		if err != nil || n < 0 || n > len(all) {
			return nil, "", &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "this cursor is none of ours"}
		}
		from = n
	}
	to := min(from+pageSize, len(all))
	next := ""
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return append([]T{}, all[from:to]...), next, nil
}

// tools are those that the caller may call, by their names at the door.
func (d *door) tools(ctx context.Context) (all []*sdk.Tool) {
	collect(ctx, d, func(s *sdk.ClientSession) iter.Seq2[*sdk.Tool, error] { return s.Tools(ctx, nil) }, func(member string, t *sdk.Tool) {
		named := *t
		named.Name = member + "__" + t.Name
		all = append(all, &named)
	})
	return all
}

const (
	findTools = "find_tools"
	useTool   = "use_tool"
)

// searchTools stand for the list when it would be too long for a model to read.
var searchTools = []*sdk.Tool{
	{Name: findTools, Description: "Finds tools by what they do. There are too many to list. Returns up to 20, each with its name, description and input schema; call one with " + useTool + ".",
		Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true},
		InputSchema: json.RawMessage(`{"type":"object","properties":{"query":{"type":"string","description":"Words that say what the tool should do"}},"required":["query"]}`)},
	{Name: useTool, Description: "Calls a tool that " + findTools + " has found.",
		InputSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"},"arguments":{"type":"object"}},"required":["name"]}`)},
}

func (d *door) listTools(ctx context.Context, p *sdk.ListToolsParams) (*sdk.ListToolsResult, error) {
	all := d.tools(ctx)
	if len(all) > maxTools {
		all = searchTools
	}
	some, next, err := page(all, p.Cursor)
	return &sdk.ListToolsResult{Tools: some, NextCursor: next}, err
}

func (d *door) callTool(ctx context.Context, session *sdk.ServerSession, p *sdk.CallToolParamsRaw) (*sdk.CallToolResult, error) {
	switch p.Name {
	case findTools:
		return d.findTools(ctx, p.Arguments)
	case useTool:
		var use struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		}
		if err := json.Unmarshal(p.Arguments, &use); err != nil || use.Name == findTools || use.Name == useTool {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: useTool + " takes the name of a tool that " + findTools + " found, and its arguments"}
		}
		p.Name, p.Arguments = use.Name, use.Arguments
	}
	s, name, err := d.to(p.Name)
	if err != nil {
		return nil, err
	}
	out := &sdk.CallToolParams{Meta: onward(p.Meta), Name: name, InputResponses: p.InputResponses, RequestState: p.RequestState}
	if p.Arguments != nil {
		out.Arguments = p.Arguments
	}
	if token := p.GetProgressToken(); token != nil && session != nil {
		ours, done := d.follow(ctx, session, token)
		defer done()
		out.SetProgressToken(ours)
	}
	return s.CallTool(ctx, out)
}

// findTools ranks tools by how many words of a query their names and descriptions have.
func (d *door) findTools(ctx context.Context, arguments json.RawMessage) (*sdk.CallToolResult, error) {
	var ask struct {
		Query string `json:"query"`
	}
	if err := json.Unmarshal(arguments, &ask); err != nil || strings.TrimSpace(ask.Query) == "" {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: findTools + " takes a query: words that say what the tool should do"}
	}
	words := strings.Fields(strings.ToLower(ask.Query))
	type hit struct {
		tool  *sdk.Tool
		score int
	}
	var hits []hit
	for _, t := range d.tools(ctx) {
		name, text := strings.ToLower(t.Name), strings.ToLower(t.Title+" "+t.Description)
		h := hit{tool: t}
		for _, w := range words {
			if strings.Contains(name, w) {
				h.score += 2
			}
			if strings.Contains(text, w) {
				h.score++
			}
		}
		if h.score > 0 {
			hits = append(hits, h)
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	found := []*sdk.Tool{}
	for _, h := range hits[:min(len(hits), maxFound)] {
		found = append(found, h.tool)
	}
	b, err := json.Marshal(map[string]any{"tools": found, "matching": len(hits)})
	if err != nil {
		return nil, err
	}
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: string(b)}}}, nil
}

func (d *door) listResources(ctx context.Context, p *sdk.ListResourcesParams) (*sdk.ListResourcesResult, error) {
	var all []*sdk.Resource
	collect(ctx, d, func(s *sdk.ClientSession) iter.Seq2[*sdk.Resource, error] { return s.Resources(ctx, nil) }, func(_ string, r *sdk.Resource) {
		if !slices.ContainsFunc(all, func(o *sdk.Resource) bool { return o.URI == r.URI }) { // the first upstream that has it answers for it
			all = append(all, r)
		}
	})
	some, next, err := page(all, p.Cursor)
	return &sdk.ListResourcesResult{Resources: some, NextCursor: next}, err
}

func (d *door) listTemplates(ctx context.Context, p *sdk.ListResourceTemplatesParams) (*sdk.ListResourceTemplatesResult, error) {
	var all []*sdk.ResourceTemplate
	collect(ctx, d, func(s *sdk.ClientSession) iter.Seq2[*sdk.ResourceTemplate, error] {
		return s.ResourceTemplates(ctx, nil)
	}, func(_ string, r *sdk.ResourceTemplate) {
		all = append(all, r)
	})
	some, next, err := page(all, p.Cursor)
	return &sdk.ListResourceTemplatesResult{ResourceTemplates: some, NextCursor: next}, err
}

// readResource asks the upstreams in their order: a URI does not say whose it is.
func (d *door) readResource(ctx context.Context, p *sdk.ReadResourceParams) (res *sdk.ReadResourceResult, err error) {
	err = &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "no joined upstream has this resource"}
	out := *p
	out.Meta = onward(p.Meta)
	for _, member := range d.joined {
		s, e := d.session(member)
		if e != nil {
			continue
		}
		if res, e = s.ReadResource(ctx, &out); e == nil {
			return res, nil
		}
		err = e
	}
	return nil, err
}

func (d *door) listPrompts(ctx context.Context, p *sdk.ListPromptsParams) (*sdk.ListPromptsResult, error) {
	var all []*sdk.Prompt
	collect(ctx, d, func(s *sdk.ClientSession) iter.Seq2[*sdk.Prompt, error] { return s.Prompts(ctx, nil) }, func(member string, v *sdk.Prompt) {
		named := *v
		named.Name = member + "__" + v.Name
		all = append(all, &named)
	})
	some, next, err := page(all, p.Cursor)
	return &sdk.ListPromptsResult{Prompts: some, NextCursor: next}, err
}

func (d *door) getPrompt(ctx context.Context, p *sdk.GetPromptParams) (*sdk.GetPromptResult, error) {
	s, name, err := d.to(p.Name)
	if err != nil {
		return nil, err
	}
	out := *p
	out.Name, out.Meta = name, onward(p.Meta)
	res, err := s.GetPrompt(ctx, &out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return res, nil
}

// onward is what of a message's metadata goes on: not what it says of the caller's own
// connection, which is of another revision, perhaps, than the one to the upstream.
func onward(m sdk.Meta) sdk.Meta {
	out := sdk.Meta{}
	for name, v := range m {
		if !strings.HasPrefix(name, "io.modelcontextprotocol/") && name != "progressToken" {
			out[name] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
