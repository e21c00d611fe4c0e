package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/connector/patterns"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/feed/feedtest"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// plane is a control plane with its doors open.
type plane struct {
	*Plane
	*testing.T
	dir     string
	network *httptest.Server
	token   string
	log     *bytes.Buffer
	ahead   atomic.Int64           // of its clock
	tick    atomic.Pointer[func()] // what happens when leases are measured
}

// start begins a control plane with nobody in it; set changes it before it is served.
func start(t *testing.T, set ...func(*Plane)) *plane {
	t.Helper()
	c := storetest.Config(t)
	storetest.Elsewhere(t, &c)
	return node(t, c, set...)
}

// node is a control plane on that store, or one of several.
func node(t *testing.T, c store.Config, set ...func(*Plane)) *plane {
	t.Helper()
	p := &plane{T: t, dir: t.TempDir(), log: &bytes.Buffer{}}
	c.Dir = p.dir
	c.Now = func() time.Time { return storetest.Epoch.Add(time.Duration(p.ahead.Load())) }
	clock := func() feed.Instant {
		if f := p.tick.Load(); f != nil {
			(*f)()
		}
		return feed.BootClock()
	}
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p.network = httptest.NewUnstartedServer(nil)
	view := feed.NewView()
	p.Plane, err = Open(t.Context(), Config{Store: db, View: view, Domain: "lanyard.local", URL: "http://" + p.network.Listener.Addr().String(), GatewayURL: "http://gateway.test",
		Families: []connector.Family{patterns.Family(), mcp.Family()}, Version: "test", Local: []string{"gw"}, Now: c.Now, Clock: clock, Rand: c.Rand, Log: slog.New(slog.NewTextHandler(p.log, nil)), Metrics: newMetrics()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed.Follow(ctx, p.Source("gw"), view, func(err error) {
			if !errors.Is(err, store.ErrClosed) {
				t.Error(err)
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	for view.Live() != nil {
		time.Sleep(time.Millisecond)
	}
	for _, f := range set {
		f(p.Plane)
	}
	h, err := p.Handler()
	if err == nil {
		p.token, err = p.NewAdminToken(t.Context(), registry.Self)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.network.Config.Handler = h
	p.network.Start()
	t.Cleanup(p.network.Close)
	return p
}

// ask sends a request with the admin token, and returns the status and the body.
func (p *plane) ask(method, path, body string, header ...string) (int, string) {
	p.Helper()
	req, err := http.NewRequest(method, p.network.URL+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (p *plane) must(method, path, body string) string {
	p.Helper()
	status, answer := p.ask(method, path, body)
	if status != http.StatusOK {
		p.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

const key = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}` // RFC 8037 appendix A.2

// settle makes maya, her mail and a bot that may read it.
func (p *plane) settle() {
	p.Helper()
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com"}`)
	p.must("PUT", "/v1/upstreams/mail", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /m/{id} -> m.read read /m/{id}\nPOST /m -> m.send write /m","credential":{"value":"Bearer hush-hush"}}`)
	p.must("PUT", "/v1/identities/bot", `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	p.must("POST", "/v1/identities/bot/credentials", `{"public_key":`+key+`}`)
	p.must("PUT", "/v1/identities/bot/grants/read", `{"upstream":"mail","actions":["m.read"]}`)
}

// last is the newest event.
func (p *plane) last() ledger.Event {
	p.Helper()
	found, err := p.Store.Search(p.Context(), ledger.Query{}, 0, 1)
	if err != nil || len(found.Entries) == 0 {
		p.Fatal(err)
	}
	return found.Entries[0].Event
}

// TestSource: a gateway that follows the plane sees every change.
func TestSource(t *testing.T) {
	feedtest.Test(t, func(t *testing.T) feedtest.Kit {
		p := start(t)
		return feedtest.Kit{Source: p.Source("other"), Put: func(c feed.Change) feed.Cursor { return storetest.Put(t, p.Store, c) }}
	})
}

// TestNobodyWithoutToken: every operation that the description names, so that a new one cannot be forgotten.
func TestNobodyWithoutToken(t *testing.T) {
	p := start(t)
	_, body := p.ask("GET", "/openapi.json", "", "Authorization", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%v %s", err, doc.OpenAPI)
	}
	ids, n := map[string]bool{}, 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if n++; ids[op.OperationID] {
				t.Errorf("%s is there twice", op.OperationID)
			}
			ids[op.OperationID] = true
			at := strings.NewReplacer("{name}", "x", "{part}", "y").Replace(path)
			size := p.Store.Size()
			for _, wrong := range []string{"", "Bearer x", "Basic eDp5", "Bearer " + p.token + "0", "bearer " + p.token, "Bearer  " + p.token} {
				status, answer := p.ask(strings.ToUpper(method), at, "", "Authorization", wrong, operatorHeader, "operator:admin", "Lanyard_Operator", "operator:admin")
				if status != http.StatusUnauthorized || !strings.Contains(answer, "admin token") || !strings.Contains(answer, "lanyard login") {
					t.Errorf("%s %s with %q: %d %s", method, at, wrong, status, answer)
				}
			}
			if p.Store.Size() != size {
				t.Errorf("%s %s did something", method, at)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d operations", n)
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(body, -1) {
		if !strings.Contains(body, `"`+ref[1]+`":{`) {
			t.Errorf("the description refers to %s, which is not there", ref[1])
		}
	}
}

// TestActor: who changed something stands in the record, and no client says who it is.
func TestActor(t *testing.T) {
	p := start(t)
	status, answer := p.ask("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com"}`, operatorHeader, "operator:ceo")
	if e := p.last(); status != 200 || e.Actor != "operator:admin" || e.Type != "owner.add" || e.Resource != "maya" || e.Source == "" {
		t.Errorf("%d %s %+v", status, answer, e)
	}
	path := filepath.Join(p.dir, "s")
	l, err := LocalListener(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
	if _, err := LocalListener(path); err == nil {
		t.Error("two listen at one socket")
	}
	s := &http.Server{Handler: p.LocalHandler()}
	go s.Serve(l)
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	req, err := http.NewRequest("DELETE", "http://lanyard/v1/owners/maya", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(operatorHeader, "operator:ceo")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if e := p.last(); res.StatusCode != 200 || !strings.HasPrefix(e.Actor, "operator:local:") || e.Type != "owner.remove" {
		t.Errorf("%s %+v", res.Status, e)
	}
}

// TestProblems: what is wrong is said, with what to do, and no secret that was sent comes back.
func TestProblems(t *testing.T) {
	p := start(t)
	p.settle()
	size := p.Store.Size()
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v1/identities/nobody", "", 404, "there is no identity"},
		{"GET", "/v1/nothing", "", 404, ""},
		{"GET", "/v1/identities?limit=0", "", 422, "limit"},
		{"GET", "/v1/identities?frobnicate=1", "", 422, "frobnicate"},
		{"PUT", "/v1/identities/x", `{"kind":"agent","owner":"nobody","purpose":"x"}`, 422, "there is no owner"},
		{"PUT", "/v1/identities/x", `{"kind":"agent","owner":"maya","purpose":"x","expires":"900d"}`, 422, "further away than the 365 days"},
		{"PUT", "/v1/identities/x", `{"kind":"agent","owner":"maya","purpose":" "}`, 422, "purpose"},
		{"PUT", "/v1/identities/X", `{"kind":"agent","owner":"maya","purpose":"x"}`, 422, "name"},
		{"PUT", "/v1/identities/bot", `{"kind":"service","owner":"maya","purpose":"x"}`, 422, "kind"},
		{"PUT", "/v1/identities/x", `{"kind":"agent","owner":"maya","purpose":"x","frobnicate":1}`, 422, "frobnicate"},
		{"PUT", "/v1/identities/x", `{"kind":`, 400, ""},
		{"PUT", "/v1/owners/maya", `{"name":"x","email":"nonsense"}`, 422, "email"},
		{"DELETE", "/v1/owners/maya", "", 409, "still owns something"},
		{"DELETE", "/v1/upstreams/mail", "", 409, "bot/read"},
		{"PUT", "/v1/upstreams/mail", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /x -> x.read read /x"}`, 422, "grant bot/read"},
		{"PUT", "/v1/upstreams/crm", `{"url":"ftp://x","family":"patterns","description":"GET /x -> x.read read /x"}`, 422, "http://host"},
		{"PUT", "/v1/upstreams/crm", `{"url":"http://x","family":"frob","description":"x"}`, 422, "patterns"},
		{"PUT", "/v1/upstreams/crm", `{"url":"http://x","family":"patterns","description":"GET /x -> x.read read /x","credential":{"value":"hush-hush\nX: y"}}`, 422, "cannot be sent in HTTP"},
		{"PUT", "/v1/identities/bot/grants/x", `{"upstream":"mail","actions":["m.rad"]}`, 422, "mail has no action"},
		{"PUT", "/v1/identities/bot/grants/x", `{"upstream":"nail","actions":["read"]}`, 422, "no upstream"},
		{"PUT", "/v1/identities/bot/grants/x", `{"upstream":"mail","cedar":"forbid(principal, action, resource);"}`, 422, "cedar"},
		{"PUT", "/v1/guardrails/x", `{"cedar":"permit(principal, action, resource);"}`, 422, "cedar"},
		{"PUT", "/v1/guardrails/x", `{"cedar":"forbid(principal, action == Lanyard::Action::\"nope\", resource);"}`, 422, "nope"},
		{"POST", "/v1/identities/bot/credentials", `{}`, 422, "exactly one"},
		{"POST", "/v1/identities/bot/credentials", `{"public_key":` + key + `}`, 422, "already"},
		{"POST", "/v1/identities/bot/credentials", `{"public_key":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"hush-hush"}}`, 422, "private"},
		{"POST", "/v1/kill", `{"reason":"x"}`, 422, "exactly one"},
		{"POST", "/v1/kill", `{"identity":"bot","all":true,"reason":"x"}`, 422, "exactly one"},
		{"POST", "/v1/kill", `{"identity":"bot","reason":" "}`, 422, "say why"},
		{"POST", "/v1/restore", `{"identity":"bot","reason":"x"}`, 409, "not killed"},
		{"POST", "/v1/revoke", `{"token":"nonsense","reason":"x"}`, 422, "no token of ours"},
		{"POST", "/v1/admin/token", "", 403, "on the machine itself"},
		{"GET", "/v1/ledger/proof/evt_x", "", 404, "no event"},
		{"POST", "/v1/explain", `{"identity":"bot","upstream":"mail","method":"GET","path":"/nope"}`, 422, "does not know this request"},
		{"POST", "/v1/apply", `{"files":[{"name":"a.yaml","content":"owners: {maya: {nam: x}}"}]}`, 422, "a.yaml"},
	} {
		status, answer := p.ask(c.method, c.path, c.body)
		if status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s %s %s: %d, want %d with %q\n%s", c.method, c.path, c.body, status, c.status, c.says, answer)
		}
		if strings.Contains(answer, "hush-hush") {
			t.Errorf("%s %s: a secret comes back: %s", c.method, c.path, answer)
		}
	}
	if p.Store.Size() != size {
		e := p.last()
		t.Errorf("something was changed: %+v", e)
	}
	if strings.Contains(p.log.String(), "hush-hush") {
		t.Error("a secret is in the log")
	}
}

// TestSealed: an upstream's secret lies nowhere in the clear, and no answer has it.
func TestSealed(t *testing.T) {
	p := start(t)
	if p.Store.Database != "" {
		t.Skip("it looks into the files of SQLite")
	}
	p.settle()
	for _, path := range []string{"/v1/upstreams", "/v1/upstreams/mail", "/v1/identities/bot", "/v1/status", "/v1/ledger/events", "/v1/ledger/export"} {
		if _, answer := p.ask("GET", path, ""); strings.Contains(answer, "hush-hush") || strings.Contains(answer, p.token) {
			t.Errorf("%s shows a secret", path)
		}
	}
	files, err := filepath.Glob(filepath.Join(p.dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte("hush-hush")) || bytes.Contains(b, []byte(p.token)) {
			t.Errorf("%s holds a secret in the clear (%v)", f, err)
		}
	}
}

// TestDryRun: trying keeps nothing and records nothing.
func TestDryRun(t *testing.T) {
	p := start(t)
	p.settle()
	head, size := p.Store.Head(), p.Store.Size()
	if answer := p.must("POST", "/v1/kill", `{"all":true,"reason":"x","dry_run":true}`); !strings.Contains(answer, `"count":1`) {
		t.Error(answer)
	}
	p.must("POST", "/v1/apply", `{"dry_run":true,"files":[{"name":"a.yaml","content":"owners: {ben: {name: Ben, email: ben@example.com}}"}]}`)
	if p.Store.Head() != head || p.Store.Size() != size {
		t.Error("something was kept")
	}
}

// TestBroker: a secret leaves for those who may use the upstream now.
func TestBroker(t *testing.T) {
	p := start(t)
	p.settle()
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	src := p.Source("gw")
	if s, err := src.Credential(t.Context(), "mail", identity.Alone(bot, 0), feed.Secret{}); err != nil || s.Header != "Authorization" || s.Value != "Bearer hush-hush" {
		t.Errorf("%v %s", err, s.Header)
	}
	refused := func(name, upstream string, chain identity.Chain) {
		t.Helper()
		if s, err := src.Credential(t.Context(), upstream, chain, feed.Secret{}); err == nil || s.Value != "" || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("nobody", "mail", nil)
	refused("an unknown identity", "mail", identity.Alone(identity.MustID("spiffe://lanyard.local/agent/x"), 0))
	refused("an unknown upstream", "x", identity.Alone(bot, 0))
	p.must("PUT", "/v1/upstreams/crm", `{"url":"http://x","family":"patterns","description":"GET /x -> x.read read /x"}`)
	refused("no grant", "crm", identity.Alone(bot, 0))
	p.must("POST", "/v1/kill", `{"upstream":"mail","reason":"x"}`)
	refused("a killed upstream", "mail", identity.Alone(bot, 0))
	p.must("POST", "/v1/restore", `{"upstream":"mail","reason":"x"}`)
	p.must("PUT", "/v1/identities/other", `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	other := identity.MustID("spiffe://lanyard.local/agent/other")
	refused("one without a grant", "mail", identity.Chain{{ID: other}, {ID: bot}})
	if _, err := src.Credential(t.Context(), "mail", identity.Chain{{ID: bot}, {ID: other}}, feed.Secret{}); err != nil {
		t.Error(err)
	}
	p.must("POST", "/v1/identities/other/suspend", `{"reason":"x"}`)
	refused("a suspended one in the chain", "mail", identity.Chain{{ID: bot}, {ID: other}})
	p.must("DELETE", "/v1/identities/bot/grants/read", "")
	refused("a grant that was taken away", "mail", identity.Alone(bot, 0))
	p.must("PUT", "/v1/identities/bot/grants/read", `{"upstream":"mail","actions":["m.read"]}`)
	p.must("POST", "/v1/kill", `{"identity":"bot","reason":"x"}`)
	refused("a killed identity", "mail", identity.Alone(bot, 0))
}

func newMetrics() *prometheus.Registry { return prometheus.NewRegistry() }
