package layer

import "strings"

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
var beginnings, some = func() (map[uint16][]beginning, *[1 << 9]uint64) {
	of, set := map[uint16][]beginning{}, new([1 << 9]uint64)
	add := func(word string, form int) {
		k := uint16(0)
		for i := range 3 {
			k = three(k, word[i])
		}
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

// three is the last three letters of ASCII, whatever their case; others may fall together with them.
func three(before uint16, c byte) uint16 { return (before<<5 | uint16(c&31)) & (1<<15 - 1) }

// scan looks at the first line of s.
func scan(s string) (l scanned) {
	last := uint16(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c-'0' <= 9 {
			l.digits++
		}
		last = three(last, c)
		if some[last>>6]>>(last&63)&1 != 0 && i >= 2 {
			for _, b := range beginnings[last] {
				if n := i - 2 + len(b.word); n <= len(s) && strings.EqualFold(s[i-2:n], b.word) {
					l.has |= 1 << b.form
				}
			}
		}
		if c == '\n' {
			l.size = i + 1
			return l
		}
	}
	l.size = len(s)
	return l
}

// ascii reports whether s has letters of ASCII alone, and of those that are not seen only blanks, tabs and ends of lines.
func ascii(s string) bool {
	const each = 0x0101010101010101
	i := 0
	for ; i+8 <= len(s); i += 8 { // eight at once: below a blank, or DEL and above
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 | uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
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
