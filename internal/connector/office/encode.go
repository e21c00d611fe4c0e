package office

import (
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Append writes v as JSON: without blanks, each text in the one way that it is written here, whatever way it was read in.
func (v *Value) Append(b []byte) []byte {
	switch v.kind {
	case '{', '[':
		b = append(b, v.kind)
		for one := v.first; one != nil; one = one.next {
			if v.kind == '{' {
				b = append(quote(b, one.name), ':')
			}
			if b = one.Append(b); one.next != nil {
				b = append(b, ',')
			}
		}
		return append(b, v.kind+2) // } and ] come two after { and [
	case '"':
		return quote(b, v.text)
	case 't':
		return append(b, "true"...)
	case 'f':
		return append(b, "false"...)
	case 'n':
		return append(b, "null"...)
	}
	return append(b, v.text...)
}

// quote appends a string.
func quote(b []byte, s string) []byte {
	if plainText(s) {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	b, _ = jsontext.AppendQuote(b, s) // what is no UTF-8 is written as such, whatever the error says
	return b
}

// plainText reports whether s stands in JSON as it is.
func plainText(s string) bool {
	return strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '\\') < 0 && !controls(s) && utf8.ValidString(s)
}

// controls reports whether there is a letter below a blank in s.
func controls(s string) bool {
	const each = 0x0101010101010101
	for len(s) >= 8 { // eight at once
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if (w-' '*each)&^w&(0x80*each) != 0 {
			return true
		}
		s = s[8:]
	}
	for i := range len(s) {
		if s[i] < ' ' {
			return true
		}
	}
	return false
}
