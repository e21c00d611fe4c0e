package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lanyard-dev/lanyard/test/port"
)

// served is the built binary with an upstream behind it, and maya who owns both.
type served struct {
	dir, control, gate string // URLs
	socket             *http.Client
	pid                int
	end                func()
}

func (s *served) cli(args ...string) error {
	out, err := exec.Command("bin/lanyard", append([]string{"--data", s.dir}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("lanyard %v: %w: %s", args, err, out)
	}
	return nil
}

func startServed(flags ...string) (*served, error) {
	dir, err := os.MkdirTemp("", "lyd")
	if err != nil {
		return nil, err
	}
	return startIn(dir, flags...)
}

// startIn starts it on a folder, which it removes when it ends.
func startIn(dir string, flags ...string) (*served, error) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	control, gate := port.Free(), port.Free()
	var log bytes.Buffer
	process := exec.Command("bin/lanyard", append([]string{"serve", "--data", dir, "--listen", control, "--gateway-listen", gate, "--allow-bearer"}, flags...)...)
	process.Stderr = &log
	if err := process.Start(); err != nil {
		up.Close()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &served{dir: dir, control: "http://" + control, gate: "http://" + gate, pid: process.Process.Pid, end: func() {
		process.Process.Signal(syscall.SIGTERM)
		process.Wait()
		up.Close()
		os.RemoveAll(dir)
	}}
	s.socket = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "lanyard.sock"))
	}}}
	for begun := time.Now(); s.cli("status") != nil; time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			s.end()
			return nil, fmt.Errorf("lanyard serve is not ready: %s", log.String())
		}
	}
	if err := errors.Join(s.cli("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com"),
		s.cli("upstream", "put", "mail", "--url", up.URL, "--owner", "maya", "--pattern", "GET /things/{id} -> things.read read /things/{id}")); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// enrol registers an identity that may read mail, with a fresh key.
func (s *served) enrol(name string, flags ...string) (holder, error) {
	if err := errors.Join(s.cli(append([]string{"identity", "register", name, "--owner", "maya", "--purpose", "Measures"}, flags...)...),
		s.cli("grant", "put", name, "read", "--upstream", "mail", "--action", "read")); err != nil {
		return holder{}, err
	}
	return s.key(name)
}

func (s *served) key(name string) (holder, error) {
	h, err := newHolder()
	file := filepath.Join(s.dir, name+".jwk")
	return h, errors.Join(err, os.WriteFile(file, []byte(h.jwk), 0o600), s.cli("credential", "add", name, "--public-key", file))
}

// token asks for a token of an identity for resource.
func (s *served) token(h holder, id, resource string) (string, error) {
	res, err := http.PostForm(s.control+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "resource": {resource},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {h.assertion(id, s.control)}})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var token struct {
		Access string `json:"access_token"`
		Error  string `json:"error_description"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || token.Access == "" {
		return "", fmt.Errorf("no token: %s %w", token.Error, err)
	}
	return token.Access, nil
}

// killing pulls the cord on the built binary while an agent calls as fast as it
// can, and takes the time from asking for the kill to the first refused call.
// A call begun after the kill was answered, and allowed, is an error.
func killing() error {
	s, err := startServed()
	if err != nil {
		return err
	}
	defer s.end()
	h, err := s.enrol("bot")
	if err != nil {
		return err
	}
	var took []float64
	for range 15 {
		token, err := s.token(h, agentPrefix+"bot", s.gate+"/mail")
		if err != nil {
			return err
		}
		ms, _, err := s.kill("bot", func() string { return token })
		if err != nil {
			return err
		}
		took = append(took, ms)
		if err := s.cli("restore", "bot", "--reason", "again"); err != nil {
			return err
		}
		if h, err = s.key("bot"); err != nil {
			return err
		}
	}
	figure("kill_to_refused_ms", median(took), "ms")
	return nil
}

const agentPrefix = "spiffe://lanyard.local/agent/"

// kill pulls the cord on an identity while four callers call with one token after the
// other, and returns in milliseconds when all were refused, and when the kill was answered.
func (s *served) kill(name string, token func() string) (gone, done float64, err error) {
	var asked, answered, refused atomic.Int64 // nanoseconds; 0: not yet
	var late atomic.Bool
	var good atomic.Int64 // when the last call that was allowed was answered
	var last atomic.Value
	begin := time.Now()
	now := func() int64 { return int64(time.Since(begin)) }
	var callers sync.WaitGroup
	var allowed atomic.Int64
	for range 4 {
		callers.Go(func() {
			for n := 0; n < 20 && now() < int64(20*time.Second); { // go on for a little: nothing is to be allowed any more
				done := answered.Load()
				req, _ := http.NewRequest("GET", s.gate+"/mail/things/1", nil)
				req.Header.Set("Authorization", "Bearer "+token())
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					continue
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode == http.StatusOK {
					allowed.Add(1)
					good.Store(now())
					if done != 0 {
						late.Store(true)
					}
					continue
				}
				last.Store(res.Status + " " + string(body))
				if asked.Load() != 0 {
					refused.CompareAndSwap(0, now())
					n++
				}
			}
		})
	}
	for allowed.Load() < 100 && now() < int64(10*time.Second) {
		time.Sleep(time.Millisecond)
	}
	asked.Store(now())
	res, err := s.socket.Post("http://lanyard/v1/kill", "application/json", bytes.NewReader(fmt.Appendf(nil, `{"identity":%q,"reason":"measured"}`, name)))
	answered.Store(now())
	if err != nil {
		return 0, 0, err
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	callers.Wait()
	switch {
	case allowed.Load() < 100 || refused.Load() == 0:
		return 0, 0, fmt.Errorf("%d calls were allowed, and refused at %d ns; the last answer: %v", allowed.Load(), refused.Load(), last.Load())
	case late.Load():
		return 0, 0, errors.New("a call begun after the kill was answered was allowed")
	}
	return float64(max(refused.Load(), good.Load())-asked.Load()) / 1e6, float64(answered.Load()-asked.Load()) / 1e6, nil
}
