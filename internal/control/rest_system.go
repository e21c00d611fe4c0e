package control

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/control/issuer"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func (p *Plane) systemRoutes(api door) {
	const tag = "system"
	handle(api, "GET", "/status", "get-status", tag, "How everything stands", func(ctx context.Context, in *none) (Status, error) { return p.status(ctx) })
	handle(api, "GET", "/keys", "list-keys", tag, "The keys that sign tokens", func(ctx context.Context, in *none) (Page[KeyView], error) {
		return page(p.keys()), nil
	})
	handle(api, "POST", "/keys/rotate", "rotate-keys", tag, "Make a new signing key; tokens of the old one stay good until they end", func(ctx context.Context, in *none) (Rotated, error) {
		id, err := p.ring.Rotate(ctx, in.actor().Name)
		return Rotated{id, p.keys()}, err
	})
	handle(api, "POST", "/admin/token", "new-admin-token", tag, "Make a new admin token, over the Unix socket only; the old one is dead", func(ctx context.Context, in *none) (AdminToken, error) {
		if !strings.HasPrefix(in.remote, localPrefix) {
			return AdminToken{}, refusal(http.StatusForbidden, "A new admin token is made on the machine itself: lanyard token admin, over the Unix socket.")
		}
		secret, err := p.NewAdminToken(ctx, in.actor())
		return AdminToken{secret}, err
	})
	handle(api, "POST", "/explain", "explain", tag, "What would be decided about a call, and which policies had a say", func(ctx context.Context, in *body[ExplainRequest]) (ExplainResult, error) {
		return p.explain(ctx, in.Body)
	})
}

func (p *Plane) keys() (list []KeyView) {
	for _, k := range p.ring.Keys() {
		list = append(list, KeyView(k))
	}
	return list
}

func (p *Plane) status(ctx context.Context) (Status, error) {
	root := p.Store.Root()
	s := Status{Version: p.Version, TrustDomain: p.Domain, URL: p.URL, GatewayURL: p.GatewayURL, Started: p.started.UTC(), Now: p.Now().UTC(), Cursor: p.Store.Head(),
		Ledger:     LedgerStatus{Size: p.Store.Size(), Root: root.String(), Key: p.Store.Verifier(), Writable: true},
		Gateways:   []GatewayStatus{},
		Identities: map[string]int{}, Upstreams: []UpstreamSummary{}, MaxExpiry: p.registry.Longest().String(), TokenTTL: issuer.DefaultTTL.String()}
	if p.TokenTTL > 0 {
		s.TokenTTL = min(p.TokenTTL, issuer.LongestTTL).String()
	}
	if err := p.Store.Ready(); err != nil {
		s.Ledger.Writable, s.Ledger.Why = false, err.Error()
	}
	p.acks.mu.Lock()
	for name, a := range p.acks.of {
		s.Gateways = append(s.Gateways, GatewayStatus{Name: name, Cursor: a.cursor, At: a.at.UTC(), Behind: s.Cursor.Seq - min(a.cursor.Seq, s.Cursor.Seq)})
	}
	p.acks.mu.Unlock()
	slices.SortFunc(s.Gateways, func(a, b GatewayStatus) int { return strings.Compare(a.Name, b.Name) })
	return s, p.Store.Read(ctx, func(tx *store.Tx) error {
		counts, err1 := tx.CountIdentities("")
		for state, n := range counts {
			s.Identities[string(state)] = n
		}
		owners, err2 := tx.Owners()
		s.Owners = len(owners)
		rails, err3 := tx.Guardrails()
		s.Guardrails = len(rails)
		ups, err4 := tx.Upstreams()
		for _, u := range ups {
			names, _ := tx.Secrets(store.UpstreamSecret(u.Name))
			s.Upstreams = append(s.Upstreams, UpstreamSummary{u.Name, u.URL, u.Killed, slices.Contains(names, store.UpstreamSecret(u.Name))})
		}
		return errors.Join(err1, err2, err3, err4)
	})
}

// explain decides as a gateway would, from the same view, and says why.
func (p *Plane) explain(ctx context.Context, in ExplainRequest) (ExplainResult, error) {
	var id = ExplainResult{Guardrails: []policy.Verdict{}, Grants: []policy.Verdict{}, Policies: []string{}}
	i, err := read(ctx, p, func(tx *store.Tx) (IdentityView, error) {
		i, err := registry.FindIdentity(tx, in.Identity)
		return IdentityView{Identity: i}, err
	})
	if err != nil {
		return id, err
	}
	subject, ok := p.View.Subject(i.ID)
	u, known := p.View.Upstream(in.Upstream)
	if !known {
		return id, &registry.Missing{Noun: "upstream", Name: in.Upstream}
	}
	if !ok {
		return id, refusal(http.StatusServiceUnavailable, "The control plane is still reading its state; try again in a moment.")
	}
	call, err := p.call(in, u)
	if err != nil {
		return id, err
	}
	out := ExplainResult{Action: call.Action, Class: call.Class, Resource: call.Resource, Arguments: call.Arguments, Owner: u.OwnerName, Guardrails: id.Guardrails, Grants: id.Grants, Policies: id.Policies}
	if err := subject.Identity.Usable(p.Now()); err != nil {
		out.Reason = "Every call is refused: " + err.Error() + "."
		return out, nil
	}
	if u.Killed {
		out.Reason = "Every call is refused: " + u.Name + " is cut off."
		return out, nil
	}
	set, err := subject.Set()
	if err != nil {
		return out, err
	}
	e := set.Explain(policy.Request{Call: call, Upstream: u, Now: p.Now(), Chain: identity.Alone(i.ID, i.Generation)})
	out.Allow, out.Reason, out.Guardrail, out.Guardrails, out.Grants = e.Decision.Allow, e.Decision.Reason, e.Decision.Guardrail, e.Guardrails, e.Grants
	out.Policies = append(out.Policies, e.Decision.Policies...)
	out.Ask = e.Decision.Ask != nil
	if e.Decision.Allow {
		out.Record = map[bool]string{true: "before", false: "within"}[e.Decision.Before]
	}
	return out, nil
}

// call is what is to be explained: recognised from a request, or named.
func (p *Plane) call(in ExplainRequest, u *policy.Upstream) (policy.Call, error) {
	d, err := p.registry.Describe(*u)
	if err != nil {
		return policy.Call{}, err
	}
	if in.Action != "" {
		i := slices.IndexFunc(d.Actions, func(a policy.Action) bool { return a.Name == in.Action })
		if i < 0 {
			return policy.Call{}, invalid("upstream " + u.Name + " has no action " + in.Action + "; lanyard upstream actions " + u.Name + " lists them")
		}
		args, err := arguments(in.Arguments)
		return policy.Call{Upstream: u.Name, Action: in.Action, Class: policy.ClassOf(*u, d.Actions[i]), Resource: in.Resource, Arguments: args}, err
	}
	if in.Method == "" || !strings.HasPrefix(in.Path, "/") {
		return policy.Call{}, invalid("give an action, or a method and a path as it would be sent to the upstream")
	}
	for _, f := range p.Families {
		if f.Name != u.Family {
			continue
		}
		conn, err := f.Open(u.Description)
		if err != nil {
			return policy.Call{}, err
		}
		path, query, _ := strings.Cut(in.Path, "?")
		call, err := conn.Recognise(&connector.Request{Method: strings.ToUpper(in.Method), Path: path, Query: query, Header: http.Header{}, Body: []byte(in.Body)})
		if err != nil {
			return policy.Call{}, invalid("upstream " + u.Name + " does not know this request, so it is refused: " + err.Error())
		}
		call.Upstream = u.Name
		call.Class = policy.ClassOf(*u, policy.Action{Name: call.Action, Class: call.Class})
		return call, nil
	}
	return policy.Call{}, invalid("upstream " + u.Name + " is of an unknown family")
}

// arguments makes what JSON has into what policies speak of: text, truth, whole
// numbers and lists of text. What is none of them is refused, not bent until it fits.
func arguments(args map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for name, v := range args {
		switch v := v.(type) {
		case string, bool:
			out[name] = v
		case float64:
			if v != math.Trunc(v) || math.Abs(v) >= 1<<53 {
				return nil, invalid("args." + name + ": a number must be a whole number below 2^53")
			}
			out[name] = int64(v)
		case []any:
			list := make([]string, len(v))
			for i := range v {
				s, ok := v[i].(string)
				if !ok {
					return nil, invalid("args." + name + ": a list must be a list of strings")
				}
				list[i] = s
			}
			out[name] = list
		default:
			return nil, invalid("args." + name + ": want a string, true or false, a whole number or a list of strings")
		}
	}
	return out, nil
}
