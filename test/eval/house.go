package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/test/port"
)

// house is a running lanyard serve with its operator and one owner, who is signed in.
type house struct {
	bin, dir      string
	control, gate string
	admin         string
	serve         *exec.Cmd
	owner         *http.Client
}

const pack = "hijack"

// open starts the built lanyard, and puts the suites' servers behind it: one agent, which may call every tool of each,
// and the pack. That is all there is of rules.
func open(bin string, suites map[string]*suite, offices map[string]*office) (h *house, err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lye") // short: a socket's path has to fit the kernel's 107 bytes
	if err != nil {
		return nil, err
	}
	controlAt, gateAt := port.Free(), port.Free()
	h = &house{bin: bin, dir: dir, control: "http://" + controlAt, gate: "http://" + gateAt}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return h, err
	}
	defer log.Close()
	h.serve = exec.Command(bin, "serve", "--data", filepath.Join(dir, "data"), "--listen", controlAt, "--gateway-listen", gateAt)
	h.serve.Stdout, h.serve.Stderr = log, log
	if err := h.serve.Start(); err != nil {
		return h, err
	}
	var text []byte
	for begun := time.Now(); !strings.Contains(string(text), "lanyard is ready"); time.Sleep(10 * time.Millisecond) {
		if text, err = os.ReadFile(log.Name()); err != nil {
			return h, err
		}
		if time.Since(begun) > 30*time.Second {
			return h, fmt.Errorf("lanyard serve is not ready:\n%s", text)
		}
	}
	h.admin = regexp.MustCompile(`lyd_admin_\w+`).FindString(string(text))
	for _, args := range [][]string{
		{"owner", "put", "owner", "--name", "The Owner", "--email", "owner@lanyard.example"},
		{"identity", "register", "assistant", "--owner", "owner", "--purpose", "Does what its user asks", "--tasks", "required"},
		{"keygen", "assistant"}, {"credential", "add", "assistant", "--public-key", "assistant.jwk"},
	} {
		if _, err := h.do(args...); err != nil {
			return h, err
		}
	}
	for name, o := range offices {
		if err := h.connect(suites[name], o); err != nil {
			return h, err
		}
	}
	if _, err := h.do("pack", "put", pack); err != nil {
		return h, err
	}
	return h, h.signIn()
}

// connect puts one suite's server behind the gateway.
func (h *house) connect(s *suite, o *office) error {
	catalogue, err := h.do("mcp", "catalogue", o.url+"/mcp")
	if err != nil {
		return err
	}
	k, err := json.Marshal(s.known()) // JSON is YAML
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(h.dir, s.Name+".json"), []byte(catalogue), 0o600), os.WriteFile(filepath.Join(h.dir, s.Name+".yaml"), k, 0o600))
	}
	if err != nil {
		return err
	}
	_, err1 := h.do("upstream", "put", s.Name, "--url", o.url, "--mcp", s.Name+".json", "--owner", "owner", "--provenance", s.Name+".yaml")
	_, err2 := h.do("grant", "put", "assistant", s.Name, "--upstream", s.Name, "--action", "read", "--action", "write", "--action", "delete", "--action", "admin")
	return errors.Join(err1, err2)
}

// do runs lanyard and returns what it printed.
func (h *house) do(args ...string) (string, error) {
	c := exec.Command(h.bin, append([]string{"--data", filepath.Join(h.dir, "data")}, args...)...)
	c.Dir = h.dir
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("lanyard %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out), nil
}

func (h *house) close() {
	if h.serve != nil && h.serve.Process != nil {
		h.serve.Process.Signal(syscall.SIGTERM)
		h.serve.Wait()
	}
	os.RemoveAll(h.dir)
}

// call asks the control plane as an operator does.
func (h *house) call(ctx context.Context, method, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, h.control+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+h.admin)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s %s %w", method, path, res.Status, text, err)
	}
	return json.Unmarshal(text, out)
}

// task opens a task for a run, with the user's words.
func (h *house) task(ctx context.Context, r *run) (string, error) {
	var t control.TaskOpened
	err := h.call(ctx, "POST", "/v1/tasks", control.TaskInput{Identity: "assistant", Purpose: "A run of the evaluation", Words: r.Prompt, Until: "1h",
		Scope: []control.TaskPart{{Upstream: r.Suite, Actions: []string{"read", "write", "delete", "admin"}}}}, &t)
	return t.ID, err
}

// signIn signs the owner in.
func (h *house) signIn() error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	h.owner = &http.Client{Jar: jar}
	out, err := h.do("owner", "sign-in", "owner", "-o", "json")
	if err != nil {
		return err
	}
	var code control.SignInCode
	if err := json.Unmarshal([]byte(out), &code); err != nil {
		return err
	}
	page, err := h.post("/signin", url.Values{"code": {code.Code}, "return": {"/approvals"}})
	if err == nil && !strings.Contains(page, "What waits for you") {
		err = errors.New("the owner could not sign in:\n" + page)
	}
	return err
}

func (h *house) post(path string, form url.Values) (string, error) {
	r, err := http.NewRequest("POST", h.control+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", h.control)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return text(h.owner.Do(r))
}

func text(res *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

var formPattern = regexp.MustCompile(`name="request" value="([^"]*)"`)

// answer has the owner look at a question and say yes to it, once, or no. It returns the page that the owner saw.
func (h *house) answer(id string, yes bool) (string, error) {
	page, err := text(h.owner.Get(h.control + "/approvals/" + id))
	if err != nil {
		return "", err
	}
	m := formPattern.FindStringSubmatch(page)
	if m == nil {
		return page, fmt.Errorf("the page of %s has no form:\n%s", id, page)
	}
	decision := "deny"
	if yes {
		decision = "once"
	}
	after, err := h.post("/approvals/"+id, url.Values{"request": {html.UnescapeString(m[1])}, "decision": {decision}})
	if err == nil && !strings.Contains(after, "approved it") && !strings.Contains(after, "said no") && !strings.Contains(after, "said yes") {
		err = fmt.Errorf("the answer to %s was not taken:\n%s", id, after)
	}
	return page, err
}
