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

// killing pulls the cord on the built binary while an agent calls as fast as it
// can, and takes the time from asking for the kill to the first refused call.
// A call begun after the kill was answered, and allowed, is an error.
func killing() error {
	dir, err := os.MkdirTemp("", "lyd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	defer up.Close()
	control, gate := port.Free(), port.Free()
	var log bytes.Buffer
	serve := exec.Command("bin/lanyard", "serve", "--data", dir, "--listen", control, "--gateway-listen", gate, "--allow-bearer")
	serve.Stderr = &log
	if err := serve.Start(); err != nil {
		return err
	}
	defer func() { serve.Process.Signal(syscall.SIGTERM); serve.Wait() }()
	cli := func(args ...string) error {
		out, err := exec.Command("bin/lanyard", append([]string{"--data", dir}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("lanyard %v: %w: %s", args, err, out)
		}
		return nil
	}
	for begun := time.Now(); cli("status") != nil; time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			return fmt.Errorf("lanyard serve is not ready: %s", log.String())
		}
	}
	if err := errors.Join(cli("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com"),
		cli("upstream", "put", "mail", "--url", up.URL, "--owner", "maya", "--pattern", "GET /things/{id} -> things.read read /things/{id}"),
		cli("identity", "register", "bot", "--owner", "maya", "--purpose", "Measures"),
		cli("grant", "put", "bot", "read", "--upstream", "mail", "--action", "read")); err != nil {
		return err
	}
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "lanyard.sock"))
	}}}
	var took []float64
	for range 15 {
		h, err := newHolder()
		if err != nil {
			return err
		}
		key := filepath.Join(dir, "bot.jwk")
		if err := errors.Join(os.WriteFile(key, []byte(h.jwk), 0o600), cli("credential", "add", "bot", "--public-key", key)); err != nil {
			return err
		}
		ms, err := killOnce(socket, h, "http://"+control, "http://"+gate)
		if err != nil {
			return err
		}
		took = append(took, ms)
		if err := cli("restore", "bot", "--reason", "again"); err != nil {
			return err
		}
	}
	figure("kill_to_refused_ms", median(took), "ms")
	return nil
}

func killOnce(socket *http.Client, h holder, control, gate string) (float64, error) {
	res, err := http.PostForm(control+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "resource": {gate + "/mail"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {h.assertion("spiffe://lanyard.local/agent/bot", control)}})
	if err != nil {
		return 0, err
	}
	var token struct {
		Access string `json:"access_token"`
		Error  string `json:"error_description"`
	}
	err = json.NewDecoder(res.Body).Decode(&token)
	if res.Body.Close(); err != nil || token.Access == "" {
		return 0, fmt.Errorf("no token: %s %w", token.Error, err)
	}
	var asked, answered, refused atomic.Int64 // nanoseconds; 0: not yet
	var late atomic.Bool
	var last atomic.Value
	begin := time.Now()
	now := func() int64 { return int64(time.Since(begin)) }
	var callers sync.WaitGroup
	var allowed atomic.Int64
	for range 4 {
		callers.Go(func() {
			for refused.Load() == 0 && now() < int64(20*time.Second) {
				done := answered.Load()
				req, _ := http.NewRequest("GET", gate+"/mail/things/1", nil)
				req.Header.Set("Authorization", "Bearer "+token.Access)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					continue
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode == http.StatusOK {
					allowed.Add(1)
					if done != 0 {
						late.Store(true)
					}
					continue
				}
				last.Store(res.Status + " " + string(body))
				if asked.Load() != 0 {
					refused.CompareAndSwap(0, now())
				}
			}
		})
	}
	for allowed.Load() < 100 && now() < int64(10*time.Second) {
		time.Sleep(time.Millisecond)
	}
	asked.Store(now())
	res, err = socket.Post("http://lanyard/v1/kill", "application/json", bytes.NewReader([]byte(`{"identity":"bot","reason":"measured"}`)))
	answered.Store(now())
	if err != nil {
		return 0, err
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	callers.Wait()
	switch {
	case allowed.Load() < 100 || refused.Load() == 0:
		return 0, fmt.Errorf("%d calls were allowed, and refused at %d ns; the last answer: %v", allowed.Load(), refused.Load(), last.Load())
	case late.Load():
		return 0, errors.New("a call begun after the kill was answered was allowed")
	}
	return float64(refused.Load()-asked.Load()) / 1e6, nil
}
