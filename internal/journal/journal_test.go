package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/journal"
	"github.com/lanyard-dev/lanyard/internal/journal/journaltest"
)

// read is what can be read of b, and how it ends.
func read(s journal.Sealer, b []byte) (list []string, damaged int, end error) {
	for n := 0; ; n++ {
		plain, rest, err := s.Next(b, fmt.Sprint("place ", n))
		switch {
		case errors.Is(err, journal.ErrDamaged):
			damaged++
		case err != nil:
			return list, damaged, err
		default:
			list = append(list, string(plain))
		}
		b = rest
	}
}

func three(t testing.TB, s journal.Sealer) (b []byte, ends []int) {
	for n, text := range []string{"one", "", "three"} {
		var err error
		if b, err = s.Append(b, []byte(text), fmt.Sprint("place ", n)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(b))
	}
	return b, ends
}

// TestCutAnywhere: whatever part of a write was made, what is whole is read and nothing else, and it is known to be torn.
func TestCutAnywhere(t *testing.T) {
	s := journaltest.Sealer(t)
	b, ends := three(t, s)
	for n := range len(b) + 1 {
		whole := 0
		for _, end := range ends {
			if n >= end {
				whole++
			}
		}
		between := n == 0 || whole > 0 && n == ends[whole-1]
		list, damaged, end := read(s, b[:n])
		if len(list) != whole || damaged > 0 || between != errors.Is(end, io.EOF) || between == errors.Is(end, journal.ErrTorn) {
			t.Fatalf("%d of %d bytes: %q, %d damaged, %v", n, len(b), list, damaged, end)
		}
		// A power cut can leave the length and lose the bytes.
		if !between {
			begin := 0
			if whole > 0 {
				begin = ends[whole-1]
			}
			zeroed := append(bytes.Clone(b[:min(n, begin+12)]), make([]byte, ends[whole]-min(n, begin+12))...)
			if list, _, end := read(s, zeroed); len(list) != whole || end == nil {
				t.Fatalf("%d bytes and then zeroes: %q, %v", n, list, end)
			}
		}
	}
}

// TestFlippedAnywhere: no changed bit gives another text, and what is behind a damaged record is found where that can be.
func TestFlippedAnywhere(t *testing.T) {
	s := journaltest.Sealer(t)
	b, ends := three(t, s)
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		list, damaged, end := read(s, bad)
		for _, text := range list {
			if text != "one" && text != "" && text != "three" {
				t.Fatalf("byte %d: %q", i, list)
			}
		}
		if len(list) == 3 {
			t.Fatalf("byte %d: nobody noticed", i)
		}
		if i >= 12 && i < ends[0] && (len(list) != 2 || damaged != 1 || !errors.Is(end, io.EOF)) {
			t.Fatalf("byte %d: %q, %d damaged, %v", i, list, damaged, end)
		}
	}
}

func TestPlaces(t *testing.T) {
	s := journaltest.Sealer(t)
	b, ends := three(t, s)
	for name, moved := range map[string][]byte{"swapped": append(bytes.Clone(b[ends[0]:ends[1]]), b[:ends[0]]...), "left out": b[ends[0]:], "repeated": append(bytes.Clone(b[:ends[0]]), b[:ends[0]]...)} {
		if list, damaged, _ := read(s, moved); damaged == 0 {
			t.Errorf("%s: %q", name, list)
		}
	}
	if list, damaged, _ := read(journaltest.Sealer(t), b); len(list) > 0 || damaged != 3 {
		t.Errorf("another key: %q, %d damaged", list, damaged)
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"first", "second, which is longer", "x"} {
		if err := journal.Replace(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); string(got) != text {
			t.Errorf("%q %v", got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	stop := errors.New("stop")
	if err := journal.Replace(path, func(w io.Writer) error { io.WriteString(w, "half"); return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "x" {
		t.Errorf("half a file: %q", got)
	}
	if err := errors.Join(journal.Remove(path), journal.Remove(path)); err != nil {
		t.Error(err)
	}
	if journal.Replace(filepath.Join(path, "x", "y"), func(io.Writer) error { return nil }) == nil {
		t.Error("written into a folder that is not there")
	}
}

func FuzzNext(f *testing.F) {
	s := journaltest.Sealer(f)
	b, ends := three(f, s)
	f.Add(b)
	f.Add(b[:ends[1]+3])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _, end := read(s, b)
		if end == nil || len(list) > 3 {
			t.Errorf("%q %v", list, end)
		}
	})
}
