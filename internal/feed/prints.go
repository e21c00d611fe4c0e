package feed

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// What is held of a million identities is found by 64 bits of a hash, so that the maps hold few pointers: at each collection
// all of them are followed. Who shares its bits with another is held by all it is.

// subjects is what is held of each identity. The ID itself is in what is held.
type subjects struct {
	seed   maphash.Seed
	of     *table[uint64, *held]
	twice  *table[identity.ID, *held]
	shared atomic.Bool // there may be some in twice
}

// place is where an identity is held, or would be.
type place struct {
	bits   uint64 // of its hash
	shared bool   // with another
}

func newSubjects() *subjects {
	return &subjects{seed: maphash.MakeSeed(), of: newTable[uint64, *held](), twice: newTable[identity.ID, *held]()}
}

// find returns what is held of an identity, nil for nothing, and where.
func (s *subjects) find(id identity.ID) (*held, place) {
	bits := maphash.String(s.seed, id.String())
	h, ok := s.of.get(bits)
	if ok && h.is(id) {
		return h, place{bits, false}
	}
	if s.shared.Load() {
		if h, ok := s.twice.get(id); ok {
			return h, place{bits, true}
		}
	}
	return nil, place{bits, ok}
}

func (s *subjects) get(id identity.ID) (*held, bool) {
	h, _ := s.find(id)
	return h, h != nil
}

func (s *subjects) put(at place, id identity.ID, h *held) {
	if !at.shared {
		s.of.put(at.bits, h)
		return
	}
	s.shared.Store(true)
	s.twice.put(id, h)
}

func (s *subjects) drop(id identity.ID) {
	if _, at := s.find(id); at.shared {
		s.twice.drop(id)
	} else {
		s.of.drop(at.bits)
	}
}

func (s *subjects) each(f func(*held)) {
	s.of.each(func(_ uint64, h *held) { f(h) })
	s.twice.each(func(_ identity.ID, h *held) { f(h) })
}

func (s *subjects) len() int { return s.of.len() + s.twice.len() }

// prints says whose a credential of a thumbprint may be: the thumbprints themselves are with the identities.
type prints struct {
	seed     maphash.Seed
	subjects *subjects
	of       *table[uint64, uint64] // hash → hash of the identity
	twice    *table[string, identity.ID]
	shared   *atomic.Bool // there may be some in twice
}

func newPrints(s *subjects) prints {
	return prints{maphash.MakeSeed(), s, newTable[uint64, uint64](), newTable[string, identity.ID](), new(atomic.Bool)}
}

func (p *prints) hash(thumbprint string) uint64 { return maphash.String(p.seed, thumbprint) }

// get is who may have it: at most two.
func (p *prints) get(thumbprint string) (list []*held) {
	if bits, ok := p.of.get(p.hash(thumbprint)); ok {
		if h, ok := p.subjects.of.get(bits); ok {
			list = append(list, h)
		}
	}
	if id, ok := p.twice.get(thumbprint); ok {
		if h, ok := p.subjects.get(id); ok {
			list = append(list, h)
		}
	}
	return list
}

// claim says that it is of the identity of that place, if it cannot be anybody's yet, and reports whether that was so.
func (p *prints) claim(thumbprint string, at place) bool {
	return !at.shared && !p.shared.Load() && p.of.claim(p.hash(thumbprint), at.bits)
}

// put says that it is of that identity, and of no other.
func (p *prints) put(thumbprint string, at place, id identity.ID) {
	h := p.hash(thumbprint)
	if other, ok := p.of.get(h); ok && other != at.bits || at.shared {
		p.shared.Store(true)
		p.twice.put(thumbprint, id)
		return
	}
	p.of.put(h, at.bits)
}

func (p *prints) drop(thumbprint string, id identity.ID) {
	if _, ok := p.twice.get(thumbprint); ok {
		p.twice.drop(thumbprint)
		return
	}
	h := p.hash(thumbprint)
	_, at := p.subjects.find(id)
	if bits, ok := p.of.get(h); ok && bits == at.bits {
		p.of.drop(h)
	}
}
