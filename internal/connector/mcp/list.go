package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Lists reports whether the reply to call is a list of tools.
func (c *Connector) Lists(call policy.Call) bool {
	return call.Action == "mcp.list" && call.Resource == "tools"
}

// Filter leaves out of a list of tools those that the caller may not call, those
// that nobody approved, and those whose definition is no longer what was approved:
// a model obeys a description, so another description is another tool.
func (c *Connector) Filter(contentType string, reply []byte, may func(policy.Call) bool) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("its Content-Type: %w", err)
	}
	switch kind {
	case "application/json":
		return c.filter(reply, may)
	case "text/event-stream":
		return c.filterEvents(reply, may)
	}
	return nil, fmt.Errorf("it is %q, neither JSON nor an event stream", kind)
}

// filterEvents filters the messages of an event stream (HTML, section 9.2.6).
func (c *Connector) filterEvents(stream []byte, may func(policy.Call) bool) ([]byte, error) {
	var out, data []byte
	has := false
	end := func() error {
		if has {
			kept, err := c.filter(data, may)
			if err != nil {
				return err
			}
			out = append(append(append(out, "data: "...), kept...), '\n')
		}
		out, data, has = append(out, '\n'), nil, false
		return nil
	}
	stream = bytes.ReplaceAll(bytes.ReplaceAll(stream, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	for _, line := range bytes.Split(bytes.TrimSuffix(stream, []byte("\n")), []byte("\n")) {
		text, isData := bytes.CutPrefix(line, []byte("data:"))
		switch {
		case len(line) == 0:
			if err := end(); err != nil {
				return nil, err
			}
		case isData && len(bytes.TrimSpace(text)) == 0 && !has: // what only primes the stream
			out = append(append(out, line...), '\n')
		case isData:
			if has {
				data = append(data, '\n')
			}
			data, has = append(data, bytes.TrimPrefix(text, []byte(" "))...), true
		default:
			out = append(append(out, line...), '\n')
		}
	}
	if has {
		return out, end()
	}
	return out, nil
}

// filter filters one message. One that holds no list of tools stays as it is.
func (c *Connector) filter(data []byte, may func(policy.Call) bool) ([]byte, error) {
	o, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	result := o.get("result")
	if result == nil {
		return compact(data)
	}
	r, err := parseObject(result)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	if r.get("tools") == nil {
		return compact(data)
	}
	var tools []json.RawMessage
	if err := json.Unmarshal(r.get("tools"), &tools); err != nil {
		return nil, errors.New("tools is to be a list")
	}
	kept := []json.RawMessage{}
	for _, raw := range tools {
		t, err := parseObject(raw)
		if err != nil {
			return nil, fmt.Errorf("a tool: %w", err)
		}
		name, _ := t.text("name")
		known, ok := c.tools[name]
		if !ok {
			continue
		}
		if now, err := definition(raw); err != nil || now != known.pinned {
			continue
		}
		if may(policy.Call{Action: known.action.Name, Class: known.action.Class, Resource: "tools/" + name}) {
			kept = append(kept, raw)
		}
	}
	list, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	for i := range r {
		switch r[i].name {
		case "tools":
			r[i].value = list
		case "cacheScope": // it is this caller's list and nobody else's
			r[i].value = jsontext.Value(`"private"`)
		}
	}
	for i := range o {
		if o[i].name == "result" {
			o[i].value = r.encode()
		}
	}
	return compact(o.encode())
}

// encode writes an object anew, every member in its place.
func (o object) encode() jsontext.Value {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b, _ = jsontext.AppendQuote(b, m.name) // it was read as UTF-8
		b = append(append(b, ':'), m.value...)
	}
	return append(b, '}')
}

func compact(data []byte) ([]byte, error) {
	v := jsontext.Value(bytes.Clone(data))
	err := v.Compact()
	return v, err
}

// definition is what of a tool reaches a model or decides how it is called, in one
// form however it was written.
func definition(tool []byte) (string, error) {
	var all map[string]any
	if err := json.Unmarshal(tool, &all); err != nil {
		return "", err
	}
	kept := map[string]any{}
	for _, name := range []string{"name", "title", "description", "inputSchema", "outputSchema", "annotations"} {
		if v, ok := all[name]; ok {
			kept[name] = v
		}
	}
	b, err := json.Marshal(kept)
	return string(b), err
}
