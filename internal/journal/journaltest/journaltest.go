// Package journaltest has what tests of journals need: a key of their own.
package journaltest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/journal"
)

// Sealer seals with a fresh key.
func Sealer(t testing.TB) journal.Sealer {
	t.Helper()
	var key [32]byte
	_, _ = rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return journal.Sealer{
		Seal:   func(b []byte, place string) ([]byte, error) { return a.Seal(nil, nil, b, []byte(place)), nil },
		Unseal: func(b []byte, place string) ([]byte, error) { return a.Open(nil, nil, b, []byte(place)) },
	}
}
