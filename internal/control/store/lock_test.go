package store

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnlock: a folder that was closed is free, though a process that was just forked still has the lock's descriptor.
func TestUnlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	if again, err := lock(path); err == nil {
		again.Close()
		t.Fatal("locked twice")
	}
	if err := unlock(f); err != nil {
		t.Fatal(err)
	}
	again, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
