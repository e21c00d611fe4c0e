package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// maxLife is the longest that expires_in is believed.
const maxLife = 365 * 24 * time.Hour

// ask is one request for a token.
type ask struct {
	server   Server
	as       Registration
	form     url.Values
	resource string   // "" for none
	scope    []string // not sent if there is none
	key      []byte   // proof key; nil asks for a bearer token
	bound    bool     // a bearer token will not do
}

// proofKey makes the key that tokens for up will be bound to, PKCS #8; nil if up or its
// server knows no DPoP. A bound token that up does not understand would be of no use.
func (c *Client) proofKey(up Upstream) ([]byte, error) {
	known := slices.Contains(up.Server.DPoP, "ES256")
	switch {
	case !up.DPoP, !known && !up.Bound:
		return nil, nil
	case !known && len(up.Server.DPoP) > 0:
		return nil, fmt.Errorf("%s takes no DPoP proof signed with ES256", up.Server.Issuer)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), c.Rand)
	if err != nil {
		return nil, fmt.Errorf("making a proof key: %w", err)
	}
	return x509.MarshalPKCS8PrivateKey(k)
}

// token asks for one. Only a missing DPoP nonce makes it ask again, once (RFC 9449 section 8).
func (c *Client) token(ctx context.Context, a ask) (Token, error) {
	for again := true; ; again = false {
		req, err := c.tokenRequest(ctx, a)
		if err != nil {
			return Token{}, err
		}
		asked := c.Now()
		res, body, err := c.post(req)
		if err != nil {
			return Token{}, err
		}
		c.nonces.Learn(req.URL, res.Header.Get("DPoP-Nonce"))
		if res.StatusCode != http.StatusOK {
			err := refusal(res, body)
			var e *Error
			if errors.As(err, &e) {
				if e.Code == token.UseNonce && again && a.key != nil && c.nonces.For(req.URL) != "" {
					continue
				}
				if e.Code == token.InvalidClient && a.as.Dynamic { // forgotten there; the next sign-in registers anew
					err = errors.Join(err, c.Store.PutRegistration(ctx, a.server.Issuer, Registration{}))
				}
			}
			return Token{}, err
		}
		t, err := readToken(body, a, asked)
		if err != nil {
			return Token{}, fmt.Errorf("asking %s for a token: %w", a.server.Issuer, err)
		}
		return t, nil
	}
}

func (c *Client) tokenRequest(ctx context.Context, a ask) (*http.Request, error) {
	form := url.Values{}
	for k, v := range a.form {
		form[k] = v
	}
	if a.resource != "" {
		form.Set("resource", a.resource)
	}
	if len(a.scope) > 0 {
		form.Set("scope", strings.Join(a.scope, " "))
	}
	header, err := c.authenticate(a.server, a.as, form)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.server.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if header {
		req.SetBasicAuth(url.QueryEscape(a.as.ID), url.QueryEscape(a.as.Secret)) // RFC 6749 section 2.3.1
	}
	if a.key != nil {
		if err := c.prove(req, a.key, ""); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// prove puts a DPoP proof on req, for the access token that goes with it.
func (c *Client) prove(req *http.Request, der []byte, access string) error {
	k, err := key(der)
	if err != nil {
		return err
	}
	proof, err := k.Prove(c.Rand, c.Now(), req.Method, req.URL, access, c.nonces.For(req.URL))
	if err != nil {
		return err
	}
	req.Header.Set("DPoP", proof)
	return nil
}

// authenticate puts into form who the client is, or reports that it goes into the header.
func (c *Client) authenticate(s Server, r Registration, form url.Values) (header bool, err error) {
	method, err := r.method(s)
	if err != nil {
		return false, err
	}
	switch method {
	case methodBasic:
		return true, nil
	case methodPost:
		form.Set("client_secret", r.Secret)
	case methodKey:
		k, err := key(r.Key)
		if err != nil {
			return false, err
		}
		if len(s.Algs) > 0 && !slices.Contains(s.Algs, k.Alg()) {
			return false, fmt.Errorf("%s takes no assertion signed with %s, which the client's key is for", s.Issuer, k.Alg())
		}
		assertion, err := k.Assert(c.Rand, c.Now(), r.ID, s.Issuer) // rfc7523bis: the issuer and nothing else
		if err != nil {
			return false, err
		}
		form.Set("client_assertion_type", token.AssertionType)
		form.Set("client_assertion", assertion)
	}
	if r.ID != "" {
		form.Set("client_id", r.ID)
	}
	return false, nil
}

// method is how r is shown at s: as the registration says, else the best that both can.
func (r Registration) method(s Server) (string, error) {
	var can []string
	if r.Key != nil {
		can = append(can, methodKey)
	}
	if r.Secret != "" {
		can = append(can, methodBasic, methodPost)
	}
	if len(can) == 0 {
		can = append(can, methodNone)
	}
	offered := s.Methods
	if len(offered) == 0 {
		offered = []string{can[0]} // RFC 8414 would say client_secret_basic; a key or nothing says more
	}
	if r.Method != "" {
		if r.Method == methodNone || slices.Contains(can, r.Method) {
			return r.Method, nil
		}
		return "", fmt.Errorf("the registration at %s is for %s, but holds nothing for it", s.Issuer, r.Method)
	}
	for _, m := range can {
		if slices.Contains(offered, m) {
			return m, nil
		}
	}
	return "", fmt.Errorf("%s wants the client to use %s, for which the registration there holds nothing", s.Issuer, printable(strings.Join(offered, ", ")))
}

// readToken reads the answer of a token endpoint (RFC 6749 section 5.1).
func readToken(body []byte, a ask, asked time.Time) (Token, error) {
	var got struct {
		Access  string `json:"access_token"`
		Type    string `json:"token_type"`
		Life    *int64 `json:"expires_in"` // seconds
		Refresh string `json:"refresh_token"`
		ID      string `json:"id_token"`
	}
	if err := decode(body, &got); err != nil {
		return Token{}, fmt.Errorf("reading the answer: %w", err)
	}
	t := Token{Access: got.Access, Refresh: got.Refresh, Scope: a.scope, Resource: a.resource, Server: a.server, Client: a.as.ID, ID: got.ID}
	if t.Access == "" || !vschars(t.Access) || strings.Contains(t.Access, " ") || !vschars(t.Refresh) {
		return Token{}, errors.New("the answer holds no token that can be used")
	}
	switch {
	case strings.EqualFold(got.Type, "DPoP") && a.key != nil:
		t.Type, t.Key = "DPoP", a.key
	case strings.EqualFold(got.Type, "Bearer") && !a.bound:
		t.Type = "Bearer"
	case strings.EqualFold(got.Type, "Bearer"):
		return Token{}, errors.New("it gives a bearer token, but the upstream takes only tokens bound to a key")
	default:
		return Token{}, fmt.Errorf("it gives a token of type %q, which was not asked for", printable(got.Type))
	}
	if got.Life != nil {
		life := maxLife
		if *got.Life < 0 {
			return Token{}, errors.New("expires_in is negative")
		} else if *got.Life < int64(maxLife/time.Second) {
			life = time.Duration(*got.Life) * time.Second
		}
		t.Expires = asked.Add(life)
	}
	return t, nil
}

// Refresh renews t. Without a refresh token it returns ErrSignIn, and so it does if the
// server says that the refresh token is spent (invalid_grant). The caller keeps the new token
// before it uses it: the old refresh token may be good no more. That is also why the end
// of ctx does not end it: an answer nobody reads would cost the owner the sign-in.
func (c *Client) Refresh(ctx context.Context, t Token) (Token, error) {
	ctx = context.WithoutCancel(ctx)
	if t.Refresh == "" {
		return Token{}, ErrSignIn
	}
	r, err := c.clientOf(ctx, t)
	if err != nil {
		return Token{}, err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}}
	n, err := c.token(ctx, ask{server: t.Server, as: r, form: form, resource: t.Resource, key: t.Key, bound: t.Type == "DPoP"})
	var e *Error
	if errors.As(err, &e) && e.Code == "invalid_grant" {
		return Token{}, errors.Join(ErrSignIn, err)
	}
	if err != nil {
		return Token{}, err
	}
	if n.Scope = t.Scope; n.Refresh == "" {
		n.Refresh = t.Refresh
	}
	return n, nil
}

// Revoke tells the server that t is given up (RFC 7009), its refresh token or else the access
// token, if the server wants to be told. Like Refresh it is not ended by the end of ctx.
func (c *Client) Revoke(ctx context.Context, t Token) error {
	ctx = context.WithoutCancel(ctx)
	form := url.Values{"token": {t.Refresh}, "token_type_hint": {"refresh_token"}}
	if t.Refresh == "" {
		form = url.Values{"token": {t.Access}, "token_type_hint": {"access_token"}}
	}
	if t.Server.Revocation == "" || form.Get("token") == "" {
		return nil
	}
	r, err := c.clientOf(ctx, t)
	if err != nil {
		return err
	}
	s := t.Server
	s.Token = s.Revocation
	req, err := c.tokenRequest(ctx, ask{server: s, as: r, form: form})
	if err != nil {
		return err
	}
	res, body, err := c.post(req)
	if err == nil && res.StatusCode != http.StatusOK {
		err = refusal(res, body)
	}
	return err
}

// clientOf is the registration t was issued to.
func (c *Client) clientOf(ctx context.Context, t Token) (Registration, error) {
	r, err := c.Store.Registration(ctx, t.Server.Issuer)
	if err != nil {
		return Registration{}, err
	}
	if r.ID == "" && t.Client == c.Document {
		return Registration{ID: t.Client, Method: methodNone}, nil
	}
	if r.ID != t.Client {
		return Registration{}, fmt.Errorf("%w: it was done as another client", ErrSignIn)
	}
	return r, nil
}
