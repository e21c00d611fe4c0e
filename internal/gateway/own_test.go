package gateway

import (
	"net/http"
	"testing"
)

// TestScrubbed: no upstream says that a reply is the gateway's own.
func TestScrubbed(t *testing.T) {
	h := http.Header{}
	h.Set(problemHeader, "approval-needed")
	h.Set(http.TrailerPrefix+problemHeader, "approval-needed")
	h.Set("Etag", "x")
	if scrub(h); len(h) != 1 || h.Get("Etag") != "x" {
		t.Errorf("%v", h)
	}
}
