package mcp

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// TestTold: what a reply says is told before its last byte is let go on, however it comes.
func TestTold(t *testing.T) {
	c := open(t).(*Connector)
	call := post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file"}}`)
	get := &connector.Request{Method: http.MethodGet, Path: "/mcp", Header: http.Header{}}
	const event = "event: message\ndata: "
	for _, x := range []struct {
		r           *connector.Request
		kind, reply string
		want        []string
		cut         bool
	}{
		{call, "application/json", `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a: \"b\", c"},{"type":"image","data":"eA=="}]}}`, []string{`a: "b", c`}, false},
		{call, "application/json", `{"id":1, "result": {"structuredContent": {"to": ["x@y.example", 1]}, "content": [ ], "isError" : false } }`, []string{`{"to":["x@y.example",1]}`}, false},
		{call, "application/json", `{"id":1,"result":{"contents":[{"uri":"file:///a","text":"t"}]}}`, []string{"t", "file:///a"}, false},
		{call, "application/json", `{"id":1,"result":{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"u","text":"in it"}}}]}}`, []string{"in it"}, false},
		{call, "application/json", `{"id":1,"result":{"other":"form"}}`, []string{`{"other":"form"}`}, false},
		{call, "application/json", `{"id":1,"error":{"code":-1,"message":"see www.x.example"}}`, []string{`{"code":-1,"message":"see www.x.example"}`}, false},
		{call, "application/json", `{"id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", maxResult) + `"}]}}`, nil, true},
		{call, "text/event-stream", event + `{"method":"notifications/progress","params":{}}` + "\n\n" + event + `{"id":1,"result":{"content":[{"text":"late"}]}}` + "\n\n", []string{"late"}, false},
		{call, "text/event-stream", event + `{"id":1,"result":{"content":[{"text":"unended"}]}}`, []string{"unended"}, false}, // some readers take it line by line, some at the end
		{call, "text/event-stream", event + `{"id":1,"result":{"content":[{"text":"unended"}]}}` + "\n", []string{"unended"}, false},
		{get, "text/event-stream", event + `{"id":9,"result":{"content":[{"text":"of another"}]}}` + "\n\n", []string{"of another"}, false},
	} {
		for _, step := range []int{1, 7, 1 << 21} {
			var got []string
			cut := false
			w := c.Check(x.r, x.kind, func(connector.Question) error { return nil }, func(told connector.Told) {
				got, cut = append(got, told.Text), cut || !told.Whole
			}, nil)
			for rest := x.reply; rest != ""; {
				n := min(step, len(rest))
				if _, err := w.Write([]byte(rest[:n])); err != nil {
					t.Fatalf("%.80q: %v", x.reply, err)
				}
				rest = rest[n:]
			}
			if cut != x.cut || !x.cut && !slices.Equal(got, x.want) {
				t.Errorf("%.80q in steps of %d: %.80q, cut %v", x.reply, step, got, cut)
			}
		}
	}
}

// TestUnended: an event that nothing ends, where the stream does, answers what was asked and nothing else.
func TestUnended(t *testing.T) {
	c := open(t).(*Connector)
	for reply, good := range map[string]bool{`data: {"id":1,"result":{}}`: true, "data: {\"id\":1,\"result\":{}}\n": true, `data: {"id":2,"result":{}}`: false, "data: {\"id\":1,\"result\":{}}\n\ndata: {\"id\":1,\"result\":{}}": false,
		`data: {"id":1,"res`: true, "": true, ": nothing": true, "id: 7\ndata:": true} { // one that breaks off is gone on with in another
		w := c.Check(post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file"}}`), "text/event-stream", func(connector.Question) error { return nil }, nil, nil)
		if _, err := w.Write([]byte(reply)); err != nil {
			t.Errorf("%q: %v", reply, err)
		}
		if err := w.Close(); (err == nil) != good {
			t.Errorf("%q: %v", reply, err)
		}
	}
}

// TestHeld: what is kept of a reply is taken into account as it grows, and given back with each event; what may not be kept is not, and counts as cut.
func TestHeld(t *testing.T) {
	c := open(t).(*Connector)
	call := post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file"}}`)
	long := strings.Repeat("x", 300<<10)
	result := `{"id":1,"result":{"content":[{"type":"text","text":"` + long + `"}]}}`
	for _, most := range []int64{1 << 20, 100 << 10, 0} {
		var now, peak int64
		var got []connector.Told
		holds := func(n int64) error {
			if now+n > most {
				return errors.New("full")
			}
			now += n
			peak = max(peak, now)
			return nil
		}
		may := func(connector.Question) error { return nil }
		w := c.Check(call, "application/json", may, func(told connector.Told) { got = append(got, told) }, holds)
		if _, err := w.Write([]byte(result)); err != nil {
			t.Fatal(err)
		}
		whole := most > 300<<10
		if len(got) != 1 || got[0].Whole != whole || whole && (got[0].Text != long || peak < 300<<10) || int64(len(got[0].Text)) > most {
			t.Errorf("of %d bytes that may be held: %d texts, whole %v, %d held", most, len(got), whole, peak)
		}
		w = c.Check(call, "text/event-stream", may, func(told connector.Told) { got = append(got, told) }, holds)
		now = 0
		for range 5 {
			if _, err := w.Write([]byte(`data: {"method":"notifications/message","params":{"data":"` + long + `"}}` + "\n\n")); err != nil {
				t.Fatal(err)
			}
			if now != 0 {
				t.Fatalf("of %d bytes that may be held: %d are after an event", most, now)
			}
		}
		if _, err := w.Write([]byte(`data: {"method":"elicitation/create","id":7,"params":{"message":"` + long + `"}}` + "\n\n")); (err == nil) != whole {
			t.Errorf("of %d bytes that may be held: a question of %d: %v", most, len(long), err)
		}
	}
}

// TestRest: texts in arguments that no policy can speak of are handed on by the names that lead to them.
func TestRest(t *testing.T) {
	c, err := Open([]byte(`{"tools":[{"name":"meet","inputSchema":{"type":"object","properties":{"title":{"type":"string","format":"email","description":"Whom"},
		"attendees":{"type":"array","items":{"type":"object"}},"access":{"type":"object"},"any":{}}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	call, err := c.Recognise(post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"meet","arguments":{"title":"x","attendees":[{"email":"a@b.example","n":[1,"two"]},{"email":"c@d.example"}],
		"access":{"e@f.example":"read"},"any":"free"}}}`))
	want := []provenance.Argument{{Name: "attendees.email", Value: "a@b.example"}, {Name: "attendees.n", Value: "1"}, {Name: "attendees.n", Value: "two"}, {Name: "attendees.email", Value: "c@d.example"},
		{Name: "access", Value: "e@f.example"}, {Name: "access.e@f.example", Value: "read"}, {Name: "any", Value: "free"}}
	if err != nil || !slices.Equal(call.Rest, want) || call.Arguments["title"] != "x" {
		t.Errorf("%v\n%+v", err, call)
	}
	for _, a := range c.Actions() {
		if a.Name == "tools.meet" && (a.Parameters[0].Format != "email" || a.Parameters[0].Summary != "Whom") {
			t.Errorf("%+v", a.Parameters)
		}
	}
}
