package gateway

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// forward sends the request on and the response back, both as streams. Before
// anything is sent the request is known as a running one, and only then is it
// asked once more whether the token still stands: who pulls the cord now either
// finds it running or has it refused here.
func (g *Gateway) forward(r *request) error {
	r.ctx, r.cancel = context.WithCancelCause(r.in.Context())
	defer r.cancel(nil)
	g.streams.add(r)
	defer g.streams.remove(r)
	if err := r.single(); err != nil {
		return err
	}
	if err := g.layers(r, r.look); err != nil {
		return err
	}
	if err := g.goes(r); err != nil {
		return err
	}
	used, err := g.charge(r)
	if err != nil {
		return err
	}
	if err = g.use(r); err == nil && r.decision.Before {
		err = g.intend(r)
	}
	if err == nil {
		err = g.still(r)
	}
	if err == nil {
		r.confirmed()
	}
	if err != nil {
		g.purses.put(r.task, used) // nothing was sent
		return err
	}
	if r.in.ProtoMajor == 1 && r.in.ContentLength != 0 { // or net/http would read all of the request before it answers
		_ = http.NewResponseController(r.w).EnableFullDuplex() // a writer that cannot is none of net/http
	}
	if j, ok := r.backend.connector.(connector.Joiner); ok {
		g.enter(r, j)
		return nil
	}
	r.measure()
	defer r.hurry()()
	r.proxy.ServeHTTP(r, r.in.WithContext(r.ctx))
	if r.trailer {
		scrub(r.w.Header()) // trailers are written after this handler has returned
	}
	return nil
}

// still asks again what could have changed since authenticate. It changes
// nothing of r, because a stop asks it too, from its own goroutine.
func (g *Gateway) still(r *request) error {
	now := g.Now()
	if err := g.live(); err != nil {
		return err
	}
	if err := g.View.Check(*r.claims, now); err != nil {
		return unauthorized("invalid_token", "The access token is no longer good: "+err.Error()+".")
	}
	if !now.Before(r.claims.Expires) {
		return unauthorized("invalid_token", "The access token has expired.")
	}
	u, ok := g.View.Upstream(r.name)
	if !ok || u.Killed {
		return cutOff(r.name)
	}
	call := r.call
	if u != r.backend.upstream && r.added != nil {
		return movedOn(r)
	}
	if u != r.backend.upstream { // what it means, or its class, may be another now
		b, err := g.backend(r.name)
		if err != nil {
			return err
		}
		if call, err = b.recognise(&r.ask); err != nil {
			return &problem{status: http.StatusForbidden, kind: "unrecognised", detail: r.name + " was changed in the midst of this, and no longer has what was asked for."}
		}
		if r.approval.ID != "" && (call.Action != r.call.Action || call.Resource != r.call.Resource || call.Class != r.call.Class || u.URL != r.backend.upstream.URL) {
			return &problem{status: http.StatusForbidden, kind: "denied", detail: r.name + " was changed in the midst of this, and it is no longer what people said yes to."}
		}
		if !inScope(r.claims.Scope, call.Class) {
			return &problem{status: http.StatusForbidden, kind: "denied", detail: call.Action + " is now a " + string(call.Class) + ", and the token is limited to the scope " + quote(r.claims.Scope) + "."}
		}
	}
	if err := g.mine(r); err != nil {
		return err
	}
	if r.approval.ID == "" && g.unmoved(r, u) {
		return nil
	}
	var by sets // r's own do not change any more
	if d, err := g.judge(r.claims, r.own(call, u, now), &by); err != nil {
		return err
	} else if !d.Allow && !g.stands(r, d, u, now) {
		return denied(r, d)
	} else if !alike(d.Layers, r.decision.Layers) {
		return &problem{status: http.StatusForbidden, kind: "denied", detail: "What its grants hold back was changed in the midst of this; send it again."}
	}
	return nil
}

// intend makes the intent durable before a privileged request goes on.
func (g *Gateway) intend(r *request) error {
	const detail = "The ledger cannot be written, so an action that must be recorded first may not pass."
	if g.recorder.failing.Load() && g.Spool == nil {
		return unavailable(detail)
	}
	e, err := g.intent(r)
	if err != nil {
		return err
	}
	if err := g.recorder.durable([]ledger.Event{e}); err != nil {
		g.Log.Warn("recording an intent", "request", r.id, "error", err)
		return unavailable(detail)
	}
	return nil
}

// rewrite makes the outgoing request. ReverseProxy has already removed what is
// for one hop, so nothing that is set here can be taken away by Connection.
func (r *request) rewrite(p *httputil.ProxyRequest) {
	if r.upload.place != nil {
		r.bring(p)
		return
	}
	b := r.backend
	u := p.Out.URL
	*u = b.base
	u.Path, u.RawPath, u.RawQuery = "", "", ""
	u.Opaque = b.prefix + r.target // sent as it is: not decoded, not encoded again
	p.Out.Host = b.base.Host
	h := p.Out.Header
	r.setTold(h)
	setSecret(h, r.secret)
	h["Traceparent"] = []string{r.tracing}
	_, checked := b.connector.(connector.Checker)
	checked = checked || r.memory != nil
	if l, ok := b.connector.(connector.Lister); checked || ok && l.Lists(r.call) || len(r.decision.Layers) > 0 || len(r.linked()) > 0 || r.uploads() || r.withholds() {
		h["Accept-Encoding"] = []string{"identity"} // inspect reads the reply
	}
	if len(r.decision.Layers) > 0 {
		plainly(h)
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or the transport would say it is Go
	}
	if len(p.In.Trailer) > 0 && p.Out.Body != nil {
		p.Out.Trailer = make(http.Header, len(p.In.Trailer))
		for name := range p.In.Trailer {
			p.Out.Trailer[name] = nil
		}
		p.Out.Body = &trailing{p.Out.Body, p.In, p.Out.Trailer}
	}
}

// trailing hands on the values of the declared trailers, which are there once the body has been read.
type trailing struct {
	io.ReadCloser
	in  *http.Request
	out http.Header
}

func (t *trailing) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		for name := range t.out {
			t.out[name] = t.in.Trailer[name]
		}
	}
	return n, err
}

// RoundTrip makes r the proxy's transport: the one of its upstream.
func (r *request) RoundTrip(out *http.Request) (*http.Response, error) {
	res, err := r.carrier().RoundTrip(out)
	if err == nil && r.account.owner != "" && spent(res) && (r.upload.place == nil || r.upload.shown) {
		res, err = r.again(out, res)
	}
	if err != nil {
		return res, err
	}
	return r.follow(out, res)
}

// transport makes the connections of one version of one upstream. They carry
// plain requests and responses only: a connection that was upgraded or cut is
// not used again.
func (g *Gateway) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext: g.leashed(dialer.DialContext), ForceAttemptHTTP2: true, DisableCompression: true,
		MaxIdleConns: 512, MaxIdleConnsPerHost: 512, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ExpectContinueTimeout: time.Second,
		ResponseHeaderTimeout: g.Limits.Upstream, MaxResponseHeaderBytes: 256 << 10,
	}
}

// failed answers when there is no response to hand back.
func (r *request) failed(_ http.ResponseWriter, _ *http.Request, err error) {
	cause := context.Cause(r.ctx)
	var p *problem
	switch {
	case errors.As(err, &p), errors.As(cause, &p): // refused by inspect, or cut
	case errors.Is(err, context.Canceled):
		r.failure, r.status = "the caller went away", 499
		panic(http.ErrAbortHandler)
	case timeout(err):
		p = &problem{status: http.StatusGatewayTimeout, kind: "upstream-slow", detail: r.name + " did not answer in time."}
	default:
		p = &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: r.name + " could not be reached, or hung up."}
	}
	r.failure = p.detail
	r.g.Log.Debug("forwarding", "request", r.id, "upstream", r.name, "error", err)
	r.refuse(p)
}

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout() || err != nil && strings.Contains(err.Error(), "timeout awaiting response headers")
}

// buffers are what bodies are copied through.
type buffers struct{ sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.Pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.Pool.Put(&p) }

func (g *Gateway) errorLog() *log.Logger {
	return slog.NewLogLogger(g.Log.Handler(), slog.LevelDebug)
}
