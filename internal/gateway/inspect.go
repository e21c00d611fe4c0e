package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// inspect sees the response before the caller does: nothing in it may speak for
// us, and the upstream's session stays with the upstream.
func (r *request) inspect(res *http.Response) error {
	r.status = res.StatusCode
	if res.StatusCode == http.StatusSwitchingProtocols && r.meter != nil {
		res.Body = r.meter.both(res.Body, r.cancel)
	}
	if res.StatusCode == http.StatusSwitchingProtocols && r.in.Header["Upgrade"] == nil {
		return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: r.name + " changed the protocol without being asked."}
	}
	scrub(res.Header)
	if r.session != "" {
		r.rename(res.Header)
	}
	if r.in.Header["Upgrade"] != nil && res.StatusCode != http.StatusSwitchingProtocols {
		res.Header["Connection"] = []string{"close"} // Strict has stopped following it
	}
	_, checked := r.backend.connector.(connector.Checker)
	if checked && redirects(res.StatusCode) { // its clients would follow, and be answered from there
		return r.unfollowed()
	}
	settled, err := r.brought(res)
	if err != nil {
		return err
	}
	if settled {
		// it is as the caller gets it
	} else if len(r.decision.Layers) > 0 {
		if err := r.reveal(res); err != nil {
			return err
		}
	} else if res.StatusCode/100 == 2 { // clients take each of these for an answer
		if err := r.content(res); err != nil {
			return err
		}
	}
	if !settled {
		if err := r.withhold(res); err != nil {
			return err
		}
	}
	if err := r.links(res); err != nil {
		return err
	}
	if !checked {
		r.hears(res)
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

// content sees to what a reply says, where the connector knows: a list is narrowed, and an
// answer must be one to this request.
func (r *request) content(res *http.Response) error {
	c, kind := r.backend.connector, res.Header.Get("Content-Type")
	l, lists := c.(connector.Lister)
	events := streamed(kind)
	narrowed := lists && l.Lists(r.call)
	if narrowed && !events {
		var p *problem
		if err := r.narrow(res, l); errors.As(err, &p) {
			return p
		} else if err != nil {
			r.g.Log.Warn("a list of the upstream's", "upstream", r.name, "request", r.id, "error", err)
			return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: "What " + r.name + " says it offers cannot be read, so it is not sent on."}
		}
		return nil
	}
	if lists && events && (narrowed || r.in.Method == http.MethodGet) { // event by event: the upstream may ask something before it goes on
		if res.Header.Get("Content-Encoding") != "" {
			return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: "What " + r.name + " sends is compressed, which was not asked for."}
		}
		res.Body = &sieve{ReadCloser: res.Body, filter: func(event []byte) ([]byte, error) { return r.filter(l, kind, event) }, holds: r.keeps()}
		res.ContentLength = -1
		delete(res.Header, "Content-Length")
	}
	if c, ok := c.(connector.Checker); ok {
		return r.check(res, c)
	}
	return nil
}

// streamed reports whether that is the type of an event stream.
func streamed(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind == "text/event-stream"
}

// maxList is how large a list of what an upstream offers may be.
const maxList = 16 << 20

// narrow leaves out of a list what the caller may not do.
func (r *request) narrow(res *http.Response, l connector.Lister) error {
	if res.Header.Get("Content-Encoding") != "" {
		return errors.New("it is compressed, which was not asked for")
	}
	b, err := r.whole(res.Body, maxList, nil)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if b, err = r.filter(l, res.Header.Get("Content-Type"), b); err != nil {
		return err
	}
	has(res, b)
	return nil
}

// filter leaves out of a reply, or of one event of it, what the caller may not do.
func (r *request) filter(l connector.Lister, contentType string, reply []byte) ([]byte, error) {
	out, offers, err := l.Filter(&r.ask, contentType, reply, func(c policy.Call) bool {
		c.Upstream = r.name
		c.Class = policy.ClassOf(*r.backend.upstream, policy.Action{Name: c.Action, Class: c.Class})
		ask := r.question(c, r.backend.upstream, r.start)
		return inScope(r.claims.Scope, c.Class) && r.named(ask, c.Arguments != nil) && r.sets.offer(ask)
	})
	r.g.see(r, offers)
	return out, err
}

// maxWait is how much of a reply, unless it is an event stream, is waited for before its head goes on: one that is
// shorter and no answer can still become an error that says so.
const maxWait = 64 << 10

// check has a reply watched that must answer this request and no other.
func (r *request) check(res *http.Response, c connector.Checker) error {
	kind := res.Header.Get("Content-Type")
	watch := c.Check(&r.ask, kind, r.asked, r.told(), r.keeps())
	if watch == nil {
		return nil
	}
	body := &watched{ReadCloser: res.Body, watch: watch, r: r, between: true}
	res.Body = body
	if body.events = streamed(kind); body.events {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(body, maxWait))
	if body.bad != nil {
		var p *problem
		if errors.As(body.bad, &p) {
			return p
		}
		return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: body.says()}
	}
	if err != nil {
		return err
	}
	body.before = b
	return nil
}

// watched is a body of which nothing is handed on that its watch has not seen.
type watched struct {
	io.ReadCloser
	watch  io.WriteCloser
	r      *request
	before []byte // to be handed on first
	bad    error

	events  bool // it is an event stream
	between bool // so far it ended with a whole event, or has not begun
}

func (w *watched) Read(p []byte) (n int, err error) {
	switch {
	case len(w.before) > 0:
		n = copy(p, w.before)
		w.before = w.before[n:]
		return n, nil
	case w.bad != nil:
		return 0, w.bad
	}
	n, err = w.ReadCloser.Read(p)
	seen, bad := w.watch.Write(p[:n])
	if w.bad = bad; bad == nil && errors.Is(err, io.EOF) {
		w.bad = w.watch.Close()
	}
	if w.bad != nil {
		w.r.failure = w.says()
		if w.refused(p[:seen]) {
			return w.Read(p)
		}
		return 0, w.bad
	}
	if n > 0 {
		w.between = bytes.HasSuffix(p[:n], []byte("\n\n"))
	}
	return n, err
}

// refused ends an event stream in which something was asked that may not be with the answer
// that says so, in place of that event. It cannot where the event has begun to go on.
func (w *watched) refused(seen []byte) bool {
	var p *problem
	c, ok := w.r.backend.connector.(connector.Refuser)
	if !ok || !w.events || !errors.As(w.bad, &p) {
		return false
	}
	begins := bytes.LastIndex(seen, []byte("\n\n"))
	if begins < 0 && !w.between {
		return false
	}
	if begins >= 0 {
		w.before = append(w.before, seen[:begins+2]...)
	}
	_, kind, body := c.Refusal(&w.r.ask, p.detail, nil)
	if kind != "application/json" {
		return false
	}
	w.before = append(append(append(w.before, "data: "...), body...), "\n\n"...)
	w.bad = io.EOF
	_ = w.ReadCloser.Close() // nothing of it is wanted any more
	return true
}

func (w *watched) says() string {
	var p *problem
	if errors.As(w.bad, &p) { // it may not ask what it asks
		return p.detail
	}
	return w.r.name + " sent what is no answer to this request: " + w.bad.Error() + "."
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
	return strings.HasPrefix(name, "Lanyard-") || strings.HasPrefix(name, "X-Lanyard-") || strings.HasPrefix(name, "Proxy-")
}
