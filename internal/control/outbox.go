package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/notify"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const (
	firstRetry = 2 * time.Second
	lastRetry  = 5 * time.Minute
	elsewhere  = 5 * time.Second // how long a note of another node may lie unseen
	maxNotes   = 1000            // of a door, looked at together
)

// notify has every door, and every receiver, told what is in the outbox, each at its own pace, until ctx ends.
func (p *Plane) notify(ctx context.Context) {
	var all sync.WaitGroup
	for _, d := range p.Notify {
		all.Go(func() {
			p.tellThrough(ctx, d.Name, nil, func(ctx context.Context, n store.Note) (bool, error) { return p.tellOne(ctx, d, n) })
		})
	}
	all.Go(func() { p.tellReceivers(ctx) })
	all.Wait()
}

// attempt is how often a note was tried in vain, and when it is tried again.
type attempt struct {
	n   int
	due time.Time
}

// tellThrough tells what is in the outbox for a door, until ctx ends. It looks when this node puts something there, and when
// what also, if it is given, returns is closed; tell says whether a note is over.
func (p *Plane) tellThrough(ctx context.Context, door string, also func() <-chan struct{}, tell func(context.Context, store.Note) (over bool, err error)) {
	tried := map[string]attempt{}
	for ctx.Err() == nil {
		more := p.Store.NextNote() // before the look, so that nothing falls between
		var others <-chan struct{}
		if also != nil {
			others = also()
		}
		wait := time.Minute
		if p.Store.Shared() { // what other nodes note does not ring here, and should the one that tells end, this one will
			wait = elsewhere
		}
		var notes []store.Note
		var err error
		leads := p.Store.Leads()
		if leads {
			err = p.Store.Read(ctx, func(tx *store.Tx) (err error) { notes, err = tx.Notes(door, maxNotes); return err })
		}
		if leads && err == nil { // what is there no more needs no remembering
			still := map[string]attempt{}
			for _, n := range notes {
				still[n.ID] = tried[n.ID]
			}
			tried = still
		}
		for _, n := range notes {
			t := tried[n.ID]
			if ctx.Err() != nil {
				break
			}
			if left := t.due.Sub(p.Now()); left > 0 {
				wait = min(wait, left)
				continue
			}
			over, e := tell(ctx, n)
			if err = errors.Join(err, e); over {
				continue
			}
			again := min(firstRetry<<min(t.n, 10), lastRetry)
			tried[n.ID] = attempt{t.n + 1, p.Now().Add(again)}
			wait = min(wait, again)
		}
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("telling what is in the outbox", "door", door, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-more:
		case <-others:
		case <-time.After(wait):
		}
	}
}

// tellOne tells one note, and forgets it when it was told, or when nobody has to be told any more.
func (p *Plane) tellOne(ctx context.Context, d notify.Door, n store.Note) (over bool, err error) {
	m := notify.Message{ID: n.ID}
	waits := false
	err = p.Store.Read(ctx, func(tx *store.Tx) error {
		if strings.HasPrefix(n.Approval, "task_") {
			return p.aboutTask(tx, n.Approval, &m, &waits)
		}
		a, err := tx.Approval(n.Approval)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		waits = a.State == feed.Waiting && tx.Now().Before(a.Expires)
		m.Approval, m.URL, m.Who, m.Expires = a.ID, p.URL+"/approvals/"+a.ID, a.Who, a.Expires.UTC()
		m.Text = fmt.Sprintf("%s asks for approval of %s (%s) on %s.", a.Identity.Name(), a.Question.Action, a.Question.Class, a.Question.Upstream)
		return addressed(tx, &m, a.Asks...)
	})
	if err != nil {
		return false, err
	}
	outcome := "It was decided, or had ended, before anybody could be told this way."
	if waits {
		if err := d.Send(ctx, m); err != nil {
			return false, err
		}
		outcome = ""
	}
	_, err = p.registry.Do(ctx, registry.Self, func(c *registry.Change) error { return c.Told(n, outcome) })
	return err == nil, err
}

// addressed says to whom a message goes: those of people who have not left since.
func addressed(tx *store.Tx, m *notify.Message, people ...identity.OwnerID) error {
	m.To = []notify.Person{}
	for _, id := range people {
		o, err := tx.Owner(id)
		if err == nil && o.State == identity.OwnerActive {
			m.To = append(m.To, notify.Person{ID: string(o.ID), Name: o.Name, Email: o.Email})
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// aboutTask is the message that a task waits for the person it is on behalf of.
func (p *Plane) aboutTask(tx *store.Tx, id string, m *notify.Message, waits *bool) error {
	t, err := tx.Task(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	*waits = t.State == policy.TaskWaiting && tx.Now().Before(t.AnswerBy)
	m.Task, m.URL, m.Expires = t.ID, p.URL+"/approvals/"+t.ID, t.AnswerBy.UTC()
	m.Text = t.Identity.Name() + " asks to work on a task in your name."
	if err := addressed(tx, m, t.On); err != nil {
		return err
	}
	if m.Who = string(t.On); len(m.To) == 1 {
		m.Who = m.To[0].Name
	}
	return nil
}

// doorNames lists the doors, for the registry to put notes for.
func doorNames(doors []notify.Door) (list []string) {
	for _, d := range doors {
		list = append(list, strings.ToLower(d.Name))
	}
	return list
}
