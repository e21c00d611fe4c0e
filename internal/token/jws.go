package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// jws is a compact JWS (RFC 7515 section 7.1) that has been read but not verified.
type jws struct {
	header    object
	alg, typ  string
	signed    string // header "." payload, as it came
	payload   []byte // decoded, not yet read as JSON
	signature []byte
}

// parseJWS reads raw; its header may hold alg, typ and the members allowed, and
// nothing else. So jku, x5u, x5c, crit, b64, zip and friends have no effect but refusal.
func parseJWS(raw string, allowed ...string) (jws, error) {
	return parseLongJWS(raw, MaxToken, allowed...)
}

// parseLongJWS is parseJWS for what may be longer than a token.
func parseLongJWS(raw string, most int, allowed ...string) (jws, error) {
	if len(raw) > most {
		return jws{}, fmt.Errorf("is larger than %d bytes", most)
	}
	head, rest, ok1 := strings.Cut(raw, ".")
	body, sig, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || head == "" || body == "" || sig == "" || strings.Contains(sig, ".") {
		return jws{}, errors.New("is not a signed token of three segments")
	}
	h, err := decode64(head)
	if err != nil {
		return jws{}, fmt.Errorf("header %w", err)
	}
	j := jws{signed: raw[:len(head)+1+len(body)]}
	if j.payload, err = decode64(body); err != nil {
		return jws{}, fmt.Errorf("payload %w", err)
	}
	if j.signature, err = decode64(sig); err != nil {
		return jws{}, fmt.Errorf("signature %w", err)
	}
	if j.header, err = parseObject(h); err != nil {
		return jws{}, fmt.Errorf("header %w", err)
	}
	if odd := j.header.other(append(allowed, "alg", "typ")...); odd != "" {
		return jws{}, fmt.Errorf("header member %q is not accepted", odd)
	}
	r := reader{object: j.header}
	j.alg, j.typ = r.text("alg", true), r.text("typ", false)
	return j, r.err
}

// verify checks the signature with k. The key, not the token, says which algorithm it is for.
func (j jws) verify(k publicKey) bool {
	switch k := k.key.(type) {
	case ed25519.PublicKey:
		return (j.alg == "EdDSA" || j.alg == "Ed25519") && // RFC 8037; RFC 9864
			len(j.signature) == ed25519.SignatureSize && ed25519.Verify(k, []byte(j.signed), j.signature)
	case *ecdsa.PublicKey:
		if j.alg != "ES256" || len(j.signature) != 64 { // RFC 7518 section 3.4
			return false
		}
		sum := sha256.Sum256([]byte(j.signed))
		return ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(j.signature[:32]), new(big.Int).SetBytes(j.signature[32:]))
	case *rsa.PublicKey: // only a provider can have one: see ParseProviderKeys
		if j.alg != "RS256" { // RFC 7518 section 3.3
			return false
		}
		sum := sha256.Sum256([]byte(j.signed))
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], j.signature) == nil
	}
	return false
}
