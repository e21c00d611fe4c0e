package layer

import (
	"math/bits"
	"strings"
)

// scanned is what is known of a line of text after one look at each of its letters.
type scanned struct {
	size   int    // with its end
	digits int    // of ASCII
	has    uint16 // forms of which a word is there, by their number in secretForms; aLink
}

// aLink is the bit of what a link begins with.
const aLink = 15

// beginning is a word that is looked for, and the form that it may be of.
type beginning struct {
	word string // in small letters, three at least
	form int
}

// beginnings are the words, by their first three letters; some is the set of those, for one question a letter.
var beginnings, some = func() (map[uint64][]beginning, *[1 << 9]uint64) {
	of, set := map[uint64][]beginning{}, new([1 << 9]uint64)
	add := func(word string, form int) {
		k := three(word)
		of[k] = append(of[k], beginning{word, form})
		set[k>>6] |= 1 << (k & 63)
	}
	for i, f := range secretForms {
		for _, w := range f.words {
			add(w, i)
		}
	}
	for _, w := range []string{"://", "www.", "mailto:", "tel:"} {
		add(w, aLink)
	}
	return of, set
}()

// three is the first three letters of ASCII, five bits each, whatever their case; others may fall together with them.
func three(s string) uint64 { return uint64(s[0]&31) | uint64(s[1]&31)<<5 | uint64(s[2]&31)<<10 }

// scan looks at the first line of s.
func scan(s string) (l scanned) {
	if l.size = strings.IndexByte(s, '\n') + 1; l.size == 0 {
		l.size = len(s)
	}
	s = s[:l.size]
	const each, few = 0x0101010101010101, 1<<15 - 1
	i := 0
	for ; i+10 <= len(s); i += 8 { // eight at once
		w := eight(s[i:])
		t := w ^ '0'*each // of digits, what they count
		l.digits += bits.OnesCount64(^((t&(0x7f*each) + (0x80-10)*each) | t) & (0x80 * each))
		w &= 31 * each // five bits of each, moved together, and those of the two letters that follow
		w = w&0x001f001f001f001f | w>>3&0x03e003e003e003e0
		w = w&0x000003ff000003ff | w>>6&0x000ffc00000ffc00
		w = w&0xfffff | w>>12&0xfffff00000 | uint64(s[i+8]&31)<<40 | uint64(s[i+9]&31)<<45
		if (has(w&few)|has(w>>5&few)|has(w>>10&few)|has(w>>15&few)|has(w>>20&few)|has(w>>25&few)|has(w>>30&few)|has(w>>35&few))&1 != 0 {
			for n := i; n < i+8; n++ {
				l.begins(s[n:])
			}
		}
	}
	for ; i < len(s); i++ {
		if digit(s[i]) {
			l.digits++
		}
		l.begins(s[i:])
	}
	return l
}

// has is whether a word begins with these three letters, in its lowest bit.
func has(k uint64) uint64 { return some[k>>6] >> (k & 63) }

// begins notes the forms of the words that s begins with.
func (l *scanned) begins(s string) {
	if len(s) < 3 || has(three(s))&1 == 0 {
		return
	}
	for _, b := range beginnings[three(s)] {
		if n := len(b.word); n <= len(s) && strings.EqualFold(s[:n], b.word) {
			l.has |= 1 << b.form
		}
	}
}

// eight are the first eight letters of s, the first of them lowest.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// ascii reports whether s has letters of ASCII alone, and of those that are not seen only blanks, tabs and ends of lines.
func ascii(s string) bool {
	const each = 0x0101010101010101
	i := 0
	for ; i+8 <= len(s); i += 8 { // eight at once: below a blank, or DEL and above
		w := eight(s[i:])
		if (w|(w-0x20*each)|(w+each))&(0x80*each) != 0 && !seen(s[i:i+8]) {
			return false
		}
	}
	return seen(s[i:])
}

func seen(s string) bool {
	for i := range len(s) {
		if c := s[i]; c-0x20 >= 0x5f && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
