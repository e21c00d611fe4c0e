package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
)

// TestProbe: a store whose disk was full finds out by itself that there is space again, and not before there is.
func TestProbe(t *testing.T) {
	c := storetest.Config(t)
	c.Dir = t.TempDir()
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
	if err := db.Ready(); err != nil {
		t.Fatal(err)
	}
	exec("PRAGMA max_page_count = 1") // which SQLite takes as what it has now
	if err := write(); !errors.Is(err, store.ErrFull) {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond) // it is tried once a second
	if err := db.Ready(); !errors.Is(err, store.ErrFull) {
		t.Errorf("a full disk: %v", err)
	}
	exec("PRAGMA max_page_count = 1000000")
	size := db.Size()
	for begun := time.Now(); db.Ready() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("with space again: %v", db.Ready())
		}
	}
	if db.Size() != size {
		t.Errorf("%d events, before it %d", db.Size(), size)
	}
	if free, all := db.Space(); free == 0 || all < free {
		t.Errorf("%d of %d are free", free, all)
	}
}
