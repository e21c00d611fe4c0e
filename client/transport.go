package client

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// HTTPClient returns a client whose every request carries a token for the
// audience, with a fresh proof of possession.
func (s *Source) HTTPClient(audience string) *http.Client {
	return &http.Client{Transport: &Transport{Source: s, Audience: audience}}
}

// Transport puts a token and its proof on each request. A request that is
// refused for its nonce or its token is sent once more with a new one, if its
// body can be had again. Google's clients in Go send uploads to /upload/... at the
// root of the host, whatever their endpoint is; such a one goes to below the audience.
// Where an answer leads to another host, no token is shown.
type Transport struct {
	Source   *Source
	Audience string
}

var _ http.RoundTripper = (*Transport)(nil)

func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if ledAway(req) {
		return t.Source.config.Base.RoundTrip(req)
	}
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

// ledAway reports whether an answer led to req that is not of the host which the caller asked.
func ledAway(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil { // set by http.Client on what follows a redirect
		first = first.Response.Request
	}
	return first.URL.Scheme != req.URL.Scheme || first.URL.Host != req.URL.Host
}

func (t *Transport) once(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	t.below(r.URL)
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
	t.Source.nonces.Learn(r.URL, res.Header.Get("DPoP-Nonce"))
	if res.StatusCode == http.StatusUnauthorized && !strings.Contains(res.Header.Get("WWW-Authenticate"), "use_dpop_nonce") {
		t.Source.forget(token)
	}
	return res, nil
}

// below moves an upload that u is for to where the audience is.
func (t *Transport) below(u *url.URL) {
	at, err := url.Parse(t.Audience)
	if err != nil || at.Host != u.Host || !strings.HasPrefix(u.Path, "/upload/") || strings.HasPrefix(u.Path, strings.TrimSuffix(at.Path, "/")+"/") {
		return
	}
	moved := *u
	moved.Path, moved.RawPath = strings.TrimSuffix(at.Path, "/")+u.Path, strings.TrimSuffix(at.EscapedPath(), "/")+u.EscapedPath()
	*u = moved
}

// authorize puts a token and its proof on r.
func (t *Transport) authorize(r *http.Request) (Token, error) {
	token, err := t.Source.Token(r.Context(), t.Audience)
	if err != nil {
		return token, err
	}
	r.Header.Set("Authorization", token.Type+" "+token.Access)
	if token.Type == "DPoP" {
		err = t.Source.prove(r, token.Access)
	}
	return token, err
}

// prove puts a proof for r on r; access is the token it goes with, or empty at the token endpoint.
func (s *Source) prove(r *http.Request, access string) error {
	proof, err := s.proofs.Prove(rand.Reader, s.config.Now(), r.Method, r.URL, access, s.nonces.For(r.URL))
	if err != nil {
		return fmt.Errorf("client: signing the proof: %w", err)
	}
	r.Header.Set("DPoP", proof)
	return nil
}
