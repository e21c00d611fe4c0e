package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// serverTLS is TLS with a fresh self-signed certificate, and its DER. HTTP/1.1 only: the load speaks nothing else.
func serverTLS() (*tls.Config, []byte, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pub, key)
	if err != nil {
		return nil, nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}}, der, nil
}

// holder is a client's key.
type holder struct {
	key ed25519.PrivateKey
	jwk string // public
	jkt string
}

func newHolder() (holder, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return holder{}, err
	}
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + b64(pub) + `"}`
	jkt, err := token.Thumbprint([]byte(jwk))
	return holder{key, jwk, jkt}, err
}

// sign makes a compact JWS.
func (h holder) sign(header, payload string) string {
	in := b64([]byte(header)) + "." + b64([]byte(payload))
	return in + "." + b64(ed25519.Sign(h.key, []byte(in)))
}

// proof is a fresh DPoP proof (RFC 9449 section 4.2).
func (h holder) proof(method, url, access, nonce string) string {
	hash := sha256.Sum256([]byte(access))
	return h.sign(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+h.jwk+`}`,
		fmt.Sprintf(`{"jti":%q,"htm":%q,"htu":%q,"iat":%d,"ath":%q,"nonce":%q}`, rand.Text(), method, url, time.Now().Unix(), b64(hash[:]), nonce))
}

// assertion is a fresh client assertion (RFC 7523 section 2.2).
func (h holder) assertion(client, audience string) string {
	now := time.Now().Unix()
	return h.sign(`{"typ":"JWT","alg":"EdDSA"}`,
		fmt.Sprintf(`{"jti":%q,"iss":%q,"sub":%q,"aud":%q,"iat":%d,"exp":%d}`, rand.Text(), client, client, audience, now, now+60))
}
