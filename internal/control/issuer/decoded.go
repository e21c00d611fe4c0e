package issuer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decoded is a text that stands encoded in a request, where nobody could read it.
type decoded struct{ Where, Text string }

const maxDecoded = 20

// decodedTexts finds in JSON what is base64 of a text, as mails in requests to Gmail are. more: there is more of it.
func decodedTexts(body string) (list []decoded, more bool) {
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return nil, false
	}
	var walk func(where string, v any)
	walk = func(where string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) { // each time the same, and the same first
				walk(strings.TrimPrefix(where+"."+name, "."), v[name])
			}
		case []any:
			for n, inner := range v {
				walk(fmt.Sprintf("%s[%d]", where, n), inner)
			}
		case string:
			text, ok := decode(v)
			if more = more || ok && len(list) == maxDecoded; ok && !more {
				list = append(list, decoded{where, text})
			}
		}
	}
	walk("", v)
	return list, more
}

// decode reads base64 in either alphabet, when it is long enough to be no accident and holds a text.
func decode(s string) (string, bool) {
	if len(s) < 24 {
		return "", false
	}
	s = strings.TrimRight(s, "=")
	for _, alphabet := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		b, err := alphabet.DecodeString(s)
		if err == nil && utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
		}) {
			return strings.ReplaceAll(string(b), "\r\n", "\n"), true
		}
	}
	return "", false
}
