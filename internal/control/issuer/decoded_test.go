package issuer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestDecoded: what is encoded is shown in one order, and that not all of it is shown is said.
func TestDecoded(t *testing.T) {
	words := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"m%02d":["x","%s"]`, i, b64.EncodeToString(fmt.Appendf(nil, "a text that is number %02d", i))))
		}
		slices.Reverse(list)
		return `{"of":{` + strings.Join(append(list, `"zz":"no text"`), ",") + `}}`
	}
	for _, c := range []struct {
		body  string
		shown int
		more  bool
	}{{"", 0, false}, {words(0)[:6], 0, false}, {words(3), 3, false}, {words(20), 20, false}, {words(21), 20, true}, {words(60), 20, true}} {
		for range 5 {
			list, more := decodedTexts(c.body)
			if len(list) != c.shown || more != c.more {
				t.Errorf("%d of %s, %v", len(list), c.body, more)
			}
			for n, d := range list {
				if d.Where != fmt.Sprintf("of.m%02d[1]", n) || d.Text != fmt.Sprintf("a text that is number %02d", n) {
					t.Errorf("%d is %+v", n, d)
				}
			}
		}
	}
}
