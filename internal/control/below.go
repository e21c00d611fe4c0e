package control

import (
	"net/http"
	"net/url"
	"strings"
)

// The public URL may have a path, where a proxy has other things beside Lanyard. Inside there is none: [below] takes it off what is
// asked for, and puts it before where an answer leads. Addresses that are told in full begin with the URL, as they do without a path.

// publicPath is the path of the public URL, without a slash at its end; mostly "".
func (p *Plane) publicPath() string {
	u, err := url.Parse(p.URL)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Path, "/")
}

// inserted are the documents that are found by putting their name before the path of an issuer (RFC 8414 section 3.1, Shared Signals Framework 1.0 section 7.2).
var inserted = []string{"/.well-known/oauth-authorization-server", "/.well-known/ssf-configuration"}

// below serves next at path and nowhere else, but for what has its place at the host: those documents, and whether this process is well.
func below(path string, next http.Handler) http.Handler {
	if path == "" {
		return next
	}
	inside := http.StripPrefix(path, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = &belowWriter{w, path}
		switch asked := r.URL.Path; {
		case strings.HasPrefix(asked, path+"/"):
			inside.ServeHTTP(w, r)
			return
		case asked == path:
			http.Redirect(w, r, "/", http.StatusMovedPermanently)
			return
		case asked == "/healthz", asked == "/readyz":
			next.ServeHTTP(w, r)
			return
		}
		for _, document := range inserted {
			if r.URL.Path == document+path {
				r2 := r.Clone(r.Context())
				r2.URL.Path, r2.URL.RawPath = document, ""
				next.ServeHTTP(w, r2)
				return
			}
		}
		http.Error(w, "Lanyard is at "+path+"/ here (--url). A proxy in front has to pass the path on as it is.", http.StatusNotFound)
	})
}

// belowWriter puts the path before where an answer leads on this host.
type belowWriter struct {
	http.ResponseWriter
	path string
}

func (w *belowWriter) WriteHeader(status int) {
	if to := w.Header().Get("Location"); strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") {
		w.Header().Set("Location", w.path+to)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *belowWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() } // where it cannot be, it comes later

func (w *belowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
