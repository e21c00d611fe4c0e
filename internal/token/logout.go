package token

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// LogoutEvent is the member of events that makes a token a logout token.
const LogoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// LogoutLife is for how long after it was made a logout token is taken.
const LogoutLife = 10 * time.Minute

// LogoutToken is a provider's word that somebody signed out there (OpenID Connect Back-Channel Logout 1.0 section 2.4): all sessions of
// Subject, or only the one that is Session, in the provider's words.
type LogoutToken struct {
	Issuer   string
	ID       string // jti
	Subject  string // sub; "" if Session is given
	Session  string // sid; "" if Subject is given
	Issued   time.Time
	Expires  time.Time // zero: it does not say
	audience []string
	keyID    string
	jws      jws
}

// ParseLogoutToken reads raw. The error says what is wrong with it.
func ParseLogoutToken(raw string) (l LogoutToken, err error) {
	j, err := parseJWS(raw, "kid", "x5t", "x5t#S256")
	if err != nil {
		return l, err
	}
	if typ := strings.ToLower(strings.TrimPrefix(j.typ, "application/")); typ != "logout+jwt" && typ != "" && typ != "jwt" {
		return l, errors.New("has a typ that is not that of a logout token")
	}
	o, err := parseObject(j.payload)
	if err != nil {
		return l, errors.New("payload " + err.Error())
	}
	head, r := reader{object: j.header}, reader{object: o}
	l = LogoutToken{Issuer: r.text("iss", true), ID: r.text("jti", true), Subject: r.text("sub", false), Session: r.text("sid", false), Issued: r.date("iat", true), Expires: r.date("exp", false),
		audience: r.texts("aud", true), keyID: head.text("kid", false), jws: j}
	events, bad := parseObject(o.value("events"))
	_, bad2 := parseObject(events.value(LogoutEvent))
	switch {
	case bad != nil, !events.has(LogoutEvent), bad2 != nil:
		r.fail("events", "does not say that it is about signing out")
	case o.has("nonce"): // or an ID token could pass for one
		r.fail("nonce", "is not to be there")
	case l.Subject == "" && l.Session == "":
		r.fail("sub", "is missing, and so is sid")
	case len(l.Subject) > maxID || len(l.Session) > maxID || len(l.ID) > maxID:
		r.fail("jti", "or sub or sid is too long")
	case len(l.audience) == 0:
		r.fail("aud", "is missing")
	}
	return l, errors.Join(head.err, r.err)
}

// SignedBy reports whether one of keys made l.
func (l LogoutToken) SignedBy(keys *ProviderKeys) bool {
	k, ok := keys.find(l.keyID, l.jws.alg)
	return ok && l.jws.verify(k)
}

// Knows reports whether the key that l says it was made with is one of keys.
func (l LogoutToken) Knows(keys *ProviderKeys) bool {
	_, ok := keys.find(l.keyID, l.jws.alg)
	return ok
}

// Judge returns nil if l, once SignedBy has said whose it is, was made for the client just now.
func (l LogoutToken) Judge(client string, now time.Time) error {
	switch {
	case !slices.Contains(l.audience, client):
		return errors.New("is for another application")
	case l.Issued.After(now.Add(Skew)):
		return errors.New("is not valid yet; check the clock of the identity provider")
	case !l.Expires.IsZero() && !now.Before(l.Expires.Add(Skew)), !now.Before(l.Issued.Add(LogoutLife)):
		return errors.New("is too old")
	}
	return nil
}
