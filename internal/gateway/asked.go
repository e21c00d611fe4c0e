package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// asked judges what an upstream asks of its client in the reply to r, and puts it on
// record. It is called while the reply goes by, so grants and guardrails are those of now.
func (r *request) asked(q connector.Question) error {
	err := r.many()
	if err == nil {
		err = r.judged(q.Call)
	}
	if err != nil {
		r.tell(q.No)
	}
	return err
}

// asks is how often an upstream has asked something of its client in one reply.
type asks struct {
	n     int
	since time.Time // on the stream of a session, which has no end: in the minute from then on
}

// many refuses a question too many: each is a place in the recorder, and an event. A door says no to its
// upstreams by itself first, so that what they were called for can end as they like.
func (r *request) many() error {
	if now := r.g.Now(); r.in.Method == http.MethodGet && now.Sub(r.asks.since) >= time.Minute {
		r.asks = asks{since: now}
	}
	most := maxAsked
	if _, inward := r.w.(*reply); inward {
		most *= 2
	}
	if r.asks.n++; r.asks.n <= most {
		return nil
	}
	return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: fmt.Sprintf("%s asked its client more than %d times for something in the midst of this, so it ends here.", r.name, most)}
}

func (r *request) judged(call policy.Call) error {
	g, now := r.g, r.g.Now()
	call.Upstream = r.name
	call.Class = policy.ClassOf(*r.backend.upstream, policy.Action{Name: call.Action, Class: call.Class})
	if !g.recorder.reserve() {
		return unavailable("The ledger cannot be written and its buffer is full, so nothing may be asked.")
	}
	d, err := r.mayAsk(call, now)
	id, failed := g.fresh(now)
	if err == nil {
		err = failed
	}
	if err != nil {
		g.recorder.held.Add(-1)
		return err
	}
	e := g.known(r)
	e.ID, e.Time, e.Type, e.Outcome = "evt_"+id, now.UTC().Truncate(time.Microsecond), "request.ask", ledger.Allowed
	e.Action, e.Class, e.Resource, e.Reason, e.Policies = call.Action, string(call.Class), call.Resource, d.Reason, d.Policies
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	e.Detail["during"] = r.call.Action
	if mode, ok := call.Arguments["mode"].(string); ok {
		e.Detail["mode"] = clip(mode, 32)
	}
	if fields, ok := call.Arguments["fields"].([]string); ok {
		e.Detail["fields"] = clip(strings.Join(fields, " "), 512)
	}
	if page, ok := call.Arguments["url"].(string); ok { // the rest of it may be a secret
		u, err := url.Parse(page)
		if err != nil {
			u = &url.URL{}
		}
		e.Detail["page"] = clip(u.Host, 255)
	}
	if !d.Allow {
		e.Outcome = ledger.Refused
	}
	g.recorder.queue(e)
	if d.Allow {
		return nil
	}
	detail := r.name + " asked its client for something (" + call.Action + ") in the midst of this, which is not allowed, so it ends here"
	if d.Reason != "" {
		detail += ": " + d.Reason
	} else {
		detail += ": no grant covers it."
	}
	return &problem{status: http.StatusForbidden, kind: "forbidden", detail: detail}
}

func (r *request) mayAsk(call policy.Call, now time.Time) (policy.Decision, error) {
	var by sets
	d, err := r.g.judge(r.claims, r.question(call, r.backend.upstream, now), &by)
	if err == nil && d.Allow && !inScope(r.claims.Scope, call.Class) {
		d = policy.Decision{Reason: "the token is limited to the scope " + quote(r.claims.Scope)}
	}
	return d, err
}

// tellTime is how long an upstream may take to hear a no.
const tellTime = 10 * time.Second

// tell lets the upstream know that its question is refused, so that it does not wait for an answer.
func (r *request) tell(no []byte) {
	if no == nil {
		return
	}
	g, transport, u := r.g, r.backend.transport, r.backend.base
	u.Path, u.RawPath, u.RawQuery, u.Opaque = "", "", "", r.backend.prefix+r.target
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	for _, name := range []string{r.session, "Mcp-Protocol-Version"} {
		if values, ok := r.in.Header[name]; ok {
			h[name] = values
		}
	}
	setSecret(h, r.secret)
	out := &http.Request{Method: http.MethodPost, URL: &u, Host: u.Host, Header: h, Body: io.NopCloser(bytes.NewReader(no)), ContentLength: int64(len(no))}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), tellTime)
		defer cancel()
		res, err := transport.RoundTrip(out.WithContext(ctx))
		if err != nil {
			g.Log.Debug("refusing a question", "upstream", u.Host, "error", err)
			return
		}
		_ = res.Body.Close()
	}()
}
