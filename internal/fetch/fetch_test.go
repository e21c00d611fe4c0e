package fetch

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestJSON(t *testing.T) {
	mux := http.NewServeMux()
	say := func(path, kind, body string, status int, headers ...string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			w.Write([]byte(body))
		})
	}
	say("/good", "application/json; charset=utf-8", `{}`, 200, "Cache-Control", "public, max-age=60")
	say("/long", "application/jwk-set+json", `{}`, 200, "Cache-Control", "max-age=999999")
	say("/never", "application/json", `{}`, 200, "Cache-Control", "no-store, max-age=60")
	say("/html", "text/html", `{}`, 200)
	say("/gone", "application/json", `{}`, 404)
	say("/away", "application/json", `{}`, 302, "Location", "/good")
	say("/huge", "application/json", strings.Repeat(" ", MaxDocument+1), 200)
	s := httptest.NewServer(mux)
	defer s.Close()
	c := New(true)
	for path, want := range map[string]time.Duration{"/good": time.Minute, "/long": time.Hour, "/never": 0} {
		if body, keep, err := c.JSON(t.Context(), s.URL+path); err != nil || string(body) != "{}" || keep != want {
			t.Errorf("%s: %s %v %v", path, body, keep, err)
		}
	}
	for path, why := range map[string]string{"/html": "no JSON", "/gone": "404", "/away": "302", "/huge": "more than"} {
		if _, _, err := c.JSON(t.Context(), s.URL+path); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", path, err, why)
		}
	}
	if _, _, err := c.JSON(t.Context(), "http://127.0.0.1:1/x"); err == nil || strings.Contains(err.Error(), "refused") {
		t.Errorf("what the network said is told: %v", err)
	}
}

// TestRefused: what a stranger names is asked only on the public internet, whatever it is called.
func TestRefused(t *testing.T) {
	inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer inside.Close()
	c := New(false)
	for _, address := range []string{inside.URL, strings.Replace(inside.URL, "127.0.0.1", "localhost", 1), "https://127.1/x", "https://[::1]/x", "https://0.0.0.0/", "https://10.0.0.1/", "https://192.168.1.1/x",
		"https://169.254.169.254/latest/meta-data", "https://[fd00::1]/", "https://[fe80::1]/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://100.64.0.1/", "https://2130706433/", "https://0x7f.1/",
		"http://example.com/x", "ftp://example.com/x", "file:///etc/passwd", "https://user:pass@example.com/", "https://example.com/#x", "https:example.com", "https://", "", "://"} {
		if _, _, err := c.JSON(t.Context(), address); err == nil || !errors.Is(err, ErrRefused) && !strings.Contains(err.Error(), "no answer") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, lookalike := range []string{"https://cl\u0430ude.example/c.json", "https://cl%d0%b0ude.example/c.json"} { // what people are shown of it reads as another
		if err := New(false).Check(lookalike); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", lookalike, err)
		}
	}
	if err := New(true).Check("https://xn--clude-7ua.example/c.json"); err != nil {
		t.Error(err)
	}
	if err := New(true).Check("http://example.com/"); !errors.Is(err, ErrRefused) {
		t.Errorf("http beyond this machine: %v", err)
	}
}
