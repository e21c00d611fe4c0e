package office

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// decode reads a JSON object. What is valid, with no name twice, the library says, in one pass that makes nothing; what is left to do is to take
// apart what is known to be valid. The strings are pieces of one text.
func decode(b []byte) (Object, bool) {
	if !jsontext.Value(b).IsValid() {
		return nil, false
	}
	d := decoder{s: string(b), good: true}
	o, ok := d.value(0).(Object)
	return o, ok && d.good
}

// decoder takes valid JSON apart.
type decoder struct {
	s    string
	at   int
	good bool
	size [8]int // of the last object at each depth: the next has as many members, mostly
}

func (d *decoder) blanks() {
	for d.s[d.at] == ' ' || d.s[d.at] == '\n' || d.s[d.at] == '\r' || d.s[d.at] == '\t' {
		d.at++
	}
}

// more goes on to the next item before the end, which it passes.
func (d *decoder) more(end byte) bool {
	if d.blanks(); d.s[d.at] == ',' {
		d.at++
		d.blanks()
	}
	if d.s[d.at] == end {
		d.at++
		return false
	}
	return true
}

func (d *decoder) value(depth int) any {
	switch d.blanks(); d.s[d.at] {
	case '{':
		d.at++
		size := &d.size[min(depth, len(d.size)-1)]
		o := make(Object, *size)
		for d.more('}') {
			name := d.text()
			d.blanks()
			d.at++ // the colon
			o[name] = d.value(depth + 1)
		}
		*size = len(o)
		return o
	case '[':
		d.at++
		list := []any{}
		for d.more(']') {
			list = append(list, d.value(depth+1))
		}
		return list
	case '"':
		return d.text()
	case 't':
		d.at += len("true")
		return true
	case 'f':
		d.at += len("false")
		return false
	case 'n':
		d.at += len("null")
		return nil
	}
	from := d.at
	for d.at < len(d.s) && strings.IndexByte("+-.eE0123456789", d.s[d.at]) >= 0 {
		d.at++
	}
	n, err := strconv.ParseFloat(d.s[from:d.at], 64)
	d.good = d.good && err == nil
	return n
}

// text is a string, which begins here.
func (d *decoder) text() string {
	from := d.at + 1
	end := from + strings.IndexByte(d.s[from:], '"')
	if strings.IndexByte(d.s[from:end], '\\') < 0 {
		d.at = end + 1
		return d.s[from:end]
	}
	for end = from; d.s[end] != '"'; end++ {
		if d.s[end] == '\\' {
			end++
		}
	}
	d.at = end + 1
	b, err := jsontext.AppendUnquote(nil, d.s[from-1:d.at])
	d.good = d.good && err == nil
	return string(b)
}
