package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// leased is a world whose lease is measured with a clock of the test, and runs for ten seconds.
func leased(t *testing.T, upstream http.Handler, change ...func(*Config)) (*world, *atomic.Int64) {
	clock := &atomic.Int64{}
	clock.Store(int64(time.Hour))
	now := func() feed.Instant { return feed.Instant{Boot: time.Duration(clock.Load()), Steady: time.Hour} } // only the suspended time passes
	w := newWorld(t, upstream, append(change, func(c *Config) { c.View.Lease = feed.NewLease(now) })...)
	w.renew()
	return w, clock
}

func (w *world) renew() {
	w.t.Helper()
	if err := w.view.Lease.Renew(w.view.Lease.Now(), feed.DefaultLease); err != nil {
		w.t.Fatal(err)
	}
}

// TestLapsed: when the lease has ended everything is refused, with a problem of its own and an event, until it is renewed.
func TestLapsed(t *testing.T) {
	w, clock := leased(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	raw := w.mint(w.claims("bot"))
	for _, c := range []struct {
		pass   time.Duration
		status int
	}{{0, 200}, {9 * time.Second, 200}, {time.Second, 503}, {time.Hour, 503}, {-2 * time.Hour, 503}} {
		clock.Add(int64(c.pass))
		for _, method := range []string{"GET", "POST"} {
			res, body := w.do(w.request(method, "/mail/x", raw, nil))
			if res.StatusCode != c.status {
				t.Fatalf("%s after %s: %d %s", method, c.pass, res.StatusCode, body)
			}
			if c.status == 503 && (!strings.Contains(body, "urn:lanyard:problem:lease") || res.Header.Get("Retry-After") == "" || strings.Contains(body, "bot")) {
				t.Errorf("%s %v", body, res.Header)
			}
		}
	}
	clock.Store(int64(time.Hour))
	w.renew()
	if res, body := w.do(w.request("GET", "/mail/x", raw, nil)); res.StatusCode != 200 {
		t.Errorf("renewed: %d %s", res.StatusCode, body)
	}
	eventually(t, "the refusals are on record", func() bool {
		n := 0
		for _, e := range w.plane.recorded() {
			if e.Outcome == ledger.Refused && strings.Contains(e.Reason, "lease") {
				n++
			}
		}
		return n >= 2
	})
}

// TestLapsesInTheMidst: a lease that ends while a request is read, recorded or answered ends the request.
func TestLapsesInTheMidst(t *testing.T) {
	var reached atomic.Int64
	var clock *atomic.Int64
	w, c := leased(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		if r.URL.Path == "/late" {
			clock.Add(int64(time.Minute))
			fmt.Fprint(w, "a secret")
			return
		}
		io.Copy(io.Discard, r.Body)
	}))
	clock = c
	raw := w.mint(w.claims("bot"))
	hung := make(chan struct{})
	w.plane.hung.Store(&hung)
	done := make(chan int)
	go func() {
		res, _ := w.do(w.request("POST", "/mail/x", raw, nil))
		done <- res.StatusCode
	}()
	eventually(t, "an intent is being written", func() bool { return w.plane.intents.Load() == 1 })
	clock.Add(int64(11 * time.Second))
	w.plane.hung.Store(nil)
	close(hung)
	if status := <-done; status != 503 || reached.Load() != 0 {
		t.Errorf("recorded, and then the lease ended: %d, %d requests at the upstream", status, reached.Load())
	}
	w.renew()
	if res, body := w.do(w.request("GET", "/mail/late", raw, nil)); res.StatusCode != 503 || strings.Contains(body, "secret") || !strings.Contains(body, "problem:lease") {
		t.Errorf("the lease ended before the answer came: %d %s", res.StatusCode, body)
	}
}

// TestLapseCuts: what runs is cut when the lease ends, also what says nothing.
func TestLapseCuts(t *testing.T) {
	for name, path := range map[string]string{"quiet": "/quiet", "busy": "/busy"} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			w, clock := leased(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, "first\n")
				w.(http.Flusher).Flush()
				for r.Context().Err() == nil {
					if r.URL.Path == "/busy" {
						fmt.Fprint(w, "more\n")
						w.(http.Flusher).Flush()
					}
					time.Sleep(time.Millisecond)
				}
				close(gone)
			}))
			res, err := http.DefaultClient.Do(w.request("GET", "/mail"+path, w.mint(w.claims("bot")), nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body := bufio.NewReader(res.Body)
			if line, err := body.ReadString('\n'); line != "first\n" {
				t.Fatal(line, err)
			}
			clock.Add(int64(10 * time.Second))
			if _, err := io.Copy(io.Discard, body); err == nil {
				t.Error("it ended as if it were whole")
			}
			within(t, "the upstream is told", gone)
		})
	}
}
