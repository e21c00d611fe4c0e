package feed

import (
	"sync"
	"sync/atomic"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Subject is one identity with all that decides about it. It never changes: a
// change makes another, so two of the same pointer are the same in every respect
// but the guardrails. Its slices belong to the view. The Cedar of its grants is
// what they have in common with others ([policy.Grant.Common]).
type Subject struct {
	Identity    identity.Identity
	Credentials []identity.Credential
	Grants      []policy.Grant

	of   *state
	is   *identity.Owner // a person
	memo atomic.Pointer[memo]
	used atomic.Bool // since the hand last came by
}

// memo is a compiled set, and the guardrails it was compiled with.
type memo struct {
	set   *policy.Set
	rails *policy.Guardrails
}

// Owner is the accountable owner as known now; the zero Owner if there is none.
func (s *Subject) Owner() identity.Owner {
	if o, ok := s.of.owners.get(s.Identity.Owner); ok {
		return *o
	}
	return identity.Owner{}
}

// Credential returns the credential of that id, if it is this identity's.
func (s *Subject) Credential(id string) (identity.Credential, bool) {
	for i := range s.Credentials {
		if s.Credentials[i].ID == id {
			return s.Credentials[i], true
		}
	}
	return identity.Credential{}, false
}

// Set is what the identity may do, by its grants and the guardrails of now.
// It is compiled when first asked for. An error means: deny.
func (s *Subject) Set() (*policy.Set, error) {
	rails := s.of.rails.Load()
	if rails == nil {
		return nil, errNotSynced
	}
	if m := s.memo.Load(); m != nil && m.rails == rails {
		if !s.used.Load() {
			s.used.Store(true)
		}
		return m.set, nil
	}
	i := &s.Identity
	who := policy.Subject{ID: i.ID, Owner: i.Owner, Environment: i.Environment}
	if i.Inherits {
		who.Parent = i.Parent.ID
	}
	set, err := policy.NewSet(who, s.Grants, rails)
	if err != nil {
		return nil, err
	}
	s.memo.Store(&memo{set, rails})
	return set, nil
}

// unpacked bounds how many identities are unpacked, and their sets compiled, however many there
// are (a clock: who was used since the hand last came by stays for another round).
type unpacked struct {
	mu   sync.Mutex
	ring []*held
	hand int
}

func (c *unpacked) keep(h *held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 16 {
		old := c.ring[c.hand]
		if old == nil {
			break
		}
		if s := old.live.Load(); s == nil || !s.used.Swap(false) {
			break
		}
		c.hand = (c.hand + 1) % len(c.ring)
	}
	if old := c.ring[c.hand]; old != nil {
		old.pack()
	}
	c.ring[c.hand] = h
	c.hand = (c.hand + 1) % len(c.ring)
}

// pack has who asks next unpack it again.
func (h *held) pack() {
	if s := h.live.Swap(nil); s != nil {
		s.memo.Store(nil)
	}
}
