package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

const (
	soon        = 14 * 24 * time.Hour // an end that is nearer than that needs somebody
	idle        = 30 * 24 * time.Hour // what was not used for so long may be needed by nobody
	mostCounted = 100_000
	mostFound   = 1_000 // of a search
)

// IdentityWhere is which identities are meant, in a query and in a body. Members that are left out select all.
type IdentityWhere struct {
	Query       string `query:"q" json:"q,omitempty" doc:"Part of the name, the purpose or the owner; of one or two letters: how the name begins" maxLength:"256"`
	Owner       string `query:"owner" json:"owner,omitempty" maxLength:"64"`
	State       string `query:"state" json:"state,omitempty" enum:"pending,active,suspended,killed,expired,retired"`
	Kind        string `query:"kind" json:"kind,omitempty" enum:"agent,service,bot,api_key,oauth_client"`
	Environment string `query:"environment" json:"environment,omitempty" maxLength:"64"`
	Needs       string `query:"needs" json:"needs,omitempty" doc:"What somebody has to look after: expiring within 14 days, ownerless, unused for 30 days, or odd: refused ten times or more in the last 24 hours, and every fourth time at least" enum:"expiring,ownerless,unused,odd"`
}

type identityList struct {
	Caller
	IdentityWhere
	Name  string `query:"query" doc:"Part of the name; of one or two letters: how it begins" maxLength:"64"`
	Of    string `query:"parent" doc:"Started by this one: name, kind/name or SPIFFE ID" maxLength:"512"`
	Roots bool   `query:"roots" doc:"Only those that nobody started"`
	Sort  string `query:"sort" doc:"With - before it, downwards. Of a search by name, names that begin with it come first" default:"name" enum:"name,owner,state,expires,last_used,created,-name,-owner,-state,-expires,-last_used,-created"`
	After string `query:"after" doc:"Next of the page before" maxLength:"1024"`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

// listing is a query as the store takes it.
func (p *Plane) listing(tx *store.Tx, w *IdentityWhere, only []identity.OwnerID) (l store.Listing, err error) {
	l = store.Listing{Owner: identity.OwnerID(w.Owner), Owners: only, State: identity.State(w.State), Kind: identity.Kind(w.Kind), Environment: w.Environment, Query: w.Query, Sort: "name"}
	switch w.Needs {
	case "expiring":
		l.Expiring = tx.Now().Add(soon)
	case "unused":
		l.Unused = tx.Now().Add(-idle)
	case "ownerless":
		l.Ownerless = true
	case "odd":
		l.Among = p.tally.odd(p.Now())
	}
	if w.Query == "" && !l.Ownerless {
		return l, nil
	}
	owners, err := tx.Owners()
	for _, o := range owners {
		if w.Query != "" && strings.Contains(strings.ToLower(o.Name), strings.ToLower(w.Query)) {
			l.QueryOwners = append(l.QueryOwners, o.ID)
		}
		if o.State != identity.OwnerActive {
			l.Gone = append(l.Gone, o.ID)
		}
	}
	return l, err
}

// place is where a page ended, as it is told: sort, and what stood there.
type place struct {
	Sort string `json:"s"`
	Text string `json:"t,omitempty"`
	Time int64  `json:"n,omitempty"`
	Name string `json:"m"`
	In   bool   `json:"w,omitempty"`
}

func (in *identityList) after() (*store.Place, error) {
	b, err := base64.RawURLEncoding.DecodeString(in.After)
	var at place
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	if err != nil || at.Sort != in.Sort {
		return nil, invalid("after: this is not the next of a page before, with the same sort")
	}
	out := &store.Place{Key: at.Time, Name: at.Name, Within: at.In}
	switch strings.TrimPrefix(in.Sort, "-") {
	case "name", "owner", "state":
		out.Key = at.Text
	}
	return out, nil
}

func (in *identityList) next(p *store.Place) string {
	at := place{Sort: in.Sort, Name: p.Name, In: p.Within}
	switch key := p.Key.(type) {
	case string:
		at.Text = key
	case int64:
		at.Time = key
	}
	b, err := json.Marshal(at)
	if err != nil {
		panic(err) // it is ours
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (p *Plane) listingRoutes(api door) {
	handleList(api, "GET", "/identities", "list-identities", "identities", "Identities, searched and sorted", func(ctx context.Context, in *identityList) (Counted[IdentityView], error) {
		return read(ctx, p, func(tx *store.Tx) (out Counted[IdentityView], err error) {
			out.Page = page[IdentityView](nil)
			l, err := p.listing(tx, &in.IdentityWhere, in.only)
			if err != nil {
				return out, err
			}
			if in.Of != "" {
				parent, err := in.find(tx, in.Of)
				if err != nil {
					return out, err
				}
				l.Of = parent.ID
			}
			l.Name, l.Roots, l.Limit = in.Name, in.Roots, in.Limit
			name, down := strings.CutPrefix(in.Sort, "-")
			l.Sort, l.Down = store.Sort(name), down
			all := l
			if in.After != "" {
				if l.After, err = in.after(); err != nil {
					return out, err
				}
			}
			list, next, err := tx.Listed(l)
			if err != nil {
				return out, err
			}
			most := mostCounted
			if l.Query != "" || l.Name != "" {
				most = mostFound
			}
			if out.Total = len(list); next != nil || in.After != "" {
				if out.Total, err = tx.Count(all, most+1); err != nil {
					return out, err
				}
			}
			if out.Total > most {
				out.Total, out.More = most, true
			}
			views, err := p.identityViews(tx, &in.Caller, list...)
			out.Page = page(views)
			if next != nil {
				out.Next = in.next(next)
			}
			return out, err
		})
	})
}
