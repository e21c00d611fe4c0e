package control

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestRewrapNowhere: where no other key can be made, it is said, and nothing falls over.
func TestRewrapNowhere(t *testing.T) {
	p := start(t)
	path := filepath.Join(p.dir, "s")
	l, err := LocalListener(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: p.LocalHandler()}
	go s.Serve(l)
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	res, err := client.Post("http://lanyard/v1/seal/rewrap", "application/json", strings.NewReader(`{"to":"file:/nowhere"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusConflict || !strings.Contains(string(b), "What wraps the seal keys cannot be changed here.") {
		t.Errorf("%s %s %v", res.Status, b, err)
	}
}
