package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
)

// KeyThumbprint returns the RFC 7638 thumbprint of a certificate's public key, so
// that it can be told that a JWK, or another certificate, is of the same key. The
// key may be Ed25519, ECDSA on P-256, P-384 or P-521, or RSA.
func KeyThumbprint(key crypto.PublicKey) (string, error) {
	var canonical string
	switch k := key.(type) {
	case ed25519.PublicKey:
		canonical = `{"crv":"Ed25519","kty":"OKP","x":"` + strict64.EncodeToString(k) + `"}`
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, x, y
		if name := k.Params().Name; err != nil || name != "P-256" && name != "P-384" && name != "P-521" {
			return "", errors.New("key is on a curve that no JWK can be on; use P-256, P-384 or P-521")
		}
		half := (len(point) - 1) / 2
		canonical = `{"crv":"` + k.Params().Name + `","kty":"EC","x":"` + strict64.EncodeToString(point[1:1+half]) + `","y":"` + strict64.EncodeToString(point[1+half:]) + `"}`
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return "", errors.New("key is missing")
		}
		canonical = `{"e":"` + strict64.EncodeToString(big.NewInt(int64(k.E)).Bytes()) + `","kty":"RSA","n":"` + strict64.EncodeToString(k.N.Bytes()) + `"}`
	default:
		return "", errors.New("key is not Ed25519, ECDSA or RSA")
	}
	sum := sha256.Sum256([]byte(canonical))
	return strict64.EncodeToString(sum[:]), nil
}
