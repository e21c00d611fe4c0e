package control

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// explain decides as a gateway would, from the same view, and says of each who is behind
// the call why, and what would change it. Of an event it also says what was decided then.
func (p *Plane) explain(ctx context.Context, who *Caller, in ExplainRequest) (ExplainResult, error) {
	out := ExplainResult{Policies: []string{}, Guardrails: []policy.Verdict{}, Grants: []policy.Verdict{}, Links: []ExplainLink{}}
	if in.Event == "" {
		if in.Identity != "" {
			in.As = append([]string{in.Identity}, in.As...)
		}
		if len(in.As) == 0 || in.Upstream == "" {
			return out, invalid("say who asks and for which upstream, or name an event")
		}
		return out, p.now(ctx, who, in, &out)
	}
	then, err := p.then(ctx, &in)
	if err != nil {
		return out, err
	}
	if out.Then = then; !then.Repeatable() {
		out.Reason = "There is no request in it that could be asked about now."
	} else if err := p.now(ctx, who, in, &out); err != nil { // what was there then is no more
		out.Reason = "It cannot be asked about now: " + err.Error() + "."
	}
	return out, nil
}

// now explains a request or a call as it would be decided at this moment.
func (p *Plane) now(ctx context.Context, who *Caller, in ExplainRequest, out *ExplainResult) error {
	chain, err := read(ctx, p, func(tx *store.Tx) (chain identity.Chain, err error) {
		if chain, err = p.chainOf(tx, in.As); err != nil || who.only == nil {
			return chain, err
		}
		u, err := tx.Upstream(in.Upstream) // of an event they may know, and of this no more
		if err == nil {
			var o object
			if o, err = sawUpstream(tx, who.visitor, u); err == nil && !permits(who.visitor, "get-upstream", o) {
				err = store.ErrNotFound
			}
		}
		return chain, missing(err, "upstream", in.Upstream)
	})
	if err != nil {
		return err
	}
	u, known := p.View.Upstream(in.Upstream)
	if !known {
		return &registry.Missing{Noun: "upstream", Name: in.Upstream}
	}
	call, err := p.call(in, u)
	if err != nil {
		return err
	}
	out.Action, out.Class, out.Resource, out.Arguments, out.Owner = call.Action, call.Class, call.Resource, call.Arguments, u.OwnerName
	if u.Killed {
		out.Reason, out.Change = "Every call is refused: "+u.Name+" is cut off.", []ExplainChange{{"an operator", "lanyard restore --upstream " + u.Name + " --reason TEXT"}}
		return nil
	}
	return p.explainAll(out, who, chain, policy.Request{Call: call, Upstream: u, Now: p.Now(), Chain: chain})
}

// explainAll asks each link. The whole is allowed when each is; else it is refused for the first that is not, or waits
// for people when none is refused and one does. What another's link may is not told to a person.
func (p *Plane) explainAll(out *ExplainResult, who *Caller, chain identity.Chain, r policy.Request) error {
	rank := func(allow, ask bool) int { return map[bool]int{false: 1}[allow] + map[bool]int{false: 1}[allow || ask] }
	worst, before, hidden := -1, false, ""
	for _, l := range chain {
		subject, ok := p.View.Subject(l.ID)
		if !ok {
			return refusal(http.StatusServiceUnavailable, "The control plane is still reading its state; try again in a moment.")
		}
		link := ExplainLink{Identity: l.ID, Policies: []string{}, Guardrails: []policy.Verdict{}, Grants: []policy.Verdict{}}
		guardrail := false
		if owner := cmp.Or(l.ID.Owner(), subject.Identity.Owner); !who.sees(owner) { // so it cannot be said of the whole, either
			link.Reason = l.ID.Name() + " is another's: what that may do, its owner is told."
			out.Links, hidden = append(out.Links, link), cmp.Or(hidden, link.Reason)
			continue
		}
		if err := p.standing(subject.Identity, r.Now); err != nil {
			link.Reason = "Every call is refused: " + err.Error() + "."
		} else {
			set, err := subject.Set()
			if err != nil {
				return err
			}
			e := set.Explain(r)
			link.Allow, link.Ask = e.Decision.Allow, e.Decision.Ask != nil
			link.Reason, link.Guardrails, link.Grants = e.Decision.Reason, e.Guardrails, e.Grants
			link.Policies = append(link.Policies, e.Decision.Policies...)
			guardrail, before = e.Decision.Guardrail, before || e.Decision.Before
		}
		switch {
		case link.Ask:
			link.Change = []ExplainChange{{"those whom it names", "the call itself asks them; they answer at " + p.URL + "/approvals"}}
		case !link.Allow:
			link.Change = p.remedy(subject, &link, guardrail, &r)
		}
		if n := len(out.Links); worst < 0 || rank(link.Allow, link.Ask) > rank(out.Allow, out.Ask) { // the first to refuse, else to ask, else the one that acts
			worst, out.Ask = n, link.Ask
			out.Allow, out.Reason, out.Guardrail, out.Guardrails, out.Grants = link.Allow, link.Reason, guardrail, link.Guardrails, link.Grants
		}
		out.Links, out.Policies, out.Change = append(out.Links, link), append(out.Policies, link.Policies...), append(out.Change, link.Change...)
	}
	if hidden != "" && (worst < 0 || out.Allow || out.Ask) {
		out.Allow, out.Ask, out.Reason, out.Policies = false, false, hidden, []string{}
		return nil
	}
	if out.Allow {
		out.Record = map[bool]string{true: "before", false: "within"}[before]
		if len(chain) > 1 {
			out.Reason = "Granted by " + strings.Join(out.Policies, ", ") + "."
		}
	} else {
		out.Policies = out.Links[worst].Policies
	}
	return nil
}

// standing says why an identity, or a person, may not act at now, whatever it is for.
func (p *Plane) standing(i identity.Identity, now time.Time) error {
	if i.ID.Kind() == identity.Person {
		return i.Usable(now)
	}
	_, err := p.View.Line(i.ID, now)
	return err
}

// remedy is what would let one link do it: who can, and the command.
func (p *Plane) remedy(s *feed.Subject, l *ExplainLink, guardrail bool, r *policy.Request) []ExplainChange {
	name, u := l.Identity.Name(), r.Upstream
	owner := "an operator"
	if u.OwnerName != "" {
		owner = u.OwnerName + ", owner of " + u.Name
	}
	one := func(who, format string, args ...any) []ExplainChange {
		return []ExplainChange{{who, fmt.Sprintf(format, args...)}}
	}
	if err := s.Identity.Usable(r.Now); err != nil {
		switch {
		case l.Identity.Kind() == identity.Person:
			return nil // nobody acts for who has left
		case s.Identity.State == identity.Killed:
			return one("an operator", "lanyard restore %s --reason TEXT", name)
		case s.Identity.State == identity.Suspended:
			return one("an operator", "lanyard identity resume %s", name)
		case s.Identity.State == identity.Pending:
			return one("an operator", "lanyard identity activate %s", name)
		case s.Identity.State == identity.Active, s.Identity.State == identity.Expired:
			return one("an operator", "lanyard identity renew %s", name)
		}
		return nil // retired is the end
	}
	if guardrail {
		if slices.Contains(l.Policies, policy.EnvironmentGuardrail) {
			return nil // built in: another identity, in that environment, is needed
		}
		var list []ExplainChange
		for _, id := range l.Policies {
			list = append(list, one("an operator", "lanyard guardrail put %s --cedar FILE", id)...)
		}
		return list
	}
	if person := l.Identity.Owner(); person != "" {
		classes := append(slices.Clone(u.Limit(person)), r.Call.Class)
		words := make([]string, len(classes))
		for i, c := range classes {
			words[i] = string(c)
		}
		return one(owner, "lanyard upstream put %s --consent %s --consent-class %s   (with the flags it has; or consent in its manifest)", u.Name, person, strings.Join(words, ","))
	}
	for i := range s.Grants {
		g := &s.Grants[i]
		_, grant, _ := strings.Cut(g.ID, "/")
		switch {
		case g.Upstream != u.Name:
		case g.ForOthers && r.Chain.Root() == l.Identity:
			return one(name, "lanyard explain --as %s,ANOTHER --upstream %s --action %s   (it may on behalf of another: with a token that it exchanged)", name, u.Name, r.Call.Action)
		case g.Ended(r.Now) && g.Plain:
			return one(owner, "lanyard grant put %s %s --upstream %s --action %s --until 30d", name, grant, u.Name, strings.Join(g.Actions, " --action "))
		}
	}
	return one(owner, "lanyard grant put %s %s --upstream %s --action %s", name, grantName(r.Call.Action), u.Name, r.Call.Action)
}

// grantName makes of an action the name of a grant that is about it.
func grantName(action string) string {
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(action[strings.LastIndexByte(action, '.')+1:]))
	if name = strings.Trim(name, "-"); !identity.ValidName(name) {
		return "more"
	}
	return name
}

// chainOf finds those that are named, the actor first: identities, and people as person/NAME.
func (p *Plane) chainOf(tx *store.Tx, names []string) (chain identity.Chain, err error) {
	if len(names) > identity.MaxChain {
		return nil, invalid(fmt.Sprintf("a chain has %d links at most", identity.MaxChain))
	}
	for i := 0; i < len(names); i++ {
		name := names[i]
		short := strings.TrimPrefix(name, "spiffe://"+p.Domain+"/")
		var l, parent identity.Link
		if person, ok := strings.CutPrefix(short, string(identity.Person)+"/"); ok {
			o, err := tx.Owner(identity.OwnerID(person))
			if err != nil {
				return nil, missing(err, "owner", person)
			}
			if l.Generation = o.Generation; i == 0 || i+1 < len(names) || o.Team {
				return nil, invalid(name + " acts for nobody: a chain begins with the identity that acts, and ends with whom it is for")
			}
			l.ID, err = identity.PersonID(p.Domain, o.ID)
			if err != nil {
				return nil, invalid(err.Error())
			}
		} else {
			found, err := registry.FindIdentity(tx, name)
			if err != nil {
				return nil, err
			}
			l, parent = identity.Link{ID: found.ID, Generation: found.Generation}, found.Parent
		}
		if slices.ContainsFunc(chain, func(o identity.Link) bool { return o.ID == l.ID }) {
			return nil, invalid(name + " is in the chain twice")
		}
		chain = append(chain, l)
		if !parent.ID.IsZero() && (i+1 == len(names) || !strings.HasSuffix("/"+parent.ID.String(), "/"+names[i+1])) {
			names = slices.Insert(slices.Clone(names), i+1, parent.ID.String()) // a child never acts without who started it
		}
	}
	if len(chain) > identity.MaxChain {
		return nil, invalid(fmt.Sprintf("a chain has %d links at most, and with those that started them these are %d", identity.MaxChain, len(chain)))
	}
	return chain, nil
}

// then finds an event, and makes its request the one to explain. Its arguments are not on record.
func (p *Plane) then(ctx context.Context, in *ExplainRequest) (*ExplainThen, error) {
	if in.Identity != "" || len(in.As) > 0 || in.Upstream != "" || in.Action != "" || in.Path != "" {
		return nil, invalid("name an event, or say who asks for what; not both")
	}
	index, err := p.Store.Index(ctx, in.Event)
	if err != nil {
		return nil, missing(err, "event", in.Event)
	}
	proof, err := p.Store.Prove(ctx, index)
	if err != nil {
		return nil, err
	}
	e, err := ledger.Parse([]byte(proof.Leaf))
	if err != nil {
		return nil, err
	}
	in.As, in.Upstream, in.Action, in.Resource = e.Chain, e.Upstream, e.Action, e.Resource
	return &ExplainThen{Event: e.ID, Time: e.Time, Type: e.Type, Outcome: string(e.Outcome), Reason: e.Reason, Policies: append([]string{}, e.Policies...), Chain: e.Chain, Action: e.Action, Upstream: e.Upstream, Resource: e.Resource}, nil
}

// Repeatable reports whether the event is of a request that can be asked about again.
func (t *ExplainThen) Repeatable() bool {
	return t.Type == "request" && t.Action != "" && t.Upstream != "" && len(t.Chain) > 0
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
		args, err := arguments(in.Arguments, d.Actions[i])
		return policy.Call{Upstream: u.Name, Action: in.Action, Class: policy.ClassOf(*u, d.Actions[i]), Word: first(d.Actions[i].Words), Resource: in.Resource, Arguments: args}, err
	}
	if in.Method == "" || !strings.HasPrefix(in.Path, "/") {
		return policy.Call{}, invalid("give an action, or a method and a path as it would be sent to the upstream")
	}
	conn, err := connector.Open(p.Families, u.Family, u.Description)
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

// arguments makes what JSON has into what policies speak of: text, truth, numbers
// and lists of text. What is none of them is refused, not bent until it fits.
func arguments(args map[string]any, of policy.Action) (map[string]any, error) {
	out := map[string]any{}
	for name, v := range args {
		switch v := v.(type) {
		case string, bool:
			out[name] = v
		case float64:
			if slices.ContainsFunc(of.Parameters, func(p policy.Parameter) bool { return p.Name == name && p.Type == "number" }) {
				out[name] = policy.Number(strconv.FormatFloat(v, 'f', -1, 64))
				continue
			}
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

// first is the word that an action has unless a request says otherwise.
func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}
