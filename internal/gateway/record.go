package gateway

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// record writes down how the request ended. It is deferred, so that refusals,
// panics and streams cut short are on record too.
func (g *Gateway) record(r *request) {
	panicked := recover()
	if panicked == http.ErrAbortHandler {
		if r.failure == "" {
			r.failure = r.name + " or the caller hung up in the middle of the response"
		}
	} else if panicked != nil {
		g.Log.Error("panic", "request", r.id, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		r.failure, r.status = "internal error", http.StatusInternalServerError
	}
	if r.ctx != nil {
		if p, ok := context.Cause(r.ctx).(*problem); ok {
			r.failure = p.detail
		}
	}
	e := g.event(r)
	if left, ok := g.worth(r); ok {
		if left > 0 {
			e.Detail = maps.Clone(e.Detail)
			if e.Detail == nil {
				e.Detail = map[string]string{}
			}
			e.Detail["left_out"] = strconv.Itoa(left)
		}
		g.recorder.queue(e)
	} else {
		g.recorder.held.Add(-1)
	}
	g.metrics.ended(r, e)
	if g.Trace != nil {
		g.spans(r, e)
	}
	if panicked != nil {
		panic(http.ErrAbortHandler) // net/http drops the connection: half a response must not look whole
	}
}

// worth says whether r goes on record. Asking for a nonce is a step of the
// protocol and not an ending; and of callers who have proven nothing there are
// only so many.
func (g *Gateway) worth(r *request) (leftOut int, ok bool) {
	if r.refused != nil && r.refused.oauth == "use_dpop_nonce" {
		return 0, false
	}
	if r.claims != nil {
		return 0, true
	}
	return g.strangers.Admit(r.start)
}

// event is how r ended, in the ledger's words.
func (g *Gateway) event(r *request) ledger.Event {
	e := g.known(r)
	e.ID, e.Outcome, e.Status, e.Duration = "evt_"+r.id, r.outcome(), r.status, g.Now().Sub(r.start)
	switch {
	case r.failure != "":
		e.Reason = r.failure
	case r.refused != nil:
		e.Reason = r.refused.detail
	}
	return e
}

// intent is that r goes on, told before its end is known. It reads of r only
// what no longer changes once r is a running request.
func (g *Gateway) intent(r *request) (ledger.Event, error) {
	id, err := g.fresh(r.start)
	e := g.known(r)
	e.ID, e.Outcome = "evt_"+id, ledger.Pending
	return e, err
}

func (g *Gateway) known(r *request) ledger.Event {
	e := ledger.Event{
		Time: r.start.UTC().Truncate(time.Microsecond), Type: "request",
		Action: r.call.Action, Class: string(r.call.Class), Upstream: clip(r.name, 255), Resource: r.call.Resource,
		Reason: r.decision.Reason, Policies: r.decision.Policies,
		Request: r.id, Source: r.source, Gateway: g.Name,
	}
	if e.Source == "" {
		e.Source = r.in.RemoteAddr
	}
	if r.tracing != "" {
		e.Trace = r.tracing[3:35]
	}
	if c := r.claims; c != nil {
		e.Chain = c.Chain.Texts()
		e.Actor, e.Owner, e.Credential, e.Token = e.Chain[0], string(c.Owner), c.Credential, c.ID
	}
	if r.subject != nil {
		e.Owner = string(r.subject.Identity.Owner) // as it is now: the token may be older than a change of owner
	}
	detail := func(name, value string) {
		if e.Detail == nil {
			e.Detail = map[string]string{}
		}
		e.Detail[name] = value
	}
	if r.facts != nil && (r.decision.Guardrail || r.waits != nil) {
		detail("origins", r.facts.Summary())
	}
	if r.account != nil && r.account.owner != "" {
		detail("account", string(r.account.owner))
	}
	if r.upload.begins {
		detail("upload", "begins")
	} else if r.upload.part != "" {
		detail("upload", r.upload.part)
	}
	if e.Action == "" && r.in != nil {
		detail("method", clip(r.in.Method, 32))
		detail("path", clip(r.path, 512))
	}
	if c := r.claims; c != nil && c.Task != "" {
		detail("task", c.Task)
	}
	return e
}

// sweep is the time between two looks at the running requests.
const sweep = 25 * time.Millisecond

// note puts requests that take long on record while they run, so that a read is
// there within 100 ms even if it is a stream without an end. What is privileged
// is on record already. It returns when the gateway closes.
func (g *Gateway) note() {
	t := time.NewTicker(sweep)
	defer t.Stop()
	idle := time.NewTicker(time.Minute)
	defer idle.Stop()
	for {
		select {
		case <-g.done:
			return
		case <-idle.C:
			g.sweepDoors()
			g.purses.later(func() { g.purses.sweep(g.Now()) })
		case <-t.C:
			g.lapse()
			g.streams.each(func(r *request) {
				if r.sweeps++; r.sweeps < 2 || r.noted || r.decision.Before || !g.recorder.reserve() {
					return
				}
				e, err := g.intent(r)
				if r.noted = err == nil; err != nil {
					g.recorder.held.Add(-1)
					return
				}
				g.recorder.queue(e)
			})
		}
	}
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
