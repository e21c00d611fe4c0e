package gateway

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
	"github.com/lanyard-dev/lanyard/internal/trace"
)

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Set-Cookie", "session=upstream")
	w.Header().Set("X-Lanyard-Identity", "spoof")
	b, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Authorization"), b)
}

func TestPass(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(echo))
	raw := w.mint(w.claims("bot"))
	res, body := w.do(w.request("GET", "/mail/x?y=1", raw, nil))
	if res.StatusCode != 200 || body != "GET /x?y=1 Bearer "+canary+" " || res.Header.Get("Set-Cookie") != "" || res.Header.Get("X-Lanyard-Identity") != "" {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
	}
	if res, body := w.do(w.request("POST", "/mail/x", raw, strings.NewReader("hello"))); res.StatusCode != 200 || !strings.HasSuffix(body, " hello") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	eventually(t, "three events", func() bool { return len(w.plane.recorded()) == 3 })
	outcomes := map[ledger.Outcome]int{}
	for _, e := range w.plane.recorded() {
		outcomes[e.Outcome]++
		if e.Actor != id("bot").String() || e.Owner != "maya" || e.Upstream != "mail" || e.Request == "" || len(e.Trace) != 32 || len(e.Policies) == 0 {
			t.Errorf("%+v", e)
		}
	}
	if outcomes[ledger.Pending] != 1 || outcomes[ledger.Allowed] != 2 {
		t.Errorf("%v", outcomes)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(echo))
	change := func(f func(*token.Claims)) string {
		c := w.claims("bot")
		f(&c)
		return w.mint(c)
	}
	good := w.mint(w.claims("bot"))
	for name, c := range map[string]struct {
		path, auth string
		status     int
	}{
		"none":           {"/mail/x", "", 401},
		"basic":          {"/mail/x", "Basic eDp5", 401},
		"garbage":        {"/mail/x", "Bearer x.y.z", 401},
		"flipped":        {"/mail/x", "Bearer " + good[:len(good)-4] + "AAAA", 401},
		"other audience": {"/mail/x", "Bearer " + change(func(c *token.Claims) { c.Audience = testScope + "/drive" }), 401},
		"other issuer":   {"/mail/x", "Bearer " + change(func(c *token.Claims) { c.Issuer = "http://evil.test" }), 401},
		"expired": {"/mail/x", "Bearer " + change(func(c *token.Claims) {
			c.Expires = time.Now().Add(-time.Second)
			c.Issued = c.Expires.Add(-time.Minute)
		}), 401},
		"unknown":         {"/mail/x", "Bearer " + change(func(c *token.Claims) { c.Chain = identity.Alone(id("nobody"), 0); c.Client = c.Actor().String() }), 401},
		"generation":      {"/mail/x", "Bearer " + change(func(c *token.Claims) { c.Chain = identity.Alone(id("bot"), 7) }), 401},
		"bound as bearer": {"/mail/x", "Bearer " + change(func(c *token.Claims) { c.Key.JKT = strings.Repeat("A", 43) }), 401},
		"bound no proof":  {"/mail/x", "DPoP " + change(func(c *token.Claims) { c.Key.JKT = strings.Repeat("A", 43) }), 401},
		"no certificate":  {"/mail/x", "Bearer " + change(func(c *token.Claims) { c.Key.X5TS256 = strings.Repeat("A", 43) }), 401},
		"unbound dpop":    {"/mail/x", "DPoP " + good, 401},
		"no upstream":     {"/nothing/x", "Bearer " + good, 401},
		"unrecognised":    {"/mail/unknown", "Bearer " + good, 403},
	} {
		r := w.request("GET", c.path, "", nil)
		r.Header.Set("Authorization", c.auth)
		if c.auth == "" {
			r.Header.Del("Authorization")
		}
		res, body := w.do(r)
		if res.StatusCode != c.status || res.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, `"message":"`) {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
		if c.status == 401 && (!strings.Contains(res.Header.Get("WWW-Authenticate"), "resource_metadata=") || res.Header.Get("DPoP-Nonce") == "") {
			t.Errorf("%s: challenge %q", name, res.Header["Www-Authenticate"])
		}
	}
	if res, body := w.do(w.request("GET", wellKnown+"/mail", "", nil)); res.StatusCode != 200 || !strings.Contains(body, issuer) {
		t.Errorf("metadata: %d %s", res.StatusCode, body)
	}
}

// TestScope: a token's scope narrows what is granted, and never widens it.
func TestScope(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up)
	reader := all("reader")
	w.enrol("reader")
	reader.Cedar = `permit(principal, action == Lanyard::Action::"things.read", resource);`
	w.apply(feed.Change{Grant: reader})
	for _, c := range []struct {
		name, scope, method string
		want                int
		challenge           string
	}{
		{"bot", "", "POST", 200, ""}, {"bot", "write", "POST", 200, ""}, {"bot", "read write", "POST", 200, ""}, {"bot", "read", "GET", 200, ""}, {"bot", "delete read admin", "HEAD", 200, ""},
		{"bot", "read", "POST", 403, "write"}, {"bot", "delete admin", "POST", 403, "write"}, {"bot", "write", "GET", 403, "read"},
		{"bot", "things.write writes Write", "POST", 403, "write"}, {"bot", "rea", "GET", 403, "read"}, {"bot", "READ", "GET", 403, "read"},
		{"reader", "write", "POST", 403, "write"}, {"reader", "read", "GET", 200, ""},
	} {
		claims := w.claims(c.name)
		claims.Scope = c.scope
		res, body := w.do(w.request(c.method, "/mail/x", w.mint(claims), nil))
		reached := len(up.take())
		if res.StatusCode != c.want || (reached == 1) != (c.want == 200) {
			t.Errorf("%s with scope %q, %s: %d, %d upstream, %s", c.name, c.scope, c.method, res.StatusCode, reached, body)
		}
		challenge := strings.Join(res.Header["Www-Authenticate"], "\n")
		if c.want == 403 && (!strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, ` scope="`+c.challenge+`"`)) {
			t.Errorf("%s with scope %q, %s: challenge %s", c.name, c.scope, c.method, challenge)
		}
		if limited := strings.Contains(body, "limited to the scope"); limited != (c.want == 403 && c.name == "bot") {
			t.Errorf("%s with scope %q, %s: %s", c.name, c.scope, c.method, body)
		}
	}
	if err := w.g.Close(); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.plane.recorded() {
		if e.Outcome == ledger.Refused && e.Reason == "" {
			t.Errorf("%+v", e)
		}
	}
}

func TestUpstreamFails(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/hangup":
			panic(http.ErrAbortHandler)
		case "/midway":
			rw.Header().Set("Content-Length", "100000")
			_, _ = rw.Write(make([]byte, 50000))
			panic(http.ErrAbortHandler)
		}
	}), func(c *Config) { c.Limits.Upstream = 200 * time.Millisecond })
	raw := w.mint(w.claims("bot"))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent.Close() // nobody listens there now
	w.apply(feed.Change{Upstream: &policy.Upstream{Name: "drive", URL: "http://" + silent.Addr().String(), Owner: "maya", Environment: "production", Family: "any", Version: 2}})
	down, grant := w.claims("bot"), all("bot")
	down.Audience, grant.ID, grant.Upstream = testScope+"/drive", "bot/drive", "drive"
	w.apply(feed.Change{Grant: grant})
	if res, body := w.do(w.request("POST", "/drive/x", w.mint(down), strings.NewReader("x"))); res.StatusCode != 502 || strings.Contains(body, "127.0.0.1") {
		t.Errorf("down: %d %s", res.StatusCode, body)
	}
	for path, want := range map[string]int{"/slow": 504, "/hangup": 502} {
		if res, body := w.do(w.request("GET", "/mail"+path, raw, nil)); res.StatusCode != want {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	res, err := http.DefaultClient.Do(w.request("GET", "/mail/midway", raw, nil))
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("half a response looks whole")
	}
	eventually(t, "four failures on record", func() bool {
		n := 0
		for _, e := range w.plane.recorded() {
			if e.Outcome == ledger.Failed {
				n++
			}
		}
		return n == 4
	})
}

func TestKillCutsStream(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			fmt.Fprint(rw, "data: tick\n\n")
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(time.Millisecond)
		}
	}))
	w.enrol("other")
	open := func(name string) *bufio.Reader {
		res, err := http.DefaultClient.Do(w.request("GET", "/mail/stream", w.mint(w.claims(name)), nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		b := bufio.NewReader(res.Body)
		if line, err := b.ReadString('\n'); err != nil || line != "data: tick\n" {
			t.Fatal(line, err)
		}
		return b
	}
	bot, other := open("bot"), open("other")
	old := w.mint(w.claims("bot"))
	began := time.Now()
	w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: began}})
	err := cutShort(t, bot)
	t.Logf("cut after %v", time.Since(began))
	if err == nil {
		t.Error("the stream of a killed identity ended as if it were whole")
	}
	if res, _ := w.do(w.request("GET", "/mail/x", old, nil)); res.StatusCode != 401 {
		t.Errorf("after the kill: %d", res.StatusCode)
	}
	for range 100 {
		if _, err := other.ReadString('\n'); err != nil {
			t.Fatalf("the stream of another identity: %v", err)
		}
	}
}

func TestLedgerUnavailable(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(echo), func(c *Config) { c.Limits.Events = 8 })
	raw := w.mint(w.claims("bot"))
	w.plane.down.Store(true)
	passed := 0
	status := func(method string) int {
		res, _ := w.do(w.request(method, "/mail/x", raw, nil))
		if method == "GET" && res.StatusCode == 200 {
			passed++
		}
		return res.StatusCode
	}
	if got := status("POST"); got != 503 {
		t.Errorf("a privileged call without a ledger: %d", got)
	}
	reads := 0
	for range 20 {
		if status("GET") == 200 {
			reads++
		}
	}
	if reads != 7 {
		t.Errorf("%d reads passed with room for 7", reads)
	}
	time.Sleep(5 * gather) // what was read is brought to the ledger in vain, and kept
	w.plane.down.Store(false)
	eventually(t, "it recovers", func() bool { return status("GET") == 200 && status("POST") == 200 })
	allowed := 0
	if err := w.g.Close(); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.plane.recorded() {
		if e.Outcome == ledger.Allowed && e.Class == "read" {
			allowed++
		}
	}
	if allowed != passed {
		t.Errorf("%d reads on record, %d passed", allowed, passed)
	}
}

func TestPools(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Tag", r.Header.Get("X-Tag"))
		_, _ = rw.Write([]byte(strings.Repeat(r.Header.Get("X-Tag"), 2000)))
	}))
	var wg sync.WaitGroup
	for i := range 32 {
		name := fmt.Sprintf("bot-%02d", i)
		w.enrol(name)
		raw := w.mint(w.claims(name))
		wg.Go(func() {
			for n := range 60 {
				r := w.request([]string{"GET", "HEAD", "POST"}[n%3], "/mail/x", raw, nil)
				r.Header.Set("X-Tag", name)
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				if n%4 == 0 { // hang up in the middle
					_, _ = io.CopyN(io.Discard, res.Body, 100)
					res.Body.Close()
					continue
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.Header.Get("X-Tag") != name || strings.ReplaceAll(string(b), name, "") != "" {
					t.Errorf("%s saw %q of another, %v", name, res.Header.Get("X-Tag"), err)
				}
			}
		})
	}
	wg.Wait()
}

func TestWebSocketAndTrailers(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.Copy(io.Discard, r.Body)
			rw.Header().Set("Trailer", "X-Sum, Set-Cookie")
			fmt.Fprintf(rw, "%s", r.Trailer.Get("X-In"))
			rw.Header().Set("X-Sum", "42")
			rw.Header().Set("Set-Cookie", "late=1")
			return
		}
		c, b, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(b, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		b.Flush()
		_, _ = io.Copy(c, b)
	}))
	raw := w.mint(w.claims("bot"))
	r := w.request("POST", "/mail/x", raw, io.MultiReader(strings.NewReader("body")))
	r.Trailer = http.Header{"X-In": {"in"}}
	res, body := w.do(r)
	if body != "in" || res.Trailer.Get("X-Sum") != "42" || res.Trailer.Get("Set-Cookie") != "" {
		t.Errorf("%q, trailers %v", body, res.Trailer)
	}
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "GET /mail/ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", raw)
	b := bufio.NewReader(c)
	up, err := http.ReadResponse(b, nil)
	if err != nil || up.StatusCode != 101 {
		t.Fatal(up, err)
	}
	fmt.Fprint(c, "ping\n")
	if line, err := b.ReadString('\n'); line != "ping\n" {
		t.Fatal(line, err)
	}
	w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: time.Now()}})
	if _, err := b.ReadByte(); err == nil {
		t.Error("the socket of a killed identity still talks")
	}
}

func BenchmarkGateway(b *testing.B) {
	payload := strings.Repeat("x", 1024)
	up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, payload) })
	run := func(b *testing.B, base, auth string) {
		tr := &http.Transport{MaxIdleConnsPerHost: 64}
		defer tr.CloseIdleConnections()
		b.SetParallelism(16)
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				r, _ := http.NewRequest("GET", base, nil)
				r.Header.Set("Authorization", auth)
				res, err := tr.RoundTrip(r)
				if err != nil || res.StatusCode != 200 {
					b.Error(res, err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	b.Run("bare", func(b *testing.B) {
		back := httptest.NewServer(up)
		defer back.Close()
		u, _ := url.Parse(back.URL)
		front := httptest.NewServer(&httputil.ReverseProxy{Transport: &http.Transport{MaxIdleConnsPerHost: 512}, Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(u)
			p.Out.Header.Set("Authorization", "Bearer "+canary)
		}})
		defer front.Close()
		run(b, front.URL+"/mail/x", "Bearer "+rand.Text())
	})
	b.Run("gateway", func(b *testing.B) {
		w := newWorld(b, up)
		run(b, w.front.URL+"/mail/x", "Bearer "+w.mint(w.claims("bot")))
	})
	b.Run("traced", func(b *testing.B) { // what a collector costs; without one it is nothing
		collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
		defer collector.Close()
		e, err := trace.New(collector.URL, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		defer e.Close(context.Background())
		w := newWorld(b, up, func(c *Config) { c.Trace = e })
		run(b, w.front.URL+"/mail/x", "Bearer "+w.mint(w.claims("bot")))
	})
}

// TestNoCredential: an upstream that needs none gets none, the caller's least of all.
func TestNoCredential(t *testing.T) {
	var seen http.Header
	w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Clone() }))
	w.plane.secret = func(context.Context) (feed.Secret, error) { return feed.Secret{}, nil }
	r := w.request("GET", "/mail/things/1", w.mint(w.claims("bot")), nil)
	if res, body := w.do(r); res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", res.Status, body)
	}
	if _, there := seen["Authorization"]; there || seen.Get("") != "" {
		t.Errorf("the upstream saw %v", seen)
	}
}

// TestStrangers: who has proven nothing fills neither the ledger nor the buffer, and is refused all the same.
func TestStrangers(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it reached the upstream") }))
	const n = 700
	for range n {
		if res, _ := w.do(w.request("GET", "/mail/things/1", "nonsense", nil)); res.StatusCode != http.StatusUnauthorized {
			t.Fatal(res.Status)
		}
	}
	eventually(t, "nothing is held", func() bool { return w.g.recorder.held.Load() == 0 })
	if got := len(w.plane.recorded()); got < 500 || got > 650 {
		t.Errorf("%d of %d are on record", got, n)
	}
}
