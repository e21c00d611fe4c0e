package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// approvals: questions are found by what they are about for as long as something can come of
// them; what is shown of them lies sealed, and in no change; what is to be told is kept until it was.
func approvals(t *testing.T, k kit) {
	var clock Clock
	k.Now = clock.Now
	db := k.open()
	k.write(db, world)
	question := func(id, hash string, state feed.ApprovalState, life time.Duration) store.Approval {
		return store.Approval{Approval: feed.Approval{ID: id, Hash: hash, Identity: bot, State: state, Expires: Epoch.Add(life), By: []identity.OwnerID{"maya"}},
			Question: feed.Question{Hash: hash, Upstream: "mail", Shown: &feed.Shown{Body: "hush hush"}}, Asked: clock.Now(),
			Decisions: []store.Verdict{{By: "maya", At: Epoch, Yes: true, Scope: store.Once, Looked: time.Second}}}
	}
	first := question("appr_1", "h1", feed.Waiting, time.Hour)
	at := k.write(db, func(tx *store.Tx) error {
		return errors.Join(tx.PutApproval(first), tx.PutShown("appr_1", feed.Shown{Body: "hush hush"}), tx.PutApproval(question("appr_2", "h2", feed.Used, time.Hour)),
			tx.PutApproval(question("appr_3", "h3", feed.Denied, time.Minute)), tx.PutNote(store.Note{ID: "n1", Door: "webhook", Approval: "appr_1", Made: Epoch}))
	})
	k.read(db, func(tx *store.Tx) error {
		a, err := tx.Approval("appr_1")
		if a.State != feed.Waiting || a.Question.Shown != nil || len(a.Decisions) != 1 || a.Decisions[0] != first.Decisions[0] || !slices.Equal(a.By, first.By) {
			t.Errorf("%+v", a)
		}
		s, err2 := tx.Shown("appr_1")
		if s.Body != "hush hush" {
			t.Errorf("shown: %+v", s)
		}
		if _, err := tx.Shown("appr_2"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("shown of what has none: %v", err)
		}
		n, err3 := tx.CountWaiting(bot)
		notes, err4 := tx.Notes("", 10)
		if n != 1 || len(notes) != 1 || notes[0] != (store.Note{ID: "n1", Door: "webhook", Approval: "appr_1", Made: Epoch}) {
			t.Errorf("%d waiting, notes %v", n, notes)
		}
		for hash, want := range map[string]string{"h1": "appr_1", "h2": "", "h3": "appr_3", "h4": ""} {
			if a, err := tx.OpenApproval(hash); a.ID != want || (want == "") != errors.Is(err, store.ErrNotFound) {
				t.Errorf("open of %s: %q %v", hash, a.ID, err)
			}
		}
		all, err5 := tx.Approvals("", time.Time{}, 10)
		waiting, err6 := tx.Approvals(feed.Waiting, time.Time{}, 10)
		if len(all) != 3 || len(waiting) != 1 || all[0].ID != "appr_3" {
			t.Errorf("%d, waiting %d", len(all), len(waiting))
		}
		next, err7 := tx.NextApprovalEnd()
		if !next.Equal(Epoch.Add(time.Minute)) {
			t.Errorf("the next ends at %v", next)
		}
		return errors.Join(err, err2, err3, err4, err5, err6, err7)
	})
	if at.Seq == 0 {
		t.Error("no change")
	}
	clock.Pass(2 * time.Hour)
	k.read(db, func(tx *store.Tx) error {
		ended, err := tx.EndedApprovals(10)
		if len(ended) != 2 || ended[0].ID != "appr_3" || ended[1].ID != "appr_1" {
			t.Errorf("ended: %+v", ended)
		}
		if _, err := tx.OpenApproval("h1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("open after its end: %v", err)
		}
		return err
	})
	first.State = feed.Expired
	k.write(db, func(tx *store.Tx) error {
		return errors.Join(tx.PutApproval(first), tx.DeleteNote("n1"), tx.ForgetApprovals(clock.Now()))
	})
	k.read(db, func(tx *store.Tx) error {
		all, err := tx.Approvals("", time.Time{}, 10)
		notes, err2 := tx.Notes("", 10)
		if len(all) != 1 || all[0].ID != "appr_3" || len(notes) != 0 {
			t.Errorf("after forgetting: %+v, notes %v", all, notes)
		}
		if _, err := tx.Shown("appr_1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what was shown is still there: %v", err)
		}
		return errors.Join(err, err2)
	})
	if err := db.UnsafeExec("INSERT INTO secrets (name, sealed) VALUES ('approval/x', $1)", []byte{0}); err != nil {
		t.Fatal(err)
	}
	if err := db.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Shown("x"); return err }); err == nil {
		t.Error("what was not sealed here opens")
	}
}

// notes: what waits at one door does not stand before what waits at another.
func notes(t *testing.T, k kit) {
	db := k.open()
	k.write(db, func(tx *store.Tx) error {
		return errors.Join(tx.PutNote(store.Note{ID: "n3", Door: "webhook", Approval: "appr_1", Made: Epoch}), tx.PutNote(store.Note{ID: "n2", Door: "webhook", Approval: "appr_2", Made: Epoch.Add(time.Second)}),
			tx.PutNote(store.Note{ID: "n1", Door: "mail", Approval: "appr_1", Made: Epoch.Add(time.Minute)}))
	})
	k.read(db, func(tx *store.Tx) (err error) {
		for door, want := range map[string]string{"webhook": "n3 n2", "mail": "n1", "command": "", "": "n3 n2"} {
			list, e := tx.Notes(door, 2)
			got := make([]string, len(list))
			for i, n := range list {
				got[i] = n.ID
			}
			if err = errors.Join(err, e); strings.Join(got, " ") != want {
				t.Errorf("notes of %q: %v", door, got)
			}
		}
		return err
	})
}
