package control

import (
	"context"
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TaskInput is POST /v1/tasks.
type TaskInput struct {
	Identity string           `json:"identity,omitempty" doc:"Who works on it; an identity that asks for itself leaves it out" example:"invoice-bot" maxLength:"512"`
	On       string           `json:"on,omitempty" doc:"Owner on whose behalf; an identity must call with a token on that person's behalf" example:"maya" maxLength:"64"`
	Purpose  string           `json:"purpose" doc:"One sentence, for people" example:"File the invoices of October" minLength:"1" maxLength:"500"`
	Words    string           `json:"words,omitempty" doc:"What the user said, in the user's own words" maxLength:"4000"`
	Scope    []TaskPart       `json:"scope" doc:"What of its grants it needs: nothing else may be done under the task" minItems:"1" maxItems:"50"`
	Budget   map[string]int64 `json:"budget,omitempty" doc:"Limits: calls, bytes, and counters of its upstreams" example:"{\"calls\":100}"`
	Until    string           `json:"until,omitempty" doc:"Its end; default in 24 hours" example:"8h" maxLength:"64"`
}

// TaskPart is what a task needs of one upstream.
type TaskPart struct {
	Upstream   string                      `json:"upstream" example:"mail" maxLength:"64"`
	Actions    []string                    `json:"actions" doc:"Classes, actions or patterns of actions" example:"[\"read\"]" minItems:"1" maxItems:"500"`
	Resources  []string                    `json:"resources,omitempty" doc:"Patterns with *; none means all" maxItems:"500"`
	Conditions map[string]policy.Condition `json:"conditions,omitempty" doc:"By argument: all must hold"`
}

// TaskView is a task with what of its budget is used.
type TaskView struct {
	policy.Task
	Given policy.Budget `json:"given" doc:"What of the budget is used, or held by a gateway that has not given it back"`
	Going bool          `json:"going" doc:"It is open at this moment"`
}

// TaskOpened is the answer to POST /v1/tasks.
type TaskOpened struct {
	TaskView
	Receipt feed.Receipt `json:"receipt"`
}

// TaskClose is POST /v1/tasks/{name}/close.
type TaskClose struct {
	Reason string `json:"reason,omitempty" doc:"Why, for the record" maxLength:"500"`
}

type taskList struct {
	Caller
	Identity string `query:"identity" doc:"Of this identity" maxLength:"512"`
	State    string `query:"state" enum:"open,closed"`
	After    string `query:"after" doc:"Next of the page before" maxLength:"64"`
	Limit    int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

func taskView(tx *store.Tx, t policy.Task) (TaskView, error) {
	given, err := tx.Given(t.ID)
	return TaskView{Task: t, Given: given, Going: t.Going(tx.Now()) == nil}, err
}

// ownTask finds a task; those of others are unknown to an identity that asks for itself.
func ownTask(tx *store.Tx, who *Caller, id string) (policy.Task, error) {
	t, err := tx.Task(id)
	if self, ok := who.self(); err == nil && ok && t.Identity != self {
		err = store.ErrNotFound
	}
	return t, missing(err, "task", id)
}

// mayOpen says who may open the task: an operator for everybody, an identity for
// itself, on a person's behalf only when that is on whose behalf it calls.
func (p *Plane) mayOpen(who *Caller, b *TaskInput) error {
	self, ok := who.self()
	if !ok {
		if b.Identity == "" {
			return invalid("identity: say who works on it")
		}
		return nil
	}
	if b.Identity != "" && b.Identity != self.String() && b.Identity != self.Name() && b.Identity != string(self.Kind())+"/"+self.Name() {
		return refusal(http.StatusForbidden, self.Name()+" may open tasks for itself alone.")
	}
	b.Identity = self.String()
	if b.On == "" {
		return nil
	}
	if person, err := identity.PersonID(p.Domain, identity.OwnerID(b.On)); err != nil || person != who.root() {
		return refusal(http.StatusForbidden, "A task on somebody's behalf is opened with a token that says so: its subject must be that person.")
	}
	return nil
}

func (p *Plane) taskRoutes(api door) {
	const tag = "tasks"
	handleOwn(api, "POST", "/tasks", "open-task", tag, "Open a task: under it nothing may be done that it does not name", func(ctx context.Context, in *body[TaskInput]) (out TaskOpened, err error) {
		b := in.Body
		if err := p.mayOpen(&in.Caller, &b); err != nil {
			return out, err
		}
		end, err := registry.ParseEnd(b.Until)
		if err != nil {
			return out, invalid("until: " + err.Error())
		}
		w := registry.Work{Identity: b.Identity, On: identity.OwnerID(b.On), Purpose: b.Purpose, Words: b.Words, Budget: b.Budget, Until: end}
		for _, part := range b.Scope {
			w.Scope = append(w.Scope, policy.Grant{Upstream: part.Upstream, Actions: part.Actions, Resources: part.Resources, Where: part.Conditions})
		}
		at, err := p.do(ctx, in.actor(), func(c *registry.Change) (err error) {
			out.Task, err = c.OpenTask(w)
			return err
		})
		if err != nil {
			return out, err
		}
		out.Given, out.Going, out.Receipt = policy.Budget{}, true, p.receipt(ctx, at, in.patience)
		return out, nil
	})
	handleOwn(api, "GET", "/tasks", "list-tasks", tag, "Tasks by id; an identity sees its own", func(ctx context.Context, in *taskList) (Page[TaskView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[TaskView], error) {
			f := store.TaskFilter{State: policy.TaskState(in.State), After: in.After, Limit: in.Limit}
			if self, ok := in.self(); ok {
				f.Identity = self
			} else if in.Identity != "" {
				i, err := registry.FindIdentity(tx, in.Identity)
				if err != nil {
					return Page[TaskView]{}, err
				}
				f.Identity = i.ID
			}
			list, err := tx.Tasks(f)
			out := page[TaskView](nil)
			for _, t := range list {
				v, e := taskView(tx, t)
				if out.Items = append(out.Items, v); e != nil {
					err = e
				}
			}
			if len(list) == in.Limit {
				out.Next = list[len(list)-1].ID
			}
			return out, err
		})
	})
	handleOwn(api, "GET", "/tasks/{name}", "get-task", tag, "A task and what of its budget is used", func(ctx context.Context, in *byName) (TaskView, error) {
		return read(ctx, p, func(tx *store.Tx) (TaskView, error) {
			t, err := ownTask(tx, &in.Caller, in.Name)
			if err != nil {
				return TaskView{}, err
			}
			return taskView(tx, t)
		})
	})
	handleOwn(api, "POST", "/tasks/{name}/close", "close-task", tag, "Close a task: its tokens are dead, and what runs under it is cut", func(ctx context.Context, in *namedBody[TaskClose]) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			if _, err := ownTask(c.Tx, &in.Caller, in.Name); err != nil {
				return err
			}
			return c.CloseTask(in.Name, in.Body.Reason)
		})
	})
}
