package gateway

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// inject takes the caller's credential away and fetches the upstream's. The
// header itself is set in rewrite, after everything that removes headers.
func (g *Gateway) inject(r *request) error {
	delete(r.in.Header, "Authorization")
	delete(r.in.Header, "Dpop")
	secret, err := g.obtain(r, feed.Secret{})
	if err != nil {
		return err
	}
	r.secret = *secret
	if u, _ := g.View.Upstream(r.name); u != r.backend.upstream { // the secret may be for another place than this goes to
		return unavailable(r.name + " was changed in the midst of this; send it again.")
	}
	if _, taken := r.in.Trailer[secret.Header]; taken {
		return malformed("A trailer must not be called " + quote(secret.Header) + ".")
	}
	if r.in.Header["Upgrade"] != nil && !r.backend.upstream.WebSocket {
		return malformed("WebSocket is not enabled for " + r.name + ".")
	}
	if err := g.tell(r); err != nil {
		return err
	}
	return g.trace(r)
}

// trace sets the W3C trace context that goes on: the caller's trace with a span
// of ours, or a trace of our own when the caller's is missing or invalid.
func (g *Gateway) trace(r *request) error {
	var b [24]byte
	if _, err := io.ReadFull(g.Rand, b[:]); err != nil {
		return fmt.Errorf("reading randomness: %w", err)
	}
	var out [55]byte
	copy(out[:], "00-")
	flags := "01"
	if given := r.in.Header["Traceparent"]; len(given) == 1 && validTrace(given[0]) {
		copy(out[3:35], given[0][3:35])
		flags = given[0][53:55]
	} else {
		hex.Encode(out[3:35], b[:16])
		delete(r.in.Header, "Tracestate")
	}
	out[35], out[52] = '-', '-'
	hex.Encode(out[36:52], b[16:])
	copy(out[53:], flags)
	r.tracing = string(out[:])
	return nil
}

// validTrace accepts version 00 of traceparent, and the part of it that later versions keep.
func validTrace(s string) bool {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" || (len(s) > 55 && (s[:2] == "00" || s[55] != '-')) {
		return false
	}
	for i := range 55 {
		if i == 2 || i == 35 || i == 52 {
			continue
		}
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

// setSecret puts the upstream's credential, if it needs one, on the outgoing headers.
func setSecret(h http.Header, s feed.Secret) {
	if s.Header != "" {
		h[s.Header] = []string{s.Value}
	}
}
