package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// maxPersonToken is how long a person's token may be good: what is good for longer was not made for this.
const maxPersonToken = 24 * time.Hour

// PersonToken is a token that an identity provider gave to an application, about who
// signed in to it: an ID token (OpenID Connect Core section 2) or an access token that is
// a JWT (RFC 9068). It has been read but proves nothing until [PersonToken.SignedBy] and
// [PersonToken.Judge].
type PersonToken struct {
	Issuer   string // iss: which provider this would be
	Subject  string // sub: the person, in the provider's words
	Email    string
	Verified bool // email_verified is there, and true
	Denied   bool // email_verified is there, and false
	Issued   time.Time
	Expires  time.Time
	SignedIn time.Time // auth_time: when the person proved to the provider who they are; zero: it does not say

	audience  []string
	parties   []string // azp and client_id, those that are there
	notBefore time.Time
	mayAct    string
	keyID     string
	jws       jws
	claims    object
}

// ParsePersonToken reads raw, which is said to be of that type of RFC 8693. The error is an *Error with Code InvalidGrant.
func ParsePersonToken(raw, kind string) (PersonToken, error) {
	p, err := parsePersonToken(raw, kind)
	if err != nil {
		return PersonToken{}, &Error{InvalidGrant, "subject token " + err.Error()}
	}
	return p, nil
}

func parsePersonToken(raw, kind string) (PersonToken, error) {
	j, err := parseJWS(raw, "kid", "x5t", "x5t#S256") // the last two only name a key; nothing is looked up by them
	if err != nil {
		return PersonToken{}, err
	}
	// What is made for another purpose says so (RFC 8725 section 3.11): no proof, assertion, logout token or grant passes for one.
	switch typ := strings.ToLower(strings.TrimPrefix(j.typ, "application/")); {
	case typ == "" || typ == "jwt":
	case typ == "at+jwt" && kind != TypeID:
	default:
		return PersonToken{}, errors.New("has a typ that is not what subject_token_type says")
	}
	o, err := parseObject(j.payload)
	if err != nil {
		return PersonToken{}, errors.New("payload " + err.Error())
	}
	head, r := reader{object: j.header}, reader{object: o}
	p := PersonToken{Issuer: r.text("iss", true), Subject: r.text("sub", true), Email: r.text("email", false), keyID: head.text("kid", false),
		Issued: r.date("iat", true), Expires: r.date("exp", true), notBefore: r.date("nbf", false), SignedIn: r.date("auth_time", false), audience: r.texts("aud", true), jws: j, claims: o}
	p.Verified, p.Denied = o.emailVerified()
	for _, name := range []string{"azp", "client_id"} {
		if s := r.text(name, false); s != "" {
			p.parties = append(p.parties, s)
		}
	}
	if v := o.value("may_act"); v != nil {
		m, err := parseObject(v)
		sub := reader{object: m}
		if p.mayAct = sub.text("sub", true); err != nil || sub.err != nil {
			r.fail("may_act", "does not say who")
		}
	}
	switch {
	case o.has("act"):
		r.fail("act", "says that somebody acts with it already, whom only the provider knows")
	case o.has("cnf"):
		r.fail("cnf", "binds it to a key, which nobody shows with it here")
	case o.has("events"): // RFC 8417: a security event, such as a logout token
		r.fail("events", "makes it another kind of token")
	case len(p.audience) == 0:
		r.fail("aud", "is missing")
	case len(p.Subject) > maxID:
		r.fail("sub", "is too long")
	}
	return p, errors.Join(head.err, r.err)
}

// SignedBy reports whether one of keys made p.
func (p PersonToken) SignedBy(keys *ProviderKeys) bool {
	k, ok := keys.find(p.keyID, p.jws.alg)
	return ok && p.jws.verify(k)
}

// Knows reports whether the key that p says it was made with is one of keys.
func (p PersonToken) Knows(keys *ProviderKeys) bool {
	_, ok := keys.find(p.keyID, p.jws.alg)
	return ok
}

// Judge returns nil if p, once SignedBy has said whose it is, was made for those of
// audience and for nobody else, lets actor act where it says who may, and now is within
// its time. The error is an *Error with Code InvalidGrant.
func (p PersonToken) Judge(audience []string, actor identity.ID, now time.Time) error {
	bad := func(text string) error { return &Error{InvalidGrant, "subject token " + text} }
	foreign := func(s string) bool { return !slices.Contains(audience, s) }
	switch {
	case slices.ContainsFunc(p.audience, foreign), slices.ContainsFunc(p.parties, foreign):
		return bad("is for another application")
	case p.mayAct != "" && p.mayAct != actor.String():
		return bad("lets somebody else act (may_act)")
	case !now.Before(p.Expires):
		return bad("has expired; get a new one from the identity provider")
	case p.Issued.After(now.Add(Skew)), p.notBefore.After(now.Add(Skew)):
		return bad("is not valid yet; check the clock of the identity provider")
	case p.Expires.After(p.Issued.Add(maxPersonToken)):
		return bad("is good for more than a day")
	}
	return nil
}

// JudgeWorkload returns nil if p, once SignedBy has said whose it is, was made for audience and for nobody else, and now is
// within its time. What p is about is then a workload, and not a person. The error is for the log.
func (p PersonToken) JudgeWorkload(audience string, now time.Time) error {
	if len(p.audience) != 1 || p.audience[0] != audience {
		return fmt.Errorf("it is for %q, and is to be for %q alone", p.audience, audience)
	}
	p.parties = nil // which of its clients asked for it says nothing here
	return p.Judge([]string{audience}, identity.ID{}, now)
}

// Hash names p where it is good once.
func (p PersonToken) Hash() string { return TokenHash(p.jws.signed) }

// Claims are the texts of one more of its claims, a list or one alone.
func (p PersonToken) Claims(name string) []string {
	r := reader{object: p.claims}
	list := r.texts(name, true)
	if r.err != nil {
		return nil
	}
	return list
}

// Claim is one more of its claims, "" if it is not there or no text.
func (p PersonToken) Claim(name string) string {
	s, _ := unquote(p.claims.value(name))
	return s
}
