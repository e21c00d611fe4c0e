// Package fleet breaks a fleet: control nodes on one PostgreSQL, gateways that follow them, each on a machine of its own as
// far as the network goes, with agents that send requests all the while and operators that take rights away and give them
// back. Whatever is broken, what happened is written down, and [history.Check] says what of it must not have.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/test/built"
	"github.com/lanyard-dev/lanyard/test/fault/history"
	"github.com/lanyard-dev/lanyard/test/operator"
)

// What the fleets of these tests promise. The lease is the product's promise; how soon they heal is not, and this machine may be busy.
const (
	lease  = 3 * time.Second
	heal   = 60 * time.Second
	gap    = 10 * time.Second
	flight = time.Second
)

// More time than this is taken by nothing that works.
const patience = 60 * time.Second

var programs = sync.OnceValues(func() (string, error) { return built.Programs("lanyard") })

// program is the built lanyard.
func program(t *testing.T) string {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, "lanyard")
}

func TestMain(m *testing.M) {
	sweep()
	os.Exit(m.Run())
}

// boot is CLOCK_BOOTTIME.
func boot() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

// world is a fleet.
type world struct {
	t        *testing.T
	dir      string
	net      *network
	log      *history.Log
	file     string
	pg, pg2  *pgserver.Server
	nodes    []*machine // control nodes
	gateways []*machine
	load     load
}

// machine is one process of Lanyard on a machine of its own.
type machine struct {
	w      *world
	name   string
	at     *space
	data   string
	args   []string
	env    []string
	client *http.Client // of its REST interface, or of its gateway

	mu    sync.Mutex
	bin   string
	c     *exec.Cmd
	ended <-chan struct{}
	log   string
}

// setup is how a world is made.
type setup struct {
	standby  bool                          // db2 follows db1, which commits nothing that db2 does not have
	database []string                      // settings of PostgreSQL
	bin      func(machine string) string   // nil: what is built
	env      func(machine string) []string // more of the environment
	folders  bool                          // each machine has its folder before it starts
	tmpfs    map[string]string             // machine → the size of a disk of its own for its folder, or its database
}

var machines = []string{"up", "db1", "db2", "c1", "c2", "gw-a", "gw-b", "gw-c", "twin"}

// newWorld starts a fleet, and the load on it.
func newWorld(t *testing.T, s setup) *world {
	needNetwork(t)
	if s.bin == nil {
		bin := program(t)
		s.bin = func(string) string { return bin }
	}
	w := &world{t: t}
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	var err error
	if w.dir, err = os.MkdirTemp(base, "lyf-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(w.dir) })
	w.net = newNetwork(t, machines...)
	w.file = filepath.Join(w.dir, "history.jsonl")
	if keep := os.Getenv("FAULT_HISTORY"); keep != "" { // a folder to leave it in
		w.file = filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "-")+".jsonl")
	}
	f, err := os.Create(w.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w.log = history.NewLog(f)
	terms := &history.Terms{Steady: steady, Lease: lease, Heal: heal, Gap: gap, Flight: flight}
	for _, m := range machines {
		if strings.HasPrefix(m, "gw-") {
			terms.Gateways = append(terms.Gateways, m)
		} else if strings.HasPrefix(m, "c") {
			terms.Nodes = append(terms.Nodes, m)
		}
	}
	w.log.Add(history.Line{Kind: history.Rules, Rules: terms})
	w.database(s)
	w.upstream()
	var feeds []string
	for _, name := range terms.Nodes {
		m := w.machine(name, s)
		m.args = []string{"serve", "--role", "control", "--data", m.data, "--database", w.url(s), "--seal", "file:" + filepath.Join(w.dir, "seal.key"), "--allow-bearer",
			"--lease", lease.String(), "--token-ttl", "15m", "--listen", "127.0.0.1:8440", "--url", "http://127.0.0.1:8440", "--gateway-url", "http://127.0.0.1:8441",
			"--feed-listen", m.at.ip + ":8443", "--drain", "5s"}
		m.client = operator.Socket(m.data)
		feeds = append(feeds, "https://"+m.at.ip+":8443")
		w.nodes = append(w.nodes, m)
		m.start()
		w.eventually(name+" is there", func() error { return m.ask("GET", "gateways", nil, nil) })
	}
	w.furnish()
	for i, name := range terms.Gateways {
		m := w.machine(name, s)
		m.args = []string{"serve", "--role", "gateway", "--data", m.data, "--listen", "127.0.0.1:8440", "--gateway-listen", "127.0.0.1:8441", "--drain", "5s"}
		for n := range feeds {
			m.args = append(m.args, "--control", feeds[(n+i)%len(feeds)])
		}
		m.client = w.through(m)
		var join struct{ Token string }
		w.must(w.nodes[0].ask("POST", "gateways/"+name+"/token", map[string]any{}, &join))
		m.env = append(m.env, "LANYARD_JOIN_TOKEN="+join.Token)
		w.gateways = append(w.gateways, m)
		m.start()
	}
	w.begin()
	return w
}

// through is how agents on its machine reach a gateway.
func (w *world) through(m *machine) *http.Client {
	return &http.Client{Timeout: 6 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16, DialContext: m.at.dial}}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// eventually waits until do works.
func (w *world) eventually(what string, do func() error) {
	w.t.Helper()
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Since(begun) > patience {
			for _, m := range append(append([]*machine{}, w.nodes...), w.gateways...) {
				w.t.Logf("%s: %s", m.name, m.said())
			}
			w.t.Fatalf("after %s it is not so that %s: %v", patience, what, err)
		}
	}
}

func (w *world) database(s setup) {
	listen := func(m string) []string {
		return append([]string{"listen_addresses='" + w.net.spaces[m].ip + "'", "fsync=on", "tcp_user_timeout=10s", "tcp_keepalives_idle=5", "tcp_keepalives_interval=2", "tcp_keepalives_count=3"}, s.database...)
	}
	var err error
	w.pg, err = pgserver.StartIn(pgserver.Place{Enter: w.net.spaces["db1"].enter, Dir: w.disk("db1", s)}, listen("db1")...)
	if errors.Is(err, pgserver.ErrMissing) {
		cannot(w.t, err)
	}
	w.must(err)
	w.t.Cleanup(w.pg.Stop)
	if s.standby {
		w.pg2, err = w.pg.Standby(pgserver.Place{Enter: w.net.spaces["db2"].enter}, "db2", "host="+w.net.spaces["db1"].ip, listen("db2")...)
		w.must(err)
		w.t.Cleanup(w.pg2.Stop)
		w.must(w.pg.Exec("ALTER SYSTEM SET synchronous_standby_names = 'db2'"))
		w.must(w.pg.Exec("SELECT pg_reload_conf()"))
	}
	w.must(w.pg.Exec("CREATE SCHEMA fleet"))
}

func (w *world) url(s setup) string {
	hosts := w.net.spaces["db1"].ip
	if s.standby {
		hosts += "," + w.net.spaces["db2"].ip
	}
	return "postgres://postgres@" + hosts + "/postgres?sslmode=disable&target_session_attrs=read-write&search_path=fleet"
}

// upstream writes down what it receives.
func (w *world) upstream() {
	l, err := w.net.spaces["up"].listen(w.net.spaces["up"].ip + ":80")
	w.must(err)
	s := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.log.Add(history.Line{Kind: history.Got, ID: filepath.Base(r.URL.Path), Ended: boot()})
		io.WriteString(out, "{}")
	})}
	go s.Serve(l)
	w.t.Cleanup(func() { s.Close() })
}

func (w *world) machine(name string, s setup) *machine {
	m := &machine{w: w, name: name, at: w.net.spaces[name], data: filepath.Join(w.dir, name), bin: s.bin(name), log: strings.TrimSuffix(w.file, ".jsonl") + "-" + name + ".log"}
	if s.env != nil {
		m.env = s.env(name)
	}
	if w.disk(name, s) == "" && s.folders {
		w.must(os.Mkdir(m.data, 0o700))
	}
	w.t.Cleanup(func() { m.kill() })
	return m
}

// disk makes the folder of a machine that has a disk of its own; others have none yet, and it returns nothing.
func (w *world) disk(name string, s setup) string {
	size := s.tmpfs[name]
	if size == "" {
		return ""
	}
	dir := filepath.Join(w.dir, name)
	w.must(os.Mkdir(dir, 0o700))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		cannot(w.t, fmt.Errorf("no tmpfs here: %w", err))
	}
	w.t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	w.must(errors.Join(os.Chmod(w.dir, 0o711), os.Chmod(dir, 0o711))) // PostgreSQL runs as somebody else
	return dir
}

// start starts it again, or for the first time.
func (m *machine) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	m.w.must(err)
	defer f.Close()
	m.c = exec.Command(m.bin, m.args...)
	m.c.Env = append(os.Environ(), m.env...)
	m.c.Stdout, m.c.Stderr = f, f
	m.ended, err = m.at.start(m.c)
	m.w.must(err)
}

func (m *machine) signal(s syscall.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.c != nil && m.c.Process != nil {
		m.c.Process.Signal(s)
	}
}

// kill is kill -9.
func (m *machine) kill() {
	m.signal(syscall.SIGKILL)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended != nil {
		<-m.ended
	}
}

// said is the end of its log.
func (m *machine) said() string {
	b, _ := os.ReadFile(m.log)
	return string(b[max(0, len(b)-3000):])
}

// ask sends one request to a control node, as an operator on its machine who waits for 20 seconds.
func (m *machine) ask(method, path string, in, out any) error {
	return m.await(20*time.Second, method, path, in, out)
}

func (m *machine) await(wait time.Duration, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return operator.Ask(ctx, m.client, method, path, in, out)
}

// fault breaks something, has it be so for a while, and mends it; then it waits until all works again, which the checker
// looks at. what is broken concerns b's gateways alone.
func (w *world) fault(what string, b history.Broken, do func() (mend func()), while time.Duration) {
	w.t.Helper()
	w.during(what, b, do, func() { time.Sleep(while) })
}

func (w *world) during(what string, b history.Broken, do func() (mend func()), meanwhile func()) {
	w.t.Helper()
	mend := do()
	began := boot()
	meanwhile()
	ended := boot() // what is mended may work at once
	mend()
	if len(b.Cuts) == 0 {
		ended = boot()
	}
	w.log.Add(history.Line{Kind: history.Fault, What: what, Began: began, Ended: ended, Broken: &b})
	w.healed(what)
}

// healed waits until every gateway serves, and every node acknowledges something that it was asked from now on.
func (w *world) healed(after string) {
	w.t.Helper()
	from := boot()
	for _, m := range append(append([]*machine{}, w.nodes...), w.gateways...) {
		for m.lastGood(&w.load) < from {
			if time.Duration(boot()-from) > patience {
				w.t.Errorf("%s does not come back after %s:\n%s", m.name, after, m.said())
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	w.t.Logf("%s: healed after %s", after, time.Duration(boot()-from).Round(time.Millisecond))
}

func (m *machine) lastGood(l *load) int64 {
	v, _ := l.good.LoadOrStore(m.name, new(atomic.Int64))
	return v.(*atomic.Int64).Load()
}

// more is for how long a test goes on that can go on: FAULT_TIME in seconds or as 10m, or what is usual.
func more(t *testing.T, usual time.Duration) time.Duration {
	s := os.Getenv("FAULT_TIME")
	if s == "" {
		return usual
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("FAULT_TIME=%q: want a time like 10m", s)
	}
	return max(d, usual)
}
