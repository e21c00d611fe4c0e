package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/test/port"
)

// beside starts another control node on the database of s, which says that it is the same issuer.
func (s *served) beside(database string) (addr string, end func(), err error) {
	dir, err := os.MkdirTemp("", "lyd")
	if err != nil {
		return "", nil, err
	}
	key, err := os.ReadFile(filepath.Join(s.dir, "seal.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "seal.key"), key, 0o600)
	}
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	addr = port.Free()
	c := exec.Command("bin/lanyard", "serve", "--role", "control", "--data", dir, "--database", database, "--listen", addr, "--url", s.control,
		"--gateway-url", s.gate, "--feed-listen", port.Free(), "--allow-bearer")
	if err := c.Start(); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	end = func() { c.Process.Signal(syscall.SIGTERM); c.Wait(); os.RemoveAll(dir) }
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + addr + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return addr, end, nil
			}
		}
		if time.Since(begun) > 20*time.Second {
			end()
			return "", nil, errors.New("the second control node is not ready")
		}
	}
}

// twoNodes compares tokens issued by two control nodes on one PostgreSQL with those of one, over as many connections.
// On a machine of two cores the database has its share of them, so what a second node brings is what is left of one.
func twoNodes(conns, rounds int, each time.Duration) error {
	pg, err := pgserver.Start("fsync=on", "full_page_writes=on", "shared_buffers=128MB")
	if errors.Is(err, pgserver.ErrMissing) {
		fmt.Fprintln(os.Stderr, "bench: control_2_vs_1 is not measured:", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer pg.Stop()
	database, err := pg.New()
	if err != nil {
		return err
	}
	s, err := startServed("--role", "control", "--database", database, "--feed-listen", port.Free())
	if err != nil {
		return err
	}
	defer s.end()
	h, err := s.enrol("bot")
	if err != nil {
		return err
	}
	second, end, err := s.beside(database)
	if err != nil {
		return err
	}
	defer end()
	node := func(addr string) target {
		return target{name: addr, addr: addr, fresh: true, request: func(int) []byte {
			form := url.Values{"grant_type": {"client_credentials"}, "resource": {s.gate + "/mail"},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
				"client_assertion":      {h.assertion(agentPrefix+"bot", s.control)}}.Encode()
			return fmt.Appendf(nil, "POST /oauth/token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", addr, len(form), form)
		}}
	}
	a, b := node(strings.TrimPrefix(s.control, "http://")), node(second)
	both := func() (float64, error) {
		var rates [2]result
		var errs [2]error
		var wg sync.WaitGroup
		for k, t := range []target{a, b} {
			wg.Go(func() { rates[k], errs[k] = t.load(conns/2, each, 6000) })
		}
		wg.Wait()
		return rates[0].perSecond + rates[1].perSecond, errors.Join(errs[0], errs[1])
	}
	var one, two []float64
	for n := range rounds + 1 {
		r, err := a.load(conns, each, 6000)
		if err != nil {
			return err
		}
		rate, err := both()
		if err != nil {
			return err
		}
		if n > 0 { // the first warms
			one, two = append(one, r.perSecond), append(two, rate)
		}
	}
	ratio("control_2_vs_1", median(two)/median(one))
	figure("issue_1_node_per_s", median(one), "tokens/s")
	figure("issue_2_nodes_per_s", median(two), "tokens/s")
	return nil
}
