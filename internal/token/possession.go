package token

import (
	"crypto/subtle"
	"strings"
	"time"
)

// ParseAuthorization finds the one access token in a request's Authorization header
// (RFC 6750 section 2.1, RFC 9449 section 7.1). The scheme is DPoP or Bearer.
// The error is an *Error without a code: who asks has shown nothing.
func ParseAuthorization(values []string) (scheme, raw string, err error) {
	if len(values) == 0 {
		return "", "", &Error{"", "request carries no access token"}
	}
	scheme, raw, ok := strings.Cut(values[0], " ")
	dpop := strings.EqualFold(scheme, "DPoP")
	if len(values) > 1 || !ok || raw == "" || strings.ContainsAny(raw, " ,") || !dpop && !strings.EqualFold(scheme, "Bearer") {
		return "", "", &Error{"", "request carries no access token in a form that is accepted"}
	}
	if len(raw) > MaxToken {
		return "", "", &Error{InvalidToken, "access token is too long"}
	}
	if dpop {
		return "DPoP", raw, nil
	}
	return "Bearer", raw, nil
}

// Possession is what a request shows beside its access token, and what it must be a request for.
type Possession struct {
	Scheme, Raw string            // of ParseAuthorization
	Proofs      []string          // its DPoP headers
	Peer        string            // CertThumbprint of the client's certificate; empty without one
	Method, URL string            // as we know them to be, never as a header says
	Nonce       func(string) bool // is this nonce ours and fresh
	Replay      *Replay           // of proofs
	Now         time.Time
}

// Check says whether who sends the token holds the key it is bound to (RFC 9449
// section 7.1, RFC 8705 section 3), and which nonce the proof was made with. The
// error is an *Error.
func (p Possession) Check(bound Confirmation) (nonce string, err error) {
	no := func(code, text string) (string, error) { return "", &Error{code, text} }
	if (bound.JKT != "") != (p.Scheme == "DPoP") {
		if bound.JKT != "" {
			return no(InvalidToken, "access token is bound to a key: send it with the DPoP scheme and a proof")
		}
		return no(InvalidToken, "access token is not bound to a DPoP key, so it cannot be sent with the DPoP scheme")
	}
	if bound.X5TS256 != "" && subtle.ConstantTimeCompare([]byte(p.Peer), []byte(bound.X5TS256)) != 1 {
		return no(InvalidToken, "access token is bound to a certificate that this connection did not show")
	}
	if bound.JKT == "" {
		return "", nil
	}
	if len(p.Proofs) != 1 {
		return no(InvalidProof, "bound access token needs exactly one DPoP proof")
	}
	proof, err := ParseProof(p.Proofs[0])
	if err != nil {
		return "", err
	}
	jkt, err := proof.Check(ProofWant{Method: p.Method, URL: p.URL, TokenHash: TokenHash(p.Raw), Nonce: p.Nonce, Now: p.Now})
	if err != nil {
		return "", err
	}
	if subtle.ConstantTimeCompare([]byte(jkt), []byte(bound.JKT)) != 1 {
		return no(InvalidProof, "DPoP proof is made with another key than the token is bound to")
	}
	if p.Replay.Seen(proof.Key(), p.Now) {
		return no(InvalidProof, "DPoP proof was used before; make a new one for each request")
	}
	return proof.Nonce, nil
}
