package token

import (
	"errors"
	"strings"
	"time"
)

const (
	// GrantJWT is the grant_type of RFC 7523 section 2.1.
	GrantJWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	// ProfileIDJAG says in metadata which assertions are taken with it
	// (draft-ietf-oauth-identity-assertion-authz-grant).
	ProfileIDJAG = "urn:ietf:params:oauth:grant-profile:id-jag"

	typIDJAG = "oauth-id-jag+jwt"
)

// Voucher is an Identity Assertion JWT Authorization Grant (ID-JAG): an identity
// provider's word that a client acts for a person. It has been read but proves
// nothing until [Voucher.SignedBy] and [Voucher.Judge].
type Voucher struct {
	Issuer   string // iss: which provider this would be
	Subject  string // sub: the person, in the provider's words
	ID       string // jti
	KeyID    string // kid, may be empty
	Client   string // client_id
	Resource string
	Scope    string
	Email    string
	Verified bool // email_verified is there, and true
	Denied   bool // email_verified is there, and false
	JKT      string
	Issued   time.Time
	Expires  time.Time

	audience  []string
	notBefore time.Time
	jws       jws
	claims    object
}

// ParseVoucher reads raw. The error is an *Error with Code InvalidGrant.
func ParseVoucher(raw string) (Voucher, error) {
	v, err := parseVoucher(raw)
	if err != nil {
		return Voucher{}, &Error{InvalidGrant, "assertion " + err.Error()}
	}
	return v, nil
}

func parseVoucher(raw string) (Voucher, error) {
	j, err := parseJWS(raw, "kid", "x5t", "x5t#S256") // the last two only name a key; nothing is looked up by them
	if err != nil {
		return Voucher{}, err
	}
	if typ := strings.TrimPrefix(j.typ, "application/"); typ != typIDJAG { // RFC 7515 section 4.1.9
		return Voucher{}, errors.New("has not the typ " + typIDJAG)
	}
	o, err := parseObject(j.payload)
	if err != nil {
		return Voucher{}, errors.New("payload " + err.Error())
	}
	head, r := reader{object: j.header}, reader{object: o}
	v := Voucher{Issuer: r.text("iss", true), Subject: r.text("sub", true), ID: r.text("jti", true), KeyID: head.text("kid", false),
		Client: r.text("client_id", true), Scope: r.text("scope", false), Email: r.text("email", false),
		Issued: r.date("iat", true), Expires: r.date("exp", true), notBefore: r.date("nbf", false),
		audience: r.texts("aud", true), jws: j, claims: o}
	resource := r.texts("resource", true)
	v.Verified, v.Denied = o.emailVerified()
	key := r.confirmation("cnf")
	v.JKT = key.JKT
	if key.X5TS256 != "" {
		r.fail("cnf", "binds it to a certificate, which is not understood here; use jkt")
	}
	if len(v.ID) > maxID || len(v.Subject) > maxID || len(v.Client) > 2048 {
		r.fail("jti", "or sub or client_id is too long")
	}
	if len(v.audience) != 1 {
		r.fail("aud", "is not exactly one audience")
	}
	if len(resource) == 1 {
		v.Resource = resource[0]
	} else {
		r.fail("resource", "is not exactly one resource")
	}
	if o.has("authorization_details") { // it would say less than scope does
		r.fail("authorization_details", "is not understood here; use scope")
	}
	return v, errors.Join(head.err, r.err)
}

// emailVerified says whether email_verified is true, or something else.
func (o object) emailVerified() (verified, denied bool) {
	switch string(o.value("email_verified")) {
	case "", "null":
		return false, false
	case "true", `"true"`: // some providers quote it
		return true, false
	}
	return false, true
}

// SignedBy reports whether one of keys made v.
func (v Voucher) SignedBy(keys *ProviderKeys) bool {
	k, ok := keys.find(v.KeyID, v.jws.alg)
	return ok && v.jws.verify(k)
}

// Knows reports whether the key that v says it was made with is one of keys.
func (v Voucher) Knows(keys *ProviderKeys) bool {
	_, ok := keys.find(v.KeyID, v.jws.alg)
	return ok
}

// Judge returns nil if v, once SignedBy has said whose it is, is for the issuer
// here and now is within its time. Whether it was used before is another question.
// The error is an *Error with Code InvalidGrant.
func (v Voucher) Judge(issuer string, now time.Time) error {
	bad := func(text string) error { return &Error{InvalidGrant, "assertion " + text} }
	switch {
	case len(v.audience) != 1 || v.audience[0] != issuer:
		return bad("is for another audience; aud is to be " + issuer + " alone")
	case !now.Before(v.Expires):
		return bad("has expired; get a new one from the identity provider")
	case v.Issued.After(now.Add(Skew)), v.notBefore.After(now.Add(Skew)):
		return bad("is not valid yet; check the clock of the identity provider")
	case v.Expires.After(v.Issued.Add(MaxVoucher)):
		return bad("is good for more than an hour")
	}
	return nil
}

// Claim is one more of its claims, "" if it is not there or no text.
func (v Voucher) Claim(name string) string {
	s, _ := unquote(v.claims.value(name))
	return s
}

// Key names v, so that it is used once: by who made it and its jti, which cannot be
// put together in two ways.
func (v Voucher) Key() string { return TokenHash(v.Issuer) + " " + v.ID }
