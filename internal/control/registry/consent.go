package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// A task on a person's behalf for which an identity has no proof of what the person wants
// waits until that person, and nobody else, has said yes.

const (
	taskPrefix = "task_"
	maxShown   = 16 << 10       // bytes of a scope
	askLife    = 24 * time.Hour // in which the person can answer
	leastLife  = time.Hour      // of what a person is asked for: who asks for moments could ask all day
)

// AskTask asks a person to let a task be worked on in their name; one that waits and is the
// same is found again. Whether the identity asks for itself is for the caller to know.
func (c *Change) AskTask(w Work) (policy.Task, error) {
	i, err := FindIdentity(c.Tx, w.Identity)
	if err != nil {
		return policy.Task{}, err
	}
	if !i.Parent.ID.IsZero() {
		return policy.Task{}, &Conflict{i.ID.Name() + " was started by another identity, which is to ask; what it starts may work on its task"}
	}
	t, err := c.draft(w, i)
	if err != nil {
		return t, err
	}
	if err := c.consented(t); err != nil {
		return t, err
	}
	if t.Until.Before(c.Now().Add(leastLife)) {
		return t, &Invalid{"task", "until", "a person who is asked has an hour at least to answer; give a later end"}
	}
	if n := toRead(w.Scope); n > maxShown {
		return t, &Invalid{"task", "scope", fmt.Sprintf("it has %d bytes, and a person who is asked is shown %d at most; name less", n, maxShown)}
	}
	before, err := c.AskedFor(i.ID, t.On)
	if err != nil {
		return t, err
	}
	for _, old := range before {
		if old.State == policy.TaskDenied {
			return t, &Conflict{fmt.Sprintf("%s said no to %s, which can ask again from %s on", t.On, i.ID.Name(), old.AnswerBy.Format(time.RFC3339))}
		}
		if alike(old, t) && c.alive(old.Asked) == nil {
			return old, nil
		}
	}
	if n, err := c.CountAsked(i.ID); err != nil {
		return t, err
	} else if n >= c.r.questions() {
		return t, &Conflict{fmt.Sprintf("%s has %d tasks waiting for people already, so no other is asked for until some are answered or expire", i.ID.Name(), n)}
	}
	o, err := c.Owner(t.On)
	if err != nil {
		return t, err
	}
	person, err := identity.PersonID(c.r.Domain, t.On)
	if err != nil {
		return t, err
	}
	t.State, t.AnswerBy = policy.TaskWaiting, c.Now().Add(askLife)
	t.Asked = identity.Chain{{ID: i.ID, Generation: i.Generation}, {ID: person, Generation: o.Generation}}
	if t.Until.Before(t.AnswerBy) {
		t.AnswerBy = t.Until
	}
	detail := says(t)
	detail["answer_by"] = t.AnswerBy.Format(time.RFC3339)
	return t, errors.Join(c.tell(t.ID), c.PutTask(t), c.record("task.ask", i.ID.String(), string(i.Owner), "", detail))
}

// toRead is how much a scope is to read.
func toRead(scope []policy.Grant) (n int) {
	for _, g := range scope {
		n += len(g.Upstream) + len(fmt.Sprint(g.Actions, g.Resources))
		for name, k := range g.Where {
			n += len(name) + len(k.Is) + len(k.Like) + len(fmt.Sprint(k.OneOf)) + 16
		}
	}
	return n
}

// consented refuses a task of which nothing could be done for the person, so that people
// are asked only by who could do something for them.
func (c *Change) consented(t policy.Task) error {
	for _, name := range upstreams(t) {
		u, err := c.Upstream(name)
		if err != nil {
			return missing(err, "upstream", name)
		}
		if len(u.Limit(t.On)) == 0 {
			return &Invalid{"task", "on", fmt.Sprintf("nothing may be done on %q on behalf of %s; an owner of that upstream can let it (consent)", name, t.On)}
		}
	}
	return nil
}

// alike reports whether two tasks say the same to a person; their ends may differ.
func alike(a, b policy.Task) bool {
	same := a.On == b.On && a.Purpose == b.Purpose && a.Words == b.Words && maps.Equal(a.Budget, b.Budget) && len(a.Scope) == len(b.Scope)
	for n := 0; same && n < len(a.Scope); n++ {
		g, o := a.Scope[n], b.Scope[n]
		same = g.Upstream == o.Upstream && fmt.Sprint(g.Actions, g.Resources) == fmt.Sprint(o.Actions, o.Resources) && (len(g.Where)+len(o.Where) == 0 || reflect.DeepEqual(g.Where, o.Where))
	}
	return same
}

// Consent is what a person says to a task that waits, or goes on, in their name.
type Consent struct {
	Task string
	Yes  bool
	Kill bool // with a no: and stop who asked
	End  bool // of one that goes on: it is over
	Note string
}

// Consent takes a person's answer. One that is not taken is on record as well, with the
// reason: a *Refusal or a *Conflict.
func (r *Registry) Consent(ctx context.Context, session, source string, w Consent) (t policy.Task, at feed.Cursor, err error) {
	by := Actor{Source: source}
	at, err = r.Do(ctx, by, func(c *Change) (err error) {
		t, err = c.consent(session, w)
		by = c.by
		return err
	})
	var no *Refusal
	var conflict *Conflict
	if !errors.As(err, &no) && !errors.As(err, &conflict) {
		return t, at, err
	}
	if by.Name == "" {
		by.Name = Self.Name
	}
	now := r.Store.Now().UTC().Truncate(time.Microsecond)
	id, bad := ledger.NewID(r.Rand, now)
	e := ledger.Event{ID: id, Time: now, Type: "task.answer", Outcome: ledger.Refused, Actor: by.Name, Source: source, Reason: err.Error(), Chain: t.Asked.Texts(), Owner: string(t.On),
		Detail: map[string]string{"task": w.Task}}
	if bad = errors.Join(bad, r.Store.Record(context.WithoutCancel(ctx), []ledger.Event{e})); bad != nil {
		return t, at, bad
	}
	return t, at, err
}

func (c *Change) consent(session string, w Consent) (policy.Task, error) {
	person, _, err := c.approver(Approver{Session: session})
	if err != nil {
		return policy.Task{}, err
	}
	t, err := c.Task(w.Task)
	if err != nil {
		return t, missing(err, "task", w.Task)
	}
	if t.On != person {
		return t, &Refusal{fmt.Sprintf("%s may not decide this: it is for %s", person, t.On)}
	}
	if w.End {
		if t.State != policy.TaskOpen {
			return t, &Conflict{"this task does not go on"}
		}
		reason := w.Note
		if reason == "" {
			reason = string(person) + " ended it."
		}
		return t, c.closeTask(t, reason)
	}
	switch {
	case t.State == policy.TaskOpen:
		return t, &Conflict{"you have said yes already"}
	case t.State == policy.TaskDenied:
		return t, &Conflict{"you have said no already"}
	case t.State != policy.TaskWaiting || !c.Now().Before(t.AnswerBy):
		return t, &Conflict{"this does not wait for an answer any more"}
	}
	i, err := c.Identity(t.Identity)
	if err != nil {
		return t, err
	}
	t.Note = w.Note
	if !w.Yes {
		return c.denyTask(t, i, w)
	}
	if err := errors.Join(c.alive(t.Asked), c.room(i)); err != nil {
		return t, err
	}
	t.State = policy.TaskOpen
	detail := says(t)
	detail["agreed_to_by"] = string(person)
	return t, errors.Join(c.PutTask(t), c.record("task.open", t.Identity.String(), string(i.Owner), w.Note, detail))
}

func (c *Change) denyTask(t policy.Task, i identity.Identity, w Consent) (policy.Task, error) {
	t.State, t.Closed, t.AnswerBy = policy.TaskDenied, c.Now(), c.Now().Add(noLife)
	detail := map[string]string{"task": t.ID, "on": string(t.On), "purpose": t.Purpose}
	if w.Kill {
		k, err := c.Kill(Aim{Identity: t.Identity.String()}, fmt.Sprintf("%s denied what it asked for, and stopped it.", t.On))
		if err != nil {
			return t, err
		}
		detail["kill"] = k.ID
	}
	return t, errors.Join(c.PutTask(t), c.record("task.deny", t.Identity.String(), string(i.Owner), w.Note, detail))
}

// endTasksFor ends what waits for a person who is no more, and what goes on in that name: another may come to have it.
func (c *Change) endTasksFor(person identity.OwnerID, reason string) error {
	for _, state := range []policy.TaskState{policy.TaskWaiting, policy.TaskOpen} {
		for {
			list, err := c.TasksFor(person, state, 100)
			if err != nil {
				return err
			}
			for _, t := range list {
				if err := c.closeTask(t, reason); err != nil {
					return err
				}
			}
			if len(list) < 100 {
				break
			}
		}
	}
	return nil
}

// toldOfTask is [Change.Told] of a task that waits, or has waited.
func (c *Change) toldOfTask(n store.Note, why string) error {
	id, err := ledger.NewID(c.r.Rand, c.Now())
	e := ledger.Event{ID: id, Time: c.Now(), Type: "task.notify", Outcome: ledger.Allowed, Actor: c.by.Name, Reason: why, Detail: map[string]string{"task": n.Approval, "door": n.Door}}
	if why != "" {
		e.Outcome = ledger.Failed
	}
	if t, missing := c.Task(n.Approval); missing == nil {
		e.Chain, e.Owner = t.Asked.Texts(), string(t.On)
	}
	c.Record(e)
	return errors.Join(err, c.DeleteNote(n.ID))
}
