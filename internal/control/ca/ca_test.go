package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// safe is a vault in memory.
type safe struct {
	kept   map[string][]byte
	events []ledger.Event
	fails  bool
}

func (s *safe) vault() Vault {
	return Vault{
		Load: func(context.Context) (map[string][]byte, error) { return maps.Clone(s.kept), nil },
		Save: func(_ context.Context, put map[string][]byte, drop []string, e ledger.Event) error {
			if s.fails {
				return errors.New("full")
			}
			maps.Copy(s.kept, put)
			for _, id := range drop {
				delete(s.kept, id)
			}
			s.events = append(s.events, e)
			return nil
		},
	}
}

func open(t *testing.T, s *safe, now *time.Time) *Authority {
	t.Helper()
	a := &Authority{Vault: s.vault(), Domain: "lanyard.local", Now: func() time.Time { return *now }, Rand: rand.Reader}
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func request(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"control"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// verify says whether c is good to whoever trusts roots.
func verify(c *x509.Certificate, use x509.ExtKeyUsage, now time.Time, roots [][]byte, between ...[]byte) error {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}
	for n, list := range [][][]byte{roots, between} {
		for _, der := range list {
			r, err := x509.ParseCertificate(der)
			if err != nil {
				return err
			}
			[]*x509.CertPool{o.Roots, o.Intermediates}[n].AddCert(r)
		}
	}
	_, err := c.Verify(o)
	return err
}

// TestGateway: what a certificate says is what the authority says, whatever was asked for.
func TestGateway(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a := open(t, &safe{kept: map[string][]byte{}}, &now)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c, err := a.Gateway(request(t, key), "gw-1")
	if err != nil {
		t.Fatal(err)
	}
	trust, _ := a.Trust()
	if len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://lanyard.local/gateway/gw-1" || len(c.DNSNames) != 0 || c.IsCA || !c.NotAfter.Equal(now.Add(24*time.Hour)) {
		t.Errorf("%v %v %v %v", c.URIs, c.DNSNames, c.IsCA, c.NotAfter)
	}
	if err := verify(c, x509.ExtKeyUsageClientAuth, now, trust); err != nil {
		t.Error(err)
	}
	if verify(c, x509.ExtKeyUsageServerAuth, now, trust) == nil {
		t.Error("a gateway's certificate is good for a server")
	}
	if verify(c, x509.ExtKeyUsageClientAuth, now.Add(25*time.Hour), trust) == nil {
		t.Error("it never ends")
	}
	weak, _ := rsa.GenerateKey(rand.Reader, 2048)
	other, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	broken := request(t, key)
	broken[len(broken)-1] ^= 1
	for name, r := range map[string][]byte{"RSA": request(t, weak), "P-384": request(t, other), "a signature of nobody": broken, "nothing": nil, "no request": c.Raw} {
		if _, err := a.Gateway(r, "gw-1"); err == nil {
			t.Errorf("%s: a certificate", name)
		}
	}
}

// TestOverlap: the authority is the same after a restart; after a rotation whoever trusts the old one alone knows the
// control plane, until the old one is dropped.
func TestOverlap(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := &safe{kept: map[string][]byte{}}
	first := open(t, s, &now)
	old, _ := first.Trust()
	a := open(t, s, &now)
	if again, _ := a.Trust(); string(again[0]) != string(old[0]) || len(s.events) != 1 {
		t.Error("a restart makes another authority")
	}
	_, changed := a.Trust()
	now = now.Add(time.Hour)
	s.fails = true
	if err := a.Rotate(t.Context(), "operator:x"); err == nil || len(a.List()) != 1 {
		t.Errorf("an authority that is not kept is used: %v", err)
	}
	s.fails = false
	if err := a.Rotate(t.Context(), "operator:x"); err != nil {
		t.Fatal(err)
	}
	<-changed
	if e := s.events[1]; e.Type != "ca.rotate" || e.Actor != "operator:x" {
		t.Errorf("%+v", e)
	}
	both, _ := a.Trust()
	l, err := a.Listener()
	if err != nil {
		t.Fatal(err)
	}
	for name, roots := range map[string][][]byte{"the old one": old, "the new one": both[:1]} {
		if err := verify(l.Leaf, x509.ExtKeyUsageServerAuth, now, roots, l.Certificate[1:]...); err != nil {
			t.Errorf("whoever trusts %s: %v", name, err)
		}
	}
	if l.Leaf.URIs[0].String() != feed.ControlName("lanyard.local") {
		t.Errorf("%v", l.Leaf.URIs)
	}
	if list := open(t, s, &now).List(); len(list) != 2 || list[0].State != "issues" || list[1].State != "trusted" || list[0].Fingerprint != a.List()[0].Fingerprint {
		t.Errorf("%+v", list)
	}
	same, _ := a.Listener()
	now = now.Add(13 * time.Hour)
	next, err := a.Listener()
	if err != nil || same != l || next == l {
		t.Errorf("the control plane's own certificate is not renewed when half its life is over, or before: %v", err)
	}
	now = now.Add(overlap)
	if err := a.Prune(t.Context()); err != nil || len(a.List()) != 1 || len(s.kept) != 1 {
		t.Errorf("%v: %+v", err, a.List())
	}
	if l, err = a.Listener(); err != nil || verify(l.Leaf, x509.ExtKeyUsageServerAuth, now, old, l.Certificate[1:]...) == nil {
		t.Errorf("an authority that was dropped is still good: %v", err)
	}
}

// TestDamaged: keys that are not what was kept are not used.
func TestDamaged(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s, o := &safe{kept: map[string][]byte{}}, &safe{kept: map[string][]byte{}}
	open(t, s, &now)
	open(t, o, &now)
	for id := range s.kept {
		for _, b := range [][]byte{nil, []byte("{}"), []byte(`{"certificate":"AAAA","key":"AAAA"}`)} {
			s.kept[id] = b
			a := &Authority{Vault: s.vault(), Domain: "lanyard.local", Now: func() time.Time { return now }, Rand: rand.Reader}
			if err := a.Open(t.Context()); err == nil {
				t.Errorf("%q is an authority", b)
			}
		}
	}
}
