package provenance

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// harmless are values of a privilege that let others see and no more.
var harmless = set(`r read reader readonly read-only view viewer`)

// Judge says what is known of a call.
func (m *Memory) Judge(d *Directory, t *Tool, args []Argument) Facts {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := Facts{Effect: t.Effect, Labels: m.labels, Meant: t.Effect == Reads || t.kinds&(m.words.kinds|m.verbs) != 0}
	if !f.Meant {
		f.why("The user's words do not ask to %s anything.", t.verb())
	}
	for _, a := range args {
		switch t.Role(a.Name, a.Value) {
		case Destination:
			all := []string{a.Value}
			if s := m.origin(d, a.Value); s.Origin == Unseen {
				all = parts(a.Value)
			}
			for _, v := range all {
				if strings.TrimSpace(v) == "" {
					continue
				}
				s := m.origin(d, v)
				add(&f.Destinations, s.Origin)
				f.tell(a.Name, v, s)
			}
		case Text:
			if t.Effect != Reads {
				m.links(d, &f, a)
			}
		case Object:
			if t.Effect != Reads {
				m.object(&f, t, a)
			}
		case Privilege:
			if t.Effect != Reads {
				m.privilege(d, &f, a)
			}
		}
	}
	return f
}

// links judges the addresses in what is said.
func (m *Memory) links(d *Directory, f *Facts, a Argument) {
	text := a.Value
	if p := undisguised(text); p != text {
		text += "\n" + p
	}
	for v := range Values(text) {
		s := m.origin(d, v)
		add(&f.Links, s.Origin)
		f.tell(a.Name, v, s)
	}
	if len(m.hosts) == 0 {
		return
	}
	list := tokenize(text)
	for i := range list {
		joined := ""
		for j := i; j < len(list) && j < i+8; j++ {
			if list[j].text == "at" || list[j].text == "dot" {
				continue
			}
			joined += list[j].text
			if v, ok := m.hosts[joined]; ok {
				if s := m.origin(d, v); s.Origin == Content {
					add(&f.Links, Content)
					f.tell(a.Name, v, s)
				}
			}
		}
	}
}

// object judges what something is done to: whether text that was read speaks of it, which is how somebody
// else would have this thing chosen, and whether what is named by an id, or deleted, was seen at all.
func (m *Memory) object(f *Facts, t *Tool, a Argument) {
	n := normal(a.Value)
	if n == "" || m.words.has(n, isAddress(n)) {
		return
	}
	s, ok := m.refs[n]
	if !ok && len(n) > 4 && strings.ContainsFunc(n, unicode.IsLetter) && m.speaksOf(n) {
		s, ok = Sighting{Tool: m.saidBy}, true
	}
	switch _, seen := m.values[n]; {
	case ok:
		s.Origin = Content
	case m.full, !seen && (t.ids[a.Name] || t.Effect == Deletes):
		s.Origin = Unseen
	default:
		return
	}
	add(&f.Objects, s.Origin)
	f.tell(a.Name, a.Value, s)
}

// speaksOf reports whether an untrusted text speaks of n, beside fields that are n and say no more.
func (m *Memory) speaksOf(n string) bool {
	rest := m.said.String()
	for start := true; ; start = false {
		i := strings.Index(rest, n)
		if i < 0 {
			return false
		}
		whole := (i == 0 && start || i > 0 && rest[i-1] == '\n') && rest[i+len(n)] == '\n'
		if !whole {
			return true
		}
		rest = rest[i+len(n):]
	}
}

// privilege judges a value that says who may do what.
func (m *Memory) privilege(d *Directory, f *Facts, a Argument) {
	n := normal(a.Value)
	if n == "" || harmless[n] {
		return
	}
	s := m.origin(d, a.Value)
	add(&f.Privileges, s.Origin)
	if s.Origin == Listed || s.Origin == Record {
		f.why("%s: its value is not in the user's words.", a.Name)
	}
	f.tell(a.Name, a.Value, s)
}

func add(list *[]Origin, o Origin) {
	if !slices.Contains(*list, o) {
		*list = append(*list, o)
	}
}

func (f *Facts) why(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); len(f.Why) < 8 && !slices.Contains(f.Why, s) {
		f.Why = append(f.Why, s)
	}
}

// tell says of a value where it was first seen, if that is worth saying.
func (f *Facts) tell(name, v string, s Sighting) {
	in := "what " + s.Tool + " returned"
	if s.Field != "" {
		in += " (" + clip(s.Field, 64) + ")"
	}
	switch s.Origin {
	case Content:
		f.why("%s: %s was first seen in text that anybody may have written, in %s.", name, quote(v), in)
	case Colleague:
		f.why("%s: %s was first seen in text that a member of the organisation wrote, in %s.", name, quote(v), in)
	case Record:
		f.why("%s: %s was first seen as a field of a record that the user did not name, in %s.", name, quote(v), in)
	case Unseen:
		f.why("%s: %s is not in the user's words, in the directory, or in anything that was read.", name, quote(v))
	}
}

func quote(v string) string { return fmt.Sprintf("%q", clip(v, 96)) }

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// verb is what the tool does, for people.
func (t *Tool) verb() string {
	if t.Effect == Acts {
		return t.Name
	}
	return string(t.Effect)
}

// Unread notes that a part of the call is not known, which may say where it goes.
func (f *Facts) Unread(why string) {
	add(&f.Destinations, Unseen)
	f.why("%s", why)
}

// Summary says in short what is known of the call, without any value.
func (f *Facts) Summary() string {
	s := "effect " + string(f.Effect)
	if !f.Meant {
		s += ", not meant"
	}
	for _, part := range []struct {
		name string
		list []Origin
	}{{"destinations", f.Destinations}, {"links", f.Links}, {"objects", f.Objects}, {"privileges", f.Privileges}} {
		for i, o := range part.list {
			if i == 0 {
				s += ", " + part.name
			}
			s += " " + string(o)
		}
	}
	if len(f.Labels) > 0 {
		s += ", labels " + strings.Join(f.Labels, " ")
	}
	return s
}
