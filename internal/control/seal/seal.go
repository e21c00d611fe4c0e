// Package seal keeps secrets unreadable at rest: a copy of the database without
// the seal key gives away no signing key and no upstream's credential.
//
// A [Box] is an AEAD keyset (AES-256-GCM, by Tink, which carries the key's id in
// every ciphertext so that keys can be rotated) in a file of mode 0600 beside the
// database. What is sealed is bound to a context, the place it is kept at: moved
// to another place, it does not open.
package seal

import (
	"bytes"
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

// ErrMissing means that there is no key file: put the right one back, or Create one on the first start.
var ErrMissing = errors.New("seal key is missing")

// Box seals and unseals. It never prints.
type Box struct{ aead tink.AEAD }

func (*Box) String() string   { return "[seal key]" }
func (*Box) GoString() string { return "[seal key]" }

// New makes a Box with a key that is kept nowhere.
func New() (*Box, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a seal key: %w", err)
	}
	return box(h)
}

// Create makes a key and keeps it in a new file. The file is whole and on disk when Create returns.
func Create(path string) (*Box, error) {
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
	return box(h)
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

// Open reads the key that Create wrote. It refuses one that others may read.
func Open(path string) (*Box, error) {
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
	return box(h)
}

func box(h *keyset.Handle) (*Box, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("using a seal key: %w", err)
	}
	return &Box{a}, nil
}

// Seal returns plain sealed for one context, such as "upstream/mail".
func (b *Box) Seal(plain []byte, context string) ([]byte, error) {
	sealed, err := b.aead.Encrypt(plain, []byte(context))
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", context, err)
	}
	return sealed, nil
}

// Unseal returns what was sealed for that context.
func (b *Box) Unseal(sealed []byte, context string) ([]byte, error) {
	plain, err := b.aead.Decrypt(sealed, []byte(context))
	if err != nil {
		return nil, fmt.Errorf("unsealing %s: it was changed, or sealed with another key", context)
	}
	return plain, nil
}
