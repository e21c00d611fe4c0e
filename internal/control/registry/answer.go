package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Answer is what somebody says to a question.
type Answer struct {
	Approval string
	Yes      bool
	Scope    store.Scope // of a yes; default once
	Until    End         // of a lasting yes
	Kill     bool        // with a no: and stop who asked
	Note     string
	Looked   time.Duration // how long they had it before them
}

// Approver is who answers: a person by their session, or an operator.
type Approver struct {
	Session  string
	Operator string // operator:<name>; with a session, a person who answers as one

	Still func(*store.Tx) error // as of an [Actor]
}

// Refusal says why an answer was not taken.
type Refusal struct{ Text string }

func (e *Refusal) Error() string { return e.Text }

// Stale says that a person has to sign in again before their yes counts.
type Stale struct{ Fresh time.Duration }

func (e *Stale) Error() string {
	return fmt.Sprintf("a yes to this counts only within %s of signing in: sign in again", e.Fresh)
}

// Answer takes an answer. One that is not taken is on record as well, with the reason: a
// *Refusal, a *Stale or a *Conflict.
func (r *Registry) Answer(ctx context.Context, who Approver, source string, w Answer) (a store.Approval, at feed.Cursor, err error) {
	by := Actor{Name: who.Operator, Source: source, Still: who.Still}
	at, err = r.Do(ctx, by, func(c *Change) (err error) {
		a, err = c.answer(who, w)
		by = c.by
		return err
	})
	var no *Refusal
	var stale *Stale
	var conflict *Conflict
	var wrong *Invalid
	if !errors.As(err, &no) && !errors.As(err, &stale) && !errors.As(err, &conflict) && !errors.As(err, &wrong) {
		return a, at, err
	}
	if by.Name == "" {
		by.Name = Self.Name
	}
	e, bad := r.approvalEvent(r.Store.Now().UTC().Truncate(time.Microsecond), "approval.answer", a, by)
	e.Outcome, e.Reason = ledger.Refused, err.Error()
	if e.Detail["approval"] == "" {
		e.Detail["approval"] = w.Approval
	}
	if bad = errors.Join(bad, r.Store.Record(context.WithoutCancel(ctx), []ledger.Event{e})); bad != nil {
		return a, at, bad
	}
	return a, at, err
}

// answer is Answer within a transaction. The approval is returned with an error, too, for the record.
func (c *Change) answer(who Approver, w Answer) (store.Approval, error) {
	id, since, err := c.approver(who)
	if err != nil {
		return store.Approval{}, err
	}
	a, err := c.Approval(w.Approval)
	if err != nil {
		return a, missing(err, "approval", w.Approval)
	}
	if err := c.takes(a, id, w.Yes); err != nil {
		return a, err
	}
	mine, err := MayAnswer(c.Tx, a, id)
	if err != nil {
		return a, err
	}
	if len(mine) == 0 && (w.Yes || who.Operator == "") { // an operator can stop anything
		return a, &Refusal{fmt.Sprintf("%s may not decide this: it is for %s", strings.TrimPrefix(string(id), feed.OperatorPrefix), a.Who)}
	}
	v := store.Verdict{By: id, At: c.Now(), Yes: w.Yes, Note: w.Note, Looked: w.Looked}
	if !w.Yes {
		return c.deny(a, v, w.Kill)
	}
	for _, one := range mine {
		if one.Fresh > 0 && who.Session != "" && c.Now().Sub(since) > one.Fresh {
			return a, &Stale{one.Fresh}
		}
	}
	if err := c.stands(a.Question); err != nil {
		return a, err
	}
	if v.Scope, v.Until, err = c.scope(a, w); err != nil {
		return a, err
	}
	a.Decisions = append(slices.Clone(a.Decisions), v)
	met, err := reader{c.Tx}.met(a)
	if err != nil {
		return a, err
	}
	if !met {
		return a, errors.Join(c.PutApproval(a), c.told("approval.agree", a, "One more has to say yes.", map[string]string{"scope": string(v.Scope)}))
	}
	return c.approve(a)
}

// approver says who it is, and when they signed in.
func (c *Change) approver(who Approver) (identity.OwnerID, time.Time, error) {
	if who.Session == "" {
		return identity.OwnerID(who.Operator), time.Time{}, nil
	}
	v, err := Visit(c.Tx, who.Session)
	if errors.Is(err, store.ErrNotFound) || err == nil && v.Owner == "" && who.Operator == "" {
		return "", v.Proven(), &Refusal{"nobody is signed in any more, or who was has left"}
	}
	if c.by.Name = v.Person; who.Operator != "" {
		return identity.OwnerID(who.Operator), v.Proven(), err
	}
	return v.Owner, v.Proven(), err
}

// takes says why a question takes no answer of that person's now, or nil. A yes can be taken
// back, by whoever may say no, until it is used or ends.
func (c *Change) takes(a store.Approval, by identity.OwnerID, yes bool) error {
	names := make([]string, len(a.By))
	for i := range a.By {
		names[i] = string(a.By[i])
	}
	switch {
	case a.State == feed.Used:
		return &Conflict{"this was approved and done already"}
	case yes && (a.State == feed.Approved || a.State == feed.Standing), a.State == feed.Denied:
		return &Conflict{fmt.Sprintf("this was decided already: %s by %s", a.State, strings.Join(names, " and "))}
	case a.State == feed.Expired || !c.Now().Before(a.Expires):
		return &Conflict{"this question has expired; if it is asked again, it is another one"}
	}
	same := func(v store.Verdict) bool { // an operator is nobody else by being an owner, too
		return strings.TrimPrefix(string(v.By), feed.OperatorPrefix) == strings.TrimPrefix(string(by), feed.OperatorPrefix)
	}
	if yes && slices.ContainsFunc(a.Decisions, same) {
		return &Conflict{"you have said yes already; somebody else has to, too"}
	}
	return nil
}

func (c *Change) deny(a store.Approval, v store.Verdict, kill bool) (store.Approval, error) {
	a.Decisions = append(slices.Clone(a.Decisions), v)
	a.State, a.By, a.Ended, a.Expires = feed.Denied, []identity.OwnerID{v.By}, c.Now(), c.Now().Add(noLife)
	detail := map[string]string{}
	if kill {
		k, err := c.Kill(Aim{Identity: a.Identity.String()}, fmt.Sprintf("%s denied what it asked for, and stopped it.", v.By))
		if err != nil {
			return a, err
		}
		detail["kill"] = k.ID
	}
	return a, errors.Join(c.ungrant(a, "The yes that it came of was taken back."), c.PutApproval(a), c.told("approval.deny", a, v.Note, detail))
}

// scope is for what a yes is, as it was said, or why it cannot be.
func (c *Change) scope(a store.Approval, w Answer) (store.Scope, time.Time, error) {
	none := time.Time{}
	switch w.Scope {
	case "", store.Once:
		return store.Once, none, nil
	case store.ForTask:
		if a.Question.Task == "" {
			return "", none, &Refusal{"what was asked belongs to no task; approve it once"}
		}
		return store.ForTask, none, nil
	case store.Lasting:
		latest, err := c.latest(a)
		if err != nil {
			return "", none, err
		}
		if w.Until.Zero() {
			return "", none, &Refusal{"say until when"}
		}
		until := w.Until.From(c.Now())
		if until.After(latest) {
			until = latest
		}
		if longest := c.Now().Add(c.r.maxExpiry()); !until.After(c.Now()) || until.After(longest) {
			return "", none, &Refusal{fmt.Sprintf("it is to end between now and %s", longest.Format(time.DateOnly))}
		}
		return store.Lasting, until, nil
	}
	return "", none, &Refusal{fmt.Sprintf("%q: approve it once, for the task, or as lasting", w.Scope)}
}

// latest is how long a yes can last: no longer than who asked, and than every grant that asks, which has to ask it still.
func (c *Change) latest(a store.Approval) (time.Time, error) {
	i, err := c.Identity(a.Identity)
	end, q := i.Expires.Add(-time.Second), a.Question // what ends with the identity is renewed with it, and nobody said yes to that
	if err != nil || len(q.Chain) > 1 {               // then nothing is granted: what stands is asked of the policies each time
		return end, err
	}
	for _, one := range a.Of {
		if one.Guardrail {
			continue
		}
		g, err := c.Grant(one.Policy)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return end, err
		}
		wants := false
		if err == nil && !g.Ended(c.Now()) {
			if wants, err = g.Wants(one, policy.Call{Upstream: q.Upstream, Action: q.Action, Class: q.Class, Word: c.word(q.Upstream, q.Action), Resource: q.Resource}); err != nil {
				return end, err
			}
		}
		if !wants {
			return end, &Conflict{"the grant " + one.Policy + ", which asked, is no more or asks this no more, so there is nothing to approve that would last"}
		}
		if g.Until.Before(end) {
			end = g.Until
		}
	}
	return end, nil
}

// approve gives what all who said yes agreed to: the least of what each of them said.
func (c *Change) approve(a store.Approval) (store.Approval, error) {
	order := []store.Scope{store.Once, store.ForTask, store.Lasting}
	least, until := store.Lasting, time.Time{}
	a.By = nil
	for _, v := range a.Decisions {
		if slices.Index(order, v.Scope) < slices.Index(order, least) {
			least = v.Scope
		}
		if v.Scope == store.Lasting && (until.IsZero() || v.Until.Before(until)) {
			until = v.Until
		}
		a.By = append(a.By, v.By)
	}
	detail := map[string]string{"scope": string(least)}
	switch least {
	case store.Once:
		a.State, a.Expires = feed.Approved, c.Now().Add(yesLife)
	case store.ForTask:
		t, err := c.Task(a.Question.Task)
		if err != nil {
			return a, missing(err, "task", a.Question.Task)
		}
		if err := t.Going(c.Now()); err != nil {
			return a, &Refusal{"the " + err.Error() + ": there is nothing left to approve for it"}
		}
		a.State, a.Key, a.Expires = feed.Standing, a.Question.Keys.Task, t.Until
	case store.Lasting:
		latest, err := c.latest(a)
		if err != nil {
			return a, err
		}
		if until.After(latest) {
			until = latest
		}
		a.State, a.Key, a.Expires = feed.Standing, a.Question.Keys.Resource, until
		detail["until"] = until.Format(time.RFC3339)
		if err := c.lasting(&a, until); err != nil {
			return a, err
		}
		if a.Grant != "" {
			detail["grant"] = a.Grant
		}
	}
	return a, errors.Join(c.PutApproval(a), c.told("approval.approve", a, a.Decisions[len(a.Decisions)-1].Note, detail))
}

// lasting gives a grant, for exactly this action and resource, to whom only a grant that
// asks covers it. What guardrails ask is answered by the approval, which stands; so is what
// is asked of a chain: that nobody agreed to let any of it do by itself, or for others.
func (c *Change) lasting(a *store.Approval, until time.Time) error {
	if len(a.Question.Chain) > 1 {
		return nil
	}
	rails, record, asking := false, "", map[string]policy.Grant{}
	for _, one := range a.Of { // all that ask would have had it recorded
		if one.Guardrail {
			continue
		}
		g, err := c.Grant(one.Policy) // latest has seen that it is there
		if err != nil {
			return err
		}
		if before, err := g.Before(); err != nil {
			return err
		} else if before {
			record = "before"
		}
		asking[one.Policy] = g
	}
	for _, one := range a.Of {
		if rails = rails || one.Guardrail; one.Guardrail {
			continue
		}
		if a.Grant != "" { // all that ask are of the one who acts
			if asking[one.Policy].Layers != nil {
				return &Conflict{"several grants ask this, and " + one.Policy + " holds something back by its layers: approve it each time, or make one grant of them"}
			}
			continue
		}
		name, _, _ := strings.Cut(one.Policy, "/")
		q := a.Question
		text, err := policy.Exactly(q.Upstream, q.Action, q.Resource)
		if err != nil {
			return err
		}
		g, _, err := c.PutGrant(name, "approved-"+strings.TrimPrefix(a.ID, "appr_"), policy.Grant{Upstream: q.Upstream, Cedar: text, Layers: asking[one.Policy].Layers, Record: record}, At(until))
		if err != nil {
			return err
		}
		a.Grant = g.ID
	}
	if !rails { // the grant covers it from now on: nothing is left to be asked
		a.State, a.Key, a.Ended = feed.Used, "", c.Now()
	}
	return nil
}

// word is what systems of its sort call the action, unless a request says otherwise; nothing when the upstream, or the action, is no more.
func (c *Change) word(upstream, action string) string {
	u, err := c.Upstream(upstream)
	if err != nil {
		return ""
	}
	d, err := c.r.Describe(u)
	if err != nil {
		return ""
	}
	for _, a := range d.Actions {
		if a.Name == action && len(a.Words) > 0 {
			return a.Words[0]
		}
	}
	return ""
}
