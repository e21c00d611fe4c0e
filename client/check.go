package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Check asks the issuer whether the identity may still act with this credential,
// without getting a token: nil when it may. A refusal is an *Error, and with the
// code invalid_client it is about who asks: the identity was stopped or has
// expired, or its credential was revoked. It leaves no event in the ledger.
func (s *Source) Check(ctx context.Context) error {
	form, err := s.form("")
	if err != nil {
		return err
	}
	for _, name := range []string{"grant_type", "resource", "subject_token", "subject_token_type", "authorization_details"} {
		form.Del(name)
	}
	form.Set("token", "none") // introspection (RFC 7662) asks who wants to know before it looks at the token
	endpoint := strings.TrimSuffix(s.config.Issuer, "/") + "/oauth/introspect"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if s.config.APIKey != "" {
		req.SetBasicAuth(url.QueryEscape(s.config.Identity), url.QueryEscape(s.config.APIKey))
	}
	res, err := s.config.Base.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("asking %s: %w", s.config.Issuer, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("asking %s: %w", s.config.Issuer, err)
	}
	if res.StatusCode == http.StatusOK {
		return nil
	}
	e := &Error{Status: res.StatusCode}
	if json.Unmarshal(body, e) != nil || e.Code == "" {
		return fmt.Errorf("asking %s: %s", s.config.Issuer, res.Status)
	}
	return e
}
