package layer

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// contacts are people and domains. Who is allowed is who is spelled the same; who is
// never to be is whoever could be the same: the part after a plus, dots and the case
// of a name make no other person, and a domain holds all that is below it.
type contacts struct {
	people  map[string]bool
	domains map[string]bool // example.com
	below   map[string]bool // *.example.com: what is below it
	wide    bool
}

func (c *contacts) some() bool { return len(c.people)+len(c.domains)+len(c.below) > 0 }

func (c *contacts) add(word string, wide bool) error {
	if c.people == nil {
		c.people, c.domains, c.below = map[string]bool{}, map[string]bool{}, map[string]bool{}
	}
	c.wide = wide
	if strings.Contains(word, "@") {
		a := canonical(word)
		if a == "" {
			return fmt.Errorf("%q is no address; write ben@example.com, example.com, or *.example.com", word)
		}
		c.people[c.same(a)] = true
		return nil
	}
	name, all := strings.CutPrefix(word, "*.")
	d := canonicalDomain(name)
	if d == "" || !strings.Contains(d, ".") {
		return fmt.Errorf("%q is no domain; write ben@example.com, example.com, or *.example.com", word)
	}
	if all {
		c.below[d] = true
	}
	if !all || wide {
		c.domains[d] = true
	}
	return nil
}

// same is what all spellings of one person have in common, where that matters.
func (c *contacts) same(address string) string {
	if !c.wide {
		return address
	}
	at := strings.LastIndexByte(address, '@')
	local, _, _ := strings.Cut(address[:at], "+")
	return strings.ReplaceAll(local, ".", "") + address[at:]
}

// have reports whether the address is one of them. What is no address is none.
func (c *contacts) have(address string) bool {
	a := canonical(address)
	if a == "" {
		return false
	}
	d := a[strings.LastIndexByte(a, '@')+1:]
	if len(c.people) > 0 && c.people[c.same(a)] || c.domains[d] {
		return true
	}
	for rest := d; ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return false
		}
		if rest = after; c.below[rest] || c.wide && c.domains[rest] {
			return true
		}
	}
}

// canonical is an address in the one form that it has: lower case, its domain in the
// form that is looked up (punycode), and nothing that only looks like it. "" is what is none.
func canonical(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at > 0 && len(s) <= 320 && plainLocal(s[:at]) && plainDomain(s[at+1:]) {
		return s
	}
	if at <= 0 || len(s) > 320 || strings.ContainsFunc(s, unseen) {
		return ""
	}
	local, d := strings.ToLower(s[:at]), canonicalDomain(s[at+1:])
	if d == "" || strings.ContainsFunc(local, odd) {
		return ""
	}
	return local + "@" + d
}

// odd are letters that an address cannot hold unquoted, that are not seen, or by which some servers send on to
// another address (eve%evil.example@example.com).
func odd(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsGraphic(r) || strings.ContainsRune(`()<>[]:;@\,"%!`, r)
}

var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true))

func canonicalDomain(s string) string {
	s = strings.TrimSuffix(s, ".")
	if plainDomain(s) {
		return s
	}
	d, err := domains.ToASCII(s)
	if err != nil || d == "" || len(d) > 253 || strings.HasPrefix(d, ".") || strings.Contains(d, "..") {
		return ""
	}
	return d
}

// plainLocal reports whether s is of small letters, digits and what mostly stands between them.
func plainLocal(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && !digit(c) && c != '.' && c != '-' && c != '_' && c != '+' {
			return false
		}
	}
	return true
}

// plainDomain reports whether s is a domain in the form that is looked up, which most are: labels of small letters, digits and hyphens.
func plainDomain(s string) bool {
	from := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if c := s[i]; (c < 'a' || c > 'z') && !digit(c) && c != '-' {
				return false
			}
			continue
		}
		l := s[from:i]
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || len(l) > 3 && l[2:4] == "--" {
			return false
		}
		from = i + 1
	}
	return len(s) <= 253
}

// Domain is the domain of an address, in the form that it is looked up; "" of what is none.
func Domain(address string) string {
	a := canonical(address)
	return a[strings.LastIndexByte(a, '@')+1:]
}

// Bare is an address in the one form that it has; "" of what is none.
func Bare(address string) string { return canonical(address) }

// Address is an address in the one form that it has; as it is, if it is none.
func Address(s string) string {
	if a := canonical(s); a != "" {
		return a
	}
	return s
}

// Addresses are those of a header such as To: names and groups of it are left out. What
// cannot be read is returned as it is, so that it is no address that any list has.
func Addresses(header string) (out []string) {
	if strings.TrimSpace(header) == "" {
		return nil
	}
	list, err := mail.ParseAddressList(header)
	if err != nil {
		return []string{header}
	}
	for _, a := range list {
		out = append(out, Address(a.Address))
	}
	return out
}
