package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/test/port"
)

// The fleet of the measurement: gateways that are called, and more that only follow.
const (
	fleetGateways  = 3
	fleetFollowers = 100
	fleetKills     = 300
)

// post sends one request to the socket and decodes what is answered into out.
func (s *served) post(method, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://lanyard/v1/"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.socket.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if b, err = io.ReadAll(res.Body); err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, b)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(b, out)
	}
	return err
}

func (s *served) joinToken(name string) (string, error) {
	var t struct{ Token string }
	err := s.post("POST", "gateways/"+name+"/token", map[string]any{}, &t)
	return t.Token, err
}

// outpost starts a gateway in a process of its own and returns where it is called.
func (s *served) outpost(name, feedAt string) (gate string, end func(), err error) {
	token, err := s.joinToken(name)
	if err != nil {
		return "", nil, err
	}
	gate, health := port.Free(), port.Free()
	c := exec.Command("bin/lanyard", "serve", "--role", "gateway", "--control", "https://"+feedAt, "--data", filepath.Join(s.dir, name), "--gateway-listen", gate, "--listen", health)
	c.Env = append(os.Environ(), "LANYARD_JOIN_TOKEN="+token)
	if err := c.Start(); err != nil {
		return "", nil, err
	}
	end = func() { c.Process.Signal(syscall.SIGTERM); c.Wait() }
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + health + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return "http://" + gate, end, nil
			}
		}
		if time.Since(begun) > 20*time.Second {
			end()
			return "", nil, errors.New(name + " is not ready")
		}
	}
}

// follow is a gateway that only follows.
func (s *served) follow(ctx context.Context, name, feedAt string) error {
	text, err := s.joinToken(name)
	if err != nil {
		return err
	}
	t, err := feed.ParseJoinToken(text)
	if err != nil {
		return err
	}
	m, err := feed.Join(ctx, []string{"https://" + feedAt}, t, time.Now, rand.Reader)
	if err != nil {
		return err
	}
	c, err := feed.NewClient([]string{"https://" + feedAt}, feed.MemberTLS(func() *feed.Member { return m }, time.Now))
	if err != nil {
		return err
	}
	view := feed.NewView()
	go feed.Follow(ctx, c, view, func(err error) { log.Print(name, ": ", err) })
	for begun := time.Now(); view.Live() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			return errors.New(name + " does not follow")
		}
	}
	return nil
}

// fleetKilling pulls the cord 300 times while three gateways in processes of their own are called,
// and a hundred more follow, and takes the time from asking until the last of the three refuses.
func fleetKilling() error {
	at := port.Free()
	s, err := startServed("--role", "control", "--feed-listen", at)
	if err != nil {
		return err
	}
	defer s.end()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var gates []string
	for n := range fleetGateways {
		gate, end, err := s.outpost(fmt.Sprint("gw-", n), at)
		if err != nil {
			return err
		}
		defer end()
		gates = append(gates, gate)
	}
	for n := range fleetFollowers {
		if err := s.follow(ctx, fmt.Sprint("follower-", n), at); err != nil {
			return err
		}
	}
	var refused, receipts []float64
	used := 0.0
	for n := range fleetKills {
		name := fmt.Sprint("bot-", n)
		h, err := newHolder()
		if err != nil {
			return err
		}
		err = errors.Join(s.post("PUT", "identities/"+name, map[string]any{"kind": "agent", "owner": "maya", "purpose": "Measures"}, nil),
			s.post("POST", "identities/"+name+"/credentials", map[string]any{"public_key": json.RawMessage(h.jwk)}, nil),
			s.post("PUT", "identities/"+name+"/grants/read", map[string]any{"upstream": "mail", "actions": []string{"read"}}, nil))
		if err != nil {
			return err
		}
		token, err := s.token(h, agentPrefix+name, s.gate+"/mail")
		if err != nil {
			return err
		}
		before := cpuSeconds(s.pid)
		ms, receipt, err := s.killEverywhere(name, token, gates)
		if err != nil {
			return err
		}
		used += cpuSeconds(s.pid) - before
		refused, receipts = append(refused, ms), append(receipts, receipt)
	}
	slices.Sort(refused)
	slices.Sort(receipts)
	figure("kill_to_refused_fleet_p50_ms", refused[len(refused)/2], "ms")
	figure("kill_to_refused_fleet_p99_ms", refused[len(refused)*99/100], "ms")
	figure("kill_receipt_fleet_p50_ms", receipts[len(receipts)/2], "ms")
	figure("kill_receipt_fleet_p99_ms", receipts[len(receipts)*99/100], "ms")
	figure("kill_fleet_control_cpu_us", used/fleetKills/(fleetGateways+fleetFollowers)*1e6, "us/gateway")
	return nil
}

// killEverywhere pulls the cord while each gateway is called by one caller, and returns in milliseconds when
// the last has refused, and when the kill was answered. A call begun after that, and allowed, is an error.
func (s *served) killEverywhere(name, token string, gates []string) (gone, done float64, err error) {
	begin := time.Now()
	now := func() int64 { return int64(time.Since(begin)) }
	var answered, allowed atomic.Int64
	var late atomic.Bool
	last := make([]atomic.Int64, len(gates)) // when the first refusal of each was answered
	var callers sync.WaitGroup
	for i, gate := range gates {
		callers.Go(func() {
			for now() < int64(20*time.Second) {
				over := answered.Load() != 0
				req, _ := http.NewRequest("GET", gate+"/mail/things/1", nil)
				req.Header.Set("Authorization", "Bearer "+token)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode == http.StatusOK {
					allowed.Add(1)
					if over {
						late.Store(true)
					}
					continue
				}
				if allowed.Load() < int64(3*len(gates)) { // the change that makes it known may still be on its way
					continue
				}
				last[i].Store(now())
				return
			}
		})
	}
	for allowed.Load() < int64(5*len(gates)) && now() < int64(10*time.Second) {
		time.Sleep(200 * time.Microsecond)
	}
	asked := now()
	err = s.post("POST", "kill", map[string]any{"identity": name, "reason": "measured"}, nil)
	answered.Store(now())
	callers.Wait()
	if err != nil {
		return 0, 0, err
	}
	if late.Load() {
		return 0, 0, errors.New("a call begun after the kill was answered was allowed")
	}
	for i := range last {
		if last[i].Load() < asked {
			return 0, 0, fmt.Errorf("%s did not refuse in its time", gates[i])
		}
		gone = max(gone, float64(last[i].Load()-asked)/1e6)
	}
	return gone, float64(answered.Load()-asked) / 1e6, nil
}
