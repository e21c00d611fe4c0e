package token

import (
	"errors"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// The words of RFC 8693.
const (
	GrantExchange = "urn:ietf:params:oauth:grant-type:token-exchange" // section 2.1
	TypeAccess    = "urn:ietf:params:oauth:token-type:access_token"   // section 3
	TypeID        = "urn:ietf:params:oauth:token-type:id_token"
	TypeJWT       = "urn:ietf:params:oauth:token-type:jwt"
)

// typIntroduction tells an introduction from an access token (RFC 8725 section 3.11),
// so that no gateway and no part of the control plane but the exchange takes one.
const typIntroduction = "introduction+jwt"

// Introduce signs c as an introduction: what an agent that is called is given, so that
// it, c.MayAct, and nobody else gets tokens of its own for whom it is asked by. It is
// no access token, and of no use without that agent's own proof.
func (s *Signer) Introduce(c Claims) (string, error) {
	if c.MayAct.IsZero() || c.Audience != c.Issuer || c.Key != (Confirmation{}) {
		return "", errors.New("introduce: it is for its issuer, and for one who may act")
	}
	return s.mint(c, typIntroduction)
}

// Introduction is Verify for introductions.
func (v *Verifier) Introduction(raw, issuer string, now time.Time) (Claims, error) {
	c, err := v.verify(raw, typIntroduction, now)
	if err == nil {
		err = c.judge(issuer, issuer, now)
	}
	if err == nil && c.MayAct.IsZero() {
		err = errors.New("says of nobody that it may act")
	}
	if err != nil {
		return Claims{}, &Error{InvalidToken, "introduction " + err.Error()}
	}
	return c, nil
}

// mayAct reads who may act (RFC 8693 section 4.4): one identity of ours.
func (r *reader) mayAct() identity.ID {
	v := r.value("may_act")
	if v == nil {
		return identity.ID{}
	}
	o, err := parseObject(v)
	sub := reader{object: o}
	id, bad := identity.ParseID(sub.text("sub", true))
	if err != nil || bad != nil || o.other("sub") != "" || id.Kind() == identity.Person {
		r.fail("may_act", "does not name an identity that can act")
	}
	return id
}

// ReadUnsafe is what a token says of itself before anything of it is known to be true: which
// kind it is, who made it, and who is behind it. It is for choosing how to verify it, and for the record.
func ReadUnsafe(raw string) (typ, issuer string, chain []string) {
	if len(raw) > MaxToken {
		return "", "", nil
	}
	part := strings.Split(raw, ".")
	if len(part) != 3 {
		return "", "", nil
	}
	head, err1 := decode64(part[0])
	body, err2 := decode64(part[1])
	h, err3 := parseObject(head)
	o, err4 := parseObject(body)
	if errors.Join(err1, err2, err3, err4) != nil {
		return "", "", nil
	}
	hr, r := reader{object: h}, reader{object: o}
	sub := r.text("sub", false)
	for at := o; at.has("act"); {
		next, err := parseObject(at.value("act"))
		if err != nil {
			break
		}
		actor := reader{object: next}
		chain = append(chain, actor.text("sub", false))
		at = next
	}
	return hr.text("typ", false), r.text("iss", false), append(chain, sub)
}
