package provenance

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is one word of a text, folded.
type token struct {
	text   string
	upper  bool // it began with a capital
	first  bool // of a sentence, or of a part of one
	quoted bool
}

// tokenize takes a text apart into words: letters and digits, nothing else.
func tokenize(s string) (list []token) {
	first, quote := true, rune(0)
	start := -1
	end := func(i int) {
		if start < 0 {
			return
		}
		r, _ := utf8.DecodeRuneInString(s[start:])
		list = append(list, token{strings.ReplaceAll(strings.ToLower(s[start:i]), "'", ""), unicode.IsUpper(r), first, quote != 0})
		first, start = false, -1
	}
	prev := ' '
	for i, r := range s {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if start < 0 {
				start = i
			}
		case r == '\'' && start >= 0 && quote == 0 && inWord(s[i+1:]): // don't is one word
		default:
			end(i)
			switch {
			case quote != 0 && r == quote:
				quote = 0
			case quote == 0 && (r == '"' || r == '`' || r == '\'' && (prev == ' ' || prev == '(' || prev == '\n')) && strings.ContainsRune(near(s[i+1:]), r):
				quote = r
			case strings.ContainsRune(".!?;:\n,", r):
				first = first || r != ',' || len(list) > 0 && quote == 0
			}
		}
		prev = r
	}
	end(len(s))
	return list
}

// near is the beginning of a text: as far as a quotation goes.
func near(s string) string { return s[:min(len(s), 256)] }

// inWord reports whether a letter follows an apostrophe.
func inWord(rest string) bool {
	r, _ := utf8.DecodeRuneInString(rest)
	return unicode.IsLetter(r)
}

// words are what the user said.
type words struct {
	folded string          // all words, with a blank before and after each
	values map[string]bool // addresses in them
	names  map[string]bool // words that began with a capital and are no verbs
	quoted map[string]bool // words in quotes
	kinds  kinds           // of what they ask for
	any    bool
}

func readWords(text string) words {
	w := words{values: map[string]bool{}, names: map[string]bool{}, quoted: map[string]bool{}, any: text != ""}
	list := tokenize(text)
	w.folded, w.kinds = fold(list), wanted(list)
	for _, t := range list {
		if _, isVerb := verb(t.text); t.upper && !isVerb && !asks[t.text] && utf8.RuneCountInString(t.text) > 2 {
			w.names[t.text] = true
		}
		if t.quoted {
			w.quoted[t.text] = true
		}
	}
	for v := range Values(text) {
		w.values[normal(v)] = true
		for i := 1; i+1 < len(v); i++ { // our site example.com.They know: a blank was forgotten
			if v[i] == '.' && unicode.IsUpper(rune(v[i+1])) && unicode.IsLower(rune(v[i-1])) && (hostLike(v[:i]) || mailLike(v[:i])) {
				w.values[normal(v[:i])] = true
			}
		}
	}
	return w
}

func fold(list []token) string {
	var b strings.Builder
	b.WriteByte(' ')
	for _, t := range list {
		b.WriteString(t.text)
		b.WriteByte(' ')
	}
	return b.String()
}

// has reports whether the user named v: an address exactly so, any other value word by word.
func (w *words) has(v string, address bool) bool {
	if address || w.values[v] {
		return w.values[v]
	}
	list := tokenize(v)
	return len(list) > 0 && (len(list) > 1 || len(list[0].text) > 1) && strings.Contains(w.folded, fold(list))
}

// names reports whether a field of a record is what the user called it by: two words of letters at least, or one in
// quotes; the ending of a file's name may be left out.
func (w *words) calls(field string) bool {
	if field == "" || len(field) > 128 || !w.any || !strings.ContainsFunc(field, unicode.IsLetter) || strings.ContainsAny(field, "\r\n") {
		return false
	}
	if len(w.quoted) == 0 && !strings.ContainsFunc(field, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return false // one word
	}
	list := tokenize(field)
	if n := len(list); n > 1 && len(list[n-1].text) <= 4 && strings.HasSuffix(strings.ToLower(field), "."+list[n-1].text) && w.telling(list[:n-1]) {
		return true
	}
	return w.telling(list)
}

func (w *words) telling(list []token) bool {
	n := 0
	for _, t := range list {
		if r, _ := utf8.DecodeRuneInString(t.text); unicode.IsLetter(r) && len(t.text) > 1 {
			n++
		}
	}
	if n < 2 && !(n == 1 && len(list) == 1 && w.quoted[list[0].text]) {
		return false
	}
	return strings.Contains(w.folded, fold(list))
}
