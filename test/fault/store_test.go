package fault

import (
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
	return store.Open(context.Background(), store.Config{Dir: dir, Now: time.Now, Rand: rand.Reader, Seal: box, Fatal: fatal, UnsafeSynchronous: synchronous})
}

func event(kind, name string) ledger.Event {
	id, err := ledger.NewID(rand.Reader, time.Now())
	if err != nil {
		panic(err)
	}
	return ledger.Event{ID: id, Time: time.Now().UTC().Truncate(time.Microsecond), Type: kind, Outcome: ledger.Allowed, Actor: "operator:test", Resource: name}
}

func put(db *store.DB, name string) error {
	_, err := db.Write(context.Background(), func(tx *store.Tx) error {
		tx.Record(event("owner.put", name))
		return tx.PutOwner(identity.Owner{ID: identity.OwnerID(name), Name: name, State: identity.OwnerActive})
	})
	return err
}

func storeWrite(dir, synchronous, prefix string, ack func(string)) error {
	db, err := storeOpen(dir, synchronous, func(err error) {
		fmt.Println("error fatal:", strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(3)
	})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		name := fmt.Sprint(prefix, i)
		if i%5 == 4 {
			name += "-three"
			err = db.Record(context.Background(), []ledger.Event{event("test.three", name), event("test.three", name), event("test.three", name)})
		} else {
			err = put(db, name)
		}
		if err != nil {
			return err
		}
		ack(name)
	}
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
func TestFsyncFails(t *testing.T) {
	needFUSE(t)
	var s tally
	for i := range rounds(t, 20) {
		f, mnt := lossyfs.New(nil), scratch(t)
		unmount, err := f.Mount(mnt)
		if err != nil {
			t.Fatal(err)
		}
		w := start(t, kept, mnt, "FULL", fmt.Sprint("r", i, "-"))
		line := w.first(t)
		time.Sleep(5 * time.Millisecond)
		f.FailSync(true)
		acks := w.wait(line) // it ends by itself
		image := f.Cut(lossyfs.DropAll, nil)
		if err := unmount(); err != nil {
			t.Fatal(err)
		}
		if len(w.errs) == 0 || !strings.HasPrefix(w.errs[0], "fatal:") {
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
	unmount, err := f.Mount(mnt)
	if err != nil {
		t.Fatal(err)
	}
	defer unmount()
	db, err := storeOpen(mnt, "FULL", func(err error) { t.Errorf("a full disk is no reason to end: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	acked := map[string]bool{}
	for round := range 5 {
		f.Capacity(f.Used() + int64(round)*20_000)
		var refused error
		for i := 0; refused == nil && i < 2000; i++ {
			name := fmt.Sprint("o", round, "-", i)
			if refused = put(db, name); refused == nil {
				acked[name] = true
			}
		}
		if !errors.Is(refused, store.ErrFull) || !errors.Is(db.Ready(), store.ErrFull) {
			t.Fatalf("round %d: refused with %v, ready: %v", round, refused, db.Ready())
		}
		// Smaller than what did not fit, this may; but it is there or refused.
		name := fmt.Sprint("x", round, "-three")
		if err := db.Record(t.Context(), []ledger.Event{event("test", name), event("test", name), event("test", name)}); err == nil {
			acked[name] = true
		} else if !errors.Is(err, store.ErrFull) {
			t.Errorf("round %d: record on a full disk: %v", round, err)
		}
		f.Capacity(0)
		if round == 0 { // without anyone writing it is found that there is space again
			for begun := time.Now(); db.Ready() != nil && time.Since(begun) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
			}
			if err := db.Ready(); err != nil {
				t.Errorf("with space again: %v", err)
			}
		}
		if err := put(db, fmt.Sprint("after", round)); err != nil || db.Ready() != nil {
			t.Fatalf("round %d: with space again: %v, %v", round, err, db.Ready())
		}
		acked[fmt.Sprint("after", round)] = true
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	have, err := kept.check(mnt)
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
