package registry_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// TestOneKey: a key is one credential of one identity, in whatever it comes.
func TestOneKey(t *testing.T) {
	w := open(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	first := registry.Proof{Certificate: w.certificate(private, w.now.Add(day))}
	second := registry.Proof{Certificate: w.certificate(private, w.now.Add(2*day))}
	jwk := registry.Proof{PublicKey: []byte(`{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`)}
	add := func(name string, p registry.Proof) func(*registry.Change) error {
		return func(c *registry.Change) error { _, _, err := c.AddCredential(name, p); return err }
	}
	w.do(func(c *registry.Change) error {
		_, _, err := c.PutIdentity(bot("two"))
		return errors.Join(err, add("bot", first)(c))
	})
	w.fails("each identity needs a key of its own", add("two", second))
	w.fails("each identity needs a key of its own", add("two", jwk))
	w.fails("this key is already", add("bot", second))
	_, list, _ := w.identity("bot")
	for _, k := range list {
		if k.Kind == identity.Certificate {
			w.do(func(c *registry.Change) error { return c.RevokeCredential(k.ID, "lost") })
		}
	}
	w.fails("a revoked key stays dead", add("bot", jwk))

	// And the other way round, with a key that no JWK here can be.
	other := registry.Proof{Certificate: w.certificate(nil, w.now.Add(day))}
	w.do(add("two", other))
	w.fails("this key is already", add("bot", other))
}
