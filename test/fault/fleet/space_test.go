package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
)

// cannot skips a test that this machine cannot run; CI must be able to.
func cannot(t *testing.T, err error) {
	t.Helper()
	if pgserver.CI() {
		t.Fatalf("CI must be able to run this: %v", err)
	}
	t.Skipf("not run: %v", err)
}

// network is machines of their own, each a network namespace, with one router between them. There is no other way from
// one to another, and nothing of it is seen outside. What is dropped is dropped without a word, as a broken network does.
type network struct {
	t      *testing.T
	prefix string
	router *space
	spaces map[string]*space
	rules  int
}

// space is a machine.
type space struct {
	name, link, ip string // link is the router's end
	fd             int
}

// needNetwork skips the test where there can be no namespaces.
func needNetwork(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		cannot(t, errors.New("network namespaces need root"))
	}
	for _, program := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(program); err != nil {
			cannot(t, fmt.Errorf("no %s here (Debian: iproute2)", program))
		}
	}
	probe := fmt.Sprintf("%s%d-probe-%d", namespaces, os.Getpid(), networks.Add(1))
	if out, err := exec.Command("ip", "netns", "add", probe).CombinedOutput(); err != nil {
		cannot(t, fmt.Errorf("no network namespaces here: %s", out))
	}
	run(t, "ip", "netns", "del", probe)
}

// namespaces is how the names of all of them begin; the process that made them follows.
const namespaces = "lyf"

// sweep removes what a run that was killed left.
func sweep() {
	list, err := os.ReadDir("/var/run/netns")
	if err != nil {
		return
	}
	for _, e := range list {
		rest, ours := strings.CutPrefix(e.Name(), namespaces)
		pid, err := strconv.Atoi(strings.SplitN(rest, "-", 2)[0])
		if ours && err == nil && syscall.Kill(pid, 0) != nil {
			_ = exec.Command("ip", "netns", "del", e.Name()).Run()
		}
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

var networks atomic.Int64

func newNetwork(t *testing.T, machines ...string) *network {
	n := &network{t: t, prefix: fmt.Sprintf("%s%d-%d-", namespaces, os.Getpid(), networks.Add(1)), spaces: map[string]*space{}, rules: 100}
	n.router = n.space("router")
	for _, set := range []string{"net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0", "net.ipv4.conf.all.send_redirects=0"} {
		run(t, "ip", "netns", "exec", n.router.name, "sysctl", "-q", "-w", set)
	}
	for i, m := range machines {
		s := n.space(m)
		s.ip, s.link = fmt.Sprintf("10.87.%d.2", i+1), "to-"+m
		n.spaces[m] = s
		run(t, "ip", "link", "add", s.link, "netns", n.router.name, "type", "veth", "peer", "name", "eth0", "netns", s.name)
		run(t, "ip", "-n", n.router.name, "addr", "add", fmt.Sprintf("10.87.%d.1/24", i+1), "dev", s.link)
		run(t, "ip", "-n", n.router.name, "link", "set", s.link, "up")
		run(t, "ip", "-n", s.name, "addr", "add", s.ip+"/24", "dev", "eth0")
		run(t, "ip", "-n", s.name, "link", "set", "eth0", "up")
		run(t, "ip", "-n", s.name, "link", "set", "lo", "up")
		run(t, "ip", "-n", s.name, "route", "add", "default", "via", fmt.Sprintf("10.87.%d.1", i+1))
	}
	return n
}

func (n *network) space(machine string) *space {
	s := &space{name: n.prefix + machine}
	run(n.t, "ip", "netns", "add", s.name)
	n.t.Cleanup(func() {
		unix.Close(s.fd)
		if out, err := exec.Command("ip", "netns", "del", s.name).CombinedOutput(); err != nil {
			n.t.Errorf("removing the namespace %s: %s", s.name, out)
		}
	})
	var err error
	if s.fd, err = unix.Open("/var/run/netns/"+s.name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		n.t.Fatal(err)
	}
	return s
}

// enter brings the thread that it is called on onto the machine. It must be locked, and end there.
func (s *space) enter() error { return unix.Setns(s.fd, unix.CLONE_NEWNET) }

// on does something on a machine.
func (s *space) on(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		err := s.enter()
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// dial makes a connection from there.
func (s *space) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = s.on(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

func (s *space) listen(address string) (l net.Listener, err error) {
	err = s.on(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l, err
}

// start starts a program there. It ends when this process does, however that ends.
func (s *space) start(c *exec.Cmd) (ended <-chan struct{}, err error) {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := s.enter()
		if err == nil {
			err = c.Start()
		}
		started <- err
		if err == nil {
			c.Wait()
		}
		close(done)
	}()
	return done, <-started
}

// drop has the router throw away, without a word, what one machine sends to another, until the returned function is called.
func (n *network) drop(from, to string) (mend func()) {
	n.rules++
	rule := []string{"pref", strconv.Itoa(n.rules), "iif", n.spaces[from].link, "to", n.spaces[to].ip + "/32", "blackhole"}
	run(n.t, append([]string{"ip", "-n", n.router.name, "rule", "add"}, rule...)...)
	return func() { run(n.t, append([]string{"ip", "-n", n.router.name, "rule", "del"}, rule...)...) }
}

// cut drops both ways.
func (n *network) cut(a, b string) (mend func()) { return together(n.drop(a, b), n.drop(b, a)) }

// narrow lets only so much through to a machine and from it: as in tc's rate, with what waits for at most two seconds.
func (n *network) narrow(machine, rate string) (mend func()) {
	s := n.spaces[machine]
	for _, where := range [][]string{{n.router.name, s.link}, {s.name, "eth0"}} {
		run(n.t, "tc", "-n", where[0], "qdisc", "add", "dev", where[1], "root", "tbf", "rate", rate, "burst", "4kb", "latency", "2s")
	}
	return func() {
		for _, where := range [][]string{{n.router.name, s.link}, {s.name, "eth0"}} {
			run(n.t, "tc", "-n", where[0], "qdisc", "del", "dev", where[1], "root")
		}
	}
}

func together(list ...func()) func() {
	return func() {
		for _, f := range list {
			f()
		}
	}
}

// TestNetwork: what is dropped goes nowhere, only that way, and goes on afterwards.
func TestNetwork(t *testing.T) {
	needNetwork(t)
	n := newNetwork(t, "a", "b", "c")
	l, err := n.spaces["b"].listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	reaches := func(from string) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		c, err := n.spaces[from].dial(ctx, "tcp", n.spaces["b"].ip+":80")
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	see := func(when string, a, c bool) {
		t.Helper()
		if reaches("a") != a || reaches("c") != c {
			t.Errorf("%s: a reaches b: %v, c reaches b: %v", when, !a, !c)
		}
	}
	see("whole", true, true)
	mend := n.drop("a", "b")
	see("a to b is dropped", false, true)
	mend()
	see("mended", true, true)
	mend = n.drop("b", "a")
	see("b to a is dropped", false, true)
	mend()
	mend = n.narrow("b", "1mbit")
	see("narrow", true, true)
	mend()
}
