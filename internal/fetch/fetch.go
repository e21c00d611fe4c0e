// Package fetch reads small documents at addresses that somebody else chose: a
// client's metadata, an issuer's keys. Nobody may use it to reach what only this
// machine can reach: it asks with https alone, resolves and then judges the very
// address it dials (so a name cannot point elsewhere in between), follows no
// redirect, uses no proxy, and takes no more bytes and time than a small document
// needs.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"code.dny.dev/ssrf"
)

const (
	// MaxDocument is how many bytes a document may have.
	MaxDocument = 64 << 10
	patience    = 5 * time.Second
)

// ErrRefused means that an address is not one that may be asked.
var ErrRefused = errors.New("this address is not asked")

// Client fetches. The zero Client is not one: see [New].
type Client struct {
	loopback bool
	http     *http.Client
}

// New makes a client. With loopback it also asks this machine, over http too: for
// development, never where strangers can name addresses.
func New(loopback bool) *Client {
	dialer := &net.Dialer{Timeout: patience}
	if !loopback {
		dialer.Control = ssrf.New().Safe
	}
	return &Client{loopback: loopback, http: &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: patience, ForceAttemptHTTP2: true,
			MaxIdleConns: 8, IdleConnTimeout: 10 * time.Second, MaxResponseHeaderBytes: 32 << 10},
	}}
}

// ASCII reports whether a host is written in ASCII (RFC 3986 section 3.2.2; RFC 5890 section 2.3.2.1): people are shown it, and
// letters of other alphabets look like those of hosts that they trust.
func ASCII(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII })
}

// Check returns nil when address is one that may be asked: https, a host in ASCII, no user,
// no fragment. Errors wrap [ErrRefused].
func (c *Client) Check(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || strings.Contains(address, "#"):
		return fmt.Errorf("%w: it is no plain URL", ErrRefused)
	case !ASCII(u.Host):
		return fmt.Errorf("%w: its host is to be written as xn--", ErrRefused)
	case u.Scheme == "https", u.Scheme == "http" && c.loopback && Loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%w: it is to be https", ErrRefused)
}

// Loopback reports whether host is this machine by name or address (RFC 8252 section 8.3).
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// JSON reads the JSON document at address, and for how long it may be kept: at most an hour.
func (c *Client) JSON(ctx context.Context, address string) (body []byte, keep time.Duration, err error) {
	if err := c.Check(address); err != nil {
		return nil, 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: it is no plain URL", ErrRefused)
	}
	r.Header.Set("Accept", "application/json")
	res, err := c.http.Do(r)
	switch {
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrProhibitedPort), errors.Is(err, ssrf.ErrProhibitedNetwork):
		return nil, 0, fmt.Errorf("%w: it is not on the public internet", ErrRefused)
	case err != nil:
		return nil, 0, fmt.Errorf("no answer from %s", r.URL.Host) // what the network said may tell of our insides
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%s answers with status %d (a redirect is not followed)", r.URL.Host, res.StatusCode)
	}
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, 0, fmt.Errorf("%s answers with no JSON", r.URL.Host)
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, MaxDocument+1))
	if err != nil {
		return nil, 0, fmt.Errorf("%s stopped in the middle of its answer", r.URL.Host)
	}
	if len(body) > MaxDocument {
		return nil, 0, fmt.Errorf("%s answers with more than %d bytes", r.URL.Host, MaxDocument)
	}
	return body, keepFor(res.Header.Get("Cache-Control")), nil
}

// keepFor is max-age of Cache-Control (RFC 9111 section 5.2.2.1), an hour at most;
// five minutes when nothing is said.
func keepFor(control string) time.Duration {
	keep := 5 * time.Minute
	for directive := range strings.SplitSeq(strings.ToLower(control), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				keep = min(time.Duration(n)*time.Second, time.Hour)
			}
		}
	}
	return keep
}
