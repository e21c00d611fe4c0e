package token

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// AssertionType is the client_assertion_type of RFC 7523 section 2.2.
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Assertion is a client assertion that has been read but proves nothing until [Assertion.Verify].
type Assertion struct {
	Subject string // sub, and iss, which must be the same
	ID      string // jti
	KeyID   string // kid, may be empty
	Issued  time.Time
	Expires time.Time

	audience  []string
	notBefore time.Time
	jws       jws
}

// ParseAssertion reads raw (RFC 7523 section 3). The error is an *Error with Code InvalidClient.
func ParseAssertion(raw string) (Assertion, error) {
	a, err := parseAssertion(raw)
	if err != nil {
		return Assertion{}, &Error{InvalidClient, "client assertion " + err.Error()}
	}
	return a, nil
}

func parseAssertion(raw string) (Assertion, error) {
	j, err := parseJWS(raw, "kid")
	if err != nil {
		return Assertion{}, err
	}
	switch j.typ {
	case "", "JWT", "client-authentication+jwt": // the last by rfc7523bis
	default:
		return Assertion{}, fmt.Errorf("has typ %q", j.typ)
	}
	o, err := parseObject(j.payload)
	if err != nil {
		return Assertion{}, fmt.Errorf("payload %w", err)
	}
	head, r := reader{object: j.header}, reader{object: o}
	a := Assertion{Subject: r.text("sub", true), ID: r.text("jti", true), KeyID: head.text("kid", false),
		Issued: r.date("iat", true), Expires: r.date("exp", true), notBefore: r.date("nbf", false),
		audience: r.texts("aud", true), jws: j}
	if r.text("iss", true) != a.Subject {
		r.fail("iss", "is not the same as sub")
	}
	if len(a.ID) > maxID {
		r.fail("jti", "is too long")
	}
	if len(a.audience) != 1 { // rfc7523bis: one, so that it cannot be used elsewhere as well
		r.fail("aud", "is not exactly one audience")
	}
	return a, errors.Join(head.err, r.err)
}

// Verify is SignedBy and Judge in one.
func (a Assertion) Verify(jwk []byte, audiences []string, now time.Time) error {
	if !a.SignedBy(jwk) {
		return &Error{InvalidClient, "client assertion has a wrong signature"}
	}
	return a.Judge(audiences, now)
}

// SignedBy reports whether the holder of the public key jwk made a.
func (a Assertion) SignedBy(jwk []byte) bool {
	k, err := parseJWK(jwk)
	return err == nil && a.jws.verify(k)
}

// SignedByOne reports whether the holder of one of keys made a, which may not be an
// RSA key: those are for providers alone.
func (a Assertion) SignedByOne(keys *ProviderKeys) bool {
	k, ok := keys.find(a.KeyID, a.jws.alg)
	return ok && a.jws.alg != "RS256" && a.jws.verify(k)
}

// Judge returns nil if a, once SignedBy has said whose it is, is for one of the
// audiences and now is within its time. Whether it was used before, [Replay] says.
// The error is an *Error with Code InvalidClient.
func (a Assertion) Judge(audiences []string, now time.Time) error {
	bad := func(text string) error { return &Error{InvalidClient, "client assertion " + text} }
	switch {
	case len(a.audience) != 1 || !slices.Contains(audiences, a.audience[0]):
		return bad(fmt.Sprintf("is for another audience; use %q", audiences))
	case !now.Before(a.Expires):
		return bad("has expired; check the clock of the client")
	case a.Issued.After(now.Add(Skew)) || a.notBefore.After(now.Add(Skew)):
		return bad("is not valid yet; check the clock of the client")
	case a.Expires.After(now.Add(MaxAssertion + Skew)):
		return bad("expires more than five minutes ahead")
	}
	return nil
}

// Key names the assertion for [Replay].
func (a Assertion) Key() string { return a.Subject + " " + a.ID }
