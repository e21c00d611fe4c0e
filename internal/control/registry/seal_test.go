package registry_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
)

// TestSealRotation: one event for a rotation, everything sealed anew, the old key gone an hour later and not before.
func TestSealRotation(t *testing.T) {
	w, ctx := open(t), t.Context()
	for _, name := range []string{"upstream/a", "upstream/b"} {
		if _, err := w.Store.Write(ctx, func(tx *store.Tx) error {
			tx.Record(storetest.Event("test.put"))
			return tx.PutSecret(name, []byte("hush"))
		}); err != nil {
			t.Fatal(err)
		}
	}
	waiting := func() (n int) {
		w.Store.Read(ctx, func(tx *store.Tx) (err error) { n, err = tx.SealedBefore(); return err })
		return n
	}
	size := w.Store.Size()
	if err := w.RotateSeal(ctx, maya, w.now); err != nil {
		t.Fatal(err)
	}
	if w.Store.Size() != size+1 || w.last(1) != "seal.rotate" || waiting() < 3 {
		t.Errorf("%d events, the last is %s; %d wait", w.Store.Size()-size, w.last(1), waiting())
	}
	if err := w.Reseal(ctx, w.now.Add(59*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if waiting() != 0 || w.Store.Seal.Info().Keys != 2 || w.Store.Size() != size+1 {
		t.Errorf("before the hour is over: %d wait, %+v, %d events", waiting(), w.Store.Seal.Info(), w.Store.Size()-size)
	}
	if err := w.Reseal(ctx, w.now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if w.Store.Seal.Info().Keys != 1 {
		t.Errorf("after it: %+v", w.Store.Seal.Info())
	}
	for range 7 {
		if err := w.RotateSeal(ctx, maya, w.now); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.RotateSeal(ctx, maya, w.now); err == nil || !strings.Contains(err.Error(), "data keys") {
		t.Errorf("without end: %v", err)
	}
	f, err := seal.CreateFile(filepath.Join(t.TempDir(), "two"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.RewrapSeal(ctx, maya, f); err != nil || w.last(1) != "seal.rewrap" || w.Store.Seal.Info().KEK != f.Name() {
		t.Errorf("%v, %s, %+v", err, w.last(1), w.Store.Seal.Info())
	}
	if err := w.Reseal(ctx, w.now.Add(2*time.Hour)); err != nil || w.Store.Seal.Info().Keys != 1 || w.Store.Seal.Info().KEK != f.Name() {
		t.Errorf("%v %+v", err, w.Store.Seal.Info())
	}
	if err := w.Store.Read(ctx, func(tx *store.Tx) error { _, err := tx.Secret("upstream/a"); return err }); err != nil {
		t.Error(err)
	}
}

// TestSealRewrappedElsewhere: what wraps the data keys is changed at another node; this one, which does not have it, goes on sealing with the
// same data key, and says that it could not start. Only another data key is one that it cannot seal with.
func TestSealRewrappedElsewhere(t *testing.T) {
	w, ctx := open(t), t.Context()
	put := func(name string) error {
		_, err := w.Store.Write(ctx, func(tx *store.Tx) error {
			tx.Record(storetest.Event("test.put"))
			return tx.PutSecret(name, []byte("hush"))
		})
		return err
	}
	elsewhere := func(n *seal.Next, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Store.Write(ctx, func(tx *store.Tx) error {
			tx.Record(storetest.Event("seal.rewrap"))
			return tx.PutSeal(n)
		}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := seal.CreateFile(filepath.Join(t.TempDir(), "two"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere(w.Store.Seal.Rewrap(ctx, f))
	if err := put("upstream/a"); err != nil {
		t.Errorf("with the data key that everybody seals with: %v", err)
	}
	var kek *seal.KEKError
	if err := w.Store.RefreshSeal(ctx); !errors.As(err, &kek) {
		t.Errorf("it says nothing of the key that it has not: %v", err)
	}
	if err := w.RotateSeal(ctx, maya, w.now); !errors.As(err, &kek) {
		t.Errorf("it rotates what it cannot open: %v", err)
	}
	other := seal.Hold(f)
	var kept []byte
	if err := w.Store.Read(ctx, func(tx *store.Tx) (err error) { kept, err = tx.Meta("seal"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := other.Use(ctx, kept); err != nil {
		t.Fatal(err)
	}
	elsewhere(other.Rotate(ctx, w.now))
	if err := put("upstream/b"); !errors.As(err, &kek) {
		t.Errorf("sealed with a data key of before: %v", err)
	}
}
