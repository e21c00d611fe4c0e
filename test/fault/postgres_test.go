package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/test/port"
)

// pg is a PostgreSQL for the tests that do not break it.
var pg pgserver.Shared

// elsewhere is our own store on PostgreSQL; its directory is a URL. Its writer
// goes on when the database goes away, and says what it was told was not written.
var elsewhere = engine{name: "postgres", write: elsewhereWrite, check: storeCheck}

func elsewhereWrite(dir, _, prefix string, ack func(string)) error {
	db, err := storeOpen(dir, "", func(err error) { fail(fmt.Errorf("fatal: %w", err)) })
	if err != nil {
		return err
	}
	ended := make(chan error)
	for by, write := range []func(*store.DB, string) error{put, put, three, three} {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprint(prefix, by, "-", i)
				if by > 1 {
					name += "-three"
				}
				switch err := write(db, name); {
				case err == nil:
					ack(name)
				case errors.Is(err, store.ErrUncertain): // it may be there or not, but not half
				case errors.Is(err, store.ErrUnavailable):
					os.Stdout.WriteString("none " + name + "\n")
				default:
					ended <- err
					return
				}
			}
		}()
	}
	return <-ended
}

// whole checks what is left in a database, after writers that were told these things.
func whole(t *testing.T, round int, s *pgserver.Server, dir string, writers ...*writer) map[string]bool {
	t.Helper()
	if err := s.Quiet(); err != nil { // the last commit of a node that was killed may be on its way still
		t.Fatal(err)
	}
	have, err := storeCheck(dir)
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	for _, w := range writers {
		if len(w.errs) > 0 {
			t.Fatalf("round %d: %v", round, w.errs)
		}
		for _, name := range w.none {
			if have[name] {
				t.Errorf("round %d: %s is there, though it was said that nothing was changed", round, name)
			}
		}
	}
	return have
}

// goesOn waits until a writer acknowledges something that it began after now.
func goesOn(t *testing.T, w *writer) (lines []string) {
	t.Helper()
	for n := 0; n < 50; {
		select {
		case line, ok := <-w.out:
			if !ok {
				t.Fatal("the writer ended")
			}
			if lines = append(lines, line); strings.HasPrefix(line, "ack ") {
				n++
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the writer does not go on: %v", lines[max(0, len(lines)-3):])
		}
	}
	return lines
}

// TestNodeKilled: of two nodes on one database one is killed in the midst of its writing. The other goes on, and nothing is lost or half done.
func TestNodeKilled(t *testing.T) {
	s := pg.Get(t)
	r, dir, total := rand.New(rand.NewPCG(7, 8)), "", tally{}
	for i := range rounds(t, 40) {
		if i%renew == 0 {
			var err error
			if dir, err = s.New(); err != nil {
				t.Fatal(err)
			}
		}
		w := start(t, elsewhere, dir, "", fmt.Sprint("r", i, "-"))
		other := start(t, elsewhere, dir, "", fmt.Sprint("s", i, "-"))
		acks := w.kill(w.begin(t, r)...)
		acks = append(acks, other.kill(goesOn(t, other)...)...)
		total.add(acks, whole(t, i, s, dir, w, other))
	}
	t.Log("store on PostgreSQL, kill -9 of a node:", total)
	if total.lost > 0 || total.acked < total.rounds {
		t.Error(total)
	}
}

// TestDatabaseAway: connections are cut, and the whole of PostgreSQL is killed and comes back, while two nodes write. Both go on
// by themselves; what was acknowledged is there, and what was said to be not written is not.
func TestDatabaseAway(t *testing.T) {
	pg.Get(t)
	s, err := pgserver.Start("fsync=on")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for name, fault := range map[string]struct {
		rounds int
		do     func() error
	}{
		"cut":    {30, s.Cut},
		"killed": {12, func() error { s.Kill(); time.Sleep(100 * time.Millisecond); return s.Up() }},
	} {
		t.Run(name, func(t *testing.T) {
			r, dir, total, none := rand.New(rand.NewPCG(9, 10)), "", tally{}, 0
			for i := range rounds(t, fault.rounds) {
				if i%renew == 0 {
					if dir, err = s.New(); err != nil {
						t.Fatal(err)
					}
				}
				writers := []*writer{start(t, elsewhere, dir, "", fmt.Sprint("r", i, "-")), start(t, elsewhere, dir, "", fmt.Sprint("s", i, "-"))}
				var acks []string
				lines := make([][]string, 2)
				for n, w := range writers {
					lines[n] = []string{w.first(t)}
				}
				time.Sleep(time.Duration(r.IntN(40_000)) * time.Microsecond)
				if err := fault.do(); err != nil {
					t.Fatal(err)
				}
				for n, w := range writers {
					lines[n] = append(lines[n], goesOn(t, w)...)
				}
				for n, w := range writers {
					acks = append(acks, w.kill(lines[n]...)...)
					none += len(w.none)
				}
				total.add(acks, whole(t, i, s, dir, writers...))
			}
			t.Logf("store on PostgreSQL, %s: %v; %d were refused", name, total, none)
			if total.lost > 0 || total.acked < total.rounds {
				t.Error(total)
			}
		})
	}
}

// TestServeKilledOnPostgres is TestServeKilled with the state on another machine, so to speak.
func TestServeKilledOnPostgres(t *testing.T) {
	h := newHouse(t)
	h.flags = []string{"--database", pg.New(t)}
	serveKilled(t, h, rounds(t, 10))
}

// TestServeWithoutDatabase: while its database is away serve says so, and the cord works as soon as it is back.
func TestServeWithoutDatabase(t *testing.T) {
	pg.Get(t)
	s, err := pgserver.Start("fsync=on")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	url, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	h.listen, h.gateway, h.flags = port.Free(), port.Free(), []string{"--database", url}
	c, log := h.serve(t, h.listen, h.gateway)
	h.ready(t)
	do := func(args ...string) string {
		t.Helper()
		out, err := h.command(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", args, out)
		}
		return string(out)
	}
	do("owner", "put", "anna", "--name", "Anna", "--email", "a@example.com")
	for round := range rounds(t, 4) {
		name := fmt.Sprint("bot", round)
		do("identity", "register", name, "--owner", "anna", "--purpose", "Tests")
		s.Kill()
		out, err := h.command("kill", name, "--reason", "test").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "database cannot be reached") {
			t.Errorf("the cord without a database: %v %s", err, out)
		}
		if err := s.Up(); err != nil {
			t.Fatal(err)
		}
		do("kill", name, "--reason", "test")
		do("audit", "verify")
		if said := do("status", "-o", "json"); !strings.Contains(said, `"killed": `+fmt.Sprint(round+1)) {
			t.Errorf("round %d: %s\n", round, said)
		}
	}
	c.Process.Signal(syscall.SIGTERM)
	if code := ended(t, c, 20*time.Second); code != 0 || strings.Contains(log.String(), "panic") {
		t.Errorf("exit %d: %s", code, log)
	}
}

// TestOrder: what three nodes were told, and what a fourth follower was told, is one order (a linear history of the head).
func TestOrder(t *testing.T) {
	dir := pg.New(t)
	const nodes, each = 3, 40
	var all sync.WaitGroup
	type told struct{ begun, ended, seq uint64 }
	var mu sync.Mutex
	var clock uint64
	var history []told
	tick := func() uint64 { mu.Lock(); defer mu.Unlock(); clock++; return clock }
	for n := range nodes {
		db, err := storeOpen(dir, "", func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		for by := range 3 {
			all.Go(func() {
				for i := range each {
					begun := tick()
					at, err := db.Write(context.Background(), putting(fmt.Sprintf("o%d-%d-%d", n, by, i)))
					if err != nil {
						t.Error(err)
						return
					}
					ended := tick()
					mu.Lock()
					history = append(history, told{begun, ended, at.Seq})
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
	seen := map[uint64]bool{}
	for _, a := range history {
		if seen[a.seq] {
			t.Errorf("two writes were told %d", a.seq)
		}
		seen[a.seq] = true
		for _, b := range history {
			if a.ended < b.begun && a.seq >= b.seq { // a was over before b began, on whichever node
				t.Fatalf("%d came before %d, and is after it in the feed", a.seq, b.seq)
			}
		}
	}
	if len(history) != nodes*3*each {
		t.Errorf("%d writes", len(history))
	}
}
