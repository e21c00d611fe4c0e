package gateway

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/fetch"
)

// Some upstreams answer with an address on another host, at which everybody who has it gets what was asked for. It is a credential, and
// leads around the gateway: so the gateway goes there itself, and what it brings is the reply, which layers, budgets and what is remembered
// of what was read hold for as for any other. The caller's and the upstream's own credential stay here.

// maxHops is how many such addresses lead to one another at most.
const maxHops = 3

// follow gets what an upstream's reply says is elsewhere. Any other reply it leaves as it is.
func (r *request) follow(out *http.Request, res *http.Response) (*http.Response, error) {
	f, ok := r.backend.connector.(connector.Follower)
	if !ok || !f.Follows(r.call) {
		return res, nil
	}
	lost := &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: r.name + " says that this is at another address, and it could not be had from there."}
	followed := false
	for range maxHops {
		if !redirects(res.StatusCode) {
			break
		}
		_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
		_ = res.Body.Close()
		u, ok := r.backend.leads(res.Header["Location"])
		if !ok {
			return nil, r.unfollowed()
		}
		h := out.Header.Clone()
		connector.Keep(h, "Accept", "Accept-Encoding", "Range", "If-Range", "User-Agent")
		if _, ok := h["User-Agent"]; !ok {
			h["User-Agent"] = nil // or the transport would say it is Go
		}
		var err error
		if res, err = r.backend.away.RoundTrip((&http.Request{Method: out.Method, URL: u, Host: u.Host, Header: h}).WithContext(out.Context())); err != nil { // the error may have the address in it
			if context.Cause(r.context()) != nil || timeout(err) {
				return nil, err
			}
			return nil, lost
		}
		followed = true
	}
	if !followed {
		return res, nil
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
	default:
		_ = res.Body.Close()
		return nil, lost
	}
	connector.Keep(res.Header, "Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Date", "Etag", "Last-Modified", "Vary")
	res.Trailer = nil
	return res, nil
}

func (r *request) unfollowed() error {
	return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: r.name + " says that this is at another address, which is none that the gateway goes to."}
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// leads is where an address of the upstream's leads: by https, or to the upstream itself, or, from an upstream on this machine, to this
// machine. Which of the addresses that a name has are dialled, see [fetch.Dial].
func (b *backend) leads(location []string) (*url.URL, bool) {
	if len(location) != 1 || len(location[0]) > connector.MaxLink {
		return nil, false
	}
	u, err := url.Parse(location[0])
	if err != nil || u.User != nil || u.Opaque != "" || u.Hostname() == "" {
		return nil, false
	}
	u.Fragment, u.RawFragment = "", ""
	u.Scheme = strings.ToLower(u.Scheme)
	own := u.Scheme == b.base.Scheme && strings.EqualFold(u.Host, b.base.Host)
	local := u.Scheme == "http" && fetch.Loopback(u.Hostname()) && fetch.Loopback(b.base.Hostname())
	return u, u.Scheme == "https" || own || local
}

// away makes the connections to where an upstream's replies lead, and to places for content that they name: itself, and what is on the public internet.
func (g *Gateway) away(u string) *http.Transport {
	t := g.transport()
	t.DialContext = g.leashed(fetch.Dial(u))
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.IdleConnTimeout = 64, 8, 30*time.Second
	return t
}
