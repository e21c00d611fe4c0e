package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxPending is how long a person may take at the sign-in page.
const maxPending = 10 * time.Minute

// Pending is a sign-in between Begin and Finish. It is secret as a whole, good for one
// Finish, and belongs to the browser it was begun in: the caller sees to both.
type Pending struct {
	State    string       `json:"state"`
	Verifier string       `json:"verifier"` // PKCE, RFC 7636
	Redirect string       `json:"redirect_uri"`
	Began    time.Time    `json:"began"`
	Resource string       `json:"resource"`
	Scope    []string     `json:"scope,omitempty"`
	Bound    bool         `json:"bound,omitempty"` // only a token bound to a key will do
	Key      []byte       `json:"key,omitempty"`
	Server   Server       `json:"authorization_server"`
	As       Registration `json:"registration"`
}

func (p Pending) String() string   { return "[sign-in for " + p.Resource + "]" }
func (p Pending) GoString() string { return p.String() }

// Scope is what to ask for at the first sign-in: what the challenge says, else all that
// the upstream says it needs, else nothing (the server's default).
func (u Upstream) Scope(ch Challenge) []string {
	if len(ch.Scope) > 0 {
		return ch.Scope
	}
	return u.Scopes
}

// Begin starts the authorization code flow (OAuth 2.1 section 4.1) and returns the URL to
// open in the owner's browser. The server's answer comes to the redirect URI, for Finish.
func (c *Client) Begin(ctx context.Context, up Upstream, scope []string) (string, Pending, error) {
	s := up.Server
	if !slices.Contains(s.Challenges, "S256") {
		return "", Pending{}, fmt.Errorf("%s does not say that it protects codes with PKCE and S256; signing in there would not be safe", s.Issuer)
	}
	if err := s.grants("authorization_code"); err != nil {
		return "", Pending{}, err
	}
	page, err := c.link("the authorization_endpoint of "+s.Issuer, s.Authorization, nil)
	if err != nil {
		return "", Pending{}, err
	}
	p := Pending{Redirect: c.Redirect, Began: c.Now(), Resource: up.Resource, Scope: union(scope), Bound: up.Bound, Server: s}
	if len(p.Scope) > 0 && slices.Contains(s.Scopes, offline) {
		p.Scope = union(p.Scope, []string{offline})
	}
	if p.As, err = c.registration(ctx, s); err != nil {
		return "", Pending{}, err
	}
	if p.Key, err = c.proofKey(up); err != nil {
		return "", Pending{}, err
	}
	if p.State, err = c.text(); err == nil {
		p.Verifier, err = c.text()
	}
	if err != nil {
		return "", Pending{}, err
	}
	sum := sha256.Sum256([]byte(p.Verifier))
	q := page.Query()
	for k, v := range map[string]string{"response_type": "code", "client_id": p.As.ID, "redirect_uri": p.Redirect, "state": p.State,
		"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256",
		"resource": p.Resource, "scope": strings.Join(p.Scope, " ")} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if slices.Contains(p.Scope, offline) {
		q.Set("prompt", "consent") // without it offline_access is ignored (OpenID Connect Core section 11)
	}
	page.RawQuery = q.Encode()
	return page.String(), p, nil
}

// text is 32 random bytes in base64url.
func (c *Client) text() (string, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(c.Rand, b); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// Finish takes the query that came to the redirect URI and exchanges its code. The
// answer must be to this sign-in (state) and of the server it was begun at (RFC 9207
// section 2.4: iss, if it came or was announced, is that issuer byte for byte), or
// nothing of it is used, not even its error, which would be an *Error.
func (c *Client) Finish(ctx context.Context, p Pending, answer url.Values) (Token, error) {
	one := func(name string) string {
		if v := answer[name]; len(v) == 1 {
			return v[0]
		}
		return ""
	}
	for name, v := range answer {
		if len(v) > 1 && slices.Contains([]string{"state", "iss", "code", "error"}, name) {
			return Token{}, errors.New("the answer to the sign-in says something twice")
		}
	}
	_, named := answer["iss"]
	switch {
	case p.State == "" || subtle.ConstantTimeCompare([]byte(one("state")), []byte(p.State)) != 1:
		return Token{}, errors.New("this is not the answer to the sign-in that was begun")
	case !c.Now().Before(p.Began.Add(maxPending)):
		return Token{}, errors.New("the sign-in took too long; begin it again")
	case named && one("iss") != p.Server.Issuer:
		return Token{}, fmt.Errorf("the answer to the sign-in is not of %s, where it was begun", p.Server.Issuer)
	case !named && p.Server.Iss:
		return Token{}, fmt.Errorf("the answer to the sign-in does not say that it is of %s, which it promised to", p.Server.Issuer)
	case one("error") != "":
		return Token{}, &Error{Code: printable(one("error")), Description: printable(one("error_description"))}
	case one("code") == "":
		return Token{}, errors.New("the answer to the sign-in holds no code")
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {one("code")}, "redirect_uri": {p.Redirect}, "code_verifier": {p.Verifier}}
	a := ask{server: p.Server, as: p.As, form: form, resource: p.Resource, key: p.Key, bound: p.Bound}
	t, err := c.token(ctx, a)
	t.Scope = p.Scope
	return t, err
}
