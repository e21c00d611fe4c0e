package storetest

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// resealed: after a rotation everything is sealed anew in parts, while others write, and opens with the new data key alone.
func resealed(t *testing.T, k kit) {
	db := k.open()
	const many = 40
	name := func(i int) string { return fmt.Sprintf("upstream/u%02d", i) }
	for i := range many {
		k.write(db, func(tx *store.Tx) error { return tx.PutSecret(name(i), []byte("hush "+name(i))) })
	}
	rotate := func() {
		n, err := k.Seal.Rotate(t.Context(), Epoch.Add(time.Hour))
		k.must(err)
		k.write(db, func(tx *store.Tx) error { return tx.PutSeal(n) })
		k.Seal.Apply(n)
		if _, err := db.Write(t.Context(), func(tx *store.Tx) error { tx.Record(Event("x")); return tx.PutSeal(n) }); err == nil {
			t.Error("a step was kept that follows what is no more")
		}
	}
	rotate()
	size := db.Size()
	var stop atomic.Bool
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				db.Write(t.Context(), func(tx *store.Tx) error {
					tx.Record(Event("test.put"))
					return tx.PutSecret(fmt.Sprintf("upstream/w%d-%d", w, i%5), []byte("hush again"))
				})
			}
		})
	}
	done := 0
	for {
		n, err := db.Reseal(t.Context(), 7)
		k.must(err)
		if done += n; n == 0 {
			break
		}
		if n > 7 {
			t.Fatalf("%d at once", n)
		}
	}
	stop.Store(true)
	writers.Wait()
	if done < many || db.Size() < size {
		t.Errorf("%d were sealed anew", done)
	}
	n, err := k.Seal.Drop(t.Context())
	k.must(err)
	k.write(db, func(tx *store.Tx) error {
		if left, err := tx.SealedBefore(); err != nil || left != 0 {
			t.Errorf("%d are left, %v", left, err)
		}
		return tx.PutSeal(n)
	})
	k.Seal.Apply(n)
	k.must(db.Close())
	db = k.open()
	k.read(db, func(tx *store.Tx) error {
		for i := range many {
			if s, err := tx.Secret(name(i)); err != nil || !strings.HasPrefix(string(s), "hush ") {
				t.Errorf("%s: %q %v", name(i), s, err)
			}
		}
		return nil
	})
}

// otherNode: a node whose box does not know of a rotation yet opens what was sealed with the new key, and seals with it.
func otherNode(t *testing.T, k kit) {
	db := k.open()
	k.write(db, func(tx *store.Tx) error { return tx.PutSecret("upstream/a", []byte("hush")) })
	before := k.Seal.Prefix()
	n, err := k.Seal.Rotate(t.Context(), Epoch)
	k.must(err)
	k.write(db, func(tx *store.Tx) error { return tx.PutSeal(n) }) // by the other: ours does not apply it
	if string(k.Seal.Prefix()) != string(before) {
		t.Fatal("it knows already")
	}
	k.write(db, func(tx *store.Tx) error { return tx.PutSecret("upstream/b", []byte("hush")) })
	if string(k.Seal.Prefix()) == string(before) {
		t.Error("sealed with a key that may be dropped")
	}
	k.read(db, func(tx *store.Tx) error { _, err := tx.Secret("upstream/b"); return err })
}

// before: a store from before there were data keys, sealed by the key file itself, opens with that file as it is, with no other, and
// goes on under a KEK of another kind once it was rewrapped.
func before(t *testing.T, k kit) {
	dir := t.TempDir()
	path := dir + "/seal.key"
	f, err := seal.CreateFile(path)
	k.must(err)
	k.Seal = seal.Hold(f)
	db := k.open()
	k.write(db, func(tx *store.Tx) error { return tx.PutSecret("upstream/mail", []byte("hush hush")) })
	// What an old version would have left: the same secrets, sealed by the file's key, and no data keys.
	for _, name := range []string{"upstream/mail", "checkpoint"} {
		var plain []byte
		k.read(db, func(tx *store.Tx) (err error) { plain, err = tx.Secret(name); return err })
		sealed, err := f.SealAsBefore(plain, name)
		k.must(err)
		k.must(db.UnsafeExec("UPDATE secrets SET sealed = $1 WHERE name = $2", sealed, name))
	}
	k.must(db.UnsafeExec("DELETE FROM meta WHERE name = 'seal'"))
	k.must(db.Close())
	k.Seal = Config(t).Seal
	if _, err := store.Open(t.Context(), k.Config); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("with another key: %v", err)
	}
	k.Seal, err = seal.Open(path)
	k.must(err)
	db = k.open()
	k.read(db, func(tx *store.Tx) error {
		if s, err := tx.Secret("upstream/mail"); err != nil || string(s) != "hush hush" {
			t.Errorf("%q %v", s, err)
		}
		return nil
	})
	k.must(db.Close())
	k.Seal, err = seal.Open(path)
	k.must(err)
	k.open()
}

// interrupted: a rotation that a crash left halfway opens with both keys, and goes on.
func interrupted(t *testing.T, k kit) {
	path := t.TempDir() + "/seal.key"
	var err error
	k.Seal, err = seal.Create(path)
	k.must(err)
	db := k.open()
	name := func(i int) string { return fmt.Sprintf("upstream/u%02d", i) }
	for i := range 20 {
		k.write(db, func(tx *store.Tx) error { return tx.PutSecret(name(i), []byte("hush")) })
	}
	n, err := k.Seal.Rotate(t.Context(), Epoch)
	k.must(err)
	k.write(db, func(tx *store.Tx) error { return tx.PutSeal(n) }) // and it ends before it is used here
	if done, err := db.Reseal(t.Context(), 5); err != nil || done != 5 {
		t.Fatalf("%d, %v", done, err)
	}
	k.must(db.Close())
	k.Seal, err = seal.Open(path)
	k.must(err)
	db = k.open()
	k.read(db, func(tx *store.Tx) error {
		if left, err := tx.SealedBefore(); err != nil || left != 16 { // with the key of the checkpoints
			t.Errorf("%d are left, %v", left, err)
		}
		for i := range 20 {
			if s, err := tx.Secret(name(i)); err != nil || string(s) != "hush" {
				t.Errorf("%s: %q %v", name(i), s, err)
			}
		}
		return nil
	})
	if done, err := db.Reseal(t.Context(), 100); err != nil || done != 16 {
		t.Errorf("%d, %v", done, err)
	}
}
