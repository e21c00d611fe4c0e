package gateway

import (
	"bytes"
	"io"
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// maxCompleted is how large what a request names may be: a mail with 25 MB of attachments, as base64, within JSON.
const maxCompleted = 48 << 20

// complete has a request say all that it would do: what it sends by name is asked for now, and that is what is decided on,
// what people are shown, and what goes out, whatever becomes of it meanwhile. It reports whether anything was added.
func (g *Gateway) complete(r *request) (bool, error) {
	c, ok := r.backend.connector.(connector.Completer)
	if !ok || !c.Names(r.call) {
		return false, nil
	}
	secret, err := g.obtain(r, feed.Secret{})
	if err != nil {
		return false, err
	}
	r.secret = *secret
	if u, _ := g.View.Upstream(r.name); u != r.backend.upstream { // the secret may be for another place than this goes to
		return false, unavailable(r.name + " was changed in the midst of this; send it again.")
	}
	body, err := c.Complete(&r.ask, r.call, func(target string) (string, []byte, error) { return r.lookAt(target, maxCompleted) })
	if err != nil {
		return false, layered(r, err)
	}
	if err := r.holds(int64(len(body))); err != nil {
		return false, err
	}
	r.ask.Body = body
	r.in.Body, r.in.ContentLength, r.in.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if r.call, err = r.backend.recognise(&r.ask); err != nil {
		return false, &problem{status: http.StatusForbidden, kind: "unrecognised", cause: err, detail: "What " + r.name + " has under that name cannot be read: " + err.Error() + "."}
	}
	return true, nil
}
