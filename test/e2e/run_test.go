package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// agent is a command under lanyard run.
type agent struct {
	*exec.Cmd
	env  map[string]string // what it was given
	errs *bytes.Buffer
	pids []int // processes that it says it is
}

// agentScript tells its environment and its process ids, one of them in a session of
// its own that nobody waits for, and goes on until it is ended.
const agentScript = `setsid sleep 600 & echo "PID=$!"; echo "PID=$$"; env; echo READY; trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done`

// run starts a script as reader and waits until it has told its environment.
func (h *house) run(script string, flags ...string) *agent {
	h.Helper()
	args := append([]string{"run", "--as", "reader", "--key", "reader.key.jwk", "--issuer", h.control, "--gateway", h.gate, "--upstream", "mail"}, flags...)
	a := &agent{Cmd: exec.Command(filepath.Join(bin, "lanyard"), append(args, "--", "sh", "-c", script)...), env: map[string]string{}, errs: &bytes.Buffer{}}
	a.Dir, a.Stderr = h.dir, a.errs
	a.Env = append(os.Environ(), "OPENAI_API_KEY=hush", "MY_PASSWORD=hush", "WANTED=yes", "UNWANTED=no")
	out, err := a.StdoutPipe()
	if err != nil {
		h.Fatal(err)
	}
	if err := a.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { a.Process.Kill(); a.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "READY" {
		name, value, _ := strings.Cut(lines.Text(), "=")
		if n, err := strconv.Atoi(value); name == "PID" && err == nil {
			a.pids = append(a.pids, n)
		}
		a.env[name] = value
	}
	go io.Copy(io.Discard, out)
	return a
}

// over waits until the agent has ended with that code and nothing of it is left.
func (h *house) over(a *agent, code int) {
	h.Helper()
	done := make(chan struct{})
	go func() { a.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		h.Fatalf("it goes on\n%s", a.errs)
	}
	if got := a.ProcessState.ExitCode(); got != code {
		h.Errorf("exit %d, want %d\n%s", got, code, a.errs)
	}
	for _, pid := range a.pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			h.Errorf("process %d is left behind: %v", pid, err)
		}
	}
	if config := a.env["LANYARD_MCP_CONFIG"]; config != "" {
		if _, err := os.Stat(filepath.Dir(config)); !errors.Is(err, os.ErrNotExist) {
			h.Errorf("its configuration is left behind: %v", err)
		}
	}
}

// TestRun: an agent gets a door to what it may use, of its surroundings what is harmless, and leaves nothing behind.
func TestRun(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	a := h.run(agentScript, "--mcp", "my-notes=/v1/mcp", "--env", "WANTED")
	if len(a.pids) != 2 {
		t.Fatalf("it did not start: %v\n%s", a.env, a.errs)
	}
	for name := range a.env {
		switch name {
		case "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TERM", "TMPDIR", "TZ", "WANTED", "PID", "PWD", "OLDPWD", "SHLVL", "_",
			"LANYARD_IDENTITY", "LANYARD_GATEWAY", "LANYARD_MCP_CONFIG", "LANYARD_URL_MAIL", "LANYARD_URL_MY_NOTES", "SSL_CERT_FILE", "SSL_CERT_DIR", "LANGUAGE", "COLORTERM", "NO_COLOR":
		default:
			if !strings.HasPrefix(name, "LC_") {
				t.Errorf("it inherited %s", name)
			}
		}
	}
	if a.env["LANYARD_IDENTITY"] != "spiffe://lanyard.local/agent/reader" || a.env["WANTED"] != "yes" {
		t.Errorf("its environment: %v", a.env)
	}
	if said := a.errs.String(); !strings.Contains(said, "not passed on: ") || !strings.Contains(said, "MY_PASSWORD, OPENAI_API_KEY") || strings.Contains(said, "hush") {
		t.Errorf("it was told of what it did not get: %s", said)
	}
	b, err := os.ReadFile(a.env["LANYARD_MCP_CONFIG"])
	var config struct {
		MCPServers map[string]struct{ Type, URL string }
	}
	if err != nil || json.Unmarshal(b, &config) != nil || len(config.MCPServers) != 1 || config.MCPServers["my-notes"].URL != a.env["LANYARD_GATEWAY"]+"/my-notes/v1/mcp" {
		t.Errorf("its MCP servers: %v %s", err, b)
	}
	if i, err := os.Stat(a.env["LANYARD_MCP_CONFIG"]); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("its configuration: %v %v", i.Mode(), err)
	}
	ask := func(method, url string, headers ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, url, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			if headers[i] == "Host" {
				req.Host = headers[i+1]
			}
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.Header.Get("WWW-Authenticate") != "" || res.Header.Get("DPoP-Nonce") != "" {
			t.Errorf("%s: the agent is told of credentials: %v", url, res.Header)
		}
		return res.StatusCode, string(b)
	}
	mail := a.env["LANYARD_URL_MAIL"]
	if code, body := ask("GET", mail+profile, "Authorization", "Bearer mine", "DPoP", "mine"); code != 200 || !strings.Contains(body, "emailAddress") {
		t.Errorf("what it may do: %d %s", code, body)
	}
	if code, body := ask("DELETE", mail+"/gmail/v1/users/me/messages/1"); code != 403 || !strings.Contains(body, "Maya Lind") {
		t.Errorf("what it may not do: %d %s", code, body)
	}
	wrong := strings.Replace(mail, "/mail", "", 1)
	wrong = wrong[:len(wrong)-1] + "_/mail"
	for what, c := range map[string]struct {
		url     string
		headers []string
		code    int
	}{
		"a wrong secret":    {wrong + profile, nil, 404},
		"no secret":         {wrong[:strings.LastIndex(wrong[:len(wrong)-5], "/")] + "/mail" + profile, nil, 404},
		"not its upstream":  {a.env["LANYARD_GATEWAY"] + "/payroll/x", nil, 404},
		"a foreign origin":  {mail + profile, []string{"Origin", "https://evil.example"}, 403},
		"a foreign host":    {mail + profile, []string{"Host", "evil.example:80"}, 421},
		"another's address": {a.env["LANYARD_GATEWAY"] + "/mail/../my-notes/x", nil, 400},
	} {
		if code, body := ask("GET", c.url, c.headers...); code != c.code || strings.Contains(body, "emailAddress") {
			t.Errorf("%s: %d %s", what, code, body)
		}
	}
	// A signal goes to the agent; its code is ours.
	a.Process.Signal(syscall.SIGTERM)
	h.over(a, 7)
	if out := h.do("audit", "search", "--identity", "reader"); strings.Contains(out, "introspect") {
		t.Error("looking after the identity fills the record")
	}

	h.over(h.run("setsid sleep 600 & exit 5"), 5)
	h.over(h.run("kill -9 $$"), 137)
	h.fails(64, "--upstream", "run", "--as", "reader", "--key", "reader.key.jwk", "--", "true")
	h.fails(3, "token refused", "run", "--as", "nobody", "--key", "reader.key.jwk", "--upstream", "mail", "--issuer", h.control, "--", "true")
}

// TestRunKilled: an agent whose identity is killed ends, even if it asks for nothing and does not listen.
func TestRunKilled(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	idle := h.run(agentScript)
	deaf := h.run(strings.Replace(agentScript, "echo bye; exit 7", ":", 1), "--stop-when-killed=false")
	h.do("kill", "reader", "--reason", "test")
	h.over(idle, 3)
	if !strings.Contains(idle.errs.String(), "reader is killed") {
		t.Errorf("why it ended: %s", idle.errs)
	}
	code, body := h.get(deaf.env["LANYARD_URL_MAIL"]+profile, "")
	if code != 403 || !strings.Contains(body, "reader is killed") {
		t.Errorf("one that may go on is told: %d %s", code, body)
	}
	if err := syscall.Kill(deaf.pids[1], 0); err != nil {
		t.Errorf("it was ended: %v", err)
	}
	syscall.Kill(deaf.pids[1], syscall.SIGKILL)
	h.over(deaf, 137)
}
