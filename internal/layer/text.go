package layer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// lineOf are elements that begin a line and end it.
var lineOf = map[string]bool{"p": true, "div": true, "br": true, "hr": true, "tr": true, "li": true, "h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "ul": true, "ol": true,
	"table": true, "blockquote": true, "pre": true, "center": true}

// inLine are elements beside those that simpleText reads: how they are nested changes nothing of what is seen.
var inLine = map[string]bool{"html": true, "body": true, "b": true, "i": true, "u": true, "em": true, "strong": true, "span": true, "a": true, "small": true, "code": true, "sub": true, "sup": true, "s": true, "tt": true,
	"font": true, "img": true}

// lines is text as it is set: blanks are one, lines that follow each other are at most one empty one apart.
type lines struct {
	b     strings.Builder
	space bool // a blank is due before the next letter
	ends  int  // ends of lines that are
	pre   bool // an end of line in the text is one of its own
}

// tag ends the line where an element that has lines of its own begins or ends.
func (l *lines) tag(name string) {
	switch {
	case name == "br":
		l.ends++
	case lineOf[name] && l.ends == 0:
		l.ends = 1
	}
}

// text adds what somebody wrote between two tags.
func (l *lines) text(s string) {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\n' && l.pre:
			l.ends++
			i++
			continue
		case c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			l.space = true
			i++
			continue
		case c >= utf8.RuneSelf:
			if r, n := utf8.DecodeRuneInString(s[i:]); unicode.IsSpace(r) {
				l.space = true
				i += n
				continue
			}
		}
		if l.b.Len() > 0 {
			switch {
			case l.ends > 1:
				l.b.WriteString("\n\n")
			case l.ends == 1:
				l.b.WriteByte('\n')
			case l.space:
				l.b.WriteByte(' ')
			}
		}
		l.ends, l.space = 0, false
		end := i + 1
		if s[i] >= utf8.RuneSelf {
			_, n := utf8.DecodeRuneInString(s[i:])
			end = i + n
		}
		end += words(s[end:])
		if s[end-1] == ' ' {
			end--
		}
		l.b.WriteString(s[i:end])
		i = end
	}
}

// words is how much of what s begins with is words of ASCII, one blank apart.
func words(s string) (n int) {
	const each, high = 0x0101010101010101, 0x8080808080808080
	after := false                // a blank
	for ; n+8 <= len(s); n += 8 { // eight at once
		w := eight(s[n:])
		x := w ^ ' '*each
		blanks := ^(x&^high + 0x7f*each | x) & high // of ASCII; others end it anyway
		last := blanks << 8
		if after {
			last |= 0x80
		}
		if (w|(w-' '*each))&high|blanks&last != 0 {
			break
		}
		after = blanks>>63 != 0
	}
	for ; n < len(s) && (s[n] > ' ' || s[n] == ' ' && !after) && s[n] < utf8.RuneSelf; n++ {
		after = s[n] == ' '
	}
	return n
}

func (l *lines) String() string { return l.b.String() }

// simpleText is the text of a document of simple elements in which nothing is hidden: its tags are well formed, and how they
// are nested does not matter. Of all others ok is false, and they are read as a browser would.
func simpleText(s string) (text string, ok bool) {
	var l lines
	l.b.Grow(len(s))
	for s != "" {
		at := strings.IndexByte(s, '<')
		if at < 0 {
			at = len(s)
		}
		if t := s[:at]; t != "" {
			if strings.IndexByte(t, '&') >= 0 {
				t = html.UnescapeString(t)
			}
			if strings.IndexByte(t, 0) >= 0 {
				return "", false
			}
			l.text(t)
		}
		if s = s[at:]; s == "" {
			break
		}
		name, rest, simple := simpleTag(s[1:])
		if !simple {
			return "", false
		}
		l.tag(name)
		s = rest
	}
	return l.String(), true
}

// simpleTag reads a tag up to its end: of a simple element, each attribute in double quotes, none of which hides anything.
func simpleTag(s string) (name, rest string, ok bool) {
	closing := strings.HasPrefix(s, "/")
	if closing {
		s = s[1:]
	}
	n := 0
	for n < len(s) && (letter(s[n]) || digit(s[n])) {
		n++
	}
	name = s[:n]
	if !lineOf[name] && !inLine[name] || name == "table" || name == "tr" || name == "pre" {
		return "", "", false
	}
	for s = s[n:]; ; {
		blanks := len(s) - len(strings.TrimLeft(s, " \t\r\n"))
		s = s[blanks:]
		switch {
		case strings.HasPrefix(s, ">"):
			return name, s[1:], true
		case strings.HasPrefix(s, "/>"):
			return name, s[2:], true
		case closing || blanks == 0:
			return "", "", false
		}
		n = 0
		for n < len(s) && (letter(s[n]) || s[n] == '-') {
			n++
		}
		key := strings.ToLower(s[:n])
		value, quoted := strings.CutPrefix(s[n:], `="`)
		end := strings.IndexByte(value, '"')
		if n == 0 || !quoted || end < 0 {
			return "", "", false
		}
		value, s = value[:end], value[end+1:]
		switch {
		case key == "hidden", (key == "style" || key == "color") && strings.IndexByte(value, '&') >= 0, key == "style" && hides(value), key == "color" && whites[strings.ToLower(strings.TrimSpace(value))]:
			return "", "", false // classes are of style sheets, of which there are none here
		}
	}
}
