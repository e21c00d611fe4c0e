package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// TestGatewayFolder: the folder of a gateway is its own for as long as it runs, whatever is collected meanwhile.
func TestGatewayFolder(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(feed.Member{Membership: feed.Membership{Name: "gw", Certificate: der, Trust: [][]byte{der}}, Key: private})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{data: t.TempDir()}
	if err := os.WriteFile(filepath.Join(s.data, "gateway.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := s.openMember(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // for what runs after it
	}
	if _, err := s.openMember(t.Context()); err == nil || !strings.Contains(err.Error(), "another gateway uses the folder") {
		t.Errorf("a second gateway in the same folder: %v", err)
	}
	next := *m.current()
	next.Name = "other"
	if err := m.put(&next); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(m)
	kept, err := os.ReadFile(m.path)
	if info, _ := os.Stat(m.path); err != nil || !strings.Contains(string(kept), `"other"`) || info.Mode().Perm() != 0o600 || m.current().Name != "other" {
		t.Errorf("%v: %s", err, kept)
	}
}

// TestControlAddress: an address that no client would use is refused at once, as a mistake of who wrote it.
func TestControlAddress(t *testing.T) {
	for address, good := range map[string]bool{"https://h:1": true, "https://h:1/": true, "http://h:1": false, "https://": false, "https://h/path": false, "https://u:p@h": false, "https://h?q": false} {
		f := fleet{role: roleGateway, ttl: time.Hour, controls: []string{address}}
		var e exit
		if err := f.check(false); (err == nil) != good || err != nil && (!errors.As(err, &e) || e.code != exitUsage) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
