package mcp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

// What a server asks of its client, in the midst of a call: of the person at it
// (elicitation), of its model (sampling), or where it works (roots). A server that was
// taken over asks for passwords this way, so each question is an action that a policy
// can speak of, whichever way it comes: as a request in an event stream, in a result that
// says input is required (2026-07-28), or in an error that says a page is to be opened.

// questions are the actions that a server's questions are.
func questions() []policy.Action {
	return []policy.Action{
		{Name: "mcp.elicit", Class: policy.Read, Summary: "The server asks the person at the client for something", Parameters: []policy.Parameter{
			{Name: "mode", Type: "string"}, {Name: "message", Type: "string"}, {Name: "fields", Type: "strings"}, {Name: "url", Type: "string"}}},
		{Name: "mcp.roots", Class: policy.Read, Summary: "The server asks which folders the client works in"},
		{Name: "mcp.sample", Class: policy.Write, Summary: "The server has the client's model answer a prompt"},
	}
}

// asks is what a message of a server's asks of its client.
func asks(a *answer) ([]policy.Call, error) {
	switch {
	case a.method != nil && a.id == nil, a.method == nil && a.question == nil:
		return nil, nil
	case a.method == nil && a.seen["error"]:
		if a.tooLong {
			return nil, errors.New("its error is too long")
		}
		return pages(a.question)
	case a.tooLong:
		return nil, errors.New("it asks its client for something, in too many words")
	case a.method == nil:
		return inputs(a.question)
	}
	m, err := jsontext.AppendUnquote(nil, a.method)
	if err != nil {
		return nil, fmt.Errorf("its method: %w", err)
	}
	var params object
	if len(a.question) > 0 {
		if params, err = parseObject(a.question); err != nil {
			return nil, fmt.Errorf("its params: %w", err)
		}
	}
	return question(string(m), params)
}

func question(method string, params object) ([]policy.Call, error) {
	switch method {
	case "ping":
		return nil, nil
	case "roots/list":
		return []policy.Call{{Action: "mcp.roots", Class: policy.Read, Resource: "client/roots"}}, nil
	case "sampling/createMessage":
		return []policy.Call{{Action: "mcp.sample", Class: policy.Write, Resource: "client/sampling"}}, nil
	case "elicitation/create":
		call, err := elicitation(params)
		return []policy.Call{call}, err
	}
	return nil, fmt.Errorf("it asks its client for %.60q, which the protocol does not have", method)
}

func elicitation(params object) (policy.Call, error) {
	args := map[string]any{}
	call := policy.Call{Action: "mcp.elicit", Class: policy.Read, Resource: "client/elicitation", Arguments: args}
	for _, name := range []string{"mode", "message", "url"} {
		if v := params.get(name); v != nil {
			text, ok := params.text(name)
			if !ok {
				return call, fmt.Errorf("it asks the person for something, and its %s is no text", name)
			}
			args[name] = text
		}
	}
	if args["mode"] == nil { // as clients take it
		args["mode"] = "form"
		if args["url"] != nil || params.get("elicitationId") != nil {
			args["mode"] = "url"
		}
	}
	schema := params.get("requestedSchema")
	if schema == nil {
		return call, nil
	}
	o, err := parseObject(schema)
	if err != nil {
		return call, fmt.Errorf("what it asks the person for: %w", err)
	}
	if properties := o.get("properties"); properties != nil {
		if o, err = parseObject(properties); err != nil {
			return call, fmt.Errorf("what it asks the person for: %w", err)
		}
		fields := []string{}
		for _, m := range o {
			fields = append(fields, m.name)
		}
		slices.Sort(fields)
		args["fields"] = fields
	}
	return call, nil
}

// inputs are the questions of a result that says input is required.
func inputs(value []byte) (calls []policy.Call, err error) {
	if strings.TrimSpace(string(value)) == "null" {
		return nil, nil
	}
	all, err := parseObject(value)
	if err != nil {
		return nil, fmt.Errorf("its %s: %w", inputRequests, err)
	}
	for _, m := range all {
		o, err := parseObject(m.value)
		if err != nil {
			return nil, fmt.Errorf("its %s: %w", inputRequests, err)
		}
		method, _ := o.text("method")
		var params object
		if p := o.get("params"); p != nil {
			if params, err = parseObject(p); err != nil {
				return nil, fmt.Errorf("its %s: %w", inputRequests, err)
			}
		}
		more, err := question(method, params)
		if err != nil {
			return nil, err
		}
		calls = append(calls, more...)
	}
	return calls, nil
}

// pages are those that an error says are to be opened first.
func pages(value []byte) (calls []policy.Call, err error) {
	o, err := parseObject(value)
	if err != nil {
		return nil, fmt.Errorf("its error: %w", err)
	}
	if string(o.get("code")) != fmt.Sprint(MustOpen) {
		return nil, nil
	}
	data, err := parseObject(o.get("data"))
	if err != nil {
		return nil, fmt.Errorf("the pages that it wants opened: %w", err)
	}
	list, err := elements(data.get("elicitations"))
	if err != nil {
		return nil, fmt.Errorf("the pages that it wants opened: %w", err)
	}
	for _, e := range list {
		params, err := parseObject(e)
		if err != nil {
			return nil, fmt.Errorf("the pages that it wants opened: %w", err)
		}
		call, err := elicitation(params)
		if err != nil {
			return nil, err
		}
		calls = append(calls, call)
	}
	return calls, nil
}
