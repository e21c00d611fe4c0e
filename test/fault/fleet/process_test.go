package fleet

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/test/fault/history"
)

// everyone may be away for a while.
var everyone = touch("gw-a", "gw-b", "gw-c")

// TestProcesses: what happens to processes of a fleet, and to the disk of a gateway.
func TestProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{tmpfs: map[string]string{"gw-b": "2m"}})
	a, b := w.gateways[0], w.gateways[1]

	w.during("gw-a is stopped while it is cut off, and goes on", cut("gw-a"), func() func() {
		mend := together(w.net.cut("gw-a", "c1"), w.net.cut("gw-a", "c2"))
		a.signal(syscall.SIGSTOP)
		return mend
	}, func() {
		time.Sleep(lease + 2*time.Second) // what is sent meanwhile lies in the kernel
		a.signal(syscall.SIGCONT)
		time.Sleep(2 * time.Second)
	})
	w.fault("the disk of gw-b is full", touch("gw-b"), func() func() { return w.fill(b.data) }, long)
	w.fault("the disk of gw-b is full, and nothing of it arrives", cut("gw-b"), func() func() {
		return together(w.net.cut("gw-b", "c1"), w.net.cut("gw-b", "c2"), w.fill(b.data))
	}, long)
	w.during("at random, each process is killed or stopped", everyone, func() func() { return func() {} }, func() { w.havoc(more(t, 20*time.Second)) })
	w.judge()
}

// TestDisks: what becomes of a fleet when the disk of its database is full, and that of a control node.
func TestDisks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{tmpfs: map[string]string{"db1": "192m", "c1": "1m"}, database: []string{"min_wal_size=32MB", "max_wal_size=48MB"}})
	w.fault("the disk of c1 is full", nobody, func() func() { return w.fill(w.nodes[0].data) }, long)
	w.during("the disk of the database is full", everyone, func() func() {
		free := w.fill(filepath.Join(w.dir, "db1"))
		return func() {
			free()
			w.must(w.pg.Up()) // it ends where it cannot write its log, and is started again by who runs it
		}
	}, func() {
		time.Sleep(long)
		if err := w.nodes[1].ask("PUT", "owners/full", map[string]any{"name": "Full", "email": "full@example.org"}, nil); err == nil {
			t.Error("a change was made on a full disk")
		}
	})
	w.judge()
}

// fill takes what room there is on a disk.
func (w *world) fill(dir string) (free func()) {
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	w.must(err)
	size, block := 0, make([]byte, 4096)
	for err == nil {
		var n int
		n, err = f.Write(block)
		size += n
	}
	f.Close()
	w.t.Logf("%d bytes were free: %v", size, err)
	return func() { w.must(os.Remove(name)) }
}

// havoc kills and stops processes, and starts them again; what ends by itself, because it finds no database, is started again, too.
func (w *world) havoc(d time.Duration) {
	r, all, seen := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)), append(append([]*machine{}, w.nodes...), w.gateways...), map[string]int{}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond) {
		m, pause := all[r.IntN(len(all))], time.Duration(r.IntN(1500))*time.Millisecond
		w.revive()
		switch what := r.IntN(10); {
		case what == 0:
			seen["PostgreSQL killed"]++
			w.pg.Kill()
			time.Sleep(pause)
			w.must(w.pg.Up())
		case what == 1:
			seen["PostgreSQL stopped"]++
			thaw := w.pg.Freeze()
			time.Sleep(3 * pause)
			thaw()
		case what < 6:
			seen[m.name+" killed"]++
			m.kill()
			time.Sleep(pause)
			m.start()
		default:
			seen[m.name+" stopped"]++
			m.signal(syscall.SIGSTOP)
			time.Sleep(3 * pause)
			m.signal(syscall.SIGCONT)
		}
	}
	w.t.Log(seen)
	for range 10 {
		w.revive()
		time.Sleep(100 * time.Millisecond)
	}
}

// revive starts what has ended, as who runs services does.
func (w *world) revive() {
	for _, m := range append(append([]*machine{}, w.nodes...), w.gateways...) {
		if m.gone(0) {
			m.start()
		}
	}
}

// copyFolder copies the files of a folder.
func copyFolder(to, from string) error {
	return filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.MkdirAll(filepath.Join(to, rest), 0o700)
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) { // it comes and goes
			return nil
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, rest), b, 0o600)
		}
		return err
	})
}

// TestFolders: what becomes of gateways whose folder is not what it was: a copy that another process uses, one of before,
// and one of a gateway that was evicted.
func TestFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	a, c := w.gateways[0], w.gateways[2]

	w.during("gw-a has the folder of before, and nobody to tell it", cut("gw-a"), func() func() {
		old := filepath.Join(w.dir, "old")
		w.must(copyFolder(old, a.data))
		time.Sleep(lease + time.Second)
		mend := together(w.net.cut("gw-a", "c1"), w.net.cut("gw-a", "c2"))
		a.kill()
		w.must(os.RemoveAll(a.data))
		w.must(os.Rename(old, a.data))
		a.start()
		return mend
	}, func() { time.Sleep(long) })

	w.during("gw-b is evicted, and its folder is of no use", history.Broken{Cuts: []string{"gw-b"}, Evicted: []string{"gw-b"}}, func() func() {
		b := w.gateways[1]
		mend := w.net.cut("gw-b", "c1") // who evicts it cannot tell it
		w.must(w.nodes[0].ask("POST", "gateways/gw-b/evict", map[string]any{"reason": "tests"}, nil))
		return together(mend, func() {
			b.kill()
			b.start() // with its folder, and the token that it has used
			time.Sleep(time.Second)
			b.kill() // which has not been recorded yet is in its folder
			var join struct{ Token string }
			w.must(w.nodes[1].ask("POST", "gateways/gw-b/token", map[string]any{"replace": true}, &join))
			b.env = []string{"LANYARD_JOIN_TOKEN=" + join.Token}
			b.start()
		})
	}, func() { time.Sleep(long) })

	// The receipts name one gateway, and mean the one that was heard: of both holds the commit and the lease.
	w.during("another process has a copy of gw-c's folder, and is cut off later", touch("gw-c"), func() func() {
		twin := w.twin(c)
		w.must(copyFolder(twin.data, c.data))
		twin.start()
		over := make(chan struct{})
		var asking sync.WaitGroup
		asking.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				case <-time.After(20 * time.Millisecond):
				}
				list := w.load.all()
				w.send(twin, list[i%len(list)])
			}
		})
		return func() {
			close(over)
			asking.Wait()
			twin.kill()
		}
	}, func() {
		time.Sleep(more(t, 6*time.Second))
		mend := together(w.net.cut("twin", "c1"), w.net.cut("twin", "c2"))
		time.Sleep(long)
		mend()
	})
	w.judge()
}

// twin is another machine for a gateway of that name.
func (w *world) twin(m *machine) *machine {
	other := w.machine("twin", setup{bin: func(string) string { return m.bin }})
	for _, arg := range m.args {
		if arg == m.data {
			arg = other.data
		}
		other.args = append(other.args, arg)
	}
	other.client = w.through(other)
	return other
}
