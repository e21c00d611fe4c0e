package control

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// WhatIfRequest is POST /v1/what-if: policies as they would be, which nothing is changed by.
type WhatIfRequest struct {
	Guardrails []WhatIfGuardrail `json:"guardrails,omitempty" maxItems:"100"`
	Grants     []WhatIfGrant     `json:"grants,omitempty" maxItems:"100"`
	Days       int               `json:"days,omitempty" doc:"How far back; default 7" minimum:"0" maximum:"90"`
}

// WhatIfGuardrail is one as it would be, or one that would be removed.
type WhatIfGuardrail struct {
	ID      string `json:"id" maxLength:"64"`
	Cedar   string `json:"cedar,omitempty" maxLength:"65536"`
	Removed bool   `json:"removed,omitempty"`
}

// WhatIfGrant is one as it would be, or one that would be taken away.
type WhatIfGrant struct {
	Identity string `json:"identity" maxLength:"512"`
	ID       string `json:"id" doc:"Its name, with or without the identity's before it" maxLength:"512"`
	Removed  bool   `json:"removed,omitempty"`

	Upstream   string                      `json:"upstream,omitempty" maxLength:"64"`
	Actions    []string                    `json:"actions,omitempty" maxItems:"500"`
	Resources  []string                    `json:"resources,omitempty" maxItems:"500"`
	Conditions map[string]policy.Condition `json:"conditions,omitempty"`
	Cedar      string                      `json:"cedar,omitempty" maxLength:"65536"`
	ForOthers  bool                        `json:"only_for_others,omitempty"`
	Record     string                      `json:"record,omitempty" enum:"before,within"`
	Approve    string                      `json:"approve,omitempty" maxLength:"512"`
	Fresh      string                      `json:"fresh,omitempty" maxLength:"16"`
	Until      string                      `json:"until,omitempty" maxLength:"64"`
}

func (g WhatIfGrant) grant() policy.Grant {
	return grantOf(GrantInput{Upstream: g.Upstream, Actions: g.Actions, Resources: g.Resources, Conditions: g.Conditions, Cedar: g.Cedar, ForOthers: g.ForOthers, Record: g.Record, Approve: g.Approve, Fresh: g.Fresh})
}

// WhatIf says which of the recorded requests would have gone otherwise.
type WhatIf struct {
	Requests   int              `json:"requests" doc:"That were looked at"`
	Changed    []WhatIfChanged  `json:"changed" doc:"The newest first; the first 1000"`
	ByIdentity []WhatIfIdentity `json:"by_identity"`
	Unsure     int              `json:"unsure" doc:"Of which the record says too little: arguments are not in it, what another's identity behind them may is not told, and what was decided by policies of then is not repeated by those of now"`
}

// WhatIfChanged is one request.
type WhatIfChanged struct {
	Identity string `json:"identity"`
	Event    string `json:"event"`
	Was      string `json:"was" enum:"allowed,refused,asked"`
	Would    string `json:"would" enum:"allowed,refused,asked"`
	Why      string `json:"why"`
}

// WhatIfIdentity counts those of one identity.
type WhatIfIdentity struct {
	Identity string `json:"identity"`
	Refused  int    `json:"newly_refused"`
	Allowed  int    `json:"newly_allowed"`
	Asked    int    `json:"newly_asked"`
}

// replay decides recorded requests by the policies of now, and by those that would be.
type replay struct {
	p       *Plane
	now     time.Time
	rails   *policy.Guardrails
	put     map[string]policy.Grant // grants as they would be, by id
	drop    map[string]bool
	changed map[string]bool // ids of all that would be other than it is
	sets    map[identity.ID]*policy.Set
	known   map[string]verdict
	who     *Caller
}

// verdict is what became of one kind of request.
type verdict struct {
	was, would, why string
	sure            bool
}

func (p *Plane) whatIfRoutes(api door) {
	handleList(api, "POST", "/what-if", "what-if", "guardrails", "Which recorded requests would have gone otherwise with other grants and guardrails; nothing is changed", func(ctx context.Context, in *body[WhatIfRequest]) (WhatIf, error) {
		if !p.replaying.TryLock() {
			return WhatIf{}, refusal(http.StatusConflict, "Somebody is replaying requests already; try again in a moment.")
		}
		defer p.replaying.Unlock()
		r, err := p.replay(ctx, in)
		if err != nil {
			return WhatIf{}, err
		}
		days := in.Body.Days
		if days == 0 {
			days = 7
		}
		return r.run(ctx, time.Duration(days)*24*time.Hour)
	})
}

// replay has the policies checked and compiled as if they were put, and keeps nothing of that.
func (p *Plane) replay(ctx context.Context, in *body[WhatIfRequest]) (*replay, error) {
	r := &replay{p: p, now: p.Now(), put: map[string]policy.Grant{}, drop: map[string]bool{}, changed: map[string]bool{}, sets: map[identity.ID]*policy.Set{}, known: map[string]verdict{}, who: &in.Caller}
	var rails []policy.Guardrail
	err := p.registry.Try(ctx, in.actor(), func(c *registry.Change) error {
		for _, g := range in.Body.Guardrails {
			r.changed[g.ID] = true
			old, err := c.Guardrail(g.ID)
			if g.Removed {
				err = c.RemoveGuardrail(g.ID)
			} else if err == nil || errors.Is(err, store.ErrNotFound) {
				if err := p.fits(c, &in.Caller, g); err != nil {
					return err
				}
				_, err = c.PutGuardrail(policy.Guardrail{ID: g.ID, Description: old.Description, Cedar: g.Cedar, Set: old.Set})
			}
			if err != nil {
				return err
			}
		}
		for _, g := range in.Body.Grants {
			i, err := registry.FindIdentity(c.Tx, g.Identity)
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(g.ID, i.ID.Name()+"/")
			id := i.ID.Name() + "/" + name
			if r.changed[id] = true; g.Removed {
				r.drop[id] = true
				continue
			}
			until, err := registry.ParseEnd(g.Until)
			if err != nil {
				return invalid("until: " + err.Error())
			}
			if r.put[id], _, err = c.PutGrant(i.ID.String(), name, g.grant(), until); err != nil {
				return err
			}
		}
		if err := c.Settle(); err != nil {
			return err
		}
		var err error
		rails, err = c.Guardrails()
		return err
	})
	if err == nil {
		r.rails, err = policy.NewGuardrails(rails)
	}
	return r, err
}

// fits says what is wrong with a guardrail by the upstreams that a person knows of: by all of them it would tell what there is.
func (p *Plane) fits(c *registry.Change, who *Caller, g WhatIfGuardrail) error {
	if who.only == nil {
		return nil
	}
	ups, err := who.upstreams(c.Tx)
	var all []policy.Described
	for _, u := range ups {
		d, e := p.registry.Describe(u)
		all, err = append(all, d), errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	if err := policy.CompileGuardrail(policy.Guardrail{ID: g.ID, Cedar: g.Cedar}, all...); err != nil {
		return invalid("guardrail " + g.ID + ": " + err.Error())
	}
	return nil
}

// run looks at every request of that time, of those whom the caller may know of.
func (r *replay) run(ctx context.Context, back time.Duration) (WhatIf, error) {
	out := WhatIf{Changed: []WhatIfChanged{}, ByIdentity: []WhatIfIdentity{}}
	since := r.now.Add(-back)
	from, err := r.p.Store.Since(ctx, since)
	if err != nil {
		return out, err
	}
	by := map[string]*WhatIfIdentity{}
	for e, err := range r.p.Store.Events(ctx, from) {
		if err != nil {
			return out, err
		}
		if e.Event.Type != "request" || e.Event.Outcome == ledger.Pending || e.Event.Time.Before(since) || !r.who.sees(identity.OwnerID(e.Event.Owner)) {
			continue
		}
		out.Requests++
		v := r.verdict(e.Event)
		if !v.sure {
			out.Unsure++
			continue
		}
		if v.was == v.would {
			continue
		}
		if out.Changed = append(out.Changed, WhatIfChanged{e.Event.Actor, e.Event.ID, v.was, v.would, v.why}); len(out.Changed) > 2*shown {
			out.Changed = slices.Delete(out.Changed, 0, shown)
		}
		one := by[e.Event.Actor]
		if one == nil {
			one = &WhatIfIdentity{Identity: e.Event.Actor}
			by[e.Event.Actor] = one
		}
		switch v.would {
		case "refused":
			one.Refused++
		case "allowed":
			one.Allowed++
		case "asked":
			one.Asked++
		}
	}
	slices.Reverse(out.Changed)
	out.Changed = out.Changed[:min(len(out.Changed), shown)]
	for _, who := range slices.Sorted(maps.Keys(by)) {
		out.ByIdentity = append(out.ByIdentity, *by[who])
	}
	return out, nil
}

// verdict decides one request again. Those that say the same are decided once.
func (r *replay) verdict(e ledger.Event) verdict {
	key := strings.Join(append([]string{e.Upstream, e.Action, e.Class, e.Resource, string(e.Outcome)}, e.Chain...), "\x00")
	v, ok := r.known[key]
	if !ok {
		if len(r.known) > 100_000 {
			r.known = map[string]verdict{}
		}
		v = r.decide(e)
		r.known[key] = v
	}
	return v
}

func (r *replay) decide(e ledger.Event) (v verdict) {
	u, ok := r.p.View.Upstream(e.Upstream)
	if !ok || e.Action == "" || len(e.Chain) == 0 || len(e.Chain) > identity.MaxChain {
		return v
	}
	q := policy.Request{Upstream: u, Now: r.now, Call: policy.Call{Upstream: u.Name, Action: e.Action, Resource: e.Resource, Class: policy.ClassOf(*u, policy.Action{Name: e.Action, Class: policy.Class(e.Class)})}}
	for _, text := range e.Chain {
		id, err := identity.ParseID(text)
		if err != nil {
			return v
		}
		q.Chain = append(q.Chain, identity.Link{ID: id})
	}
	v.was, v.would = "allowed", "allowed"
	for _, l := range q.Chain {
		s, ok := r.p.View.Subject(l.ID)
		if !ok || !r.who.sees(cmp.Or(l.ID.Owner(), s.Identity.Owner)) { // what another's may is not told
			return verdict{}
		}
		before, err := s.Set()
		if err != nil {
			return v
		}
		after, err := r.set(l.ID, s.Identity, s.Grants)
		if err != nil || before.Depends(q, r.changed) || after.Depends(q, r.changed) {
			return v
		}
		v.was, _ = worse(v.was, "", before.Decide(q))
		v.would, v.why = worse(v.would, v.why, after.Decide(q))
	}
	// What the policies of now would not have decided as it was, they say nothing about.
	switch e.Outcome {
	case ledger.Refused:
		v.sure = v.was != "allowed"
	default:
		v.sure = v.was != "refused"
	}
	return v
}

// worse is the graver of what was decided so far and of d, with its reason.
func worse(word, why string, d policy.Decision) (string, string) {
	now := "refused"
	if d.Allow {
		now = "allowed"
	} else if d.Ask != nil {
		now = "asked"
	}
	rank := []string{"allowed", "asked", "refused"}
	if why == "" || slices.Index(rank, now) > slices.Index(rank, word) {
		why = d.Reason
	}
	if slices.Index(rank, now) > slices.Index(rank, word) {
		word = now
	}
	return word, why
}

// set is what an identity might do with the policies that would be.
func (r *replay) set(id identity.ID, i identity.Identity, grants []policy.Grant) (*policy.Set, error) {
	if set := r.sets[id]; set != nil {
		return set, nil
	}
	var list []policy.Grant
	for _, g := range grants {
		if other, ok := r.put[g.ID]; ok {
			g = other
		}
		if !r.drop[g.ID] {
			list = append(list, g)
		}
	}
	for key, g := range r.put {
		if g.Identity == id && !slices.ContainsFunc(list, func(o policy.Grant) bool { return o.ID == key }) {
			list = append(list, g)
		}
	}
	who := policy.Subject{ID: i.ID, Owner: i.Owner, Environment: i.Environment}
	if i.Inherits {
		who.Parent = i.Parent.ID
	}
	set, err := policy.NewSet(who, list, r.rails)
	if err == nil && len(r.sets) < 10_000 {
		r.sets[id] = set
	}
	return set, err
}
