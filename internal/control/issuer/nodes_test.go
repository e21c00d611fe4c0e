package issuer

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
)

// TestOnceOfNodes: an assertion is good once at all control nodes together, and at none that cannot ask the others.
func TestOnceOfNodes(t *testing.T) {
	var postgres pgserver.Shared
	c := storetest.Config(t)
	c.Database = postgres.New(t)
	t.Cleanup(postgres.End)
	o := newOffice(t)
	c.Now = o.Now
	var nodes []*Issuer
	var muxes []*http.ServeMux
	var stores []*store.DB
	for n := range 2 {
		c.Dir = t.TempDir()
		db, err := store.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		i := &Issuer{URL: o.URL, GatewayURL: o.GatewayURL, View: o.View, Ring: o.Ring, Now: o.Now, Rand: o.Rand, Start: o.Start, Touch: o.Touch, Record: o.Record, RevokeToken: o.RevokeToken}
		nodes, muxes, stores = append(nodes, i), append(muxes, http.NewServeMux()), append(stores, db)
		if err := i.Mount(muxes[n]); err != nil {
			t.Fatal(err)
		}
		i.Registry = &registry.Registry{Store: db}
	}
	show := func(n int, path string, form url.Values) (int, string) {
		r := httptest.NewRequest("POST", o.URL+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("DPoP", o.proof(nodes[n].nonces.Make(o.now)))
		w := httptest.NewRecorder()
		muxes[n].ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for n, path := range []string{"/oauth/token", "/oauth/introspect"} {
		form := o.form(o.assertion(o.key, nil))
		form.Set("token", "x")
		if path == "/oauth/token" {
			form.Del("token")
		}
		if status, body := show(n, path, form); status != 200 {
			t.Fatal(path, status, body)
		}
		for n := range nodes {
			if status, body := show(n, "/oauth/token", form); status == 200 || !strings.Contains(body, "was used before") {
				t.Errorf("%s, again at node %d: %d %s", path, n, status, body)
			}
		}
	}
	form := o.form(o.assertion(o.key, nil))
	stores[1].Close()
	if status, body := show(1, "/oauth/token", form); status != 503 || strings.Contains(body, "access_token") {
		t.Errorf("without the store: %d %s", status, body)
	}
}
