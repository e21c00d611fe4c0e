package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// Guarded makes an http.Client that reaches the servers that an operator named, wherever
// they are, and besides them what is on the public internet: where strangers' documents lead.
// A server on this machine that was named may lead to others on it. No proxy is used, and
// each request has to be over within patience.
func Guarded(patience time.Duration, named ...string) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: Dial(named...), TLSHandshakeTimeout: patience, ForceAttemptHTTP2: true,
		MaxIdleConns: 8, IdleConnTimeout: 10 * time.Second, MaxResponseHeaderBytes: 32 << 10}}
}

// Dial makes connections to where Guarded goes, and nowhere else.
func Dial(named ...string) func(ctx context.Context, network, address string) (net.Conn, error) {
	g := guard{named: map[string]bool{}, safe: ssrf.New(ssrf.WithAnyPort())}
	for _, address := range named {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" {
			continue
		}
		g.loopback = g.loopback || Loopback(u.Hostname())
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		g.named[strings.ToLower(net.JoinHostPort(u.Hostname(), port))] = true
	}
	return g.dial
}

type guard struct {
	named    map[string]bool // host:port
	loopback bool
	safe     *ssrf.Guardian
}

func (g guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 5 * time.Second}
	if !g.named[strings.ToLower(address)] {
		d.Control = g.control
	}
	c, err := d.DialContext(ctx, network, address)
	if errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedNetwork) {
		return nil, ErrRefused
	}
	return c, err
}

// control judges the very address that is dialled.
func (g guard) control(network, address string, raw syscall.RawConn) error {
	if to, err := netip.ParseAddrPort(address); err == nil && g.loopback && to.Addr().Unmap().IsLoopback() {
		return nil
	}
	return g.safe.Safe(network, address, raw)
}
