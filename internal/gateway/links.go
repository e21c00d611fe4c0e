package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// links has the addresses by which a reply leads to more lead through the gateway. What
// leads elsewhere is left out: whoever follows it would show somebody else the token that is for here.
func (r *request) links(res *http.Response) error {
	names := r.linked()
	if len(names) == 0 || res.StatusCode != http.StatusOK {
		return nil
	}
	if e := res.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: "What " + r.name + " sends is compressed, which was not asked for."}
	}
	body := &linked{ReadCloser: res.Body, names: names, turn: r.through}
	if r.shown == nil {
		res.Body, res.ContentLength = body, -1
		delete(res.Header, "Content-Length")
		return nil
	}
	if !slices.ContainsFunc(names, func(n string) bool { return bytes.Contains(r.shown, []byte(n)) }) { // it is all here, and its names are in one form
		return nil
	}
	if err := r.holds(counted(int64(len(r.shown)))); err != nil {
		return err
	}
	out := bytes.NewBuffer(r.room(len(r.shown) + maxLink))
	if _, err := out.ReadFrom(body); err != nil {
		return &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: "A link in what " + r.name + " sends cannot be read, so it is not sent on."}
	}
	has(res, out.Bytes())
	return nil
}

// has gives a response a body that is here.
func has(res *http.Response, b []byte) {
	res.Body, res.ContentLength, res.TransferEncoding, res.Trailer = io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil, nil
	res.Header["Content-Length"] = []string{strconv.Itoa(len(b))}
}

// linked are the ends of names of members that hold such addresses.
func (r *request) linked() []string {
	if l, ok := r.backend.connector.(connector.Linker); ok {
		return l.Links(r.call)
	}
	return nil
}

// through is where an address of the upstream's is at the gateway; "" for one of another.
func (r *request) through(link string) string {
	b := r.backend
	u, err := url.Parse(link)
	if err != nil || u.User != nil || u.Opaque != "" || !strings.EqualFold(u.Scheme, b.base.Scheme) || !strings.EqualFold(u.Host, b.base.Host) {
		return ""
	}
	rest, ok := strings.CutPrefix(u.EscapedPath(), b.prefix)
	if !ok || !strings.HasPrefix(rest, "/") {
		return ""
	}
	front := r.g.audience(r.name)
	if r.byHost {
		front = r.g.scheme + "://" + r.in.Host
	}
	if u.RawQuery != "" {
		rest += "?" + u.RawQuery
	}
	return front + rest
}

// linked is a body of JSON that goes by, in which the values of some members are turned. A name that
// is followed by a quote and a colon is that of a member: within a string the quote has a backslash before it.
type linked struct {
	io.ReadCloser
	names []string
	turn  func(string) string
	in    []byte // read, and not looked at yet
	out   []byte // to be handed on
	gone  int    // of out, that was
	err   error
}

const (
	maxLink  = 64 << 10
	maxPiece = 32 << 10 // of a body, that is looked at: what comes after a link is moved each time
	longest  = 32       // more than any name has
)

var errLink = errors.New("a link in the reply cannot be read")

func (l *linked) Read(p []byte) (int, error) {
	p = p[:min(len(p), maxPiece)]
	if len(l.in) == 0 && l.gone == len(l.out) && l.err == nil { // most of it has no link: it goes by as it is
		n, err := l.ReadCloser.Read(p)
		if !bytes.Contains(p[:n], []byte("@odata.")) && bytes.LastIndexByte(p[max(0, n-longest):n], '@') < 0 {
			return n, err
		}
		l.in, l.err = append(l.in, p[:n]...), err
		if bad := l.look(err != nil); bad != nil {
			l.err = bad
		}
	}
	for l.gone == len(l.out) {
		l.out, l.gone = l.out[:0], 0
		if l.err != nil {
			return 0, l.err
		}
		at := len(l.in)
		l.in = append(l.in, make([]byte, 16<<10)...)
		n, err := l.ReadCloser.Read(l.in[at:])
		l.in = l.in[:at+n]
		if err != nil {
			l.err = err
		}
		if bad := l.look(err != nil); bad != nil {
			l.err = bad
		}
	}
	n := copy(p, l.out[l.gone:])
	l.gone += n
	return n, nil
}

// look moves what is done from in to out; all of it, at the end.
func (l *linked) look(end bool) error {
	for {
		at, size := -1, 0
		for _, name := range l.names {
			if i := bytes.Index(l.in, []byte(name+`"`)); i >= 0 && (at < 0 || i < at) {
				at, size = i, len(name)+1
			}
		}
		if at < 0 {
			keep := 0
			if tail := l.in[max(0, len(l.in)-longest):]; !end { // a name may have begun
				if i := bytes.LastIndexByte(tail, '@'); i >= 0 {
					keep = len(tail) - i
				}
			}
			l.move(len(l.in) - keep)
			return nil
		}
		l.move(at)
		value, ok := bytes.CutPrefix(bytes.TrimLeft(l.in[size:], " \t\r\n"), []byte(":"))
		value = bytes.TrimLeft(value, " \t\r\n")
		switch {
		case !ok && len(bytes.TrimLeft(l.in[size:], " \t\r\n")) > 0: // no name, but a text that ends so
			l.move(size)
			continue
		case len(value) == 0 && !end && len(l.in) < maxLink:
			return nil
		case len(value) == 0 || value[0] != '"':
			l.move(size)
			continue
		}
		n := quoted(value)
		if n == 0 && !end && len(l.in) < maxLink {
			return nil
		}
		link, err := jsontext.AppendUnquote(nil, value[:n])
		if n == 0 || err != nil {
			return errLink
		}
		turned := []byte("null")
		if s := l.turn(string(link)); s != "" {
			if turned, err = jsontext.AppendQuote(nil, s); err != nil {
				return errLink
			}
		}
		rest := value[n:]
		l.out = append(append(l.out, l.in[:size]...), ':')
		l.out = append(l.out, turned...)
		l.in = append([]byte(nil), rest...)
	}
}

func (l *linked) move(n int) {
	l.out = append(l.out, l.in[:n]...)
	l.in = append(l.in[:0], l.in[n:]...)
}

// quoted is the size of the JSON string that b begins with; 0 if it does not end.
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}
