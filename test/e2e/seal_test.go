package e2e

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lanyard-dev/lanyard/test/port"
)

// transit answers encrypt and decrypt of one key as the published API of OpenBao's transit engine says. It is no OpenBao.
type transit struct {
	addr  string
	aead  cipher.AEAD
	serve *http.Server
}

func newTransit(t *testing.T) *transit {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	s := &transit{addr: port.Free()}
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	t.Cleanup(func() { s.serve.Close() })
	return s
}

func (s *transit) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.serve = &http.Server{Handler: s}
	go s.serve.Serve(l)
}

func (s *transit) key() string { return "openbao:http://" + s.addr + "/transit/keys/lanyard" }

func (s *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	data := map[string]string{}
	if r.Header.Get("X-Vault-Token") != "s.token" {
		w.WriteHeader(403)
		io.WriteString(w, `{"errors":["permission denied"]}`)
		return
	}
	if json.NewDecoder(r.Body).Decode(&in) == nil {
		switch r.URL.Path {
		case "/v1/transit/encrypt/lanyard":
			plain, _ := base64.StdEncoding.DecodeString(in["plaintext"])
			data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, nil))
		case "/v1/transit/decrypt/lanyard":
			sealed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(in["ciphertext"], "vault:v1:"))
			if plain, err := s.aead.Open(nil, nil, sealed, nil); err == nil {
				data["plaintext"] = base64.StdEncoding.EncodeToString(plain)
			}
		}
	}
	if len(data) == 0 {
		w.WriteHeader(400)
		io.WriteString(w, `{"errors":["cipher: message authentication failed"]}`)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"data": data})
}

// TestSealRotate: under load, the data key is rotated, the key that wraps it moves from a file to an OpenBao and to another file, and
// no request fails; after each, a start with what it is wrapped by works.
func TestSealRotate(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.Setenv("LANYARD_SEAL_TOKEN", "s.token")
	h.stop()
	h.start()
	h.settle()
	bao := newTransit(t)
	seen := func() (v struct {
		KEK           string
		Usable        bool
		Keys, Waiting int
	}) {
		h.json(&v, "seal", "status")
		return v
	}
	if v := seen(); v.KEK != "file:"+filepath.Join(h.data, "seal.key") || !v.Usable || v.Keys != 1 || v.Waiting != 0 {
		t.Errorf("%+v", v)
	}
	load := func(while func()) {
		t.Helper()
		client := (&wire{h: h}).agent("reader").HTTPClient(h.gate + "/mail")
		var stop atomic.Bool
		var done atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for !stop.Load() {
					res, err := client.Get(h.gate + "/mail" + profile)
					if err != nil {
						t.Error(err)
						return
					}
					res.Body.Close()
					if res.StatusCode != 200 {
						t.Error(res.Status)
					}
					done.Add(1)
				}
			})
		}
		all.Go(func() { // secrets are put, too, each of which the gateway has to fetch anew
			for !stop.Load() {
				h.do("upstream", "put", "mail", "--url", h.office, "--google", "gmail/v1", "--owner", "maya", "--credential-env", "OFFICE_SECRET")
			}
		})
		before := done.Load()
		while()
		h.eventually("there was load", func() bool { return done.Load() > before+20 })
		stop.Store(true)
		all.Wait()
	}
	load(func() {
		h.do("seal", "rotate")
		h.eventually("everything is sealed anew", func() bool { v := seen(); return v.Waiting == 0 && v.Keys == 2 })
		h.do("keys", "rotate")
		h.do("seal", "rewrap", "--to", bao.key())
	})
	if v := seen(); v.KEK != bao.key() || !v.Usable {
		t.Errorf("%+v", v)
	}
	types := h.do("audit", "search", "--limit", "1000", "-o", "json")
	if n, m := strings.Count(types, `"seal.rotate"`), strings.Count(types, `"seal.rewrap"`); n != 1 || m != 1 {
		t.Errorf("%d events of the rotation, %d of the rewrapping", n, m)
	}
	h.do("seal", "rewrap") // by what wraps it already
	h.stop()

	// The old file opens nothing any more; and a start that names it says what would.
	h.fails(1, bao.key(), append(h.serveArgs(), "--seal", "file:"+filepath.Join(h.data, "seal.key"))...)
	os.Remove(filepath.Join(h.data, "seal.key"))
	h.fails(1, "seal key is missing", h.serveArgs()...)
	other := newTransit(t)
	h.fails(1, "wrapped with another key", append(h.serveArgs(), "--seal", other.key())...)
	h.Setenv("LANYARD_SEAL_TOKEN", "s.wrong")
	h.fails(1, "refuses the token", append(h.serveArgs(), "--seal", bao.key())...)
	h.Setenv("LANYARD_SEAL_TOKEN", "")
	h.fails(1, "--seal-token-file", append(h.serveArgs(), "--seal", bao.key())...)
	h.fails(64, "", append(h.serveArgs(), "--drain", "2h")...)
	bao.serve.Close()
	token := filepath.Join(h.dir, "token")
	if err := os.WriteFile(token, []byte("s.token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails(1, "cannot be reached", append(h.serveArgs(), "--seal", bao.key(), "--seal-token-file", token)...)
	bao.start(t)
	h.flags = append(h.flags, "--seal", bao.key(), "--seal-token-file", token)
	h.start()
	h.do(h.asReader("GET", profile)...)

	// Away while it runs: all goes on, secrets are put and opened, and who looks is told; what needs it fails and changes nothing.
	bao.serve.Close()
	load(func() {})
	if v := seen(); v.Usable || v.KEK != bao.key() {
		t.Errorf("%+v", v)
	}
	if !strings.Contains(h.metrics(h.control), "\nlanyard_seal_usable 0") {
		t.Error("the metric says that it is usable")
	}
	h.fails(1, "the next start will fail", "doctor")
	h.fails(1, "Nothing was changed: wrapping the seal keys with "+bao.key()+": it cannot be reached", "seal", "rotate")
	if v := seen(); v.Keys != 2 {
		t.Errorf("%+v", v)
	}
	bao.start(t)
	second := "file:" + filepath.Join(h.dir, "second.key")
	h.do("seal", "rewrap", "--to", "file:second.key")
	h.stop()
	h.flags = []string{"--seal", second}
	bao.serve.Close()
	h.start()
	h.do(h.asReader("GET", profile)...)
	h.do("doctor")
	if status, _ := h.get(h.control+"/readyz", ""); status != 200 {
		t.Error(status)
	}
}

// serveArgs are a lanyard serve on the house's folder, for one that must not start.
func (h *house) serveArgs() []string {
	return []string{"serve", "--listen", h.controlA, "--gateway-listen", h.gateA}
}

// TestSealOverTheNetwork: what wraps the keys is chosen on the machine itself, since it names files and programs there.
func TestSealOverTheNetwork(t *testing.T) {
	t.Parallel()
	h := build(t)
	admin := h.first(`(lyd_admin_\w+)`, h.log.String())
	send := func(path, body string) int {
		req, err := http.NewRequest("POST", h.control+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+admin)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	ran := filepath.Join(h.dir, "ran")
	program := filepath.Join(h.dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if status := send("/v1/seal/rewrap", fmt.Sprintf(`{"to":"command:%s"}`, program)); status != 403 {
		t.Errorf("rewrap over the network: %d", status)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the program ran")
	}
	if status := send("/v1/seal/rotate", `{}`); status != 200 {
		t.Errorf("rotate over the network: %d", status)
	}
	h.fails(3, "no such file", "seal", "rewrap", "--to", "command:/no/such/program")
	h.fails(1, "its answer is not", "seal", "rewrap", "--to", "command:"+program)
}
