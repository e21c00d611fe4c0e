package office

import (
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

// plainText reports whether s stands in JSON as it is: blanks and letters of ASCII without quotes and backslashes.
func plainText(s string) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 { // eight at once
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 | uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := w^('"'*each), w^('\\'*each)
		if (w|(w-0x20*each)|(quote-each)&^quote|(slash-each)&^slash)&high != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
