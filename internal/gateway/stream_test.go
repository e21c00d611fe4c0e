package gateway

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// within waits for c, far longer than it should take.
func within[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("never: %s", what)
	}
	return v
}

// cutShort reads to the end and returns what ended it, nil if it was whole.
func cutShort(t testing.TB, r io.Reader) error {
	t.Helper()
	end := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, r); end <- err }()
	return within(t, "the stream ends", end)
}

// TestServerSentEvents: an event arrives when it is sent, not when the response ends.
func TestServerSentEvents(t *testing.T) {
	more := make(chan struct{})
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(rw, "data: one\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-more
		fmt.Fprint(rw, "data: two\n\n")
	}))
	res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", w.mint(w.claims("bot")), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	one := make([]byte, len("data: one\n\n"))
	if _, err := io.ReadFull(res.Body, one); err != nil || string(one) != "data: one\n\n" {
		t.Fatal(string(one), err)
	}
	close(more)
	if two, err := io.ReadAll(res.Body); err != nil || string(two) != "data: two\n\n" {
		t.Fatal(string(two), err)
	}
}

// TestBigBodies: what is large goes through whole, and is never held whole.
func TestBigBodies(t *testing.T) {
	const size = 64 << 20
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if r.Method == "POST" {
			fmt.Fprintf(rw, "%d %x %v %d", n, h.Sum(nil), err, r.ContentLength)
			return
		}
		_, _ = io.CopyN(rw, pattern{}, size)
	}))
	raw := w.mint(w.claims("bot"))
	h := sha256.New()
	_, _ = io.CopyN(h, pattern{}, size)
	want := h.Sum(nil)
	w.do(w.request("GET", "/mail/small", raw, nil)) // what is made once is not counted
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, length := range []int64{size, -1} {
		r := w.request("POST", "/mail/x", raw, io.LimitReader(pattern{}, size))
		r.ContentLength = length
		if _, body := w.do(r); body != fmt.Sprintf("%d %x <nil> %d", size, want, length) {
			t.Errorf("up: %s", body)
		}
	}
	res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", raw, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	h.Reset()
	if n, err := io.Copy(h, res.Body); n != size || err != nil || string(h.Sum(nil)) != string(want) {
		t.Errorf("down: %d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size/2 {
		t.Errorf("%d MiB allocated for three bodies of %d MiB", got>>20, size>>20)
	}
}

// pattern is endless.
type pattern struct{}

func (pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i * 7)
	}
	return len(b), nil
}

// dial opens a connection to the gateway and sends what begins a request.
func (w *world) dial(head string) (net.Conn, *bufio.Reader) {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, head)
	return c, bufio.NewReader(c)
}

// TestBothWaysAtOnce: the answer may begin before the request has ended.
func TestBothWaysAtOnce(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(rw)
		_ = c.EnableFullDuplex()
		if r.URL.Path == "/full" {
			http.Error(rw, "full", http.StatusRequestEntityTooLarge)
			return
		}
		for b := bufio.NewReader(r.Body); ; {
			line, err := b.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(rw, "you said %s", line)
			_ = c.Flush()
		}
	}))
	raw := w.mint(w.claims("bot"))
	head := "POST /mail/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + raw + "\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n"
	c, b := w.dial(fmt.Sprintf(head, "talk"))
	res, err := http.ReadResponse(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	body := bufio.NewReader(res.Body)
	for _, say := range []string{"two", "three", ""} {
		line, err := body.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "you said ") {
			t.Fatal(line, err)
		}
		if say != "" {
			fmt.Fprintf(c, "%x\r\n%s\n\r\n", len(say)+1, say)
		}
	}
	fmt.Fprint(c, "0\r\n\r\n")
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Fatalf("%q, %v", rest, err)
	}
	_, b = w.dial(fmt.Sprintf(head, "full")) // and goes on with nothing
	if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatalf("an answer before the end of the request: %v, %v", res, err)
	}
}

// TestExpect: who is refused is not asked for the body.
func TestExpect(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(echo))
	head := "POST /mail/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	_, b := w.dial(fmt.Sprintf(head, "x.y.z"))
	if line, err := b.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 401") {
		t.Errorf("%q, %v", line, err)
	}
	c, b := w.dial(fmt.Sprintf(head, w.mint(w.claims("bot"))))
	if line, err := b.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("%q, %v", line, err)
	}
	fmt.Fprint(c, "hello")
	_, _ = b.ReadString('\n') // the end of the interim response
	if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != 200 {
		t.Errorf("%v, %v", res, err)
	}
}

// ticking is an upstream that talks until it is left.
func ticking(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/event-stream")
	for r.Context().Err() == nil {
		fmt.Fprint(rw, "data: tick\n")
		_ = http.NewResponseController(rw).Flush()
		time.Sleep(time.Millisecond)
	}
}

// TestStopCutsStream pulls away, one after the other, everything that a running
// stream stands on. The stream ends; one that does not stand on it goes on.
func TestStopCutsStream(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(ticking))
	w.enrol("other")
	drive := all("other")
	drive.ID, drive.Upstream = "other/drive", "drive"
	w.apply(feed.Change{Grant: drive})
	elsewhere := w.claims("other")
	elsewhere.Audience = testScope + "/drive"
	open := func(path string, c token.Claims) *bufio.Reader {
		res, err := http.DefaultClient.Do(w.request("GET", path, w.mint(c), nil))
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return bufio.NewReader(res.Body)
	}
	goesOn := func(name string, b *bufio.Reader) {
		t.Helper()
		for range 30 {
			if _, err := b.ReadString('\n'); err != nil {
				t.Fatalf("%s: a stream that does not stand on it was cut: %v", name, err)
			}
		}
	}
	identityIn := func(state identity.State) feed.Change {
		return feed.Change{Identity: &identity.Identity{ID: id("bot"), Owner: "maya", Purpose: "tests", Environment: "production", State: state, Expires: time.Now().Add(time.Hour)}}
	}
	upstream := func(url string) *policy.Upstream {
		return &policy.Upstream{Name: "mail", URL: url, Owner: "maya", Environment: "production", Family: "any", WebSocket: true, Version: 2}
	}
	classed := upstream(w.back.URL)
	classed.Classes = map[string]policy.Class{"things.read": policy.Admin}
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "no-admin", Cedar: `forbid(principal, action in Lanyard::Action::"admin", resource);`}})
	ended, weak := all("bot"), all("bot")
	weak.Cedar = `permit(principal, action == Lanyard::Action::"things.write", resource);`
	forbid := &policy.Guardrail{ID: "no-bots", Cedar: `forbid(principal, action, resource) when { principal.name == "bot" };`}
	mine := w.claims("bot")
	by := open("/drive/x", elsewhere)
	scoped := w.claims("bot")
	scoped.Scope = "read"
	reading := open("/mail/x", scoped)
	w.apply(feed.Change{Upstream: upstream(w.back.URL)}) // another version, of which all is as it was
	goesOn("another version", reading)
	written := upstream(w.back.URL)
	written.Classes = map[string]policy.Class{"things.*": policy.Write}
	w.apply(feed.Change{Upstream: written})
	if cutShort(t, reading) == nil {
		t.Error("a token for reading alone goes on with what is a write now")
	}
	if res, _ := w.do(w.request("GET", "/mail/x", w.mint(scoped), nil)); res.StatusCode != 403 {
		t.Errorf("the next call got %d", res.StatusCode)
	}
	w.apply(feed.Change{Upstream: upstream(w.back.URL)})
	for _, c := range []struct {
		name       string
		stop, undo feed.Change
		then       int
	}{
		{"token revoked", feed.Change{Token: &feed.TokenRevocation{ID: mine.ID, Expires: mine.Expires}}, feed.Change{}, 401},
		{"suspended", identityIn(identity.Suspended), identityIn(identity.Active), 401},
		{"grant removed", feed.Change{Grant: all("bot"), Removed: true}, feed.Change{Grant: all("bot")}, 403},
		{"grant shortened", feed.Change{Grant: ended}, feed.Change{Grant: all("bot")}, 403},
		{"grant narrowed", feed.Change{Grant: weak}, feed.Change{Grant: all("bot")}, 403},
		{"guardrail", feed.Change{Guardrail: forbid}, feed.Change{Guardrail: forbid, Removed: true}, 403},
		{"class overruled", feed.Change{Upstream: classed}, feed.Change{Upstream: upstream(w.back.URL)}, 403},
		{"upstream killed", feed.Change{Kill: &feed.Kill{ID: "kill_mail", Upstream: "mail", At: time.Now()}}, feed.Change{Upstream: upstream(w.back.URL)}, 403},
		{"upstream removed", feed.Change{Upstream: upstream(w.back.URL), Removed: true}, feed.Change{Upstream: upstream(w.back.URL)}, 404},
		{"credential revoked", feed.Change{Credential: &identity.Credential{ID: "cred_bot", Identity: id("bot"), Kind: identity.PrivateKeyJWT, Thumbprint: "t-bot", Expires: time.Now().Add(time.Hour), Revoked: time.Now()}},
			feed.Change{Credential: &identity.Credential{ID: "cred_bot", Identity: id("bot"), Kind: identity.PrivateKeyJWT, Thumbprint: "t-bot", Expires: time.Now().Add(time.Hour)}}, 401},
		{"killed", feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: time.Now()}}, feed.Change{}, 401},
	} {
		b := open("/mail/x", mine)
		goesOn(c.name, b)
		w.apply(feed.Change{Grant: &policy.Grant{ID: "bot/more", Identity: id("bot"), Upstream: "mail", Cedar: `permit(principal, action, resource) when { context.source == "never" };`, Until: time.Now().Add(time.Hour)}})
		goesOn(c.name+", before it", b)
		began := time.Now()
		ended.Until = began // later than the stream
		w.apply(c.stop)
		if cutShort(t, b) == nil {
			t.Errorf("%s: the stream ended as if it were whole", c.name)
		}
		t.Logf("%s: cut after %v", c.name, time.Since(began))
		if res, body := w.do(w.request("GET", "/mail/x", w.mint(mine), nil)); res.StatusCode != c.then {
			t.Errorf("%s: the next call got %d %s", c.name, res.StatusCode, body)
		}
		goesOn(c.name, by)
		if c.undo != (feed.Change{}) {
			w.apply(c.undo)
		}
		mine = w.claims("bot")
	}
	eventually(t, "every cut on record, with why", func() bool {
		n := 0
		for _, e := range w.plane.recorded() {
			if e.Outcome == ledger.Failed && e.Actor == id("bot").String() && e.Reason != "" && !strings.Contains(e.Reason, "hung up") {
				n++
			}
		}
		return n == 12
	})
}

// TestKillCutsWhatDoesNotMove: neither a side that is silent nor one that does
// not read keeps a request alive.
func TestKillCutsWhatDoesNotMove(t *testing.T) {
	began, left := make(chan string, 3), make(chan string, 3)
	var written atomic.Int64
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began <- r.URL.Path
		switch r.URL.Path {
		case "/silent":
			<-r.Context().Done()
		case "/deaf":
			for r.Context().Err() == nil {
				n, _ := rw.Write(make([]byte, 1<<16))
				written.Add(int64(n))
			}
		case "/upload":
			_, _ = io.Copy(io.Discard, r.Body)
		}
		left <- r.URL.Path
	}))
	w.g.Limits.Told = time.Second // a busy machine takes its time
	raw := w.mint(w.claims("bot"))
	head := " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + raw + "\r\n"
	_, silent := w.dial("GET /mail/silent" + head + "\r\n")
	w.dial("GET /mail/deaf" + head + "\r\n")
	w.dial("POST /mail/upload" + head + "Content-Length: 100\r\n\r\nhalf")
	for range 3 {
		within(t, "the upstream is reached", began)
	}
	var last int64
	eventually(t, "the deaf one's pipe is full", func() bool {
		before := last
		time.Sleep(50 * time.Millisecond)
		last = written.Load()
		return last > 0 && last == before
	})
	w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: time.Now()}})
	for range 3 {
		within(t, "the upstream is left", left)
	}
	if res, err := http.ReadResponse(silent, nil); err != nil || res.StatusCode != 401 {
		t.Errorf("who waited is told: %v, %v", res, err)
	}
	eventually(t, "nothing runs", func() bool { return w.g.streams.running() == 0 })
}

// TestStopBetween: what changes after the decision and before the request goes
// on is seen, because it is asked again.
func TestStopBetween(t *testing.T) {
	for name, stop := range map[string]feed.Change{
		"killed":    {Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: time.Now()}},
		"upstream":  {Kill: &feed.Kill{ID: "kill_1", Upstream: "mail", At: time.Now()}},
		"grant":     {Grant: all("bot"), Removed: true},
		"guardrail": {Guardrail: &policy.Guardrail{ID: "none", Cedar: `forbid(principal, action, resource);`}},
	} {
		t.Run(name, func(t *testing.T) {
			up := &seen{}
			w := newWorld(t, up)
			w.plane.secret = func(context.Context) (feed.Secret, error) { // asked for between decide and forward
				w.apply(stop)
				return feed.Secret{Header: "Authorization", Value: "Bearer " + canary}, nil
			}
			if res, body := w.do(w.request("GET", "/mail/x", w.mint(w.claims("bot")), nil)); res.StatusCode < 400 || len(up.take()) > 0 {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
}

// TestIntentFirst: while the intent is not durable, nothing is sent; a read does not wait for it.
func TestIntentFirst(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up)
	raw := w.mint(w.claims("bot"))
	hung := make(chan struct{})
	w.plane.hung.Store(&hung)
	done := make(chan int)
	write := w.request("POST", "/mail/x", raw, strings.NewReader("x"))
	go func() { res, _ := w.do(write); done <- res.StatusCode }()
	if res, _ := w.do(w.request("GET", "/mail/x", raw, nil)); res.StatusCode != 200 || len(up.take()) != 1 {
		t.Errorf("a read while the ledger hangs: %d", res.StatusCode)
	}
	eventually(t, "the write is known as running", func() bool { return w.g.streams.running() == 1 })
	time.Sleep(20 * time.Millisecond)
	if r := up.take(); len(r) > 0 {
		t.Errorf("%s was sent before its intent was durable", r[0].Method)
	}
	w.plane.hung.Store(nil)
	close(hung)
	if got := within(t, "the write is answered", done); got != 200 || len(up.take()) != 1 {
		t.Errorf("%d", got)
	}
	eventually(t, "intent and outcome of the write", func() bool {
		var ids []string
		for _, e := range w.plane.recorded() {
			if e.Class == "write" {
				ids = append(ids, e.Request, string(e.Outcome), e.ID)
			}
		}
		return len(ids) == 6 && ids[0] == ids[3] && ids[1] == string(ledger.Pending) && ids[4] == string(ledger.Allowed) && ids[2] != ids[5]
	})
}

// TestLedgerHangs: a ledger that does not answer is one that cannot be written.
func TestLedgerHangs(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up, func(c *Config) { c.Limits.Record = 100 * time.Millisecond })
	raw := w.mint(w.claims("bot"))
	w.do(w.request("GET", "/mail/x", raw, nil))
	up.take()
	hung := make(chan struct{})
	w.plane.hung.Store(&hung)
	for range 3 {
		if res, body := w.do(w.request("POST", "/mail/x", raw, nil)); res.StatusCode != 503 || !strings.Contains(body, "must be recorded first") || res.Header.Get("Retry-After") == "" {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	}
	if r := up.take(); len(r) > 0 {
		t.Errorf("%d requests were sent without a record", len(r))
	}
	if n := w.plane.intents.Load(); n != 1 {
		t.Errorf("%d of 3 waited for a ledger that is known not to answer", n)
	}
	w.plane.hung.Store(nil)
	close(hung)
	eventually(t, "it recovers", func() bool {
		res, _ := w.do(w.request("POST", "/mail/x", raw, nil))
		return res.StatusCode == 200
	})
}

// TestReadSoonOnRecord: a read that goes on for long is in the ledger while it still
// runs, and again at its end. How soon is logged, not held.
func TestReadSoonOnRecord(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(ticking))
	write, err := http.DefaultClient.Do(w.request("POST", "/mail/write", w.mint(w.claims("bot")), nil))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the intent", func() bool { return len(w.plane.recorded()) == 1 })
	time.Sleep(150 * time.Millisecond)
	write.Body.Close()
	eventually(t, "a write is on record twice, however long it takes", func() bool { return len(w.plane.recorded()) == 2 })
	w.plane.forget()
	res, err := http.DefaultClient.Do(w.request("GET", "/mail/long", w.mint(w.claims("bot")), nil))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "a running read is on record", func() bool { return len(w.plane.recorded()) == 1 })
	t.Logf("on record after %v", time.Since(began))
	e := w.plane.recorded()[0]
	if e.Outcome != ledger.Pending || e.Action != "things.read" || e.Actor != id("bot").String() || e.Resource != "long" {
		t.Errorf("%+v", e)
	}
	time.Sleep(150 * time.Millisecond)
	res.Body.Close()
	eventually(t, "its end is on record too", func() bool { return len(w.plane.recorded()) == 2 })
	if end := w.plane.recorded()[1]; end.Request != e.Request || end.ID == e.ID || end.Outcome == ledger.Pending {
		t.Errorf("%+v", end)
	}
}

// TestCredentialNotToBeHad: a broker that hangs costs every caller one wait, not one after another.
func TestCredentialNotToBeHad(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up, func(c *Config) { c.Limits.Record = 100 * time.Millisecond })
	w.plane.secret = func(ctx context.Context) (feed.Secret, error) {
		<-ctx.Done()
		return feed.Secret{}, errors.New("the broker says " + rand.Text())
	}
	raw := w.mint(w.claims("bot"))
	done := make(chan string)
	for range 20 {
		r := w.request("GET", "/mail/x", raw, nil)
		go func() {
			res, body := w.do(r)
			done <- fmt.Sprint(res.StatusCode, strings.Contains(body, "broker"))
		}()
	}
	for range 20 {
		if got := within(t, "an answer", done); got != "503 false" {
			t.Error(got)
		}
	}
	if n := w.plane.asked.Load(); n > 5 {
		t.Errorf("asked %d times in a row", n)
	}
	if len(up.take()) > 0 {
		t.Error("sent without a credential")
	}
}

// TestUpstreamMoves: what an upstream is now counts for the next request, its credential too.
func TestUpstreamMoves(t *testing.T) {
	first, second := &seen{}, &seen{}
	w := newWorld(t, first)
	next := httptest.NewServer(second)
	defer next.Close()
	raw := w.mint(w.claims("bot"))
	for range 3 {
		w.do(w.request("GET", "/mail/x", raw, nil))
	}
	if n := w.plane.asked.Load(); n != 1 || len(first.take()) != 3 {
		t.Errorf("asked %d times for one credential", n)
	}
	w.plane.secret = func(context.Context) (feed.Secret, error) {
		return feed.Secret{Header: "x-api-key", Value: canary}, nil
	}
	u, _ := w.view.Upstream("mail")
	moved := *u
	moved.URL, moved.Version = next.URL, 2
	w.apply(feed.Change{Upstream: &moved})
	r := w.request("GET", "/mail/x", raw, nil)
	r.Header["X-Api-Key"], r.Header["X_api_key"], r.Header["X-API-KEY"] = []string{"evil", "evil"}, []string{"evil"}, []string{"evil"}
	w.do(r)
	got := second.take()
	if len(got) != 1 || len(first.take()) != 0 {
		t.Fatalf("%d requests at the new place", len(got))
	}
	if key := got[0].Header["X-Api-Key"]; len(key) != 1 || key[0] != canary || got[0].Header["X_api_key"] != nil || got[0].Header["Authorization"] != nil {
		t.Errorf("upstream saw %v", got[0].Header)
	}
	r = w.request("POST", "/mail/x", raw, io.MultiReader(strings.NewReader("x")))
	r.Trailer = http.Header{"X-Api-Key": {"evil"}}
	if res, _ := w.do(r); res.StatusCode != 400 || len(second.take()) > 0 {
		t.Errorf("the credential's name as a trailer: %d", res.StatusCode)
	}
}

// TestChain: on behalf of another, an agent may do what both may, for as long as both stand.
func TestChain(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(ticking))
	w.enrol("boss")
	grant := all("boss")
	c := w.claims("bot")
	c.Chain = identity.Chain{{ID: id("bot")}, {ID: id("boss")}}
	open := func() *http.Response {
		res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", w.mint(c), nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	grant.Cedar = `permit(principal, action == Lanyard::Action::"things.write", resource);`
	w.apply(feed.Change{Grant: grant})
	if res := open(); res.StatusCode != 403 {
		t.Errorf("what the second may not: %d", res.StatusCode)
	}
	grant.Cedar, grant.Record = `permit(principal, action, resource);`, "before"
	w.apply(feed.Change{Grant: grant})
	w.plane.down.Store(true)
	if res := open(); res.StatusCode != 503 {
		t.Errorf("the second's reads are recorded first: %d", res.StatusCode)
	}
	w.plane.down.Store(false)
	eventually(t, "it recovers", func() bool { return !w.g.recorder.failing.Load() })
	for _, stop := range []feed.Change{{Grant: grant, Removed: true}, {Kill: &feed.Kill{ID: "kill_1", Identities: ids("boss"), At: time.Now()}}} {
		w.apply(feed.Change{Grant: grant})
		res := open()
		if res.StatusCode != 200 {
			t.Fatalf("what both may: %d", res.StatusCode)
		}
		w.apply(stop)
		if cutShort(t, res.Body) == nil {
			t.Errorf("the stream ended as if it were whole after %+v", stop)
		}
	}
}
