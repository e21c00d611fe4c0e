package issuer

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/lanyard-dev/lanyard/internal/token"
)

const (
	maxForm  = 64 << 10
	formTime = 10 * time.Second
)

// refusal is what a client is told (RFC 6749 section 5.2). The text helps it; it
// holds nothing internal, and nothing that tells an unknown client from a wrong key.
type refusal struct {
	code string
	text string
	why  string // for the record, when the client is told less
}

func (r *refusal) Error() string { return r.text }

func refuse(code, text string) error { return &refusal{code: code, text: text} }

// status is the one place where errors become OAuth codes.
func status(err error) (code, text string, status int) {
	var r *refusal
	var t *token.Error
	switch {
	case errors.As(err, &r):
		code, text = r.code, r.text
	case errors.As(err, &t):
		code, text = t.Code, t.Text
	default:
		return "server_error", "The server could not do this now; try again.", http.StatusServiceUnavailable
	}
	switch code {
	case "invalid_client":
		return code, text, http.StatusUnauthorized
	case "temporarily_unavailable":
		return code, text, http.StatusServiceUnavailable
	}
	return code, text, http.StatusBadRequest
}

func reply(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body, json.Deterministic(true))
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store") // RFC 6749 section 5.1
	}
	w.WriteHeader(status)
	w.Write(b)
}

func replyError(w http.ResponseWriter, r *http.Request, err error) {
	code, text, status := status(err)
	if status == http.StatusUnauthorized && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="lanyard"`)
	}
	reply(w, status, struct {
		Error string `json:"error"`
		Text  string `json:"error_description"`
	}{code, text})
}

// readForm reads parameters that each occur once (RFC 6749 section 3.2) and only
// in the body, where no log sees them. One without a value counts as left out.
func readForm(w http.ResponseWriter, r *http.Request) (map[string]string, error) {
	if r.URL.RawQuery != "" {
		return nil, refuse("invalid_request", "Parameters belong in the body, not in the URL.")
	}
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return nil, refuse("invalid_request", "Exactly one Content-Type is needed: application/x-www-form-urlencoded.")
	}
	if kind, _, err := mime.ParseMediaType(types[0]); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, refuse("invalid_request", "The Content-Type must be application/x-www-form-urlencoded.")
	}
	// Who sends slowly holds a connection, and not for long. (A test's recorder has no deadlines.)
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(formTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{})
	} else { // net/http must not wait for the rest of it either
		w.Header().Set("Connection", "close")
		return nil, refuse("invalid_request", "The body could not be read, or is larger than 64 KiB.")
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, refuse("invalid_request", "The body is not a well-formed form.")
	}
	form := make(map[string]string, len(values))
	for name, v := range values {
		switch {
		case len(v) > 1 && name == "resource":
			return nil, refuse("invalid_target", "A token is for exactly one resource; ask once for each.")
		case len(v) > 1:
			return nil, refuse("invalid_request", "A parameter is given more than once.")
		case !utf8.ValidString(v[0]):
			return nil, refuse("invalid_request", "A parameter is not UTF-8.")
		case v[0] != "":
			form[name] = v[0]
		}
	}
	return form, nil
}
