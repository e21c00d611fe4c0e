package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/fetch"
)

// How a client shows at the token endpoint who it is (RFC 7591 section 2).
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
	methodKey   = "private_key_jwt"
)

// registration is who the client is at s, for a flow that may make itself known: as
// the store says, else by its Client ID Metadata Document, else by registering
// (RFC 7591), which is remembered.
func (c *Client) registration(ctx context.Context, s Server) (Registration, error) {
	r, err := c.Store.Registration(ctx, s.Issuer)
	if err != nil {
		return Registration{}, fmt.Errorf("looking up the registration at %s: %w", s.Issuer, err)
	}
	switch {
	case r.ID != "" && !(r.Dynamic && r.expired(c.Now())):
		return r, nil
	case s.Documents && c.Document != "":
		return Registration{ID: c.Document, Method: methodNone}, nil
	case s.Registration == "":
		return Registration{}, fmt.Errorf("%s knows no client of ours and lets none register: register one there, and store its client_id", s.Issuer)
	}
	if r, err = c.register(ctx, s); err != nil {
		return Registration{}, fmt.Errorf("registering at %s: %w", s.Issuer, err)
	}
	if err := c.Store.PutRegistration(ctx, s.Issuer, r); err != nil {
		return Registration{}, fmt.Errorf("keeping the registration at %s: %w", s.Issuer, err)
	}
	return r, nil
}

// known is who the client is at s, for a flow whose credentials an operator must have stored.
func (c *Client) known(ctx context.Context, s Server) (Registration, error) {
	r, err := c.Store.Registration(ctx, s.Issuer)
	if err == nil && r.ID == "" {
		err = errors.New("there are no credentials for that server; those of another are not shown to it")
	}
	if err != nil {
		return Registration{}, fmt.Errorf("signing in at %s: %w", s.Issuer, err)
	}
	return r, nil
}

func (r Registration) expired(now time.Time) bool {
	return !r.Expires.IsZero() && !now.Before(r.Expires)
}

// register asks s for a client_id of its own (RFC 7591 section 3).
func (c *Client) register(ctx context.Context, s Server) (Registration, error) {
	redirect, err := url.Parse(c.Redirect)
	if err != nil || redirect.Host == "" {
		return Registration{}, errors.New("the client has no redirect URI")
	}
	kind := "web" // OpenID Connect Dynamic Client Registration section 2
	if fetch.Loopback(redirect.Hostname()) {
		kind = "native"
	}
	method := methodBasic // what RFC 8414 says if the metadata does not
	for _, m := range []string{methodNone, methodPost, methodBasic} {
		if slices.Contains(s.Methods, m) {
			method = m
		}
	}
	ask, err := json.Marshal(map[string]any{"client_name": c.Name, "redirect_uris": []string{c.Redirect}, "application_type": kind,
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "token_endpoint_auth_method": method})
	if err != nil {
		return Registration{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Registration, bytes.NewReader(ask))
	if err != nil {
		return Registration{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, body, err := c.post(req)
	if err != nil {
		return Registration{}, err
	}
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK {
		return Registration{}, refusal(res, body)
	}
	return readRegistration(body, method)
}

// readRegistration reads the answer of a registration endpoint (RFC 7591 section 3.2.1).
func readRegistration(body []byte, asked string) (Registration, error) {
	var got struct {
		ID      string `json:"client_id"`
		Secret  string `json:"client_secret"`
		Expires int64  `json:"client_secret_expires_at"`
		Method  string `json:"token_endpoint_auth_method"`
	}
	if err := decode(body, &got); err != nil {
		return Registration{}, fmt.Errorf("reading the answer: %w", err)
	}
	r := Registration{ID: got.ID, Secret: got.Secret, Method: got.Method, Dynamic: true}
	if got.Expires > 0 {
		r.Expires = time.Unix(got.Expires, 0).UTC()
	}
	if r.Method == "" {
		r.Method = asked
	}
	switch {
	case !vschars(r.ID) || r.ID == "" || !vschars(r.Secret):
		return Registration{}, errors.New("the answer holds no client_id that can be used")
	case r.Method != methodNone && r.Method != methodBasic && r.Method != methodPost:
		return Registration{}, fmt.Errorf("it wants the client to use %s, which was not asked for", printable(r.Method))
	case r.Method != methodNone && r.Secret == "":
		return Registration{}, errors.New("the answer holds no client_secret, which its token_endpoint_auth_method needs")
	}
	return r, nil
}

// vschars reports whether s is of printable ASCII and not absurdly long (RFC 6749 appendix A).
func vschars(s string) bool {
	return len(s) <= 16<<10 && !bytes.ContainsFunc([]byte(s), func(r rune) bool { return r < ' ' || r > '~' })
}
