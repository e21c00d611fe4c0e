package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/oauth"
)

// terminal signs in with the person at the terminal: it prints the page to open, and the
// answer comes to a port of this machine.
type terminal struct {
	errs   io.Writer
	client oauth.Registration // made by hand at the upstream's server; may be nobody
	host   string             // of the redirect URI
	answer chan url.Values

	mu    sync.Mutex
	state string // of the sign-in that is waited for; empty if there is none
}

// signIn returns what carries requests to an upstream that wants OAuth, and what ends it.
// Nothing is kept after that.
func (a *app) signIn(upstream *url.URL, clientID, secretEnv string) (http.RoundTripper, func(), error) {
	t := &terminal{errs: a.errs, client: oauth.Registration{ID: clientID}, answer: make(chan url.Values, 1)}
	if secretEnv != "" {
		if t.client.Secret = os.Getenv(secretEnv); t.client.Secret == "" {
			return nil, nil, fmt.Errorf("the environment variable %s is not set", secretEnv)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("listening for the answer of the sign-in page: %w", err)
	}
	t.host = l.Addr().String()
	s := &http.Server{Handler: t, ReadTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }() // until end
	end := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // the page has been sent, or its reader is gone
	}
	c := &oauth.Client{HTTP: &http.Client{Timeout: 30 * time.Second}, Now: time.Now, Rand: rand.Reader, Store: &oauth.Memory{}, Name: "Lanyard",
		Redirect: "http://" + t.host + "/callback", Loopback: fetch.Loopback(upstream.Hostname())}
	return &oauth.Transport{Client: c, Upstream: upstream.String(), Flow: t}, end, nil
}

func (t *terminal) SignIn(ctx context.Context, c *oauth.Client, up oauth.Upstream, scope []string) (oauth.Token, error) {
	if t.client.ID != "" {
		if err := c.Store.PutRegistration(ctx, up.Server.Issuer, t.client); err != nil {
			return oauth.Token{}, err
		}
	}
	return oauth.Person(func(ctx context.Context, open string) (url.Values, error) {
		u, err := url.Parse(open)
		if err != nil {
			return nil, err
		}
		select {
		case <-t.answer: // of a sign-in that was given up
		default:
		}
		t.wait(u.Query().Get("state"))
		defer t.wait("")
		fmt.Fprintf(t.errs, "To sign in at %s, open\n\n  %s\n\n", printable(up.Server.Issuer), printable(open))
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
		select {
		case q := <-t.answer:
			return q, nil
		case <-ctx.Done():
			return nil, errors.New("nobody signed in")
		}
	}).SignIn(ctx, c, up, scope)
}

func (t *terminal) wait(state string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state = state
}

// take reports whether state is the one waited for, once.
func (t *terminal) take(state string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ok := t.state != "" && subtle.ConstantTimeCompare([]byte(state), []byte(t.state)) == 1
	if ok {
		t.state = ""
	}
	return ok
}

// ServeHTTP takes the answer that the browser brings. A request that is something else changes nothing.
func (t *terminal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet || r.URL.Path != "/callback" || r.Host != t.host || !t.take(q.Get("state")) {
		http.Error(w, "This is not the answer that Lanyard waits for.", http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, "Lanyard has the answer. Close this page and go back to the terminal.\n")
	t.answer <- q
}
