package issuer

import (
	"errors"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// sheet is the page of one question.
type sheet struct {
	store.Approval
	Person    string
	Name      string // of who asks
	Purpose   string
	Owner     string
	Chain     []string
	System    string // whose the upstream is
	Shown     feed.Shown
	Gone      bool // what was shown is not kept any more
	Decoded   []decoded
	More      bool // is encoded than is in Decoded
	Policies  []asked
	Alike     int  // questions like this one in a day
	Many      int  // times this person said yes in an hour, when that is many
	Decides   bool // it is for this person, now
	Lasting   string
	Ends      []string
	Until     string
	Form      string
	Wrong     string // what was wrong with the answer
	Again     string // where to sign in again
	Decisions []verdict
}

type asked struct {
	policy.Approve
	Text, Says string
}

type verdict struct{ By, Word, Note string }

// read fills the page in for a person, or says that the question is not theirs.
func (s *sheet) read(tx *store.Tx, id string, person identity.Owner) error {
	a, err := tx.Approval(id)
	if err != nil {
		return err
	}
	mine, err := registry.MayAnswer(tx, a, person.ID)
	if err != nil {
		return err
	}
	if len(mine) == 0 && !said(a, person.ID) {
		return errNotTheirs
	}
	s.Approval = a
	q := a.Question
	if s.State.Open() && !tx.Now().Before(a.Expires) {
		s.State = feed.Expired
	}
	s.Decides = s.State == feed.Waiting && !said(a, person.ID) && len(mine) > 0
	s.Until = a.Expires.UTC().Format("15:04 MST")
	s.Name = a.Identity.Name()
	if i, err := tx.Identity(a.Identity); err == nil {
		s.Purpose = i.Purpose
		if o, err := tx.Owner(i.Owner); err == nil {
			s.Owner = o.Name
		}
	}
	for _, l := range q.Chain {
		text := l.ID.Name()
		if o, err := tx.Owner(l.ID.Owner()); err == nil {
			text = o.Name
		}
		s.Chain = append(s.Chain, text)
	}
	if u, err := tx.Upstream(q.Upstream); err == nil {
		s.System = u.OwnerName
	}
	if s.Shown, err = tx.Shown(a.ID); errors.Is(err, store.ErrNotFound) {
		s.Gone = true
	} else if err != nil {
		return err
	}
	s.Decoded, s.More = decodedTexts(s.Shown.Body)
	grants := true
	for _, one := range a.Of {
		p := asked{Approve: one}
		if one.Guardrail {
			g, err := tx.Guardrail(one.Policy)
			if err == nil {
				p.Text, p.Says = g.Cedar, g.Description
			}
			grants = false
		} else if g, err := tx.Grant(one.Policy); err == nil {
			p.Text = g.Cedar
		}
		s.Policies = append(s.Policies, p)
	}
	if s.Lasting = "It becomes a grant: exactly this action on exactly this resource, with any arguments, is then allowed without asking."; !grants {
		s.Lasting = "Exactly this action on exactly this resource, with any arguments, is then let pass without asking."
	}
	recent, err := tx.Approvals("", tx.Now().Add(-24*time.Hour), 5000)
	for _, o := range recent {
		if o.Identity == a.Identity && o.Question.Action == q.Action && o.ID != a.ID {
			s.Alike++
		}
		for _, v := range o.Decisions {
			if v.By == person.ID && v.Yes && tx.Now().Sub(v.At) < time.Hour {
				s.Many++
			}
		}
	}
	if s.Many <= manyYes {
		s.Many = 0
	}
	for _, v := range a.Decisions {
		word := "said no"
		if v.Yes {
			word = map[store.Scope]string{store.Once: "approved it once", store.ForTask: "approved it for the task", store.Lasting: "approved it until " + v.Until.UTC().Format("2 January 2006")}[v.Scope]
		}
		s.Decisions = append(s.Decisions, verdict{strings.TrimPrefix(string(v.By), feed.OperatorPrefix), word, v.Note})
	}
	return err
}
