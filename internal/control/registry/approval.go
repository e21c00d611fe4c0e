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
)

const (
	questionLife = time.Hour // in which people can answer
	yesLife      = time.Hour // in which what was approved once can be done
	noLife       = time.Hour // in which the same is not asked again
	keptFor      = 90 * 24 * time.Hour
)

// Ask puts a question to people, or finds the one that is open about the same request.
// A *feed.NotAsked says why people are not asked.
func (c *Change) Ask(q feed.Question) (store.Approval, error) {
	a, err := c.r.Asked(c.Tx, q)
	if !errors.Is(err, store.ErrNotFound) {
		return a, err
	}
	if a.ID != "" { // it was approved by who may not any more
		if err := c.lapse(a, notAnyMore); err != nil {
			return a, err
		}
	}
	i, err := c.Identity(q.Chain.Actor())
	if err != nil {
		return a, err
	}
	a = store.Approval{Question: q, Asked: c.Now(), Approval: feed.Approval{Hash: q.Hash, Identity: i.ID, State: feed.Waiting, Expires: c.Now().Add(questionLife), Of: q.Ask.Of}}
	var who []string
	for _, one := range a.Of {
		k, err := reader{c.Tx}.circle(one, q)
		if err != nil {
			return a, err
		}
		if !k.enough(one.Need) {
			return a, &feed.NotAsked{Why: fmt.Sprintf("It needs the yes of %s, as %s says, and nobody is there who could give it; an operator can change the policy.", one, one.Policy)}
		}
		text := strings.Join(k.names(), " or ")
		if one.Need > 1 {
			text = fmt.Sprintf("%d of %s", one.Need, strings.Join(k.names(), ", "))
		}
		if !slices.Contains(who, text) {
			who = append(who, text)
		}
		for _, o := range k.people {
			if !slices.Contains(a.Asks, o.ID) {
				a.Asks = append(a.Asks, o.ID)
			}
		}
	}
	a.Who = strings.Join(who, ", and ")
	if a.ID, err = c.newID("appr_"); err != nil {
		return a, err
	}
	if err := c.tell(a.ID); err != nil {
		return a, err
	}
	err = c.PutApproval(a)
	if q.Shown != nil && err == nil {
		err = c.PutShown(a.ID, *q.Shown)
	}
	return a, errors.Join(err, c.told("approval.ask", a, q.Why, map[string]string{"who": a.Who, "expires": a.Expires.Format(time.RFC3339)}))
}

// tell has people told, through every door, of a question or of a task that waits.
func (c *Change) tell(about string) (err error) {
	for _, door := range c.r.Doors {
		n := store.Note{Door: door, Approval: about, Made: c.Now()}
		if n.ID, err = c.newID("note_"); err != nil {
			return err
		}
		if err := c.PutNote(n); err != nil {
			return err
		}
	}
	return nil
}

// Asked finds the open question about a request. ErrNotFound: there is none, or, if it is returned as well, what
// was approved does not count any more; and it may be asked. It needs no transaction that writes: who asks much
// does not hold up others.
func (r *Registry) Asked(tx *store.Tx, q feed.Question) (store.Approval, error) {
	a, err := tx.OpenApproval(q.Hash)
	if err == nil && a.State == feed.Approved {
		met := false
		if met, err = (reader{tx}).met(a); err == nil && !met {
			err = store.ErrNotFound
		}
	}
	if !errors.Is(err, store.ErrNotFound) {
		return a, err
	}
	limit := r.questions()
	first, err := (reader{tx}).first(q.Chain.Actor())
	if err != nil {
		return a, err
	}
	if n, err := tx.CountWaiting(first); err != nil {
		return a, err
	} else if n >= limit {
		return a, &feed.NotAsked{Why: fmt.Sprintf("%s has %d questions waiting for people already, so no other is asked until some are answered or expire.", first.Name(), n)}
	}
	return a, store.ErrNotFound
}

// first is who started an identity, or who started that, and so on: children wait for people
// in the place of who began.
func (tx reader) first(id identity.ID) (identity.ID, error) {
	for range identity.MaxChain {
		i, err := tx.Identity(id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return id, err
		}
		if i.Parent.ID.IsZero() {
			break
		}
		id = i.Parent.ID
	}
	return id, nil
}

// questions is how many may wait for people for one identity; and as many tasks.
func (r *Registry) questions() int {
	if r.Questions == 0 {
		return 20
	}
	return r.Questions
}

// told records what became of a question.
func (c *Change) told(kind string, a store.Approval, reason string, detail map[string]string) error {
	e, err := c.r.approvalEvent(c.Now(), kind, a, c.by)
	for name, value := range detail {
		e.Detail[name] = value
	}
	e.Reason = reason
	c.Record(e)
	return err
}

func (r *Registry) approvalEvent(now time.Time, kind string, a store.Approval, by Actor) (ledger.Event, error) {
	id, err := ledger.NewID(r.Rand, now)
	q := a.Question
	e := ledger.Event{ID: id, Time: now, Type: kind, Outcome: ledger.Allowed, Actor: by.Name, Source: by.Source, Chain: q.Chain.Texts(), Action: q.Action, Class: string(q.Class),
		Upstream: q.Upstream, Resource: q.Resource, Request: q.Request, Detail: map[string]string{"approval": a.ID, "hash": a.Hash}}
	for _, one := range a.Of {
		e.Policies = append(e.Policies, one.Policy)
	}
	if len(a.Asks) > 0 {
		e.Owner = string(a.Asks[0])
	}
	return e, err
}

// Use takes an approval for the one request of that hash. false: it is none for it, any more.
func (c *Change) Use(id, hash, request string) (bool, error) {
	a, err := c.Approval(id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil || a.State != feed.Approved || a.Hash != hash || !c.Now().Before(a.Expires) {
		return false, err
	}
	var gone *Conflict
	if err := c.stands(a.Question); errors.As(err, &gone) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	met, err := reader{c.Tx}.met(a)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	if !met {
		return false, c.lapse(a, notAnyMore)
	}
	a.Ended, a.State = c.Now(), feed.Used
	by := make([]string, len(a.By))
	for i := range a.By {
		by[i] = string(a.By[i])
	}
	a.Question.Request = request
	return true, errors.Join(c.PutApproval(a), c.told("approval.use", a, "", map[string]string{"approved_by": strings.Join(by, " ")}))
}

const notAnyMore = "Who approved it may not do so any more."

// lapse ends what was approved by who may not do so any more.
func (c *Change) lapse(a store.Approval, reason string) error {
	a.Ended, a.State = c.Now(), feed.Expired
	return errors.Join(c.ungrant(a, reason), c.PutApproval(a), c.told("approval.expire", a, reason, nil))
}

// ungrant takes away the grant that an approval became, if it is there yet.
func (c *Change) ungrant(a store.Approval, reason string) error {
	if a.Grant == "" {
		return nil
	}
	if err := c.RevokeGrant(a.Grant, reason); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// takeBack ends what somebody said yes to, and what is not done yet: it may not have been that person.
// Of what became a grant, which counts as done, the grant ends.
func (c *Change) takeBack(by identity.OwnerID, reason string) error {
	list, err := c.Yeses(by)
	for _, a := range list {
		if a.State == feed.Used {
			err = errors.Join(err, c.ungrant(a, reason))
		} else {
			err = errors.Join(err, c.lapse(a, reason))
		}
	}
	return err
}

// ExpireApprovals ends the questions whose time has come, and forgets old ones. It returns
// when the next one ends; the zero time when none does.
func (r *Registry) ExpireApprovals(ctx context.Context) (next time.Time, err error) {
	for {
		var ended []store.Approval
		err = r.Store.Read(ctx, func(tx *store.Tx) (err error) {
			if ended, err = tx.EndedApprovals(100); err == nil {
				next, err = tx.NextApprovalEnd()
			}
			return err
		})
		if err != nil || len(ended) == 0 {
			return next, err
		}
		_, err = r.Do(ctx, Self, func(c *Change) error {
			ended, err := c.EndedApprovals(100)
			for _, a := range ended {
				reason := map[feed.ApprovalState]string{feed.Waiting: "Nobody decided in time.", feed.Approved: "It was approved and not done in time.", feed.Standing: "It stood until then.", feed.Denied: "The same may be asked again."}[a.State]
				detail := map[string]string{"was": string(a.State)}
				a.State, a.Ended = feed.Expired, c.Now()
				err = errors.Join(err, c.PutApproval(a), c.told("approval.expire", a, reason, detail))
			}
			return errors.Join(err, c.ForgetApprovals(c.Now().Add(-keptFor)))
		})
		if err != nil {
			return next, err
		}
	}
}

// stands says why nothing can be done for a chain on an upstream now, or nil.
func (c *Change) stands(q feed.Question) error {
	u, err := c.Upstream(q.Upstream)
	if errors.Is(err, store.ErrNotFound) || err == nil && u.Killed {
		return &Conflict{q.Upstream + " is cut off or not there any more"}
	} else if err != nil {
		return err
	}
	return c.alive(q.Chain)
}

// alive says which link of a chain is not any more what it was when it asked, or nil.
func (c *Change) alive(chain identity.Chain) error {
	for _, l := range chain {
		why := error(nil)
		if id := l.ID.Owner(); id != "" {
			o, err := c.Owner(id)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if err != nil || o.State != identity.OwnerActive || o.Generation != l.Generation {
				why = errors.New("nobody acts for " + string(id) + " any more")
			}
		} else {
			i, err := c.Identity(l.ID)
			if errors.Is(err, store.ErrNotFound) { // a child that was forgotten
				return &Conflict{l.ID.Name() + " is no more, so there is nothing to approve"}
			} else if err != nil {
				return err
			}
			if why = i.Usable(c.Now()); why == nil && i.Generation != l.Generation {
				why = errors.New(l.ID.Name() + " was stopped since it asked")
			}
		}
		if why != nil {
			return &Conflict{why.Error() + ", so there is nothing to approve"}
		}
	}
	return nil
}

// Told forgets a note: it was told, or why says why it need not be any more.
func (c *Change) Told(n store.Note, why string) error {
	if strings.HasPrefix(n.Approval, taskPrefix) {
		return c.toldOfTask(n, why)
	}
	a, err := c.Approval(n.Approval)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if errors.Is(err, store.ErrNotFound) {
		a.ID = n.Approval
	}
	e, err := c.r.approvalEvent(c.Now(), "approval.notify", a, c.by)
	e.Detail["door"], e.Reason = n.Door, why
	if why != "" {
		e.Outcome = ledger.Failed
	}
	c.Record(e)
	return errors.Join(err, c.DeleteNote(n.ID))
}

// ForgetDoors drops what was to be told through doors that there are no more.
func (c *Change) ForgetDoors() error {
	notes, err := c.Notes("", 10_000)
	for _, n := range notes {
		if !slices.Contains(c.r.Doors, n.Door) && !strings.Contains(n.Door, "/") { // those are receivers'
			err = errors.Join(err, c.Told(n, "There is no such door any more."))
		}
	}
	return err
}
