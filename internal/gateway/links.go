package gateway

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

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
	body := connector.Turn(res.Body, names, r.through)
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
	out := bytes.NewBuffer(r.room(len(r.shown) + connector.MaxLink))
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
