package gateway

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// inward carries the requests of a line to the gateway itself, in the name of its door's caller.
type inward struct{ l *line }

func (t *inward) RoundTrip(out *http.Request) (*http.Response, error) {
	res, err := t.once(out)
	if err != nil || !isStream(res) {
		return res, err
	}
	told := tells(out)
	body := t.l.orderly(res.Body, !told) // each event is bounded, for they are read whole
	if res.Body = body; told {
		res.Body = &lasting{t: t, out: out, body: body}
	}
	return res, nil
}

// tells reports whether a request is for what is told without being asked.
func tells(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Header.Get("Mcp-Method") == "subscriptions/listen"
}

func isStream(res *http.Response) bool {
	return streamed(res.Header.Get("Content-Type"))
}

func (l *line) orderly(body io.ReadCloser, rest bool) *orderly {
	return &orderly{sieve: sieve{ReadCloser: body}, take: l.order.take, rest: rest}
}

// once makes a request and hands back what is answered.
func (t *inward) once(out *http.Request) (*http.Response, error) {
	in := out.Clone(out.Context())
	in.RequestURI = out.URL.RequestURI()
	in.Host = out.URL.Host
	in.URL = &url.URL{Path: out.URL.Path, RawQuery: out.URL.RawQuery}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.TLS = nil
	body, writer := io.Pipe()
	w := &reply{header: http.Header{}, body: writer, begun: make(chan struct{})}
	go func() {
		defer func() {
			err := io.EOF
			if p := recover(); p != nil { // cut, or the upstream hung up
				err = io.ErrUnexpectedEOF
			}
			w.WriteHeader(http.StatusBadGateway) // unless it has begun
			_ = writer.CloseWithError(err)
		}()
		t.l.d.g.serve(w, in, t.l.d.caller.Load())
	}()
	select {
	case <-w.begun:
	case <-out.Context().Done():
		_ = body.CloseWithError(out.Context().Err())
		return nil, out.Context().Err()
	}
	res := &http.Response{Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: body, ContentLength: -1, Request: out}
	if !isStream(res) {
		res.Body = &bounded{body, maxList}
	}
	return res, nil
}

// reply is a response on its way to a door.
type reply struct {
	header, sent http.Header
	status       int
	body         *io.PipeWriter
	begun        chan struct{}
	once         sync.Once
}

func (w *reply) Header() http.Header { return w.header }

func (w *reply) WriteHeader(status int) {
	if status < 200 {
		return
	}
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

func (w *reply) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

func (w *reply) Flush() { w.WriteHeader(http.StatusOK) }

// SetWriteDeadline ends a reply that is cut while nobody reads it.
func (w *reply) SetWriteDeadline(time.Time) error {
	return w.body.CloseWithError(errCut)
}

var errCut = errors.New("the request was cut")

var _ http.ResponseWriter = (*reply)(nil)

// caller is who asks through a door, which has authenticated it.
type caller struct {
	claims *token.Claims
	access string // the token that they are of
	source string
}

// vouched takes a caller; what may have changed since it was authenticated is asked again.
func (g *Gateway) vouched(r *request, c *caller) error {
	if err := g.live(); err != nil {
		return err
	}
	r.claims, r.access, r.source = c.claims, c.access, c.source
	return g.admit(r)
}
