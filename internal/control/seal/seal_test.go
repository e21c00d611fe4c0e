package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// opened begins a box and returns what a store would keep.
func opened(t *testing.T, b *Box) (kept []byte) {
	t.Helper()
	n, err := b.Begin(t.Context(), false, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Use(t.Context(), n.Kept); err != nil {
		t.Fatal(err)
	}
	return n.Kept
}

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
	if _, err := made.Seal([]byte("s3cret"), "upstream/mail"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed box seals: %v", err)
	}
	kept := opened(t, made)
	sealed, err := made.Seal([]byte("s3cret"), "upstream/mail")
	if err != nil || bytes.Contains(sealed, []byte("s3cret")) || !bytes.HasPrefix(sealed, made.Prefix()) {
		t.Fatalf("sealed is %q, %v", sealed, err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Unseal(sealed, "upstream/mail"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed box opens: %v", err)
	}
	if err := again.Use(t.Context(), kept); err != nil {
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
	if err := other.Use(t.Context(), kept); !errors.Is(err, ErrOther) {
		t.Errorf("another KEK: %v", err)
	}
	opened(t, other)
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

// TestChange: a rotation seals with another key and opens what came before, until that is dropped; a rewrapping changes no data key.
func TestChange(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	b, err := Create(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	first := opened(t, b)
	seal := func() []byte {
		s, err := b.Seal([]byte("s3cret"), "x")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	opens := func(b *Box, sealed []byte) bool {
		plain, err := b.Unseal(sealed, "x")
		return err == nil && string(plain) == "s3cret"
	}
	must := func(n *Next, err error) *Next {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	old := seal()
	n := must(b.Rotate(ctx, epoch.Add(time.Hour)))
	if !bytes.Equal(n.After, first) || !bytes.HasPrefix(seal(), old[:5]) {
		t.Error("a rotation is in force before it is applied, or does not say what it follows")
	}
	b.Apply(n)
	young := seal()
	if bytes.Equal(young[:5], old[:5]) || !opens(b, old) || !opens(b, young) || b.Info().Keys != 2 || !b.Info().Since.Equal(epoch.Add(time.Hour)) {
		t.Errorf("after a rotation: %+v", b.Info())
	}
	two, err := CreateFile(filepath.Join(dir, "two"))
	if err != nil {
		t.Fatal(err)
	}
	r := must(b.Rewrap(ctx, two))
	b.Apply(r)
	if !opens(b, old) || !opens(b, young) || b.Info().KEK != two.Name() || !b.Info().Since.Equal(epoch.Add(time.Hour)) {
		t.Errorf("after a rewrapping: %+v", b.Info())
	}
	if one, err := Open(filepath.Join(dir, "one")); err != nil || !errors.Is(one.Use(ctx, r.Kept), ErrOther) {
		t.Error("the old KEK opens what the new one wrapped")
	}
	b.Apply(must(b.Drop(ctx)))
	if opens(b, old) || !opens(b, young) || b.Info().Keys != 1 {
		t.Errorf("after dropping: %+v", b.Info())
	}
	if err := b.Check(ctx); err != nil {
		t.Error(err)
	}
	os.Remove(filepath.Join(dir, "two"))
	if err := b.Check(ctx); !errors.Is(err, ErrMissing) || !opens(b, young) {
		t.Errorf("without its file: %v", err)
	}
	if _, err := b.Rotate(ctx, epoch); err != nil { // the key is in memory still
		t.Error(err)
	}
}

// TestOld: a store that was sealed by the key file itself goes on with that as its first data key, and no other KEK takes it.
func TestOld(t *testing.T) {
	f, err := CreateFile(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := f.aead.Encrypt([]byte("s3cret"), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	b := Hold(f)
	n, err := b.Begin(t.Context(), true, epoch)
	if err != nil {
		t.Fatal(err)
	}
	b.Apply(n)
	if plain, err := b.Unseal(before, "x"); err != nil || string(plain) != "s3cret" {
		t.Errorf("%q %v", plain, err)
	}
	if _, err := Hold(fails{}).Begin(t.Context(), true, epoch); err == nil || !strings.Contains(err.Error(), "--seal file:PATH") {
		t.Errorf("another KEK: %v", err)
	}
}

// fails is a KEK that is away.
type fails struct{}

var errAway = errors.New("away")

func (fails) Name() string                                   { return "fails" }
func (fails) Wrap(context.Context, []byte) ([]byte, error)   { return nil, errAway }
func (fails) Unwrap(context.Context, []byte) ([]byte, error) { return nil, errAway }

// TestAway: a KEK that cannot be used changes nothing of what is open.
func TestAway(t *testing.T) {
	b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	kept := opened(t, b)
	if _, err := b.Rewrap(t.Context(), fails{}); !errors.Is(err, errAway) {
		t.Errorf("rewrapping to it: %v", err)
	}
	if err := Hold(fails{}).Use(t.Context(), kept); !errors.Is(err, errAway) {
		t.Errorf("opening with it: %v", err)
	}
	if _, err := b.Seal([]byte("x"), "y"); err != nil {
		t.Error(err)
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
