package ledger

import (
	"bytes"
	"hash/fnv"
	"strings"
	"time"
)

// Sieve is what a search has to know of some events to pass over them when it selects none: between which times they are,
// and, as a Bloom filter, what they name. It says "perhaps" of one in a hundred that it could say no of, and never no of one that is there.
type Sieve struct {
	First, Last time.Time // of all of them
	Own         time.Time // the last of those that no gateway sent, whose times are in order; zero: there is none
	Bits        []byte
}

// sieveHashes is how many bits stand for a value, sieveBits how many there are for each: one in a hundred is found that is not there.
const (
	sieveHashes = 7
	sieveBits   = 10
)

// NewSieve is the sieve of some events; the same ones have the same.
func NewSieve(events []Event) (s Sieve) {
	values := map[uint64]bool{}
	for i := range events {
		e := &events[i]
		if s.First.IsZero() || e.Time.Before(s.First) {
			s.First = e.Time
		}
		if e.Time.After(s.Last) {
			s.Last = e.Time
		}
		if e.Gateway == "" && e.Time.After(s.Own) {
			s.Own = e.Time
		}
		e.named(func(kind byte, value string) { values[sieved(kind, value)] = true })
	}
	s.Bits = make([]byte, max(8, (len(values)*sieveBits+7)/8))
	for h := range values {
		s.each(h, func(at uint64) bool { s.Bits[at/8] |= 1 << (at % 8); return true })
	}
	return s
}

// named tells what of an event a query asks for as a whole.
func (e *Event) named(tell func(kind byte, value string)) {
	tell('o', e.Owner)
	tell('u', e.Upstream)
	tell('c', e.Class)
	tell('r', string(e.Outcome))
	tell('t', e.Type)
	for i, c := range e.Type {
		if c == '.' {
			tell('t', e.Type[:i])
		}
	}
	tell('k', e.Detail["task"])
	tell('a', e.Action)
	tell('i', last(e.Actor))
	for _, id := range e.Chain {
		tell('i', last(id))
	}
	if !strings.HasPrefix(e.Type, "request") {
		tell('i', last(e.Resource))
	}
}

// last is the end of a name, behind the last slash: what has another is not named by it, nor by less of it.
func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// Sieves reports whether there is something in q that a sieve knows of.
func (q Query) Sieves() bool {
	return q.Of != nil || q.Owner+q.Upstream+q.Class+string(q.Outcome)+q.Type+q.Task+q.Identity != "" || q.Action != "" && !strings.HasSuffix(q.Action, "*") || !q.Since.IsZero() || !q.Until.IsZero()
}

// InText reports whether q may select the event of that leaf, as far as its text says: that is quicker than to parse it.
func (q Query) InText(leaf []byte) bool {
	for _, s := range []string{last(q.Identity), q.Owner, q.Upstream, q.Task, strings.TrimSuffix(q.Action, "*")} {
		if s != "" && plain(s) && !bytes.Contains(leaf, []byte(s)) {
			return false
		}
	}
	return q.Text == "" || bytes.Contains(bytes.ToLower(leaf), []byte(strings.ToLower(q.Text)))
}

// plain reports whether JSON has s as it is.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f || strings.ContainsRune(`"\\<>&`, c) })
}

// May reports whether q may select one of the events.
func (s Sieve) May(q Query) bool {
	if q.Outcome == Ended { // which is no event's own
		q.Outcome = ""
	}
	for _, is := range []struct {
		kind  byte
		value string
	}{{'o', q.Owner}, {'u', q.Upstream}, {'c', q.Class}, {'r', string(q.Outcome)}, {'t', q.Type}, {'k', q.Task}} {
		if is.value != "" && !s.has(is.kind, is.value) {
			return false
		}
	}
	switch {
	case q.Action != "" && !strings.HasSuffix(q.Action, "*") && !s.has('a', q.Action),
		q.Identity != "" && !s.has('i', last(q.Identity)),
		!q.Since.IsZero() && s.Last.Before(q.Since),
		!q.Until.IsZero() && !s.First.Before(q.Until):
		return false
	}
	for _, o := range q.Of {
		if s.has('o', o) || s.has('i', last("owner:"+o)) {
			return true
		}
	}
	return q.Of == nil
}

func (s Sieve) has(kind byte, value string) bool {
	return len(s.Bits) > 0 && s.each(sieved(kind, value), func(at uint64) bool { return s.Bits[at/8]>>(at%8)&1 == 1 })
}

// each goes through the bits of a value until f has enough, and reports whether it never had.
func (s Sieve) each(h uint64, f func(at uint64) bool) bool {
	// Two hashes make as many as one likes (Kirsch and Mitzenmacher, 2006).
	step := (h ^ h>>31) * 0xbf58476d1ce4e5b9
	step = step ^ step>>27 | 1
	for range sieveHashes {
		if !f(h % uint64(8*len(s.Bits))) {
			return false
		}
		h += step
	}
	return true
}

func sieved(kind byte, value string) uint64 {
	h := fnv.New64a()
	h.Write([]byte{kind})
	h.Write([]byte(value))
	return h.Sum64()
}
