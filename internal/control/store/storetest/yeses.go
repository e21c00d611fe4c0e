package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// yeses: of each person there is what they said yes to and what is not over, also in a store of before that was kept.
func yeses(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	put := func(id string, state feed.ApprovalState, grant string, by ...store.Verdict) error {
		_, err := db.Write(t.Context(), func(tx *store.Tx) error {
			tx.Record(Event("test.put"))
			return tx.PutApproval(store.Approval{Approval: feed.Approval{ID: id, Hash: id, Identity: bot, State: state, Expires: Epoch.Add(time.Hour)}, Asked: Epoch, Grant: grant, Decisions: by})
		})
		return err
	}
	maya, ben, bens := store.Verdict{By: "maya", Yes: true}, store.Verdict{By: "ben", Yes: true}, store.Verdict{By: "ben"}
	k.must(errors.Join(put("a1", feed.Waiting, "", maya), put("a2", feed.Approved, "", ben, maya, maya), put("a3", feed.Used, "", maya), put("a4", feed.Used, grant.ID, maya, ben),
		put("a5", feed.Standing, "", maya), put("a5", feed.Denied, "", maya, bens), put("a6", feed.Used, "bot/gone", ben)))
	check := func(want string) {
		t.Helper()
		got := ""
		k.read(db, func(tx *store.Tx) error {
			for _, by := range []identity.OwnerID{"maya", "ben", "kim"} {
				list, err := tx.Yeses(by)
				if err != nil {
					return err
				}
				for _, a := range list {
					got += fmt.Sprint(by, " ", a.ID, " ", a.State, " ", a.Grant, "; ")
				}
			}
			return nil
		})
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	const all = "maya a1 waiting ; maya a2 approved ; maya a4 used bot/read; ben a2 approved ; ben a4 used bot/read; ben a6 used bot/gone; "
	check(all)
	for _, statement := range withoutPeople {
		k.must(db.UnsafeExec(statement))
	}
	k.must(errors.Join(db.UnsafeExec("ALTER TABLE acks DROP COLUMN turn"), db.UnsafeExec("DROP TABLE former_owners"), db.UnsafeExec("DROP TABLE yeses")))
	k.must(db.UnsafeExec("DELETE FROM schema_version WHERE version >= 11"))
	k.must(db.Close())
	db = k.open()
	check(all)
	k.write(db, func(tx *store.Tx) error { return tx.ForgetApprovals(Epoch.Add(time.Hour)) })
	k.read(db, func(tx *store.Tx) error {
		list, err := tx.Approvals("", time.Time{}, 10)
		if len(list) != 4 { // neither used without a grant, nor with one that is gone
			t.Errorf("kept: %+v", list)
		}
		return err
	})
	check("maya a1 waiting ; maya a2 approved ; maya a4 used bot/read; ben a2 approved ; ben a4 used bot/read; ")
}
