package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// session signs an owner in.
func (w *world) session(owner identity.OwnerID) (session string) {
	w.Helper()
	w.do(func(c *registry.Change) error {
		code, _, err := c.NewSignIn(owner)
		if err == nil {
			session, _, err = c.SignIn(code, registry.Browser{})
		}
		return err
	})
	return session
}

// asks has the bot ask maya, who owns mail, for a task.
func (w *world) asks(purpose string) (t policy.Task) {
	w.Helper()
	w.do(func(c *registry.Change) (err error) { t, err = c.AskTask(onMaya(purpose)); return err })
	return t
}

func onMaya(purpose string) registry.Work {
	in := work("bot", 48*time.Hour)
	in.On, in.Purpose = "maya", purpose
	return in
}

func (w *world) task(id string) (t policy.Task) {
	w.Helper()
	if err := w.Store.Read(w.Context(), func(tx *store.Tx) (err error) { t, err = tx.Task(id); return err }); err != nil {
		w.Fatal(err)
	}
	return t
}

// says has the person of a session answer, and returns why that was not taken.
func (w *world) says(session string, k registry.Consent) error {
	w.Helper()
	_, _, err := w.Consent(w.Context(), session, "192.0.2.1", k)
	return err
}

func (w *world) events(kind string) (list []ledger.Event) {
	w.Helper()
	found, err := w.Store.Search(w.Context(), ledger.Query{Type: kind}, 0, 1000)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range found.Entries {
		list = append(list, e.Event)
	}
	return list
}

// TestConsent: a task in a person's name waits for that person, and for nobody else.
func TestConsent(t *testing.T) {
	w := open(t)
	w.Doors = []string{"mail"}
	maya, ben := w.session("maya"), w.session("ben")
	k := w.asks("Read her mail")
	if k.State != policy.TaskWaiting || k.Going(w.now) == nil || !k.AnswerBy.Equal(w.now.Add(24*time.Hour)) || len(k.Asked) != 2 || k.Asked.Root().Owner() != "maya" {
		t.Fatalf("%+v", k)
	}
	if again := w.asks("Read her mail"); again.ID != k.ID {
		t.Error("the same is asked twice")
	}
	var notes []store.Note
	if err := w.Store.Read(t.Context(), func(tx *store.Tx) (err error) { notes, err = tx.Notes("", 10); return err }); err != nil || len(notes) != 1 || notes[0].Approval != k.ID {
		t.Error(notes, err)
	}
	var no *registry.Refusal
	for name, session := range map[string]string{"the agent's word": "", "no session": "x", "another person": ben} {
		if err := w.says(session, registry.Consent{Task: k.ID, Yes: true}); !errors.As(err, &no) || w.task(k.ID).State != policy.TaskWaiting {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := w.events("task.answer"); len(list) != 3 || list[0].Outcome != ledger.Refused || list[0].Detail["task"] != k.ID {
		t.Errorf("%+v", list)
	}
	if err := w.says(maya, registry.Consent{Task: k.ID, Yes: true, Note: "please do"}); err != nil {
		t.Fatal(err)
	}
	if got := w.task(k.ID); got.Going(w.now) != nil || got.Note != "please do" {
		t.Errorf("%+v", got)
	}
	if e := w.events("task.open"); len(e) != 1 || e[0].Actor != "owner:maya" || e[0].Detail["agreed_to_by"] != "maya" || e[0].Detail["on"] != "maya" {
		t.Errorf("%+v", e)
	}
	var conflict *registry.Conflict
	for name, again := range map[string]registry.Consent{"yes": {Yes: true}, "no": {}, "kill": {Kill: true}} {
		again.Task = k.ID
		if err := w.says(maya, again); !errors.As(err, &conflict) || w.task(k.ID).State != policy.TaskOpen {
			t.Errorf("%s, after a yes: %v", name, err)
		}
	}
	// What goes on in her name she ends, and nobody else does.
	if err := w.says(ben, registry.Consent{Task: k.ID, End: true}); !errors.As(err, &no) {
		t.Error(err)
	}
	if err := w.says(maya, registry.Consent{Task: k.ID, End: true}); err != nil || w.task(k.ID).State != policy.TaskClosed {
		t.Error(err)
	}
}

// TestConsentDenied: a no ends it, whoever words it anew; with a kill it stops who asked.
func TestConsentDenied(t *testing.T) {
	w := open(t)
	maya := w.session("maya")
	k := w.asks("Read her mail")
	if err := w.says(maya, registry.Consent{Task: k.ID, Note: "no, thanks"}); err != nil || w.task(k.ID).State != policy.TaskDenied {
		t.Fatal(err)
	}
	if e := w.events("task.deny"); len(e) != 1 || e[0].Actor != "owner:maya" || e[0].Reason != "no, thanks" {
		t.Errorf("%+v", e)
	}
	var conflict *registry.Conflict
	if err := w.says(maya, registry.Consent{Task: k.ID, Yes: true}); !errors.As(err, &conflict) {
		t.Error(err)
	}
	w.fails("said no to bot", func(c *registry.Change) error { _, err := c.AskTask(onMaya("In other words")); return err })
	w.set(w.now.Add(time.Hour))
	k = w.asks("An hour later")
	if err := w.says(maya, registry.Consent{Task: k.ID, Kill: true}); err != nil || w.task(k.ID).State != policy.TaskDenied {
		t.Fatal(err)
	}
	if i, _, _ := w.identity("bot"); i.State != identity.Killed {
		t.Error(i.State)
	}
}

// TestConsentLimits: only so many wait, they expire, and nobody is asked for what could not be done, or by whom somebody else started.
func TestConsentLimits(t *testing.T) {
	w := open(t)
	maya := w.session("maya")
	k := w.asks("The first")
	for n := 1; n < 20; n++ {
		w.asks(fmt.Sprint("Number ", n))
	}
	w.fails("20 tasks waiting", func(c *registry.Change) error { _, err := c.AskTask(onMaya("One more")); return err })
	moments := onMaya("Soon over")
	moments.Until = registry.For(time.Minute)
	large := onMaya("Much")
	large.Scope[0].Resources = []string{strings.Repeat("x", 20_000)}
	for says, in := range map[string]registry.Work{
		"on behalf of ben":    {Identity: "bot", On: "ben", Purpose: "p", Scope: work("bot", 1).Scope},
		"is shown":            large,
		"an hour at least":    moments,
		"there is no owner":   {Identity: "bot", On: "zoe", Purpose: "p", Scope: work("bot", 1).Scope},
		"holds no grant":      {Identity: "bot", On: "maya", Purpose: "p", Scope: []policy.Grant{{Upstream: "crm", Actions: []string{"read"}}}},
		"what it is for":      {Identity: "bot", On: "maya", Scope: work("bot", 1).Scope},
		"no identity \"zoe\"": {Identity: "zoe", On: "maya", Purpose: "p", Scope: work("bot", 1).Scope},
	} {
		w.fails(says, func(c *registry.Change) error { _, err := c.AskTask(in); return err })
	}
	w.parent(1, 1)
	childs := onMaya("By a child")
	childs.Identity = w.child("bot", registry.Spawn{})
	w.fails("which is to ask", func(c *registry.Change) error { _, err := c.AskTask(childs); return err })
	w.set(k.AnswerBy)
	var no *registry.Refusal
	if err := w.says(maya, registry.Consent{Task: k.ID, Yes: true}); !errors.As(err, &no) { // her session is over, too
		t.Error(err)
	}
	if err := w.says(w.session("maya"), registry.Consent{Task: k.ID, Yes: true}); err == nil || !strings.Contains(err.Error(), "does not wait") {
		t.Error(err)
	}
	if _, err := w.Expire(t.Context()); err != nil || w.task(k.ID).State != policy.TaskClosed {
		t.Error(err, w.task(k.ID).State)
	}
	if e := w.events("task.close"); len(e) != 20 || e[0].Reason != "maya did not answer in time." {
		t.Errorf("%d %+v", len(e), e[0])
	}
	w.asks("There is room again")
}

// TestConsentMeanwhile: what is said counts only for those who asked and were asked, as they were.
func TestConsentMeanwhile(t *testing.T) {
	for name, meanwhile := range map[string]func(*registry.Change) error{
		"the person was stopped": func(c *registry.Change) error { _, err := c.Kill(registry.Aim{Owner: "maya"}, "tests"); return err },
		"the agent was killed":   func(c *registry.Change) error { _, err := c.Kill(registry.Aim{Identity: "bot"}, "tests"); return err },
		"it was killed and is back": func(c *registry.Change) error {
			_, err := c.Kill(registry.Aim{Identity: "bot"}, "tests")
			if err == nil {
				_, err = c.Restore(registry.Aim{Identity: "bot"}, "tests")
			}
			return err
		},
		"the agent is retired": func(c *registry.Change) error {
			_, err := c.Transition("bot", identity.Retired, "retire", "", registry.End{})
			return err
		},
		"an operator closed it": func(c *registry.Change) error {
			list, err := c.TasksFor("maya", policy.TaskWaiting, 1)
			if err == nil {
				err = c.CloseTask(list[0].ID, "")
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t)
			k := w.asks("Read her mail")
			w.do(meanwhile)
			var conflict *registry.Conflict
			if err := w.says(w.session("maya"), registry.Consent{Task: k.ID, Yes: true}); !errors.As(err, &conflict) || w.task(k.ID).State == policy.TaskOpen {
				t.Error(err, w.task(k.ID).State)
			}
		})
	}
	w := open(t)
	k, session := w.asks("Read her mail"), w.session("maya")
	w.do(func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "ben", State: identity.OwnerGone})
		return err
	})
	var no *registry.Refusal
	if err := w.says(session, registry.Consent{Task: k.ID, Yes: true}); !errors.As(err, &no) || w.task(k.ID).State != policy.TaskClosed {
		t.Errorf("who has left says yes: %v", err)
	}
	w.do(func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "ben"})
		return err
	})
	if err := w.says(w.session("maya"), registry.Consent{Task: k.ID, Yes: true}); err == nil {
		t.Error("what waited when she left waits when she is back")
	}
}

// TestTaskAgreedTo: what a person agreed to is over when all that was done in that name is stopped.
func TestTaskAgreedTo(t *testing.T) {
	w := open(t)
	k := w.asks("Read her mail")
	chain := k.Asked
	if err := k.For(chain); err != nil {
		t.Error(err)
	}
	later := identity.Chain{chain[0], {ID: chain[1].ID, Generation: chain[1].Generation + 1}}
	if err := k.For(later); err == nil || !strings.Contains(err.Error(), "before all that was done in that name was stopped") {
		t.Error(err)
	}
}
