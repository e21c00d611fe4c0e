package fault

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/patterns"
	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/feed/feedtest"
	"github.com/lanyard-dev/lanyard/internal/gateway"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/journal"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// A gateway in a process of its own: this test binary, which plays its control plane, too.
// The child follows a feed of its own; what it acknowledges and records goes over HTTP.

// afar is the control plane as the child sees it.
type afar struct {
	*feedtest.Memory
	url string
}

func (a afar) post(ctx context.Context, path string, in any) (string, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", a.url+path, bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != 200 {
		err = errors.New(res.Status)
	}
	return string(answer), err
}

func (a afar) Ack(ctx context.Context, at feed.Cursor) (time.Duration, error) {
	answer, err := a.post(ctx, "/ack", at)
	if err != nil {
		return 0, err
	}
	return time.ParseDuration(answer)
}

func (a afar) Record(ctx context.Context, events []ledger.Event) error {
	_, err := a.post(ctx, "/record", events)
	return err
}

// runGateway is the child. It says where it is and with which token it may be asked, and ends with SIGTERM.
func runGateway(dir, url string) error {
	box, err := gatewayBox()
	if err != nil {
		return err
	}
	key, err := token.NewKey(rand.Reader, time.Now().Add(-time.Hour))
	if err != nil {
		return err
	}
	signer, err := token.NewSigner(key)
	if err != nil {
		return err
	}
	var served atomic.Int64
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, served.Add(1)) }))
	defer back.Close()
	src, bot, until := afar{feedtest.NewMemory("e"), url}, identity.MustID("spiffe://lanyard.local/agent/bot"), time.Now().Add(time.Hour)
	for _, c := range []feed.Change{
		{Keys: &feed.Keys{JWKS: signer.JWKS()}},
		{Owner: &identity.Owner{ID: "maya", Name: "Maya", State: identity.OwnerActive}},
		{Upstream: &policy.Upstream{Name: "mail", URL: back.URL, Owner: "maya", Environment: "production", Family: "patterns", Version: 1,
			Description: []byte("GET /x/{id} -> x.read read /x/{id}\nPOST /x/{id} -> x.write write /x/{id}")}},
		{Identity: &identity.Identity{ID: bot, Owner: "maya", Environment: "production", State: identity.Active, Expires: until}},
		{Credential: &identity.Credential{ID: "cred", Identity: bot, Kind: identity.PrivateKeyJWT, Thumbprint: "t", Expires: until}},
		{Grant: &policy.Grant{ID: "bot/all", Identity: bot, Upstream: "mail", Actions: []string{"read", "write"}, Cedar: "permit (principal, action, resource);", Until: until}},
	} {
		src.Put(c)
	}
	view := feed.NewView()
	view.Lease = feed.NewLease(feed.BootClock)
	sealer := journal.Sealer{Seal: box.Seal, Unseal: box.Unseal}
	spool, err := gateway.OpenSpool(filepath.Join(dir, "spool"), "gw", 4<<20, sealer)
	if err != nil {
		return err
	}
	const public = "http://gateway.test"
	g, err := gateway.New(gateway.Config{Name: "gw", URL: public, Issuer: "http://issuer.test", Source: src, View: view, Spool: spool,
		Families: []connector.Family{patterns.Family()}, Now: time.Now, Rand: rand.Reader, Limits: gateway.Limits{Record: time.Second, Drain: 20 * time.Second}})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go feed.Follow(ctx, src, view, func(error) {})
	front := httptest.NewServer(g)
	raw, err := signer.Mint(token.Claims{ID: "tok_1", Issuer: "http://issuer.test", Chain: identity.Alone(bot, 0), Client: bot.String(), Audience: public + "/mail",
		Issued: time.Now(), Expires: time.Now().Add(10 * time.Minute), Owner: "maya", Credential: "cred"})
	if err != nil {
		return err
	}
	fmt.Println(front.URL, raw)
	<-ctx.Done()
	front.Close()
	return g.Close()
}

// far is the control plane: a ledger, and how well it can be reached.
type far struct {
	*testing.T
	db     *store.DB
	server *httptest.Server
	down   atomic.Bool // nothing is recorded
	deaf   atomic.Bool // nothing is acknowledged
	lease  time.Duration
}

func newFar(t *testing.T, lease time.Duration) *far {
	box, err := seal.New()
	if err != nil {
		t.Fatal(err)
	}
	f := &far{T: t, lease: lease}
	f.db, err = store.Open(t.Context(), store.Config{Dir: filepath.Join(scratch(t), "d"), Now: time.Now, Rand: rand.Reader, Seal: box, Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.db.Close() })
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ack":
			if f.deaf.Load() {
				http.Error(w, "no", http.StatusServiceUnavailable)
				return
			}
			io.WriteString(w, f.lease.String())
		case "/record":
			var events []ledger.Event
			err := json.NewDecoder(r.Body).Decode(&events)
			if f.down.Load() {
				err = errors.New("down")
			}
			if err == nil {
				err = f.db.Record(r.Context(), events)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			} else if mathrand.IntN(10) == 0 { // it is there, and the answer is lost
				panic(http.ErrAbortHandler)
			}
		}
	}))
	t.Cleanup(f.server.Close)
	return f
}

// child is a gateway that runs.
type child struct {
	*exec.Cmd
	url, token string
}

func (f *far) begin(dir string) *child {
	f.Helper()
	c := &child{Cmd: exec.Command(os.Args[0])}
	c.Env = append(os.Environ(), "LANYARD_FAULT_WRITER=gateway", "LANYARD_FAULT_DIR="+dir, "LANYARD_FAULT_PREFIX="+f.server.URL)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Process.Kill(); c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, e := fmt.Sscan(line, &c.url, &c.token); err != nil || e != nil {
		f.Fatalf("%q %v", line, err)
	}
	c.passes(f.T, "GET", "ready")
	return c
}

// passes asks until a request passes.
func (c *child) passes(t *testing.T, method, name string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if status, body := c.ask(method, name); status == 200 {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%s never passes: %d %s", name, status, body)
		}
	}
}

// stop stops all threads of the child.
func (c *child) stop(t *testing.T) {
	c.Process.Signal(syscall.SIGSTOP)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.Process.Pid))
		running := 0
		for _, name := range stats {
			if b, err := os.ReadFile(name); err == nil && !bytes.Contains(b, []byte(") T ")) {
				running++
			}
		}
		if len(stats) > 0 && running == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it does not stop")
		}
	}
}

// ask sends one request; status 0 is no answer.
func (c *child) ask(method, name string) (status int, body string) {
	r, err := http.NewRequest(method, c.url+"/mail/x/"+name, nil)
	if err != nil {
		return 0, ""
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, ""
	}
	return res.StatusCode, string(b)
}

// check holds the ledger against the history: each request that was answered has its intent, once, and the ledger verifies.
func (f *far) check(passed map[string]bool) {
	f.Helper()
	intents := map[string]int{}
	ids := map[string]bool{}
	for leaf, err := range f.db.Leaves(f.Context(), f.db.Size()) {
		if err != nil {
			f.Fatal(err)
		}
		e, err := ledger.Parse(leaf)
		if err != nil {
			f.Fatal(err)
		}
		if ids[e.ID] {
			f.Errorf("event %s is there twice", e.ID)
		}
		if ids[e.ID] = true; e.Outcome == ledger.Pending {
			intents[path.Base(e.Resource)]++
		}
	}
	lost := 0
	for name := range passed {
		if intents[name] != 1 {
			lost++
			f.Logf("%s was let pass, and has %d intents", name, intents[name])
		}
	}
	if lost > 0 {
		f.Errorf("%d of %d", lost, len(passed))
	}
	if r, err := f.db.Verify(f.Context()); err != nil {
		f.Errorf("the ledger: %+v %v", r, err)
	}
	f.Logf("%d requests passed, %d events", len(passed), len(ids))
}

// load asks for writes from several sides until it is stopped, and returns what passed.
func (c *child) load(prefix string, stop *atomic.Bool, passed map[string]bool, mu *sync.Mutex, all *sync.WaitGroup) {
	for by := range 4 {
		all.Go(func() {
			for i := 0; !stop.Load(); i++ {
				name := fmt.Sprintf("%s-%d-%d", prefix, by, i)
				if status, _ := c.ask("POST", name); status == 200 {
					mu.Lock()
					passed[name] = true
					mu.Unlock()
				}
			}
		})
	}
}

// TestSpoolKilled: kill -9 at any moment, with a control plane that comes and goes, loses no event of a request that was let pass.
func TestSpoolKilled(t *testing.T) {
	t.Parallel()
	f, dir := newFar(t, 10*time.Second), scratch(t)
	passed, mu := map[string]bool{}, &sync.Mutex{}
	over := make(chan struct{})
	var flips sync.WaitGroup
	flips.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(mathrand.IntN(80)) * time.Millisecond):
				f.down.Store(!f.down.Load())
			}
		}
	})
	for round := range rounds(t, 20) {
		c := f.begin(dir)
		stop, all := &atomic.Bool{}, &sync.WaitGroup{}
		c.load(fmt.Sprint(round), stop, passed, mu, all)
		time.Sleep(time.Duration(50+mathrand.IntN(250)) * time.Millisecond)
		c.Process.Kill()
		stop.Store(true)
		all.Wait()
		c.Wait()
	}
	close(over)
	flips.Wait()
	f.down.Store(false)
	last := f.begin(dir)
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // one that closes gives up at the first failure
		left, _ := filepath.Glob(filepath.Join(dir, "spool", "*.events*"))
		if len(left) == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("left in the spool: %v", left)
		}
	}
	last.Process.Signal(syscall.SIGTERM)
	if code := ended(t, last.Cmd, 30*time.Second); code != 3 { // how a writer ends
		t.Errorf("exit %d", code)
	}
	if len(passed) == 0 {
		t.Error("nothing passed")
	}
	f.check(passed)
}

// TestSpoolDiskFull: on a full disk what must be recorded first is refused, nothing that passed is lost, and it goes on by itself.
func TestSpoolDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		cannot(t, errors.New("mounting needs root"))
	}
	f, dir := newFar(t, 10*time.Second), scratch(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		cannot(t, fmt.Errorf("no tmpfs here: %w", err))
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	c := f.begin(dir)
	f.down.Store(true)
	passed := map[string]bool{}
	for i := 0; ; i++ {
		name := fmt.Sprint("full-", i)
		status, body := c.ask("POST", name)
		if status == 503 && strings.Contains(body, "must be recorded first") {
			break
		}
		if status != 200 || i > 5000 {
			t.Fatalf("%d: %d %s", i, status, body)
		}
		passed[name] = true
	}
	f.down.Store(false)
	c.passes(t, "POST", "again")
	c.Process.Signal(syscall.SIGTERM)
	ended(t, c.Cmd, 30*time.Second)
	if len(passed) < 10 {
		t.Errorf("%d passed", len(passed))
	}
	f.check(passed)
}

// TestStopped: a process that was stopped for longer than its lease refuses the first request it takes, and goes on when it is heard.
func TestStopped(t *testing.T) {
	t.Parallel()
	f := newFar(t, time.Second)
	c := f.begin(scratch(t))
	for round := range rounds(t, 5) {
		c.passes(t, "POST", fmt.Sprint("before-", round))
		f.deaf.Store(true) // what is renewed after it goes on is not what is asked here
		c.stop(t)
		answer := make(chan string, 1)
		go func() { // it lies in the kernel when the process goes on
			status, body := c.ask("POST", fmt.Sprint("first-", round))
			answer <- fmt.Sprint(status, " ", body)
		}()
		time.Sleep(1500 * time.Millisecond)
		c.Process.Signal(syscall.SIGCONT)
		if got := <-answer; !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "urn:lanyard:problem:lease") {
			t.Errorf("round %d: %s", round, got)
		}
		f.deaf.Store(false)
		c.passes(t, "GET", "after")
	}
}

// TestCutOff: a gateway that is not heard serves no longer than its lease, by the clock of who cut it off, and nothing runs on.
func TestCutOff(t *testing.T) {
	t.Parallel()
	const lease = time.Second
	f := newFar(t, lease)
	c := f.begin(scratch(t))
	f.deaf.Store(true)
	cut := time.Now()
	var last time.Time
	for time.Since(cut) < 2*lease {
		begun := time.Now()
		if status, _ := c.ask("POST", "x"); status == 200 {
			last = begun
		}
	}
	if last.IsZero() {
		t.Error("nothing passed after it was cut off, so nothing shows when that ended")
	} else if served := last.Sub(cut); served > lease {
		t.Errorf("it served for %s", served)
	} else {
		t.Logf("the last request that passed began %s after it was cut off", served)
	}
}
