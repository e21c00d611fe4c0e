package oauth

import (
	"errors"
	"net/http"
	"strings"
)

// Challenge is what an upstream asks for in WWW-Authenticate (RFC 6750 section 3,
// RFC 9449 section 7.1, RFC 9728 section 5.1). The zero value asks for nothing in particular.
type Challenge struct {
	Metadata string   // resource_metadata: where its description is
	Scope    []string // what this request needs
	Error    string   // invalid_token, insufficient_scope, use_dpop_nonce
	DPoP     bool     // it takes tokens bound to a key
	Bound    bool     // and no others
}

// ReadChallenge reads the WWW-Authenticate headers of h. Of several challenges the
// first word on each matter counts. A header that is not well formed, or that
// says one thing twice, counts as absent: what it meant cannot be known.
func ReadChallenge(h http.Header) Challenge {
	var c Challenge
	var bearer bool
	for _, line := range h.Values("WWW-Authenticate") {
		list, err := parseChallenges(line)
		if err != nil {
			continue
		}
		for _, one := range list {
			switch {
			case strings.EqualFold(one.scheme, "Bearer"):
				bearer = true
			case strings.EqualFold(one.scheme, "DPoP"):
				c.DPoP = true
			default:
				continue
			}
			if c.Metadata == "" {
				c.Metadata = one.params["resource_metadata"]
			}
			if c.Scope == nil {
				c.Scope = scopes(one.params["scope"])
			}
			if c.Error == "" {
				c.Error = one.params["error"]
			}
		}
	}
	c.Bound = c.DPoP && !bearer
	return c
}

// challenge is one challenge of RFC 9110 section 11.6.1.
type challenge struct {
	scheme string
	params map[string]string // names in lower case
}

var errChallenge = errors.New("WWW-Authenticate is not well formed")

// Limits of a header, far above what anybody sends.
const (
	maxChallenge = 8 << 10
	maxParams    = 32
)

func parseChallenges(s string) ([]challenge, error) {
	if len(s) > maxChallenge {
		return nil, errChallenge
	}
	var list []challenge
	p := scanner{s}
	for {
		p.skip(" \t,")
		if p.rest == "" {
			return list, nil
		}
		c := challenge{scheme: p.token(), params: map[string]string{}}
		if c.scheme == "" || len(list) == maxParams {
			return nil, errChallenge
		}
		spaced := p.skip(" \t")
		if p.rest != "" && p.rest[0] != ',' && !spaced {
			return nil, errChallenge
		}
		if err := p.params(c.params); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
}

type scanner struct{ rest string }

// skip drops leading bytes of set, and reports whether there were any.
func (p *scanner) skip(set string) bool {
	before := len(p.rest)
	p.rest = strings.TrimLeft(p.rest, set)
	return len(p.rest) < before
}

func (p *scanner) take(of func(byte) bool) string {
	n := 0
	for n < len(p.rest) && of(p.rest[n]) {
		n++
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func (p *scanner) token() string { return p.take(tchar) }

// params reads the parameters of one challenge and stops before the next. A
// token68, as Basic and Negotiate have, is dropped.
func (p *scanner) params(into map[string]string) error {
	for first := true; ; first = false {
		before := p.rest
		name := strings.ToLower(p.token())
		p.skip(" \t")
		if name == "" || !strings.HasPrefix(p.rest, "=") {
			if p.rest = before; !first {
				return nil // the next scheme, or the end
			}
			return p.token68()
		}
		p.rest = p.rest[1:]
		p.skip(" \t")
		if first && (p.rest == "" || p.rest[0] == ',' || p.rest[0] == '=') { // padding, not a parameter
			p.rest = before
			return p.token68()
		}
		value, err := p.value()
		if err != nil {
			return err
		}
		if _, twice := into[name]; twice || len(into) == maxParams {
			return errChallenge
		}
		into[name] = value
		p.skip(" \t")
		if p.rest != "" && p.rest[0] != ',' {
			return errChallenge
		}
		p.skip(" \t,")
	}
}

func (p *scanner) token68() error {
	p.take(func(c byte) bool { return alnum(c) || strings.IndexByte("-._~+/", c) >= 0 })
	p.skip("=")
	p.skip(" \t")
	if p.rest != "" && p.rest[0] != ',' {
		return errChallenge
	}
	return nil
}

// value reads a token or a quoted string.
func (p *scanner) value() (string, error) {
	if !strings.HasPrefix(p.rest, `"`) {
		v := p.token()
		if v == "" {
			return "", errChallenge
		}
		return v, nil
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		c := p.rest[i]
		if c == '"' {
			p.rest = p.rest[i+1:]
			return b.String(), nil
		}
		if c == '\\' {
			if i++; i == len(p.rest) {
				break
			}
			c = p.rest[i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			break
		}
		b.WriteByte(c)
	}
	return "", errChallenge
}

func alnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func tchar(c byte) bool { return alnum(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 }
