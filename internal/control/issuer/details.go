package issuer

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Authorization details (RFC 9396) are how a client says which task a token is for:
// one that is open, or, by what it needs, one that is opened with the token.

// detail is one of type lanyard_task. Members of RFC 9396 section 2.2 mean there what
// they do; the others are as in POST /v1/tasks.
type detail struct {
	Type       string                      `json:"type"`
	On         string                      `json:"on,omitempty"`
	Task       string                      `json:"task,omitempty"` // that is open; then there is nothing else
	Locations  []string                    `json:"locations,omitempty"`
	Actions    []string                    `json:"actions,omitempty"`
	Resources  []string                    `json:"resources,omitempty"`
	Conditions map[string]policy.Condition `json:"conditions,omitempty"`
	Purpose    string                      `json:"purpose,omitempty"`
	Words      string                      `json:"words,omitempty"`
	Budget     policy.Budget               `json:"budget,omitempty"`
	Until      string                      `json:"until,omitempty"`
}

const maxDetails = 16 << 10

func badDetails(text string) error { return refuse("invalid_authorization_details", text) }

// parseDetails reads authorization_details: exactly one, and nothing in it that is
// not known (RFC 9396 section 5).
func parseDetails(s string) (d detail, err error) {
	if len(s) > maxDetails {
		return d, badDetails("authorization_details is larger than 16 KiB.")
	}
	var list []detail
	if err := json.Unmarshal([]byte(s), &list, json.RejectUnknownMembers(true)); err != nil || len(list) != 1 {
		return d, badDetails("authorization_details is to be a list of one object of type " + token.TaskType + ", with task, or with purpose, locations and actions, and may have on, resources, conditions, words, budget and until.")
	}
	d = list[0]
	switch {
	case d.Type != token.TaskType:
		return d, badDetails("The one type of authorization details here is " + token.TaskType + ".")
	case d.Task == "" && d.Purpose == "":
		return d, badDetails("Say which task is meant (task), or for what purpose one is to be opened.")
	case d.Task != "" && (d.On != "" || d.Purpose != "" || d.Words != "" || d.Until != "" || len(d.Locations)+len(d.Actions)+len(d.Resources)+len(d.Conditions)+len(d.Budget) > 0):
		return d, badDetails("A task that is open is what it is: with task goes nothing else.")
	}
	return d, nil
}

// task finds the task that the token is to be for, or what is to be opened.
func (i *Issuer) task(r *http.Request, q *issue) error {
	text := q.form["authorization_details"]
	if q.behalf != nil && q.behalf.task != "" {
		return i.kept(q, text)
	}
	if text == "" {
		return nil // see stands
	}
	if q.claims.Audience == i.URL { // or whoever acts for a person under a task could open itself a wider one
		return badDetails("A token for the control plane is for no task.")
	}
	if q.given.born() { // whose task it could be is not known yet
		return badDetails("A token on a provider's word is for no task.")
	}
	d, err := parseDetails(text)
	if err != nil {
		return err
	}
	if d.Task != "" {
		t, ok := i.View.Task(d.Task)
		if !ok {
			return i.waits(r.Context(), q, d.Task)
		}
		if !i.mine(q, &t.Task) {
			return noSuchTask(q)
		}
		return i.under(q, t.Task)
	}
	if i.Registry == nil || q.given != nil {
		return badDetails("A client that a person connected works under a task that is open already; name it with task.")
	}
	end, err := registry.ParseEnd(d.Until)
	if err != nil {
		return badDetails("until: " + err.Error() + ".")
	}
	w := registry.Work{Identity: q.client.subject.Identity.ID.String(), On: identity.OwnerID(d.On), Purpose: d.Purpose, Words: d.Words, Budget: d.Budget, Until: end}
	for _, location := range d.Locations {
		name, ok := i.upstreamOf(location)
		if !ok {
			return badDetails("locations: each is the URL of an upstream at the gateway, as in " + i.GatewayURL + "/<upstream>.")
		}
		w.Scope = append(w.Scope, policy.Grant{Upstream: name, Actions: d.Actions, Resources: d.Resources, Where: d.Conditions})
	}
	if d.On != "" && q.behalf != nil {
		if q.behalf.chain.Root().Owner() != w.On {
			return badDetails("The subject token is not " + d.On + "'s, and what is exchanged for it is on behalf of nobody else.")
		}
		line, err := i.View.Line(q.client.subject.Identity.ID, q.now)
		if err != nil {
			return refuse("invalid_grant", err.Error()+".")
		}
		if why := registry.Beyond(q.behalf.chain.Texts(), line, q.behalf.scope, w.Scope); why != "" {
			return badDetails(why)
		}
	}
	q.work = &w
	return nil
}

// noSuchTask is said of what is not there and of what is another's: what others do is not everybody's to know.
func noSuchTask(q *issue) error {
	return badDetails(q.client.subject.Identity.ID.Name() + " has no such task; GET /v1/tasks lists those it has.")
}

// waits says how a task stands that gateways do not know of: it may wait for a person.
func (i *Issuer) waits(ctx context.Context, q *issue, id string) error {
	if i.Registry == nil {
		return noSuchTask(q)
	}
	var t policy.Task
	err := i.Registry.Store.Read(ctx, func(tx *store.Tx) (err error) { t, err = tx.Task(id); return err })
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !i.mine(q, &t):
		return noSuchTask(q)
	case err != nil:
		return err
	case t.State == policy.TaskWaiting && q.now.Before(t.AnswerBy):
		return i.pending(t)
	case t.State == policy.TaskDenied, t.State == policy.TaskOpen: // the feed has not brought it yet, or no more
		return i.under(q, t)
	}
	return badDetails("Task " + t.ID + " is over.")
}

// pending is the answer while a person has not answered (the code is of RFC 8628 section 3.5; there is no device code here, and
// who asks again has to prove anew who it is).
func (i *Issuer) pending(t policy.Task) error {
	return refuse("authorization_pending", "Task "+t.ID+" waits for the yes of "+string(t.On)+", who finds it at "+i.URL+"/approvals/"+t.ID+" until "+t.AnswerBy.UTC().Format(time.RFC3339)+
		"; ask again with authorization_details [{\"type\":\""+token.TaskType+"\",\"task\":\""+t.ID+"\"}].")
}

// kept keeps an exchange under the task of what was exchanged.
func (i *Issuer) kept(q *issue, text string) error {
	id := q.behalf.task
	if text != "" {
		if d, err := parseDetails(text); err != nil {
			return err
		} else if d.Task != id {
			return badDetails("The subject token is for task " + id + ", and what is exchanged for it is, too.")
		}
	}
	if q.claims.Audience == i.URL {
		return badDetails("A token for the control plane is for no task, and the subject token is for task " + id + ".")
	}
	t, ok := i.View.Task(id)
	if !ok {
		return badDetails("Task " + id + " is unknown.")
	}
	return i.under(q, t.Task)
}

// taskless refuses a token for no task to those that act under tasks alone, unless it
// is for the control plane, where tasks are opened.
func (i *Issuer) taskless(q *issue, line identity.Chain) error {
	for _, l := range line {
		if s, ok := i.View.Subject(l.ID); ok && s.Identity.Tasks == identity.TasksRequired && q.claims.Audience != i.URL {
			return badDetails(l.ID.Name() + " acts under tasks alone: send authorization_details of type " + token.TaskType + ".")
		}
	}
	return nil
}

// mine reports whether the task is the client's, or one of those that started it.
func (i *Issuer) mine(q *issue, t *policy.Task) bool {
	line, err := i.View.Line(q.client.subject.Identity.ID, q.now)
	return err == nil && slices.ContainsFunc(line, func(l identity.Link) bool { return l.ID == t.Identity })
}

// under makes t the token's task.
func (i *Issuer) under(q *issue, t policy.Task) error {
	if t.State == policy.TaskDenied {
		return refuse("access_denied", "The person whom task "+t.ID+" is on behalf of said no to it.")
	}
	if err := t.Going(q.now); err != nil {
		return badDetails("The " + err.Error() + ".")
	}
	if q.upstream != "" && !t.Uses(q.upstream) {
		return badDetails("Task " + t.ID + " names nothing on " + q.upstream + ".")
	}
	q.task = &t
	return nil
}

// open opens the task that was asked for, when all else about the request is right.
func (i *Issuer) open(r *http.Request, q *issue) error {
	if q.work == nil {
		return nil
	}
	var t policy.Task
	at, err := i.Registry.Do(r.Context(), registry.Actor{Name: q.work.Identity, Source: r.RemoteAddr}, func(c *registry.Change) (err error) {
		open := c.OpenTask
		if q.work.On != "" && q.behalf == nil { // nothing says that the person wants it
			open = c.AskTask
		}
		if t, err = open(*q.work); err == nil && q.upstream != "" && !t.Uses(q.upstream) {
			err = badDetails("locations must hold the resource that the token is for.")
		}
		return err
	})
	var invalid *registry.Invalid
	var conflict *registry.Conflict
	switch {
	case errors.As(err, &invalid), errors.As(err, &conflict):
		return badDetails(err.Error() + ".")
	case errors.Is(err, store.ErrNotFound):
		return badDetails("The identity is unknown.")
	case err != nil:
		return err
	}
	i.Settle(r.Context(), at)
	if t.State == policy.TaskWaiting {
		return i.pending(t)
	}
	return i.under(q, t)
}

// stands puts the token's task into its claims: it ends no later, and acts for whom the task is for.
func (i *Issuer) stands(q *issue, chain identity.Chain) (identity.Chain, error) {
	t := q.task
	if t == nil {
		return chain, i.taskless(q, chain)
	}
	q.claims.Task = t.ID
	if t.On == "" || chain.Root().Owner() == t.On {
		return chain, nil
	}
	if q.behalf != nil { // what was shown says for whom it is, and for nobody else
		return nil, badDetails("Task " + t.ID + " is on behalf of " + string(t.On) + ", and the subject token is not.")
	}
	o, ok := i.View.Owner(t.On)
	person, err := identity.PersonID(chain.Actor().TrustDomain(), t.On)
	if !ok || err != nil || o.State != identity.OwnerActive || chain.Root().Kind() == identity.Person {
		return nil, badDetails("Task " + t.ID + " is on behalf of " + string(t.On) + ", for whom this token cannot be.")
	}
	if !o.Stopped.IsZero() && !t.Created.After(o.Stopped) {
		return nil, badDetails("Task " + t.ID + " was opened before all that was done for " + string(t.On) + " was stopped; another has to be opened.")
	}
	if len(chain) == identity.MaxChain {
		return nil, badDetails("There are too many between " + chain.Actor().Name() + " and " + string(t.On) + ".")
	}
	return append(chain[:len(chain):len(chain)], identity.Link{ID: person, Generation: o.Generation}), nil
}

// granted is the authorization_details of the answer: what was asked for, with the task's id (RFC 9396 section 7).
func (i *Issuer) granted(q *issue) []detail {
	t := q.task
	if t == nil {
		return nil
	}
	d := detail{Type: token.TaskType, Task: t.ID, On: string(t.On), Purpose: t.Purpose, Budget: t.Budget, Until: t.Until.UTC().Format(time.RFC3339)}
	for _, g := range t.Scope {
		if location := i.GatewayURL + "/" + g.Upstream; !slices.Contains(d.Locations, location) {
			d.Locations = append(d.Locations, location)
		}
	}
	if w := q.work; w != nil {
		d.Actions, d.Resources, d.Conditions = w.Scope[0].Actions, w.Scope[0].Resources, w.Scope[0].Where
	}
	return []detail{d}
}
