package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// TestCheck: only an answer to what was asked passes, whole or byte by byte.
func TestCheck(t *testing.T) {
	c := open(t).(*Connector)
	const event = "event: message\nid: 1\ndata: "
	for _, x := range []struct {
		id, kind, reply, why string
	}{
		{"1", "application/json", `{"jsonrpc":"2.0","id":1,"result":{"id":2,"a":["}",{"id":[3]}],"b":"\"}"}}` + "\n", ""},
		{"1", "application/json", ` { "result" : {} , "id" : 1 } `, ""},
		{`"a"`, "application/json", `{"\u0069d":"\u0061","result":{}}`, ""},
		{"1", "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32600}}`, ""},
		{"1", "application/json", `{"jsonrpc":"2.0","id":null,"result":{}}`, "another question"},
		{"1", "application/json", `{"jsonrpc":"2.0","id":2,"result":{}}`, "another question"},
		{"1", "application/json", `{"jsonrpc":"2.0","id":"1","result":{}}`, "another question"},
		{"1", "application/json", `{"jsonrpc":"2.0","result":{"id":1}}`, "another question"},
		{"1", "application/json", `{"id":1,"id":2,"result":{}}`, "more than one id"},
		{"1", "application/json", `{"id":1,"ID":2,"result":{}}`, "in case alone"},
		{"1", "application/json", `{"id":1,"method":"sampling/createMessage"}`, "a question"},
		{"1", "application/json", `{"id":1,"result":{}}{"id":1,"result":{}}`, "follows"},
		{"1", "application/json", `[{"id":1,"result":{}}]`, "no JSON object"},
		{"1", "application/json", `{"id":1,"result":{`, "in the middle"},
		{"1", "application/json", ``, "in the middle"},
		{"1", "application/json", `{"` + strings.Repeat("x", 2000) + `":1}`, "too long"},
		{"1", "text/event-stream; charset=utf-8", "data:\nid: 0\n\n: ping\n\n" + event + `{"method":"notifications/progress"}` + "\n\n" + event + `{"id":7,"method":"elicitation/create"}` + "\n\n" + event + `{"id":1,"result":{}}` + "\n\n", ""},
		{"1", "text/event-stream", "data: {\"id\":\r\ndata:1,\r\ndata: \"result\":{}}\r\n\r\n", ""},
		{"1", "text/event-stream", "data: {\"id\":1,\rdata: \"result\":{}}\r\r", ""},
		{"1", "text/event-stream", "", ""},
		{"1", "text/event-stream", event + `{"id":2,"result":{}}` + "\n\n", "another question"},
		{"1", "text/event-stream", event + `{"id":1,"result":{}}` + "\n\n" + event + `{"id":1,"result":{}}` + "\n\n", "twice"},
		{"1", "text/event-stream", event + `x` + "\n\n", "no JSON object"},
		{"1", "text/event-stream", "\uFEFFdata: {}\n\n", "byte order mark"},
	} {
		for _, step := range []int{1, 7, 1 << 20} {
			w := c.Check(post(`{"jsonrpc":"2.0","id":`+x.id+`,"method":"tools/call","params":{"name":"read_file"}}`), x.kind, func(connector.Question) error { return nil }, nil, nil)
			var err error
			for rest := x.reply; rest != "" && err == nil; {
				n := min(step, len(rest))
				_, err = w.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if err == nil {
				err = w.Close()
			}
			if x.why == "" && err != nil || x.why != "" && (err == nil || !strings.Contains(err.Error(), x.why)) {
				t.Errorf("%q in steps of %d: %v, want %q", x.reply, step, err, x.why)
			}
		}
	}
	get := post("")
	get.Method = "GET"
	for _, x := range []struct {
		r           *connector.Request
		kind, reply string
		bad         bool
	}{
		{get, "application/json", "x", true},
		{get, "", "", false},
		{post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), "text/html", "x", true},
		{post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), "text/html", "", false},
		{post(`{"jsonrpc":"2.0","method":"notifications/x"}`), "application/json", `"ok"`, false},
		{post(`{"jsonrpc":"2.0","method":"notifications/x"}`), "application/json", `{"id":1,"result":{}}`, true},
		{post(`{"jsonrpc":"2.0","method":"notifications/x"}`), "application/json", `{"method":"x"}`, true},
		{post(`{"jsonrpc":"2.0","method":"notifications/x"}`), "text/plain", `{"id":1,`, true},
	} {
		w := c.Check(x.r, x.kind, func(connector.Question) error { return nil }, nil, nil)
		_, err := w.Write([]byte(x.reply))
		if err == nil {
			err = w.Close()
		}
		if (err != nil) != x.bad {
			t.Errorf("%s %s: %v", x.kind, x.reply, err)
		}
	}
}

// TestAsks: whatever a server asks of its client is judged, in whichever way it comes.
func TestAsks(t *testing.T) {
	c := open(t).(*Connector)
	const form = `{"message":"Your password?","requestedSchema":{"type":"object","properties":{"password":{"type":"string"},"again":{}}}}`
	for _, x := range []struct{ kind, reply, want, why string }{
		{"text/event-stream", "data: {\"id\":7,\"method\":\"elicitation/create\",\"params\":" + form + "}\n\n", "mcp.elicit form Your password? [again password]", ""},
		{"text/event-stream", "data: {\"params\":" + form + ",\"m\\u0065thod\":\"elicit\\u0061tion/create\",\"id\":7}\n\n", "mcp.elicit form Your password? [again password]", ""},
		{"text/event-stream", `data: {"id":7,"method":"elicitation/create","params":{"url":"https://x.example"}}` + "\n\n", "mcp.elicit url <nil> []", ""},
		{"text/event-stream", `data: {"id":7,"method":"sampling/createMessage","params":{}}` + "\n\n", "mcp.sample", ""},
		{"text/event-stream", `data: {"id":7,"method":"roots/list"}` + "\n\n", "mcp.roots", ""},
		{"text/event-stream", `data: {"id":7,"method":"ping"}` + "\n\n", "", ""},
		{"text/event-stream", `data: {"method":"notifications/message","params":{"data":"` + strings.Repeat("x", maxQuestion) + `"}}` + "\n\n", "", ""},
		{"text/event-stream", `data: {"id":7,"method":"wallet/open"}` + "\n\n", "", "does not have"},
		{"text/event-stream", `data: {"id":7,"method":"ping","method":"roots/list"}` + "\n\n", "", "more than one method"},
		{"text/event-stream", `data: {"id":7,"method":"elicitation/create","params":{"mode":"url","mode":"form"}}` + "\n\n", "", "its params"},
		{"text/event-stream", `data: {"id":7,"method":"elicitation/create","params":{"message":"` + strings.Repeat("x", maxQuestion) + `"}}` + "\n\n", "", "too many words"},
		{"application/json", `{"id":1,"result":{"content":[],"inputRequests":{"a":{"method":"roots/list"},"b":{"method":"elicitation/create","params":{"mode":"form","message":"?"}}},"requestState":"s"}}`, "mcp.roots mcp.elicit form ? []", ""},
		{"text/event-stream", `data: {"id":1,"result":{"x":[1,{"inputRequests":2}],"\u0069nputRequests":{"a":{"method":"roots/list"}}}}` + "\n\n", "mcp.roots", ""},
		{"application/json", `{"id":1,"result":{"structuredContent":{"inputRequests":{"a":{"method":"roots/list"}}}}}`, "", ""},
		{"application/json", `{"id":1,"result":{"inputRequests":{"a":{"method":"wallet/open"}}}}`, "", "does not have"},
		{"application/json", `{"id":1,"result":{"InputRequests":{"a":{"method":"roots/list"}}}}`, "", "in case alone"},
		{"application/json", `{"id":1,"result":{},"Result":{}}`, "", "in case alone"},
		{"application/json", `{"id":1,"error":{"code":-32042,"message":"go","data":{"elicitations":[{"mode":"url","url":"https://x.example","elicitationId":"1"}]}}}`, "mcp.elicit url <nil> []", ""},
		{"application/json", `{"id":1,"error":{"code":-32000,"message":"no"}}`, "", ""},
	} {
		for _, step := range []int{1, 1 << 21} {
			var got []string
			w := c.Check(post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file"}}`), x.kind, func(call connector.Question) error {
				got = append(got, call.Action)
				if call.Action == "mcp.elicit" {
					fields, _ := call.Arguments["fields"].([]string)
					got = append(got, fmt.Sprint(call.Arguments["mode"], " ", call.Arguments["message"], " ", fields))
				}
				return nil
			}, nil, nil)
			var err error
			for rest := x.reply; rest != "" && err == nil; {
				n := min(step, len(rest))
				_, err = w.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if strings.Join(got, " ") != x.want || x.why == "" && err != nil || x.why != "" && (err == nil || !strings.Contains(err.Error(), x.why)) {
				t.Errorf("%.200q in steps of %d: %q %v, want %q %q", x.reply, step, got, err, x.want, x.why)
			}
		}
	}
	// What may not be asked is not whole yet when the stream ends.
	var no string
	w := c.Check(post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), "text/event-stream", func(q connector.Question) error { no = string(q.No); return errors.New("no") }, nil, nil)
	if n, err := w.Write([]byte(`data: {"id":7,"method":"roots/list"}` + "\n\n")); err == nil || n > len(`data: {"id":7,"method":"roots/list"`) {
		t.Errorf("a question that may not be asked: %d %v", n, err)
	}
	if !strings.HasPrefix(no, `{"jsonrpc":"2.0","id":7,"error":{"code":-32001,`) || !json.Valid([]byte(no)) {
		t.Errorf("the server is told %s", no)
	}
	get := post("")
	get.Method = "GET"
	asked := 0
	w = c.Check(get, "text/event-stream", func(connector.Question) error { asked++; return nil }, nil, nil)
	if _, err := w.Write([]byte(`data: {"id":3,"result":{}}` + "\n\n" + `data: {"id":4,"result":{}}` + "\n\n" + `data: {"id":7,"method":"roots/list"}` + "\n\n")); err != nil || asked != 1 {
		t.Errorf("in the stream of a session: %d %v", asked, err)
	}
}

// FuzzAnswer: what passes is, to a reader that takes the whole message at once, the answer.
func FuzzAnswer(f *testing.F) {
	f.Add(`{"jsonrpc":"2.0","id":1,"result":{"a":[1,"}"]}}`)
	f.Add(`{"result":{},"\u0069d":1}`)
	f.Add(`{"id":null,"error":{}}`)
	f.Add(`{"id":1,"result":{"a":[{"inputRequests":1}],"\u0069nputRequests":{"x":{"method":"elicitation/create","params":{"mode":"form"}}}}}`)
	c := open(f).(*Connector)
	asked := post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	f.Fuzz(func(t *testing.T, reply string) {
		judged := 0
		may := func(connector.Question) error { judged++; return nil }
		w := c.Check(asked, "application/json", may, nil, nil)
		_, err := w.Write([]byte(reply))
		if err == nil {
			err = w.Close()
		}
		var m struct {
			ID     any
			Method any
			Result struct {
				InputRequests map[string]any `json:"inputRequests"`
			}
		}
		whole := json.Unmarshal([]byte(reply), &m)
		if err == nil && whole == nil && m.ID != 1.0 && m.ID != nil {
			t.Fatalf("%q passes as an answer to 1, and is one to %v", reply, m.ID)
		}
		if err == nil && whole == nil && len(m.Result.InputRequests) > 0 && judged == 0 && !strings.Contains(reply, `"ping"`) {
			t.Fatalf("%q asks for something, and that is not judged", reply)
		}
		o, strict := parseObject([]byte(reply))
		if strict == nil && err != nil && o.get("method") == nil && string(o.get("id")) == "1" && !strings.Contains(err.Error(), "too long") && !strings.Contains(err.Error(), "in case alone") && !strings.Contains(err.Error(), "asks") && !strings.Contains(err.Error(), "its ") && !strings.Contains(err.Error(), "pages") {
			t.Fatalf("%q is an answer, and does not pass: %v", reply, err)
		}
		e := c.Check(asked, "text/event-stream", may, nil, nil)
		_, _ = e.Write([]byte(reply))
	})
}
