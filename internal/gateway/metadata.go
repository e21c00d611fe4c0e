package gateway

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// metadata serves the protected resource metadata of an upstream (RFC 9728
// section 3.1), the one thing that needs no token. It reports whether it answered.
// An address within the upstream is a resource as well, because clients compare it
// with the one they asked (section 3.3); a token for it is one for all of the upstream.
func (g *Gateway) metadata(w http.ResponseWriter, in *http.Request) bool {
	resource, ok := strings.CutPrefix(in.RequestURI, wellKnown+"/")
	if !ok {
		return false
	}
	name, within, deeper := strings.Cut(resource, "/")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if in.Header["Upgrade"] != nil {
		w.Header().Set("Connection", "close") // Strict has stopped following it
	}
	if in.Method != http.MethodGet && in.Method != http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return true
	}
	if _, known := g.View.Upstream(name); !known || !identity.ValidName(name) || deeper && !plain("/"+within) {
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	_ = json.NewEncoder(w).Encode(map[string]any{ // the caller may be gone
		"resource":                                   g.audience(resource),
		"authorization_servers":                      []string{g.Issuer},
		"bearer_methods_supported":                   []string{"header"},
		"dpop_signing_alg_values_supported":          []string{"EdDSA", "ES256"},
		"tls_client_certificate_bound_access_tokens": true,
		"resource_name":                              name,
	})
	return true
}

// plain reports whether a path can stand in metadata and in a challenge as it is.
func plain(path string) bool {
	return len(path) <= 256 && cleanPath(path) == nil && !strings.ContainsAny(path, "%'\"")
}
