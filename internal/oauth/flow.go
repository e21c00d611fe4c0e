package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/lanyard-dev/lanyard/internal/token"
)

const (
	grantJWT      = token.GrantJWT
	grantExchange = token.GrantExchange
	tokenIDJAG    = "urn:ietf:params:oauth:token-type:id-jag"
)

// Flow is a way to a token for an upstream.
type Flow interface {
	SignIn(ctx context.Context, c *Client, up Upstream, scope []string) (Token, error)
}

// Person takes a person through the sign-in page: it opens the URL and returns the
// query that came back to the redirect URI.
type Person func(ctx context.Context, open string) (answer url.Values, err error)

func (f Person) SignIn(ctx context.Context, c *Client, up Upstream, scope []string) (Token, error) {
	open, pending, err := c.Begin(ctx, up, scope)
	if err != nil {
		return Token{}, err
	}
	answer, err := f(ctx, open)
	if err != nil {
		return Token{}, err
	}
	return c.Finish(ctx, pending, answer)
}

// Credentials shows the client's own: a secret, or a key (the extension
// io.modelcontextprotocol/oauth-client-credentials). They must be in the store,
// under the issuer they are for.
type Credentials struct{}

func (Credentials) SignIn(ctx context.Context, c *Client, up Upstream, scope []string) (Token, error) {
	r, err := c.known(ctx, up.Server)
	if err != nil {
		return Token{}, err
	}
	return c.direct(ctx, up, r, scope, url.Values{"grant_type": {"client_credentials"}})
}

// direct asks up's server for a token without anybody's browser.
func (c *Client) direct(ctx context.Context, up Upstream, r Registration, scope []string, form url.Values) (Token, error) {
	if err := up.Server.grants(form.Get("grant_type")); err != nil {
		return Token{}, err
	}
	key, err := c.proofKey(up)
	if err != nil {
		return Token{}, err
	}
	return c.token(ctx, ask{server: up.Server, as: r, form: form, resource: up.Resource, scope: scope, key: key, bound: up.Bound})
}

// Enterprise asks the owner's identity provider for an assertion that the upstream's
// server takes (ID-JAG; the extension io.modelcontextprotocol/enterprise-managed-authorization).
// The client must be in the store under both issuers.
type Enterprise struct {
	Issuer  string                                            // of the identity provider
	Subject func(context.Context) (idToken string, err error) // the owner's ID token
}

func (f Enterprise) SignIn(ctx context.Context, c *Client, up Upstream, scope []string) (Token, error) {
	here, err := c.known(ctx, up.Server)
	if err != nil {
		return Token{}, err
	}
	if err := up.Server.grants(grantJWT); err != nil {
		return Token{}, err
	}
	grant, err := f.assertion(ctx, c, up, scope)
	if err != nil {
		return Token{}, fmt.Errorf("asking the identity provider %s: %w", f.Issuer, err)
	}
	return c.direct(ctx, up, here, scope, url.Values{"grant_type": {grantJWT}, "assertion": {grant}})
}

// assertion exchanges the ID token (RFC 8693) for an ID-JAG for up's server.
func (f Enterprise) assertion(ctx context.Context, c *Client, up Upstream, scope []string) (string, error) {
	s, err := c.Server(ctx, f.Issuer)
	if err != nil {
		return "", err
	}
	if err := s.grants(grantExchange); err != nil {
		return "", err
	}
	r, err := c.known(ctx, s)
	if err != nil {
		return "", err
	}
	subject, err := f.Subject(ctx)
	if err != nil {
		return "", err
	}
	req, err := c.tokenRequest(ctx, ask{server: s, as: r, resource: up.Resource, scope: scope, form: url.Values{
		"grant_type": {grantExchange}, "requested_token_type": {tokenIDJAG}, "audience": {up.Server.Issuer},
		"subject_token": {subject}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"}}})
	if err != nil {
		return "", err
	}
	res, body, err := c.post(req)
	if err != nil {
		return "", err
	}
	if res.StatusCode != 200 {
		return "", refusal(res, body)
	}
	var got struct {
		Assertion string `json:"access_token"`
		Issued    string `json:"issued_token_type"`
		Type      string `json:"token_type"`
	}
	if err := decode(body, &got); err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	if got.Assertion == "" || got.Issued != tokenIDJAG || !strings.EqualFold(got.Type, "N_A") {
		return "", errors.New("the answer holds no ID-JAG")
	}
	return got.Assertion, nil
}

// Workload shows a JWT that the platform gave the workload (RFC 7523 section 2.1; workload
// identity federation). An assertion that was refused is not shown again, and nothing
// else is tried in its place. It is used by pointer.
type Workload struct {
	Assertion func(ctx context.Context, audience string) (string, error) // for the issuer of the server

	mu      sync.Mutex
	refused [sha256.Size]byte
	why     error
}

func (f *Workload) SignIn(ctx context.Context, c *Client, up Upstream, scope []string) (Token, error) {
	r, err := c.Store.Registration(ctx, up.Server.Issuer) // a client_id is not always needed
	if err != nil {
		return Token{}, err
	}
	assertion, err := f.Assertion(ctx, up.Server.Issuer)
	if err != nil {
		return Token{}, fmt.Errorf("getting the workload's assertion: %w", err)
	}
	sum := sha256.Sum256([]byte(assertion))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why != nil && f.refused == sum {
		return Token{}, f.why
	}
	t, err := c.direct(ctx, up, r, scope, url.Values{"grant_type": {grantJWT}, "assertion": {assertion}})
	var e *Error
	if errors.As(err, &e) {
		f.refused, f.why = sum, err
	}
	return t, err
}
