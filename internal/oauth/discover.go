package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Upstream is what is known of a protected resource before anybody signs in.
type Upstream struct {
	URL      string   // where it is, as the caller gave it
	Resource string   // its identifier as it publishes it (RFC 9728), byte for byte
	Scopes   []string // scopes_supported: what it needs at least
	DPoP     bool     // it takes tokens bound to a key
	Bound    bool     // and no others
	Server   Server
}

// Server is an authorization server: the part of its metadata (RFC 8414) that is used.
type Server struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint,omitempty"`
	Token         string   `json:"token_endpoint"`
	Registration  string   `json:"registration_endpoint,omitempty"`
	Revocation    string   `json:"revocation_endpoint,omitempty"` // RFC 7009
	Userinfo      string   `json:"userinfo_endpoint,omitempty"`   // OpenID Connect
	Scopes        []string `json:"scopes_supported,omitempty"`
	Grants        []string `json:"grant_types_supported,omitempty"`
	Challenges    []string `json:"code_challenge_methods_supported,omitempty"`
	Methods       []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	Algs          []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	DPoP          []string `json:"dpop_signing_alg_values_supported,omitempty"`
	Iss           bool     `json:"authorization_response_iss_parameter_supported,omitempty"` // RFC 9207
	Documents     bool     `json:"client_id_metadata_document_supported,omitempty"`
}

// resource is the protected resource metadata (RFC 9728 section 2), as far as it is used.
type resource struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported"`
	DPoP     []string `json:"dpop_signing_alg_values_supported"`
	Bound    bool     `json:"dpop_bound_access_tokens_required"`
}

// Probe asks the upstream, an MCP server, for its tools without a token, to be told what
// it wants. That it does not say is no error: Discover looks at the well-known places.
func (c *Client) Probe(ctx context.Context, rawURL string) (Challenge, error) {
	u, err := c.link("the upstream", rawURL, nil)
	if err != nil {
		return Challenge{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(probe))
	if err != nil {
		return Challenge{}, err
	}
	for k, v := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"} {
		req.Header.Set(k, v)
	}
	h := *c.HTTP
	h.Jar = nil
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := h.Do(req)
	if err != nil {
		return Challenge{}, fmt.Errorf("asking %s: %w", rawURL, err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		return Challenge{}, nil
	}
	return ReadChallenge(res.Header), nil
}

const probe = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
	`"io.modelcontextprotocol/clientInfo":{"name":"lanyard","version":"0"},"io.modelcontextprotocol/clientCapabilities":{}}}}`

// Discover finds the authorization server of the upstream at rawURL, which asked
// for a token with ch: the metadata that ch names, else the well-known place of the
// upstream's path, else that of its origin (RFC 9728 section 3), else what revision
// 2025-03-26 had: the upstream's origin is the server. Where there are several
// servers, the first that the client is registered with is taken, else the first.
func (c *Client) Discover(ctx context.Context, rawURL string, ch Challenge) (Upstream, error) {
	at, err := c.link("the upstream", rawURL, nil)
	if err != nil {
		return Upstream{}, err
	}
	r, err := c.describe(ctx, at, ch.Metadata)
	if err != nil {
		return Upstream{}, err
	}
	up := Upstream{URL: rawURL, DPoP: ch.DPoP, Bound: ch.Bound}
	if r == nil {
		up.Resource = at.String()
		up.Server, err = c.server(ctx, at.Scheme+"://"+at.Host, at, true)
		return up, err
	}
	id, err := c.link("the resource in the upstream's metadata", r.Resource, at)
	if err != nil {
		return Upstream{}, err
	}
	if !covers(id, at) {
		return Upstream{}, fmt.Errorf("the upstream's metadata is for %s, not for %s", printable(r.Resource), rawURL)
	}
	if len(r.Servers) == 0 || len(r.Servers) > 32 {
		return Upstream{}, errors.New("the upstream's metadata names no authorization server")
	}
	up.Resource, up.Bound = r.Resource, r.Bound || ch.Bound
	up.DPoP = up.Bound || ch.DPoP || slices.Contains(r.DPoP, "ES256")
	if up.Scopes = union(r.Scopes); !validScopes(up.Scopes) {
		return Upstream{}, errors.New("the upstream's metadata names scopes that cannot be")
	}
	issuer := r.Servers[0]
	for _, s := range r.Servers {
		if known, err := c.Store.Registration(ctx, s); err != nil {
			return Upstream{}, err
		} else if known.ID != "" {
			issuer = s
			break
		}
	}
	up.Server, err = c.server(ctx, issuer, at, false)
	return up, err
}

// describe fetches the metadata of the upstream, nil if there is none.
func (c *Client) describe(ctx context.Context, at *url.URL, named string) (*resource, error) {
	var r resource
	if named != "" {
		u, err := c.link("the upstream's resource_metadata", named, at)
		if err != nil {
			return nil, err
		}
		if ok, err := c.get(ctx, u, &r); err != nil || !ok {
			return nil, errors.Join(fmt.Errorf("the upstream's metadata is not at %s, where it says", u), err)
		}
		return &r, nil
	}
	for _, path := range slices.Compact([]string{strings.TrimSuffix(at.EscapedPath(), "/"), ""}) {
		u, err := url.Parse(at.Scheme + "://" + at.Host + "/.well-known/oauth-protected-resource" + path)
		if err != nil {
			return nil, err
		}
		if ok, err := c.get(ctx, u, &r); err != nil || ok {
			return &r, err
		}
	}
	return nil, nil
}

// Server finds the metadata of the authorization server issuer, whose word it must be.
func (c *Client) Server(ctx context.Context, issuer string) (Server, error) {
	return c.server(ctx, issuer, nil, false)
}

func (c *Client) server(ctx context.Context, issuer string, found *url.URL, legacy bool) (Server, error) {
	at, err := c.link("the issuer of the authorization server", issuer, found)
	if err == nil && at.RawQuery != "" {
		err = errors.New("the issuer of the authorization server has a query in it")
	}
	if err != nil {
		return Server{}, err
	}
	origin, path := at.Scheme+"://"+at.Host, strings.TrimSuffix(at.EscapedPath(), "/")
	places := []string{origin + "/.well-known/oauth-authorization-server" + path, origin + "/.well-known/openid-configuration" + path}
	if path != "" {
		places = append(places, origin+path+"/.well-known/openid-configuration")
	}
	for _, place := range places {
		u, err := url.Parse(place)
		if err != nil {
			return Server{}, err
		}
		var s Server
		if ok, err := c.get(ctx, u, &s); err != nil {
			return Server{}, err
		} else if ok {
			if legacy && s.Issuer == issuer+"/" { // nobody published what it must be
				issuer = s.Issuer
			}
			return s, c.checkServer(s, issuer, at)
		}
	}
	if !legacy {
		return Server{}, fmt.Errorf("%s has no metadata of an authorization server", issuer)
	}
	return Server{Issuer: issuer, Authorization: origin + "/authorize", Token: origin + "/token", Registration: origin + "/register",
		Challenges: []string{"S256"}, Methods: []string{"none", "client_secret_post", "client_secret_basic"}}, nil
}

// checkServer refuses metadata that is another's, or whose endpoints nothing can be sent to.
func (c *Client) checkServer(s Server, issuer string, at *url.URL) error {
	if s.Issuer != issuer { // RFC 8414 section 3.3: identical
		return fmt.Errorf("the metadata of %s says it is of %s", issuer, printable(s.Issuer))
	}
	var errs []error
	for what, endpoint := range map[string]string{"authorization_endpoint": s.Authorization, "token_endpoint": s.Token, "registration_endpoint": s.Registration, "revocation_endpoint": s.Revocation, "userinfo_endpoint": s.Userinfo} {
		if endpoint != "" {
			_, err := c.link("the "+what+" of "+issuer, endpoint, at)
			errs = append(errs, err)
		}
	}
	if s.Token == "" {
		errs = append(errs, fmt.Errorf("%s has no token_endpoint", issuer))
	}
	if !validScopes(s.Scopes) {
		errs = append(errs, fmt.Errorf("%s names scopes that cannot be", issuer))
	}
	return errors.Join(errs...)
}

// grants reports an error if s says which grants it knows and grant is not among them.
func (s Server) grants(grant string) error {
	if len(s.Grants) > 0 && !slices.Contains(s.Grants, grant) {
		return fmt.Errorf("%s does not offer the grant %s", s.Issuer, grant)
	}
	return nil
}
