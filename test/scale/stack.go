package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lanyard-dev/lanyard/test/operator"
	"github.com/lanyard-dev/lanyard/test/port"
)

// process is one of the built binary.
type process struct {
	*exec.Cmd
	log   bytes.Buffer
	ended chan struct{}
}

func start(env []string, args ...string) (*process, error) {
	p := &process{Cmd: exec.Command("bin/lanyard", args...), ended: make(chan struct{})}
	p.Env, p.Stderr = append(os.Environ(), env...), &p.log
	p.SysProcAttr = &syscall.SysProcAttr{}
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() { p.Wait(); close(p.ended) }()
	return p, nil
}

// quiet waits until the process does next to nothing, such as a gateway once its view is on disk, and returns how many seconds of
// processor time that took.
func (p *process) quiet(most time.Duration) (float64, error) {
	first := p.cpu()
	for begun, calm, last := time.Now(), 0, first; calm < 3; {
		if time.Since(begun) > most {
			return 0, fmt.Errorf("%s is still busy after %s", p.Args[0], most)
		}
		time.Sleep(time.Second)
		now := p.cpu()
		if calm++; now-last > 0.05 {
			calm = 0
		}
		last = now
	}
	return p.cpu() - first, nil
}

func (p *process) end() {
	p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.Process.Kill()
		<-p.ended
	}
}

// ready waits until an address says that it is.
func (p *process) ready(at string, most time.Duration) error {
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + at + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.ended:
			return fmt.Errorf("lanyard ended: %s", p.log.String())
		default:
		}
		if time.Since(begun) > most {
			return fmt.Errorf("lanyard is not ready after %s: %s", most, p.log.String())
		}
	}
}

// memory is what a process has in RAM, now and at most so far, in bytes (proc(5), status).
func (p *process) memory() (now, most float64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			now = kb * 1024
		case "VmHWM:":
			most = kb * 1024
		}
	}
	return now, most
}

// cpu is what it has used, in seconds (proc(5), stat, fields 14 and 15).
func (p *process) cpu() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return float64(user+system) / 100
}

// stack is a control plane over a store, and a gateway of its.
type stack struct {
	dir, database              string
	listen, feed, gate, health string // addresses
	control, gateway           *process
	socket                     *http.Client
	controlStart               time.Duration
	named                      string // the gateway
}

func newStack(dir, database string) *stack {
	return &stack{dir: dir, database: database, listen: port.Free(), feed: port.Free(), gate: port.Free(), health: port.Free()}
}

func (s *stack) begin() (err error) {
	begun := time.Now()
	if s.control, err = start(nil, "serve", "--role", "control", "--database", s.database, "--data", s.dir, "--listen", s.listen, "--feed-listen", s.feed,
		"--gateway-url", "http://"+s.gate, "--allow-bearer", "--token-ttl", "15m"); err != nil {
		return err
	}
	s.socket = operator.Socket(s.dir)
	err = s.control.ready(s.listen, 10*time.Minute)
	s.controlStart = time.Since(begun)
	return err
}

// cold starts a gateway that knows nothing, and says how long it took until it served, and how much
// processor time the two used for that.
func (s *stack) cold(name string) (took time.Duration, gateway, control float64, err error) {
	var t struct{ Token string }
	if err := s.call("POST", "gateways/"+name+"/token", map[string]any{}, &t); err != nil {
		return 0, 0, 0, err
	}
	s.named = name
	begun, before := time.Now(), s.control.cpu()
	if s.gateway, err = start([]string{"LANYARD_JOIN_TOKEN=" + t.Token}, "serve", "--role", "gateway", "--control", "https://"+s.feed,
		"--data", filepath.Join(s.dir, name), "--gateway-listen", s.gate, "--listen", s.health); err != nil {
		return 0, 0, 0, err
	}
	err = s.gateway.ready(s.health, 10*time.Minute)
	return time.Since(begun), s.gateway.cpu(), s.control.cpu() - before, err
}

func (s *stack) end() {
	for _, p := range []*process{s.gateway, s.control} {
		if p != nil {
			p.end()
		}
	}
}

// call asks the control plane over its socket.
func (s *stack) call(method, path string, in, out any) error {
	return operator.Ask(context.Background(), s.socket, method, path, in, out)
}

// token is one of an identity for the gateway.
func (s *stack) token(i int) (string, error) {
	key, _, err := secret(i)
	if err != nil {
		return "", err
	}
	res, err := http.PostForm("http://"+s.listen+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "resource": {"http://" + s.gate + "/mail"},
		"client_id": {id(i).String()}, "client_secret": {key}})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var t struct {
		Access string `json:"access_token"`
		Error  string `json:"error_description"`
	}
	if err := json.NewDecoder(res.Body).Decode(&t); err != nil || t.Access == "" {
		return "", errors.Join(err, fmt.Errorf("no token for %s: %s", id(i), t.Error))
	}
	return t.Access, nil
}
