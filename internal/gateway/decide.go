package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// decide asks whether it may. Every link of the chain must be allowed, so a
// chain is as strong as its weakest link and a delegation can only narrow; and whatever
// any of them needs people's yes for, all of it does. What is allowed must also still be what
// it was when it was approved.
func (g *Gateway) decide(r *request) error {
	if err := g.traced(r); err != nil {
		return err
	}
	d, err := g.judge(r.claims, r.own(r.call, r.backend.upstream, r.start), &r.sets)
	if err == nil {
		var more bool
		if more, err = g.complete(r, d); more && err == nil {
			if err = g.traced(r); err == nil {
				d, err = g.judge(r.claims, r.own(r.call, r.backend.upstream, r.start), &r.sets)
			}
		}
	}
	if err != nil {
		return err
	}
	if (d.Allow || d.Ask != nil) && !inScope(r.claims.Scope, r.call.Class) {
		d = policy.Decision{Reason: fmt.Sprintf("%s may do this, but its token is limited to the scope %q and %s is a %s: a token with that in its scope, or with none, is needed.",
			r.claims.Actor().Name(), r.claims.Scope, r.call.Action, r.call.Class)}
	}
	r.decision = d
	if !d.Allow && d.Ask == nil {
		return denied(r, d)
	}
	if err := g.blind(r); err != nil {
		return err
	}
	if err := g.layers(r, nil); err != nil { // nobody is asked about what would be refused all the same
		return err
	}
	r.task, _ = g.View.Task(r.claims.Task)
	if err := g.unchanged(r); err != nil || d.Allow {
		return err
	}
	return g.asked(r)
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

// sets are what each link of a chain may do, the actor's first.
type sets [identity.MaxChain]*policy.Set

// question is whether a call may be made for r, at that time, on that version of its upstream.
func (r *request) question(call policy.Call, u *policy.Upstream, now time.Time) policy.Request {
	return policy.Request{Call: call, Upstream: u, Now: now, Source: r.source, Chain: r.claims.Chain}
}

// own is the question of r itself, with what is known of its values.
func (r *request) own(call policy.Call, u *policy.Upstream, now time.Time) policy.Request {
	q := r.question(call, u, now)
	q.Facts = r.facts
	return q
}

// judge is the decision on all of the chain; it is asked again for a running request
// when something it stood on may have gone. What decided is put into by.
func (g *Gateway) judge(c *token.Claims, ask policy.Request, by *sets) (policy.Decision, error) {
	chain := c.Chain
	if len(chain) == 0 || len(chain) > len(by) {
		return policy.Decision{Reason: "Nobody, or too many, are behind the request."}, nil
	}
	var all policy.Decision
	for i, l := range chain {
		d, err := g.link(l.ID, &ask, &by[i])
		if err != nil || !d.Allow && d.Ask == nil {
			return d, err
		}
		if i == 0 {
			all = d
			continue
		}
		if d.Ask != nil && all.Ask == nil {
			all.Reason = d.Reason
		} else if d.Ask != nil && d.Reason != all.Reason {
			all.Reason += " " + d.Reason
		}
		all.Ask = all.Ask.With(d.Ask)
		all.Policies = append(all.Policies, d.Policies...)
		all.Before = all.Before || d.Before
		all.Layers = append(all.Layers[:len(all.Layers):len(all.Layers)], d.Layers...)
	}
	if all.Allow = all.Ask == nil; all.Allow && len(chain) > 1 {
		all.Reason = "Granted by " + strings.Join(all.Policies, ", ") + "."
	}
	return g.tasked(c, ask, all)
}

// offer reports whether everyone in a chain may make a call, or might with the right
// arguments where they are not known: whether it is to be shown.
func (s *sets) offer(ask policy.Request) bool {
	for _, set := range s[:len(ask.Chain)] {
		if ask.Call.Arguments != nil { // all of the call is known
			if d := set.Decide(ask); !d.Allow && d.Ask == nil {
				return false
			}
		} else if !set.May(ask) {
			return false
		}
	}
	return true
}

// link is the decision on one member of the chain.
func (g *Gateway) link(id identity.ID, ask *policy.Request, by **policy.Set) (policy.Decision, error) {
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
	*by = set
	return set.Decide(*ask), nil
}

// unmoved reports whether what decided on r would decide now, too: the same task, the same
// grants under the same guardrails for each link, on the same version of the upstream.
func (g *Gateway) unmoved(r *request, u *policy.Upstream) bool {
	if u != r.backend.upstream {
		return false
	}
	if t, _ := g.View.Task(r.claims.Task); t != r.task {
		return false
	}
	for i, l := range r.claims.Chain {
		member, ok := g.View.Subject(l.ID)
		if !ok {
			return false
		}
		if set, err := member.Set(); err != nil || set != r.sets[i] {
			return false
		}
	}
	return true
}
