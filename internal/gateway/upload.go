package gateway

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/extent"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Large content comes in several requests. The first is decided on like any other, and in its reply the upstream names the
// place where it wants the content. Who knows the place may bring content there, so it is sealed (AES-256-GCM, under a key
// of this gateway's) together with what the first request meant, and the seal is the name that the caller gets of the upload. It
// opens for whom it was made alone, at the path where the upload began: for the same identity in the same generation, on
// behalf of the same, under the same task, with the same account at the same upstream. No table of uploads is kept.
//
// A request that goes on with one takes all seven steps. It is decided on as the first one would be now, and what of it goes
// out is its content, to the place, with headers that say which part of the content it is.

const (
	uploadLife    = 7 * 24 * time.Hour // Google's place is good for that long, Microsoft's for less
	maxPlaced     = 64 << 10           // bytes of a reply that names a place
	maxBrought    = 4 << 20            // bytes of a reply to a part
	slowestUpload = 16 << 10           // bytes a second at which a part may come, see Limits.Part
)

// upload is what r has to do with one.
type upload struct {
	begins bool
	size   int64    // that was said at the beginning; -1 if none was
	place  *url.URL // where it goes on; nil when r is no part of one
	shown  bool     // the upstream's credential, at the place
	part   string   // which one r brings, as the record has it
}

// sealed is what the name of an upload holds.
type sealed struct {
	Action    string         `json:"a"`
	Class     policy.Class   `json:"c"`
	Word      string         `json:"w,omitempty"`
	Resource  string         `json:"r"`
	Arguments map[string]any `json:"p,omitempty"`
	Place     string         `json:"u"`
	Size      int64          `json:"s"`
	Ends      int64          `json:"e"`
}

// newUploads makes what seals the names of uploads.
func newUploads(sessions [32]byte) (cipher.AEAD, error) {
	key := hmac.New(sha256.New, sessions[:])
	key.Write([]byte("uploads"))
	block, err := aes.NewCipher(key.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// ofUpload is what the name of an upload is good for, beside itself.
func (r *request) ofUpload() []byte { return []byte(r.whose("upload "+r.path, false)) }

// nameUpload is the name of the upload that r began, whose content the upstream wants at place.
func (r *request) nameUpload(place string) (string, error) {
	s := sealed{r.call.Action, r.call.Class, r.call.Word, r.call.Resource, r.call.Arguments, place, r.upload.size, r.start.Add(uploadLife).Unix()}
	b, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, r.g.uploads.NonceSize())
	if _, err := io.ReadFull(r.g.Rand, nonce); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(r.g.uploads.Seal(nonce, nonce, b, r.ofUpload())), nil
}

// opened is the upload of that name, if it is one of r's.
func (r *request) opened(name string) (*connector.Upload, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(name)
	n := r.g.uploads.NonceSize()
	if err != nil || len(b) < n {
		return nil, false
	}
	if b, err = r.g.uploads.Open(nil, b[:n], b[n:], r.ofUpload()); err != nil {
		return nil, false
	}
	var s sealed
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&s) != nil || !r.start.Before(time.Unix(s.Ends, 0)) {
		return nil, false
	}
	for name, v := range s.Arguments {
		switch v := v.(type) {
		case json.Number:
			n, err := v.Int64()
			if err != nil {
				return nil, false
			}
			s.Arguments[name] = n
		case []any:
			list := make([]string, len(v))
			for i, one := range v {
				list[i], _ = one.(string)
			}
			s.Arguments[name] = list
		}
	}
	call := policy.Call{Action: s.Action, Class: s.Class, Word: s.Word, Resource: s.Resource, Arguments: s.Arguments}
	return &connector.Upload{Call: call, Place: s.Place, Size: s.Size}, true
}

// goesOn finds the upload that r goes on with, if it names one.
func (g *Gateway) goesOn(r *request) error {
	u, ok := r.backend.connector.(connector.Uploader)
	if !ok {
		return nil
	}
	name := u.Named(&r.ask)
	if name == "" {
		return nil
	}
	up, ok := r.opened(name)
	if !ok {
		return r.unknownUpload()
	}
	place, err := url.Parse(up.Place)
	if err != nil {
		return r.unknownUpload()
	}
	ok, shown := u.Takes(&r.backend.base, place)
	if !ok {
		return r.unknownUpload()
	}
	r.ask.Upload = up
	r.upload = upload{size: up.Size, place: place, shown: shown}
	return r.partOf(up.Size)
}

func (r *request) unknownUpload() error {
	return &problem{status: http.StatusNotFound, kind: "unknown-upload", detail: fmt.Sprintf("%s has no such upload of %s's: begin it again.", r.name, r.claims.Actor().Name())}
}

// partOf sees to it that r says which part it brings, and brings no other.
func (r *request) partOf(size int64) error {
	in := r.in
	said := in.Header["Content-Range"]
	switch {
	case in.ContentLength < 0:
		return &problem{status: http.StatusLengthRequired, kind: "malformed", detail: "A part of an upload says its Content-Length."}
	case in.Header["Content-Encoding"] != nil || len(in.Trailer) > 0 || in.Header["Upgrade"] != nil || len(said) > 1:
		return malformed("A part of an upload is not compressed, has no trailers, and says once which part it is.")
	}
	if in.Method != http.MethodPut && in.Method != http.MethodPost {
		if in.ContentLength > 0 || len(said) > 0 {
			return malformed("What asks about an upload, or gives it up, has no content.")
		}
		if r.upload.part = "asked about"; in.Method == http.MethodDelete {
			r.upload.part = "given up"
		}
		return nil
	}
	p := extent.Part{First: 0, Last: in.ContentLength - 1, Total: in.ContentLength} // all of it, unless r says otherwise
	if len(said) == 1 {
		var err error
		if p, err = extent.Parse(said[0]); err != nil {
			return malformed("This part of an upload cannot be told: " + err.Error() + ".")
		}
	}
	if p.Size() != in.ContentLength {
		return malformed(fmt.Sprintf("This part of an upload has %d bytes, and its Content-Range is of %d.", in.ContentLength, p.Size()))
	}
	if size >= 0 && (p.Total >= 0 && p.Total != size || p.Last >= size) {
		return malformed(fmt.Sprintf("The upload was said to have %d bytes when it began, and this part, %s, is of another.", size, p))
	}
	r.upload.part = p.String()
	return nil
}

// uploads reports whether r begins an upload, or goes on with one.
func (r *request) uploads() bool { return r.upload.begins || r.upload.place != nil }

// partHeaders are those that go on with a part: nothing in them says what becomes of the content.
var partHeaders = []string{"Accept", "Content-Range", "Content-Type", "User-Agent", "X-Goog-Api-Client", "X-Guploader-No-308"}

// bring makes the outgoing request of a part: to the place that the upstream named, and with what is needed there alone.
func (r *request) bring(p *httputil.ProxyRequest) {
	place := r.upload.place
	u := p.Out.URL
	*u = url.URL{Scheme: place.Scheme, Host: place.Host, Opaque: place.EscapedPath()}
	if place.RawQuery != "" {
		u.Opaque += "?" + place.RawQuery
	}
	p.Out.Host = place.Host
	h := p.Out.Header
	connector.Keep(h, partHeaders...)
	h["Accept-Encoding"] = []string{"identity"}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or the transport would say it is Go
	}
	if r.home(place) { // nobody else is told who asks
		r.setTold(h)
		h["Traceparent"] = []string{r.tracing}
	}
	if r.upload.shown {
		setSecret(h, r.secret)
	}
}

// home reports whether a place is at the upstream's own address.
func (r *request) home(place *url.URL) bool {
	b := r.backend.base
	return strings.EqualFold(place.Scheme, b.Scheme) && strings.EqualFold(place.Host, b.Host)
}

// carrier makes the connections for a request: those to a place elsewhere go to where the public internet is, and nowhere else.
func (r *request) carrier() *http.Transport {
	if r.upload.place == nil || r.home(r.upload.place) {
		return r.backend.transport
	}
	return r.backend.away
}

// brought sees to the reply to what begins an upload or goes on with one. settled says that it is as the caller gets it;
// else it is the reply to the call that began the upload, to be treated as that.
func (r *request) brought(res *http.Response) (settled bool, err error) {
	u, ok := r.backend.connector.(connector.Uploader)
	switch status := res.StatusCode; {
	case !ok || !r.uploads():
		return false, nil
	case status >= 400 && r.upload.begins: // nothing has begun
		return false, nil
	case status == http.StatusUnauthorized && !r.upload.shown: // the place is all that was shown there: it is none any more
		_ = res.Body.Close()
		return false, r.unknownUpload()
	case status >= 400:
		_ = res.Body.Close()
		r.settle(res, "application/json", fmt.Appendf(nil, `{"error":{"code":%d,"message":"%s refused this part of the upload.","status":"%s"}}`, status, r.name, codes(status)), "Date", "Retry-After", "Range")
		return true, nil
	case status >= 300 && status != http.StatusPermanentRedirect, r.upload.begins && status != http.StatusOK && status != http.StatusCreated:
		_ = res.Body.Close()
		return false, r.unplaced(fmt.Errorf("it answers with status %d", status))
	}
	most := int64(maxBrought)
	if r.upload.begins {
		most = maxPlaced
	}
	b, err := r.uncompressed(res, most, func(body io.Reader, n int64) ([]byte, error) { return r.whole(body, n, nil) })
	var p *problem
	if errors.As(err, &p) {
		return false, p
	} else if err != nil {
		return false, r.unplaced(err)
	}
	if r.upload.begins {
		if b, err = u.Begun(res.Header, b, r.entrance); err != nil {
			return false, r.unplaced(err)
		}
		r.settle(res, "", b)
		return true, nil
	}
	b, more, err := u.Answered(&r.ask, res.StatusCode, res.Header, b)
	if err == nil && !more && res.StatusCode == http.StatusPermanentRedirect {
		err = errors.New("it leads elsewhere")
	}
	if err != nil {
		return false, r.unplaced(err)
	}
	r.settle(res, "", b)
	return more || len(b) == 0, nil
}

// entrance is where the caller goes on with the upload that r began, whose place the upstream named.
func (r *request) entrance(place string) (string, error) {
	u := r.backend.connector.(connector.Uploader) // brought has seen that it is one
	at, err := url.Parse(place)
	if err != nil {
		return "", errors.New("the place that it names for the content is no address")
	}
	if ok, _ := u.Takes(&r.backend.base, at); !ok {
		return "", fmt.Errorf("the place that it names for the content, on %s, is none that it may name", quote(at.Host))
	}
	name, err := r.nameUpload(place)
	if err != nil {
		return "", err
	}
	query := u.Query(name)
	if len(query) > maxTarget {
		return "", errors.New("what is to be remembered of the upload is too long: say less in the query")
	}
	front := r.g.audience(r.name)
	if r.byHost {
		front = r.g.scheme + "://" + r.in.Host
	}
	return front + r.path + "?" + query, nil
}

// unplaced is the refusal where an upstream answers what cannot be sent on.
func (r *request) unplaced(err error) error {
	return &problem{status: http.StatusBadGateway, kind: "upstream-down", cause: err, detail: fmt.Sprintf("What %s answers to this upload is not sent on: %s.", r.name, err)}
}

// settle makes b the body of a reply. Headers that are named are kept, or all of them when none is.
func (r *request) settle(res *http.Response, kind string, b []byte, headers ...string) {
	if len(headers) > 0 {
		connector.Keep(res.Header, headers...)
	}
	if kind != "" {
		res.Header["Content-Type"] = []string{kind}
	} else if len(b) == 0 {
		delete(res.Header, "Content-Type")
	}
	if has(res, b); res.StatusCode == http.StatusNoContent {
		delete(res.Header, "Content-Length")
	}
}

// hurry cuts r when the part that it brings comes slower than slowestUpload allows. What it returns is called before r ends.
func (r *request) hurry() (end func()) {
	if r.upload.place == nil || r.in.ContentLength <= 0 || r.ask.Body != nil {
		return func() {}
	}
	most := r.g.Limits.Part + atMost(r.in.ContentLength)
	h := &hurried{ReadCloser: r.in.Body}
	plain, conn := r.in.ProtoMajor == 1, http.NewResponseController(r.w)
	h.timer = time.AfterFunc(most, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.over {
			r.sever(&problem{status: http.StatusRequestTimeout, kind: "too-slow", detail: fmt.Sprintf("This part of the upload did not come within %s.", most)})
			if plain { // when it has answered, net/http waits for the rest, and has forgotten every deadline
				time.AfterFunc(time.Second, func() { _ = conn.SetReadDeadline(time.Now()) })
			}
		}
	})
	r.in.Body = h
	return h.done
}

// atMost is how long n bytes may take.
func atMost(n int64) time.Duration {
	return time.Duration(min(n/slowestUpload, int64(uploadLife/time.Second))) * time.Second
}

// hurried is a body that is waited for, but not for ever.
type hurried struct {
	io.ReadCloser
	timer *time.Timer
	mu    sync.Mutex
	over  bool // nobody waits any more
}

func (h *hurried) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.timer.Stop()
}

func (h *hurried) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if err == io.EOF {
		h.done()
	}
	return n, err
}
