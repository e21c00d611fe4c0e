package feed

import (
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Holds reports whether there is something to ask for on an upstream: whether each
// identity of a chain has a grant there that is in force, or what the next link has. It
// says nothing about any one call.
func (v *View) Holds(c identity.Chain, upstream string, now time.Time) bool {
	st := v.now.Load()
	for i, l := range c {
		if l.ID.Kind() == identity.Person { // consent is looked at with each call
			continue
		}
		s, ok := st.subject(l.ID)
		if !ok {
			return false
		}
		follows := i+1 < len(c) && c[i+1].ID == s.Identity.Parent.ID
		if !(s.Identity.Inherits && follows) && !s.holds(upstream, now) {
			return false
		}
	}
	return len(c) > 0
}

func (s *Subject) holds(upstream string, now time.Time) bool {
	for i := range s.Grants {
		if s.Grants[i].Upstream == upstream && !s.Grants[i].Ended(now) {
			return true
		}
	}
	return false
}

// forget drops an identity that ended and that the control plane keeps no more. A
// token of its would be of one that is unknown.
func (st *state) forget(id identity.ID) (*Stop, error) {
	old, known := st.subjects.get(id)
	if !known {
		return nil, nil
	}
	st.dropPrints(st.credentials(old.parts(), id))
	st.subjects.drop(id)
	old.pack()
	return &Stop{Identities: []identity.ID{id}}, nil
}
