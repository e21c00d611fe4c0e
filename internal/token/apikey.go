package token

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"
)

// An API key is "lyd_", 43 characters of base62 (32 random bytes), "_" and the
// CRC-32 of all before it in 6 characters, so that a secret scanner can tell a
// real key from a look-alike without asking anybody.
const (
	keyPrefix = "lyd_"
	keyBody   = 43
	keySum    = 6
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// NewAPIKey makes a key, to be shown once, and its hash, to be stored.
func NewAPIKey(rand io.Reader) (key, hash string, err error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", "", fmt.Errorf("make API key: %w", err)
	}
	key = keyPrefix + encode62(new(big.Int).SetBytes(b), keyBody) + "_"
	key += keyCheck(key)
	return key, HashAPIKey(key), nil
}

// CheckAPIKey returns nil if s has the form and the checksum of a key. That a
// key is somebody's, only its hash says. The error is an *Error with Code InvalidClient.
func CheckAPIKey(s string) error {
	bad := &Error{InvalidClient, "API key is mistyped or cut off"}
	if len(s) != len(keyPrefix)+keyBody+1+keySum || !strings.HasPrefix(s, keyPrefix) {
		return bad
	}
	head, sum := s[:len(s)-keySum], s[len(s)-keySum:]
	if strings.Trim(s[len(keyPrefix):len(head)-1], base62) != "" || head[len(head)-1] != '_' || keyCheck(head) != sum {
		return bad
	}
	return nil
}

// HashAPIKey is the thumbprint of a key: its entropy makes a slow hash needless.
func HashAPIKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return strict64.EncodeToString(sum[:])
}

func keyCheck(head string) string {
	return encode62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(head)))), keySum)
}

func encode62(n *big.Int, width int) string {
	b := make([]byte, width)
	base, digit := big.NewInt(62), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		b[i] = base62[digit.Int64()]
	}
	return string(b)
}
