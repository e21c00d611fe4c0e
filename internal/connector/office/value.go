package office

import (
	"iter"
	"slices"
	"strconv"
)

// Value is one value of a reply, which is a tree of them: a text, a number, a list, an object. What it holds of others, and the members of an
// object, follow each other as they came. nil is what is not there, and can be asked all that a Value can: so what a reply should say is looked for without a
// question at each step. A tree belongs to one reply, and is changed in place.
type Value struct {
	kind        byte   // what it is written with first: { [ " t f n, or 0 for a number
	name, text  string // of a member, its name; of a text, what it says, and of a number, how it is written
	first, next *Value // what it holds; what comes after it
}

// IsText reports whether v is a text, be it empty.
func (v *Value) IsText() bool { return v.is('"') }

// IsObject reports whether v is an object.
func (v *Value) IsObject() bool { return v.is('{') }

// IsList reports whether v is a list.
func (v *Value) IsList() bool { return v.is('[') }

// IsTrue reports whether v is true.
func (v *Value) IsTrue() bool { return v.is('t') }

// Some reports whether v is there and is not null.
func (v *Value) Some() bool { return v != nil && v.kind != 'n' }

func (v *Value) is(kind byte) bool { return v != nil && v.kind == kind }

// Name is the name of v as a member.
func (v *Value) Name() string { return v.name }

// Text is what a text says; "" of all others.
func (v *Value) Text() string {
	if !v.IsText() {
		return ""
	}
	return v.text
}

// Member is the member of that name; nil if there is none.
func (v *Value) Member(name string) *Value {
	if v.IsObject() {
		for m := v.first; m != nil; m = m.next {
			if m.name == name {
				return m
			}
		}
	}
	return nil
}

// All are the values of a list, or the members of an object.
func (v *Value) All() iter.Seq[*Value] {
	return func(yield func(*Value) bool) {
		if v == nil {
			return
		}
		for one := v.first; one != nil; one = one.next {
			if !yield(one) {
				return
			}
		}
	}
}

// Items are the values of a list; none, if it is no list.
func (v *Value) Items() (list []*Value) {
	if v.IsList() {
		list = slices.AppendSeq(make([]*Value, 0, 16), v.All())
	}
	return list
}

// Strings are the texts of a list; ok is false when it is there and is no list of texts.
func (v *Value) Strings() (list []string, ok bool) {
	if v.Some() && !v.IsList() {
		return nil, false
	}
	for one := range v.All() {
		if !one.IsText() {
			return nil, false
		}
		list = append(list, one.text)
	}
	return list, true
}

// flat reports whether v is one value, or a list of values.
func (v *Value) flat() bool {
	if v.IsList() {
		for one := range v.All() {
			if !one.flat() {
				return false
			}
		}
	}
	return !v.IsObject()
}

// Filter leaves of what v holds that of which keep says so.
func (v *Value) Filter(keep func(*Value) bool) {
	for at := &v.first; *at != nil; {
		if keep(*at) {
			at = &(*at).next
		} else {
			*at = (*at).next
		}
	}
}

// Only leaves the members of these names.
func (v *Value) Only(names ...string) {
	v.Filter(func(m *Value) bool { return slices.Contains(names, m.name) })
}

// Drop takes the members of these names out.
func (v *Value) Drop(names ...string) {
	v.Filter(func(m *Value) bool { return !slices.Contains(names, m.name) })
}

// Put is the member of that name, to be set: a new one, if there is none.
func (v *Value) Put(name string) *Value {
	at := &v.first
	for *at != nil && (*at).name != name {
		at = &(*at).next
	}
	if *at == nil {
		*at = &Value{kind: 'n', name: name}
	}
	return *at
}

// SetText makes a text of v.
func (v *Value) SetText(s string) { v.kind, v.text, v.first = '"', s, nil }

// SetNumber makes a number of v.
func (v *Value) SetNumber(n int) { v.kind, v.text, v.first = '0', strconv.Itoa(n), nil }

// Set makes of v what w is, which is nowhere else then; null of what is not there.
func (v *Value) Set(w *Value) {
	if w == nil {
		w = &Value{kind: 'n'}
	}
	v.kind, v.text, v.first = w.kind, w.text, w.first
}

// SetTexts makes a list of texts of v.
func (v *Value) SetTexts(list []string) {
	all := make([]*Value, len(list))
	for i, s := range list {
		all[i] = &Value{kind: '"', text: s}
	}
	v.SetItems(all...)
}

// SetItems makes a list of v, of values that stand nowhere else.
func (v *Value) SetItems(list ...*Value) {
	v.kind, v.first = '[', nil
	at := &v.first
	for _, one := range list {
		*at, at = one, &one.next
	}
	*at = nil
}

// NewObject is an object of texts: a name, what it says, and so on.
func NewObject(pairs ...string) *Value {
	v := &Value{kind: '{'}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Put(pairs[i]).SetText(pairs[i+1])
	}
	return v
}
