package office

import (
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// encode appends what was read of JSON, the members of objects by name.
func encode(b []byte, v any) ([]byte, error) { return new(encoder).value(b, v, 0) }

// encoder knows the names of the last object at each depth, in order: the next one has the same, mostly.
type encoder struct{ names [8][]string }

// order is the names of o, sorted.
func (e *encoder) order(o Object, depth int) []string {
	if depth < len(e.names) && len(e.names[depth]) == len(o) {
		same := true
		for _, name := range e.names[depth] {
			if _, same = o[name]; !same {
				break
			}
		}
		if same {
			return e.names[depth]
		}
	}
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	if depth < len(e.names) {
		e.names[depth] = names
	}
	return names
}

func (e *encoder) value(b []byte, v any, depth int) (_ []byte, err error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return quote(b, v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return strconv.AppendInt(b, int64(v), 10), nil
		}
	case []any:
		b = append(b, '[')
		for i, one := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = e.value(b, one, depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case Object:
		b = append(b, '{')
		for i, name := range e.order(v, depth) {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = quote(b, name); err != nil {
				return nil, err
			}
			if b, err = e.value(append(b, ':'), v[name], depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	other, err := json.Marshal(v, json.Deterministic(true))
	return append(b, other...), err
}

// quote appends a string.
func quote(b []byte, s string) ([]byte, error) {
	if plainText(s) {
		return append(append(append(b, '"'), s...), '"'), nil
	}
	return jsontext.AppendQuote(b, s)
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
