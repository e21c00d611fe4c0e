package fault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/test/built"
	"github.com/lanyard-dev/lanyard/test/port"
)

// house is the built program with a data folder and two addresses.
type house struct {
	bin, data, listen, gateway string
	flags                      []string // of serve
}

var programs = sync.OnceValues(func() (string, error) { return built.Programs("lanyard") })

func newHouse(t *testing.T) house {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return house{bin: filepath.Join(bin, "lanyard"), data: filepath.Join(scratch(t), "d"), listen: port.Free(), gateway: port.Free()}
}

func (h house) command(args ...string) *exec.Cmd {
	return exec.Command(h.bin, append([]string{"--data", h.data}, args...)...)
}

// serve starts the server. Its log is for reading once it has ended.
func (h house) serve(t *testing.T, listen, gateway string) (*exec.Cmd, *bytes.Buffer) {
	c, log := h.command(append([]string{"serve", "--listen", listen, "--gateway-listen", gateway}, h.flags...)...), &bytes.Buffer{}
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return c, log
}

// ready waits until commands work.
func (h house) ready(t *testing.T) {
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		out, err := h.command("status").CombinedOutput()
		if err == nil {
			return
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("serve is not there: %s", out)
		}
	}
}

// read reads what a command says in JSON: a list, or line by line.
func (h house) read(t *testing.T, to any, args ...string) {
	out, err := h.command(append(args, "-o", "json")...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if !bytes.HasPrefix(out, []byte("[")) {
		out = []byte("[" + strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", ",") + "]")
	}
	if err := json.Unmarshal(out, to); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// ended waits for a process that should end by itself.
func ended(t *testing.T, c *exec.Cmd, within time.Duration) int {
	late := time.AfterFunc(within, func() { c.Process.Kill() })
	c.Wait()
	if !late.Stop() {
		t.Errorf("%v went on for more than %v", c.Args, within)
	}
	return c.ProcessState.ExitCode()
}

// TestSecondServe: two processes on one folder would each believe their own tree. And the first ends when it is asked to.
func TestSecondServe(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, log := h.serve(t, h.listen, h.gateway)
	h.ready(t)
	second, said := h.serve(t, port.Free(), port.Free())
	if code := ended(t, second, 10*time.Second); code == 0 || !strings.Contains(said.String(), "in use by process "+strconv.Itoa(first.Process.Pid)) {
		t.Errorf("the second serve ended with %d: %s", code, said)
	}
	if out, err := h.command("owner", "put", "anna", "--name", "Anna", "--email", "a@example.com").CombinedOutput(); err != nil {
		t.Errorf("the first does not work any more: %s", out)
	}
	first.Process.Signal(syscall.SIGTERM)
	if code := ended(t, first, 10*time.Second); code != 0 {
		t.Errorf("SIGTERM: exit %d: %s", code, log)
	}
	// Of two that start at the same time, on a folder that is not there yet, one serves.
	h.data += "2"
	a, logA := h.serve(t, h.listen, h.gateway)
	b, logB := h.serve(t, port.Free(), port.Free())
	h.ready(t)
	done := make(chan *exec.Cmd, 2)
	for _, c := range []*exec.Cmd{a, b} {
		go func() { c.Wait(); done <- c }()
	}
	select {
	case c := <-done:
		if c.ProcessState.ExitCode() <= 0 {
			t.Errorf("refused with %v", c.ProcessState)
		}
	case <-time.After(10 * time.Second):
		t.Error("both serve")
	}
	a.Process.Signal(syscall.SIGTERM)
	b.Process.Signal(syscall.SIGTERM)
	<-done
	if codes := a.ProcessState.ExitCode() * b.ProcessState.ExitCode(); codes != 0 {
		t.Errorf("neither ended well:\n%s\n%s", logA, logB)
	}
}

// TestServeKilled: the whole program under kill -9 while commands change things.
func TestServeKilled(t *testing.T) {
	t.Parallel()
	serveKilled(t, newHouse(t), rounds(t, 20))
}

func serveKilled(t *testing.T, h house, n int) {
	r := rand.New(rand.NewPCG(5, 6))
	sent, acked := map[string]bool{}, map[string]bool{}
	for round := range n {
		c, log := h.serve(t, h.listen, h.gateway)
		if round%5 == 0 { // somewhere in the start, which the first time makes everything
			time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
			c.Process.Kill()
			c.Wait()
			c, log = h.serve(t, h.listen, h.gateway)
		}
		h.ready(t)
		var mu sync.Mutex
		var all sync.WaitGroup
		killed := false
		for by := range 3 {
			all.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("o%d-%d-%d", round, by, i)
					mu.Lock()
					if killed {
						mu.Unlock()
						return
					}
					sent[name] = true
					mu.Unlock()
					out, err := h.command("owner", "put", name, "--name", name, "--email", name+"@example.com").CombinedOutput()
					mu.Lock()
					if err == nil {
						acked[name] = true
					} else if !killed {
						t.Errorf("%s: %s", name, out)
					}
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(100+r.IntN(200)) * time.Millisecond)
		mu.Lock()
		killed = true
		mu.Unlock()
		c.Process.Kill()
		all.Wait()
		if c.Wait(); strings.Contains(log.String(), "panic") {
			t.Errorf("round %d: %s", round, log)
		}
	}
	last, _ := h.serve(t, h.listen, h.gateway)
	h.ready(t)
	if out, err := h.command("audit", "verify").CombinedOutput(); err != nil {
		t.Errorf("the ledger: %s", out)
	}
	owners, events := map[string]bool{}, map[string]int{}
	var list []struct{ ID string }
	h.read(t, &list, "owner", "list")
	for _, o := range list {
		owners[o.ID] = true
	}
	var found []struct {
		Resources []struct{ Name string }
		Unmapped  struct{ Type string }
	}
	h.read(t, &found, "audit", "search", "--type", "owner.add", "--limit", strconv.Itoa(2*len(sent)))
	for _, e := range found {
		events[e.Resources[0].Name]++
	}
	for name := range acked {
		if !owners[name] {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
	for name := range sent {
		if n := events[name]; owners[name] != (n == 1) || n > 1 {
			t.Errorf("half a write: %s is there: %v, with %d events", name, owners[name], n)
		}
	}
	t.Logf("%d changes acknowledged, %d more were not and are there", len(acked), len(owners)-len(acked))
	last.Process.Signal(syscall.SIGTERM)
	if code := ended(t, last, 10*time.Second); code != 0 {
		t.Errorf("SIGTERM: exit %d", code)
	}
}
