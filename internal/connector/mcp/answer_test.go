package mcp

import (
	"encoding/json"
	"strings"
	"testing"
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
			w := c.Check(post(`{"jsonrpc":"2.0","id":`+x.id+`,"method":"tools/call","params":{"name":"read_file"}}`), x.kind)
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
	if c.Check(get, "text/event-stream") != nil || c.Check(post(`{"jsonrpc":"2.0","method":"notifications/x"}`), "application/json") != nil || c.Check(post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), "text/html") != nil {
		t.Error("what answers nothing is checked")
	}
}

// FuzzAnswer: what passes is, to a reader that takes the whole message at once, the answer.
func FuzzAnswer(f *testing.F) {
	f.Add(`{"jsonrpc":"2.0","id":1,"result":{"a":[1,"}"]}}`)
	f.Add(`{"result":{},"\u0069d":1}`)
	f.Add(`{"id":null,"error":{}}`)
	c := open(f).(*Connector)
	asked := post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	f.Fuzz(func(t *testing.T, reply string) {
		w := c.Check(asked, "application/json")
		_, err := w.Write([]byte(reply))
		if err == nil {
			err = w.Close()
		}
		var m struct {
			ID     any
			Method any
		}
		whole := json.Unmarshal([]byte(reply), &m)
		if err == nil && whole == nil && m.ID != 1.0 && m.ID != nil {
			t.Fatalf("%q passes as an answer to 1, and is one to %v", reply, m.ID)
		}
		o, strict := parseObject([]byte(reply))
		if strict == nil && err != nil && o.get("method") == nil && string(o.get("id")) == "1" && !strings.Contains(err.Error(), "too long") {
			t.Fatalf("%q is an answer, and does not pass: %v", reply, err)
		}
		e := c.Check(asked, "text/event-stream")
		_, _ = e.Write([]byte(reply))
	})
}
