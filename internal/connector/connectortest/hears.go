package connectortest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
)

// Hears holds for every mailbox: whatever it returns is heard as JSON, or as it is; whatever is sent is said without harm.
func Hears(t *testing.T, c connector.Speaker, path, body string) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r := &connector.Request{Method: method, Path: path, Body: []byte(body), Header: http.Header{"Content-Type": {"application/json"}}}
		call, err := c.Recognise(r)
		if err != nil {
			continue
		}
		c.Says(r, call)
		out := c.Hears(call, "application/json", []byte(body))
		if _, err := office.JSON([]byte(body)); err != nil || strings.Contains(path, "/attachments/") {
			continue
		}
		if _, err := office.JSON(out); err != nil {
			t.Fatalf("%s: %s is heard as %s", path, body, out)
		}
	}
}
