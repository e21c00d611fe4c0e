package feed

import (
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestApprovals: a view knows of each question how it stands now, by what it is about.
func TestApprovals(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	who := identity.MustID("spiffe://lanyard.local/agent/bot")
	ask := &policy.Asking{Of: []policy.Approve{{Policy: "p", Need: 1, Words: []string{"owner"}}}}
	approval := func(id string, state ApprovalState, key string) Change {
		return Change{Approval: &Approval{ID: id, Hash: "h", Identity: who, State: state, Expires: now.Add(time.Hour), Of: ask.Of, By: []identity.OwnerID{"maya"}, Key: key}}
	}
	v := NewView()
	apply := func(c Change) {
		t.Helper()
		if err := v.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	var stops []Stop
	v.OnStop(func(s Stop) { stops = append(stops, s) })
	maya := identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerActive}
	apply(Change{Owner: &maya})
	apply(Change{Synced: true})
	is := func(id string, state ApprovalState, keys ...string) {
		t.Helper()
		if a, ok := v.Approval(keys...); a.ID != id || a.State != state || ok != (id != "") {
			t.Errorf("%v: %s %s %v, want %s %s", keys, a.ID, a.State, ok, id, state)
		}
	}
	bell := v.ApprovalChange()
	apply(approval("a", Waiting, ""))
	select {
	case <-bell:
	default:
		t.Error("nobody is told")
	}
	is("a", Waiting, "", "h")
	apply(approval("a", Approved, ""))
	is("a", Approved, "other", "h")
	apply(approval("b", Waiting, ""))
	apply(approval("a", Used, ""))
	is("b", Waiting, "h") // the end of one is not that of the next
	stops = nil
	apply(approval("b", Standing, "k"))
	is("", "", "h")
	is("b", Standing, "k")
	if len(stops) != 0 {
		t.Errorf("a yes stops %+v", stops)
	}
	apply(approval("c", Denied, ""))
	is("c", Denied, "h", "k")

	good := *approval("b", Standing, "k").Approval
	more := &policy.Asking{Of: append([]policy.Approve{{Policy: "q", Need: 1, Words: []string{"ben"}}}, ask.Of...)}
	late := good
	late.State = Denied
	operators := good
	operators.By = []identity.OwnerID{"operator:admin"}
	for name, c := range map[string]struct {
		a    Approval
		ask  *policy.Asking
		now  time.Time
		good bool
	}{
		"it is": {good, ask, now, true}, "an operator's": {operators, ask, now, true}, "late": {good, ask, now.Add(time.Hour), false}, "denied": {late, ask, now, false},
		"more is asked": {good, more, now, false}, "nothing is asked": {good, nil, now, false}, "none": {Approval{}, ask, now, false},
	} {
		if err := v.Good(c.a, c.ask, c.now); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	maya.State = identity.OwnerGone
	apply(Change{Owner: &maya})
	if v.Good(good, ask, now) == nil {
		t.Error("good, and who gave it has left")
	}
	stops = nil
	apply(approval("b", Expired, "k"))
	is("c", Denied, "k", "h")
	if len(stops) != 1 || len(stops[0].Identities) != 1 || stops[0].Identities[0] != who {
		t.Errorf("what stood has ended, and stops %+v", stops)
	}
	bell = v.ApprovalChange()
	v.Restart()
	apply(approval("d", Waiting, ""))
	is("c", Denied, "h") // as it was, until the snapshot is whole
	apply(Change{Synced: true})
	is("d", Waiting, "h")
	select {
	case <-bell:
	default:
		t.Error("who waits is not told of a new snapshot")
	}
	if v.Apply(Change{Approval: &Approval{ID: "x"}}) == nil || v.Live() == nil {
		t.Error("an approval of nobody's is taken")
	}
}
