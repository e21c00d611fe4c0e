// Package e2e drives the built binary as its users do.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/test/built"
	"github.com/lanyard-dev/lanyard/test/port"
)

var bin string // folder of the built programs

func TestMain(m *testing.M) {
	var err error
	if bin, err = built.Programs("lanyard", "office", "office-agent", "office-run"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// house is a running lanyard serve, and a folder for its users.
type house struct {
	*testing.T
	dir, data       string
	control, gate   string // URLs
	office          string
	secret          string
	serve           *exec.Cmd
	log             *lines
	flags           []string
	env             []string // more of the environment of what it starts
	scheme          string
	controlA, gateA string // addresses
}

// lines is what a program wrote, for reading while it runs.
type lines struct {
	f *os.File
}

func (l *lines) String() string {
	b, _ := os.ReadFile(l.f.Name())
	return string(b)
}

// build starts a house with the flags of serve, and an office behind it.
func build(t *testing.T, flags ...string) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "lyd") // short: a socket's path has to fit the kernel's 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &house{T: t, dir: dir, data: filepath.Join(dir, "data"), controlA: port.Free(), gateA: port.Free(), secret: "office-secret-" + filepath.Base(dir), flags: flags, scheme: "http"}
	for _, f := range flags {
		if strings.HasPrefix(f, "--tls-cert") {
			h.scheme = "https"
		}
	}
	h.control, h.gate = h.scheme+"://"+h.controlA, h.scheme+"://"+h.gateA
	desk := port.Free()
	h.office = "http://" + desk
	o := exec.Command(filepath.Join(bin, "office"), "--listen", desk)
	o.Env = append(os.Environ(), "OFFICE_SECRET="+h.secret)
	if err := o.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Process.Kill(); o.Wait() })
	h.start()
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *house) start() {
	h.Helper()
	f, err := os.CreateTemp(h.dir, "serve")
	if err != nil {
		h.Fatal(err)
	}
	h.log = &lines{f}
	h.serve = exec.Command(filepath.Join(bin, "lanyard"), append([]string{"serve", "--data", h.data, "--listen", h.controlA, "--gateway-listen", h.gateA, "--drain", "5s"}, h.flags...)...)
	h.serve.Stdout, h.serve.Stderr, h.serve.Env = f, f, h.environ()
	if err := h.serve.Start(); err != nil {
		h.Fatal(err)
	}
	h.eventually("lanyard is ready", func() bool { return strings.Contains(h.log.String(), "lanyard is ready") })
}

// stop ends the server as an operator does, which must take it no more than moments.
func (h *house) stop() {
	h.Helper()
	if h.serve == nil {
		return
	}
	h.serve.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- h.serve.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			h.Errorf("serve ended with %v:\n%s", err, h.log)
		}
	case <-time.After(20 * time.Second):
		h.serve.Process.Kill()
		<-done
		h.Errorf("serve did not stop:\n%s", h.log)
	}
	h.serve = nil
}

func (h *house) eventually(what string, is func() bool) {
	h.Helper()
	for begun := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			h.Fatalf("never: %s\n%s", what, h.log)
		}
	}
}

// Setenv sets a variable for what the house starts from now on, and for no other test: they run at the same time.
func (h *house) Setenv(name, value string) { h.env = append(h.env, name+"="+value) }

func (h *house) environ() []string { return append(os.Environ(), h.env...) }

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// try runs lanyard.
func (h *house) try(args ...string) result {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(bin, "lanyard"), append([]string{"--data", h.data}, args...)...)
	c.Dir = h.dir
	c.Env = append(h.environ(), "OFFICE_SECRET="+h.secret)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var code *exec.ExitError
	if err != nil && !errors.As(err, &code) {
		h.Fatalf("lanyard %v: %v", args, err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

// do runs lanyard, which must work, and returns what it printed.
func (h *house) do(args ...string) string {
	h.Helper()
	r := h.try(args...)
	if r.code != 0 {
		h.Fatalf("lanyard %v: exit %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// fails runs lanyard, which must end with that code and say that.
func (h *house) fails(code int, says string, args ...string) {
	h.Helper()
	r := h.try(args...)
	if r.code != code || !strings.Contains(r.out+r.err, says) {
		h.Errorf("lanyard %v: exit %d, want %d with %q\n%s%s", args, r.code, code, says, r.out, r.err)
	}
}

// json runs lanyard with -o json and decodes what it printed.
func (h *house) json(v any, args ...string) {
	h.Helper()
	out := h.do(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		h.Fatalf("lanyard %v: %v in\n%s", args, err, out)
	}
}

// settle makes the usual world: maya owns mail and reader, who may read it.
func (h *house) settle() {
	h.Helper()
	h.do("owner", "put", "ben", "--name", "Ben Okafor", "--email", "ben@example.com")
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com", "--backup", "ben")
	h.do("upstream", "put", "mail", "--url", h.office, "--google", "gmail/v1", "--owner", "maya", "--credential-env", "OFFICE_SECRET")
	h.do("identity", "register", "reader", "--owner", "maya", "--purpose", "Reads mail")
	h.do("keygen", "reader")
	h.do("credential", "add", "reader", "--public-key", "reader.jwk")
	h.do("grant", "put", "reader", "read-mail", "--upstream", "mail", "--action", "read", "--where", "userId=me")
}

func (h *house) call(args ...string) []string {
	return append([]string{"call", "--issuer", h.control, "--gateway", h.gate}, args...)
}

const profile = "/gmail/v1/users/me/profile"

func (h *house) asReader(method, path string) []string {
	return h.call("mail", method, path, "--as", "reader", "--key", "reader.key.jwk")
}

func (h *house) get(url, bearer string) (int, string) {
	h.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		h.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// badge is a bearer token for mail, of an identity with an API key.
func (h *house) badge(id, key string) string {
	h.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {h.gate + "/mail"}}
	req, _ := http.NewRequest("POST", h.control+"/oauth/token", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape("spiffe://lanyard.local/api_key/"+id), key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || token.Access == "" {
		h.Fatalf("token: %s", res.Status)
	}
	return token.Access
}

// keyed registers an identity with an API key that may read mail, and returns a token of it.
func (h *house) keyed(id string) string {
	h.Helper()
	h.do("identity", "register", id, "--kind", "api_key", "--owner", "maya", "--purpose", "Reads")
	h.do("grant", "put", id, "read-mail", "--upstream", "mail", "--action", "read")
	return h.badge(id, h.first(`(lyd_\S+)`, h.do("credential", "add", id, "--api-key")))
}

// first returns what pattern's first group matches in s.
func (h *house) first(pattern, s string) string {
	h.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(s)
	if m == nil {
		h.Fatalf("no %s in\n%s", pattern, s)
	}
	return m[1]
}
