package seal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// KEK is a key-encryption key: it wraps the data keys and nothing else. Its methods may wait for a network.
type KEK interface {
	// Name says which it is, for people. It is no secret.
	Name() string
	Wrap(ctx context.Context, plain []byte) ([]byte, error)
	// Unwrap fails with ErrOther when wrapped was wrapped by another key.
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// KEKError is that a KEK could not be used.
type KEKError struct {
	Doing string
	Err   error
}

func (e *KEKError) Error() string { return e.Doing + ": " + e.Err.Error() }
func (e *KEKError) Unwrap() error { return e.Err }

// ErrOther means that a KEK does not open what it was shown.
var ErrOther = errors.New("it does not open them: they were changed, or wrapped with another key")

// maxWrapped bounds what a KEK may answer with: a keyset is a few hundred bytes.
const maxWrapped = 64 << 10

// Parse makes the KEK that a setting names: file:PATH, openbao:URL of a transit key, or command:PROGRAM. A key file that is
// not there is made if create says so. token returns what an OpenBao wants to see.
func Parse(setting string, create bool, token func() (string, error)) (KEK, error) {
	kind, rest, _ := strings.Cut(setting, ":")
	if rest == "" {
		return nil, fmt.Errorf("--seal %q: write file:PATH, openbao:https://host:8200/transit/keys/NAME, or command:PROGRAM", setting)
	}
	switch kind {
	case "file":
		path, err := filepath.Abs(rest)
		if err != nil {
			return nil, fmt.Errorf("--seal %q: %w", setting, err)
		}
		f, err := OpenFile(path)
		if create && errors.Is(err, ErrMissing) {
			f, err = CreateFile(path)
		}
		if err != nil {
			return nil, err
		}
		return f, nil
	case "openbao", "vault":
		return OpenBao(rest, token)
	case "command":
		return Command(rest)
	}
	return nil, fmt.Errorf("--seal %q: there are file, openbao and command", setting)
}
