package feed

import (
	"hash/maphash"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// prints says whose a credential of a thumbprint may be: by 64 bits of a hash, since the thumbprints themselves
// are with the identities. Those few that share their bits with another are held as they are.
type prints struct {
	seed  maphash.Seed
	of    *table[uint64, identity.ID]
	twice *table[string, identity.ID]
}

func newPrints() prints {
	return prints{maphash.MakeSeed(), newTable[uint64, identity.ID](), newTable[string, identity.ID]()}
}

func (p *prints) hash(thumbprint string) uint64 { return maphash.String(p.seed, thumbprint) }

// get is who may have it: at most two.
func (p *prints) get(thumbprint string) (list []identity.ID) {
	if id, ok := p.of.get(p.hash(thumbprint)); ok {
		list = append(list, id)
	}
	if id, ok := p.twice.get(thumbprint); ok {
		list = append(list, id)
	}
	return list
}

// put says that it is of that identity, and of no other.
func (p *prints) put(thumbprint string, id identity.ID) {
	h := p.hash(thumbprint)
	if other, ok := p.of.get(h); ok && other != id {
		p.twice.put(thumbprint, id)
		return
	}
	p.of.put(h, id)
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
	return ok && of == id
}
