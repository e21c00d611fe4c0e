package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// inward carries the requests of a line to the gateway itself, in the name of its door's caller.
type inward struct{ l *line }

func (t *inward) RoundTrip(out *http.Request) (*http.Response, error) {
	if answers(out) {
		defer t.l.order.answered()
	}
	res, err := t.once(out)
	if err != nil || !isStream(res) {
		return res, err
	}
	told := tells(out)
	body := t.l.orderly(out.Context(), res.Body, !told) // each event is bounded, for they are read whole
	if res.Body = body; told {
		res.Body = &lasting{t: t, out: out, began: time.Now(), body: body}
	} else {
		body.instead = t.instead(out)
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

func (l *line) orderly(ctx context.Context, body io.ReadCloser, rest bool) *orderly {
	o := &orderly{sieve: sieve{ReadCloser: body}, take: func(method string, answer bool, size int) bool { return l.order.take(ctx, method, answer, size) }, rest: rest}
	o.holds, o.end = l.d.g.held.until(ctx)
	return o
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
		keep, _ := t.l.d.g.held.until(out.Context())
		res.Body = &oneMessage{ReadCloser: body, keep: keep, instead: t.instead(out)}
	}
	return res, nil
}

const (
	maxValues = 1 << 17 // and names, of one message: the SDK makes maps of them
	madeOf    = 4       // times the text of a message is what is made of it on its way
)

var errValues = fmt.Errorf("a message has more than %d values and names", maxValues)

// instead answers a request in place of an answer that cannot be handed on, so that its call ends and no other of the line's does.
func (t *inward) instead(out *http.Request) func(why error) []byte {
	return func(why error) []byte {
		text := t.l.key.member + " sent what cannot be passed on: " + why.Error()
		if p := (*problem)(nil); errors.As(why, &p) {
			text = p.detail
		}
		return refusal(out, text)
	}
}

// refusal is an error that answers the message that a request brings, nil if it wants no answer.
func refusal(out *http.Request, text string) []byte {
	if out.GetBody == nil {
		return nil
	}
	body, err := out.GetBody()
	if err != nil {
		return nil
	}
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if json.NewDecoder(body).Decode(&m) != nil || m.ID == nil || m.Method == "" {
		return nil
	}
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": m.ID, "error": &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: text}})
	if err != nil {
		return nil
	}
	return b
}

// oneMessage is a reply that is one message, and is handed on when it is whole. What is made of it counts until its request has ended.
type oneMessage struct {
	io.ReadCloser
	keep    func(int64) error
	instead func(why error) []byte
	text    []byte
	err     error // where the text ends
}

func (d *oneMessage) Read(p []byte) (int, error) {
	for d.err == nil {
		if len(d.text) == cap(d.text) {
			d.text = slices.Grow(d.text, max(firstHeld, len(d.text)))
		}
		n, err := d.ReadCloser.Read(d.text[len(d.text):cap(d.text)])
		d.text = d.text[:len(d.text)+n]
		bad := d.keep(madeOf * int64(n))
		switch {
		case bad != nil:
		case len(d.text) > maxList:
			bad = errLarge(maxList)
		case err == io.EOF && !connector.Few(d.text, maxValues):
			bad = errValues
		}
		if d.err = err; bad != nil {
			if d.text, d.err = d.instead(bad), io.EOF; d.text == nil {
				d.err = bad
			}
		}
	}
	n := copy(p, d.text)
	if d.text = d.text[n:]; n > 0 {
		return n, nil
	}
	return 0, d.err
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
