package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// An upstream's session is of the identity that opened it. So the name that the
// upstream gives it goes to the caller as MAC "." name, where the MAC (HMAC-SHA-256,
// under a key of this gateway's) covers the name and whose it is: no table of
// sessions is kept, and a name that is another's or made up is unknown. With the same
// key after a restart sessions go on, for whom nothing was changed by a kill.

const maxSession = 1 << 10 // bytes of a session's name

// bind sees to the session of r, if its upstream keeps any: the header is left as the
// upstream knows it, and is refused when it is not this caller's.
func (g *Gateway) bind(r *request) error {
	keeper, ok := r.backend.connector.(connector.SessionKeeper)
	if !ok {
		return nil
	}
	if err := g.origin(r); err != nil {
		return err
	}
	header, has := keeper.Session(&r.ask)
	r.session, r.bound = header, has
	if !has {
		delete(r.in.Header, header)
		return nil
	}
	values := r.in.Header[header]
	if len(values) == 0 {
		return nil
	}
	mac, name, ok := strings.Cut(values[0], ".")
	if len(values) > 1 || !ok || len(name) > maxSession || !r.owns(mac, name) {
		return &problem{status: http.StatusNotFound, kind: "unknown-session",
			detail: fmt.Sprintf("%s has no such session of %s's: open a new one.", r.name, r.claims.Actor().Name())}
	}
	r.in.Header[header] = []string{name}
	return nil
}

// owns reports whether mac says that the session of that name is this caller's, and notes what else it says.
func (r *request) owns(mac, name string) bool {
	for _, elicits := range []bool{false, true} {
		if hmac.Equal([]byte(mac), []byte(r.whose(name, elicits))) {
			r.elicits = elicits
			return true
		}
	}
	return false
}

// origin refuses what a web page sent (MCP, Transports): by DNS rebinding it could
// be any page at all.
func (g *Gateway) origin(r *request) error {
	values := r.in.Header["Origin"]
	if len(values) == 0 {
		return nil
	}
	own := g.URL
	if r.byHost {
		own = g.scheme + "://" + r.in.Host
	}
	if len(values) == 1 && strings.EqualFold(values[0], own) {
		return nil
	}
	return &problem{status: http.StatusForbidden, kind: "foreign-origin", detail: "The request comes from a web page, " + quote(values[0]) + ", and pages may not speak to " + r.name + "."}
}

// whose is the MAC over a session's name and whose it is: the upstream, whose account there, the
// identity, those on whose behalf it acts, their generations, which a kill ends, and the task. It also says
// whether the client that opened it can show its person an address.
func (r *request) whose(name string, elicits bool) string {
	m := hmac.New(sha256.New, r.g.sessions[:])
	fmt.Fprintf(m, "%q %q %q %q", r.name, r.backend.upstream.URL, r.account.owner, name)
	for _, l := range r.claims.Chain {
		fmt.Fprintf(m, " %q %d", l.ID.String(), l.Generation)
	}
	if r.claims.Task != "" { // what one task left behind in a session is not another's
		fmt.Fprintf(m, " %q", r.claims.Task)
	}
	if elicits {
		m.Write([]byte(" elicits"))
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// rename gives the session in a reply's header the name that the caller is to use.
func (r *request) rename(h http.Header) {
	if values := h[r.session]; r.bound && len(values) == 1 && len(values[0]) <= maxSession {
		h[r.session] = []string{r.whose(values[0], r.elicits) + "." + values[0]}
		return
	}
	delete(h, r.session)
}
