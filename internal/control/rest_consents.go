package control

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// ConsentView is a task in the name of the person who asks: one that waits for their answer, or goes on.
type ConsentView struct {
	TaskView
	Name      string            `json:"name" doc:"Of who asks" example:"invoice-bot"`
	Kind      identity.Kind     `json:"kind"`
	Serves    string            `json:"serves" doc:"What who asks is for"`
	Owner     identity.OwnerID  `json:"owner" doc:"Who answers for it"`
	OwnerName string            `json:"owner_name,omitempty"`
	Upstreams []ConsentUpstream `json:"upstreams" doc:"Those of its scope, each once"`
}

// ConsentUpstream is an upstream that a task needs.
type ConsentUpstream struct {
	Name      string         `json:"name"`
	OwnerName string         `json:"owner_name,omitempty"`
	Limit     []policy.Class `json:"limit" doc:"What it lets be done in the person's name, at most; none: nothing"`
}

// ConsentAnswer is POST /v1/me/consents/{name}.
type ConsentAnswer struct {
	Decision string `json:"decision" enum:"allow,deny,kill,end" doc:"Of one that waits: allow, deny, or kill: deny, and stop who asks. Of one that goes on: end"`
	Note     string `json:"note,omitempty" maxLength:"500"`
}

// ConsentAnswered is a task after the person's answer.
type ConsentAnswered struct {
	TaskView
	Receipt feed.Receipt `json:"receipt"`
}

func (p *Plane) consentView(tx *store.Tx, t policy.Task) (v ConsentView, err error) {
	if v.TaskView, err = p.taskView(tx, t); err != nil {
		return v, err
	}
	i, err := tx.Identity(t.Identity)
	if err != nil {
		return v, err
	}
	v.Name, v.Kind, v.Serves, v.Owner, v.Upstreams = i.ID.Name(), i.ID.Kind(), i.Purpose, i.Owner, []ConsentUpstream{}
	if o, err := tx.Owner(i.Owner); err == nil {
		v.OwnerName = o.Name
	}
	seen := map[string]bool{}
	for _, part := range t.Scope {
		if seen[part.Upstream] {
			continue
		}
		seen[part.Upstream] = true
		one := ConsentUpstream{Name: part.Upstream, Limit: []policy.Class{}}
		u, err := tx.Upstream(part.Upstream)
		if err == nil {
			one.OwnerName, one.Limit = u.OwnerName, append(one.Limit, u.Limit(t.On)...)
		} else if !errors.Is(err, store.ErrNotFound) {
			return v, err
		}
		v.Upstreams = append(v.Upstreams, one)
	}
	return v, nil
}

func (p *Plane) consentRoutes(api door) {
	const tag = "me"
	handle(api, "GET", "/me/consents", "list-consents", tag, "Tasks in the person's name: those that wait for their answer first, then those that go on", func(ctx context.Context, in *none) (Page[ConsentView], error) {
		if in.visitor == nil {
			return Page[ConsentView]{}, errNobody
		}
		return read(ctx, p, func(tx *store.Tx) (Page[ConsentView], error) {
			var list []ConsentView
			if in.visitor.Owner == "" { // nobody acts in the name of who owns nothing
				return page(list), nil
			}
			for _, state := range []policy.TaskState{policy.TaskWaiting, policy.TaskOpen} {
				found, err := tx.TasksFor(in.visitor.Owner, state, shown)
				if err != nil {
					return page(list), err
				}
				for _, t := range found {
					v, err := p.consentView(tx, t)
					if err != nil {
						return page(list), err
					}
					if v.State == policy.TaskWaiting || v.Going {
						list = append(list, v)
					}
				}
			}
			return page(list), nil
		})
	})
	handle(api, "POST", "/me/consents/{name}", "answer-consent", tag, "Say yes or no to a task in the person's name, or end one that goes on", func(ctx context.Context, in *namedBody[ConsentAnswer]) (out ConsentAnswered, err error) {
		if in.visitor == nil {
			return out, errNobody
		}
		said := registry.Consent{Task: in.Name, Note: strings.TrimSpace(in.Body.Note)}
		switch in.Body.Decision {
		case "allow":
			said.Yes = true
		case "kill":
			said.Kill = true
		case "end":
			said.End = true
		}
		_, at, err := p.registry.Consent(ctx, in.Session, in.actor().Source, said)
		var no *registry.Refusal
		if t, bad := read(ctx, p, func(tx *store.Tx) (policy.Task, error) { return tx.Task(in.Name) }); errors.As(err, &no) && bad == nil && t.On != in.visitor.Owner {
			return out, &registry.Missing{Noun: "task", Name: in.Name} // whether there is one in another's name, is theirs to know
		}
		if errors.As(err, &no) {
			return out, refusal(http.StatusForbidden, capital(no.Text)+".")
		} else if err != nil {
			return out, err
		}
		p.stir()
		out.Receipt = p.receipt(ctx, at, in.patience)
		out.TaskView, err = read(ctx, p, func(tx *store.Tx) (TaskView, error) {
			t, err := tx.Task(in.Name)
			if err != nil {
				return TaskView{}, missing(err, "task", in.Name)
			}
			return p.taskView(tx, t)
		})
		return out, err
	})
}
