package connector

import (
	"strings"
	"unicode/utf8"
)

// path is a request's path, split, each segment decoded once.
type path struct {
	n       int
	segment [maxSegments]string
	colons  uint32 // segments that have an encoded colon
}

// parse refuses what two readers could split or decode differently. The gateway
// has done so already; a connector does not rely on it.
func (p *path) parse(s string) error {
	if s == "" || s[0] != '/' {
		return unrecognised("the path does not begin with a slash")
	}
	for s != "" {
		if p.n == maxSegments {
			return unrecognised("the path has more than %d segments", maxSegments)
		}
		s = s[1:]
		end := strings.IndexByte(s, '/')
		if end < 0 {
			end = len(s)
		}
		text, colon, err := decode(s[:end])
		if err != nil || end == 0 && end < len(s) {
			return unrecognised("segment %s of the path has more than one reading", shown(s[:end]))
		}
		p.segment[p.n] = text
		if colon {
			p.colons |= 1 << p.n
		}
		p.n, s = p.n+1, s[end:]
	}
	return nil
}

// decode undoes the percent-encoding of one segment, and says whether a colon
// was encoded. It takes RFC 3986 pchar without ";", which some split at; encoded
// octets that are no separator, no control, and not something that needs no
// encoding (section 6.2.2.2); and nothing that is encoded twice, not UTF-8, or a
// dot segment.
func decode(s string) (text string, colon bool, err error) {
	escaped := false
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			escaped = true
		} else if !pchar(s[i]) {
			return "", false, ErrUnrecognised
		}
	}
	if s == "." || s == ".." {
		return "", false, ErrUnrecognised
	}
	if !escaped {
		return s, false, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			var ok bool
			if c, ok = octet(s[i:]); !ok || c < 0x20 || c == 0x7f || c == '/' || c == '\\' || c == ';' || unreserved(c) {
				return "", false, ErrUnrecognised
			}
			colon = colon || c == ':'
			i += 2
		}
		b = append(b, c)
	}
	for i, c := range b {
		if _, twice := octet(string(b[i:min(len(b), i+3)])); c == '%' && twice {
			return "", false, ErrUnrecognised
		}
	}
	if !utf8.Valid(b) {
		return "", false, ErrUnrecognised
	}
	return string(b), colon, nil
}

// octet reads the %XX that s begins with.
func octet(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// pchar is that of RFC 3986 section 3.3 without "%" and ";".
func pchar(c byte) bool {
	if unreserved(c) {
		return true
	}
	switch c {
	case '!', '$', '&', '\'', '(', ')', '*', '+', ',', '=', ':', '@':
		return true
	}
	return false
}
