package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes a self-signed certificate in two files of dir.
func certificate(t *testing.T, dir, name string) (cert, key string, pair tls.Certificate) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return cert, key, pair
}

// TestTLS: with certificates on both sides a token is bound to the client's (RFC 8705), and good with no other.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, serverKey, pair := certificate(t, dir, "server")
	h := build(t, "--tls-cert", server, "--tls-key", serverKey)
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	h.Setenv("SSL_CERT_FILE", server)
	h.settle()
	as := func(certs ...tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs}}}
	}
	mine, _, ours := certificate(t, dir, "mine")
	_, _, theirs := certificate(t, dir, "theirs")
	h.do("credential", "add", "reader", "--certificate", mine)
	ask := func(c *http.Client, more ...string) (token, refused string) {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"spiffe://lanyard.local/agent/reader"}, "resource": {h.gate + "/mail"}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		res, err := c.PostForm(h.control+"/oauth/token", form)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var reply struct {
			Token string `json:"access_token"`
			Error string `json:"error"`
		}
		if err := json.NewDecoder(res.Body).Decode(&reply); err != nil {
			t.Fatal(err)
		}
		return reply.Token, reply.Error
	}
	token, refused := ask(as(ours))
	if token == "" {
		t.Fatalf("no token: %s", refused)
	}
	for name, c := range map[string]*http.Client{"another": as(theirs), "none": as()} {
		if token, refused := ask(c); token != "" || refused != "invalid_client" {
			t.Errorf("a token with %s certificate: %s", name, refused)
		}
	}
	call := func(c *http.Client) (int, string, int) {
		req, err := http.NewRequest("GET", h.gate+"/mail"+profile, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b), res.ProtoMajor
	}
	if status, body, proto := call(as(ours)); status != 200 || proto != 2 || !strings.Contains(body, "maya@example.com") {
		t.Errorf("with its certificate: %d %s, HTTP/%d", status, body, proto)
	}
	for name, c := range map[string]*http.Client{"another": as(theirs), "none": as()} {
		if status, body, _ := call(c); status != 401 {
			t.Errorf("with %s certificate: %d %s", name, status, body)
		}
	}
	// On behalf of maya it is the same.
	exchange := []string{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token_type", "urn:ietf:params:oauth:token-type:id_token", "subject_token", h.portal().idToken(t, "maya@example.com", "portal")}
	if token, refused = ask(as(ours), exchange...); token == "" {
		t.Fatalf("no token on behalf of maya: %s", refused)
	}
	for name, c := range map[string]*http.Client{"another": as(theirs), "none": as()} {
		if token, refused := ask(c, exchange...); token != "" || refused != "invalid_client" {
			t.Errorf("on behalf of maya with %s certificate: %s", name, refused)
		}
		if status, body, _ := call(c); status != 401 {
			t.Errorf("on behalf of maya with %s certificate: %d %s", name, status, body)
		}
	}
	if status, body, _ := call(as(ours)); status != 200 {
		t.Errorf("on behalf of maya: %d %s", status, body)
	}
	h.do("kill", "reader", "--reason", "test")
	if status, _, _ := call(as(ours)); status != 401 {
		t.Errorf("after the kill: %d", status)
	}
}
