package connector

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// Few reports whether a text, as far as it is JSON, holds at most so many values and names. Where maps are made of it, short ones
// take fifty times the room of their text.
func Few(b []byte, most int) bool {
	if len(b) <= 2*most { // each takes two bytes
		return true
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(b), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for n := 0; n <= most; {
		t, err := d.ReadToken()
		if err != nil {
			return true
		}
		if k := t.Kind(); k != '}' && k != ']' {
			n++
		}
	}
	return false
}
