package token

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// signedIn is the body of an ID token for the organisation's portal, with some members changed: "" leaves one out.
func signedIn(change ...string) string {
	all := append([]string{"aud", `"portal"`, "azp", `"portal"`, "client_id", "", "jti", "", "resource", "", "scope", "", "act", "", "nonce", `"n"`, "auth_time", "1"}, change...)
	return word(all...)
}

func TestPersonToken(t *testing.T) {
	k := newKeyring(t)
	read := func(header, body, kind string, key any) error {
		p, err := ParsePersonToken(made(t, key, header, body), kind)
		if err == nil && !p.SignedBy(k.set) {
			err = errors.New("wrong signature")
		}
		if err == nil {
			err = p.Judge([]string{"portal", "api://lanyard"}, subject, noon)
		}
		if err == nil && (p.Issuer != provider || p.Subject != "00u1" || p.Email != "maya@example.com" || !p.Verified || p.Expires != noon.Add(5*time.Minute)) {
			t.Errorf("%+v", p)
		}
		return err
	}
	const rs, es = `{"alg":"RS256","kid":"r1"`, `{"alg":"ES256","kid":"e1"`
	for name, c := range map[string][3]string{
		"an ID token":             {rs + `}`, signedIn(), TypeID},
		"with typ":                {rs + `,"typ":"JWT"}`, signedIn(), TypeID},
		"a list of one":           {rs + `}`, signedIn("aud", `["portal"]`), TypeID},
		"of two of ours":          {rs + `}`, signedIn("aud", `["portal","api://lanyard"]`), TypeID},
		"who may act is who asks": {rs + `}`, signedIn("may_act", `{"sub":"`+subject.String()+`"}`), TypeID},
		"a JWT":                   {rs + `}`, signedIn(), TypeJWT},
		"an access token":         {rs + `,"typ":"at+jwt"}`, signedIn("aud", `"api://lanyard"`, "azp", "", "client_id", `"portal"`), TypeAccess},
		"one that says it all":    {rs + `,"typ":"application/at+jwt"}`, signedIn("aud", `"api://lanyard"`), TypeAccess},
	} {
		if err := read(c[0], c[1], c[2], k.rsa); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		header, body, kind string
		key                any
		says               string
	}{
		"another application's":          {rs + `}`, signedIn("aud", `"games"`), TypeID, k.rsa, "another application"},
		"another's too":                  {rs + `}`, signedIn("aud", `["portal","games"]`), TypeID, k.rsa, "another application"},
		"given to another":               {rs + `}`, signedIn("azp", `"games"`), TypeID, k.rsa, "another application"},
		"an access token of another":     {rs + `,"typ":"at+jwt"}`, signedIn("client_id", `"games"`), TypeAccess, k.rsa, "another application"},
		"no audience":                    {rs + `}`, signedIn("aud", ""), TypeID, k.rsa, "aud"},
		"no issuer":                      {rs + `}`, signedIn("iss", ""), TypeID, k.rsa, "iss"},
		"nobody":                         {rs + `}`, signedIn("sub", ""), TypeID, k.rsa, "sub"},
		"another may act":                {rs + `}`, signedIn("may_act", `{"sub":"spiffe://lanyard.local/agent/other"}`), TypeID, k.rsa, "somebody else"},
		"nobody may act":                 {rs + `}`, signedIn("may_act", `{}`), TypeID, k.rsa, "may_act"},
		"somebody acts":                  {rs + `}`, signedIn("act", `{"sub":"x"}`), TypeID, k.rsa, "acts with it already"},
		"bound to a key":                 {rs + `}`, signedIn("cnf", `{"jkt":"x"}`), TypeAccess, k.rsa, "binds"},
		"a logout token":                 {rs + `,"typ":"logout+jwt"}`, signedIn(), TypeID, k.rsa, "typ"},
		"a logout token of old":          {rs + `}`, signedIn("events", `{}`), TypeID, k.rsa, "another kind"},
		"an ID-JAG":                      {rs + `,` + idJAG + `}`, signedIn(), TypeID, k.rsa, "typ"},
		"an access token as an ID token": {rs + `,"typ":"at+jwt"}`, signedIn(), TypeID, k.rsa, "typ"},
		"ours as theirs":                 {rs + `,"typ":"introduction+jwt"}`, signedIn(), TypeJWT, k.rsa, "typ"},
		"expired":                        {rs + `}`, signedIn("exp", "1763899200"), TypeID, k.rsa, "expired"},
		"from tomorrow":                  {rs + `}`, signedIn("nbf", "4000000000"), TypeID, k.rsa, "not valid yet"},
		"good for ever":                  {rs + `}`, signedIn("exp", "4000000000"), TypeID, k.rsa, "more than a day"},
		"no end":                         {rs + `}`, signedIn("exp", ""), TypeID, k.rsa, "exp"},
		"alg none":                       {`{"alg":"none","kid":"r1"}`, signedIn(), TypeID, k.rsa, "signature"},
		"the public key as a secret":     {`{"alg":"HS256","kid":"r1"}`, signedIn(), TypeID, k.doc, "signature"},
		"another's alg":                  {`{"alg":"ES256","kid":"r1"}`, signedIn(), TypeID, k.rsa, "signature"},
		"another's key":                  {es + `}`, signedIn(), TypeID, k.rsa, "signature"},
		"a key of its own":               {rs + `,"jwk":{"kty":"RSA"}}`, signedIn(), TypeID, k.rsa, "jwk"},
		"a place to fetch one":           {rs + `,"jku":"https://evil.example"}`, signedIn(), TypeID, k.rsa, "jku"},
		"critical":                       {rs + `,"crit":["exp"]}`, signedIn(), TypeID, k.rsa, "crit"},
		"huge":                           {rs + `}`, signedIn("x", `"`+strings.Repeat("x", MaxToken)+`"`), TypeID, k.rsa, "larger"},
		"twice":                          {rs + `}`, strings.Replace(signedIn(), `"sub"`, `"sub":"x","Sub"`, 1), TypeID, k.rsa, "case"},
	} {
		if err := read(c.header, c.body, c.kind, c.key); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPersonToken(f *testing.F) {
	k := newKeyring(f)
	f.Add(`{"alg":"ES256","kid":"e1"}`, signedIn())
	f.Add(`{"alg":"none"}`, `{"iss":"x","act":{"sub":"y"}}`)
	f.Fuzz(func(t *testing.T, head, body string) {
		raw := made(t, k.ed, head, body)
		ReadUnsafe(raw)
		p, err := ParsePersonToken(raw, TypeID)
		if err != nil {
			return
		}
		if len(p.audience) == 0 || p.Subject == "" || p.Expires.IsZero() {
			t.Errorf("%+v", p)
		}
		if p.SignedBy(k.set) && p.jws.alg != "EdDSA" && p.jws.alg != "Ed25519" {
			t.Errorf("%s is signed by a key of another alg", head)
		}
	})
}

// TestIntroduction: what an agent that is called is given is of use to nobody else, and as nothing else.
func TestIntroduction(t *testing.T) {
	key, s, v := world(t)
	c := claims()
	c.Key, c.Audience, c.MayAct = Confirmation{}, testIssuer, identity.MustID("spiffe://lanyard.local/agent/b")
	if _, err := s.Mint(c); err == nil {
		t.Error("an access token that lets another act is minted")
	}
	for name, wrong := range map[string]func(*Claims){
		"for nobody":  func(c *Claims) { c.MayAct = identity.ID{} },
		"elsewhere":   func(c *Claims) { c.Audience = testAudience },
		"bound":       func(c *Claims) { c.Key.JKT = "abc" },
		"too long":    func(c *Claims) { c.Chain = make(identity.Chain, 9) },
		"of no chain": func(c *Claims) { c.Chain = nil },
	} {
		w := c
		wrong(&w)
		if _, err := s.Introduce(w); err == nil {
			t.Error(name)
		}
	}
	raw, err := s.Introduce(c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Introduction(raw, testIssuer, noon)
	if err != nil || got.MayAct != c.MayAct || got.Actor() != subject {
		t.Fatal(got, err)
	}
	if typ, issuer, chain := ReadUnsafe(raw); typ != typIntroduction || issuer != testIssuer || len(chain) != 1 || chain[0] != subject.String() {
		t.Error(typ, issuer, chain)
	}
	if _, err := v.Verify(raw, testIssuer, "", noon); err == nil {
		t.Error("it passes for an access token")
	}
	if _, err := ParseAssertion(raw); err == nil {
		t.Error("it passes for an assertion")
	}
	if _, err := v.Introduction(raw, testIssuer, noon.Add(5*time.Minute)); err == nil {
		t.Error("it does not end")
	}
	access, err := s.Mint(claims())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Introduction(access, testIssuer, noon); err == nil {
		t.Error("an access token passes for one")
	}
	body := `{"iss":"` + testIssuer + `","aud":"` + testIssuer + `","sub":"` + subject.String() + `","client_id":"x","jti":"x","iat":1763899200,"exp":4000000000,"gen":[0],"may_act":`
	for _, may := range []string{`{}`, `{"sub":"spiffe://lanyard.local/person/maya"}`, `{"sub":"spiffe://lanyard.local/agent/b","iss":"x"}`, `"spiffe://lanyard.local/agent/b"`, `{"sub":"x"}`} {
		if _, err := v.Introduction(made(t, key.private, `{"alg":"EdDSA","typ":"introduction+jwt","kid":"`+key.ID+`"}`, body+may+`}`), testIssuer, noon); err == nil {
			t.Errorf("may_act %s is taken", may)
		}
		if _, err := v.Verify(made(t, key.private, `{"alg":"EdDSA","typ":"at+jwt","kid":"`+key.ID+`"}`, body+may+`}`), testIssuer, "", noon); err == nil {
			t.Errorf("an access token with may_act %s is taken", may)
		}
	}
}
