package gateway

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestHeldTogether: what requests and replies may hold of memory, they may together, and it comes back when they end.
func TestHeldTogether(t *testing.T) {
	const most = 512 << 10
	came, goes := make(chan struct{}, 16), make(chan struct{})
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == "POST" {
			came <- struct{}{}
			<-goes
			_, _ = w.Write([]byte(`{"id":"1"}`))
			return
		}
		_, _ = w.Write([]byte(`{"id":"1","snippet":"` + strings.Repeat("x", most) + `"}`))
	}), func(c *Config) { c.Families, c.Limits.Held = []connector.Family{google.Family()}, most })
	w.applyUpstream(&policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "google", Description: []byte("gmail/v1"), Version: 2})
	o := &layeredOffice{world: w}
	o.grant("mail", layer.Layers{Show: layer.Headers}, "read", "mail.send")
	send := func() (int, string) {
		status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/messages/send", map[string]any{"raw": base64.URLEncoding.EncodeToString([]byte("To: ben@example.com\r\n\r\n" + strings.Repeat("x", 150<<10)))})
		return status, s
	}
	done := make(chan int, 2)
	go func() { status, _ := send(); done <- status }()
	<-came
	if n := w.g.held.now.Load(); n < 100<<10 || n > most {
		t.Errorf("%d bytes are held", n)
	}
	refused := 0
	for range 3 {
		go func() { status, _ := send(); done <- status }()
		select {
		case <-came:
		case status := <-done:
			if status != http.StatusServiceUnavailable {
				t.Errorf("status %d", status)
			}
			refused++
		}
	}
	if refused == 0 {
		t.Error("more is held than may be")
	}
	if status, _, s := o.ask("GET", "mail", "/gmail/v1/users/me/messages/1", nil); status != http.StatusServiceUnavailable {
		t.Errorf("a reply that is larger than what is left: %d %.100s", status, s)
	}
	close(goes)
	for range 4 - refused {
		if status := <-done; status != 200 {
			t.Errorf("status %d", status)
		}
	}
	eventually(t, "all of it came back", func() bool { return w.g.held.now.Load() == 0 })
}

// TestWhole: a body of exactly so many bytes, and one more.
func TestWhole(t *testing.T) {
	g := &Gateway{}
	g.held.most.Store(1 << 20)
	for _, n := range []int{0, 1, 1023, 1024, 1025, 5000} {
		r := &request{g: g}
		var large errLarge
		if b, err := r.whole(strings.NewReader(strings.Repeat("x", n)), int64(n), nil); err != nil || len(b) != n || b == nil {
			t.Errorf("%d: %d bytes, %v", n, len(b), err)
		}
		if _, err := r.whole(strings.NewReader(strings.Repeat("x", n+1)), int64(n), nil); !errors.As(err, &large) {
			t.Errorf("%d and one: %v", n, err)
		}
		if r.letGo(); g.held.now.Load() != 0 {
			t.Errorf("%d: %d are held", n, g.held.now.Load())
		}
	}
}

// TestHeldValues: what is made of a reply counts, and not its text alone: one of many small values takes many times its text.
func TestHeldValues(t *testing.T) {
	const most = 16 << 20
	reply := `{"id":"1","threadId":"1","labelIds":[` + strings.Repeat(`0,`, 500_000) + `0]}`
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(reply))
	}), func(c *Config) { c.Families, c.Limits.Held = []connector.Family{google.Family()}, most })
	w.applyUpstream(&policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "google", Description: []byte("gmail/v1"), Version: 2})
	o := &layeredOffice{world: w}
	o.grant("mail", layer.Layers{Show: layer.Headers}, "read")
	if status, _, s := o.ask("GET", "mail", "/gmail/v1/users/me/messages/1", nil); status != http.StatusServiceUnavailable || !strings.Contains(s, "as it may") {
		t.Errorf("%d %.200s", status, s)
	}
	reply = `{"id":"1","threadId":"1","labelIds":[` + strings.Repeat(`0,`, 50_000) + `0]}` // of which a few may be there
	if status, _, s := o.ask("GET", "mail", "/gmail/v1/users/me/messages/1", nil); status != http.StatusOK {
		t.Errorf("%d %.200s", status, s)
	}
	eventually(t, "all of it came back", func() bool { return w.g.held.now.Load() == 0 })
}
