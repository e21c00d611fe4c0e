package suspend

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// machine is one that QEMU emulates, and that sleeps when its program is told to. It reaches this one as 10.0.2.2, and requests to its gateway go by an address here.
type machine struct {
	t       *testing.T
	gateway string // where its gateway is reached
	lines   chan string
	console io.Writer
	monitor *json.Encoder
	events  chan string

	mu   sync.Mutex
	said bytes.Buffer
}

// boot starts a machine that has these files.
func boot(t *testing.T, qemu string, k *kernel, gateway string, files []file) *machine {
	dir, err := os.MkdirTemp("", "lys-") // a short name: it holds a socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	initrd, control := filepath.Join(dir, "initrd"), filepath.Join(dir, "qmp")
	must(t, os.WriteFile(initrd, archive(append(append([]file{{"dev", folder, nil}, {"modules", folder, nil}}, files...), k.modules...)), 0o600))
	m := &machine{t: t, gateway: gateway, lines: make(chan string, 100), events: make(chan string, 100)}
	// Emulated, not virtualised: so it is the same everywhere, and what the clocks do is the guest's kernel's doing alone.
	c := exec.Command(qemu, "-accel", "tcg", "-machine", "pc", "-global", "PIIX4_PM.disable_s3=0", "-cpu", "max", "-smp", "1", "-m", "512",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-qmp", "unix:"+control+",server=on,wait=off",
		"-netdev", "user,id=n,hostfwd=tcp:"+gateway+"-10.0.2.15:8441", "-device", "virtio-net-pci,netdev=n,romfile=",
		"-kernel", k.image, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off net.ifnames=0")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	c.Stderr = m
	must(t, c.Start())
	var read sync.WaitGroup
	t.Cleanup(func() {
		c.Process.Kill()
		read.Wait()
		c.Wait()
		if t.Failed() {
			m.mu.Lock()
			defer m.mu.Unlock()
			t.Logf("the machine said: %s", m.said.Bytes()[max(0, m.said.Len()-6000):])
		}
	})
	m.console = in
	read.Go(func() {
		for r := bufio.NewScanner(out); r.Scan(); {
			fmt.Fprintln(m, r.Text())
			if _, line, ok := strings.Cut(r.Text(), "guest: "); ok {
				m.lines <- line
			}
		}
		close(m.lines)
	})
	var q net.Conn
	eventually(t, "QEMU is there", func() error {
		q, err = net.Dial("unix", control)
		return err
	})
	t.Cleanup(func() { q.Close() })
	m.monitor = json.NewEncoder(q)
	m.order("qmp_capabilities")
	read.Go(func() {
		for r := json.NewDecoder(q); ; {
			var said struct {
				Event string
				Error json.RawMessage
			}
			if r.Decode(&said) != nil {
				return
			}
			if said.Error != nil {
				t.Errorf("QEMU: %s", said.Error)
			}
			if said.Event == "SUSPEND" || said.Event == "WAKEUP" {
				m.events <- said.Event
			}
		}
	})
	m.hears("up")
	return m
}

// Write takes what the machine says.
func (m *machine) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said.Write(b)
}

// order has QEMU do something.
func (m *machine) order(what string) {
	m.t.Helper()
	must(m.t, m.monitor.Encode(map[string]string{"execute": what}))
}

// happens waits until QEMU says that something has happened to the machine.
func (m *machine) happens(what string) {
	m.t.Helper()
	select {
	case got := <-m.events:
		if got != what {
			m.t.Fatalf("%s, not %s", got, what)
		}
	case <-time.After(patience):
		m.t.Fatalf("no %s after %s", what, patience)
	}
}

// hears waits for a line of the guest's program that begins so, and returns the rest of it.
func (m *machine) hears(what string) string {
	m.t.Helper()
	for end := time.After(patience); ; {
		select {
		case line, ok := <-m.lines:
			if rest, is := strings.CutPrefix(line, what); is {
				return rest
			}
			if !ok || strings.HasPrefix(line, "failed") {
				m.t.Fatalf("the machine has ended: %s", line)
			}
		case <-end:
			m.t.Fatalf("the machine does not say %q within %s", what, patience)
		}
	}
}

// tell has the guest's program do something.
func (m *machine) tell(what string) {
	m.t.Helper()
	_, err := fmt.Fprintln(m.console, what)
	must(m.t, err)
}

// clocks is what a machine's clocks say, and the lease of its gateway.
type clocks struct {
	steady, boot, left time.Duration
}

func (m *machine) clocks(when string) (c clocks) {
	m.t.Helper()
	_, err := fmt.Sscan(m.hears("clocks "+when+" "), &c.steady, &c.boot, &c.left)
	must(m.t, err)
	return c
}

// ask asks what the clocks say now.
func (m *machine) ask() clocks {
	m.t.Helper()
	m.tell("clocks")
	return m.clocks("now")
}

// sleeps puts it to sleep, and returns what the clocks said before, and when it slept.
func (m *machine) sleeps() (before clocks, fell time.Time) {
	m.t.Helper()
	m.tell("sleep")
	before = m.clocks("before")
	m.happens("SUSPEND")
	return before, time.Now()
}

// wakes wakes it once it has slept for long enough.
func (m *machine) wakes(fell time.Time) (woken time.Time) {
	m.t.Helper()
	time.Sleep(time.Until(fell.Add(asleep)))
	m.order("system_wakeup")
	woken = time.Now()
	m.happens("WAKEUP")
	m.clocks("after")
	return woken
}
