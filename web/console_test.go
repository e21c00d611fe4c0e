package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func get(h http.Handler, method, path, encoding string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestConsole(t *testing.T) {
	n := 0
	nonce := func() string { n++; return strings.Repeat("n", n) }
	h := console(fstest.MapFS{
		"dist/index.html":      {Data: []byte(`<head><base href="/console/" /><meta nonce="LANYARD_NONCE"><script nonce="LANYARD_NONCE" src="./assets/a.js">`)},
		"dist/mark.svg":        {Data: []byte("<svg/>")},
		"dist/assets/a.js":     {Data: []byte("script")},
		"dist/assets/a.js.gz":  {Data: []byte("packed")},
		"dist/.vite/some.json": {Data: []byte("{}")},
	}, `/below/"x"/console/`, nonce)

	page := get(h, "GET", "/identities/a", "")
	if b := page.Body.String(); page.Code != 200 || !strings.Contains(b, `<base href="/below/&#34;x&#34;/console/"`) || strings.Count(b, `nonce="n"`) != 2 {
		t.Errorf("the page is %d %s", page.Code, b)
	}
	if csp := page.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self';") || !strings.Contains(csp, "'nonce-n'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("its policy is %q", csp)
	}
	if again := get(h, "GET", "/", ""); !strings.Contains(again.Body.String(), `nonce="nn"`) || again.Header().Get("Cache-Control") != "no-store" {
		t.Error("the next page has the same nonce, or may be kept")
	}
	for _, one := range []struct {
		method, path, encoding string
		status                 int
		body, kind, cache      string
	}{
		{"GET", "/assets/a.js", "gzip, br", 200, "packed", "text/javascript", "immutable"},
		{"GET", "/assets/a.js", "gzip;q=0", 200, "script", "text/javascript", "immutable"},
		{"GET", "/assets/a.js", "", 200, "script", "text/javascript", "immutable"},
		{"GET", "/mark.svg", "gzip", 200, "<svg/>", "image/svg+xml", "no-cache"},
		{"GET", "/assets/old.js", "", 404, "", "", ""},
		{"GET", "/assets/../index.html", "", 404, "", "", ""},
		{"GET", "/.vite/some.json", "", 200, "<head>", "text/html", "no-store"}, // no file that is served: the page
		{"POST", "/", "", 405, "", "", ""},
	} {
		w := get(h, one.method, one.path, one.encoding)
		if w.Code != one.status || !strings.Contains(w.Body.String(), one.body) || !strings.Contains(w.Header().Get("Content-Type"), one.kind) || !strings.Contains(w.Header().Get("Cache-Control"), one.cache) {
			t.Errorf("%s %s (%s) is %d %q %v", one.method, one.path, one.encoding, w.Code, w.Body, w.Header())
		}
	}
}

// A binary that was built without npm says how the console is built.
func TestNotBuilt(t *testing.T) {
	if w := get(console(fstest.MapFS{"dist/.keep": {}}, "/console/", nil), "GET", "/", ""); w.Code != 404 || !strings.Contains(w.Body.String(), "make console build") {
		t.Errorf("it is %d %s", w.Code, w.Body)
	}
}

// Who chose colours in the console has them on the pages without script, too.
func TestStyleIn(t *testing.T) {
	for colours, want := range map[string]string{"dark": "@media all {", "light": "@media not all {", "": "@media (prefers-color-scheme: dark) {", "x{": "@media (prefers-color-scheme: dark) {"} {
		if got := string(StyleIn(colours)); !strings.Contains(got, want) || strings.Contains(got, "x{") {
			t.Errorf("%q: no %q", colours, want)
		}
	}
}
