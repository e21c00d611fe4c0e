package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// transitServer answers as the published API of the transit engine says: POST /v1/transit/{encrypt,decrypt}/NAME with base64,
// ciphertexts that begin with vault:v1:, errors as {"errors": []}. It is no OpenBao.
type transitServer struct {
	*httptest.Server
	aead  cipher.AEAD
	token atomic.Pointer[string]
	asked atomic.Int64
}

func newTransit(t *testing.T) *transitServer {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	s := &transitServer{}
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		t.Fatal(err)
	}
	token := "s.first"
	s.token.Store(&token)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *transitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	say := func(status int, v any) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	wrong := func(status int, text string) { say(status, map[string]any{"errors": []string{text}}) }
	if r.Header.Get("X-Vault-Token") != *s.token.Load() {
		wrong(403, "permission denied")
		return
	}
	var in map[string]string
	if json.NewDecoder(r.Body).Decode(&in) != nil || r.Method != "POST" {
		wrong(400, "error parsing JSON")
		return
	}
	switch r.URL.Path {
	case "/v1/transit/encrypt/lanyard":
		plain, err := base64.StdEncoding.DecodeString(in["plaintext"])
		if err != nil {
			wrong(400, "failed to base64-decode plaintext")
			return
		}
		say(200, map[string]any{"data": map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, nil)), "key_version": 1}})
	case "/v1/transit/decrypt/lanyard":
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(in["ciphertext"], "vault:v1:"))
		plain, err2 := s.aead.Open(nil, nil, sealed, nil)
		if err != nil || err2 != nil {
			wrong(400, "cipher: message authentication failed")
			return
		}
		say(200, map[string]any{"data": map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}})
	default:
		wrong(404, "no handler for route")
	}
}

func fixed(token string) func() (string, error) { return func() (string, error) { return token, nil } }

func TestOpenBao(t *testing.T) {
	s := newTransit(t)
	token := "s.first"
	at := "openbao:" + s.URL + "/transit/keys/lanyard"
	k, err := Parse(at, false, func() (string, error) { return token, nil })
	if err != nil {
		t.Fatal(err)
	}
	if same, err := Parse("openbao:"+s.URL+"/v1/transit/keys/lanyard", false, fixed(token)); err != nil || same.Name() != k.Name() {
		t.Errorf("with /v1: %v", err)
	}
	b := Hold(k)
	kept := opened(t, b)
	sealed, err := b.Seal([]byte("s3cret"), "x")
	if err != nil || strings.Contains(string(kept), token) || strings.Contains(string(kept), "s3cret") {
		t.Fatalf("%v %s", err, kept)
	}
	asked := s.asked.Load()
	for range 100 {
		if _, err := b.Unseal(sealed, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if s.asked.Load() != asked {
		t.Error("opening a secret asks the server")
	}
	again := Hold(k)
	if err := again.Use(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	// A token that was renewed is read anew; one that was not is refused.
	renewed := "s.second"
	s.token.Store(&renewed)
	if err := again.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("an old token: %v", err)
	}
	token = renewed
	if err := again.Check(t.Context()); err != nil {
		t.Error(err)
	}
	other := newTransit(t)
	wrong, _ := OpenBao(other.URL+"/transit/keys/lanyard", fixed("s.first"))
	if err := Hold(wrong).Use(t.Context(), kept); !errors.Is(err, ErrOther) {
		t.Errorf("the key of another server: %v", err)
	}
	missing, _ := OpenBao(s.URL+"/transit/keys/other", fixed(token))
	if err := Hold(missing).Use(t.Context(), kept); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a key that is not there: %v", err)
	}
	if err := Hold(k).Use(t.Context(), []byte(`{"by":"file","keys":"AAAA"}`)); !errors.Is(err, ErrOther) {
		t.Errorf("what a file wrapped: %v", err)
	}
	s.Close()
	if _, err := again.Unseal(sealed, "x"); err != nil {
		t.Errorf("what is open closes with the server: %v", err)
	}
	if err := again.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("away: %v", err)
	}
	if _, err := again.Rotate(t.Context(), epoch); err == nil {
		t.Error("rotated without it")
	}
	if _, err := again.Seal([]byte("y"), "x"); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "file", "file:", "kms:x", "openbao:", "openbao:bao/transit/keys/x", "openbao:https://bao/transit/x", "openbao:https://bao/keys/x", "openbao:https://bao/../keys/x",
		"openbao:https://bao/transit/keys/x/y", "openbao:https://u:p@bao/transit/keys/x", "openbao:https://bao/transit/keys/x?a=b", "openbao:http://bao.example.com/transit/keys/x", "openbao:ftp://bao/transit/keys/x",
		"openbao:https://bao/transit/keys/%2e%2e", "command:", "command:/no/such/program"} {
		if k, err := Parse(bad, false, fixed("x")); err == nil {
			t.Errorf("%q is %s", bad, k.Name())
		}
	}
	for _, good := range []string{"openbao:https://bao.example.com:8200/transit/keys/lanyard", "vault:https://bao/v1/team/a/transit/keys/x.1", "openbao:http://127.0.0.1:8200/transit/keys/x", "openbao:http://localhost/t/keys/x"} {
		if _, err := Parse(good, false, fixed("x")); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	path := filepath.Join(t.TempDir(), "new.key")
	if _, err := Parse("file:"+path, false, nil); !errors.Is(err, ErrMissing) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Parse("file:"+path, true, nil); err != nil {
		t.Error(err)
	}
}

// program writes a shell script.
func program(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "kms")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommand(t *testing.T) {
	// A "KMS" that wraps by turning the line round: enough to see that each goes its way.
	k, err := Command(program(t, `read line
data=$(printf %s "$line" | sed 's/.*"data":"\([^"]*\)".*/\1/')
case "$line" in
*'"op":"wrap"'*) printf '{"data":"%s"}\n' "$(printf 'K%s' "$data" | base64 -w0)" ;;
*'"op":"unwrap"'*) in=$(printf %s "$data" | base64 -d); case "$in" in K*) printf '{"data":"%s"}\n' "${in#K}" ;; *) exit 2 ;; esac ;;
esac
`))
	if err != nil {
		t.Fatal(err)
	}
	b := Hold(k)
	kept := opened(t, b)
	if err := Hold(k).Use(t.Context(), kept); err != nil {
		t.Error(err)
	}
	if err := Hold(k).Use(t.Context(), []byte(`{"by":"file","keys":"AAAA"}`)); !errors.Is(err, ErrOther) {
		t.Errorf("exit status 2: %v", err)
	}
	for name, text := range map[string]string{"fails": "exit 1", "silent": "cat >/dev/null", "no JSON": "echo s3cret", "endless": "yes", "hangs up": "exec <&-; exit 0"} {
		k, err := Command(program(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Hold(k).Begin(t.Context(), false, epoch); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzTransitAnswer(f *testing.F) {
	for _, s := range []string{`{"data":{"plaintext":"eA=="}}`, `{"errors":["x"]}`, `{"data":{"plaintext":5}}`, `[]`, ``} {
		f.Add(200, []byte(s))
		f.Add(400, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, answer []byte) {
		got, err := transitAnswer(status, answer, "plaintext")
		if (err == nil) != (got != "") || err == nil && status != 200 {
			t.Errorf("%d %q: %q, %v", status, answer, got, err)
		}
		if err != nil && len(answer) > 20 && strings.Contains(err.Error(), string(answer)) {
			t.Errorf("the error quotes the answer: %v", err)
		}
	})
}
