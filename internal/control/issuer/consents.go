package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// A task that waits for the person it is on behalf of stands beside the questions, and its
// page is theirs alone.

func isTask(id string) bool { return strings.HasPrefix(id, "task_") }

// listedTask is one task on the list.
type listedTask struct{ ID, Who, Purpose, When string }

func (page *inbox) tasks(tx *store.Tx, person identity.OwnerID) error {
	for state, list := range map[policy.TaskState]*[]listedTask{policy.TaskWaiting: &page.Tasks, policy.TaskOpen: &page.Going} {
		found, err := tx.TasksFor(person, state, shownLists)
		if err != nil {
			return err
		}
		for _, t := range found {
			*list = append(*list, listedTask{t.ID, t.Identity.Name(), t.Purpose, ago(tx.Now().Sub(t.Created))})
		}
	}
	return nil
}

// taskSheet is the page of one task.
type taskSheet struct {
	policy.Task
	Person  string
	Name    string // of who asks
	Kind    string
	Serves  string // the purpose of who asks
	Owner   string
	Parts   []taskPart
	Limits  []string // of the budget
	Ends    string
	Answer  string
	Opened  string // by whom, when nobody was asked
	Decides bool
	Going   bool
	Form    string
	Wrong   string
}

// taskPart is what a task needs of one upstream, in words.
type taskPart struct {
	Upstream, System string
	Classes          []string // what they mean
	Actions          []string // beyond classes
	Resources        []string
	Where            []string
	Limit            string // what the upstream lets be done in the person's name
}

func (s *taskSheet) read(tx *store.Tx, id string, person identity.Owner) error {
	t, err := tx.Task(id)
	if err != nil {
		return err
	}
	if t.On != person.ID {
		return errNotTheirs
	}
	s.Task, s.Name, s.Kind = t, t.Identity.Name(), string(t.Identity.Kind())
	i, err := tx.Identity(t.Identity)
	if err != nil {
		return err
	}
	s.Serves, s.Owner = i.Purpose, string(i.Owner)
	if o, err := tx.Owner(i.Owner); err == nil {
		s.Owner = o.Name
	}
	if len(t.Asked) == 0 {
		s.Opened = t.By
	}
	s.Decides = t.State == policy.TaskWaiting && tx.Now().Before(t.AnswerBy)
	if s.Going = t.Going(tx.Now()) == nil; t.State == policy.TaskWaiting && !s.Decides || t.State == policy.TaskOpen && !s.Going {
		s.State = policy.TaskClosed
	}
	const day = "2 January 2006, 15:04 MST"
	s.Ends, s.Answer = t.Until.UTC().Format(day), t.AnswerBy.UTC().Format(day)
	for n := range t.Scope {
		part, err := inWords(tx, t, n, person.ID)
		if err != nil {
			return err
		}
		s.Parts = append(s.Parts, part)
	}
	for kind, limit := range t.Budget {
		s.Limits = append(s.Limits, fmt.Sprintf("%s: %d", kind, limit))
	}
	slices.Sort(s.Limits)
	return nil
}

// inWords says what one part of a task's scope lets be done.
func inWords(tx *store.Tx, t policy.Task, n int, person identity.OwnerID) (p taskPart, err error) {
	g := t.Scope[n]
	p = taskPart{Upstream: g.Upstream, Resources: g.Resources}
	for _, word := range g.Actions {
		if means, ok := classMeaning[policy.Class(word)]; ok {
			p.Classes = append(p.Classes, means+" ("+word+")")
		} else {
			p.Actions = append(p.Actions, word)
		}
	}
	for name, k := range g.Where {
		p.Where = append(p.Where, name+" "+condition(k))
	}
	slices.Sort(p.Where)
	u, err := tx.Upstream(g.Upstream)
	if errors.Is(err, store.ErrNotFound) {
		p.Limit = "nothing: it is not there any more"
		return p, nil
	} else if err != nil {
		return p, err
	}
	p.System = u.OwnerName
	var words []string
	for _, class := range u.Limit(person) {
		words = append(words, string(class))
	}
	if p.Limit = strings.Join(words, ", "); len(words) == 0 {
		p.Limit = "nothing"
	}
	return p, nil
}

// condition says a condition on an argument in words.
func condition(k policy.Condition) string {
	var words []string
	if k.Is != "" {
		words = append(words, "is "+strconv.Quote(k.Is))
	}
	if len(k.OneOf) > 0 {
		words = append(words, fmt.Sprintf("is one of %q", k.OneOf))
	}
	if k.Like != "" {
		words = append(words, "is like "+strconv.Quote(k.Like))
	}
	if k.Min != nil {
		words = append(words, fmt.Sprintf("is %v or more", *k.Min))
	}
	if k.Max != nil {
		words = append(words, fmt.Sprintf("is %v or less", *k.Max))
	}
	return strings.Join(words, " and ")
}

func (i *Issuer) taskSheet(w http.ResponseWriter, r *http.Request, person identity.Owner, session string, code int, wrong string) {
	s := taskSheet{Person: person.Name, Wrong: wrong}
	err := i.Registry.Store.Read(r.Context(), func(tx *store.Tx) error { return s.read(tx, r.PathValue("id"), person) })
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, errNotTheirs):
		i.page(w, r, http.StatusNotFound, nil, "notice", notice{Title: "Nothing here for you to decide", Text: "There is no such task, or it is for another person.", Person: person.Name})
		return
	case err == nil && (s.Decides || s.Going):
		s.Form, err = i.sealAnswer(s.ID, session)
	}
	if err != nil {
		i.trouble(w, r, person, err)
		return
	}
	i.page(w, r, code, nil, "task", s)
}

// agree takes what a person says to a task, by a form that was good.
func (i *Issuer) agree(w http.ResponseWriter, r *http.Request, person identity.Owner, session, id string) {
	said, err := consented(r.PostForm, id)
	if err != nil {
		i.refused(w, r, person, session, id, err)
		return
	}
	_, at, err := i.Registry.Consent(r.Context(), session, r.RemoteAddr, said)
	var no *registry.Refusal
	var conflict *registry.Conflict
	switch {
	case errors.As(err, &no), errors.As(err, &conflict), errors.Is(err, store.ErrNotFound):
		i.sheet(w, r, person, session, http.StatusConflict, capital(err.Error())+".", "")
		return
	case err != nil:
		i.trouble(w, r, person, err)
		return
	}
	i.Settle(r.Context(), at)
	http.Redirect(w, r, "/approvals/"+id, http.StatusSeeOther)
}

func consented(form url.Values, id string) (c registry.Consent, err error) {
	c = registry.Consent{Task: id, Note: strings.TrimSpace(form.Get("note"))}
	if len(c.Note) > 500 {
		return c, errors.New("the note is too long")
	}
	switch form.Get("decision") {
	case "allow":
		c.Yes = true
	case "deny":
	case "kill":
		c.Kill = true
	case "end":
		c.End = true
	default:
		err = errors.New("the form does not say what was decided")
	}
	return c, err
}
