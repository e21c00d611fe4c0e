package fetch

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestGuarded: what an operator named is reached, and what it leads to only where anybody could reach it.
func TestGuarded(t *testing.T) {
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer here.Close()
	other := httptest.NewServer(here.Config.Handler)
	defer other.Close()
	byName := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		name, named, to string
		ok              bool
	}{
		{"what was named", here.URL, here.URL, true},
		{"another on this machine, from one on this machine", here.URL, other.URL, true},
		{"the same by name", here.URL, byName, true},
		{"this machine, from elsewhere", "https://notes.example.com/mcp", here.URL, false},
		{"this machine by name, from elsewhere", "https://notes.example.com/mcp", byName, false},
		{"this machine, when nothing was named", "", here.URL, false},
		{"the cloud's metadata, from one on this machine", here.URL, "http://169.254.169.254/latest", false},
		{"a private network, from one on this machine", here.URL, "https://10.0.0.1/", false},
		{"a private network, from elsewhere", "https://notes.example.com", "https://192.168.1.1:8443/", false},
		{"another port of a host that was named", "http://10.0.0.1:1", "http://10.0.0.1:2/", false},
	} {
		res, err := Guarded(5*time.Second, c.named).Get(c.to)
		if err == nil {
			res.Body.Close()
		}
		if (err == nil) != c.ok || !c.ok && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
