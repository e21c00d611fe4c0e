package control

import (
	"context"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TaskInput is POST /v1/tasks.
type TaskInput struct {
	Identity string           `json:"identity,omitempty" doc:"Who works on it; an identity that asks for itself leaves it out" example:"invoice-bot" maxLength:"512"`
	On       string           `json:"on,omitempty" doc:"Owner on whose behalf. Of an identity that calls with no token on that person's behalf, the person is asked" example:"maya" maxLength:"64"`
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

// parts are the scope, as the registry takes it.
func (b *TaskInput) parts() (scope []policy.Grant) {
	for _, part := range b.Scope {
		scope = append(scope, policy.Grant{Upstream: part.Upstream, Actions: part.Actions, Resources: part.Resources, Where: part.Conditions})
	}
	return scope
}

// TaskView is a task with what of its budget is used.
type TaskView struct {
	policy.Task
	Given policy.Budget `json:"given" doc:"What of the budget is used, or held by a gateway that has not given it back"`
	Going bool          `json:"going" doc:"It is open at this moment"`
	URL   string        `json:"url,omitempty" doc:"While it waits for a person: where that one decides"`
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
	State    string `query:"state" enum:"waiting,open,denied,closed"`
	After    string `query:"after" doc:"Next of the page before" maxLength:"64"`
	Limit    int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

type taskWait struct {
	Caller
	Name string `path:"name" maxLength:"64"`
	Wait string `query:"wait" doc:"Of one that waits for a person: wait so long for an answer, 60s at most" example:"30s" maxLength:"16"`
}

func (p *Plane) taskView(tx *store.Tx, t policy.Task) (TaskView, error) {
	given, err := tx.Given(t.ID)
	v := TaskView{Task: t, Given: given.All(), Going: t.Going(tx.Now()) == nil}
	if t.State == policy.TaskWaiting {
		if v.URL = p.URL + "/approvals/" + t.ID; !tx.Now().Before(t.AnswerBy) { // it is written down a moment later
			v.State, v.URL = policy.TaskClosed, ""
		}
	}
	return v, err
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
// itself, on a person's behalf only when that person alone is who it calls for, and no further than
// its token reaches: tokens for the task rest on the task, not on what came before it. One that
// calls for nobody but itself may ask the person.
func (p *Plane) mayOpen(who *Caller, b *TaskInput) (ask bool, err error) {
	self, ok := who.self()
	if !ok {
		if b.Identity == "" {
			return false, invalid("identity: say who works on it")
		}
		return false, nil
	}
	if b.Identity != "" && b.Identity != self.String() && b.Identity != self.Name() && b.Identity != string(self.Kind())+"/"+self.Name() {
		return false, refusal(http.StatusForbidden, self.Name()+" may open tasks for itself alone.")
	}
	b.Identity = self.String()
	if b.On == "" {
		return false, nil
	}
	person, err := identity.PersonID(p.Domain, identity.OwnerID(b.On))
	links := strings.Fields(who.Chain)
	if err == nil && len(links) == 1 && links[0] == self.String() {
		return true, nil
	}
	if err != nil || len(links) == 0 || links[len(links)-1] != person.String() {
		return false, refusal(http.StatusForbidden, "A task on somebody's behalf is opened with a token that says so, whose subject is that person; or that person is asked by an identity that calls for nobody else.")
	}
	line, err := p.View.Line(self, p.Now())
	if err != nil {
		return false, refusal(http.StatusForbidden, capital(err.Error())+".")
	}
	if why := registry.Beyond(links, line, who.Scope, b.parts()); why != "" {
		return false, refusal(http.StatusForbidden, why)
	}
	return false, nil
}

// enforced reports whether tokens can be had for a task that is open: that it is comes down the feed.
func (p *Plane) enforced(t policy.Task) bool {
	_, ok := p.View.Task(t.ID)
	return ok
}

func (p *Plane) taskRoutes(api door) {
	const tag = "tasks"
	handleOwn(api, "POST", "/tasks", "open-task", tag, "Open a task, or ask a person for one: under it nothing may be done that it does not name", func(ctx context.Context, in *body[TaskInput]) (out TaskOpened, err error) {
		b := in.Body
		ask, err := p.mayOpen(&in.Caller, &b)
		if err != nil {
			return out, err
		}
		end, err := registry.ParseEnd(b.Until)
		if err != nil {
			return out, invalid("until: " + err.Error())
		}
		w := registry.Work{Identity: b.Identity, On: identity.OwnerID(b.On), Purpose: b.Purpose, Words: b.Words, Budget: b.Budget, Until: end, Scope: b.parts()}
		at, err := p.do(ctx, in.actor(), func(c *registry.Change) (err error) {
			if ask {
				out.Task, err = c.AskTask(w)
			} else {
				out.Task, err = c.OpenTask(w)
			}
			if err == nil {
				out.TaskView, err = p.taskView(c.Tx, out.Task)
			}
			return err
		})
		if err != nil {
			return out, err
		}
		out.Receipt = p.receipt(ctx, at, in.patience)
		return out, nil
	})
	handleOwn(api, "GET", "/tasks", "list-tasks", tag, "Tasks by id; an identity sees its own", func(ctx context.Context, in *taskList) (Page[TaskView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[TaskView], error) {
			f := store.TaskFilter{State: policy.TaskState(in.State), Owners: in.only, After: in.After, Limit: in.Limit}
			if self, ok := in.self(); ok {
				f.Identity = self
			} else if in.Identity != "" {
				i, err := in.find(tx, in.Identity)
				if err != nil {
					return Page[TaskView]{}, err
				}
				f.Identity = i.ID
			}
			list, err := tx.Tasks(f)
			out := page[TaskView](nil)
			for _, t := range list {
				v, e := p.taskView(tx, t)
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
	handleOwn(api, "GET", "/tasks/{name}", "get-task", tag, "A task and what of its budget is used", func(ctx context.Context, in *taskWait) (TaskView, error) {
		wait, err := waitFor(in.Wait)
		if err != nil {
			return TaskView{}, err
		}
		return await(ctx, p, in.actor().Name, wait, func(tx *store.Tx) (TaskView, bool, error) {
			t, err := ownTask(tx, &in.Caller, in.Name)
			if err != nil {
				return TaskView{}, false, err
			}
			v, err := p.taskView(tx, t)
			return v, v.State == policy.TaskWaiting || v.Going && !p.enforced(t), err
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
