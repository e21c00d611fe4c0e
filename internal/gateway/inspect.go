package gateway

import (
	"net/http"
	"strings"
)

// inspect sees the response before the caller does: nothing in it may speak for
// us, and the upstream's session stays with the upstream.
func (r *request) inspect(res *http.Response) error {
	r.status = res.StatusCode
	if res.StatusCode == http.StatusSwitchingProtocols && r.in.Header["Upgrade"] == nil {
		return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: r.name + " changed the protocol without being asked."}
	}
	scrub(res.Header)
	if r.in.Header["Upgrade"] != nil && res.StatusCode != http.StatusSwitchingProtocols {
		res.Header["Connection"] = []string{"close"} // Strict has stopped following it
	}
	for name := range res.Trailer {
		if ownResponse(name) {
			delete(res.Trailer, name)
		}
	}
	r.trailer = len(res.Trailer) > 0 || res.ContentLength < 0
	if r.nonce != "" {
		res.Header["Dpop-Nonce"] = []string{r.nonce}
	}
	return nil
}

// scrub takes what the upstream may not say to a caller out of h.
func scrub(h http.Header) {
	for name := range h {
		if ownResponse(name) {
			delete(h, name)
		}
	}
}

// ownResponse reports whether a response header, or a trailer, is not the upstream's to send on.
func ownResponse(name string) bool {
	name = strings.TrimPrefix(name, http.TrailerPrefix)
	switch name {
	case "Set-Cookie", "Set-Cookie2", "Dpop-Nonce", "Www-Authenticate", "Authentication-Info", "Alt-Svc", "Clear-Site-Data", "Strict-Transport-Security":
		return true
	}
	return strings.HasPrefix(name, "X-Lanyard-") || strings.HasPrefix(name, "Proxy-")
}
