package client

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// TestStatusLists: a bit counts from when the list is asked for again, and what cannot be asked for is not good.
func TestStatusLists(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	signer := func() *token.Signer {
		k, err := token.NewKey(rand.Reader, now.Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		s, err := token.NewSigner(k)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	signs := signer()
	bits, down, lists, keys := []byte{0, 0}, false, 0, 0
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("GET /oauth/jwks", func(w http.ResponseWriter, _ *http.Request) { keys++; w.Write(signs.JWKS()) })
	mux.HandleFunc("GET /oauth/status/{list}", func(w http.ResponseWriter, r *http.Request) {
		if lists++; down {
			w.WriteHeader(503)
			return
		}
		raw, err := signs.SignStatusList(server.URL+r.URL.Path, token.StatusList{Bits: bits, Issued: now, Expires: now.Add(time.Minute), TTL: 10 * time.Second})
		if err != nil {
			t.Error(err)
		}
		w.Write([]byte(raw))
	})
	s := &StatusLists{Issuer: server.URL + "/", Now: func() time.Time { return now }}
	uri := server.URL + "/oauth/status/x"
	want := func(what string, index int, good bool, says string) {
		t.Helper()
		got, err := s.Good(t.Context(), uri, index)
		if got != good || (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v %v", what, got, err)
		}
	}
	want("at first", 9, true, "")
	bits = []byte{0, 2}
	now = now.Add(10*time.Second - 1)
	want("within the time to live", 9, true, "")
	now = now.Add(1)
	want("after it", 9, false, "")
	want("another", 8, true, "")
	want("none", 16, false, "no place 16")
	if lists != 2 || keys != 1 {
		t.Errorf("%d lists, %d key sets", lists, keys)
	}
	signs, now = signer(), now.Add(10*time.Second)
	want("signed by a newer key", 8, true, "")
	signs, now = signer(), now.Add(10*time.Second)
	s.asked = now.Add(-time.Second)
	want("by another within seconds", 8, false, "key we do not know")
	now = now.Add(10 * time.Second)
	want("by another later", 8, true, "")
	now, down = now.Add(10*time.Second), true
	want("when nobody answers", 8, false, "503")
	down, lists = false, 0
	for _, other := range []string{"https://evil.example/oauth/status/x", server.URL + ".evil.example/oauth/status/x", server.URL + "/oauth/status/x?a", server.URL + "/oauth/x", ""} {
		if good, err := s.Good(t.Context(), other, 0); good || err == nil {
			t.Errorf("%q: %v %v", other, good, err)
		}
	}
	if lists != 0 {
		t.Error("somebody else's list was asked for")
	}
}
