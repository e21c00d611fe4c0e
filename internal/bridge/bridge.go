// Package bridge is what the rooms have in common that put an account of another protocol
// behind an interface of Google's: the credential of whoever calls, and how they are answered.
package bridge

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// Object is a JSON object.
type Object = map[string]any

// Failure is a refusal that goes to the caller, as Google's interfaces say it.
type Failure struct {
	Status  int // of HTTP
	Message string
}

func (f *Failure) Error() string { return f.Message }

// ErrNone is of what is not there, or must not be named.
var ErrNone = &Failure{http.StatusNotFound, "Requested entity was not found."}

// Invalid is a refusal of a request that cannot be done as it is (400).
func Invalid(format string, args ...any) error {
	return &Failure{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// Lacking is a refusal of what the account's protocol does not have (501).
func Lacking(format string, args ...any) error {
	return &Failure{http.StatusNotImplemented, fmt.Sprintf(format, args...)}
}

// MinCredential is how long a credential must be, in bytes.
const MinCredential = 16

// Guard lets through to next who shows the credential as a bearer token, with a body of at most limit bytes.
func Guard(credential string, limit int64, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(credential))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		hash := sha256.Sum256([]byte(given))
		if !ok || subtle.ConstantTimeCompare(hash[:], want[:]) != 1 {
			Refuse(w, &Failure{http.StatusUnauthorized, "the credential is not the one that was agreed on"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		next.ServeHTTP(w, r)
	})
}

// Refused is what the caller hears when a server answers with that status; nil if it is none of theirs to know.
func Refused(status int) error {
	switch status {
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		return &Failure{http.StatusForbidden, "The server does not let this account do that."}
	case http.StatusNotFound, http.StatusGone:
		return ErrNone
	case http.StatusConflict:
		return &Failure{http.StatusConflict, "The server says that this does not go with what it holds."}
	case http.StatusPreconditionFailed:
		return &Failure{http.StatusPreconditionFailed, "It was changed meanwhile, or is there already: read it again."}
	case http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage:
		return &Failure{http.StatusRequestEntityTooLarge, "The server has no room for this."}
	case http.StatusLocked:
		return &Failure{http.StatusLocked, "Somebody has locked it on the server."}
	case http.StatusNotModified:
		return &Failure{http.StatusNotModified, ""}
	case http.StatusRequestedRangeNotSatisfiable:
		return &Failure{http.StatusRequestedRangeNotSatisfiable, "It does not have that many bytes."}
	}
	return nil
}

// Refuse answers with f.
func Refuse(w http.ResponseWriter, f *Failure) {
	if f.Status == http.StatusNotModified {
		w.WriteHeader(f.Status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(f.Status)
	_ = json.NewEncoder(w).Encode(Object{"error": Object{"code": f.Status, "message": f.Message}})
}

// Answer answers with v as JSON (nil: with nothing, 204), or with what err says. An error that is no
// Failure is logged, and the caller is told that the server, "the mail server" say, did not do it.
func Answer(w http.ResponseWriter, v any, err error, log *slog.Logger, server string) {
	var refused *Failure
	switch {
	case errors.As(err, &refused):
		Refuse(w, refused)
	case err != nil:
		log.Warn(server, "error", err)
		Refuse(w, &Failure{http.StatusBadGateway, server + " did not do this"})
	case v == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		_ = json.NewEncoder(w).Encode(v)
	}
}
