package broker_test

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/broker"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// TestNodes: control nodes on one database show a refresh token once between them, and what came of it goes to whoever asked which.
func TestNodes(t *testing.T) {
	w := open(t)
	if !w.Registry.Store.Shared() {
		t.Skip("not run: the store is for one node; test/pg has one for several")
	}
	w.connect("maya")
	brokers := []*broker.Broker{w.Broker}
	for range 2 {
		db, err := store.Open(t.Context(), w.Registry.Store.Config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		r := &registry.Registry{Store: db, Domain: "lanyard.local", Families: w.Registry.Families, Rand: rand.Reader}
		brokers = append(brokers, &broker.Broker{Registry: r, URL: plane, Now: w.Now, Rand: rand.Reader, Log: w.Broker.Log})
	}
	w.as.answers(func(http.ResponseWriter, url.Values) bool { time.Sleep(100 * time.Millisecond); return false })
	for range 3 {
		w.pass(11 * time.Minute)
		got := make([]feed.Secret, len(brokers))
		var all sync.WaitGroup
		for n, b := range brokers {
			all.Go(func() {
				var err error
				if got[n], err = b.Credential(t.Context(), "notes", identity.Alone(id("mayas"), 0), feed.Secret{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got[1].Value != got[0].Value || got[2].Value != got[0].Value {
			t.Error("the nodes hand out several tokens")
		}
	}
	if n := w.as.count("refresh_token"); n != 3 || w.as.reused != 0 {
		t.Errorf("%d renewals, %d refresh tokens shown twice", n, w.as.reused)
	}
}
