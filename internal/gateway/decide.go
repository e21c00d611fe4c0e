package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// decide asks whether it may. Every link of the chain must be allowed, so a
// chain is as strong as its weakest link and a delegation can only narrow. What is
// allowed must also still be what it was when it was approved.
func (g *Gateway) decide(r *request) error {
	set, err := r.subject.Set()
	if err != nil {
		return err
	}
	d, err := g.judge(r, r.question(r.call, r.backend.upstream, r.start), set)
	if err != nil {
		return err
	}
	if d.Allow && !inScope(r.claims.Scope, r.call.Class) {
		d = policy.Decision{Reason: fmt.Sprintf("%s may do this, but its token is limited to the scope %q and %s is a %s: a token with that in its scope, or with none, is needed.",
			r.claims.Actor().Name(), r.claims.Scope, r.call.Action, r.call.Class)}
	}
	r.set, r.decision = set, d
	if !d.Allow {
		return denied(r, d)
	}
	r.task, _ = g.View.Task(r.claims.Task)
	return g.unchanged(r)
}

func denied(r *request, d policy.Decision) error {
	p := &problem{status: http.StatusForbidden, kind: "denied", oauth: "insufficient_scope", detail: d.Reason}
	switch {
	case d.Guardrail:
		p.kind = "forbidden"
	case d.Task:
		p.kind = "task"
	default:
		p.scope = string(r.call.Class) // what the issuer takes as a scope
	}
	if p.detail == "" {
		p.detail = "No grant covers it."
	}
	return p
}

// inScope reports whether a token of that scope reaches actions of class c: a
// scope names classes and can only narrow what is granted (RFC 6749 section
// 3.3). A token without one reaches all that is granted.
func inScope(scope string, c policy.Class) bool {
	if scope == "" {
		return true
	}
	for s := range strings.FieldsSeq(scope) {
		if s == string(c) {
			return true
		}
	}
	return false
}

// question is whether a call may be made for r, at that time, on that version of its upstream.
func (r *request) question(call policy.Call, u *policy.Upstream, now time.Time) policy.Request {
	return policy.Request{Call: call, Upstream: u, Now: now, Source: r.source, Chain: r.claims.Chain}
}

// judge is the decision by what set allows the subject; it is asked again for a
// running request when something it stood on may have gone.
func (g *Gateway) judge(r *request, ask policy.Request, set *policy.Set) (policy.Decision, error) {
	d := set.Decide(ask)
	var err error
	for _, l := range r.claims.Chain[1:] {
		if !d.Allow {
			return d, nil
		}
		if d, err = g.link(l.ID, ask, d); err != nil {
			return policy.Decision{}, err
		}
	}
	return g.tasked(r.claims, ask, d)
}

// offers reports whether everyone behind r may make a call, or might with the right
// arguments where they are not known: whether it is to be shown.
func (r *request) offers(ask policy.Request) bool {
	may := (*policy.Set).May
	if ask.Call.Arguments != nil { // all of the call is known
		may = func(s *policy.Set, ask policy.Request) bool { return s.Decide(ask).Allow }
	}
	for _, l := range ask.Chain[1:] {
		member, ok := r.g.View.Subject(l.ID)
		if !ok {
			return false
		}
		if set, err := member.Set(); err != nil || !may(set, ask) {
			return false
		}
	}
	return may(r.set, ask)
}

// link adds the decision on one member of the chain to what the others said.
func (g *Gateway) link(id identity.ID, ask policy.Request, so policy.Decision) (policy.Decision, error) {
	member, ok := g.View.Subject(id)
	if !ok {
		return policy.Decision{Reason: id.String() + ", on whose behalf it is asked, is unknown."}, nil
	}
	if err := member.Identity.Usable(ask.Now); err != nil {
		return policy.Decision{Reason: "It is asked on behalf of " + id.Name() + ", and " + err.Error() + "."}, nil
	}
	set, err := member.Set()
	if err != nil {
		return policy.Decision{}, err
	}
	d := set.Decide(ask)
	d.Policies = append(so.Policies[:len(so.Policies):len(so.Policies)], d.Policies...)
	d.Before = d.Before || so.Before
	return d, nil
}
