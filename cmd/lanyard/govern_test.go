package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestWhere: what --where can say, and what is a slip of the hand.
func TestWhere(t *testing.T) {
	for where, want := range map[string]string{
		"path=/a":                   `{"path":{"is":"/a"}}`,
		"path=/a/*":                 `{"path":{"like":"/a/*"}}`,
		"amount<=100.50":            `{"amount":{"max":100.5}}`,
		"amount>=-5 amount<=100.50": `{"amount":{"min":-5,"max":100.5}}`,
		"amount<=ten":               "is no number",
		"amount<=NaN":               "is no number",
		"amount<=0x10":              "is no number",
		"amount<>=1":                "want ARGUMENT",
		"amount<5":                  "want ARGUMENT",
	} {
		all := map[string]policy.Condition{}
		var err error
		for _, w := range strings.Fields(where) {
			if e := condition(all, w); e != nil {
				err = e
			}
		}
		b, _ := json.Marshal(all)
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && string(b) != want {
			t.Errorf("%s: %s %v, want %s", where, b, err, want)
		}
	}
}
