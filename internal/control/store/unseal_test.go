package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
)

// TestUnsealElsewhere: what a node sealed with a data key that another one has not seen yet, it opens.
func TestUnsealElsewhere(t *testing.T) {
	f, err := seal.CreateFile(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	c := storetest.Config(t)
	c.Database = pg.New(t)
	var nodes [2]*store.DB
	for n := range nodes {
		c.Seal = seal.Hold(f)
		if nodes[n], err = store.Open(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		defer nodes[n].Close()
	}
	n, err := nodes[0].Seal.Rotate(t.Context(), storetest.Epoch.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].Write(t.Context(), func(tx *store.Tx) error { tx.Record(storetest.Event("x")); return tx.PutSeal(n) }); err != nil {
		t.Fatal(err)
	}
	nodes[0].Seal.Apply(n)
	sealed, err := nodes[0].Seal.Seal([]byte("form"), "consent/x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[1].Seal.Unseal(sealed, "consent/x"); err == nil {
		t.Fatal("the other node has the key before it looked")
	}
	if plain, err := nodes[1].Unseal(t.Context(), sealed, "consent/x"); err != nil || string(plain) != "form" {
		t.Errorf("%q %v", plain, err)
	}
	if plain, err := nodes[1].Unseal(t.Context(), sealed, "consent/y"); err == nil {
		t.Errorf("for another place: %q", plain)
	}
}
