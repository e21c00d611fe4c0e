package fault

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/test/fault/lossyfs"
)

// kept is our own store. A write is an owner with its event, or now and then
// three events alone, which commit together.
var kept = engine{name: "store", write: storeWrite, check: storeCheck}

// sealPath is the variable with the place of the seal key, which lies on another disk.
const sealPath = "LANYARD_FAULT_SEAL"

func makeSeal() error {
	dir, err := os.MkdirTemp("", "lanyard-seal-")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "seal.key")
	if _, err = seal.Create(path); err != nil {
		return err
	}
	return os.Setenv(sealPath, path)
}

func storeOpen(dir, synchronous string, fatal func(error)) (*store.DB, error) {
	box, err := seal.Open(os.Getenv(sealPath))
	if err != nil {
		return nil, err
	}
	database := ""
	if strings.HasPrefix(dir, "postgres:") {
		database = dir
	}
	return store.Open(context.Background(), store.Config{Dir: dir, Database: database, Now: time.Now, Rand: rand.Reader, Seal: box, Fatal: fatal, UnsafeSynchronous: synchronous})
}

func event(kind, name string) ledger.Event {
	id, err := ledger.NewID(rand.Reader, time.Now())
	if err != nil {
		panic(err)
	}
	return ledger.Event{ID: id, Time: time.Now().UTC().Truncate(time.Microsecond), Type: kind, Outcome: ledger.Allowed, Actor: "operator:test", Resource: name}
}

func put(db *store.DB, name string) error {
	_, err := db.Write(context.Background(), putting(name))
	return err
}

func putting(name string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		tx.Record(event("owner.put", name))
		return tx.PutOwner(identity.Owner{ID: identity.OwnerID(name), Name: name, State: identity.OwnerActive})
	}
}

// brief is a process that writes with a log that is brought into the database
// all the time, so that faults fall there too; the usual way it would be once in some 400 writes.
const brief = "PRAGMA wal_autocheckpoint = 20"

func storeWrite(dir, synchronous, prefix string, ack func(string)) error {
	db, err := storeOpen(dir, synchronous, func(err error) { fail(fmt.Errorf("fatal: %w", err)) })
	if err != nil {
		return err
	}
	if time.Now().UnixMicro()%2 == 0 {
		if err := db.UnsafeExec(brief); err != nil {
			return err
		}
	}
	ended := make(chan error)
	for by, write := range []func(*store.DB, string) error{put, three, three} { // those who record share commits
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprint(prefix, by, "-", i)
				if by > 0 {
					name += "-three"
				}
				if err := write(db, name); err != nil {
					ended <- err
					return
				}
				ack(name)
			}
		}()
	}
	return <-ended
}

func three(db *store.DB, name string) error {
	return db.Record(context.Background(), []ledger.Event{event("test.three", name), event("test.three", name), event("test.three", name)})
}

// obey opens the store and does what standard input says: put NAME, three NAME, ready or close.
func obey(dir string) {
	db, err := storeOpen(dir, "FULL", func(err error) { fail(fmt.Errorf("fatal: %w", err)) })
	if err != nil {
		fail(err)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		what, name, _ := strings.Cut(in.Text(), " ")
		switch what {
		case "put":
			err = put(db, name)
		case "three":
			err = three(db, name)
		case "regardless":
			_, err = db.WriteRegardless(context.Background(), putting(name))
		case "ready":
			err = db.Ready()
		case "close":
			err = db.Close()
		}
		switch {
		case err == nil:
			fmt.Println("ok")
		case errors.Is(err, store.ErrFull):
			fmt.Println("full")
		default:
			fail(err)
		}
	}
	os.Exit(0)
}

func storeCheck(dir string) (have map[string]bool, err error) {
	db, err := storeOpen(dir, "FULL", func(error) {}) // it compares the ledger with its root
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ctx := context.Background()
	if r, err := db.Verify(ctx); err != nil || !r.OK() || r.Events != db.Size() {
		return nil, fmt.Errorf("the ledger does not verify: %w %v", err, r.Problems)
	}
	events := map[string]int{}
	for leaf, err := range db.Leaves(ctx, db.Size()) {
		if err != nil {
			return nil, err
		}
		e, err := ledger.Parse(leaf)
		if err != nil {
			return nil, err
		}
		events[e.Resource]++
	}
	have = map[string]bool{}
	err = db.Read(ctx, func(tx *store.Tx) error {
		owners, err := tx.Owners()
		for _, o := range owners {
			if have[string(o.ID)] = true; events[string(o.ID)] != 1 {
				err = errors.Join(err, fmt.Errorf("half a write: owner %s has %d events", o.ID, events[string(o.ID)]))
			}
		}
		return err
	})
	for name, n := range events {
		switch {
		case strings.HasSuffix(name, "-three") && n == 3:
			have[name] = true
		case strings.HasSuffix(name, "-three"), !have[name]:
			return nil, fmt.Errorf("half a write: %s has %d events", name, n)
		}
	}
	return have, errors.Join(err, dense(ctx, db))
}

// dense: the feed has every change, each once, in order.
func dense(ctx context.Context, db *store.DB) error {
	head := db.Head()
	if head.Seq == 0 {
		return nil
	}
	at := uint64(0)
	for c, err := range db.Watch(ctx, feed.Cursor{Epoch: head.Epoch}) {
		if at++; err != nil || c.Cursor.Seq != at {
			return fmt.Errorf("the feed has %v where %d should be: %w", c.Cursor, at, err)
		}
		if at == head.Seq {
			break
		}
	}
	return nil
}

// TestCheck shows that the check can fail: each of these is what a fault could leave.
func TestCheck(t *testing.T) {
	for damage, want := range map[string]string{
		"SELECT 1":                                 "",
		"DELETE FROM owners WHERE id = 'o1'":       "half a write: o1",
		"DELETE FROM changes WHERE seq = 2":        "feed",
		"UPDATE changes SET seq = 9 WHERE seq = 3": "feed",
		"UPDATE events SET leaf = CAST(replace(leaf, 'o1', 'o3') AS BLOB) WHERE seq = 1":                             "damaged",
		"DELETE FROM events WHERE seq = 2":                                                                           "damaged",
		"UPDATE head SET size = size - 1":                                                                            "damaged",
		"INSERT INTO owners (id, doc) SELECT 'x', CAST(replace(doc, 'o1', 'x') AS BLOB) FROM owners WHERE id = 'o1'": "half a write: owner x",
	} {
		dir := scratch(t)
		db, err := storeOpen(dir, "FULL", func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := put(db, fmt.Sprint("o", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(db.UnsafeExec(damage), db.Close()); err != nil {
			t.Fatalf("%s: %v", damage, err)
		}
		have, err := kept.check(dir)
		if want == "" && (err != nil || len(have) != 3) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: the check says %v, %v", damage, have, err)
		}
	}
}

// TestKilled: a process that is killed loses nothing that it acknowledged, 1 000 times.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := killed(t, kept, rounds(t, 1000))
	t.Log("store, kill -9:", s)
	if s.lost > 0 || s.acked < s.rounds {
		t.Error(s)
	}
}

// TestPowerCut: nor does a machine that loses its power, 1 000 times, whatever became of what was not synced.
func TestPowerCut(t *testing.T) {
	needFUSE(t)
	t.Parallel()
	s := powerless(t, kept, "FULL", rounds(t, 1000), lossyfs.DropAll, lossyfs.Reorder, lossyfs.TornLast)
	t.Log("store, power cuts:", s)
	if s.lost > 0 || s.acked < s.rounds {
		t.Error(s)
	}
	if s := powerless(t, kept, "NORMAL", rounds(t, 50), lossyfs.DropAll); s.lost == 0 {
		t.Errorf("synchronous=NORMAL lost nothing, so a loss would not be seen: %v", s)
	} else {
		t.Log("store, synchronous=NORMAL:", s)
	}
}

// TestFsyncFails: after a failed fsync nobody knows what is on disk, so the process ends; what was acknowledged is there.
// Every other time fsync fails for a moment only: whether or not the process came by, a power cut later finds all of it.
func TestFsyncFails(t *testing.T) {
	needFUSE(t)
	var s tally
	for i := range rounds(t, 60) {
		f, mnt := lossyfs.New(nil), scratch(t)
		unmount := mount(t, f, mnt)
		w := start(t, kept, mnt, "FULL", fmt.Sprint("r", i, "-"))
		line := w.first(t)
		time.Sleep(time.Duration(i) * time.Millisecond)
		f.FailSync(true)
		var acks []string
		var image map[string][]byte
		if i%2 == 0 {
			failed := time.Now()
			acks = w.wait(line) // it ends by itself
			if took := time.Since(failed); took > 15*time.Second {
				t.Errorf("round %d: the process went on for %v", i, took)
			}
			image = f.Cut(lossyfs.DropAll, nil)
		} else {
			time.Sleep(time.Millisecond)
			f.FailSync(false)
			time.Sleep(30 * time.Millisecond)
			image = f.Cut(lossyfs.DropAll, nil)
			acks = w.kill(line)
		}
		unmount()
		if i%2 == 0 && len(w.errs) == 0 || len(w.errs) > 0 && !strings.HasPrefix(w.errs[0], "fatal:") {
			t.Errorf("round %d: the process ended with %v", i, w.errs)
		}
		have, err := kept.check(lay(t, image))
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		s.add(acks, have)
	}
	t.Log("store, fsync fails:", s)
	if s.lost > 0 {
		t.Error(s)
	}
}

// TestFullDisk: a full disk refuses all writing, half does nothing, and all works again when there is space.
func TestFullDisk(t *testing.T) {
	needFUSE(t)
	f, mnt := lossyfs.New(nil), scratch(t)
	mount(t, f, mnt)
	w := start(t, engine{name: "orders"}, mnt, "", "")
	do := func(order ...string) bool { // false: refused, for the disk is full
		t.Helper()
		fmt.Fprintln(w.in, strings.Join(order, " "))
		said := w.first(t)
		if said != "ok" && said != "full" {
			t.Fatal(order, said)
		}
		return said == "ok"
	}
	acked := map[string]bool{}
	try := func(kind, name string) bool {
		t.Helper()
		if !do(kind, name) {
			return false
		}
		acked[name] = true
		return true
	}
	try("put", "before")
	for round := range rounds(t, 25) {
		f.Capacity(f.Used() + int64(round)*7_000)
		kind := []string{"put", "three"}[round%2]
		suffix := []string{"", "-three"}[round%2]
		refused := false
		for i := 0; !refused && i < 2000; i++ {
			refused = !try(kind, fmt.Sprint("o", round, "-", i, suffix))
		}
		if !refused || do("ready") {
			t.Fatalf("round %d: refused: %v, and it says that it is ready", round, refused)
		}
		if round == 0 && !try("regardless", "cord") { // once: what was set aside is given up for it
			t.Fatal("the cord does not work on a full disk")
		}
		// Smaller than what did not fit, these may; but they are there or refused.
		try("put", fmt.Sprint("x", round))
		try("three", fmt.Sprint("y", round, "-three"))
		if round%3 == 1 { // a start on a full disk works, or says so, and breaks nothing
			w.kill()
			w = start(t, engine{name: "orders"}, mnt, "", "")
			fmt.Fprintln(w.in, "ready")
			if said := w.first(t); said != "ok" {
				t.Log("starting on a full disk: ", said)
				w.kill()
				f.Capacity(0)
				w = start(t, engine{name: "orders"}, mnt, "", "")
			}
		}
		f.Capacity(0)
		for begun := time.Now(); round == 0 && !do("ready"); time.Sleep(100 * time.Millisecond) { // without anyone writing it is found
			if time.Since(begun) > 20*time.Second {
				t.Fatal("it does not find that there is space again")
			}
		}
		if !try("put", fmt.Sprint("after", round)) || !do("ready") {
			t.Fatalf("round %d: refused with space again", round)
		}
	}
	do("close")
	have, err := kept.check(lay(t, f.Cut(lossyfs.DropAll, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for name := range acked {
		if !have[name] {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
	if len(have) != len(acked) {
		t.Errorf("%d writes are there, %d were acknowledged", len(have), len(acked))
	}
}
