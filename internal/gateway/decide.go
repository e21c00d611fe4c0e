package gateway

import (
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// decide asks whether it may. Every link of the chain must be allowed, so a
// chain is as strong as its weakest link and a delegation can only narrow.
func (g *Gateway) decide(r *request) error {
	d, err := g.judge(r, r.subject)
	if err != nil {
		return err
	}
	r.decision = d
	if !d.Allow {
		return denied(r, d)
	}
	return nil
}

func denied(r *request, d policy.Decision) error {
	p := &problem{status: http.StatusForbidden, kind: "denied", oauth: "insufficient_scope", detail: d.Reason}
	if d.Guardrail {
		p.kind = "forbidden"
	} else {
		p.scope = r.call.Action
	}
	if p.detail == "" {
		p.detail = "No grant covers it."
	}
	return p
}

// judge is the decision as things are now; it is asked again for a running
// request when a grant goes.
func (g *Gateway) judge(r *request, subject *feed.Subject) (policy.Decision, error) {
	ask := policy.Request{Call: r.call, Upstream: r.backend.upstream, Now: r.start, Source: r.source}
	set, err := subject.Set()
	if err != nil {
		return policy.Decision{}, err
	}
	d := set.Decide(ask)
	for _, id := range r.claims.Chain {
		if !d.Allow {
			return d, nil
		}
		if id == r.claims.Subject {
			continue
		}
		if d, err = g.link(id, ask, d); err != nil {
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
	d.Policies = append(so.Policies[:len(so.Policies):len(so.Policies)], d.Policies...)
	d.Before = d.Before || so.Before
	return d, nil
}
