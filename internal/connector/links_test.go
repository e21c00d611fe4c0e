package connector

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func turning(s string, slow bool) (string, error) {
	var in io.Reader = strings.NewReader(s)
	if slow {
		in = iotest.OneByteReader(in)
	}
	b, err := io.ReadAll(Turn(io.NopCloser(in), []string{"@odata.nextLink", "@odata.deltaLink", "uploadUrl"}, func(link string) string {
		rest, ok := strings.CutPrefix(link, "https://graph.example")
		if !ok {
			return ""
		}
		return "http://here/graph" + rest
	}))
	return string(b), err
}

func TestTurn(t *testing.T) {
	for in, want := range map[string]string{
		`{"value":[],"@odata.nextLink":"https://graph.example/v1.0/a?b=c"}`:                                 `{"value":[],"@odata.nextLink":"http://here/graph/v1.0/a?b=c"}`,
		`{"@odata.deltaLink" : "https:\/\/graph.example\/a\u0026b","value":[]}`:                             `{"@odata.deltaLink":"http://here/graph/a&b","value":[]}`,
		`{"value":[{"attachments@odata.nextLink":"https://graph.example/x"}],"@odata.nextLink":null}`:       `{"value":[{"attachments@odata.nextLink":"http://here/graph/x"}],"@odata.nextLink":null}`,
		`{"a":"@odata.nextLink","b":"\"@odata.nextLink\":\"https://graph.example/x\""}`:                     `{"a":"@odata.nextLink","b":"\"@odata.nextLink\":\"https://graph.example/x\""}`,
		`{"@odata.nextLink":"https://evil.example/x","v":1}`:                                                `{"@odata.nextLink":null,"v":1}`,
		`{"@odata.nextLink":"https://graph.example/` + strings.Repeat("x", 40000) + `","v":"@odata.nextLin`: `{"@odata.nextLink":"http://here/graph/` + strings.Repeat("x", 40000) + `","v":"@odata.nextLin`,
		`{"uploadUrl":"https://graph.example/up","uploadUr":"uploadUrl","@odata.":"@odata.nextLin"}`:        `{"uploadUrl":"http://here/graph/up","uploadUr":"uploadUrl","@odata.":"@odata.nextLin"}`,
		`{"uploadUrl":"","@odata.nextLink" : "" }`:                                                          `{"uploadUrl":"","@odata.nextLink":"" }`, // of others, whose names are the same
		"": "", "x": "x", "u": "u", `"uploadUrl`: `"uploadUrl`,
	} {
		for _, slow := range []bool{false, true} {
			if got, err := turning(in, slow && len(in) < 1000); got != want || err != nil {
				t.Errorf("%.200s: %.200s, %v", in, got, err)
			}
		}
	}
	if s, err := turning(`{"@odata.nextLink":"https://graph.example/`, false); err == nil {
		t.Error(s)
	}
}

// FuzzTurn: however it arrives, the same is handed on, and nothing but links is changed.
func FuzzTurn(f *testing.F) {
	f.Add(`{"value":[],"@odata.nextLink":"https://graph.example/v1.0/a?b=c"}`)
	f.Add(`{"a":"\"@odata.nextLink\":\"x\"","@odata.deltaLink" : "https:\/\/evil\u002e"}`)
	f.Fuzz(func(t *testing.T, s string) {
		a, err := turning(s, false)
		b, err2 := turning(s, true)
		if (err == nil) != (err2 == nil) || err == nil && a != b {
			t.Fatalf("%q: %q (%v), in pieces %q (%v)", s, a, err, b, err2)
		}
		if !strings.Contains(s, "@odata.") && !strings.Contains(s, "uploadUrl") && a != s {
			t.Fatalf("%q became %q", s, a)
		}
	})
}
