package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestAskedTooMuch: an upstream that asks its client without end in one reply is told no, and the request ends; the stream of
// a session may go on asking, if it takes its time.
func TestAskedTooMuch(t *testing.T) {
	d := newDesk(t)
	d.call("read_note")
	questions := func() (n int) {
		for _, e := range d.plane.recorded() {
			if e.Type == "request.ask" {
				n++
			}
		}
		return n
	}
	const roots = `{"jsonrpc":"2.0","id":%d,"method":"roots/list"}`
	d.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 10 * maxAsked {
			if _, err := fmt.Fprintf(w, "data: "+roots+"\n\n", i); err != nil {
				return
			}
		}
		io.WriteString(w, `data: {"jsonrpc":"2.0","id":"q1","result":{}}`+"\n\n")
	})
	if _, body := d.call("read_note"); strings.Count(body, "roots/list") > maxAsked || !strings.Contains(body, "notes asked its client more than") {
		t.Errorf("%d questions: %.300s", strings.Count(body, "roots/list"), body)
	}
	eventually(t, "what it asked is on record", func() bool { return questions() == maxAsked })
	pages := strings.TrimSuffix(strings.Repeat(`{"mode":"url","url":"https://a.test/","message":"m","elicitationId":"e"},`, 10*maxAsked), ",")
	d.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":"q1","error":{"code":-32042,"message":"m","data":{"elicitations":[`+pages+`]}}}`)
	})
	if status, body := d.call("read_note"); status != 502 || !strings.Contains(body, "notes asked its client more than") {
		t.Errorf("in one error: %d %.300s", status, body)
	}
	eventually(t, "what it asked is on record, too", func() bool { return questions() == 2*maxAsked })
	next := make(chan int)
	d.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for n := range next {
			for i := range n {
				fmt.Fprintf(w, "data: "+roots+"\n\n", i)
			}
			w.(http.Flusher).Flush()
		}
	})
	defer close(next)
	r := d.post("")
	r.Method, r.Body, r.ContentLength = "GET", nil, 0
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for round := range 3 {
		next <- maxAsked
		eventually(t, "the round is on record", func() bool { return questions() == (3+round)*maxAsked })
		d.ahead.Add(int64(time.Minute))
	}
	next <- 2 * maxAsked
	if rest, _ := io.ReadAll(res.Body); strings.Count(string(rest), "roots/list") > 4*maxAsked {
		t.Errorf("it goes on: %d", strings.Count(string(rest), "roots/list"))
	}
	if n := questions(); n > 6*maxAsked {
		t.Errorf("%d questions on record", n)
	}
}

// TestAskedDetail: a question's event says for whom, and under which task, it was asked.
func TestAskedDetail(t *testing.T) {
	d := newDesk(t)
	d.call("read_note")
	d.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"jsonrpc":"2.0","id":1,"method":"roots/list"}`+"\n\n"+`data: {"jsonrpc":"2.0","id":"q1","result":{}}`+"\n\n")
	})
	b := &treasury{plane: d.plane, limit: map[string]policy.Budget{}, given: map[string]policy.Budget{}}
	d.task(b, "task_1", nil, func(t *policy.Task) { t.Scope[0].Upstream = "notes" })
	c := d.claims("bot")
	c.Audience, c.Task = testScope+"/notes", "task_1"
	r := d.message("read_note")
	r.Header.Set("Authorization", "Bearer "+d.mint(c))
	if _, body := d.do(r); !strings.Contains(body, "roots/list") {
		t.Fatal(body)
	}
	eventually(t, "the question is on record under its task", func() bool {
		for _, e := range d.plane.recorded() {
			if e.Type == "request.ask" && e.Detail["during"] == "tools.read_note" && e.Detail["task"] == "task_1" {
				return true
			}
		}
		return false
	})
}
