package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/notify"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// telling has people told through doors until the test ends.
func (p *plane) telling(doors ...notify.Door) {
	p.Notify = doors
	ctx, stop := context.WithCancel(p.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.notify(ctx) }()
	p.Cleanup(func() { stop(); <-done })
}

// note puts into the outbox n times that an approval is to be told through a door.
func (p *plane) note(door, approval string, n int) {
	p.Helper()
	_, err := p.Store.Write(p.Context(), func(tx *store.Tx) (err error) {
		tx.Record(event(p.T, "gw"))
		for i := range n {
			err = errors.Join(err, tx.PutNote(store.Note{ID: fmt.Sprintf("note_%s_%d", door, i), Door: door, Approval: approval, Made: p.Now()}))
		}
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
}

// TestBrokenDoor: what cannot be told through one door keeps nothing from another.
func TestBrokenDoor(t *testing.T) {
	p := start(t)
	a := p.put(p.asks("maya", 0)("x"))
	p.note("webhook", a.ID, maxNotes)
	p.ahead.Add(int64(time.Second))
	p.note("mail", a.ID, 1)
	told := make(chan notify.Message, 1)
	p.telling(notify.Door{Name: "webhook", Send: func(context.Context, notify.Message) error { return errors.New("broken") }},
		notify.Door{Name: "mail", Send: func(_ context.Context, m notify.Message) error { told <- m; return nil }})
	select {
	case m := <-told:
		if m.ID != "note_mail_0" || m.Approval != a.ID {
			t.Errorf("%+v", m)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody was mailed")
	}
}

// TestToldWhoIsHere: who has left since people were asked is told of nothing that goes on.
func TestToldWhoIsHere(t *testing.T) {
	p := start(t)
	p.settle()
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Ode","email":"ben@example.com"}`)
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Ode","email":"ben@example.com","gone":true}`)
	var m notify.Message
	err := p.Store.Read(t.Context(), func(tx *store.Tx) error { return addressed(tx, &m, "ben", "maya", "nobody") })
	if err != nil || len(m.To) != 1 || m.To[0].ID != "maya" {
		t.Errorf("%v %+v", err, m.To)
	}
}

// TestNotedElsewhere: what another control node noted is told soon, though nothing rings here.
func TestNotedElsewhere(t *testing.T) {
	t.Parallel()
	p := start(t)
	if !p.Store.Shared() {
		t.Skip("not run: the store is for one node; test/pg has one for several")
	}
	a := p.put(p.asks("maya", 0)("x"))
	told := make(chan notify.Message, 10)
	p.note("mail", a.ID, 1)
	p.telling(notify.Door{Name: "mail", Send: func(_ context.Context, m notify.Message) error { told <- m; return nil }})
	<-told // it leads, and has told what was there
	other, err := store.Open(t.Context(), p.Store.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write(t.Context(), func(tx *store.Tx) error {
		tx.Record(event(t, "gw"))
		return tx.PutNote(store.Note{ID: "note_elsewhere", Door: "mail", Approval: a.ID, Made: p.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-told:
		if m.ID != "note_elsewhere" {
			t.Errorf("%+v", m)
		}
	case <-time.After(30 * time.Second):
		t.Error("nobody was told")
	}
}

// TestToldTooLate: what is not told any more is on record as what it is.
func TestToldTooLate(t *testing.T) {
	p := start(t)
	a := p.put(p.asks("maya", 0)("x"))
	p.note("mail", a.ID, 1)
	p.ahead.Add(int64(a.Expires.Sub(p.Now())))
	p.telling(notify.Door{Name: "mail", Send: func(context.Context, notify.Message) error { t.Error("told"); return nil }})
	eventually(t, "it is on record", func() bool { return p.last().Type == "approval.notify" })
	if e := p.last(); !strings.HasPrefix(e.Reason, "It was decided, or had ended, before") {
		t.Errorf("%+v", e)
	}
}
