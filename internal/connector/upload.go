package connector

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Uploader is a Connector of upstreams to which large content is brought in several requests: resumable
// uploads, upload sessions. The first request says what becomes of it and is decided on like any other. The reply
// to it names a place, and whoever knows that may bring content there; so no caller is told it. The
// caller gets a name for the upload instead, which is good for nobody else, and brings the content under that name to
// where the upload began. Each such request means what the first one meant.
type Uploader interface {
	Connector
	// Begins reports whether r, which means call, begins an upload, and how much is to come: -1 when r does not say.
	Begins(r *Request, call policy.Call) (size int64, begins bool)
	// Begun is what a caller gets of the reply to such a request, in h and as the body. name gives the
	// place that the reply names an address of the caller's. An error means that nothing may be sent on.
	Begun(h http.Header, body []byte, name func(place string) (address string, err error)) ([]byte, error)
	// Takes reports whether the upstream at base may have content brought to place, and whether its credential is shown there.
	Takes(base, place *url.URL) (ok, credential bool)
	// Query is that of a request which goes on with the upload of that name.
	Query(name string) string
	// Named is the name in r of an upload that r goes on with; "" when it has none.
	Named(r *Request) string
	// Answered is what a caller gets of the reply to r, which went on with an upload, and whether that
	// upload is not over yet. When it is, the reply is one to the call that began it.
	Answered(r *Request, status int, h http.Header, body []byte) (reply []byte, more bool, err error)
}

// Upload is one that was let begin.
type Upload struct {
	Call  policy.Call // what the request meant that began it
	Place string      // where the upstream wants the content
	Size  int64       // of the content, as it was said then; -1 if it was not
}

// Meaning is what each request means that goes on with it: what the one meant with which it began.
func (u *Upload) Meaning() policy.Call {
	call := u.Call
	call.Arguments = maps.Clone(call.Arguments)
	return call
}

// Keep leaves of h the headers of these names.
func Keep(h http.Header, names ...string) {
	maps.DeleteFunc(h, func(name string, _ []string) bool { return !slices.Contains(names, name) })
}
