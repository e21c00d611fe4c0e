package control

import (
	"context"
	"errors"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Home is GET /v1/home: what needs somebody, of what the caller sees.
type Home struct {
	Approvals int       `json:"approvals" doc:"Questions that wait for an answer; for a person who is asked: for theirs"`
	Tasks     int       `json:"tasks" doc:"Tasks in the caller's name that wait for their yes"`
	Expiring  int       `json:"expiring" doc:"Identities that end within 14 days"`
	Ownerless int       `json:"ownerless" doc:"Identities that nobody who is there answers for"`
	Unused    int       `json:"unused" doc:"Active identities that were not used for 30 days"`
	Odd       int       `json:"odd" doc:"Identities that were refused ten times or more in the last 24 hours, and every fourth time at least"`
	Today     Today     `json:"today" doc:"What identities did in the last 24 hours"`
	Since     time.Time `json:"since" doc:"When those 24 hours begin: an hour that is begun counts as one"`
	Down      int       `json:"upstreams_down" doc:"Upstreams that are cut off, or of whose last three requests nothing came"`
}

func (p *Plane) homeRoutes(api door) {
	handleList(api, "GET", "/home", "get-home", "system", "What needs somebody now, and what happened in the last day", func(ctx context.Context, in *none) (Home, error) {
		return read(ctx, p, func(tx *store.Tx) (h Home, err error) {
			h.Today = p.tally.today(p.Now(), in.only)
			h.Since = tallied(p.Now())
			for needs, n := range map[string]*int{"expiring": &h.Expiring, "ownerless": &h.Ownerless, "unused": &h.Unused, "odd": &h.Odd} {
				l, e := p.listing(tx, &IdentityWhere{Needs: needs}, in.only)
				if e == nil {
					*n, e = tx.Count(l, mostCounted)
				}
				err = errors.Join(err, e)
			}
			ups, e := in.upstreams(tx)
			for _, u := range ups {
				if p.down(u) {
					h.Down++
				}
			}
			waiting, e2 := tx.Approvals(feed.Waiting, time.Time{}, shown)
			for _, a := range waiting {
				if !tx.Now().Before(a.Expires) {
					continue
				}
				mine, e := waitsFor(tx, in.visitor, a)
				if err = errors.Join(err, e); mine {
					h.Approvals++
				}
			}
			if v := in.visitor; v != nil && v.Owner != "" {
				tasks, e := tx.TasksFor(v.Owner, "waiting", shown)
				h.Tasks, err = len(tasks), errors.Join(err, e)
			}
			return h, errors.Join(err, e, e2)
		})
	})
}

// down reports whether nothing comes of an upstream.
func (p *Plane) down(u policy.Upstream) bool { return u.Killed || p.tally.down(u.Name) }

// waitsFor reports whether a question is for a person to look at: theirs to answer, or, for who answers nothing, any that they see.
func waitsFor(tx *store.Tx, v *registry.Visitor, a store.Approval) (bool, error) {
	if v == nil || operates(v) || reachOf(v, "approve") == toNothing {
		return true, nil
	}
	mine, err := registry.MayAnswer(tx, a, v.Owner)
	return len(mine) > 0 && !answered(a, v.Owner), err
}
