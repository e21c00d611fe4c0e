package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
)

// Limits of what one upstream lists.
const (
	listTime   = 10 * time.Second
	maxListed  = 10_000
	maxListing = 100 // pages
)

// collect puts together what each upstream lists, which list asks for page by page. What one does not answer with in time, or beyond its limits, is left out.
func collect[T any](ctx context.Context, d *door, who guest, list func(ctx context.Context, s *sdk.ClientSession, cursor string) (page []T, next string, _ error), as func(member string, v T)) {
	d.each(who, func(member string, l *line) {
		ctx, cancel := context.WithTimeout(ctx, listTime)
		defer cancel()
		cursor, pages, n := "", 0, 0
		for {
			page, next, err := list(ctx, l.ClientSession, cursor)
			if n, pages = n+len(page), pages+1; err == nil && (n > maxListed || next != "" && pages == maxListing) {
				err = errors.New("its list is too long")
			}
			if err != nil {
				d.g.Log.Debug("a joined upstream", "upstream", member, "door", d.name, "error", err)
				return
			}
			for _, v := range page {
				as(member, v)
			}
			if cursor = next; cursor == "" {
				return
			}
		}
	})
}

// each shows use the line to each upstream, one after the other. One that the caller may not use, or
// that does not answer, is left out: its events say why.
func (d *door) each(who guest, use func(member string, l *line)) {
	if who.stateless { // of whom nothing can be asked in the midst of a list
		who = guest{}
	}
	for _, member := range d.joined {
		key, can := d.at(member, who)
		l, err := d.line(key, can, who.session)
		if err != nil {
			d.g.Log.Debug("a joined upstream", "upstream", member, "door", d.name, "error", err)
			continue
		}
		use(member, l)
		l.leave()
	}
}

// from is the cursor of a question for a list; one without parameters has none.
func from(p any) string {
	switch p := p.(type) {
	case *sdk.ListToolsParams:
		if p != nil {
			return p.Cursor
		}
	case *sdk.ListResourcesParams:
		if p != nil {
			return p.Cursor
		}
	case *sdk.ListResourceTemplatesParams:
		if p != nil {
			return p.Cursor
		}
	case *sdk.ListPromptsParams:
		if p != nil {
			return p.Cursor
		}
	}
	return ""
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
func (d *door) tools(ctx context.Context, who guest) (all []*sdk.Tool) {
	collect(ctx, d, who, func(ctx context.Context, s *sdk.ClientSession, cursor string) ([]*sdk.Tool, string, error) {
		res, err := s.ListTools(ctx, &sdk.ListToolsParams{Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return res.Tools, res.NextCursor, nil
	}, func(member string, t *sdk.Tool) {
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

func (d *door) listTools(ctx context.Context, who guest, cursor string) (*sdk.ListToolsResult, error) {
	all := d.tools(ctx, who)
	if len(all) > maxTools {
		all = searchTools
	}
	some, next, err := page(all, cursor)
	return &sdk.ListToolsResult{Tools: some, NextCursor: next}, err
}

func (d *door) callTool(ctx context.Context, who guest, p *sdk.CallToolParamsRaw) (*sdk.CallToolResult, error) {
	switch p.Name {
	case findTools:
		return d.findTools(ctx, who, p.Arguments)
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
	member, name, err := d.to(p.Name)
	if err != nil {
		return nil, err
	}
	what, err := sameCall("tools/call", p.Name, p.Arguments)
	if err != nil {
		return nil, err
	}
	o := d.run(ctx, errand{guest: who, member: member, what: what, answers: p.InputResponses, state: p.RequestState, token: p.GetProgressToken(),
		call: func(ctx context.Context, s *sdk.ClientSession, in sdk.InputResponseMap, state, token string) outcome {
			out := &sdk.CallToolParams{Meta: d.onward(p.Meta, s), Name: name, InputResponses: in, RequestState: state}
			if p.Arguments != nil {
				out.Arguments = p.Arguments
			}
			if token != "" {
				out.SetProgressToken(token)
			}
			res, err := s.CallTool(ctx, out)
			if err != nil {
				return outcome{err: err}
			}
			return outcome{result: res, requests: res.InputRequests, state: res.RequestState}
		}})
	if o.requests == nil {
		res, _ := o.result.(*sdk.CallToolResult)
		return res, o.err
	}
	res := &sdk.CallToolResult{}
	err = needsInput(res)
	res.Content, res.InputRequests, res.RequestState = []sdk.Content{}, o.requests, o.state
	return res, err
}

// sameCall is a call in one form, however it is written.
func sameCall(method, name string, arguments []byte) (string, error) {
	v := jsontext.Value(bytes.Clone(arguments))
	if len(v) > 0 {
		if err := v.Canonicalize(); err != nil {
			return "", invalidParams("the arguments of %.80q cannot be read", name)
		}
	}
	return fmt.Sprintf("%s %q %s", method, name, v), nil
}

// needsInput makes a result one that asks for something: the SDK has no other way to say so.
func needsInput(res any) error { return json.Unmarshal([]byte(`{"resultType":"input_required"}`), res) }

// findTools ranks tools by how many words of a query their names and descriptions have.
func (d *door) findTools(ctx context.Context, who guest, arguments json.RawMessage) (*sdk.CallToolResult, error) {
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
	for _, t := range d.tools(ctx, who) {
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

func (d *door) listResources(ctx context.Context, who guest, cursor string) (*sdk.ListResourcesResult, error) {
	var all []*sdk.Resource
	collect(ctx, d, who, func(ctx context.Context, s *sdk.ClientSession, cursor string) ([]*sdk.Resource, string, error) {
		res, err := s.ListResources(ctx, &sdk.ListResourcesParams{Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return res.Resources, res.NextCursor, nil
	}, func(_ string, r *sdk.Resource) {
		if !slices.ContainsFunc(all, func(o *sdk.Resource) bool { return o.URI == r.URI }) { // the first upstream that has it answers for it
			all = append(all, r)
		}
	})
	some, next, err := page(all, cursor)
	return &sdk.ListResourcesResult{Resources: some, NextCursor: next}, err
}

func (d *door) listTemplates(ctx context.Context, who guest, cursor string) (*sdk.ListResourceTemplatesResult, error) {
	var all []*sdk.ResourceTemplate
	collect(ctx, d, who, func(ctx context.Context, s *sdk.ClientSession, cursor string) ([]*sdk.ResourceTemplate, string, error) {
		res, err := s.ListResourceTemplates(ctx, &sdk.ListResourceTemplatesParams{Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return res.ResourceTemplates, res.NextCursor, nil
	}, func(_ string, r *sdk.ResourceTemplate) {
		all = append(all, r)
	})
	some, next, err := page(all, cursor)
	return &sdk.ListResourceTemplatesResult{ResourceTemplates: some, NextCursor: next}, err
}

// readResource asks the upstreams in their order: a URI does not say whose it is. One that
// has asked something is asked again alone.
func (d *door) readResource(ctx context.Context, who guest, p *sdk.ReadResourceParams) (*sdk.ReadResourceResult, error) {
	err := invalidParams("no joined upstream has this resource")
	what, _ := sameCall("resources/read", p.URI, nil)
	for _, member := range d.joined {
		if _, of, _ := memberOf(p.RequestState); p.RequestState != "" && of != member {
			continue
		}
		o := d.run(ctx, errand{guest: who, member: member, what: what, answers: p.InputResponses, state: p.RequestState,
			call: func(ctx context.Context, s *sdk.ClientSession, in sdk.InputResponseMap, state, _ string) outcome {
				res, err := s.ReadResource(ctx, &sdk.ReadResourceParams{Meta: d.onward(p.Meta, s), URI: p.URI, InputResponses: in, RequestState: state})
				if err != nil {
					return outcome{err: err}
				}
				return outcome{result: res, requests: res.InputRequests, state: res.RequestState}
			}})
		if o.requests != nil {
			res := &sdk.ReadResourceResult{}
			err := needsInput(res)
			res.Contents, res.InputRequests, res.RequestState = []*sdk.ResourceContents{}, o.requests, o.state
			return res, err
		}
		if res, ok := o.result.(*sdk.ReadResourceResult); ok && o.err == nil {
			return res, nil
		}
		err = o.err
	}
	return nil, err
}

func (d *door) listPrompts(ctx context.Context, who guest, cursor string) (*sdk.ListPromptsResult, error) {
	var all []*sdk.Prompt
	collect(ctx, d, who, func(ctx context.Context, s *sdk.ClientSession, cursor string) ([]*sdk.Prompt, string, error) {
		res, err := s.ListPrompts(ctx, &sdk.ListPromptsParams{Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return res.Prompts, res.NextCursor, nil
	}, func(member string, v *sdk.Prompt) {
		named := *v
		named.Name = member + "__" + v.Name
		all = append(all, &named)
	})
	some, next, err := page(all, cursor)
	return &sdk.ListPromptsResult{Prompts: some, NextCursor: next}, err
}

func (d *door) getPrompt(ctx context.Context, who guest, p *sdk.GetPromptParams) (*sdk.GetPromptResult, error) {
	member, name, err := d.to(p.Name)
	if err != nil {
		return nil, err
	}
	arguments, err := json.Marshal(p.Arguments)
	if err != nil {
		return nil, err
	}
	what, err := sameCall("prompts/get", p.Name, arguments)
	if err != nil {
		return nil, err
	}
	o := d.run(ctx, errand{guest: who, member: member, what: what, answers: p.InputResponses, state: p.RequestState,
		call: func(ctx context.Context, s *sdk.ClientSession, in sdk.InputResponseMap, state, _ string) outcome {
			res, err := s.GetPrompt(ctx, &sdk.GetPromptParams{Meta: d.onward(p.Meta, s), Name: name, Arguments: p.Arguments, InputResponses: in, RequestState: state})
			if err != nil {
				return outcome{err: fmt.Errorf("%s: %w", p.Name, err)}
			}
			return outcome{result: res, requests: res.InputRequests, state: res.RequestState}
		}})
	if o.requests == nil {
		res, _ := o.result.(*sdk.GetPromptResult)
		return res, o.err
	}
	res := &sdk.GetPromptResult{}
	err = needsInput(res)
	res.Messages, res.InputRequests, res.RequestState = []*sdk.PromptMessage{}, o.requests, o.state
	return res, err
}

// completion asks the upstream of a prompt, or each of those that may have a resource, how an argument goes on.
func (d *door) completion(ctx context.Context, who guest, p *sdk.CompleteParams) (*sdk.CompleteResult, error) {
	if p == nil || p.Ref == nil {
		return nil, invalidParams("say what is to be completed")
	}
	out := *p
	members := d.joined
	if p.Ref.Type == "ref/prompt" {
		member, name, err := d.to(p.Ref.Name)
		if err != nil {
			return nil, err
		}
		members, out.Ref = []string{member}, &sdk.CompleteReference{Type: p.Ref.Type, Name: name}
	}
	err := invalidParams("no joined upstream completes this")
	for _, member := range members {
		o := d.run(ctx, errand{guest: who, member: member, call: func(ctx context.Context, s *sdk.ClientSession, _ sdk.InputResponseMap, _, _ string) outcome {
			out := out
			out.Meta = d.onward(p.Meta, s)
			res, err := s.Complete(ctx, &out)
			return outcome{result: res, err: err}
		}})
		if res, ok := o.result.(*sdk.CompleteResult); ok && o.err == nil {
			return res, nil
		}
		err = o.err
	}
	return nil, err
}

// onward is what of a message's metadata goes on: not what it says of the caller's own
// connection, which is of another revision, perhaps, than the one to the upstream.
func onward(m sdk.Meta) sdk.Meta {
	out := sdk.Meta{}
	for name, v := range m {
		if !mcp.OfConnection(name) {
			out[name] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
