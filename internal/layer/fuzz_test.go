package layer

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

// letters are those of a text without blanks, in order.
func letters(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
	b := []rune(s)
	slices.Sort(b)
	return string(b)
}

// FuzzTogether: where a national number may stand is looked for one.
func FuzzTogether(f *testing.F) {
	for _, s := range []string{"078-05-1120", "AB 12 34 56 C", "1 85 05 2A 006 084 36", "x1234567-L y", "RSSMRA85T10A562S", "86 095 742 719", "811218-9876", "X-1234567L"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = plainLetters(s)
		digits, word := together(s)
		for i, form := range identityForms {
			if form.form.MatchString(s) && (digits < form.digits || word < form.word) {
				t.Fatalf("%q: form %d is not looked for: %d digits, %d", s, i, digits, word)
			}
		}
	})
}

// FuzzSimpleText: a document that is read in one pass says what it says to a browser, and nothing that is hidden there.
func FuzzSimpleText(f *testing.F) {
	f.Add(`<p>Hello <b>you</b> &amp; me</p><div style="color:red">x<br/>y</div><a href="https://a.example/?b=c">go</a>`)
	f.Add(`<p style="display:none">x</p>y`)
	f.Add(`<ul><li>a<li>b</ul><font color="#ffffff">z</font><span class="x" id="y">w</span></body>after`)
	f.Fuzz(func(t *testing.T, s string) {
		fast, ok := simpleText(s)
		if !ok {
			return
		}
		if slow := treeText(s); letters(fast) != letters(slow) {
			t.Fatalf("%q: %q in one pass, %q to a browser", s, fast, slow)
		}
	})
}

// FuzzWords: eight letters at once are the same as one after the other.
func FuzzWords(f *testing.F) {
	f.Add("some words here, and  two blanks")
	f.Add(" begins with a blank")
	f.Add("eight by\teight \x7f and ü")
	f.Fuzz(func(t *testing.T, s string) {
		want, before := 0, false
		for want < len(s) && s[want] >= ' ' && s[want] < 0x80 && !(s[want] == ' ' && before) {
			before = s[want] == ' '
			want++
		}
		if got := words(s); got != want {
			t.Fatalf("%q: %d, want %d", s, got, want)
		}
	})
}

// FuzzDomain: a domain that is taken as it is would not be changed by the long way.
func FuzzDomain(f *testing.F) {
	f.Add("example.com")
	f.Add("xn--bcher-kva.example")
	f.Add("a-.example")
	f.Fuzz(func(t *testing.T, s string) {
		if !plainDomain(s) {
			return
		}
		if d, err := domains.ToASCII(s); err != nil || d != s {
			t.Fatalf("%q: %q, %v", s, d, err)
		}
	})
}

// FuzzScan: what one look finds in a line is what is there.
func FuzzScan(f *testing.F) {
	f.Add("My PASSWORD is x, Kkey 12345\n")
	f.Add("https://a.example ghp_abc sk-abc")
	f.Fuzz(func(t *testing.T, s string) {
		l := scan(s)
		line, _, more := strings.Cut(s, "\n")
		if more {
			line += "\n"
		}
		if l.size != len(line) || l.digits != len(digits(line)) {
			t.Fatalf("%q: %+v", s, l)
		}
		low := strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, line)
		for i, form := range secretForms {
			if slices.ContainsFunc(form.words, func(w string) bool { return strings.Contains(low, w) }) && l.has&(1<<i) == 0 {
				t.Fatalf("%q: form %d is not found", s, i)
			}
		}
		if ascii(s) != (strings.IndexFunc(s, func(r rune) bool { return r >= 0x7f || r < 0x20 && !strings.ContainsRune("\t\n\r", r) }) < 0) {
			t.Fatalf("%q: ascii is %v", s, ascii(s))
		}
	})
}
