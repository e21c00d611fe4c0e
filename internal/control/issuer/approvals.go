package issuer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// People who are asked decide here: a list of what waits for them, and a page for each
// question. What a request holds is shown only to who may decide about it.

const (
	manyYes    = 10 // in an hour, and a person is told so
	shownLists = 50 // questions on the list
)

func (i *Issuer) approvals(mux *http.ServeMux) {
	mux.HandleFunc("GET /approvals", i.inbox)
	mux.HandleFunc("GET /approvals/{id}", i.approval)
	mux.HandleFunc("POST /approvals/{id}", SameOrigin(i.decide))
}

var approvalPath = regexp.MustCompile(`^/approvals(/(appr|task)_[a-z0-9]{1,32})?$`)

// visitor is who is signed in, or nobody, who is sent to sign in.
func (i *Issuer) visitor(w http.ResponseWriter, r *http.Request) (o identity.Owner, session string, ok bool) {
	o, session, err := i.Person(r)
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.Redirect(w, r, "/signin?return="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
	case err != nil:
		i.trouble(w, r, o, err)
	}
	return o, session, err == nil
}

// trouble is the page of what did not work.
func (i *Issuer) trouble(w http.ResponseWriter, r *http.Request, person identity.Owner, err error) {
	_, text, code := status(err)
	i.page(w, r, code, nil, "notice", notice{Title: "That did not work", Text: text, Person: person.Name})
}

// asking is one question on the list.
type asking struct {
	ID, Who, Action, Class, Upstream, Resource, State, When string
}

type inbox struct {
	Person        string
	Waiting, Past []asking
	Tasks, Going  []listedTask // that wait for this person, and that go on in their name
}

func (i *Issuer) inbox(w http.ResponseWriter, r *http.Request) {
	person, _, ok := i.visitor(w, r)
	if !ok {
		return
	}
	page := inbox{Person: person.Name}
	err := i.Registry.Store.Read(r.Context(), func(tx *store.Tx) error {
		waiting, err := tx.Approvals(feed.Waiting, time.Time{}, 1000)
		if err != nil {
			return err
		}
		for _, a := range waiting {
			mine, err := registry.MayAnswer(tx, a, person.ID)
			if err != nil {
				return err
			}
			if len(mine) > 0 && !said(a, person.ID) && tx.Now().Before(a.Expires) && len(page.Waiting) < shownLists {
				page.Waiting = append(page.Waiting, listed(a, tx.Now()))
			}
		}
		if err := page.tasks(tx, person.ID); err != nil {
			return err
		}
		past, err := tx.Approvals("", tx.Now().AddDate(0, 0, -7), 1000)
		for _, a := range past {
			if said(a, person.ID) && len(page.Past) < shownLists {
				page.Past = append(page.Past, listed(a, tx.Now()))
			}
		}
		return err
	})
	if err != nil {
		i.trouble(w, r, person, err)
		return
	}
	i.page(w, r, http.StatusOK, nil, "inbox", page)
}

func listed(a store.Approval, now time.Time) asking {
	q := a.Question
	return asking{a.ID, a.Identity.Name(), q.Action, string(q.Class), q.Upstream, q.Resource, string(a.State), ago(now.Sub(a.Asked))}
}

func said(a store.Approval, by identity.OwnerID) bool {
	return slices.ContainsFunc(a.Decisions, func(v store.Verdict) bool { return v.By == by })
}

// ago says how long something is past, as people do.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func (i *Issuer) approval(w http.ResponseWriter, r *http.Request) {
	person, session, ok := i.visitor(w, r)
	if !ok {
		return
	}
	i.sheet(w, r, person, session, http.StatusOK, "", "")
}

// errNotTheirs says that a question is not that person's to see.
var errNotTheirs = errors.New("not theirs")

func (i *Issuer) sheet(w http.ResponseWriter, r *http.Request, person identity.Owner, session string, code int, wrong, again string) {
	if isTask(r.PathValue("id")) {
		i.taskSheet(w, r, person, session, code, wrong)
		return
	}
	s := sheet{Person: person.Name, Wrong: wrong, Again: again, Ends: []string{"1d", "7d", "30d"}}
	err := i.Registry.Store.Read(r.Context(), func(tx *store.Tx) error { return s.read(tx, r.PathValue("id"), person) })
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, errNotTheirs):
		i.page(w, r, http.StatusNotFound, nil, "notice", notice{Title: "Nothing here for you to decide", Text: "There is no such question, or it is for other people.", Person: person.Name})
		return
	case err != nil:
		i.trouble(w, r, person, err)
		return
	}
	if s.Decides {
		if s.Form, err = i.sealAnswer(s.ID, session); err != nil {
			i.trouble(w, r, person, err)
			return
		}
	}
	i.page(w, r, code, nil, "approval", s)
}

// answerForm is what the page's form carries. It opens only in the session it was made for.
type answerForm struct {
	Approval string    `json:"approval"`
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
}

func (i *Issuer) sealAnswer(approval, session string) (string, error) {
	id, err := i.random()
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(answerForm{approval, id, i.Now()})
	if err != nil {
		return "", err
	}
	b, err := i.Registry.Store.Seal.Seal(plain, "approval/"+session)
	return base64.RawURLEncoding.EncodeToString(b), err
}

// unsealAnswer says what a form was made for, and how long ago. One that was sent already is not taken.
func (i *Issuer) unsealAnswer(ctx context.Context, form, approval, session string) (looked time.Duration, err error) {
	b, err := base64.RawURLEncoding.DecodeString(form)
	if err == nil {
		b, err = i.Registry.Store.Unseal(ctx, b, "approval/"+session)
	}
	var f answerForm
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	looked = i.Now().Sub(f.At)
	switch {
	case err != nil, f.Approval != approval:
		return 0, errors.New("this form was not made for you, or for another question; look at it again")
	case looked < 0 || looked >= formLife:
		return 0, errors.New("this form is too old; look at it again")
	case i.forms.Seen(f.ID, i.Now()):
		return 0, errors.New("this form was sent already")
	}
	return max(looked, time.Millisecond), nil
}

// decide takes the answer.
func (i *Issuer) decide(w http.ResponseWriter, r *http.Request) {
	person, session, err := i.Person(r)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		i.trouble(w, r, person, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if bad := r.ParseForm(); bad != nil || r.URL.RawQuery != "" {
		i.page(w, r, http.StatusBadRequest, nil, "notice", notice{Title: "That did not work", Text: "The form could not be read.", Person: person.Name})
		return
	}
	id := r.PathValue("id")
	if err != nil {
		i.stranger(w, r, id)
		return
	}
	looked, err := i.unsealAnswer(r.Context(), r.PostForm.Get("request"), id, session)
	if err != nil {
		i.refused(w, r, person, session, id, err)
		return
	}
	if isTask(id) {
		i.agree(w, r, person, session, id)
		return
	}
	answer, err := answered(r.PostForm, id, looked)
	if err != nil {
		i.refused(w, r, person, session, id, err)
		return
	}
	_, at, err := i.Registry.Answer(r.Context(), registry.Approver{Session: session}, r.RemoteAddr, answer)
	var stale *registry.Stale
	var no *registry.Refusal
	var conflict *registry.Conflict
	var wrong *registry.Invalid
	switch {
	case errors.As(err, &stale):
		i.sheet(w, r, person, session, http.StatusForbidden, capital(err.Error())+".", "/signin?return="+url.QueryEscape("/approvals/"+id))
		return
	case errors.As(err, &no), errors.As(err, &conflict), errors.As(err, &wrong):
		i.sheet(w, r, person, session, http.StatusConflict, capital(err.Error())+".", "")
		return
	case errors.Is(err, store.ErrNotFound):
		i.page(w, r, http.StatusNotFound, nil, "notice", notice{Title: "Nothing here for you to decide", Text: "There is no such question.", Person: person.Name})
		return
	case err != nil:
		i.trouble(w, r, person, err)
		return
	}
	i.Settle(r.Context(), at)
	http.Redirect(w, r, "/approvals/"+id, http.StatusSeeOther)
}

// stranger is an answer of nobody's. Of those only so many go on record.
func (i *Issuer) stranger(w http.ResponseWriter, r *http.Request, id string) {
	const why = "nobody is signed in, or who was has left"
	if left, ok := i.strangers.Admit(i.Now()); ok {
		e := answerEvent(id, why)
		e.Actor = registry.Self.Name
		if left > 0 {
			e.Detail["left_out"] = strconv.Itoa(left)
		}
		if err := i.say(r, e); err != nil {
			i.trouble(w, r, identity.Owner{}, err)
			return
		}
	}
	i.page(w, r, http.StatusForbidden, nil, "notice", notice{Title: "Nothing was decided", Text: capital(why) + "."})
}

// refused is an answer that was not even asked about, on record all the same.
func (i *Issuer) refused(w http.ResponseWriter, r *http.Request, person identity.Owner, session, id string, why error) {
	e := answerEvent(id, why.Error())
	e.Actor, e.Owner = registry.Person(person.ID), string(person.ID)
	if err := i.say(r, e); err != nil {
		i.trouble(w, r, person, err)
		return
	}
	i.sheet(w, r, person, session, http.StatusBadRequest, capital(why.Error())+".", "")
}

// answerEvent is an answer that was refused.
func answerEvent(id, why string) ledger.Event {
	e := ledger.Event{Type: "approval.answer", Outcome: ledger.Refused, Reason: why, Detail: map[string]string{"approval": clip(id)}}
	if isTask(id) {
		e.Type, e.Detail = "task.answer", map[string]string{"task": clip(id)}
	}
	return e
}

func answered(form url.Values, id string, looked time.Duration) (a registry.Answer, err error) {
	a = registry.Answer{Approval: id, Yes: true, Looked: looked, Note: strings.TrimSpace(form.Get("note"))}
	if len(a.Note) > 500 {
		return a, errors.New("the note is too long")
	}
	switch form.Get("decision") {
	case "once":
		a.Scope = store.Once
	case "task":
		a.Scope = store.ForTask
	case "lasting":
		a.Scope = store.Lasting
		a.Until, err = registry.ParseEnd(form.Get("until"))
	case "deny":
		a.Yes = false
	case "kill":
		a.Yes, a.Kill = false, true
	default:
		err = errors.New("the form does not say what was decided")
	}
	return a, err
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
