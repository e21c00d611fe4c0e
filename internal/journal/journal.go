// Package journal is records on disk that nobody reads or changes unseen, and that a
// crash in the midst of a write does not pass off as whole.
//
// A record is its length, the checksum of that, and the checksum (CRC-32C) of what was
// sealed, four bytes each, and that. So a length that is damaged is not taken for one whose
// bytes were never written. What is sealed is bound to its place: a record does not open at another one, so
// none can be moved, repeated or left out in the middle.
package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

var (
	// ErrTorn means that what is there is the beginning of a record, with nothing behind it: its write did not end.
	ErrTorn = errors.New("record is torn")
	// ErrDamaged means that a record is not what was written, or not at its place, or sealed with another key.
	ErrDamaged = errors.New("record is damaged")
)

// MaxRecord is the size of the largest record, sealed.
const MaxRecord = 16 << 20

const head = 12

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sealer is the two sides of a key.
type Sealer struct {
	Seal, Unseal func(b []byte, place string) ([]byte, error)
}

// Append appends to b the record of plain at that place.
func (s Sealer) Append(b, plain []byte, place string) ([]byte, error) {
	sealed, err := s.Seal(plain, place)
	if err != nil {
		return b, err
	}
	if len(sealed) > MaxRecord {
		return b, fmt.Errorf("a record of %d bytes is larger than any", len(sealed))
	}
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(sealed)))
	b = append(b, size[:]...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(size[:], castagnoli))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(sealed, castagnoli))
	return append(b, sealed...), nil
}

// Next reads the first record of b, which is at that place, and returns what is behind it.
// After the last it returns io.EOF. Behind a damaged one there may be good ones.
func (s Sealer) Next(b []byte, place string) (plain, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, io.EOF
	}
	if len(b) < head || bytes.Count(b, []byte{0}) == len(b) {
		return nil, nil, ErrTorn
	}
	if crc32.Checksum(b[:4], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return nil, nil, ErrDamaged // and where the next would begin is not known
	}
	size := binary.BigEndian.Uint32(b)
	if int64(size) > int64(len(b)-head) {
		return nil, nil, ErrTorn
	}
	sealed, rest := b[head:head+size], b[head+size:]
	if crc32.Checksum(sealed, castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		if len(rest) == 0 {
			return nil, nil, ErrTorn
		}
		return nil, rest, ErrDamaged
	}
	if plain, err = s.Unseal(sealed, place); err != nil {
		return nil, rest, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return plain, rest, nil
}

// Replace makes what write writes the content of a file, whole and on disk when it
// returns, of mode 0600. A crash or an error leaves what was there before.
func Replace(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	return SyncDir(filepath.Dir(path))
}

// Put makes b the content of a file, as Replace does.
func Put(path string, b []byte) error {
	return Replace(path, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// Remove removes a file for good: after a crash it is not there again.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir brings to disk which files are in a folder.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
