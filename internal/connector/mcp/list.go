package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Lists reports whether the reply to call is a list, or says what the server is.
func (c *Connector) Lists(call policy.Call) bool {
	return call.Action == "mcp.list" || call.Action == "mcp.session" && call.Resource == "discover"
}

// Filter leaves out of a list what the caller may not have, and of tools also those that
// nobody approved, and those whose definition is no longer what was approved: a model
// obeys a description, so another description is another tool. What is left is this
// caller's list and nobody else's (cacheScope).
func (c *Connector) Filter(r *connector.Request, contentType string, reply []byte, may func(policy.Call) bool) ([]byte, connector.Offers, error) {
	var asked message // in the stream of a session come answers to what was asked before
	var err error
	if r.Method == http.MethodPost {
		if asked, err = parseMessage(r.Body); err != nil {
			return nil, nil, err
		}
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, nil, fmt.Errorf("its Content-Type: %w", err)
	}
	f := &filter{c: c, id: asked.id, stateless: stateless(r.Header), may: may, offers: connector.Offers{}}
	var out []byte
	switch kind {
	case "application/json":
		out, err = f.message(reply)
	case "text/event-stream":
		out, err = f.events(reply)
	default:
		err = fmt.Errorf("it is %q, neither JSON nor an event stream", kind)
	}
	return out, f.offers, err
}

// filter is what one reply is filtered by.
type filter struct {
	c         *Connector
	id        jsontext.Value // of the question; nil if it is not known
	stateless bool
	may       func(policy.Call) bool
	offers    connector.Offers // what was seen
}

// events filters the messages of an event stream (HTML, section 9.2.6).
func (f *filter) events(stream []byte) ([]byte, error) {
	var out, data []byte
	has := false
	end := func() error {
		if has {
			kept, err := f.message(data)
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

// message filters one message. One that is no answer stays as it is.
func (f *filter) message(data []byte) ([]byte, error) {
	o, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	result := o.get("result")
	if f.id != nil && (result != nil || o.get("error") != nil) && !sameID(o.get("id"), f.id) && !(result == nil && o.get("id").Kind() == 'n') {
		return nil, errors.New("it answers another question than the one that was asked")
	}
	if result == nil {
		return compact(data)
	}
	r, err := parseObject(result)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	scoped := false
	for i := range r {
		switch r[i].name {
		case "tools", "resources", "resourceTemplates", "prompts":
			if r[i].value, err = f.list(r[i].name, r[i].value); err != nil {
				return nil, err
			}
		case "cacheScope":
			r[i].value, scoped = jsontext.Value(`"private"`), true
		}
	}
	if f.stateless && !scoped {
		r = append(r, member{"cacheScope", jsontext.Value(`"private"`)})
	}
	for i := range o {
		if o[i].name == "result" {
			o[i].value = r.encode()
		}
	}
	return compact(o.encode())
}

// list filters one list: of tools, resources, resourceTemplates or prompts.
func (f *filter) list(kind string, value jsontext.Value) (jsontext.Value, error) {
	var all []json.RawMessage
	if value.Kind() != '[' || json.Unmarshal(value, &all) != nil {
		return nil, fmt.Errorf("%s is to be a list", kind)
	}
	kept := []json.RawMessage{}
	for _, raw := range all {
		o, err := parseObject(raw)
		if err != nil {
			return nil, fmt.Errorf("one of its %s: %w", kind, err)
		}
		if f.keeps(kind, raw, o) {
			kept = append(kept, raw)
		}
	}
	return json.Marshal(kept)
}

func (f *filter) keeps(kind string, raw []byte, o object) bool {
	name, _ := o.text("name")
	switch kind {
	case "resources":
		uri, ok := o.text("uri")
		return ok && f.pinned(others[2], raw, uri, resource(uri).Resource) && f.may(resource(uri))
	case "resourceTemplates": // what it stands for is not known yet, so nothing is said of the argument
		uri, ok := o.text("uriTemplate")
		return ok && f.pinned(others[1], raw, uri, others[1].pin+escape(uri)) && f.may(policy.Call{Action: "resources.read", Class: policy.Read, Resource: "resources/" + escape(uri)})
	case "prompts":
		return name != "" && f.pinned(others[0], raw, name, prompt(name).Resource) && f.may(prompt(name))
	}
	known, ok := f.c.tools[name]
	if !ok {
		return false
	}
	differs := toolSort.differs(known.pinned, raw)
	f.offers[known.action.Name] = differs
	return differs == "" && f.may(policy.Call{Action: known.action.Name, Class: known.action.Class, Resource: "tools/" + escape(name)})
}

// pinned reports whether one of a sort is as it was approved, or its sort is not pinned.
func (f *filter) pinned(s sort, raw []byte, name, pin string) bool {
	all := f.c.others[s.list]
	if all == nil {
		return true
	}
	approved, ok := all[name]
	if !ok {
		return false
	}
	differs := s.differs(approved, raw)
	f.offers[pin] = differs
	return differs == ""
}

// sameID reports whether two ids are the same text or the same number.
func sameID(a, b jsontext.Value) bool {
	if a.Kind() != '"' || b.Kind() != '"' {
		return bytes.Equal(a, b)
	}
	x, errX := jsontext.AppendUnquote(nil, a)
	y, errY := jsontext.AppendUnquote(nil, b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
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
