package seal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if _, err := Open(path); !errors.Is(err, ErrMissing) {
		t.Fatalf("opening no key: %v", err)
	}
	made, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode is %v (%v)", info.Mode(), err)
	}
	sealed, err := made.Seal([]byte("s3cret"), "upstream/mail")
	if err != nil || bytes.Contains(sealed, []byte("s3cret")) {
		t.Fatalf("sealed is %q, %v", sealed, err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Unseal(sealed, "upstream/mail"); err != nil || string(plain) != "s3cret" {
		t.Errorf("unsealed %q, %v", plain, err)
	}
	if _, err := again.Unseal(sealed, "upstream/drive"); err == nil {
		t.Error("opened at another place")
	}
	other, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Unseal(sealed, "upstream/mail"); err == nil {
		t.Error("opened with another key")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := again.Unseal(bad, "upstream/mail"); err == nil {
			t.Fatalf("opened with byte %d flipped", i)
		}
	}
	if _, err := Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("creating over a key: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".seal-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	box, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := os.ReadFile(path)
	if text := fmt.Sprintf("%v %+v %#v %s", box, box, box, box); strings.ReplaceAll(text, "[seal key]", "") != "   " {
		t.Errorf("prints %s", text)
	}
	os.Chmod(path, 0o644)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that all can read: %v", err)
	}
	os.Chmod(path, 0o600)
	os.WriteFile(path, good[:len(good)/2], 0o600)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("half a key: %v", err)
	}
}
