package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// recognise says what is asked for, in the upstream's own terms. What its
// description does not have is refused, not guessed.
func (g *Gateway) recognise(r *request) error {
	b, err := g.backend(r.name)
	if err != nil {
		return err
	}
	r.backend = b
	if b.upstream.Killed {
		return cutOff(r.name)
	}
	if r.account, err = g.account(r); err != nil {
		return err
	}
	r.ask = connector.Request{Method: r.in.Method, Path: r.path, Query: r.query, Header: r.in.Header}
	if err := g.bind(r); err != nil {
		return err
	}
	if err := g.goesOn(r); err != nil {
		return err
	}
	if reader, ok := b.connector.(connector.BodyReader); ok {
		if n := reader.MaxBody(&r.ask); n > 0 {
			if r.ask.Body, err = r.read(n); err != nil {
				return err
			}
		}
	}
	if asker, ok := b.connector.(connector.Asker); ok {
		r.elicits = r.elicits || asker.Elicits(&r.ask)
		if body, ok := asker.Resume(&r.ask); ok {
			r.ask.Body, r.wait = body, retryWait
			r.in.Body, r.in.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
	}
	call, err := b.recognise(&r.ask)
	if errors.Is(err, connector.ErrUnrecognised) {
		return &problem{status: http.StatusForbidden, kind: "unrecognised", cause: err,
			detail: fmt.Sprintf("%s asked %s for something that its description does not have (%s %s): %v.", r.claims.Actor().Name(), r.name, r.in.Method, quote(r.path), err)}
	}
	if err != nil {
		return malformed("The request cannot be understood: " + err.Error() + ".")
	}
	r.call = call
	if u, ok := b.connector.(connector.Uploader); ok && r.ask.Upload == nil {
		r.upload.size, r.upload.begins = u.Begins(&r.ask, call)
	}
	return nil
}

// recognise says what ask means on this version of the upstream, and of which class it is.
func (b *backend) recognise(ask *connector.Request) (policy.Call, error) {
	call, err := b.connector.Recognise(ask)
	if err != nil {
		return policy.Call{}, err
	}
	call.Upstream = b.upstream.Name
	call.Class = policy.ClassOf(*b.upstream, policy.Action{Name: call.Action, Class: call.Class})
	return call, nil
}

// bodyTime is how long a caller may take for a body that must be known before anything is decided.
const bodyTime = 30 * time.Second

// read takes the body in, which must be whole and have at most n bytes. What is
// returned is what will be sent.
func (r *request) read(n int64) ([]byte, error) {
	if r.in.Header["Content-Encoding"] != nil {
		return nil, malformed("A request to " + r.name + " must not be compressed: what it asks for is in its body.")
	}
	if !connector.UTF8(r.in.Header.Get("Content-Type")) {
		return nil, malformed("The body of a request to " + r.name + " must be UTF-8: what it asks for is in it.")
	}
	if len(r.in.Trailer) > 0 {
		return nil, malformed("A request to " + r.name + " has no trailers.")
	}
	tooLarge := &problem{status: http.StatusRequestEntityTooLarge, kind: "too-large", detail: fmt.Sprintf("A request to %s may have %d bytes at most.", r.name, n)}
	if r.in.ContentLength > n {
		return nil, tooLarge
	}
	control := http.NewResponseController(r.w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // where there are no deadlines, the server's own hold
	b, err := r.whole(r.in.Body, n, nil)
	var large errLarge
	var p *problem
	switch {
	case errors.As(err, &p):
		return nil, err
	case err != nil && !errors.As(err, &large): // the deadline stays: nobody waits for the rest either
		return nil, malformed("The body could not be read.")
	}
	_ = control.SetReadDeadline(time.Time{})
	if err != nil {
		return nil, tooLarge
	}
	r.in.Body, r.in.ContentLength, r.in.TransferEncoding = io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
	return b, nil
}

// backend is one version of an upstream, opened: what it can do, how it is
// reached, and its credential or accounts once known.
type backend struct {
	upstream  *policy.Upstream // as the view has it; another pointer is another version
	connector connector.Connector
	transport *http.Transport
	away      *http.Transport // for where its replies lead, and places that it names; nil where there are none
	base      url.URL
	basic     map[string]bool // actions that are steps of the protocol
	directory *provenance.Directory
	tools     map[string]*provenance.Tool // by action
	prefix    string                      // escaped path of the base, without a slash at its end

	accounts      accounts
	doors         doors
	introductions introductions
}

// backend returns the upstream as it is now, opening it when it has changed.
func (g *Gateway) backend(name string) (*backend, error) {
	u, ok := g.View.Upstream(name)
	if !ok {
		return nil, &problem{status: http.StatusNotFound, kind: "unknown-upstream", detail: "There is no upstream " + quote(name) + "; paths begin with the name of one."}
	}
	g.mu.RLock()
	b := g.backends[name]
	g.mu.RUnlock()
	if b != nil && b.upstream == u {
		return b, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if b = g.backends[name]; b != nil && b.upstream == u {
		return b, nil
	}
	fresh, err := g.open(u)
	if err != nil {
		return nil, err
	}
	if b != nil {
		b.shut()
	}
	g.backends[name] = fresh
	return fresh, nil
}

// shut lets go of what a backend that is no longer used holds on to.
func (b *backend) shut() {
	b.transport.CloseIdleConnections()
	if b.away != nil {
		b.away.CloseIdleConnections()
	}
	b.doors.shut()
}

func (g *Gateway) open(u *policy.Upstream) (*backend, error) {
	base, err := url.Parse(u.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: its URL cannot be read", u.Name)
	}
	c, err := connector.Open(g.Families, u.Family, u.Description)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: opening its description: %w", u.Name, err)
	}
	if _, joins := c.(connector.Joiner); base.Host == "" && !joins {
		return nil, fmt.Errorf("upstream %s: its URL has no host", u.Name)
	}
	b := &backend{upstream: u, connector: c, transport: g.transport(), base: *base, basic: map[string]bool{}, prefix: strings.TrimSuffix(base.EscapedPath(), "/")}
	_, follows := c.(connector.Follower)
	if _, uploads := c.(connector.Uploader); follows || uploads {
		b.away = g.away(u.URL)
	}
	var known provenance.Known
	if u.Provenance != nil {
		known = u.Provenance.Known
	}
	b.directory, b.tools = provenance.NewDirectory(known, g.View.Address), tools(u, c.Actions())
	for _, a := range c.Actions() {
		if a.Basic {
			b.basic[a.Name] = true
		}
	}
	return b, nil
}
