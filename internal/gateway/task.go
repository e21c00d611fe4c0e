package gateway

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// tasked narrows what everybody in the chain may do to what the task names. Whether
// the task goes on, and is theirs, is asked with the token ([feed.View.Check]).
func (g *Gateway) tasked(c *token.Claims, ask policy.Request, so policy.Decision) (policy.Decision, error) {
	if !so.Allow && so.Ask == nil {
		return so, nil
	}
	if c.Task == "" {
		for _, l := range c.Chain {
			if s, ok := g.View.Subject(l.ID); ok && s.Identity.Tasks == identity.TasksRequired {
				return policy.Decision{Task: true, Reason: fmt.Sprintf("%s acts under tasks alone, and this token is for none: open one, or name one that is open, in authorization_details.", l.ID.Name())}, nil
			}
		}
		return so, nil
	}
	t, ok := g.View.Task(c.Task)
	if !ok {
		return policy.Decision{Task: true, Reason: "Task " + c.Task + " is unknown."}, nil
	}
	set, err := t.Set()
	if err != nil {
		return policy.Decision{}, err
	}
	parts := set.Names(ask)
	if len(parts) == 0 {
		return policy.Decision{Task: true, Policies: []string{t.ID}, Reason: fmt.Sprintf("Task %s does not name %s (%s) on %s with this resource and these arguments, so it is refused under it though it is granted; it is for: %s", t.ID, ask.Call.Action, ask.Call.Class, ask.Call.Upstream, t.Purpose)}, nil
	}
	so.Policies = append(so.Policies[:len(so.Policies):len(so.Policies)], parts...)
	return so, nil
}

// named reports whether the request's task, if it has one, names what is asked about: the call, or some call of that action.
func (r *request) named(ask policy.Request, whole bool) bool {
	if r.task == nil {
		return true
	}
	set, err := r.task.Set()
	switch {
	case err != nil:
		return false
	case whole:
		return len(set.Names(ask)) > 0
	}
	return set.May(ask)
}

// charge takes what the call costs from the budget of its task, and returns it. A
// step of the protocol is no call, and what passes a joined endpoint is charged
// where it goes on.
func (g *Gateway) charge(r *request) (policy.Budget, error) {
	t := r.task
	if t == nil || len(t.Budget) == 0 {
		return nil, nil
	}
	if _, joins := r.backend.connector.(connector.Joiner); joins {
		return nil, nil
	}
	cost := policy.Budget{}
	if _, limited := t.Budget[policy.Calls]; limited && !r.backend.basic[r.call.Action] {
		cost[policy.Calls] = 1
	}
	for _, n := range t.Counts {
		if !n.Of(r.call) || r.ask.Upload != nil { // an upload counts when it begins
			continue
		}
		amount, err := n.Amount(r.call)
		if err != nil {
			return nil, &problem{status: http.StatusForbidden, kind: "uncounted", detail: fmt.Sprintf("Task %s limits %s, and of %s that cannot be counted: its %v.", t.ID, n.Name, r.call.Action, err)}
		}
		if amount > policy.MaxBudget-cost[n.Name] {
			return nil, g.spent(t, n.Name, 0)
		}
		cost[n.Name] += amount
	}
	if err := g.spend(t, cost); err != nil {
		return nil, err
	}
	return cost, nil
}

// spend takes cost from the task's budget, or nothing.
func (g *Gateway) spend(t *feed.Task, cost policy.Budget) error {
	err := g.purses.take(t.ID, cost, g.Now())
	var over *feed.Spent
	switch {
	case errors.As(err, &over):
		return g.spent(t, over.Kind, over.Left)
	case err != nil:
		g.Log.Warn("drawing from a budget", "task", t.ID, "error", err)
		return unavailable("What task " + t.ID + " may still use is not to be had right now.")
	}
	return nil
}

func (g *Gateway) spent(t *feed.Task, kind string, left int64) error {
	who := "Who opened it"
	if s, ok := g.View.Subject(t.Identity); ok && s.Owner().Name != "" {
		who = s.Owner().Name + ", who answers for " + t.Identity.Name() + ","
	}
	text := fmt.Sprintf("The budget of task %s is spent: it is %d %s", t.ID, t.Budget[kind], kind)
	if left > 0 {
		text += fmt.Sprintf(", and what is left (%d) is not enough for this", left)
	}
	return &problem{status: http.StatusForbidden, kind: "budget-spent", detail: text + ". " + who + " can have another opened with more."}
}
