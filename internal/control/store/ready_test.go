package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
)

// TestProbe: a store whose disk was full finds out by itself that there is space again, and asks at most once a second.
func TestProbe(t *testing.T) {
	now := storetest.Epoch
	c := storetest.Config(t)
	c.Dir, c.Now = t.TempDir(), func() time.Time { return now }
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	write := func() error {
		_, err := db.Write(t.Context(), func(tx *store.Tx) error {
			tx.Record(storetest.Event("test.put"))
			return tx.PutSecret("upstream/big", make([]byte, 1<<20))
		})
		return err
	}
	exec := func(query string) {
		if err := db.UnsafeExec(query); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec("PRAGMA max_page_count = 1") // which SQLite takes as what it has now
	if err := write(); !errors.Is(err, store.ErrFull) {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if err := db.Probe(t.Context()); !errors.Is(err, store.ErrFull) {
		t.Errorf("a full disk: %v", err)
	}
	exec("PRAGMA max_page_count = 1000000")
	if err := db.Probe(t.Context()); !errors.Is(err, store.ErrFull) {
		t.Errorf("twice in a second: %v", err)
	}
	size := db.Size()
	now = now.Add(time.Second)
	if err := db.Probe(t.Context()); err != nil || db.Ready() != nil || db.Size() != size {
		t.Errorf("with space again: %v, %v", err, db.Ready())
	}
	if free, all := db.Space(); free == 0 || all < free {
		t.Errorf("%d of %d are free", free, all)
	}
}
