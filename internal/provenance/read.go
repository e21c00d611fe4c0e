package provenance

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Read takes in what a call returned: a text, or JSON, of which whole says whether it is all. It is one document for each text of a reply.
func (m *Memory) Read(d *Directory, t *Tool, args []Argument, result string, whole bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label(Untrusted)
	m.label(t.Labels...)
	if m.full = m.full || !whole || len(result) > maxText; len(result) > maxText {
		result = result[:maxText]
	}
	r := reading{m: m, d: d, tool: t.Name}
	fetched := false
	for _, a := range args {
		role := t.Role(a.Name, a.Value)
		fetched = fetched || role == Destination && (t.urls[a.Name] || hasScheme(a.Value))
		if role == Destination || role == Object {
			n := normal(a.Value)
			r.source = r.source || m.words.has(n, isAddress(n)) && len(n) > 2
		}
	}
	root, ok := node{}, false
	if !fetched { // what the web says of itself is text, whatever it looks like
		root, ok = parse(result)
	}
	if !ok {
		r.text(result, "", Content)
	} else {
		r.walk(&root, "", Record, Content)
	}
	r.settle()
}

// reading is one result as it is taken in.
type reading struct {
	m      *Memory
	d      *Directory
	tool   string
	source bool            // the user's words name what was read
	saying map[string]bool // names of fields, to whether somebody says something in them
	sought []string        // addresses in it of somebody whom they name
}

// node is one value of a structured result.
type node struct {
	key  string
	text string // of a scalar
	kids []node
	kind byte // 's' scalar, 'm' map, 'l' list
}

// authors are fields that say who wrote the rest of a record.
var authors = set(`sender from author posted_by created_by sent_by`)

// walk takes in what n holds. field is what the whole of a field there is, text what addresses within one are.
func (r *reading) walk(n *node, path string, field, text Origin) {
	switch n.kind {
	case 'l':
		for i := range n.kids {
			r.walk(&n.kids[i], path, field, text)
		}
	case 'm':
		for i := range n.kids {
			if k := &n.kids[i]; k.kind == 's' {
				if r.m.words.calls(k.text) {
					field = Named
				}
				if authors[strings.ToLower(k.key)] {
					if member, _ := r.d.has(normal(k.text)); member {
						text = Colleague
					}
				}
			}
		}
		for i := range n.kids {
			k := &n.kids[i]
			at := k.key
			if path != "" {
				at = path + "." + k.key
			}
			if len(at) > 128 {
				at = at[:128]
			}
			here := field
			if field == Named && answersTo(k.key) { // who writes a record may call it what the user does, and have answers go elsewhere
				here = Record
			}
			r.scalar(k.key, at, here, false) // shared_with: {ann@example.com: read}
			r.walk(k, at, here, text)
		}
	default:
		if r.says(path[strings.LastIndexByte(path, '.')+1:]) {
			r.text(n.text, path, text)
			return
		}
		r.scalar(n.text, path, field, true)
		if strings.ContainsAny(n.text, " \n\t") {
			r.text(n.text, path, text)
		}
	}
}

// answersTo reports whether a field says where answers to its record go.
func answersTo(name string) bool {
	w := split(name)
	return len(w) == 2 && w[0] == "reply" && w[1] == "to"
}

// says reports whether a field of that name is one in which somebody says something.
func (r *reading) says(name string) bool {
	said, ok := r.saying[name]
	if !ok {
		for _, w := range split(name) {
			said = said || contents[w]
		}
		if r.saying == nil {
			r.saying = map[string]bool{}
		}
		if len(r.saying) < 64 {
			r.saying[name] = said
		}
	}
	return said
}

// scalar takes in the whole of a field.
func (r *reading) scalar(v, path string, field Origin, value bool) {
	n := normal(v)
	if n == "" {
		return
	}
	s := Sighting{Origin: field, Tool: r.tool, Field: path}
	if !isAddress(n) {
		if s.Origin = Listed; !value {
			return
		}
	}
	r.m.put(n, s)
}

// text takes in what somebody wrote: the addresses in it, and the things that it speaks of.
func (r *reading) text(s, path string, origin Origin) {
	m := r.m
	sight := Sighting{Origin: origin, Tool: r.tool, Field: strings.Clone(path)}
	take := func(v string) {
		n := normal(v)
		m.put(n, sight)
		if r.source && strings.Contains(n, "@") && r.named(n) {
			r.sought = append(r.sought, n)
		}
		if origin == Content && len(m.hosts) < maxValues {
			if h := telling(n); h != "" {
				if _, ok := m.hosts[h]; !ok {
					m.size += each + len(h) + len(n)
				}
				m.hosts[strings.Clone(h)] = strings.Clone(n)
			}
		}
	}
	for v := range Values(s) {
		take(v)
	}
	if p := undisguised(s); p != s {
		for v := range Values(p) {
			take(v)
		}
	}
	if origin != Content {
		return
	}
	if m.said.Len()+len(s) > maxSaid {
		m.full = true
	} else {
		if m.saidBy == "" {
			m.saidBy = r.tool
		}
		m.said.WriteString(strings.ToLower(s))
		m.said.WriteByte('\n')
		m.size += 2 * (len(s) + 1)
	}
	for v := range references(s) {
		if len(m.refs) >= maxValues {
			m.full = true
			break
		}
		if n := normal(v); m.refs[n].Tool == "" {
			n = strings.Clone(n)
			m.size += each + len(n) + len(path)
			m.refs[n] = sight
		}
	}
}

// named reports whether an address begins with a name that the user said: dora@example.com of Dora.
func (r *reading) named(address string) bool {
	local, _, _ := strings.Cut(address, "@")
	for _, w := range strings.FieldsFunc(local, func(c rune) bool { return !unicode.IsLetter(c) }) {
		if r.m.words.names[w] {
			return true
		}
	}
	return false
}

// settle notes the address that was sought, if there is one and no other that could be it.
func (r *reading) settle() {
	for _, v := range r.sought {
		if v != r.sought[0] {
			return
		}
	}
	if len(r.sought) > 0 {
		s := r.m.values[r.sought[0]]
		s.Origin = Sought
		r.m.put(r.sought[0], s)
	}
}

// references finds what a text speaks of: what it has in quotes, and what follows the word id, number or a #.
func references(s string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i, r := range s {
			if r < 128 && r != '"' && r != '`' && r != '\'' {
				continue
			}
			var end rune
			switch r {
			case '"', '`', '\'':
				end = r
			case '“', '„':
				end = '”'
			case '‘':
				end = '’'
			case '«':
				end = '»'
			default:
				continue
			}
			rest := near(s[i+utf8.RuneLen(r):])
			if j := strings.IndexRune(rest, end); j > 0 && j <= 128 && !strings.Contains(rest[:j], "\n") && !yield(rest[:j]) {
				return
			}
		}
		after := false
		for w := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ':' || r == '=' || between(r) }) {
			w = strings.TrimRight(w, ".!?")
			if strings.HasPrefix(w, "#") && len(w) > 1 && !yield(w[1:]) {
				return
			}
			if after && w != "" && !yield(w) {
				return
			}
			after = strings.EqualFold(w, "id") || strings.EqualFold(w, "ids") || strings.EqualFold(w, "number") || strings.EqualFold(w, "no")
		}
	}
}
