package layer

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// masks says what is masked.
type masks struct{ cards, accounts, identities, secrets, addresses bool }

func masksOf(l Layers) masks {
	has := func(w string) bool { return l.Show == Redacted || slices.Contains(l.Reduce.Mask, w) }
	return masks{has("cards"), has("accounts"), has("identities"), has("secrets"), l.Show == Redacted}
}

func (m masks) some() bool { return m != masks{} }

var (
	secretForms = []struct {
		form   *regexp.Regexp
		words  []string // of which one is there, in small letters
		digits int      // that are there at least
	}{
		{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----.*?(-----END [A-Z ]*PRIVATE KEY( BLOCK)?-----|\z)`), nil, 0},
		{regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`), []string{"akia", "asia"}, 0},
		{regexp.MustCompile(`\b(?:gh[pousr]_[0-9A-Za-z]{20,}|github_pat_[0-9A-Za-z_]{20,}|glpat-[0-9A-Za-z_-]{20,}|xox[abeoprs]-[0-9A-Za-z-]{10,}|AIza[0-9A-Za-z_-]{30,}|sk-[0-9A-Za-z_-]{20,}|sk_live_[0-9A-Za-z]{10,}|ya29\.[0-9A-Za-z_-]{20,})`),
			[]string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "aiza", "sk-", "sk_live_", "ya29."}, 0},
		{regexp.MustCompile(`\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{4,}\.[0-9A-Za-z_-]*`), []string{"eyj"}, 0},
		{regexp.MustCompile(`(?i)\b(?:password|passwort|passphrase|passcode|mot de passe|contraseña|secret|token|api[ _-]?key|access[ _-]?key|client[ _-]?secret|pwd)\b["']?\s*(?:is|ist|lautet|:|=)+\s*["']?[^\s"'<>]+`),
			[]string{"passw", "passp", "passc", "mot de passe", "contrase", "secret", "token", "key", "pwd"}, 0},
		{regexp.MustCompile(`(?i)\b(?:(?:verification|security|login|sign-in|one-time|access|confirmation)\s+code|otp|pin|tan)\b[^\d\n]{0,24}\d{4,8}\b`), []string{"code", "otp", "pin", "tan"}, 4},
		{regexp.MustCompile(`(?i)\b\d{4,8}\b[^\d\n]{0,12}\b(?:is your|ist Ihr)\b[^\n]{0,24}\bcode\b`), []string{"code"}, 4},
	}
	identityForms = []struct {
		form   *regexp.Regexp
		good   func(string) bool
		digits int // that stand together at least, see together
		word   int // of so many letters and digits at least
	}{
		{regexp.MustCompile(`\b\d{3}[- ]\d{2}[- ]\d{4}\b`), func(s string) bool { return s[:3] != "000" && s[:3] != "666" && s[0] != '9' }, 9, 0}, // USA
		{regexp.MustCompile(`(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b`), nil, 6, 0},                                // United Kingdom
		{regexp.MustCompile(`\b[12378] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}\b`), french, 8, 0},                                     // France
		{regexp.MustCompile(`(?i)\b(?:\d{8}|[XYZ]-?\d{7})-?[A-HJ-NP-TV-Z]\b`), spanish, 7, 0},                                                     // Spain
		{regexp.MustCompile(`(?i)\b[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]\b`), nil, 0, 16},                      // Italy
		{regexp.MustCompile(`\b[1-9]\d ?\d{3} ?\d{3} ?\d{3}\b`), german, 11, 0},                                                                   // Germany
		{regexp.MustCompile(`\b\d{6}[-+]\d{4}\b`), func(s string) bool { return luhn(digits(s)) }, 10, 0},                                         // Sweden
	}
	addressForm = regexp.MustCompile(`[\pL\pN._%+'-]+@[\pL\pN.-]+\.[\pL\pN-]{2,}`)
	linkForm    = regexp.MustCompile(`(?i)\b(?:[a-z][a-z0-9+.-]*://|www\.|mailto:|tel:)[^\s<>"')\]]+`)
	phoneForm   = regexp.MustCompile(`(?:\+|\b00)\d[\d ()./-]{7,18}\d`)
)

// mask takes out of text what is to be masked. The text that is looked at has no
// invisible letters and no wide ones, so that none hides a number.
func (r *Rules) maskText(s string) string {
	if !r.mask.some() && len(r.patterns) == 0 {
		return s
	}
	s = plainLetters(s)
	for _, re := range r.patterns {
		s = re.ReplaceAllLiteralString(s, "[masked]")
	}
	if r.mask.secrets && strings.Contains(s, "-----BEGIN") {
		s = secretForms[0].form.ReplaceAllLiteralString(s, "[secret]")
	}
	if !r.mask.some() {
		return s
	}
	var b strings.Builder
	kept := 0 // s[:kept] is in b
	for from := 0; from < len(s); {
		l := scan(s[from:])
		if line := s[from : from+l.size]; l.digits >= 2 || l.has != 0 || r.mask.addresses {
			if masked := r.maskLine(line, l); masked != line {
				b.WriteString(s[kept:from])
				b.WriteString(masked)
				kept = from + l.size
			}
		}
		from += l.size
	}
	if kept == 0 {
		return s
	}
	b.WriteString(s[kept:])
	return b.String()
}

// maskLine masks in a line of which l is known. What a line cannot hold is not looked for in it: most have few
// digits and none of the words that go with a secret, and to look is what masking costs.
func (r *Rules) maskLine(line string, l scanned) string {
	if r.mask.secrets {
		for i, f := range secretForms {
			if l.has&(1<<i) != 0 && l.digits >= f.digits {
				line = f.form.ReplaceAllLiteralString(line, "[secret]")
			}
		}
	}
	if r.mask.accounts && l.digits >= 2 {
		line = maskAccounts(line)
	}
	if r.mask.cards && l.digits >= 13 {
		line = maskCards(line)
	}
	if r.mask.identities {
		digits, word := together(line)
		for _, f := range identityForms {
			if digits < f.digits || word < f.word {
				continue
			}
			line = f.form.ReplaceAllStringFunc(line, func(m string) string {
				if f.good == nil || f.good(m) {
					return "[identity]"
				}
				return m
			})
		}
	}
	if r.mask.addresses {
		if l.has&(1<<aLink) != 0 {
			line = linkForm.ReplaceAllLiteralString(line, "[link]")
		}
		if strings.IndexByte(line, '@') >= 0 {
			line = addressForm.ReplaceAllLiteralString(line, "[address]")
		}
		if l.digits >= 2 {
			line = phoneForm.ReplaceAllLiteralString(line, "[phone]")
		}
	}
	return line
}

// together is how many digits of a line stand together at most, with one blank, hyphen or plus between two of them, and of how
// many letters and digits its longest word is.
func together(line string) (digits, word int) {
	d, w := 0, 0
	for i := range len(line) {
		switch c := line[i]; {
		case digit(c):
			d, w = d+1, w+1
		case letter(c):
			d, w = 0, w+1
		default:
			if w = 0; c != ' ' && c != '-' && c != '+' || i == 0 || !digit(line[i-1]) {
				d = 0
			}
		}
		digits, word = max(digits, d), max(word, w)
	}
	return digits, word
}

// plainLetters is s without letters that are not seen, its wide letters and its digits of
// other scripts as those of ASCII.
func plainLetters(s string) string {
	if ascii(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unseen(r):
			return -1
		case r >= 0xff01 && r <= 0xff5e:
			return r - 0xff01 + '!'
		case r == 0xa0 || r >= 0x2000 && r <= 0x200a || r == 0x202f || r == 0x205f || r == 0x3000:
			return ' '
		case r >= 0x2010 && r <= 0x2015 || r == 0x2212:
			return '-'
		case r == 0x212a: // a K, and an s, to whoever does not look at the case
			return 'K'
		case r == 0x17f:
			return 's'
		case r >= 0x80 && unicode.IsDigit(r):
			for d := rune(0); d < 10; d++ { // the digits of a script follow each other, from its zero on
				if !unicode.IsDigit(r-d-1) || d == 9 {
					return '0' + d
				}
			}
		}
		return r
	}, s)
}

// visible is s without letters that are not seen.
func visible(s string) string {
	if ascii(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unseen(r) {
			return -1
		}
		return r
	}, s)
}

// unseen reports whether a letter takes no place: zero-width, soft hyphens, marks of
// direction, tags, variation selectors, fillers.
func unseen(r rune) bool {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return false
	case r < 0x20 || r == 0x7f || r == 0xad || r == 0x34f || r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0 || r == 0x2800:
		return true
	case r >= 0xfe00 && r <= 0xfe0e || r >= 0xe0000 && r <= 0xe0fff:
		return true
	}
	return r >= 0x80 && unicode.Is(unicode.Cf, r)
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

func luhn(d string) bool {
	sum := 0
	for i := range len(d) {
		n := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return d != "" && sum%10 == 0
}

var digitRun = regexp.MustCompile(`\d(?:[ .\-/]{0,3}\d)*`)

// maskCards masks card numbers (ISO/IEC 7812), in whatever groups they are written.
func maskCards(s string) string {
	return digitRun.ReplaceAllStringFunc(s, func(run string) string {
		var groups [][]int // begin and end of each group of digits
		for i := 0; i < len(run); i++ {
			if run[i] < '0' || run[i] > '9' {
				continue
			}
			if i == 0 || run[i-1] < '0' || run[i-1] > '9' {
				groups = append(groups, []int{i, i})
			}
			groups[len(groups)-1][1] = i + 1
		}
		for from := 0; from < len(groups); from++ {
			n := 0
			for to := from; to < len(groups) && n <= 19; to++ {
				n += groups[to][1] - groups[to][0]
				if d := digits(run[groups[from][0]:groups[to][1]]); n >= 13 && n <= 19 && d[0] >= '2' && d[0] <= '6' && luhn(d) {
					return run[:groups[from][0]] + "[card]" + maskCards(run[groups[to][1]:])
				}
			}
		}
		return run
	})
}

// maskAccounts masks IBANs (ISO 13616) whose check digits hold, in whatever groups they are written.
func maskAccounts(s string) string {
	var b strings.Builder
	kept := 0
	for i := 0; i+15 <= len(s); i++ {
		if !digit(s[i+2]) || !digit(s[i+3]) || !letter(s[i]) || !letter(s[i+1]) || i > 0 && (isAlnum(s[i-1]) || s[i-1] == '_') {
			continue
		}
		if n := account(s[i:]); n > 0 {
			b.WriteString(s[kept:i])
			b.WriteString("[account]")
			i += n - 1
			kept = i + 1
		}
	}
	if kept == 0 {
		return s
	}
	return b.String() + s[kept:]
}

// account is the size of the longest IBAN that s begins with; 0 for none.
func account(s string) (size int) {
	var t [34]byte
	n := 0
	for i := 0; i < len(s) && n < len(t); i++ {
		switch c := s[i]; {
		case letter(c):
			t[n] = c &^ 0x20
			n++
		case digit(c):
			t[n] = c
			n++
		case n > 3 && (c == ' ' || c == '.' || c == '-') && isAlnum(s[i-1]):
			continue
		default:
			return size
		}
		if n >= 15 && iban(t[:n]) {
			size = i + 1
		}
	}
	return size
}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isAlnum(c byte) bool { return digit(c) || letter(c) }

func iban(t []byte) bool {
	rest := 0
	for i := range t {
		c := t[(i+4)%len(t)]
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest == 1
}

func french(s string) bool {
	d := strings.ReplaceAll(s, " ", "")
	d = strings.NewReplacer("2A", "19", "2B", "18").Replace(d)
	if len(d) != 15 || digits(d) != d {
		return false
	}
	n, _ := new(big.Int).SetString(d[:13], 10)
	key, _ := new(big.Int).SetString(d[13:], 10)
	return 97-new(big.Int).Mod(n, big.NewInt(97)).Int64() == key.Int64()
}

func spanish(s string) bool {
	s = strings.NewReplacer("-", "", "X", "0", "Y", "1", "Z", "2").Replace(strings.ToUpper(s[:len(s)-1])) + strings.ToUpper(s[len(s)-1:])
	n := 0
	for _, c := range []byte(digits(s)) {
		n = n*10 + int(c-'0')
	}
	return "TRWAGMYFPDXBNJZSQVHLCKE"[n%23] == s[len(s)-1]
}

// german is the check digit of a tax number (ISO 7064, MOD 11,10).
func german(s string) bool {
	d := digits(s)
	p := 10
	for i := range 10 {
		n := (int(d[i]-'0') + p) % 10
		if n == 0 {
			n = 10
		}
		p = n * 2 % 11
	}
	return (11-p)%10 == int(d[10]-'0')
}
