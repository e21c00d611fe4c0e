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
// chain is as strong as its weakest link and a delegation can only narrow; and whatever
// any of them needs people's yes for, all of it does. What is allowed must also still be what
// it was when it was approved.
func (g *Gateway) decide(r *request) error {
	set, err := r.subject.Set()
	if err != nil {
		return err
	}
	d, err := g.judge(r, set, r.backend.upstream, r.start)
	if err != nil {
		return err
	}
	if (d.Allow || d.Ask != nil) && !inScope(r.claims.Scope, r.call.Class) {
		d = policy.Decision{Reason: fmt.Sprintf("%s may do this, but its token is limited to the scope %q and %s is a %s: a token with that in its scope, or with none, is needed.",
			r.claims.Actor().Name(), r.claims.Scope, r.call.Action, r.call.Class)}
	}
	r.set, r.decision = set, d
	if !d.Allow && d.Ask == nil {
		return denied(r, d)
	}
	if err := g.unchanged(r); err != nil || d.Allow {
		return err
	}
	return g.asked(r)
}

func denied(r *request, d policy.Decision) error {
	p := &problem{status: http.StatusForbidden, kind: "denied", oauth: "insufficient_scope", detail: d.Reason}
	if d.Guardrail {
		p.kind = "forbidden"
	} else {
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

// judge is the decision at now, by what set allows the subject on the upstream as it
// is; it is asked again for a running request when something it stood on may have gone.
func (g *Gateway) judge(r *request, set *policy.Set, u *policy.Upstream, now time.Time) (policy.Decision, error) {
	ask := policy.Request{Call: r.call, Upstream: u, Now: now, Source: r.source, Chain: r.claims.Chain}
	d := set.Decide(ask)
	var err error
	for _, l := range r.claims.Chain[1:] {
		if !d.Allow && d.Ask == nil {
			return d, nil
		}
		if d, err = g.link(l.ID, ask, d); err != nil {
			return policy.Decision{}, err
		}
	}
	return d, nil
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
	if !d.Allow && d.Ask == nil {
		return d, nil
	}
	if so.Ask != nil {
		if d.Ask != nil && d.Reason != so.Reason {
			d.Reason = so.Reason + " " + d.Reason
		} else {
			d.Reason = so.Reason
		}
		d.Allow, d.Ask = false, so.Ask.With(d.Ask)
	}
	d.Policies = append(so.Policies[:len(so.Policies):len(so.Policies)], d.Policies...)
	d.Before = d.Before || so.Before
	return d, nil
}
