package web

import (
	"bytes"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// notBuilt is served where the console would be, by a binary that was built without it.
const notBuilt = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Lanyard</title></head>
<body><h1>The console is not in this binary</h1>
<p>It was built without it, as <code>go build</code> alone does. Build both, which needs npm:</p>
<pre>make console build</pre>
<p>Everything else works: <code>lanyard --help</code> does what the console does.</p></body></html>
`

// What stands in the built page for what only the server knows.
const (
	baseMark  = `<base href="/console/"`
	nonceMark = "LANYARD_NONCE"
)

// Console serves the console's files below base, which begins and ends with a slash, as a browser sees it (with the path that
// a proxy in front takes away). A request's path is what follows the console's own. Every path that is no file is
// the page itself: which one is shown is for the script there. nonce makes a text that nobody can guess, anew for each page.
func Console(base string, nonce func() string) http.Handler { return console(Files, base, nonce) }

func console(all fs.FS, base string, nonce func() string) http.Handler {
	files, _ := fs.Sub(all, "dist") // fails only for a path that is none
	page, err := fs.ReadFile(files, "index.html")
	if err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte(notBuilt))
		})
	}
	page = bytes.Replace(page, []byte(baseMark), []byte(`<base href="`+html.EscapeString(base)+`"`), 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "This path takes GET.", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		if kind := kinds[path.Ext(name)]; kind != "" && fs.ValidPath(name) && asset(w, r, files, name, kind) {
			return
		}
		if strings.HasPrefix(name, "assets/") { // of another version, or nothing at all
			http.NotFound(w, r)
			return
		}
		n := nonce()
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		// Styles that the component library makes as it runs carry the nonce. Nothing else is asked for than what is here.
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-"+n+"'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "+
			"base-uri 'self'; form-action 'self'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		w.Write(bytes.ReplaceAll(page, []byte(nonceMark), []byte(n)))
	})
}

// kinds are the files that the console has.
var kinds = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2"}

// asset serves one file, compressed if there is such a form of it and the browser takes it; false if there is none.
func asset(w http.ResponseWriter, r *http.Request, files fs.FS, name, kind string) bool {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return false
	}
	h := w.Header()
	if packed, err := fs.ReadFile(files, name+".gz"); err == nil {
		h.Set("Vary", "Accept-Encoding")
		if takesGzip(r.Header.Get("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			b = packed
		}
	}
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Set("Cache-Control", "no-cache"); strings.HasPrefix(name, "assets/") { // its name is its hash
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Write(b)
	return true
}

func takesGzip(accept string) bool {
	for one := range strings.SplitSeq(accept, ",") {
		coding, q, _ := strings.Cut(strings.TrimSpace(one), ";")
		if strings.TrimSpace(coding) == "gzip" {
			return !strings.HasPrefix(strings.ReplaceAll(q, " ", ""), "q=0") || strings.HasPrefix(strings.ReplaceAll(q, " ", ""), "q=0.")
		}
	}
	return false
}
