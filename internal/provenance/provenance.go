// Package provenance remembers where values came from. An agent acts on what it reads,
// and what it reads may have been written by anybody; so for each piece of work a [Memory]
// keeps, of all that was read, the whole values that something can be sent to (addresses,
// URLs, account numbers, names of people and channels), each with the best place that it
// was seen in: the user's own words, the directory of the organisation, a field of a record,
// or text that anybody may have written ([Origin]). Of a call, [Memory.Judge] says in the
// same words what it would do and with whose values ([Facts]); policies decide on those.
//
// What an argument is for, its [Role], follows from its name, format and description in the
// tool's schema by the rules in role.go, and what a tool does from its verb (verb.go). None
// of them knows a system, and an upstream's settings overrule them.
//
// Nothing is guessed and no model is asked: the same reads and the same call give the same
// facts. Whatever is not known is [Unseen], and what is too much to remember is not known.
package provenance

import (
	"slices"
	"strings"
	"sync"
)

// Origin is where a value was first seen, from the best to the worst.
type Origin string

const (
	Words       Origin = "words"     // the user's own
	InDirectory Origin = "directory" // the organisation's: what the upstream's directory and the owners hold
	Confirmed   Origin = "confirmed" // people said yes to a call with it, in this task
	Named       Origin = "named"     // a field of a record that the user's words name
	Sought      Origin = "sought"    // the one address of somebody whom the user's words name, in what they name as its source
	Listed      Origin = "listed"    // a name, no address, that is the whole of a field
	Colleague   Origin = "colleague" // text that a member of the directory wrote, in a field of a record that says so
	Record      Origin = "record"    // an address that is the whole of a field: whoever writes the record chose it
	Content     Origin = "content"   // text that anybody may have written
	Unseen      Origin = "unseen"    // nowhere: the agent made it up, or changed it
)

// Origins lists all, from the best to the worst.
var Origins = []Origin{Words, InDirectory, Confirmed, Named, Sought, Listed, Colleague, Record, Content, Unseen}

// Untrusted is the label of work in which something was read that anybody may have written, or
// of which that is not known.
const Untrusted = "untrusted"

// Sighting is where a value was seen: in which result, in which field of it.
type Sighting struct {
	Origin Origin
	Tool   string // action whose result it was
	Field  string // path in the result: "participants", "body"
}

// Facts are what is known of a call: what it does, whether the user asked for that, and where its values came from.
type Facts struct {
	Effect       Effect
	Meant        bool     // the user's words ask for something of this kind
	Labels       []string // of the work, sorted
	Destinations []Origin // of the values in arguments that say where to; each once
	Links        []Origin // of addresses and URLs in what is sent
	Objects      []Origin // Content: text that was read speaks of what this is done to
	Privileges   []Origin // of values that say who may do what
	Why          []string // a sentence for each value that is not the user's, the directory's or a record's
}

// Known is what an organisation knows beforehand: names, addresses, channels, and "@example.com" for all addresses of a domain.
type Known struct {
	Members  []string `json:"members,omitempty"`  // who writes in its name: what one of them links to may be opened
	Contacts []string `json:"contacts,omitempty"` // others, and places
}

// Directory is what is known beforehand, ready to be looked up.
type Directory struct {
	known map[string]bool           // true for members
	owner func(address string) bool // whether an address is that of an owner; nil: nobody's is
}

// NewDirectory makes a directory; owner says which addresses are those of accountable people, who are members.
func NewDirectory(k Known, owner func(address string) bool) *Directory {
	d := &Directory{known: map[string]bool{}, owner: owner}
	for _, v := range k.Contacts {
		d.known[normal(v)] = false
	}
	for _, v := range k.Members {
		d.known[normal(v)] = true
	}
	return d
}

// has reports whether a normal value is in the directory, and whether it is a member's.
func (d *Directory) has(n string) (member, ok bool) {
	if member, ok = d.known[n]; ok {
		return member, true
	}
	at := strings.LastIndexByte(n, '@')
	if at <= 0 || strings.Count(n, "@") != 1 || !mailLike(n) {
		return false, false
	}
	if d.owner != nil && d.owner(n) {
		return true, true
	}
	member, ok = d.known[n[at:]]
	return member, ok
}

const (
	maxValues = 4096 // that a memory holds; what comes after is unseen
	maxValue  = 512  // bytes of one
	maxText   = 1 << 20
	maxSaid   = 1 << 18
)

// Memory is what is known of one piece of work. Its methods may be called from anywhere at any time.
type Memory struct {
	mu     sync.Mutex
	words  words
	values map[string]Sighting
	refs   map[string]Sighting // what text speaks of: "13" of "the file with ID '13'"
	hosts  map[string]string   // the telling part of a host or an address in untrusted text, without what can be written otherwise → the value
	said   strings.Builder     // the untrusted texts, in lower case
	saidBy string              // whose result the first of them was
	labels []string
	verbs  kinds // of calls that people said yes to
	full   bool
	size   int // bytes of all that, about
}

// each is about what one value takes beside its letters.
const each = 192

// Size is about how many bytes it takes.
func (m *Memory) Size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size
}

// Lose notes that something that was known of the work is not any more: it may have been anything, and anywhere.
func (m *Memory) Lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = true
	m.label(Untrusted)
}

// New is the memory of work that the user asked for in those words; empty: nobody knows them.
func New(userWords string) *Memory {
	return &Memory{size: each + 4*len(userWords), words: readWords(userWords), values: map[string]Sighting{}, refs: map[string]Sighting{}, hosts: map[string]string{}}
}

// Label gives the work labels, for good.
func (m *Memory) Label(labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label(labels...)
}

func (m *Memory) label(labels ...string) {
	for _, l := range labels {
		if at, ok := slices.BinarySearch(m.labels, l); !ok {
			m.labels = slices.Insert(slices.Clip(m.labels), at, l) // facts that were given out keep theirs
		}
	}
}

// Confirm notes that people said yes to a call: its values are good from now on, and its kind is meant.
func (m *Memory) Confirm(t *Tool, args []Argument) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.verbs |= t.kinds
	for _, a := range args {
		if r := t.Role(a.Name, a.Value); r == Destination || r == Privilege {
			for _, v := range parts(a.Value) {
				m.put(normal(v), Sighting{Origin: Confirmed, Tool: t.Name, Field: a.Name})
			}
		}
	}
}

// put remembers a value, with the better of where it was seen.
func (m *Memory) put(v string, s Sighting) {
	if v == "" || len(v) > maxValue {
		return
	}
	old, ok := m.values[v]
	if ok && rank(old.Origin) <= rank(s.Origin) {
		return
	}
	if !ok && len(m.values) >= maxValues {
		m.full = true
		return
	}
	v, s.Field = strings.Clone(v), strings.Clone(s.Field) // or all of the reply would be held
	if !ok {
		m.size += each + len(v) + len(s.Field)
	}
	m.values[v] = s
}

func rank(o Origin) int { return slices.Index(Origins, o) }

// origin is where a value that something would be sent to was first seen.
func (m *Memory) origin(d *Directory, v string) Sighting {
	n := normal(v)
	if n == "" {
		return Sighting{Origin: Unseen}
	}
	address := isAddress(n)
	if m.words.has(n, address) {
		return Sighting{Origin: Words}
	}
	if _, ok := d.has(n); ok {
		return Sighting{Origin: InDirectory}
	}
	if s, ok := m.values[n]; ok {
		return s
	}
	return Sighting{Origin: Unseen}
}
