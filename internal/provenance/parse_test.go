package provenance

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func fields(s string) []string { return strings.Fields(s) }

func (n node) String() string {
	switch n.kind {
	case 'm':
		var b []string
		for _, k := range n.kids {
			b = append(b, k.key+":"+k.String())
		}
		return "{" + strings.Join(b, " ") + "}"
	case 'l':
		var b []string
		for _, k := range n.kids {
			b = append(b, k.String())
		}
		return "[" + strings.Join(b, " ") + "]"
	}
	return fmt.Sprintf("%q", n.text)
}

// TestParse: structure is read where it is one; all else is text.
func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":[1,"x",null,{"b":true}]}`:        `{a:["1" "x" "" {b:"true"}]}`,
		`["a"]`:                                `["a"]`,
		`"a"`:                                  "",
		`{"a":1} x`:                            "",
		`{"a":1,"a":2}`:                        "",
		"a: b\nc:\n- d\n- e: f\n  g: h\ni: []": `{a:"b" c:["d" {e:"f" g:"h"}] i:[]}`,
		"- a\n- 'it''s'\n- \"q\\n\\u0041\"":    "[\"a\" \"it's\" \"q\\nA\"]",
		"a: one\n  two\nb: 'one\n\n  two'":     `{a:"one two" b:"one\ntwo"}`,
		"a: \"one \\\n  \\  two\"":             `{a:"one   two"}`,
		"a: |-\n  b: c\n  d\ne: f":             `{a:"  b: c\n  d" e:"f"}`,
		"x:\n  y:\n    z: 1":                   `{x:{y:{z:"1"}}}`,
		"a: b\n c: d":                          "",
		"a: &x b":                              "",
		"a: {b: c}":                            "",
		"Hello there.\nparticipants:\n- eve@x.example": "",
		"Note: hi\nplain line":                         "",
		"just text":                                    "",
		"":                                             "",
	} {
		n, ok := parse(in)
		got := ""
		if ok {
			got = n.String()
		}
		if got != want {
			t.Errorf("%q is\n%s, want\n%s", in, got, want)
		}
	}
}

// FuzzParse: it never fails otherwise than by saying that there is no structure; and where a program wrote a text into a field
// as YAML, no text makes another field: it is read back as the whole of that field, or not at all.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a", "x\n- y: z\n", "'\nparticipants:\n- eve@x.example", "\"\nto: x", "a: b", "|\n x", "# c", "- ", "\u2028x: y", "\ty: z", "--- \n...", "? a\n: b", " lead", "trail ", "a #b", "é", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parse(s)
		whole, err := yaml.Marshal(map[string]any{"before": "1", "text": s, "tail": []string{s, "end"}})
		if err != nil {
			return
		}
		n, ok := parse(string(whole))
		if !ok {
			return
		}
		if n.kind != 'm' || len(n.kids) != 3 {
			t.Fatalf("%q became %s", whole, n)
		}
		for _, k := range n.kids {
			if k.key == "text" && k.kind != 's' || k.key == "tail" && (len(k.kids) != 2 || k.kids[0].kind != 's') {
				t.Fatalf("%q became %s", whole, n)
			}
		}
	})
}

// FuzzRead: whatever is read and whatever is asked, nothing that strangers' text alone named is taken for better than that.
func FuzzRead(f *testing.F) {
	f.Add(inbox, "mallory@evil.example", "what is new?")
	f.Add("see hxxp://evil[.]example", "evil.example", "x")
	f.Fuzz(func(t *testing.T, result, value, words string) {
		m := New(words)
		m.Read(house, tool("get_webpage", "url"), args("url", "https://x.example"), result, true)
		judged := m.Judge(house, tool("send_email", "to", "body"), args("to", value, "body", result))
		for _, o := range judged.Destinations {
			if o == Record || o == Named || o == Listed {
				t.Fatalf("%q of a page is %s", value, o)
			}
		}
		if n := normal(value); normal(n) != n && !strings.HasPrefix(n, "#") {
			t.Skip() // <a@b> in <...>: one step is what is compared everywhere
		}
	})
}

// FuzzWords: reading what a user said never fails, and each address in it is the user's.
func FuzzWords(f *testing.F) {
	f.Add("Send it to bob@b.example. Don't \"delete\" it, he's there")
	f.Fuzz(func(t *testing.T, s string) {
		m := New(s)
		for v := range Values(s) {
			if o := m.origin(house, v).Origin; o != Words {
				t.Fatalf("%q in %q is %s", v, s, o)
			}
		}
	})
}

var message = strings.Repeat("- id_: '7'\n  sender: eve@evil.example\n  recipients:\n  - maya@acme.example\n  subject: Lunch\n  body: 'Hi Maya,\n\n    shall we meet at noon? See www.place.example/menu for what there is.\n\n    Eve'\n", 3)

// BenchmarkMessage is what a typical message costs: three mails are read, and one is answered.
func BenchmarkMessage(b *testing.B) {
	get, send := tool("get_mail"), tool("send_email", "to", "subject", "body")
	a := args("to", "eve@evil.example", "subject", "Lunch", "body", "Hi Eve, noon is fine. See you there, and thank you for the address. Maya")
	for b.Loop() {
		m := New("Please answer Eve's mail about lunch")
		m.Read(house, get, nil, message, true)
		m.Judge(house, send, a)
	}
}

// BenchmarkJudge is what is asked of each call.
func BenchmarkJudge(b *testing.B) {
	m, send := New("Please answer Eve's mail about lunch"), tool("send_email", "to", "subject", "body")
	m.Read(house, tool("get_mail"), nil, message, true)
	a := args("to", "eve@evil.example", "subject", "Lunch", "body", "Hi Eve, noon is fine. See you there, and thank you for the address. Maya")
	for b.Loop() {
		m.Judge(house, send, a)
	}
}

// BenchmarkRead is what reading costs: a page of 100 KB.
func BenchmarkRead(b *testing.B) {
	page, get := strings.Repeat(message, 100<<10/len(message)), tool("get_mail")
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		m := New("Please answer Eve's mail about lunch")
		m.Read(house, get, nil, page, true)
	}
}
