// Package client is for agents and services: it gets tokens from Lanyard and
// uses them, so that code which calls an API through the gateway looks the same
// as code which calls it directly.
//
//	badge, err := client.New(client.Config{
//		Issuer:   "http://127.0.0.1:8440",
//		Identity: "spiffe://lanyard.local/agent/invoice-bot",
//		KeyFile:  "invoice-bot.key.jwk",
//	})
//	mail := badge.HTTPClient("http://127.0.0.1:8441/mail")
//
// The identity's key proves who asks for a token (RFC 7523 private_key_jwt). The
// token is bound to a second key, made by [New] and never written anywhere
// (RFC 9449 DPoP), so that a token found in a log is worthless. Tokens are asked
// for when first needed and again shortly before they expire.
package client

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// Config says who the client is. Issuer, Identity and one of Key, KeyFile and APIKey are required.
type Config struct {
	Issuer   string        // the control plane's URL, as in its OAuth metadata
	Identity string        // SPIFFE ID
	Key      crypto.Signer // Ed25519 or ECDSA P-256 private key registered for the identity
	KeyFile  string        // or the file of such a key, as a JWK
	APIKey   string        // or, for those that can do no better, an API key
	Task     string        // id of the task that its tokens are for; empty for none

	Base http.RoundTripper // default http.DefaultTransport
	Now  func() time.Time  // default time.Now
}

// Source gets tokens for one identity. It is safe for use by many goroutines.
type Source struct {
	config   Config
	endpoint string
	identity token.ClientKey // signs assertions; zero with an API key
	proofs   token.ClientKey // lives in memory only
	nonces   *token.GivenNonces
	subject  string // on behalf of whom, and
	kind     string // its type; empty: of nobody else

	mu     sync.Mutex
	tokens map[string]Token // by audience
}

// Token is an access token and what it is good for.
type Token struct {
	Access   string    `json:"access_token"`
	Type     string    `json:"token_type"` // DPoP or Bearer
	Audience string    `json:"audience"`
	Expires  time.Time `json:"expires"`
}

// Error is a refusal by the issuer (RFC 6749 section 5.2).
type Error struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Status      int    `json:"-"`
}

func (e *Error) Error() string {
	if e.Description == "" {
		return "token refused: " + e.Code
	}
	return "token refused: " + e.Description + " (" + e.Code + ")"
}

// New makes a Source. It asks for nothing yet.
func New(c Config) (*Source, error) {
	if c.Issuer == "" || c.Identity == "" {
		return nil, errors.New("client: Issuer and Identity are required")
	}
	if c.Base == nil {
		c.Base = http.DefaultTransport
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Source{config: c, endpoint: strings.TrimSuffix(c.Issuer, "/") + "/oauth/token", nonces: &token.GivenNonces{}, tokens: map[string]Token{}}
	if c.APIKey == "" {
		key, err := c.key()
		if err != nil {
			return nil, err
		}
		if s.identity, err = token.NewClientKey(key); err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("client: making a proof key: %w", err)
	}
	s.proofs, err = token.NewClientKey(key)
	return s, err
}

func (c Config) key() (crypto.Signer, error) {
	if c.Key != nil {
		return c.Key, nil
	}
	if c.KeyFile == "" {
		return nil, errors.New("client: one of Key, KeyFile and APIKey is required")
	}
	b, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("client: reading the key: %w", err)
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(b, &jwk); err != nil {
		return nil, fmt.Errorf("client: %s is no JWK: %w", c.KeyFile, err)
	}
	if jwk.IsPublic() {
		return nil, fmt.Errorf("client: %s holds a public key; the private one is needed", c.KeyFile)
	}
	key, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("client: %s holds no key that signs", c.KeyFile)
	}
	return key, nil
}

// Token returns a token for the audience (the URL of an upstream at the gateway,
// RFC 8707) that is good for at least ten more seconds. A refusal is an *Error.
func (s *Source) Token(ctx context.Context, audience string) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[audience]; s.config.Now().Add(10 * time.Second).Before(t.Expires) {
		return t, nil
	}
	t, err := s.request(ctx, audience, true)
	if err == nil {
		s.tokens[audience] = t
	}
	return t, err
}

// forget drops a token that the gateway would not take, so that the next call asks for another.
func (s *Source) forget(t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens[t.Audience].Access == t.Access {
		delete(s.tokens, t.Audience)
	}
}

func (s *Source) request(ctx context.Context, audience string, again bool) (Token, error) {
	form, err := s.form(audience)
	if err != nil {
		return Token{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return Token{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if s.config.APIKey != "" {
		req.SetBasicAuth(url.QueryEscape(s.config.Identity), url.QueryEscape(s.config.APIKey))
	}
	if err := s.prove(req, ""); err != nil {
		return Token{}, err
	}
	asked := s.config.Now()
	res, err := s.config.Base.RoundTrip(req)
	if err != nil {
		return Token{}, fmt.Errorf("asking %s for a token: %w", s.config.Issuer, err)
	}
	defer res.Body.Close()
	s.nonces.Learn(req.URL, res.Header.Get("DPoP-Nonce"))
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return Token{}, fmt.Errorf("asking %s for a token: %w", s.config.Issuer, err)
	}
	if res.StatusCode != http.StatusOK {
		e := &Error{Status: res.StatusCode}
		if json.Unmarshal(body, e) != nil || e.Code == "" {
			return Token{}, fmt.Errorf("asking %s for a token: %s", s.config.Issuer, res.Status)
		}
		if e.Code == "use_dpop_nonce" && again {
			return s.request(ctx, audience, false)
		}
		return Token{}, e
	}
	var reply struct {
		Access string `json:"access_token"`
		Type   string `json:"token_type"`
		Life   int64  `json:"expires_in"` // seconds
	}
	if err := json.Unmarshal(body, &reply); err != nil || reply.Access == "" {
		return Token{}, fmt.Errorf("asking %s for a token: the reply holds none", s.config.Issuer)
	}
	return Token{reply.Access, reply.Type, audience, asked.Add(time.Duration(reply.Life) * time.Second)}, nil
}

func (s *Source) form(audience string) (url.Values, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}
	if s.subject != "" {
		form = url.Values{"grant_type": {token.GrantExchange}, "resource": {audience}, "subject_token": {s.subject}, "subject_token_type": {s.kind}}
	}
	if s.config.Task != "" { // RFC 9396
		details, err := json.Marshal(token.DetailsOf(s.config.Task))
		if err != nil {
			return nil, fmt.Errorf("client: task %q: %w", s.config.Task, err)
		}
		form.Set("authorization_details", string(details))
	}
	if s.identity.IsZero() {
		return form, nil
	}
	assertion, err := s.identity.Assert(rand.Reader, s.config.Now(), s.config.Identity, s.config.Issuer)
	if err != nil {
		return nil, fmt.Errorf("client: signing the assertion: %w", err)
	}
	form.Set("client_assertion_type", token.AssertionType)
	form.Set("client_assertion", assertion)
	return form, nil
}
