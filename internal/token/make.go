package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// ClientKey is the private key of a client: it signs assertions (RFC 7523) and
// proofs (RFC 9449). The zero value signs nothing. It never prints itself.
type ClientKey struct {
	private crypto.Signer
	alg     string // EdDSA or ES256
	public  string // JWK
}

// NewClientKey takes an Ed25519 or ECDSA P-256 private key.
func NewClientKey(private crypto.Signer) (ClientKey, error) {
	switch p := private.(type) {
	case ed25519.PrivateKey:
		return ClientKey{p, "EdDSA", `{"kty":"OKP","crv":"Ed25519","x":"` + strict64.EncodeToString(p.Public().(ed25519.PublicKey)) + `"}`}, nil
	case *ecdsa.PrivateKey:
		if p.Curve != elliptic.P256() {
			return ClientKey{}, errors.New("an ECDSA key must be on P-256")
		}
		point, err := p.PublicKey.Bytes() // 4, x, y
		if err != nil {
			return ClientKey{}, fmt.Errorf("reading the key: %w", err)
		}
		return ClientKey{p, "ES256", `{"kty":"EC","crv":"P-256","x":"` + strict64.EncodeToString(point[1:33]) + `","y":"` + strict64.EncodeToString(point[33:]) + `"}`}, nil
	}
	return ClientKey{}, fmt.Errorf("%T is neither an Ed25519 nor an ECDSA P-256 private key", private)
}

func (k ClientKey) String() string   { return "[client key]" }
func (k ClientKey) GoString() string { return k.String() }

// IsZero reports whether k is no key.
func (k ClientKey) IsZero() bool { return k.private == nil }

// Alg is the algorithm k signs with: EdDSA or ES256.
func (k ClientKey) Alg() string { return k.alg }

// JWK is the public half of k.
func (k ClientKey) JWK() []byte { return []byte(k.public) }

// Assert returns a client assertion (RFC 7523 section 3): that client asks, at
// the authorization server audience, within the next minute, once.
func (k ClientKey) Assert(rand io.Reader, now time.Time, client, audience string) (string, error) {
	id, err := newID(rand)
	if err != nil {
		return "", err
	}
	return k.sign(rand, `{"alg":"`+k.alg+`","typ":"JWT"}`, map[string]any{"iss": client, "sub": client, "aud": audience,
		"jti": id, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
}

// Prove returns a DPoP proof (RFC 9449 section 4.2) for one request. access is
// the token that goes with it, empty at the token endpoint; nonce is the latest
// that the server gave, or empty.
func (k ClientKey) Prove(rand io.Reader, now time.Time, method string, u *url.URL, access, nonce string) (string, error) {
	id, err := newID(rand)
	if err != nil {
		return "", err
	}
	at := *u
	at.RawQuery, at.Fragment, at.ForceQuery = "", "", false
	claims := map[string]any{"jti": id, "htm": method, "htu": at.String(), "iat": now.Unix()}
	if access != "" {
		claims["ath"] = TokenHash(access)
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	return k.sign(rand, `{"alg":"`+k.alg+`","typ":"dpop+jwt","jwk":`+k.public+`}`, claims)
}

func newID(rand io.Reader) (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", fmt.Errorf("make jti: %w", err)
	}
	return strict64.EncodeToString(b), nil
}

func (k ClientKey) sign(rand io.Reader, header string, claims map[string]any) (string, error) {
	if k.private == nil {
		return "", errors.New("sign: there is no key")
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	signed := strict64.EncodeToString([]byte(header)) + "." + strict64.EncodeToString(payload)
	var signature []byte
	switch p := k.private.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(p, []byte(signed))
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256([]byte(signed))
		r, s, err := ecdsa.Sign(rand, p, sum[:])
		if err != nil {
			return "", fmt.Errorf("sign: %w", err)
		}
		signature = make([]byte, 64) // RFC 7518 section 3.4
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
	}
	return signed + "." + strict64.EncodeToString(signature), nil
}

// GivenNonces is what a client remembers of the DPoP-Nonce headers it was sent:
// the latest of each origin (RFC 9449 section 8.2). The zero value is ready.
type GivenNonces struct{ latest sync.Map }

// Learn keeps a nonce that came in an answer from u. Empty and huge ones are ignored.
func (g *GivenNonces) Learn(u *url.URL, nonce string) {
	if nonce != "" && len(nonce) <= maxID {
		g.latest.Store(u.Scheme+"://"+u.Host, nonce)
	}
}

// For returns the nonce to use in a proof for u, or the empty string.
func (g *GivenNonces) For(u *url.URL) string {
	nonce, _ := g.latest.Load(u.Scheme + "://" + u.Host)
	s, _ := nonce.(string)
	return s
}
