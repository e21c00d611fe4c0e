package token

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// out is the body of a logout token for the console, with some members changed: "" leaves one out.
func out(change ...string) string {
	all := append([]string{"aud", `"lanyard"`, "client_id", "", "resource", "", "scope", "", "act", "", "email", "", "email_verified", "", "auth_time", "", "sid", `"s1"`, "events", `{"` + LogoutEvent + `":{}}`}, change...)
	return word(all...)
}

func TestLogoutToken(t *testing.T) {
	k := newKeyring(t)
	read := func(header, body string, key any) (LogoutToken, error) {
		l, err := ParseLogoutToken(made(t, key, header, body))
		if err == nil && !l.SignedBy(k.set) {
			err = errors.New("wrong signature")
		}
		if err == nil {
			err = l.Judge("lanyard", noon)
		}
		return l, err
	}
	const rs = `{"alg":"RS256","kid":"r1","typ":"logout+jwt"}`
	for name, c := range map[string][2]string{
		"both":                   {rs, out()},
		"a session":              {rs, out("sub", "")},
		"a person":               {rs, out("sid", "")},
		"typ in full":            {`{"alg":"RS256","kid":"r1","typ":"application/logout+jwt"}`, out()},
		"no typ":                 {`{"alg":"RS256","kid":"r1"}`, out()},
		"ES256":                  {`{"alg":"ES256","kid":"e1","typ":"JWT"}`, out()},
		"several applications":   {rs, out("aud", `["games","lanyard"]`)},
		"no end":                 {rs, out("exp", "")},
		"something in the event": {rs, out("events", `{"`+LogoutEvent+`":{"why":"x"},"other":{}}`)},
	} {
		var key any = k.rsa
		if strings.Contains(c[0], "ES256") {
			key = k.ec
		}
		if l, err := read(c[0], c[1], key); err != nil || l.Issuer != provider || l.ID != "j1" || l.Subject+l.Session == "" {
			t.Errorf("%s: %+v %v", name, l, err)
		}
	}
	for name, c := range map[string]struct{ header, body, says string }{
		"an ID token":                  {rs, signedIn("jti", `"j"`), "events"},
		"its typ":                      {`{"alg":"RS256","kid":"r1","typ":"at+jwt"}`, out(), "typ"},
		"a nonce":                      {rs, out("nonce", `"n"`), "nonce"},
		"another event":                {rs, out("events", `{"http://schemas.openid.net/event/other":{}}`), "events"},
		"an event that is no object":   {rs, out("events", `{"`+LogoutEvent+`":true}`), "events"},
		"events that are a list":       {rs, out("events", `["`+LogoutEvent+`"]`), "events"},
		"no events":                    {rs, out("events", ""), "events"},
		"nobody":                       {rs, out("sub", "", "sid", ""), "sid"},
		"no jti":                       {rs, out("jti", ""), "jti"},
		"no iat":                       {rs, out("iat", ""), "iat"},
		"no aud":                       {rs, out("aud", ""), "aud"},
		"no iss":                       {rs, out("iss", ""), "iss"},
		"for another":                  {rs, out("aud", `"games"`), "another application"},
		"from tomorrow":                {rs, out("iat", "4000000000", "exp", ""), "not valid yet"},
		"of yesterday":                 {rs, out("iat", "1763800000", "exp", ""), "too old"},
		"expired":                      {rs, out("exp", "1763890000"), "too old"},
		"signed by nobody":             {`{"alg":"none","typ":"logout+jwt"}`, out(), "signature"},
		"signed with the public key":   {`{"alg":"HS256","kid":"r1"}`, out(), "signature"},
		"by a key that is not theirs":  {`{"alg":"RS256","kid":"r9"}`, out(), "signature"},
		"a name that is there twice":   {rs, strings.Replace(out(), "{", `{"sub":"other",`, 1), "payload"},
		"a very long name of a person": {rs, out("sub", `"`+strings.Repeat("x", 5000)+`"`), "too long"},
	} {
		var key any = k.rsa
		if strings.Contains(c.header, "HS256") {
			key = k.doc
		}
		if _, err := read(c.header, c.body, key); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l, err := ParseLogoutToken(made(t, k.rsa, rs, out("exp", "")))
	if err != nil || l.Judge("lanyard", noon.Add(LogoutLife-time.Second)) != nil || l.Judge("lanyard", noon.Add(LogoutLife)) == nil {
		t.Errorf("for how long: %v", err)
	}
}
