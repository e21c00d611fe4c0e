package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// raw sends bytes as they are and returns what comes back until the other side closes, or a while has passed.
func (p *plane) raw(text string, wait time.Duration) (answer string, closed bool) {
	p.Helper()
	c, err := net.Dial("tcp", p.network.Listener.Addr().String())
	if err != nil {
		p.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		p.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(wait))
	b, err := io.ReadAll(c)
	return string(b), err == nil
}

// TestSmuggled: no spelling of a request gets past the guard, and none names its operator.
func TestSmuggled(t *testing.T) {
	p := start(t)
	p.settle()
	size := p.Store.Size()
	const names = "Lanyard-Operator: operator:admin\r\nlanyard_operator: operator:admin\r\nLANYARD-OPERATOR: operator:admin\r\n"
	for _, line := range []string{
		"GET /v1/identities", "GET /v1//identities", "GET //v1/identities", "GET /v1/./identities", "GET /openapi.json/../v1/identities", "GET /openapi.json/%2e%2e/v1/identities",
		"GET /%761/identities", "GET /v1%2fidentities", "GET /V1/identities", "GET /v1/identities/", "HEAD /v1/identities", "DELETE /v1/identities/bot/grants/read", "OPTIONS /v1/kill",
		"CONNECT /v1/identities", "GET http://x/v1/identities", "GET /v1/ledger/tail", "TRACE /v1/identities",
	} {
		answer, _ := p.raw(line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-HTTP-Method-Override: DELETE\r\nX-Original-URL: /v1/identities\r\nX-Forwarded-For: local:root\r\n"+names+"\r\n", 3*time.Second)
		if strings.Contains(answer, "maya") || !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 3") {
			t.Errorf("%s: %s", line, answer)
		}
	}
	two := "GET /v1/identities HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + p.token + "\r\nAuthorization: Bearer " + p.token + "\r\n\r\n"
	if answer, _ := p.raw(two, 3*time.Second); !strings.HasPrefix(answer, "HTTP/1.1 401") {
		t.Errorf("two Authorizations: %s", answer)
	}
	if p.Store.Size() != size {
		t.Errorf("something was done: %+v", p.last())
	}
	status, answer := p.ask("GET", "/v1/identities/bot", "", "X-HTTP-Method-Override", "DELETE", "X-Method-Override", "DELETE")
	if status != 200 || !strings.Contains(answer, "maya") {
		t.Errorf("%d %s", status, answer)
	}
}

// TestOldAdminToken: making a new one kills the one before, and is on record without it.
func TestOldAdminToken(t *testing.T) {
	p := start(t)
	old := p.token
	fresh, err := p.NewAdminToken(t.Context(), registry.Actor{Name: "operator:local:root"})
	if err != nil {
		t.Fatal(err)
	}
	if e := p.last(); e.Type != "admin.token" || e.Actor != "operator:local:root" {
		t.Errorf("%+v", e)
	}
	if status, _ := p.ask("GET", "/v1/status", ""); status != http.StatusUnauthorized {
		t.Errorf("the old token: %d", status)
	}
	p.token = fresh
	if leaves := p.must("GET", "/v1/ledger/export", ""); strings.Contains(leaves, fresh) || strings.Contains(leaves, old) {
		t.Error("a token is in the ledger")
	}
}

// TestUnknownPlace: what is not there is a problem, too, and says what is.
func TestUnknownPlace(t *testing.T) {
	p := start(t)
	for _, c := range []struct {
		method, path  string
		status        int
		says, allowed string
	}{
		{"GET", "/v1/nothing", 404, "/openapi.json", ""},
		{"GET", "/v1/", 404, "/openapi.json", ""},
		{"GET", "/v1/identities/", 404, "/openapi.json", ""},
		{"PATCH", "/v1/identities/bot", 405, "GET, PUT", "GET, PUT"},
		{"GET", "/v1/kill", 405, "POST", "POST"},
	} {
		req, _ := http.NewRequest(c.method, p.network.URL+c.path, nil)
		req.Header.Set("Authorization", "Bearer "+p.token)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		var told Problem
		err = json.NewDecoder(res.Body).Decode(&told)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || told.Status != c.status || !strings.Contains(told.Detail, c.says) || res.Header.Get("Allow") != c.allowed || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %s %+v %v %v", c.method, c.path, res.Status, told, res.Header, err)
		}
	}
}

// TestStrictBody: a body means one thing, or nothing is done.
func TestStrictBody(t *testing.T) {
	p := start(t)
	p.settle()
	size := p.Store.Size()
	for name, body := range map[string]string{
		"a member twice":        `{"all":true,"reason":"x","dry_run":true,"dry_run":false}`,
		"a twin in other case":  `{"all":true,"reason":"x","dry_run":true,"Dry_Run":false}`,
		"another case":          `{"all":true,"reason":"x","DRY_RUN":true}`,
		"no UTF-8":              "{\"all\":true,\"reason\":\"\xff\"}",
		"more after the end":    `{"all":true,"reason":"x"}{}`,
		"an unknown member":     `{"all":true,"reason":"x","hurry":true}`,
		"a list":                `[{"all":true,"reason":"x"}]`,
		"null":                  `null`,
		"nested without end":    strings.Repeat("[", 200000),
		"a number for a string": `{"all":true,"reason":7}`,
	} {
		if status, answer := p.ask("POST", "/v1/kill", body); status != 400 && status != 422 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/cbor"} {
		if status, answer := p.ask("POST", "/v1/kill", `{"all":true,"reason":"x"}`, "Content-Type", kind); status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %d %s", kind, status, answer)
		}
	}
	if status, answer := p.ask("POST", "/v1/children", `{"name":"`+strings.Repeat("x", 256<<10)+`"}`); status != http.StatusRequestEntityTooLarge || len(answer) > 2000 {
		t.Errorf("a huge body: %d, %d bytes", status, len(answer))
	}
	for _, body := range []string{`{"url":"http://x","credential":{"value":hush-hush}}`, `{"url":"http://x","credential":"hush-hush"}`, `{"url":"http://x","credential":{"value":"hush-hush","value":"hush-hush"}}`,
		`{"url":"http://u:hush-hush@x","family":"patterns","description":"GET /x -> x.read read /x"}`, `{"url":"http://x","family":"patterns","description":"GET","credential":{"value":["hush-hush"]}}`} {
		if status, answer := p.ask("PUT", "/v1/upstreams/x", body); status < 400 || strings.Contains(answer, "hush") {
			t.Errorf("%d %s", status, answer)
		}
	}
	if p.Store.Size() != size {
		t.Errorf("something was done: %+v", p.last())
	}
	if strings.Contains(p.log.String(), "hush") {
		t.Error("a secret is in the log")
	}
}

// TestSlowSender: who sends slowly holds no connection, known or not; who waits for a slow change gets its answer.
func TestSlowSender(t *testing.T) {
	t.Parallel()
	const bodyTime = time.Second
	p := start(t, func(p *Plane) { p.bodyTime = bodyTime })
	for _, auth := range []string{"x", p.token} {
		begin := time.Now()
		if _, closed := p.raw("POST /v1/kill HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+auth+"\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n{", 20*time.Second); !closed {
			t.Errorf("after %s the connection is still there", time.Since(begin))
		}
	}
	held, let := make(chan struct{}), make(chan struct{})
	go p.Store.Write(context.WithoutCancel(t.Context()), func(*store.Tx) error { close(held); <-let; return store.ErrNotFound })
	<-held
	time.AfterFunc(3*bodyTime, func() { close(let) })
	if status, answer := p.ask("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com"}`); status != 200 {
		t.Errorf("after a wait: %d %s", status, answer)
	}
}

// TestApplyWhole: a file whose last object cannot be keeps nothing.
func TestApplyWhole(t *testing.T) {
	p := start(t)
	size := p.Store.Size()
	files := func(yaml string) string {
		b, err := json.Marshal(ApplyRequest{Files: nil})
		if err != nil {
			t.Fatal(err)
		}
		content, _ := json.Marshal(yaml)
		return strings.Replace(string(b), "null", `[{"name":"a.yaml","content":`+string(content)+`}]`, 1)
	}
	const owners = "owners:\n  ben: {name: Ben, email: ben@example.com}\n"
	if status, answer := p.ask("POST", "/v1/apply", files(owners+"identities:\n  x: {kind: agent, owner: ben, purpose: tests, expires: 900d}\n")); status != 422 || !strings.Contains(answer, "365 days") {
		t.Errorf("%d %s", status, answer)
	}
	if status, _ := p.ask("GET", "/v1/owners/ben", ""); status != 404 || p.Store.Size() != size {
		t.Error("something was kept")
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	before := worked(t)
	if status, answer := p.ask("POST", "/v1/apply", files(bomb)); status != 422 || len(answer) > 20000 || worked(t)-before > 10*time.Second {
		t.Errorf("aliases of aliases: %d, %d bytes in %s", status, len(answer), worked(t)-before)
	}
	p.must("POST", "/v1/apply", files(owners))
	if e := p.last(); e.Actor != "operator:admin" || p.Store.Size() == size {
		t.Errorf("%+v", e)
	}
}

// TestLedgerDoor: pages, times, the export, a proof, and a tail that ends with who reads it.
func TestLedgerDoor(t *testing.T) {
	p := start(t)
	p.settle()
	var all, paged []Entry
	get := func(path string) (page Page[Entry]) {
		t.Helper()
		if err := json.Unmarshal([]byte(p.must("GET", path, "")), &page); err != nil {
			t.Fatal(err)
		}
		return page
	}
	all = get("/v1/ledger/events").Items
	for next := ""; ; {
		page := get("/v1/ledger/events?limit=2&after=" + next)
		paged = append(paged, page.Items...)
		if next = page.Next; next == "" {
			break
		}
	}
	if int64(len(all)) != p.Store.Size() || len(paged) != len(all) {
		t.Errorf("%d events, %d by pages, of %d", len(all), len(paged), p.Store.Size())
	}
	for query, n := range map[string]int{"type=grant": 1, "identity=spiffe://lanyard.local/agent/bot&type=identity.register": 1, "outcome=refused": 0, "since=1h": len(all), "since=2026-11-24": 0,
		"until=2026-11-23T11:59:59Z": 0, "until=7d": 0, "owner=nobody": 0, "text=m.read": -1} {
		if found := get("/v1/ledger/events?" + query).Items; len(found) != n && (n >= 0 || len(found) == 0) {
			t.Errorf("%s: %d, want %d", query, len(found), n)
		}
	}
	lines := strings.SplitAfter(strings.TrimSuffix(p.must("GET", "/v1/ledger/export", ""), "\n"), "\n")
	if len(lines) != len(all) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, e := range all {
		if strings.TrimSuffix(lines[len(lines)-1-i], "\n") != string(e.Event) || e.Index != int64(len(lines)-1-i) {
			t.Errorf("event %d is another one in the export", e.Index)
		}
	}
	for path, want := range map[string]int{"/v1/ledger/proof/0": 200, "/v1/ledger/proof/-1": 404, "/v1/ledger/proof/999": 404, "/v1/ledger/proof/x": 422, "/v1/ledger/proof/99999999999999999999": 422,
		"/v1/ledger/export?size=999999": 422, "/v1/ledger/export?size=-1": 422, "/v1/ledger/events?after=x": 422, "/v1/ledger/events?since=yesterdayish": 422, "/v1/ledger/tail?since=nonsense": 422,
		"/v1/ledger/events?limit=1001": 422, "/v1/ledger/events?limit=1&limit=2000": -1, "/v1/ledger/tail?from=-10001": 422, "/v1/ledger/events?class=x": 422} {
		if status, answer := p.ask("GET", path, ""); status != want && want > 0 || status >= 500 {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", p.network.URL+"/v1/ledger/tail?from=-1&type=owner", nil)
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben","email":"ben@example.com"}`)
	var e Entry
	if line, err := bufio.NewReader(res.Body).ReadBytes('\n'); err != nil || json.Unmarshal(line, &e) != nil || !bytes.Contains(e.Event, []byte("ben")) {
		t.Errorf("%v %s", err, line)
	}
	cancel()
	done := make(chan struct{})
	go func() { p.network.Close(); close(done) }() // waits for every request to end
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("the tail goes on for nobody")
	}
}

// TestOneEvent: a change is one event of its kind, by whom it was; one that is refused is none.
func TestOneEvent(t *testing.T) {
	p := start(t)
	p.settle()
	for _, c := range []struct{ method, path, body, kind string }{
		{"PUT", "/v1/owners/ben", `{"name":"Ben","email":"ben@example.com"}`, "owner.add"},
		{"PUT", "/v1/owners/ben", `{"name":"Benjamin","email":"ben@example.com"}`, "owner.change"},
		{"DELETE", "/v1/owners/ben", "", "owner.remove"},
		{"PUT", "/v1/guardrails/no-send", `{"cedar":"forbid(principal, action == Lanyard::Action::\"m.send\", resource);"}`, "guardrail.put"},
		{"DELETE", "/v1/guardrails/no-send", "", "guardrail.remove"},
		{"POST", "/v1/identities/bot/suspend", `{"reason":"lunch"}`, "identity.suspend"},
		{"POST", "/v1/identities/bot/resume", `{}`, "identity.resume"},
		{"DELETE", "/v1/identities/bot/grants/read", "", "grant.revoke"},
		{"POST", "/v1/keys/rotate", "", "key.rotate"},
		{"POST", "/v1/kill", `{"identity":"bot","reason":"x"}`, "identity.kill"},
		{"POST", "/v1/restore", `{"identity":"bot","reason":"x"}`, "identity.restore"},
	} {
		size := p.Store.Size()
		p.must(c.method, c.path, c.body)
		if e := p.last(); e.Type != c.kind || e.Actor != "operator:admin" || e.Outcome != ledger.Allowed || p.Store.Size() != size+1 {
			t.Errorf("%s %s: %d events, the last %s by %s", c.method, c.path, p.Store.Size()-size, e.Type, e.Actor)
		}
	}
}

// TestExplain: it decides as a gateway does, and takes no argument for another.
func TestExplain(t *testing.T) {
	p := start(t)
	p.settle()
	p.must("PUT", "/v1/upstreams/pay", `{"url":"http://x","owner":"maya","family":"patterns","description":"POST /pay -> pay.do write /pay"}`)
	for _, c := range []struct {
		body, says string
		status     int
	}{
		{`{"identity":"bot","upstream":"mail","method":"GET","path":"/m/7"}`, `"allow":true`, 200},
		{`{"identity":"agent/bot","upstream":"mail","action":"m.read"}`, `"allow":true`, 200},
		{`{"identity":"bot","upstream":"mail","method":"POST","path":"/m"}`, `"allow":false`, 200},
		{`{"identity":"bot","upstream":"mail","action":"m.read","args":{"n":1.5}}`, `whole number`, 422},
		{`{"identity":"bot","upstream":"mail","action":"m.read","args":{"n":1e300}}`, `whole number`, 422},
		{`{"identity":"bot","upstream":"mail","action":"m.read","args":{"n":["a",1]}}`, `list of strings`, 422},
		{`{"identity":"bot","upstream":"mail","action":"m.read","args":{"n":{"a":1}}}`, `whole number`, 422},
	} {
		if status, answer := p.ask("POST", "/v1/explain", c.body); status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s: %d %s", c.body, status, answer)
		}
	}
	size := p.Store.Size()
	p.must("POST", "/v1/kill", `{"identity":"bot","reason":"x"}`)
	if answer := p.must("POST", "/v1/explain", `{"identity":"bot","upstream":"mail","action":"m.read"}`); !strings.Contains(answer, `"allow":false`) || p.Store.Size() != size+1 {
		t.Error(answer)
	}
}

// TestNotReady: when the ledger cannot be written, readiness says so and changes are refused.
func TestNotReady(t *testing.T) {
	p := start(t)
	if status, _ := p.ask("GET", "/readyz", "", "Authorization", ""); status != 200 {
		t.Errorf("ready: %d", status)
	}
	p.Store.Close()
	if status, answer := p.ask("GET", "/readyz", "", "Authorization", ""); status != 503 || strings.Contains(answer, p.dir) {
		t.Errorf("closed: %d %s", status, answer)
	}
	if s, err := p.Source("gw").Credential(t.Context(), "mail", identity.Alone(identity.MustID("spiffe://lanyard.local/agent/bot"), 0), feed.Secret{}); err == nil || s.Value != "" {
		t.Error("a credential from a closed store")
	}
}

// TestReadyText: who is nobody learns that it is not ready, not what went wrong inside.
func TestReadyText(t *testing.T) {
	p := start(t)
	p.Plane.View = feed.NewView()
	if p.Plane.View.Apply(feed.Change{}) == nil || !strings.Contains(p.Ready().Error(), "0 things") {
		t.Fatal(p.Ready())
	}
	if status, answer := p.ask("GET", "/readyz", "", "Authorization", ""); status != 503 || strings.Contains(answer, "things") {
		t.Errorf("%d %s", status, answer)
	}
}

// TestOtherUser: whom the kernel names as somebody else is shown the door, whatever the socket's mode is.
func TestOtherUser(t *testing.T) {
	switch {
	case os.Getuid() != 0 && pgserver.CI():
		t.Fatal("CI must run as root: only root can be somebody else")
	case os.Getuid() != 0:
		t.Skip("only root can be somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "lanyard")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := LocalListener(path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{}, 1)
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served <- struct{}{} })}
	go s.Serve(l)
	defer s.Close()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its user
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
			done <- e
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		if err == nil {
			unix.Write(fd, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			if n, _ := unix.Read(fd, make([]byte, 1)); n > 0 {
				err = errors.New("somebody else is answered")
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	select {
	case <-served:
		t.Error("somebody else is served")
	default:
	}
}
