package office

import (
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// encode appends what was read of JSON, the members of objects by name.
func encode(b []byte, v any) (_ []byte, err error) {
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
			if b, err = encode(b, one); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case Object:
		var some [32]string
		names := some[:0]
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		b = append(b, '{')
		for i, name := range names {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = quote(b, name); err != nil {
				return nil, err
			}
			if b, err = encode(append(b, ':'), v[name]); err != nil {
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
