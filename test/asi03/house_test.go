// Package asi03 plays "Identity and Privilege Abuse" (ASI03 of OWASP's Top 10 for Agentic
// Applications) against the built binary: each test is one scenario, with an attacker and a
// victim, and shows what stops the attack and what is on record of it. Where a defence is the
// operator's to switch on, the test shows the attack without it, too.
package asi03

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/test/built"
	"github.com/lanyard-dev/lanyard/test/port"
)

var bin string // the built lanyard

func TestMain(m *testing.M) {
	dir, err := built.Programs("lanyard")
	if err != nil {
		panic(err)
	}
	bin = filepath.Join(dir, "lanyard")
	os.Exit(m.Run())
}

const idp = "https://login.acme.example"

// house is a running lanyard serve of an organisation: priya owns its systems, ben works there,
// eve's agents are the attackers. Its identity provider's keys are pinned.
type house struct {
	*testing.T
	dir, control, gate string
	provider           ed25519.PrivateKey
}

func build(t *testing.T, flags ...string) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "lyd") // short: a socket's path has to fit the kernel's 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	control, gate := port.Free(), port.Free()
	h := &house{T: t, dir: dir, control: "http://" + control, gate: "http://" + gate}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(bin, append([]string{"serve", "--data", filepath.Join(dir, "data"), "--listen", control, "--gateway-listen", gate}, flags...)...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Signal(syscall.SIGTERM); c.Wait(); log.Close() })
	h.eventually("lanyard is ready", func() bool {
		b, _ := os.ReadFile(log.Name())
		return strings.Contains(string(b), "lanyard is ready")
	})
	for name, who := range map[string]string{"priya": "Priya Nair", "ben": "Ben Okafor", "eve": "Eve Moran"} {
		h.do("owner", "put", name, "--name", who, "--email", name+"@acme.example")
	}
	_, h.provider, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: h.provider.Public(), KeyID: "k1", Use: "sig"}}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "idp.json"), keys, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.do("provider", "put", "acme", "--issuer", idp, "--use", "on_behalf", "--audience", "portal", "--domain", "acme.example", "--scope", "read,write,delete,admin", "--jwks", "idp.json")
	return h
}

func (h *house) eventually(what string, is func() bool) {
	h.Helper()
	for begun := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			log, _ := os.ReadFile(filepath.Join(h.dir, "log"))
			h.Fatalf("never: %s\n%s", what, log)
		}
	}
}

// do runs lanyard, which must work, and returns what it printed.
func (h *house) do(args ...string) string {
	h.Helper()
	c := exec.Command(bin, append([]string{"--data", filepath.Join(h.dir, "data")}, args...)...)
	c.Dir = h.dir
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		h.Fatalf("lanyard %v: %v\n%s%s", args, err, out, errs.Bytes())
	}
	return string(out)
}

// write makes a file and returns its path.
func (h *house) write(name, text string) string {
	h.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.Fatal(err)
	}
	return path
}

// agent registers an agent of that owner, with a key.
func (h *house) agent(name, owner string) *client.Source {
	h.Helper()
	h.do("identity", "register", name, "--owner", owner, "--purpose", "Plays a part")
	h.do("keygen", name)
	h.do("credential", "add", name, "--public-key", name+".jwk")
	return h.badge(name, name)
}

// badge acts as that agent with the key of another, or its own.
func (h *house) badge(name, key string) *client.Source {
	h.Helper()
	s, err := client.New(client.Config{Issuer: h.control, Identity: id(name), KeyFile: filepath.Join(h.dir, key+".key.jwk")})
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func id(name string) string { return "spiffe://lanyard.local/agent/" + name }

// signedIn is the ID token that the organisation's portal has of a person.
func (h *house) signedIn(person string, change ...string) string {
	h.Helper()
	m := map[string]any{"iss": idp, "sub": "u-" + person, "aud": "portal", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "email": person + "@acme.example", "email_verified": true}
	for i := 0; i < len(change); i += 2 {
		m[change[i]] = change[i+1]
	}
	return sign(h.T, h.provider, "k1", "", m)
}

// sign makes a JWT, as whoever has the key would.
func sign(t *testing.T, key ed25519.PrivateKey, kid, typ string, claims any) string {
	t.Helper()
	o := &jose.SignerOptions{}
	if typ != "" {
		o = o.WithType(jose.ContentType(typ))
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, o)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := j.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// system is an upstream, and what has reached it.
type system struct {
	mu   sync.Mutex
	seen []*http.Request
}

func (s *system) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r)
	io.WriteString(w, "the salaries")
}

// reached is how many requests have come through, and the last of them.
func (s *system) reached() (int, *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return 0, nil
	}
	return len(s.seen), s.seen[len(s.seen)-1]
}

// upstream puts priya's records behind the gateway: they can be read, written and deleted.
func (h *house) upstream(name string, flags ...string) *system {
	h.Helper()
	s := &system{}
	web := httptest.NewServer(s)
	h.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	h.do(append([]string{"upstream", "put", name, "--url", web.URL, "--owner", "priya", "--pattern", "GET /records/{id} -> records.get read records/{id}",
		"--pattern", "PUT /records/{id} -> records.put write records/{id}", "--pattern", "DELETE /records/{id} -> records.drop delete records/{id}"}, flags...)...)
	return s
}

// endless is the address of an upstream whose answers go on and on.
func (h *house) endless() string {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, "salary\n"); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}))
	h.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return web.URL
}

// cut reads the endless feed as who has the badge, and wants that cut once stop was done.
func (h *house) cut(name string, badge *client.Source, stop ...string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", h.gate+"/feed/all", nil)
	if err != nil {
		h.Fatal(err)
	}
	res, err := badge.HTTPClient(h.gate + "/feed").Do(r)
	if err != nil || res.StatusCode != 200 {
		h.Fatal(name, err, res)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 70)); err != nil {
		h.Fatal(name, err)
	}
	h.do(stop...)
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, res.Body); ended <- err }()
	select {
	case err := <-ended:
		if err == nil {
			h.Errorf("%s: the stream ended as if it were whole", name)
		}
	case <-time.After(20 * time.Second):
		h.Errorf("%s: the stream goes on", name)
	}
}

// call sends one request as who has the badge, and returns the status and what was said; 0 when no token was to be had.
func (h *house) call(badge *client.Source, upstream, method, path string) (int, string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, h.gate+"/"+upstream+path, nil)
	if err != nil {
		h.Fatal(err)
	}
	res, err := badge.HTTPClient(h.gate + "/" + upstream).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// ask posts a form to the token endpoint.
func (h *house) ask(form url.Values, header ...string) (int, string) {
	h.Helper()
	r, err := http.NewRequest("POST", h.control+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// onRecord waits until the ledger holds an event of which all of those words are part, and returns it.
func (h *house) onRecord(words ...string) (line string) {
	h.Helper()
	h.eventually(strings.Join(words, ", ")+" on record", func() bool {
		for l := range strings.Lines(h.do("audit", "search", "--limit", "200", "-o", "json")) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(l, w)
			}
			if all {
				line = l
				return true
			}
		}
		return false
	})
	return line
}
