package feed

import (
	"hash/maphash"
	"maps"
	"sync"
)

// table is a map in shards, so that readers of one key rarely meet a writer of another.
type table[K comparable, V any] struct {
	seed   maphash.Seed
	shards [256]struct {
		sync.RWMutex
		m map[K]V
		_ [32]byte // a cache line of its own
	}
}

func newTable[K comparable, V any]() *table[K, V] {
	return &table[K, V]{seed: maphash.MakeSeed()}
}

func (t *table[K, V]) get(k K) (V, bool) {
	s := &t.shards[maphash.Comparable(t.seed, k)%256]
	s.RLock()
	v, ok := s.m[k]
	s.RUnlock()
	return v, ok
}

func (t *table[K, V]) put(k K, v V) {
	s := &t.shards[maphash.Comparable(t.seed, k)%256]
	s.Lock()
	defer s.Unlock()
	if s.m == nil {
		s.m = map[K]V{}
	}
	s.m[k] = v
}

// claim puts v where there is nothing, and reports whether that was so.
func (t *table[K, V]) claim(k K, v V) bool {
	s := &t.shards[maphash.Comparable(t.seed, k)%256]
	s.Lock()
	defer s.Unlock()
	if _, taken := s.m[k]; taken {
		return false
	}
	if s.m == nil {
		s.m = map[K]V{}
	}
	s.m[k] = v
	return true
}

func (t *table[K, V]) drop(k K) {
	s := &t.shards[maphash.Comparable(t.seed, k)%256]
	s.Lock()
	defer s.Unlock()
	delete(s.m, k)
}

// find is some value for which is holds. It looks at all of them.
func (t *table[K, V]) find(is func(V) bool) (v V, ok bool) {
	for i := range t.shards {
		s := &t.shards[i]
		s.RLock()
		for _, v = range s.m {
			if is(v) {
				s.RUnlock()
				return v, true
			}
		}
		s.RUnlock()
	}
	var none V
	return none, false
}

// sweep removes what gone reports and returns how many stay.
func (t *table[K, V]) sweep(gone func(V) bool) (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		for k, v := range s.m {
			if gone(v) {
				delete(s.m, k)
			}
		}
		n += len(s.m)
		s.Unlock()
	}
	return n
}

// each calls f for what is there, in no order; what comes or goes meanwhile may be among it or not.
func (t *table[K, V]) each(f func(K, V)) {
	for i := range t.shards {
		s := &t.shards[i]
		s.RLock()
		m := maps.Clone(s.m)
		s.RUnlock()
		for k, v := range m {
			f(k, v)
		}
	}
}

// len is how many there are.
func (t *table[K, V]) len() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.RLock()
		n += len(s.m)
		s.RUnlock()
	}
	return n
}
