package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// publicKey is a key that may sign proofs and assertions: Ed25519 or P-256.
type publicKey struct {
	key        crypto.PublicKey
	thumbprint string // RFC 7638
	id         string // kid, if it has one
}

// private are the members that only a private or symmetric key has (RFC 7518 section 6).
var private = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// parseJWK reads one public JWK (RFC 7517).
func parseJWK(data []byte) (publicKey, error) {
	if len(data) > MaxToken {
		return publicKey{}, errors.New("key is too large")
	}
	o, err := parseObject(data)
	if err != nil {
		return publicKey{}, fmt.Errorf("key %w", err)
	}
	for _, p := range private {
		if o.has(p) {
			return publicKey{}, errors.New("key is private or symmetric; send only the public key")
		}
	}
	r := reader{object: o}
	kty, crv, x := r.text("kty", true), r.text("crv", true), r.bytes32("x")
	use, alg, ops := r.text("use", false), r.text("alg", false), r.texts("key_ops", false)
	k := publicKey{id: r.text("kid", false)}
	var algs []string
	var canonical string
	switch kty + " " + crv {
	case "OKP Ed25519":
		k.key, algs = ed25519.PublicKey(x), []string{"EdDSA", "Ed25519"}
		canonical = `{"crv":"Ed25519","kty":"OKP","x":"` + strict64.EncodeToString(x) + `"}`
	case "EC P-256":
		y := r.bytes32("y")
		if r.err == nil {
			point := append(append([]byte{4}, x...), y...)
			if k.key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
				return publicKey{}, errors.New("key is not a point on P-256")
			}
		}
		algs = []string{"ES256"}
		canonical = `{"crv":"P-256","kty":"EC","x":"` + strict64.EncodeToString(x) + `","y":"` + strict64.EncodeToString(y) + `"}`
	default:
		r.fail("kty", "and crv are not of an Ed25519 or P-256 key")
	}
	switch {
	case r.err != nil:
		return publicKey{}, fmt.Errorf("key: %w", r.err)
	case use != "" && use != "sig", ops != nil && !slices.Contains(ops, "verify"):
		return publicKey{}, errors.New("key is not for verifying signatures")
	case alg != "" && !slices.Contains(algs, alg):
		return publicKey{}, fmt.Errorf("key is for algorithm %q", alg)
	}
	sum := sha256.Sum256([]byte(canonical))
	k.thumbprint = strict64.EncodeToString(sum[:])
	return k, nil
}

// bytes32 reads 32 bytes in base64url, of which there must be neither more nor fewer.
func (r *reader) bytes32(name string) []byte {
	b, err := decode64(r.text(name, true))
	if err != nil || len(b) != 32 {
		r.fail(name, "is not 32 bytes in base64url")
		return nil
	}
	return b
}

// Thumbprint returns the RFC 7638 thumbprint of a public JWK, which must be an
// Ed25519 or P-256 key without its private part.
func Thumbprint(jwk []byte) (string, error) {
	k, err := parseJWK(jwk)
	return k.thumbprint, err
}

// CertThumbprint returns the x5t#S256 of a certificate in DER (RFC 8705 section 3.1).
func CertThumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return strict64.EncodeToString(sum[:])
}

// TokenHash returns the ath of an access token (RFC 9449 section 4.2).
func TokenHash(raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return strict64.EncodeToString(sum[:])
}
