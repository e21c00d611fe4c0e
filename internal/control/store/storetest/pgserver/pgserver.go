// Package pgserver starts a PostgreSQL for tests and figures: a process of its
// own in a folder that is thrown away, reached through a Unix socket in it.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMissing means that there is no PostgreSQL on this machine.
var ErrMissing = errors.New("there is no PostgreSQL here (Debian: postgresql)")

// Server is a running PostgreSQL.
type Server struct {
	dir, bin string
	run      *syscall.SysProcAttr
	enter    func() error // goes where its processes are to run, on the thread that starts them; nil: here
	mu       sync.Mutex
	process  *exec.Cmd
	schemas  int
}

// programs is the folder of initdb and postgres, of the newest version there is.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path) // a link is there without the other programs
		return filepath.Dir(path), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// Place is where a server runs.
type Place struct {
	Enter func() error // brings the thread that it is called on there, such as into a network namespace; nil: here
	Dir   string       // in which its folder is made; empty: where temporary files are
}

// Start starts a server with the settings given, like "fsync=on". Without any it is fast and forgets when the machine ends.
func Start(settings ...string) (*Server, error) { return StartIn(Place{}, settings...) }

// StartIn starts one elsewhere. From where it listens everybody may come in.
func StartIn(at Place, settings ...string) (s *Server, err error) {
	if s, err = folder(at); err != nil {
		return nil, err
	}
	defer func(dir string) {
		if err != nil {
			os.RemoveAll(dir)
		}
	}(s.dir)
	initdb := s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "--no-instructions")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.add("pg_hba.conf", "host all all all trust", "host replication all all trust"); err != nil {
		return nil, err
	}
	if err := s.set(append([]string{"listen_addresses=''", "max_connections=200", "shared_buffers=32MB",
		"fsync=off", "full_page_writes=off", "logging_collector=off", "autovacuum_naptime=5s"}, settings...)...); err != nil {
		return nil, err
	}
	return s, s.Up()
}

// Standby starts a server that follows this one, which it reaches by what from says, as in "host=10.0.0.2". It is called name there.
func (s *Server) Standby(at Place, name, from string, settings ...string) (b *Server, err error) {
	if b, err = folder(at); err != nil {
		return nil, err
	}
	defer func(dir string) {
		if err != nil {
			os.RemoveAll(dir)
		}
	}(b.dir)
	copied := b.command("pg_basebackup", "-D", b.data(), "-h", s.dir, "-U", "postgres", "-X", "stream", "-c", "fast", "-N")
	if out, err := copied.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(b.data(), "standby.signal"), nil, 0o644); err != nil {
		return nil, err
	}
	return b, errors.Join(b.set(append([]string{"primary_conninfo='user=postgres application_name=" + name + " " + from + "'"}, settings...)...), b.Up())
}

// Promote has one that follows lead from now on.
func (s *Server) Promote() error {
	return s.Exec("SELECT pg_promote()")
}

// folder makes the folder of a server.
func folder(at Place) (s *Server, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s = &Server{bin: bin, run: &syscall.SysProcAttr{}, enter: at.Enter}
	if s.dir, err = os.MkdirTemp(at.Dir, "lanyard-pg-"); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // which it refuses to run as
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, fmt.Errorf("starting PostgreSQL as root: %w", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.run.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// set adds settings.
func (s *Server) set(settings ...string) error {
	return s.add("postgresql.conf", append([]string{"unix_socket_directories='" + s.dir + "'"}, settings...)...)
}

// add adds lines to one of its files.
func (s *Server) add(file string, lines ...string) error {
	f, err := os.OpenFile(filepath.Join(s.data(), file), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	return errors.Join(err, f.Close())
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(program string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, program), args...)
	c.SysProcAttr, c.Dir, c.Env = s.run, s.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	return c
}

// Up starts a server that is down, with what it had.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if s.process == nil {
			s.process = s.command("postgres", "-D", s.data())
			s.process.Stdout, s.process.Stderr = log, log
			if err := begin(s.process, s.enter); err != nil {
				s.process = nil
				return err
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		c, err := pgx.Connect(ctx, s.url(""))
		if err == nil {
			err = c.Close(ctx)
		}
		cancel()
		if err == nil {
			return nil
		}
		if s.process.Process.Signal(syscall.Signal(0)) != nil { // after a kill, what is left of the one before may be ending still
			s.process = nil
		}
		if time.Since(begun) > 30*time.Second {
			said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("PostgreSQL does not start: %w: %s", err, said[max(0, len(said)-2000):])
		}
	}
}

// begin starts a process that ends when this one does, however that ends: Linux tells it when the thread that started it is gone.
func begin(c *exec.Cmd, enter func() error) error {
	attr := *c.SysProcAttr
	attr.Pdeathsig = syscall.SIGQUIT
	c.SysProcAttr = &attr
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := error(nil)
		if enter != nil {
			err = enter()
		}
		if err == nil {
			err = c.Start()
		}
		started <- err
		if err == nil {
			c.Wait()
		}
	}()
	return <-started
}

// Kill ends it and all its processes at once with kill -9. (Those that serve a client would go on for a moment.)
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	s.signal(syscall.SIGKILL)
	for s.process.Process.Signal(syscall.Signal(0)) == nil {
		time.Sleep(time.Millisecond)
	}
	s.process = nil
}

// Freeze stops it and all its processes (SIGSTOP) until the returned function is called.
func (s *Server) Freeze() (thaw func()) {
	send := func(sig syscall.Signal) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.process != nil {
			s.signal(sig)
		}
	}
	send(syscall.SIGSTOP)
	return func() { send(syscall.SIGCONT) }
}

// signal sends a signal to it and all its processes, to the first of them first: it makes the others.
func (s *Server) signal(sig syscall.Signal) {
	pid := strconv.Itoa(s.process.Process.Pid)
	list, _ := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
	s.process.Process.Signal(sig)
	for _, child := range strings.Fields(string(list)) {
		if n, err := strconv.Atoi(child); err == nil {
			syscall.Kill(n, sig)
		}
	}
}

// Stop ends it and throws away what it had.
func (s *Server) Stop() {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p != nil {
		p.Process.Signal(syscall.SIGQUIT)
		for begun := time.Now(); p.Process.Signal(syscall.Signal(0)) == nil && time.Since(begun) < 5*time.Second; {
			time.Sleep(5 * time.Millisecond)
		}
	}
	s.Kill()
	os.RemoveAll(s.dir)
}

// url is of the database postgres, with more of the query.
func (s *Server) url(more string) string { return "postgres://postgres@/postgres?host=" + s.dir + more }

// URL is the server's own database.
func (s *Server) URL() string { return s.url("") }

// New makes a place for a store, and returns its URL.
func (s *Server) New() (string, error) {
	s.mu.Lock()
	s.schemas++
	name := "s" + strconv.Itoa(s.schemas)
	s.mu.Unlock()
	return s.url("&search_path=" + name), s.Exec("CREATE SCHEMA " + name)
}

// Exec runs a statement as the server's owner.
func (s *Server) Exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url(""))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, statement)
	return errors.Join(err, c.Close(ctx))
}

// Cut ends every connection there is but the one that says so.
func (s *Server) Cut() error {
	return s.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
}

// Quiet waits until what was sent by those who are gone is done, one way or the other.
func (s *Server) Quiet() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url(""))
	if err != nil {
		return err
	}
	defer c.Close(context.Background())
	for n := 1; n > 0; time.Sleep(time.Millisecond) {
		if err := c.QueryRow(ctx, "SELECT COUNT(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'").Scan(&n); err != nil {
			return fmt.Errorf("waiting for %d connections to end: %w", n, err)
		}
	}
	return nil
}

// Shared is one server for all tests of a package; [Shared.End] goes into its TestMain.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// tester is what is used of a test.
type tester interface {
	Helper()
	Fatal(...any)
	Skipf(string, ...any)
	Fatalf(string, ...any)
}

// Get returns the server, started with the first. Where there is none the test is skipped; CI must have one.
func (s *Shared) Get(t tester) *Server {
	t.Helper()
	s.once.Do(func() { s.server, s.err = Start() })
	switch {
	case errors.Is(s.err, ErrMissing) && !CI():
		t.Skipf("not run: %v", s.err)
	case s.err != nil:
		t.Fatal(s.err)
	}
	return s.server
}

// New makes a place for a store of its own on it.
func (s *Shared) New(t tester) string {
	t.Helper()
	url, err := s.Get(t).New()
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// End stops it, if it was started.
func (s *Shared) End() {
	if s.server != nil {
		s.server.Stop()
	}
}

// CI reports whether this is the run that must not leave anything out.
func CI() bool { return strings.TrimSpace(os.Getenv("CI")) != "" }
