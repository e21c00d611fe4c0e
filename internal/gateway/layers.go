package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// layers holds a request against the layers of the grants that decided on it. look asks the
// upstream about what it acts on; without it only what the request itself says is looked at.
func (g *Gateway) layers(r *request, look connector.Look) error {
	rules := r.decision.Layers
	if len(rules) == 0 || r.backend.basic[r.call.Action] {
		return nil
	}
	c, ok := r.backend.connector.(connector.Layered)
	if !ok {
		return layered(r, errors.New(r.name+" has no mail, files or events that its layers could hold back"))
	}
	if r.in.Header["Upgrade"] != nil {
		return layered(r, errors.New("a connection that is upgraded cannot be held against them"))
	}
	return layered(r, c.Admit(&r.ask, r.call, r.under(look)))
}

// under is what r and its reply are held against.
func (r *request) under(look connector.Look) connector.Under {
	u := connector.Under{Rules: r.decision.Layers, Now: r.start, Look: look, Keeps: r.keeps}
	if look != nil {
		u.Fixed = func(target string) (string, []byte, error) { return r.account.fixed.ask(target, look) }
	}
	return u
}

// fixed are replies to looks that stay the same as long as an account does.
type fixed struct {
	mu sync.Mutex
	of map[string]saw
}

type saw struct {
	kind  string
	reply []byte
}

// Limits of what is kept.
const (
	maxFixed      = 64 // of one account
	maxFixedReply = 4 << 10
)

func (f *fixed) ask(target string, look connector.Look) (string, []byte, error) {
	f.mu.Lock()
	s, ok := f.of[target]
	f.mu.Unlock()
	if ok {
		return s.kind, s.reply, nil
	}
	kind, reply, err := look(target)
	if err != nil || len(reply) > maxFixedReply {
		return kind, reply, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[string]saw{}
	}
	if len(f.of) < maxFixed {
		f.of[target] = saw{kind, reply}
	}
	return kind, reply, nil
}

// layered is the refusal for what a layer said no to.
func layered(r *request, err error) error {
	var p *problem
	switch {
	case err == nil || errors.As(err, &p):
		return err
	case errors.Is(err, layer.ErrHidden):
		return &problem{status: http.StatusNotFound, kind: "hidden", detail: "There is no such thing on " + r.name + ", or the layers of " + strings.Join(r.decision.Policies, ", ") + " do not show it."}
	}
	return &problem{status: http.StatusForbidden, kind: "layers", detail: fmt.Sprintf("The layers of %s do not let this pass: %s.", strings.Join(r.decision.Policies, ", "), err)}
}

// alike reports whether the same is held back.
func alike(a, b []*layer.Rules) bool {
	return slices.EqualFunc(a, b, func(x, y *layer.Rules) bool { return x == y || x.Text == y.Text })
}

// plainly has the upstream answer with all of what is asked for: a reply in parts, or one that
// says that nothing changed, could not be held against the layers.
func plainly(h http.Header) {
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Range", "Range", "Te", "Prefer"} {
		delete(h, name)
	}
}

// maxRevealed is how large a reply may be that is held against layers: a mail with 25 MB of attachments, as base64.
const maxRevealed = 48 << 20

// maxLooked is how large what a look brings may be.
const maxLooked = 4 << 20

// reveal leaves of a reply what the layers show. What an upstream says of an error may speak of
// what is not shown, so only which it is goes on.
func (r *request) reveal(res *http.Response) error {
	if r.backend.basic[r.call.Action] {
		return r.content(res)
	}
	c, _ := r.backend.connector.(connector.Layered) // layers has seen that it is one
	var out []byte
	kind := res.Header.Get("Content-Type")
	switch status := res.StatusCode; {
	case status == http.StatusNoContent || status == http.StatusNotModified:
	case status == http.StatusNotFound || status == http.StatusGone:
		_ = res.Body.Close()
		return layered(r, layer.ErrHidden)
	case status == http.StatusOK || status == http.StatusCreated || status == http.StatusAccepted:
		b, err := r.uncompressed(res, maxRevealed, r.reply)
		if err == nil {
			err = r.holds(2 * counted(int64(len(b)))) // a copy of it, and what is shown
		}
		if err == nil {
			u := r.under(r.look)
			u.Room = r.room(len(b))
			out, kind, err = c.Reveal(&r.ask, r.call, u, kind, b)
		}
		if err != nil {
			return layered(r, err)
		}
	case status >= 400:
		kind = "application/json"
		out = fmt.Appendf(nil, `{"error":{"code":%d,"message":"%s refused this; what it says is not shown under the layers of a grant.","status":"%s"}}`, status, r.name, codes(status))
		_ = res.Body.Close()
	default:
		_ = res.Body.Close()
		return layered(r, fmt.Errorf("a reply of status %d cannot be held against them", status))
	}
	for name := range res.Header {
		if !slices.Contains([]string{"Date", "Retry-After", "Cache-Control", "Vary", "Request-Id"}, name) {
			delete(res.Header, name)
		}
	}
	r.shown = out
	has(res, out)
	if res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified {
		delete(res.Header, "Content-Length")
	} else {
		res.Header["Content-Type"] = []string{kind}
	}
	return nil
}

// uncompressed reads all of a reply, of at most n bytes, that is not compressed.
func (r *request) uncompressed(res *http.Response, n int64, read func(io.Reader, int64) ([]byte, error)) ([]byte, error) {
	if e := res.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		_ = res.Body.Close()
		return nil, errors.New("the reply is compressed, which was not asked for")
	}
	b, err := read(res.Body, n)
	var p *problem
	var large errLarge
	switch closed := res.Body.Close(); {
	case errors.As(err, &p):
		return nil, err
	case errors.As(err, &large):
		return nil, fmt.Errorf("the reply is too large: %w", err)
	case err != nil || closed != nil:
		return nil, errors.New("the reply could not be read")
	}
	return b, nil
}

// context ends with r at the latest.
func (r *request) context() context.Context {
	if r.ctx != nil {
		return r.ctx
	}
	return r.in.Context()
}

// look asks the upstream about something, with the credential that the request itself goes with.
func (r *request) look(target string) (string, []byte, error) { return r.lookAt(target, maxLooked) }

func (r *request) lookAt(target string, most int64) (string, []byte, error) {
	u := r.backend.base
	u.Path, u.RawPath, u.RawQuery, u.Opaque = "", "", "", r.backend.prefix+target
	h := http.Header{"Accept": {"application/json"}, "Accept-Encoding": {"identity"}, "User-Agent": nil}
	r.setTold(h)
	setSecret(h, r.secret)
	out := (&http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: h}).WithContext(r.context())
	res, err := r.backend.transport.RoundTrip(out)
	if err != nil {
		return "", nil, fmt.Errorf("%s could not be asked about it", r.name)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone || res.StatusCode == http.StatusForbidden {
			return "", nil, layer.ErrHidden
		}
		return "", nil, fmt.Errorf("%s does not say what it is about (status %d)", r.name, res.StatusCode)
	}
	b, err := r.uncompressed(res, most, func(body io.Reader, n int64) ([]byte, error) { return r.whole(body, n, nil) })
	return res.Header.Get("Content-Type"), b, err
}
