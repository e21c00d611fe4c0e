// Package office is an example of what stands behind the boundary: a small office
// with a mailbox, files and a calendar. It speaks a part of the published REST
// interfaces of Gmail v1, Drive v3 and Calendar v3, well enough for Google's own
// client libraries, offers its mail as an MCP server too, and keeps everything in memory.
//
// Whoever holds the one secret may do everything, as with a real mailbox's token.
// That is the point: the office cannot tell a good caller from a bad one, so only
// the gateway is given the secret.
package office

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Mailbox is whose mail, files and calendar these are.
const Mailbox = "maya@example.com"

// Config is what an office needs. Secret and Today are required.
type Config struct {
	Secret  string    // expected as Authorization: Bearer <secret>
	Today   time.Time // what is seeded lies around this day
	Uploads string    // where Graph has large content put: http://127.0.0.1:8443, which this Office serves, too; default where it was asked
	Debug   bool      // tests only: GET /debug/requests shows what was received, secrets too
}

// Office is a server. It is safe for use by many goroutines.
type Office struct {
	config Config
	secret [sha256.Size]byte
	mux    *http.ServeMux

	mu       sync.Mutex // guards all below
	now      time.Time  // moves by a second with each thing made, so that order is known
	serial   int
	messages []*message
	drafts   []*draft
	files    []*file
	events   []*event
	sessions map[string]*session
	seen     []Seen
}

// Seen is a request as it was received.
type Seen struct {
	Method string      `json:"method"`
	Target string      `json:"target"`
	Header http.Header `json:"header"`
}

// maxSeen bounds what is remembered of requests.
const maxSeen = 1000

// New makes an office with its mail, files and events.
func New(c Config) (*Office, error) {
	if c.Secret == "" || c.Today.IsZero() {
		return nil, errors.New("office: Secret and Today are required")
	}
	o := &Office{config: c, secret: sha256.Sum256([]byte(c.Secret)), mux: http.NewServeMux(), sessions: map[string]*session{}}
	day := c.Today.UTC()
	o.now = time.Date(day.Year(), day.Month(), day.Day(), 9, 0, 0, 0, time.UTC)
	o.seed()
	o.mail()
	o.drive()
	o.uploads()
	o.calendar()
	o.graph()
	o.tools()
	if c.Debug {
		o.mux.HandleFunc("GET /debug/requests", func(w http.ResponseWriter, r *http.Request) { reply(w, map[string]any{"requests": o.Requests()}) })
	}
	o.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "notFound", "Not Found")
	})
	return o, nil
}

func (o *Office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.config.Debug && r.URL.Path == "/debug/requests" {
		o.mux.ServeHTTP(w, r)
		return
	}
	o.remember(r)
	r.Body = http.MaxBytesReader(w, r.Body, 40<<20)
	if strings.HasPrefix(r.URL.Path, placeOf("")) {
		o.mux.ServeHTTP(w, r)
		return
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	hash := sha256.Sum256([]byte(given))
	if !ok || subtle.ConstantTimeCompare(hash[:], o.secret[:]) != 1 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
		fail(w, http.StatusUnauthorized, "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
		return
	}
	o.mux.ServeHTTP(w, r)
}

func (o *Office) remember(r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.seen) == maxSeen {
		o.seen = slices.Delete(o.seen, 0, 1)
	}
	o.seen = append(o.seen, Seen{r.Method, r.RequestURI, r.Header.Clone()})
}

// Requests are the last requests received, the oldest first, refused ones too.
func (o *Office) Requests() []Seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

// handle runs f alone: the office does one thing at a time. What f returns is the reply's JSON.
func (o *Office) handle(pattern string, f func(*http.Request) (any, error)) {
	o.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var v any
		err := readBody(r)
		if err == nil {
			o.mu.Lock()
			v, err = f(r)
			o.mu.Unlock()
		}
		var e *failure
		_, isAccepted := v.(accepted)
		other, isAnswer := v.(answer)
		switch content, isFile := v.(media); {
		case errors.As(err, &e):
			fail(w, e.status, e.reason, e.message)
		case err != nil:
			fail(w, http.StatusBadRequest, "badRequest", err.Error())
		case isFile:
			w.Header().Set("Content-Type", content.kind)
			w.Write(content.data)
		case isAnswer:
			other.write(w)
		case isAccepted:
			w.WriteHeader(http.StatusAccepted)
		case v == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			reply(w, v)
		}
	})
}

// readBody reads all of the body before the office is locked: a slow sender holds up nobody.
func readBody(r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(b)))
	if err != nil {
		return &failure{http.StatusRequestEntityTooLarge, "uploadTooLarge", "The request is too large or was cut off."}
	}
	return nil
}

// media is content in place of JSON.
type media struct {
	kind string
	data []byte
}

// stamp gives what is made an id and a time.
func (o *Office) stamp() (id string, at time.Time) {
	o.serial++
	o.now = o.now.Add(time.Second)
	return fmt.Sprintf("19a%09x%04x", o.now.Unix()/3600, o.serial), o.now
}

// failure is a refusal in Google's terms.
type failure struct {
	status          int
	reason, message string
}

func (f *failure) Error() string { return f.message }

func notFound(what string) error {
	return &failure{http.StatusNotFound, "notFound", what + " not found."}
}

func invalid(message string) error { return &failure{http.StatusBadRequest, "invalid", message} }

func fail(w http.ResponseWriter, status int, reason, message string) {
	words := map[int]string{400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 413: "INVALID_ARGUMENT"}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": status, "message": message, "status": words[status],
		"errors": []any{map[string]any{"domain": "global", "reason": reason, "message": message}},
	}})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	json.NewEncoder(w).Encode(v)
}

func decode(r *http.Request, v any) error {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return invalid("Invalid JSON payload received.")
	}
	return nil
}

// page cuts one page out of n things: from, to, and the token of the next page.
func page(r *http.Request, n int, sizeName string, size int) (from, to int, next string, err error) {
	if s := r.URL.Query().Get(sizeName); s != "" {
		if size, err = strconv.Atoi(s); err != nil || size < 1 {
			return 0, 0, "", invalid("Invalid value for " + sizeName + ".")
		}
	}
	if s := r.URL.Query().Get("pageToken"); s != "" {
		if from, err = strconv.Atoi(s); err != nil || from < 0 || from > n {
			return 0, 0, "", invalid("Invalid pageToken.")
		}
	}
	if to = min(from+min(size, 500), n); to < n {
		next = strconv.Itoa(to)
	}
	return from, to, next, nil
}
