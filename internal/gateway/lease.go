package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// A gateway acts while its lease runs. That is asked at every place where a request gets
// further: when it comes, after its body was read and the intent recorded, before its
// bytes go to the upstream, and before the upstream's come back. A process that was
// stopped, or a machine that was suspended, goes on in the midst of its work and meets
// the next of these first.

// errLapsed refuses what comes, and cuts what runs, when the lease has ended.
var errLapsed = &problem{status: http.StatusServiceUnavailable, kind: "lease", detail: "This gateway has not heard from its control plane for longer than its lease, so nothing may pass until it does."}

// live says why nothing may be decided from the view.
func (g *Gateway) live() error {
	switch err := g.View.Live(); {
	case errors.Is(err, feed.ErrLapsed):
		return errLapsed
	case err != nil:
		return unavailable("The gateway has not heard from its control plane, so nothing may pass.")
	}
	return nil
}

// lapse cuts all that runs when the lease has ended. It is called again and again.
func (g *Gateway) lapse() {
	if g.View.Leased() != nil {
		g.metrics.cut.Add(float64(g.streams.cut(func(*request) error { return errLapsed })))
	}
}

// leashed makes connections over which nothing goes without a lease. What is cut is cut
// by a timer, which may come late; this is at the last place before the kernel.
func (g *Gateway) leashed(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	if g.View.Lease == nil {
		return dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &leash{c, g.View}, nil
	}
}

type leash struct {
	net.Conn
	view *feed.View
}

func (l *leash) Write(b []byte) (int, error) {
	if l.view.Leased() != nil {
		return 0, errLapsed
	}
	return l.Conn.Write(b)
}

func (l *leash) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 && l.view.Leased() != nil {
		return 0, errLapsed
	}
	return n, err
}
