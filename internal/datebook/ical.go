package datebook

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/emersion/go-ical"
)

// Limits of an object; one that goes beyond them is not read.
const (
	maxObject = 8 << 20 // bytes
	maxDepth  = 8       // components in components
)

// parse reads an object of a calendar (RFC 5545 section 3.4). It is linear in the size of b: go-ical's own
// decoder is not, and panics at some lines, and what is in a calendar comes from whoever sends invitations.
func parse(b []byte) (*ical.Component, error) {
	if len(b) > maxObject {
		return nil, fmt.Errorf("the object is larger than %d MB", maxObject>>20)
	}
	var stack []*ical.Component
	var done *ical.Component
	for line := range lines(b) {
		p, err := parseLine(line)
		if err != nil {
			return nil, err
		}
		switch {
		case done != nil:
			return done, nil // what comes after the calendar is no part of it
		case p.Name == "BEGIN":
			if len(stack) == maxDepth {
				return nil, errors.New("components are nested too deep")
			}
			c := ical.NewComponent(p.Value)
			if len(stack) > 0 {
				top := stack[len(stack)-1]
				top.Children = append(top.Children, c)
			}
			stack = append(stack, c)
		case len(stack) == 0:
			return nil, errors.New("it does not begin with a component")
		case p.Name == "END":
			top := stack[len(stack)-1]
			if !strings.EqualFold(p.Value, top.Name) {
				return nil, fmt.Errorf("a component %.20q ends as %.20q", top.Name, p.Value)
			}
			if stack = stack[:len(stack)-1]; len(stack) == 0 {
				done = top
			}
		default:
			stack[len(stack)-1].Props.Add(p)
		}
	}
	if done == nil || done.Name != ical.CompCalendar {
		return nil, errors.New("it is no calendar")
	}
	return done, nil
}

// lines are the content lines, unfolded (RFC 5545 section 3.1).
func lines(b []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		var line []byte
		for len(b) > 0 {
			var one []byte
			one, b, _ = bytes.Cut(b, []byte("\n"))
			one = bytes.TrimSuffix(one, []byte("\r"))
			if len(one) > 0 && (one[0] == ' ' || one[0] == '\t') && line != nil {
				line = append(line, one[1:]...)
				continue
			}
			if len(line) > 0 && !yield(string(line)) {
				return
			}
			line = append(make([]byte, 0, len(one)), one...)
		}
		if len(line) > 0 {
			yield(string(line))
		}
	}
}

// parseLine reads NAME;PARAMETER=VALUE,"VALUE":VALUE.
func parseLine(s string) (*ical.Prop, error) {
	bad := func() (*ical.Prop, error) { return nil, fmt.Errorf("%.40q is no content line", s) }
	at := strings.IndexAny(s, ";:")
	if at <= 0 || strings.ContainsFunc(s, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }) {
		return bad()
	}
	p := ical.NewProp(s[:at])
	for s[at] == ';' {
		rest := s[at+1:]
		eq := strings.IndexByte(rest, '=')
		if eq <= 0 {
			return bad()
		}
		name := rest[:eq]
		for at += 1 + eq + 1; ; {
			rest = s[at:]
			var value string
			if strings.HasPrefix(rest, `"`) {
				end := strings.IndexByte(rest[1:], '"')
				if end < 0 {
					return bad()
				}
				value, at = rest[1:1+end], at+end+2
			} else {
				end := strings.IndexAny(rest, `;:,"`)
				if end < 0 {
					return bad()
				}
				value, at = rest[:end], at+end
			}
			p.Params.Add(name, value)
			if at >= len(s) || !strings.ContainsRune(";:,", rune(s[at])) {
				return bad()
			}
			if s[at] != ',' {
				break
			}
			at++
		}
	}
	p.Value = s[at+1:]
	return p, nil
}

// plain is a text value without its escapes (RFC 5545 section 3.3.11); one that is no escape stands for its letter.
func plain(s string) string {
	if !strings.Contains(s, `\`) {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	var b strings.Builder
	escaped := false
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case escaped && (r == 'n' || r == 'N'):
			b.WriteByte('\n')
		case !escaped && r == '\\':
			escaped = true
			continue
		default:
			b.WriteRune(r)
		}
		escaped = false
	}
	return b.String()
}

// text is the value of a property of text, "" if there is none.
func text(c *ical.Component, name string) string {
	if p := c.Props.Get(name); p != nil {
		return plain(p.Value)
	}
	return ""
}

// one is a line of text: what could end a line, or is not seen, is left out. What is written to a
// calendar goes through it, so that nothing that is said in one value becomes another property.
func one(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// setText sets a property of text, and removes it when the text is empty.
func setText(c *ical.Component, name, s string) {
	paragraphs := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i := range paragraphs {
		paragraphs[i] = one(paragraphs[i])
	}
	if s = strings.Join(paragraphs, "\n"); s == "" {
		c.Props.Del(name)
		return
	}
	c.Props.SetText(name, s)
}

// set sets a property to what is written as it stands.
func set(c *ical.Component, name, value string) {
	p := ical.NewProp(name)
	p.Value = value
	c.Props.Set(p)
}

// encode writes an object.
func encode(c *ical.Component) ([]byte, error) {
	var b bytes.Buffer
	err := ical.NewEncoder(&b).Encode(&ical.Calendar{Component: c})
	return b.Bytes(), err
}
