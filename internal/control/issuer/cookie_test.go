package issuer

import (
	"net/http/httptest"
	"testing"
)

// TestCookie: a browser shows the session to Lanyard alone, wherever that is.
func TestCookie(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.com":        "__Host-lanyard=x; Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=Lax",
		"https://example.com/a/nhi":  "__Secure-lanyard=x; Path=/a/nhi/; Max-Age=28800; HttpOnly; Secure; SameSite=Lax",
		"http://127.0.0.1:8440/nhi":  "lanyard=x; Path=/nhi/; Max-Age=28800; HttpOnly; SameSite=Lax",
		"http://127.0.0.1:8440":      "lanyard=x; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax",
		"https://example.com:8440/x": "__Secure-lanyard=x; Path=/x/; Max-Age=28800; HttpOnly; Secure; SameSite=Lax",
	} {
		i, w := &Issuer{URL: url}, httptest.NewRecorder()
		i.SetCookie(w, "x")
		if got := w.Header().Get("Set-Cookie"); got != want {
			t.Errorf("%s: %s", url, got)
		}
	}
}
