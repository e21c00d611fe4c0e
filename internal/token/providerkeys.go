package token

import (
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	minRSA = 2048 // bits; RFC 7518 section 3.3
	maxRSA = 4096 // more cost time, and are of no use
)

// ProviderKeys is the key set of somebody else's: of an identity provider. It may
// hold RSA keys, too, which nothing else here may. It is immutable.
type ProviderKeys struct{ keys []publicKey }

// ParseProviderKeys reads a key set (RFC 7517 section 5). Keys that are for something
// else, or of a kind that is not understood, are left out; a set of which nothing is
// left is refused, and so is one with a private key.
func ParseProviderKeys(data []byte) (*ProviderKeys, error) {
	if len(data) > 64<<10 {
		return nil, errors.New("key set is too large")
	}
	o, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("key set %w", err)
	}
	var raw []jsontext.Value
	if v := o.value("keys"); v == nil || json.Unmarshal(v, &raw) != nil || len(raw) > maxMembers {
		return nil, errors.New("key set has no keys, or too many")
	}
	s := &ProviderKeys{}
	for _, r := range raw {
		o, err := parseObject(r)
		if err != nil {
			return nil, fmt.Errorf("key set: a key %w", err)
		}
		for _, p := range private {
			if o.has(p) {
				return nil, errors.New("key set has a key that is private or symmetric; it is to hold public keys only")
			}
		}
		var k publicKey
		if kty, _ := unquote(o.value("kty")); kty == "RSA" {
			k, err = parseRSA(o)
		} else {
			k, err = parseJWK(r)
		}
		if err == nil {
			s.keys = append(s.keys, k)
		}
	}
	if len(s.keys) == 0 {
		return nil, errors.New("key set has no key that signs with RS256, ES256 or EdDSA")
	}
	return s, nil
}

// parseRSA reads an RSA key for RS256.
func parseRSA(o object) (publicKey, error) {
	r := reader{object: o}
	n, err1 := decode64(r.text("n", true))
	e, err2 := decode64(r.text("e", true))
	use, alg, ops := r.text("use", false), r.text("alg", false), r.texts("key_ops", false)
	k := publicKey{id: r.text("kid", false)}
	if err := errors.Join(r.err, err1, err2); err != nil {
		return k, err
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	switch exponent := new(big.Int).SetBytes(e); {
	case use != "" && use != "sig", alg != "" && alg != "RS256", ops != nil && !slices.Contains(ops, "verify"):
		return k, errors.New("key is for something else")
	case key.N.BitLen() < minRSA, key.N.BitLen() > maxRSA, key.N.Bit(0) == 0:
		return k, errors.New("key is too short or too long")
	case exponent.BitLen() > 31, exponent.Int64() < 3, exponent.Bit(0) == 0:
		return k, errors.New("key has an exponent that no RSA key has")
	default:
		key.E = int(exponent.Int64())
	}
	k.key = key
	return k, nil
}

// IDs are the kids of the keys; of one without, "-".
func (s *ProviderKeys) IDs() (ids []string) {
	for _, k := range s.keys {
		if k.id == "" {
			k.id = "-"
		}
		ids = append(ids, k.id)
	}
	return ids
}

// find returns the key that kid names; without one, the only key there is for alg.
// Where two have one name, neither is meant.
func (s *ProviderKeys) find(kid, alg string) (found publicKey, ok bool) {
	for _, k := range s.keys {
		if kid != "" && k.id != kid || kid == "" && !k.signs(alg) {
			continue
		}
		if ok {
			return publicKey{}, false
		}
		found, ok = k, true
	}
	return found, ok
}

func (k publicKey) signs(alg string) bool {
	switch k.key.(type) {
	case *rsa.PublicKey:
		return alg == "RS256"
	case ed25519.PublicKey:
		return alg == "EdDSA" || alg == "Ed25519"
	}
	return alg == "ES256"
}
