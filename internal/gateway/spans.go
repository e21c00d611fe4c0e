package gateway

import (
	"encoding/hex"
	"io"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/trace"
)

// steps are the parts of a request that have spans of their own, in the order of pass.
var steps = [...]string{"clean", "authenticate", "recognise", "decide", "inject", "forward"}

// mark notes that the step before is over. It costs nothing when nobody collects traces.
func (r *request) mark() {
	if r.g.Trace != nil && r.passed < len(r.marks) {
		r.marks[r.passed] = r.g.Now()
		r.passed++
	}
}

// spans tells of r as it ended: one span for all of it, as a server, and one for each step it came to. The one of
// forward is the upstream's parent: its id went along in traceparent. What is told is what the record has,
// and neither path nor arguments.
func (g *Gateway) spans(r *request, e ledger.Event) {
	var id, parent, caller string
	if given := r.in.Header["Traceparent"]; len(given) == 1 && validTrace(given[0]) {
		id, caller = given[0][3:35], given[0][36:52]
		if strings.IndexByte("13579bdf", given[0][54]) < 0 { // the caller does not sample this trace
			return
		}
	}
	var b [16 + 8*(len(steps)+1)]byte
	if _, err := io.ReadFull(g.Rand, b[:]); err != nil {
		return
	}
	if r.tracing != "" {
		id = r.tracing[3:35]
	} else if id == "" {
		id = hex.EncodeToString(b[:16])
	}
	span := func(n int) string { return hex.EncodeToString(b[16+8*n : 24+8*n]) }
	parent = span(0)
	end := r.start.Add(e.Duration)
	a := []trace.Attribute{
		trace.Text("http.request.method", clip(r.in.Method, 16)), trace.Int("http.response.status_code", int64(r.status)),
		trace.Text("lanyard.event", e.ID), trace.Text("lanyard.outcome", string(e.Outcome)),
	}
	text := func(name, value string) {
		if value != "" {
			a = append(a, trace.Text(name, value))
		}
	}
	text("lanyard.identity", e.Actor)
	if r.claims != nil {
		text("lanyard.upstream", e.Upstream)
	}
	text("lanyard.action", e.Action)
	text("lanyard.class", e.Class)
	text("lanyard.task", e.Detail["task"])
	failed := ""
	if r.refused != nil {
		failed = r.refused.kind
	} else if e.Outcome == ledger.Failed {
		failed = "failed"
	}
	text("error.type", failed)
	name := "request"
	if e.Action != "" {
		name = e.Action
	}
	if r.backend != nil && r.backend.upstream.Family == "mcp" {
		if tool, ok := strings.CutPrefix(e.Action, "tools."); ok {
			text("mcp.method.name", "tools/call")
			text("gen_ai.operation.name", "execute_tool")
			text("gen_ai.tool.name", tool)
			name = "tools/call " + tool
		}
	}
	if r.status < 500 { // of a server, what the caller did wrong is no failure (semantic conventions for HTTP)
		failed = ""
	}
	list := make([]trace.Span, 1, len(steps)+1)
	list[0] = trace.Span{Trace: id, ID: parent, Parent: caller, Name: name, Kind: trace.Server, Start: r.start, End: end, Attributes: a, Failed: failed}
	from := r.start
	for n, step := range steps {
		if n > r.passed {
			break
		}
		s := trace.Span{Trace: id, ID: span(n + 1), Parent: parent, Name: step, Kind: trace.Internal, Start: from, End: end}
		if n < r.passed {
			s.End = r.marks[n]
		}
		if step == "forward" && r.tracing != "" {
			s.ID, s.Kind = r.tracing[36:52], trace.Client
			s.Attributes = []trace.Attribute{trace.Text("server.address", r.backend.base.Host)}
		}
		list, from = append(list, s), s.End
	}
	g.Trace.Add(list...)
}

// passage is how far a request came, and when; only kept while traces are collected.
type passage struct {
	marks  [len(steps)]time.Time
	passed int
}
