package issuer

import (
	"errors"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// Caller is the identity that calls the control plane itself, with an access token
// whose audience that is. The error is an *Error; what it asks of the caller next (RFC
// 6750 section 3, RFC 9449 section 7.1) is on w already.
func (i *Issuer) Caller(w http.ResponseWriter, r *http.Request) (token.Claims, error) {
	now := i.Now()
	no := func(e *token.Error) (token.Claims, error) {
		challenge := ""
		if e.Code != "" {
			challenge = ` error="` + e.Code + `", error_description="` + strings.Map(headerRune, e.Text) + `"`
		}
		w.Header()["Www-Authenticate"] = []string{strings.TrimSuffix(`DPoP algs="EdDSA ES256",`+challenge, ","), strings.TrimSpace("Bearer" + challenge)}
		w.Header().Set("DPoP-Nonce", i.nonces.Make(now))
		return token.Claims{}, e
	}
	scheme, raw, err := token.ParseAuthorization(r.Header.Values("Authorization"))
	var c token.Claims
	if err == nil {
		c, err = i.Ring.Verifier().Verify(raw, i.URL, i.URL, now)
	}
	if err == nil {
		show := token.Possession{Scheme: scheme, Raw: raw, Proofs: r.Header.Values("DPoP"), Method: r.Method, URL: i.URL + r.URL.EscapedPath(),
			Nonce: func(n string) bool { return i.nonces.Valid(n, now) }, Replay: i.proofs, Now: now}
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			show.Peer = token.CertThumbprint(r.TLS.PeerCertificates[0].Raw)
		}
		_, err = show.Check(c.Key)
	}
	if err == nil {
		if bad := i.View.Check(c, now); bad != nil {
			err = &token.Error{Code: token.InvalidToken, Text: "access token is no longer good: " + bad.Error()}
		}
	}
	var e *token.Error
	if errors.As(err, &e) {
		return no(e)
	}
	return c, err
}

// headerRune keeps what may stand in a quoted error_description (RFC 6750 section 3).
func headerRune(c rune) rune {
	if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
		return '\''
	}
	return c
}
