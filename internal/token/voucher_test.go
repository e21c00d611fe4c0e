package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	provider = "https://acme.example"
	idJAG    = `"typ":"oauth-id-jag+jwt"`
)

// keyring is an identity provider's keys, one of each kind, among some that are of no use.
type keyring struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
	set *ProviderKeys
	doc []byte
}

func newKeyring(t testing.TB) *keyring {
	t.Helper()
	k := &keyring{}
	var err1, err2, err3, err4 error
	k.rsa, err1 = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, err2 = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, k.ed, err3 = ed25519.GenerateKey(rand.Reader)
	p384, err4 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: k.rsa.Public(), KeyID: "r1", Algorithm: "RS256", Use: "sig"}, {Key: k.ec.Public(), KeyID: "e1", Use: "sig"}, {Key: k.ed.Public(), KeyID: "o1"},
		{Key: p384.Public(), KeyID: "not-known-here"}, {Key: k.rsa.Public(), KeyID: "for-encryption", Use: "enc"},
		{Key: k.ed.Public(), KeyID: "twice"}, {Key: k.ec.Public(), KeyID: "twice"},
	}}
	var err error
	if k.doc, err = json.Marshal(set); err != nil {
		t.Fatal(err)
	}
	if k.set, err = ParseProviderKeys(k.doc); err != nil {
		t.Fatal(err)
	}
	return k
}

// made signs with a key of any kind, as its alg says or as another would have it.
func made(t testing.TB, key any, header, body string) string {
	t.Helper()
	signed := strict64.EncodeToString([]byte(header)) + "." + strict64.EncodeToString([]byte(body))
	sum := sha256.Sum256([]byte(signed))
	var sig []byte
	var err error
	switch k := key.(type) {
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, k, sum[:])
		sig, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), e
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(signed))
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(signed))
		sig = mac.Sum(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + strict64.EncodeToString(sig)
}

// word is the body of an ID-JAG, with some members changed: "" leaves one out.
func word(change ...string) string {
	m := map[string]json.RawMessage{}
	for name, v := range map[string]any{"iss": provider, "sub": "00u1", "aud": testIssuer, "client_id": "scribe", "jti": "j1", "resource": testAudience, "scope": "read write",
		"iat": noon.Unix(), "exp": noon.Add(5 * time.Minute).Unix(), "email": "maya@example.com", "email_verified": true, "auth_time": noon.Unix(), "act": map[string]string{"sub": "x"}} {
		m[name], _ = json.Marshal(v)
	}
	for i := 0; i < len(change); i += 2 {
		if m[change[i]] = json.RawMessage(change[i+1]); change[i+1] == "" {
			delete(m, change[i])
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestVoucher: the provider's word is taken with each kind of key that it may have.
func TestVoucher(t *testing.T) {
	k := newKeyring(t)
	for header, key := range map[string]any{
		`{"alg":"RS256","kid":"r1",` + idJAG + `}`:                        k.rsa,
		`{"alg":"RS256","kid":"r1","x5t":"abc",` + idJAG + `}`:            k.rsa,
		`{"alg":"RS256",` + idJAG + `}`:                                   k.rsa, // the only one
		`{"alg":"ES256","kid":"e1","typ":"application/oauth-id-jag+jwt"}`: k.ec,
		`{"alg":"EdDSA","kid":"o1",` + idJAG + `}`:                        k.ed,
		`{"alg":"Ed25519","kid":"o1",` + idJAG + `}`:                      k.ed,
	} {
		for _, body := range []string{word(), word("aud", `["`+testIssuer+`"]`), word("resource", `["`+testAudience+`"]`)} {
			v, err := ParseVoucher(made(t, key, header, body))
			if err == nil && !v.SignedBy(k.set) {
				err = errors.New("wrong signature")
			}
			if err == nil {
				err = v.Judge(testIssuer, noon)
			}
			if err != nil || v.Issuer != provider || v.Subject != "00u1" || v.Client != "scribe" || v.Resource != testAudience || v.Scope != "read write" ||
				v.Email != "maya@example.com" || !v.Verified || v.Denied || v.Claim("email") != "maya@example.com" || v.Claim("auth_time") != "" {
				t.Errorf("%s: %+v %v", header, v, err)
			}
		}
	}
	jkt := strings.Repeat("k", 43)
	v, err := ParseVoucher(made(t, k.rsa, `{"alg":"RS256","kid":"r1",`+idJAG+`}`, word("cnf", `{"jkt":"`+jkt+`"}`, "email_verified", `"true"`)))
	if err != nil || v.JKT != jkt || !v.Verified {
		t.Errorf("%+v %v", v, err)
	}
	for said, want := range map[string][2]bool{`false`: {false, true}, `"no"`: {false, true}, `1`: {false, true}, `null`: {false, false}, ``: {false, false}} {
		if v, err := ParseVoucher(made(t, k.rsa, `{"alg":"RS256",`+idJAG+`}`, word("email_verified", said))); err != nil || v.Verified != want[0] || v.Denied != want[1] {
			t.Errorf("email_verified %s: %v %v %v", said, v.Verified, v.Denied, err)
		}
	}
}

// TestVoucherRefused: none of what has been tried on verifiers of JWTs passes, and each
// case is refused for its own reason alone: without it, it would pass.
func TestVoucherRefused(t *testing.T) {
	k := newKeyring(t)
	stranger := newKeyring(t)
	good := `{"alg":"RS256","kid":"r1",` + idJAG + `}`
	pem := k.rsa.PublicKey.N.Bytes()
	for what, c := range map[string]struct {
		key          any
		header, body string
		says         string // in the error; "" is a wrong signature
	}{
		"no typ":                  {k.rsa, `{"alg":"RS256","kid":"r1"}`, word(), "has not the typ"},
		"typ of an access token":  {k.rsa, `{"alg":"RS256","kid":"r1","typ":"at+jwt"}`, word(), "has not the typ"},
		"typ of an id token":      {k.rsa, `{"alg":"RS256","kid":"r1","typ":"JWT"}`, word(), "has not the typ"},
		"typ in another case":     {k.rsa, `{"alg":"RS256","kid":"r1","typ":"OAUTH-ID-JAG+JWT"}`, word(), "has not the typ"},
		"alg none":                {[]byte(nil), `{"alg":"none","kid":"r1",` + idJAG + `}`, word(), ""},
		"the public key as HMAC":  {pem, `{"alg":"HS256","kid":"r1",` + idJAG + `}`, word(), ""},
		"RS256 called PS256":      {k.rsa, `{"alg":"PS256","kid":"r1",` + idJAG + `}`, word(), ""},
		"RS256 called ES256":      {k.rsa, `{"alg":"ES256","kid":"r1",` + idJAG + `}`, word(), ""},
		"ES256 with the RSA kid":  {k.ec, `{"alg":"ES256","kid":"r1",` + idJAG + `}`, word(), ""},
		"EdDSA with the EC kid":   {k.ed, `{"alg":"EdDSA","kid":"e1",` + idJAG + `}`, word(), ""},
		"another provider's key":  {stranger.rsa, good, word(), ""},
		"a kid nobody has":        {k.rsa, `{"alg":"RS256","kid":"r2",` + idJAG + `}`, word(), ""},
		"an empty kid":            {k.ec, `{"alg":"ES256","kid":"",` + idJAG + `}`, word(), ""}, // as if there were none, and there are two for ES256
		"a kid that is a path":    {k.rsa, `{"alg":"RS256","kid":"../../r1",` + idJAG + `}`, word(), ""},
		"a kid that two have":     {k.ed, `{"alg":"EdDSA","kid":"twice",` + idJAG + `}`, word(), ""},
		"a kid for encryption":    {k.rsa, `{"alg":"RS256","kid":"for-encryption",` + idJAG + `}`, word(), ""},
		"a kid that is no text":   {k.rsa, `{"alg":"RS256","kid":1,` + idJAG + `}`, word(), "kid"},
		"two kids":                {k.rsa, `{"alg":"RS256","kid":"r1","kid":"r1",` + idJAG + `}`, word(), "header"},
		"its own key":             {stranger.rsa, `{"alg":"RS256","jwk":{},` + idJAG + `}`, word(), "jwk"},
		"an address of keys":      {stranger.rsa, `{"alg":"RS256","jku":"https://evil.example","kid":"r1",` + idJAG + `}`, word(), "jku"},
		"a certificate":           {stranger.rsa, `{"alg":"RS256","x5c":["x"],` + idJAG + `}`, word(), "x5c"},
		"crit":                    {k.rsa, `{"alg":"RS256","kid":"r1","crit":["b64"],` + idJAG + `}`, word(), "crit"},
		"another audience":        {k.rsa, good, word("aud", `"https://other.example"`), "another audience"},
		"our token endpoint":      {k.rsa, good, word("aud", `"`+testIssuer+`/oauth/token"`), "another audience"},
		"aud with a slash":        {k.rsa, good, word("aud", `"`+testIssuer+`/"`), "another audience"},
		"us and another":          {k.rsa, good, word("aud", `["`+testIssuer+`","https://other.example"]`), "exactly one audience"},
		"us twice":                {k.rsa, good, word("aud", `["`+testIssuer+`","`+testIssuer+`"]`), "exactly one audience"},
		"no audience":             {k.rsa, good, word("aud", ""), "aud"},
		"an empty list":           {k.rsa, good, word("aud", "[]"), "aud"},
		"aud in an object":        {k.rsa, good, word("aud", `{"0":"`+testIssuer+`"}`), "aud"},
		"expired":                 {k.rsa, good, word("exp", "1795435200"), "has expired"}, // noon itself
		"not yet":                 {k.rsa, good, word("iat", "1795435260"), "not valid yet"},
		"nbf":                     {k.rsa, good, word("nbf", "1795435260"), "not valid yet"},
		"too long":                {k.rsa, good, word("exp", "1795438801"), "more than an hour"},
		"for ever":                {k.rsa, good, word("exp", "1e300"), "exp"},
		"no exp":                  {k.rsa, good, word("exp", ""), "exp"},
		"exp as text":             {k.rsa, good, word("exp", `"1795435500"`), "exp"},
		"no iat":                  {k.rsa, good, word("iat", ""), "iat"},
		"no jti":                  {k.rsa, good, word("jti", ""), "jti"},
		"an empty jti":            {k.rsa, good, word("jti", `""`), "jti"},
		"a long jti":              {k.rsa, good, word("jti", `"`+strings.Repeat("x", 300)+`"`), "too long"},
		"no sub":                  {k.rsa, good, word("sub", ""), "sub"},
		"no client_id":            {k.rsa, good, word("client_id", ""), "client_id"},
		"no iss":                  {k.rsa, good, word("iss", ""), "iss"},
		"no resource":             {k.rsa, good, word("resource", ""), "resource"},
		"two resources":           {k.rsa, good, word("resource", `["a","b"]`), "exactly one resource"},
		"scope as a list":         {k.rsa, good, word("scope", `["read"]`), "scope"},
		"a claim twice":           {k.rsa, good, strings.Replace(word(), "{", `{"sub":"00u2",`, 1), "payload"},
		"a claim in another case": {k.rsa, good, strings.Replace(word(), "{", `{"Sub":"00u2",`, 1), "payload"},
		"authorization_details":   {k.rsa, good, word("authorization_details", `[]`), "authorization_details"},
		"bound in a way we lack":  {k.rsa, good, word("cnf", `{"kid":"x"}`), "cnf"},
		"bound to a certificate":  {k.rsa, good, word("cnf", `{"x5t#S256":"x"}`), "cnf"},
		"no JSON":                 {k.rsa, good, "x", "payload"},
		"more after it":           {k.rsa, good, word() + "{}", "payload"},
	} {
		raw := made(t, c.key, c.header, c.body)
		v, err := ParseVoucher(raw)
		if err == nil && !v.SignedBy(k.set) {
			if c.says != "" {
				t.Errorf("%s: a wrong signature, want %q", what, c.says)
			}
			continue
		}
		if err == nil {
			err = v.Judge(testIssuer, noon)
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != InvalidGrant || c.says == "" || !strings.Contains(e.Text, c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
	raw := made(t, k.rsa, good, word())
	for what, s := range map[string]string{"nothing": "", "a segment more": raw + ".", "padding": raw + "=", "a line end": raw + "\n", "too large": raw + strings.Repeat("A", MaxToken), "no signature": raw[:strings.LastIndex(raw, ".")+1]} {
		if v, err := ParseVoucher(s); err == nil && v.SignedBy(k.set) {
			t.Errorf("%s: accepted", what)
		}
	}
}

// TestProviderKeys: what of a key set is of use, and which sets are refused.
func TestProviderKeys(t *testing.T) {
	k := newKeyring(t)
	if ids := strings.Join(k.set.IDs(), " "); ids != "r1 e1 o1 twice twice" {
		t.Error(ids)
	}
	jwk := func(key any) string {
		b, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "x"})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	n := func(bits int) string {
		b := make([]byte, bits/8)
		for i := range b {
			b[i] = 0xff
		}
		return strict64.EncodeToString(b)
	}
	for what, doc := range map[string]string{
		"no set": `[]`, "no keys": `{}`, "none": `{"keys":[]}`, "keys twice": `{"keys":[],"keys":[]}`,
		"a private key":             `{"keys":[` + jwk(k.rsa) + `]}`,
		"one private of two":        `{"keys":[` + jwk(k.ed.Public()) + `,` + jwk(k.ec) + `]}`,
		"a symmetric key":           `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"RSA of 1024 bits":          `{"keys":[{"kty":"RSA","n":"` + n(1024) + `","e":"AQAB"}]}`,
		"RSA of 8192 bits":          `{"keys":[{"kty":"RSA","n":"` + n(8192) + `","e":"AQAB"}]}`,
		"RSA with exponent 1":       `{"keys":[{"kty":"RSA","n":"` + n(2048) + `","e":"AQ"}]}`,
		"RSA with e even":           `{"keys":[{"kty":"RSA","n":"` + n(2048) + `","e":"AQAA"}]}`,
		"RSA with a huge e":         `{"keys":[{"kty":"RSA","n":"` + n(2048) + `","e":"` + n(64) + `"}]}`,
		"RSA for RS512":             `{"keys":[{"kty":"RSA","alg":"RS512","n":"` + n(2048) + `","e":"AQAB"}]}`,
		"only for encryption":       `{"keys":[{"kty":"RSA","use":"enc","n":"` + n(2048) + `","e":"AQAB"}]}`,
		"n with padding":            `{"keys":[{"kty":"RSA","n":"` + n(2048) + `==","e":"AQAB"}]}`,
		"a key with a member twice": `{"keys":[{"kty":"RSA","kty":"RSA","n":"` + n(2048) + `","e":"AQAB"}]}`,
		"too large":                 `{"keys":[` + jwk(k.ed.Public()) + `]}` + strings.Repeat(" ", 64<<10),
	} {
		if s, err := ParseProviderKeys([]byte(doc)); err == nil {
			t.Errorf("%s: accepted with %v", what, s.IDs())
		}
	}
	if _, err := ParseProviderKeys([]byte(`{"keys":[{"kty":"RSA","n":"` + n(2048) + `","e":"AQAB"},{"kty":"weird"}]}`)); err != nil {
		t.Errorf("with a key that is not understood: %v", err)
	}
	// A key of another kind than ours may have is nowhere else accepted.
	if _, err := parseJWK([]byte(jwk(k.rsa.Public()))); err == nil {
		t.Error("an RSA key was taken for a client's")
	}
	if _, err := ParseJWKS([]byte(`{"keys":[` + jwk(k.rsa.Public()) + `]}`)); err == nil {
		t.Error("an RSA key was taken for ours")
	}
}

func FuzzVoucher(f *testing.F) {
	k := newKeyring(f)
	f.Add(`{"alg":"EdDSA","kid":"o1",`+idJAG+`}`, word())
	f.Add(`{"alg":"RS256","kid":"r1",`+idJAG+`}`, word("aud", `["a","b"]`))
	// What is accepted was signed by the provider, and an independent reader reads the same.
	f.Fuzz(func(t *testing.T, head, body string) {
		if v, err := ParseVoucher(head + "." + body); err == nil && v.SignedBy(k.set) {
			t.Fatal("accepted what nobody signed")
		}
		v, err := ParseVoucher(sign(k.ed, head, body))
		if err != nil || !v.SignedBy(k.set) || v.Judge(testIssuer, noon) != nil {
			return
		}
		var again struct {
			Issuer  string `json:"iss"`
			Subject string `json:"sub"`
			ID      string `json:"jti"`
			Client  string `json:"client_id"`
			Email   string `json:"email"`
		}
		if err := json.Unmarshal([]byte(body), &again); err != nil || again.Issuer != v.Issuer || again.Subject != v.Subject || again.ID != v.ID || again.Client != v.Client || again.Email != v.Email {
			t.Fatalf("%+v became %+v (%v)", again, v, err)
		}
	})
}

func FuzzProviderKeys(f *testing.F) {
	k := newKeyring(f)
	f.Add(k.doc)
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	raw := made(f, k.rsa, `{"alg":"RS256","kid":"r1",`+idJAG+`}`, word())
	v, err := ParseVoucher(raw)
	if err != nil {
		f.Fatal(err)
	}
	// Whatever set is read, it has public keys alone, and no other key than the right one verifies.
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := ParseProviderKeys(doc)
		if err != nil {
			return
		}
		if len(s.IDs()) == 0 {
			t.Fatal("a set without keys")
		}
		found, _ := s.find("r1", "RS256")
		if key, ok := found.key.(*rsa.PublicKey); v.SignedBy(s) && !(ok && key.Equal(k.rsa.Public())) {
			t.Fatal("another key verified it")
		}
	})
}
