package issuer

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestSameOriginByCookie: what comes with a session says from which page, whatever the cookie of this server is called.
func TestSameOriginByCookie(t *testing.T) {
	for _, url := range []string{"http://lanyard.example.com", "https://lanyard.example.com", "https://example.com/lanyard", "http://127.0.0.1:8440/lanyard"} {
		i := &Issuer{URL: url}
		r := httptest.NewRequest("POST", url+"/approvals/apr_1", nil)
		r.AddCookie(&http.Cookie{Name: i.cookie(), Value: "x"})
		w := httptest.NewRecorder()
		if SameOrigin(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: done", url) })(w, r); w.Code != 403 {
			t.Errorf("%s: %d", url, w.Code)
		}
	}
}
