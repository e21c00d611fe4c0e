package feed

import (
	"hash/maphash"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// What is held of a million identities is found by 64 bits of a hash, so that the maps hold few pointers: at each collection
// all of them are followed. Who shares its bits with another is held by all it is.

// subjects is what is held of each identity. The ID itself is in what is held.
type subjects struct {
	seed  maphash.Seed
	of    *table[uint64, *held]
	twice *table[identity.ID, *held]
}

func newSubjects() *subjects {
	return &subjects{maphash.MakeSeed(), newTable[uint64, *held](), newTable[identity.ID, *held]()}
}

func (s *subjects) hash(id identity.ID) uint64 { return maphash.String(s.seed, id.String()) }

func (s *subjects) get(id identity.ID) (*held, bool) {
	if h, ok := s.of.get(s.hash(id)); ok && h.is(id) {
		return h, true
	}
	return s.twice.get(id)
}

// shares reports whether the bits of an identity's hash are another's.
func (s *subjects) shares(id identity.ID) bool {
	if h, ok := s.of.get(s.hash(id)); ok && !h.is(id) {
		return true
	}
	_, ok := s.twice.get(id)
	return ok
}

func (s *subjects) put(id identity.ID, h *held) {
	if s.shares(id) {
		s.twice.put(id, h)
	} else {
		s.of.put(s.hash(id), h)
	}
}

func (s *subjects) drop(id identity.ID) {
	if s.shares(id) {
		s.twice.drop(id)
	} else {
		s.of.drop(s.hash(id))
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
}

func newPrints(s *subjects) prints {
	return prints{maphash.MakeSeed(), s, newTable[uint64, uint64](), newTable[string, identity.ID]()}
}

func (p *prints) hash(thumbprint string) uint64 { return maphash.String(p.seed, thumbprint) }

// get is who may have it: at most two.
func (p *prints) get(thumbprint string) (list []*held) {
	if is, ok := p.of.get(p.hash(thumbprint)); ok {
		if h, ok := p.subjects.of.get(is); ok {
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

// put says that it is of that identity, and of no other.
func (p *prints) put(thumbprint string, id identity.ID) {
	h, is := p.hash(thumbprint), p.subjects.hash(id)
	if other, ok := p.of.get(h); ok && other != is || p.subjects.shares(id) {
		p.twice.put(thumbprint, id)
		return
	}
	p.of.put(h, is)
}

func (p *prints) drop(thumbprint string, id identity.ID) {
	if _, ok := p.twice.get(thumbprint); ok {
		p.twice.drop(thumbprint)
		return
	}
	if h := p.hash(thumbprint); p.is(h, id) {
		p.of.drop(h)
	}
}

func (p *prints) is(h uint64, id identity.ID) bool {
	of, ok := p.of.get(h)
	return ok && of == p.subjects.hash(id)
}
