package registry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestUpstreamMoves: the credential that was for one server is shown to no other that somebody says the upstream is at.
func TestUpstreamMoves(t *testing.T) {
	w := open(t)
	put := func(at string, secret *registry.Secret) {
		t.Helper()
		w.do(func(c *registry.Change) error {
			_, err := c.PutUpstream(policy.Upstream{Name: "files", URL: at, Family: "patterns", Description: []byte("GET /f -> f.read read /f")}, secret)
			return err
		})
	}
	kept := func() (value string) {
		t.Helper()
		err := w.Store.Read(t.Context(), func(tx *store.Tx) error {
			b, err := tx.Secret(store.UpstreamSecret("files"))
			value = string(b)
			return err
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return value
	}
	put("https://files.example/v1", &registry.Secret{Value: "Bearer one"})
	put("https://files.example/v2", nil)
	if kept() != "Bearer one" {
		t.Errorf("the same server: %q", kept())
	}
	put("https://files.example:8443/v2", &registry.Secret{Value: "Bearer two"})
	if kept() != "Bearer two" {
		t.Errorf("with another: %q", kept())
	}
	if put("https://files.example:9443/v2", &registry.Secret{Value: "Bearer two"}); kept() != "Bearer two" {
		t.Errorf("with the same, given again: %q", kept())
	}
	for _, at := range []string{"https://elsewhere.example/v2", "http://files.example:8443/v2", "https://files.example/v2"} {
		put(at, nil)
		events := w.events("upstream.change")
		if last := events[0]; kept() != "" || !strings.Contains(last.Detail["credential"], "set") {
			t.Errorf("%s: %q, %v", at, kept(), last.Detail)
		}
		put("https://files.example:8443/v2", &registry.Secret{Value: "Bearer two"})
	}
}

// TestProviderMoves: nor is the secret that was for one identity provider.
func TestProviderMoves(t *testing.T) {
	for name, change := range map[string]func(*identity.Provider){
		"another issuer": func(p *identity.Provider) { p.Issuer = "https://elsewhere.example" },
		"another client": func(p *identity.Provider) { p.Client = "other" },
		"another label":  func(p *identity.Provider) { p.Label = "Acme" },
	} {
		w, secret := open(t), "hush"
		p := identity.Provider{Name: "acme", Issuer: "https://idp.example", Uses: []identity.ProviderUse{identity.SignIn}, Client: "lanyard"}
		w.do(func(c *registry.Change) error { _, err := c.PutProviderClient(p, &secret); return err })
		change(&p)
		w.do(func(c *registry.Change) error { _, err := c.PutProviderClient(p, nil); return err })
		err := w.Store.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Secret(store.ProviderClient("acme")); return err })
		if gone := errors.Is(err, store.ErrNotFound); gone != (name != "another label") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
