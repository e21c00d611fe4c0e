package registry_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

const day = 24 * time.Hour

// certificate makes a self-signed one of a key, or of a new key.
func (w *world) certificate(key ed25519.PrivateKey, until time.Time) []byte {
	w.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(until.Unix()), NotBefore: w.now, NotAfter: until}
	var der []byte
	var err error
	if key != nil {
		der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	} else {
		k, err2 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err2 != nil {
			w.Fatal(err2)
		}
		der, err = x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	}
	if err != nil {
		w.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestCredentialEnds: no credential outlives its identity, of whatever kind, nor its certificate.
func TestCredentialEnds(t *testing.T) {
	w := open(t)
	start := w.now
	certEnd := start.Add(200 * day)
	w.do(func(c *registry.Change) error {
		_, _, err := c.AddCredential("bot", registry.Proof{})
		_, _, err2 := c.AddCredential("bot", registry.Proof{Certificate: w.certificate(nil, certEnd)})
		i, err3 := c.IdentityByName("bot")
		code, err4 := c.NewCode(registry.Code{Identity: i.ID, Client: "c", Upstream: "mail", Until: i.Expires})
		_, _, err5 := c.Redeem(code, "")
		return errors.Join(err, err2, err3, err4, err5)
	})
	ends := func(when string, want map[identity.CredentialKind]time.Time) {
		t.Helper()
		_, list, _ := w.identity("bot")
		if len(list) != 4 {
			t.Fatalf("%d credentials", len(list))
		}
		for _, k := range list {
			if !k.Expires.Equal(want[k.Kind]) {
				t.Errorf("%s: %s ends %s, want %s", when, k.Kind, k.Expires, want[k.Kind])
			}
		}
	}
	all := func(at time.Time) map[identity.CredentialKind]time.Time {
		return map[identity.CredentialKind]time.Time{identity.PrivateKeyJWT: at, identity.Key: at, identity.Certificate: at, identity.RefreshToken: at}
	}
	put := func(end registry.End) func(*registry.Change) error {
		return func(c *registry.Change) error {
			x := bot("bot")
			x.Expires = end
			_, _, err := c.PutIdentity(x)
			return err
		}
	}
	ends("at first", all(start.Add(90*day)))
	w.do(put(registry.At(start.Add(10 * day))))
	ends("shortened", all(start.Add(10*day)))
	// What is shown as it is, and what a person agreed to, is not made longer by renewing the identity.
	w.do(state(identity.Active, "renew", registry.For(100*day)))
	longer := all(start.Add(100 * day))
	longer[identity.Key], longer[identity.RefreshToken] = start.Add(10*day), start.Add(10*day)
	ends("renewed", longer)
	w.do(state(identity.Active, "renew", registry.For(300*day)))
	longer[identity.PrivateKeyJWT], longer[identity.Certificate] = start.Add(300*day), certEnd
	ends("renewed past the certificate", longer)
	w.do(state(identity.Active, "renew", registry.For(250*day)))
	longer[identity.PrivateKeyJWT] = start.Add(250 * day)
	ends("shortened by renewing", longer)
}

// TestGrantRenewed: a grant that ends with its identity goes on when that is renewed, in what it is compiled to as well.
func TestGrantRenewed(t *testing.T) {
	w := open(t)
	w.do(func(c *registry.Change) error {
		x := bot("bot")
		x.Expires = registry.At(w.now.Add(200 * day))
		_, _, err := c.PutIdentity(x)
		return err
	})
	i, _, grants := w.identity("bot")
	if len(grants) == 0 {
		t.Fatal("no grants")
	}
	for _, g := range grants {
		if !g.Until.Equal(i.Expires) || !strings.Contains(g.Common(), "true") || strings.Contains(g.Common(), "context.now") {
			t.Errorf("%s until %s:\n%s", g.ID, g.Until, g.Common())
		}
	}
}
