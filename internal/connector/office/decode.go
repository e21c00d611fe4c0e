package office

import (
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Decode reads a JSON object as the library does (RFC 8259, valid UTF-8, no name twice in an object, the same depth), and no other: two
// parsers that read one reply differently would have two ideas of what it shows. It checks and reads in one pass.
func Decode(b []byte) (*Value, bool) { return new(decoder).decode(b) }

const (
	maxDepth     = 10000   // the library's
	maxValues    = 2 << 20 // of one reply
	maxUncounted = 1 << 16 // of one whose room nobody takes into account
	maxFew       = 32      // members of an object, up to which one is looked for by going through them
	nameRoom     = 64      // bytes that the name of each takes where there are more
)

// decoder takes JSON apart. The texts of its values are pieces of one, but for those that hold an escape.
type decoder struct {
	keeps func(int64) error // takes bytes into account that the values take beside their text, and below 0 gives them back; nil: nobody does
	s     string
	at    int
	free  []Value // to be used
	used  []*chunk
	kept  int64 // bytes
	full  error // why there is no room for more
}

// chunk is room for values, which the next reply gets when nobody has any of this one.
type chunk [512]Value

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// chunkRoom is what a chunk takes: where values are short, many times their text. A list has them side by side, too.
var chunkRoom = int64(reflect.TypeFor[chunk]().Size() + 2*reflect.TypeFor[[len(chunk{})]*Value]().Size())

func (d *decoder) decode(b []byte) (*Value, bool) {
	d.s = string(b)
	v := d.value(0)
	d.blanks()
	return v, v.IsObject() && d.at == len(d.s)
}

// keep takes n bytes more into account; false if there is no room for them.
func (d *decoder) keep(n int64) bool {
	if d.keeps == nil {
		return true
	}
	if d.full = d.keeps(n); d.full != nil {
		return false
	}
	d.kept += n
	return true
}

// more makes room for values, if there may be more.
func (d *decoder) more() bool {
	most := maxValues
	if d.keeps == nil {
		most = maxUncounted
	}
	if len(d.used)*len(chunk{}) >= most || !d.keep(chunkRoom) {
		return false
	}
	c := chunks.Get().(*chunk)
	d.used, d.free = append(d.used, c), c[:]
	return true
}

// done gives the room of all values back: nobody may have one of them any more.
func (d *decoder) done() {
	d.keep(-d.kept)
	for _, c := range d.used {
		clear(c[:])
		chunks.Put(c)
	}
	d.used = nil
}

func (d *decoder) blanks() {
	for d.at < len(d.s) && (d.s[d.at] == ' ' || d.s[d.at] == '\n' || d.s[d.at] == '\r' || d.s[d.at] == '\t') {
		d.at++
	}
}

// next passes blanks and then c, if it stands there.
func (d *decoder) next(c byte) bool {
	if d.blanks(); d.at < len(d.s) && d.s[d.at] == c {
		d.at++
		return true
	}
	return false
}

// value is the one that begins here; nil if there is none.
func (d *decoder) value(depth int) *Value {
	d.blanks()
	if d.at == len(d.s) || len(d.free) == 0 && !d.more() {
		return nil
	}
	v := &d.free[0]
	d.free = d.free[1:]
	good := false
	switch v.kind = d.s[d.at]; v.kind {
	case '{':
		good = depth < maxDepth && d.object(v, depth)
	case '[':
		good = depth < maxDepth && d.list(v, depth)
	case '"':
		v.text, good = d.text()
	case 't':
		good = d.word("true")
	case 'f':
		good = d.word("false")
	case 'n':
		good = d.word("null")
	default:
		v.kind = '0'
		v.text, good = d.number()
	}
	if !good {
		return nil
	}
	return v
}

func (d *decoder) object(v *Value, depth int) bool {
	d.at++
	if d.next('}') {
		return true
	}
	var seen uint64 // marks of names that there are
	var names map[string]bool
	n := 0
	for end := &v.first; ; n++ {
		d.blanks()
		name, ok := d.text()
		if !ok || !d.next(':') {
			return false
		}
		switch mark := mark(name); {
		case n > maxFew:
			if names[name] || !d.keep(nameRoom) {
				return false
			}
			names[name] = true
		case seen&mark != 0 && v.Member(name) != nil:
			return false
		case n == maxFew:
			if !d.keep(maxFew * nameRoom) {
				return false
			}
			names = map[string]bool{name: true}
			for m := range v.All() {
				names[m.name] = true
			}
		default:
			seen |= mark
		}
		m := d.value(depth + 1)
		if m == nil {
			return false
		}
		m.name = name
		*end, end = m, &m.next
		if !d.next(',') {
			return d.next('}')
		}
	}
}

// mark is a bit that names have which are alike.
func mark(name string) uint64 {
	if name == "" {
		return 1
	}
	return 1 << ((len(name) + 7*int(name[0]) + 13*int(name[len(name)-1])) & 63)
}

func (d *decoder) list(v *Value, depth int) bool {
	d.at++
	if d.next(']') {
		return true
	}
	for end := &v.first; ; {
		one := d.value(depth + 1)
		if one == nil {
			return false
		}
		*end, end = one, &one.next
		if !d.next(',') {
			return d.next(']')
		}
	}
}

func (d *decoder) word(w string) bool {
	ok := strings.HasPrefix(d.s[d.at:], w)
	d.at += len(w)
	return ok
}

// number is one as it is written. One that is larger than any float64 is none; nor is what strconv takes, and JSON does not: +1, 01, 1. and .1
func (d *decoder) number() (string, bool) {
	from := d.at
	for d.at < len(d.s) && strings.IndexByte("+-.eE0123456789", d.s[d.at]) >= 0 {
		d.at++
	}
	s := d.s[from:d.at]
	whole, part, dot := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if _, err := strconv.ParseFloat(s, 64); err != nil || !digit(whole) || whole[0] == '0' && digit(whole[1:]) || dot && !digit(part) {
		return "", false
	}
	return s, true
}

// digit reports whether s begins with one.
func digit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// text is a string, which begins here. What does not stand there as it is, the library reads.
func (d *decoder) text() (string, bool) {
	if d.at == len(d.s) || d.s[d.at] != '"' {
		return "", false
	}
	from := d.at + 1
	n := strings.IndexByte(d.s[from:], '"')
	if n < 0 {
		return "", false
	}
	if s := d.s[from : from+n]; plainText(s) {
		d.at = from + n + 1
		return s, true
	}
	end := from
	for end < len(d.s) && d.s[end] != '"' {
		if d.s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(d.s) || !d.keep(int64(end-from)) {
		return "", false
	}
	d.at = end + 1
	b, err := jsontext.AppendUnquote(nil, d.s[from-1:d.at])
	return string(b), err == nil
}
