package provenance

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// normal is the one form of a value in which it is remembered and compared. Only what every system takes for
// the same is made the same: whatever is written otherwise is another value, which nobody has seen.
func normal(v string) string {
	v = strings.TrimSpace(v)
	if open := strings.LastIndexByte(v, '<'); open >= 0 && strings.HasSuffix(v, ">") && !strings.ContainsAny(v[:open], "@<>,;") { // Mark <mark@example.com>
		v = v[open+1 : len(v)-1]
	}
	if len(v) > 7 && strings.EqualFold(v[:7], "mailto:") {
		v = v[7:]
	}
	switch {
	case strings.Contains(v, "@") && !strings.Contains(v, "/"):
		v = strings.ToLower(v)
		at := strings.LastIndexByte(v, '@') + 1
		v = v[:at] + lookedUp(v[at:])
	case hasScheme(v) || hostLike(v):
		v = normalURL(v)
	default:
		v = strings.ToLower(v)
		if c := strings.ReplaceAll(v, " ", ""); iban(c) {
			v = c
		}
	}
	if len(v) > maxValue {
		sum := sha256.Sum256([]byte(v))
		return "#" + hex.EncodeToString(sum[:])
	}
	return v
}

// lookedUp is a domain in the form that is looked up (punycode), if it is one in other letters that nothing has to be left out of, or
// put in the place of: what only looks like another domain, or hides something, stays as it is.
func lookedUp(domain string) string {
	if !strings.ContainsFunc(domain, func(r rune) bool { return r >= 128 }) {
		return domain
	}
	d, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return domain
	}
	if back, err := idna.Lookup.ToUnicode(d); err != nil || back != domain {
		return domain
	}
	return d
}

func normalURL(v string) string {
	for _, scheme := range [...]string{"https://", "http://"} {
		if len(v) > len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) {
			v = v[len(scheme):]
			break
		}
	}
	if end := strings.IndexAny(v, "/?#"); end >= 0 {
		v = lookedUp(strings.ToLower(v[:end])) + v[end:]
	} else {
		v = lookedUp(strings.ToLower(v))
	}
	return strings.TrimSuffix(v, "/")
}

// hasScheme reports whether v begins like a URL of any kind.
func hasScheme(v string) bool {
	scheme, _, ok := strings.Cut(strings.TrimSpace(v), "://")
	return ok && scheme != "" && !strings.ContainsFunc(scheme, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '+' && r != '-' && r != '.'
	})
}

// onWeb reports whether v is a URL of the web.
func onWeb(v string) bool {
	v = strings.TrimSpace(v)
	return len(v) > 8 && (strings.EqualFold(v[:7], "http://") || strings.EqualFold(v[:8], "https://"))
}

// fileEndings are also domains of countries; what ends so, and says no more, is a file.
var fileEndings = set(`md sh py rs pl ps cc so`)

// hostLike reports whether v is, or begins with, the name of a host on the Internet: www.example.com/x.
func hostLike(v string) bool {
	host := v
	if end := strings.IndexAny(v, "/?#:"); end >= 0 {
		host = v[:end]
	}
	if len(host) > 253 || strings.ContainsAny(host, " @_") {
		return false
	}
	dot := strings.LastIndexByte(host, '.')
	if dot <= 0 || len(host)-dot < 3 {
		return false
	}
	labels := 1
	size := 0
	for _, r := range host {
		if r == '.' {
			if size == 0 {
				return false
			}
			size, labels = 0, labels+1
			continue
		}
		if size++; r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	host = strings.ToLower(host)
	if strings.HasPrefix(host, "www.") && labels > 2 {
		return true
	}
	if fileEndings[host[dot+1:]] && len(host) == len(v) && labels == 2 {
		return false
	}
	_, icann := publicsuffix.PublicSuffix(host)
	return icann
}

// maxMail is the most that a mail address has (RFC 5321 section 4.5.3.1, and a little).
const maxMail = 320

// mailLike reports whether v is an address of the form a@b.c.
func mailLike(v string) bool {
	at := strings.LastIndexByte(v, '@')
	return at > 0 && strings.IndexByte(v[at:], '.') > 1 && !strings.HasSuffix(v, ".") && !strings.ContainsAny(v, " /:")
}

// iban reports whether v could be an international account number, in lower case and without blanks.
func iban(v string) bool {
	if len(v) < 15 || len(v) > 34 {
		return false
	}
	for i := range len(v) {
		c := v[i]
		letter, digit := 'a' <= c && c <= 'z', '0' <= c && c <= '9'
		if i < 2 && !letter || i >= 2 && i < 4 && !digit || !letter && !digit {
			return false
		}
	}
	return true
}

// isAddress reports whether a normal value reaches somebody by itself, whoever knows it; a name does so only where it is known.
func isAddress(n string) bool {
	if strings.Contains(n, "@") && (len(n) <= maxMail || slices.ContainsFunc(parts(n), func(v string) bool { return mailLike(strings.TrimSpace(v)) })) || hasScheme(n) || hostLike(n) || iban(n) {
		return true
	}
	digits := 0
	for _, r := range n {
		switch {
		case unicode.IsDigit(r):
			digits++
		case r != ' ' && r != '-' && r != '+' && r != '(' && r != ')' && r != '/' && r != '.':
			return false
		}
	}
	return digits >= 8
}

// parts are the values in one argument: addresses may be written as a list.
func parts(v string) []string {
	if !strings.Contains(v, "@") || hasScheme(v) {
		return []string{v}
	}
	return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ';' || r == '\n' || r == '\r' })
}

// Values finds the addresses in a text.
func Values(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for w := range strings.FieldsFuncSeq(text, between) {
			if strings.IndexByte(w, '@') < 0 && strings.IndexByte(w, '.') < 0 && strings.IndexByte(w, ':') < 0 && (len(w) < 15 || !strings.ContainsAny(w, "0123456789")) {
				continue // most words
			}
			w = strings.TrimRight(w, ".,:!?…*_")
			w = strings.TrimLeft(w, "*_")
			if len(w) < 4 {
				continue
			}
			if len(w) > 7 && strings.EqualFold(w[:7], "mailto:") {
				w = w[7:]
			}
			if i := strings.Index(w, "://"); i > 0 { // see:https://example.com
				j := i
				for j > 0 && (unicode.IsLetter(rune(w[j-1])) || unicode.IsDigit(rune(w[j-1]))) {
					j--
				}
				w = w[j:]
			} else if i := strings.IndexByte(w, ':'); i > 0 && strings.Contains(w[i:], ".") && !hostLike(w) {
				w = w[i+1:]
			}
			if (hasScheme(w) || mailLike(w) || hostLike(w) || iban(strings.ToLower(w))) && !yield(w) {
				return
			}
		}
	}
}

// ascii says which bytes stand between words in which an address may be.
var ascii = func() (t [128]bool) {
	for _, c := range " \t\n\v\f\r<>()[]{}\"'`,;|" {
		t[c] = true
	}
	return t
}()

func between(r rune) bool {
	if r < 128 {
		return ascii[r]
	}
	return unicode.IsSpace(r) || strings.ContainsRune("“”‘’«»\u0085", r)
}

// undisguised is a text without ways of writing an address that people, and programs that look for links, still read as one.
func undisguised(s string) string {
	if !strings.ContainsAny(s, "[({%&") && !strings.Contains(s, "dot") && !strings.Contains(s, "DOT") && !strings.Contains(s, "xxp") && !strings.Contains(s, "XXp") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r >= 128 }) {
		return s
	}
	return plain.Replace(s)
}

// plain undoes ways of writing an address that people, and programs that look for links, still read as one.
var plain = strings.NewReplacer("[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", " dot ", ".", " DOT ", ".", "[at]", "@", "(at)", "@",
	"hxxp", "http", "hXXp", "http", "．", ".", "。", ".", "｡", ".", "＠", "@", "：//", "://", "%2E", ".", "%2e", ".", "&#46;", ".", "\u00ad", "", "\u200b", "", "\u200c", "", "\u200d", "", "\u2060", "", "\ufeff", "")

// telling is the part of an address by which it is recognised however the rest is written: of a host its longest label, of a
// mail address what stands before the @ and the first label after it, letters and digits alone. Empty when it is too short to tell anything.
func telling(n string) string {
	best := n
	if at := strings.IndexByte(n, '@'); at > 0 {
		domain, _, _ := strings.Cut(n[at+1:], ".")
		best = n[:at] + domain
	} else if hasScheme(n) || hostLike(n) {
		if _, rest, ok := strings.Cut(n, "://"); ok {
			n = rest
		}
		if end := strings.IndexAny(n, "/?#:"); end >= 0 {
			n = n[:end]
		}
		best = ""
		for label := range strings.SplitSeq(n, ".") {
			if len(label) > len(best) {
				best = label
			}
		}
	}
	best = squash(best)
	if len(best) < 8 {
		return ""
	}
	return best
}

func squash(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}
