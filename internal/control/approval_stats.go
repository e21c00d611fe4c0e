package control

import (
	"cmp"
	"slices"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// hasty is how fast a yes is too fast to have been read.
const hasty = 3 * time.Second

// maxStats is how many questions are looked at.
const maxStats = 50_000

// approvalStats counts what people were asked since then, and how they answered.
func approvalStats(tx *store.Tx, since time.Time) (ApprovalStats, error) {
	list, err := tx.Approvals("", since, maxStats)
	out := ApprovalStats{Since: since.UTC(), Asked: len(list), Approvers: []ApproverStats{}}
	of := map[identity.OwnerID]*ApproverStats{}
	took := map[identity.OwnerID][]time.Duration{}
	get := func(by identity.OwnerID) *ApproverStats {
		if of[by] == nil {
			of[by] = &ApproverStats{By: string(by)}
		}
		return of[by]
	}
	for _, a := range list {
		for _, by := range a.Asks {
			get(by).Asked++
			if a.State == feed.Expired && len(a.Decisions) == 0 {
				get(by).Expired++
			}
		}
		for _, v := range a.Decisions {
			s := get(v.By)
			took[v.By] = append(took[v.By], v.At.Sub(a.Asked))
			if !v.Yes {
				s.Denied++
				continue
			}
			s.Approved++
			if v.Looked > 0 && v.Looked < hasty {
				s.Hasty++
			}
		}
	}
	for by, s := range of {
		if all := took[by]; len(all) > 0 {
			slices.Sort(all)
			s.Median, s.Fastest = all[len(all)/2].Round(time.Millisecond).String(), all[0].Round(time.Millisecond).String()
		}
		out.Approvers = append(out.Approvers, *s)
	}
	slices.SortFunc(out.Approvers, func(a, b ApproverStats) int { return cmp.Compare(a.By, b.By) })
	return out, err
}
