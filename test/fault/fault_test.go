// Package fault breaks the machine under the store: it kills the process that
// writes, cuts the power, tears the last write, fails fsync and fills the disk,
// and each time holds what is left against what was acknowledged.
//
// A writer is this test binary started again (see TestMain). It writes as fast
// as it can and prints the name of each write once it was acknowledged. What it
// printed must be there afterwards, whole, and the ledger must verify.
package fault

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/test/fault/lossyfs"
)

// engine is something that keeps what it acknowledged. Both functions run on a directory of its own.
type engine struct {
	name string
	// write writes for ever, or until an error, and calls ack with the name of each durable write.
	write func(dir, synchronous, prefix string, ack func(name string)) error
	// check opens what is left, and returns the names of all writes that are whole.
	// It returns an error when a write is half there, or when the ledger does not verify.
	check func(dir string) (map[string]bool, error)
}

var engines = []engine{bare, kept, elsewhere}

func TestMain(m *testing.M) {
	name, ok := os.LookupEnv("LANYARD_FAULT_WRITER")
	if !ok {
		if err := makeSeal(); err != nil {
			panic(err)
		}
		code := m.Run()
		pg.End()
		os.RemoveAll(filepath.Dir(os.Getenv(sealPath)))
		os.Exit(code)
	}
	if name == "orders" {
		obey(os.Getenv("LANYARD_FAULT_DIR"))
	}
	if name == "gateway" {
		fail(runGateway(os.Getenv("LANYARD_FAULT_DIR"), os.Getenv("LANYARD_FAULT_PREFIX")))
	}
	if name == "keep" {
		fail(runKeep(os.Getenv("LANYARD_FAULT_DIR")))
	}
	for _, e := range engines {
		if e.name == name {
			err := e.write(os.Getenv("LANYARD_FAULT_DIR"), os.Getenv("LANYARD_FAULT_SYNC"), os.Getenv("LANYARD_FAULT_PREFIX"), func(n string) {
				os.Stdout.WriteString("ack " + n + "\n")
			})
			fail(err)
		}
	}
	os.Exit(3)
}

// fail ends the writer.
func fail(err error) {
	os.Stdout.WriteString("error " + strings.ReplaceAll(fmt.Sprint(err), "\n", " ") + "\n")
	os.Exit(3)
}

// rounds is how often each fault is tried.
func rounds(t *testing.T, usual int) int {
	if s := os.Getenv("LANYARD_FAULT_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("LANYARD_FAULT_ROUNDS=%q: want a number above 0", s)
		}
		return min(n, usual)
	}
	if testing.Short() {
		return min(20, usual)
	}
	return usual
}

// needFUSE skips the test where no file system can be mounted.
func needFUSE(t *testing.T) {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	if err == nil && os.Getuid() != 0 {
		err = fmt.Errorf("mounting needs root")
	}
	if err != nil {
		cannot(t, fmt.Errorf("no FUSE here: %w", err))
	}
}

// cannot skips a test that this machine cannot run; CI must be able to.
func cannot(t *testing.T, err error) {
	t.Helper()
	if pgserver.CI() {
		t.Fatalf("CI must be able to run this: %v", err)
	}
	t.Skipf("not run: %v", err)
}

// mount serves f until the returned function ends it, at the latest when the test does.
// This process must not open a file there: were it to die, the kernel would wait for it to answer itself.
func mount(t *testing.T, f *lossyfs.FS, dir string) (unmount func()) {
	end, err := f.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	unmount = sync.OnceFunc(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(unmount)
	return unmount
}

// writer is a running writer, and what it acknowledged so far.
type writer struct {
	cmd  *exec.Cmd
	in   io.Writer
	out  chan string // "ack x", "none x" and "error x" lines; closed when it ended
	none []string    // what it was told was not written
	errs []string
}

func start(t *testing.T, e engine, dir, synchronous, prefix string) *writer {
	w := &writer{cmd: exec.Command(os.Args[0]), out: make(chan string, 1<<20)}
	w.cmd.Env = append(os.Environ(), "LANYARD_FAULT_WRITER="+e.name, "LANYARD_FAULT_DIR="+dir,
		"LANYARD_FAULT_SYNC="+synchronous, "LANYARD_FAULT_PREFIX="+prefix)
	w.cmd.Stderr = os.Stderr
	pipe, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cmd.Process.Kill(); w.cmd.Wait() }) // else what it has open keeps the mount
	go func(r io.Reader) {
		defer close(w.out)
		for in := bufio.NewScanner(r); in.Scan(); {
			w.out <- in.Text()
		}
	}(pipe)
	return w
}

// begin waits until the fault is due: now and then somewhere in the start,
// else in the writing, and then it returns the first line.
func (w *writer) begin(t *testing.T, r *rand.Rand) (lines []string) {
	if r.IntN(5) == 0 {
		time.Sleep(time.Duration(r.IntN(100_000)) * time.Microsecond)
		return nil
	}
	lines = []string{w.first(t)}
	time.Sleep(time.Duration(r.IntN(40_000)) * time.Microsecond)
	return lines
}

// first waits for the first line.
func (w *writer) first(t *testing.T) string {
	select {
	case line, ok := <-w.out:
		if !ok {
			t.Fatal("the writer ended before it wrote anything")
		}
		return line
	case <-time.After(20 * time.Second):
		w.cmd.Process.Kill()
		t.Fatal("the writer acknowledged nothing in 20 s")
	}
	return ""
}

// kill is kill -9; it returns everything the writer acknowledged.
func (w *writer) kill(seen ...string) (acks []string) {
	w.cmd.Process.Kill()
	return w.wait(seen...)
}

// wait returns what the writer acknowledged when it has ended.
func (w *writer) wait(lines ...string) (acks []string) {
	for line := range w.out {
		lines = append(lines, line)
	}
	w.cmd.Wait()
	for _, line := range lines {
		switch kind, rest, _ := strings.Cut(line, " "); kind {
		case "ack":
			acks = append(acks, rest)
		case "none":
			w.none = append(w.none, rest)
		case "error":
			w.errs = append(w.errs, rest)
		}
	}
	return acks
}

// tally is what became of the writes of many rounds.
type tally struct{ rounds, acked, lost, lossy int }

func (s *tally) add(acks []string, have map[string]bool) {
	s.rounds++
	lost := 0
	for _, a := range acks {
		if !have[a] {
			lost++
		}
	}
	s.acked += len(acks)
	s.lost += lost
	if lost > 0 {
		s.lossy++
	}
}

func (s tally) String() string {
	return fmt.Sprintf("%d rounds, %d writes acknowledged, %d lost in %d rounds", s.rounds, s.acked, s.lost, s.lossy)
}

// renew is after how many rounds a fresh database begins: checking costs as much as there is in it.
const renew = 10

// killed ends the writer n times with kill -9 in the middle of its writing.
func killed(t *testing.T, e engine, n int) (s tally) {
	r, dir := rand.New(rand.NewPCG(1, 2)), ""
	for i := range n {
		if i%renew == 0 {
			os.RemoveAll(dir)
			dir = scratch(t)
		}
		w := start(t, e, dir, "FULL", fmt.Sprint("r", i, "-"))
		acks := w.kill(w.begin(t, r)...)
		if len(w.errs) > 0 {
			t.Fatalf("round %d: writer %d (this is %d): %v", i, w.cmd.Process.Pid, os.Getpid(), w.errs)
		}
		have, err := e.check(dir)
		if err != nil {
			t.Fatalf("round %d, writer %d (this is %d): %v", i, w.cmd.Process.Pid, os.Getpid(), err)
		}
		s.add(acks, have)
	}
	return s
}

// powerless cuts the power n times in the middle of writing.
func powerless(t *testing.T, e engine, synchronous string, n int, losses ...lossyfs.Loss) (s tally) {
	r, mnt := rand.New(rand.NewPCG(3, 4)), scratch(t)
	var image map[string][]byte
	for i := range n {
		if i%renew == 0 {
			image = nil
		}
		f := lossyfs.New(image)
		unmount := mount(t, f, mnt)
		w := start(t, e, mnt, synchronous, fmt.Sprint("r", i, "-"))
		lines := w.begin(t, r)
		image = f.Cut(losses[i%len(losses)], r)
		acks := w.kill(lines...)
		unmount()
		have, err := e.check(lay(t, image))
		if err != nil {
			t.Fatalf("round %d (%d acknowledged): %v", i, len(acks), err)
		}
		s.add(acks, have)
	}
	return s
}

// lay puts what the disk held into an ordinary directory.
func lay(t *testing.T, image map[string][]byte) string {
	dir := scratch(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, b := range image {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// scratch is a new directory in memory: a kill -9 does not need a disk, and a power cut brings its own.
func scratch(t *testing.T) string {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "lanyard-fault-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
