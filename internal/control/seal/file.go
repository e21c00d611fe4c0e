package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrMissing means that there is no key file: put the right one back, or create one on the first start.
var ErrMissing = errors.New("seal key is missing")

// File is a KEK in a file of mode 0600: a Tink keyset in the clear, whose protection is the file's mode.
type File struct {
	path   string // empty: it is kept nowhere
	handle *keyset.Handle
	aead   tink.AEAD
}

var _ KEK = (*File)(nil)

func (*File) String() string   { return "[seal key]" }
func (*File) GoString() string { return "[seal key]" }

func fileKEK(path string, h *keyset.Handle) (*File, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("using a seal key: %w", err)
	}
	return &File{path, h, a}, nil
}

// Create is Hold of CreateFile.
func Create(path string) (*Box, error) {
	f, err := CreateFile(path)
	if err != nil {
		return nil, err
	}
	return Hold(f), nil
}

// Open is Hold of OpenFile.
func Open(path string) (*Box, error) {
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	return Hold(f), nil
}

// CreateFile makes a key and keeps it in a new file. The file is whole and on disk when it returns.
func CreateFile(path string) (*File, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a seal key: %w", err)
	}
	var b bytes.Buffer
	// "Insecure" is that the keyset itself is not sealed by another: its protection is the file's mode.
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		return nil, fmt.Errorf("making a seal key: %w", err)
	}
	if err := writeNew(path, b.Bytes()); err != nil {
		return nil, fmt.Errorf("writing seal key: %w", err)
	}
	return fileKEK(path, h)
}

// writeNew writes beside path first, so that a crash leaves no half of a key, and never replaces a key.
func writeNew(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".seal-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// OpenFile reads the key that CreateFile wrote. It refuses one that others may read.
func OpenFile(path string) (*File, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrMissing, path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading seal key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("seal key %s can be read by others (mode %v): run chmod 600 on it", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading seal key: %w", err)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil { // the cause is left out: it could quote the key
		return nil, fmt.Errorf("seal key %s is damaged: put back a copy of it", path)
	}
	return fileKEK(path, h)
}

// wrapping is the context that data keys are wrapped for: no secret is sealed for it.
var wrapping = []byte("lanyard seal keys")

// Name implements KEK.
func (f *File) Name() string { return "file:" + f.path }

// Wrap implements KEK.
func (f *File) Wrap(_ context.Context, plain []byte) ([]byte, error) {
	return f.aead.Encrypt(plain, wrapping)
}

// Unwrap implements KEK.
func (f *File) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	plain, err := f.aead.Decrypt(wrapped, wrapping)
	if err != nil {
		return nil, ErrOther
	}
	return plain, nil
}

// SealAsBefore seals as versions did that had no data keys, for tests of what they left.
func (f *File) SealAsBefore(plain []byte, context string) ([]byte, error) {
	return f.aead.Encrypt(plain, []byte(context))
}
