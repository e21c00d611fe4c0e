package client

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// HTTPClient returns a client whose every request carries a token for the
// audience, with a fresh proof of possession.
func (s *Source) HTTPClient(audience string) *http.Client {
	return &http.Client{Transport: &Transport{Source: s, Audience: audience}}
}

// Transport puts a token and its proof on each request. A request that is
// refused for its nonce or its token is sent once more with a new one, if its
// body can be had again.
type Transport struct {
	Source   *Source
	Audience string
}

var _ http.RoundTripper = (*Transport)(nil)

func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.once(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized || (req.Body != nil && req.Body != http.NoBody && req.GetBody == nil) {
		return res, err
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return res, nil
		}
	}
	res.Body.Close()
	return t.once(again)
}

func (t *Transport) once(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	token, err := t.authorize(r)
	if err != nil {
		if req.Body != nil {
			req.Body.Close() // as the contract of http.RoundTripper asks
		}
		return nil, err
	}
	res, err := t.Source.config.Base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.Source.proofs.learn(res)
	if res.StatusCode == http.StatusUnauthorized && !strings.Contains(res.Header.Get("WWW-Authenticate"), "use_dpop_nonce") {
		t.Source.forget(token)
	}
	return res, nil
}

// authorize puts a token and its proof on r.
func (t *Transport) authorize(r *http.Request) (Token, error) {
	token, err := t.Source.Token(r.Context(), t.Audience)
	if err != nil {
		return token, err
	}
	r.Header.Set("Authorization", token.Type+" "+token.Access)
	if token.Type == "DPoP" {
		err = t.Source.proofs.sign(r, token.Access)
	}
	return token, err
}

// prover signs DPoP proofs (RFC 9449 section 4.2) with a key that lives in memory only.
type prover struct {
	signer jose.Signer
	now    func() time.Time
	nonces *sync.Map // origin → the latest nonce it gave (section 8)
}

func newProver(now func() time.Time) (prover, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return prover{}, fmt.Errorf("client: making a proof key: %w", err)
	}
	o := new(jose.SignerOptions).WithType("dpop+jwt").WithHeader("jwk", jose.JSONWebKey{Key: public})
	signer, err := signerFor(key, o)
	return prover{signer, now, &sync.Map{}}, err
}

func origin(r *http.Request) string { return r.URL.Scheme + "://" + r.URL.Host }

// sign puts a proof for r on r; access is the token it goes with, or empty at the token endpoint.
func (p prover) sign(r *http.Request, access string) error {
	url := *r.URL
	url.RawQuery, url.Fragment, url.ForceQuery = "", "", false
	claims := map[string]any{"jti": rand.Text(), "htm": r.Method, "htu": url.String(), "iat": p.now().Unix()}
	if access != "" {
		hash := sha256.Sum256([]byte(access))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	if nonce, ok := p.nonces.Load(origin(r)); ok {
		claims["nonce"] = nonce
	}
	b, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	jws, err := p.signer.Sign(b)
	if err != nil {
		return fmt.Errorf("client: signing the proof: %w", err)
	}
	proof, err := jws.CompactSerialize()
	if err != nil {
		return err
	}
	r.Header.Set("DPoP", proof)
	return nil
}

// learn keeps the nonce that a server asks for in the next proof.
func (p prover) learn(res *http.Response) {
	if nonce := res.Header.Get("DPoP-Nonce"); nonce != "" {
		p.nonces.Store(origin(res.Request), nonce)
	}
}
