package token

import (
	"crypto/subtle"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Proof is a DPoP proof (RFC 9449 section 4.2) whose signature is right: its
// sender holds the key JKT. Whether it is a proof for this request, [Proof.Check] says.
type Proof struct {
	JKT    string // thumbprint of the key in the header
	ID     string // jti
	Method string // htm
	URL    string // htu
	Issued time.Time
	Hash   string // ath
	Nonce  string
}

// ParseProof reads the value of a DPoP header and verifies its signature. There
// must be exactly one such header, which the caller sees to. The error is an
// *Error with Code InvalidProof.
func ParseProof(raw string) (Proof, error) {
	p, err := parseProof(raw)
	if err != nil {
		return Proof{}, &Error{InvalidProof, "DPoP proof " + err.Error()}
	}
	return p, nil
}

func parseProof(raw string) (Proof, error) {
	j, err := parseJWS(raw, "jwk", "kid")
	if err != nil {
		return Proof{}, err
	}
	if j.typ != "dpop+jwt" {
		return Proof{}, fmt.Errorf("has typ %q, not dpop+jwt", j.typ)
	}
	k, err := parseJWK(j.header.value("jwk"))
	if err != nil {
		return Proof{}, err
	}
	if !j.verify(k) {
		return Proof{}, fmt.Errorf("has a wrong signature (alg %q; EdDSA and ES256 are accepted)", j.alg)
	}
	o, err := parseObject(j.payload)
	if err != nil {
		return Proof{}, fmt.Errorf("payload %w", err)
	}
	r := reader{object: o}
	p := Proof{k.thumbprint, r.text("jti", true), r.text("htm", true), r.text("htu", true),
		r.date("iat", true), r.text("ath", false), r.text("nonce", false)}
	if len(p.ID) > maxID {
		r.fail("jti", "is too long")
	}
	return p, r.err
}

// ProofWant is the request that a proof must be for.
type ProofWant struct {
	Method    string
	URL       string            // absolute; query and fragment do not count
	TokenHash string            // TokenHash of the access token that came with it; "" at the token endpoint
	Nonce     func(string) bool // is this nonce ours and fresh; nil asks for none
	Now       time.Time
}

// Check returns the thumbprint of the proof's key if the proof is for this
// request and recent (RFC 9449 section 4.3). The caller then asks [Replay] with
// [Proof.Key] and compares the thumbprint with the token's. The error is an
// *Error with Code InvalidProof, or UseNonce when only the nonce is wrong.
func (p Proof) Check(want ProofWant) (jkt string, err error) {
	bad := func(text string) (string, error) { return "", &Error{InvalidProof, "DPoP proof " + text} }
	switch {
	case p.Method != want.Method:
		return bad("is for method " + clip(p.Method) + ", not " + want.Method)
	case !sameURL(p.URL, want.URL):
		return bad("is for another URL (htu) than " + want.URL)
	case subtle.ConstantTimeCompare([]byte(p.Hash), []byte(want.TokenHash)) != 1 && want.TokenHash != "":
		return bad("is for another access token (ath)")
	case p.Issued.After(want.Now.Add(Skew)):
		return bad("is from the future (iat); check the clock of the client")
	case want.Now.After(p.Issued.Add(ProofWindow)):
		return bad("is too old (iat); make a new one for each request, and check the clock of the client")
	case want.Nonce != nil && !want.Nonce(p.Nonce):
		return "", &Error{UseNonce, "DPoP proof needs the nonce from the DPoP-Nonce header of this response"}
	}
	return p.JKT, nil
}

// Key names the proof for [Replay]: its jti counts per key, so nobody can use up another's.
func (p Proof) Key() string { return p.JKT + p.ID }

func clip(s string) string {
	if len(s) > 16 {
		s = s[:16] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// sameURL compares as RFC 9449 section 4.3 step 9 says: without query and
// fragment; case and default port of the authority do not count, the path does.
func sameURL(a, b string) bool {
	a, _, _ = strings.Cut(a, "#")
	a, _, _ = strings.Cut(a, "?")
	b, _, _ = strings.Cut(b, "#")
	b, _, _ = strings.Cut(b, "?")
	if a == b {
		return true
	}
	na, ok1 := normal(a)
	nb, ok2 := normal(b)
	return ok1 && ok2 && na == nb
}

func normal(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	port := u.Port()
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port + path, true
}
