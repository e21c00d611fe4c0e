package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFlippedBytes: whichever byte of an export is another, in whichever file, it is found, and said where.
func TestFlippedBytes(t *testing.T) {
	h := build(t)
	h.settle()
	h.do(h.asReader("GET", profile)...)
	h.fails(3, "may not", h.asReader("DELETE", "/gmail/v1/users/me/messages/1")...)
	key := strings.TrimSpace(h.do("audit", "key"))
	h.do("audit", "export", "out")
	h.do("audit", "verify", "out", "--key", key)
	out := filepath.Join(h.dir, "out")
	var files []string
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "key" { // the key is got another way
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 3 {
		t.Fatalf("%v: %v", err, files)
	}
	for _, path := range files {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(out, path)
		if err != nil {
			t.Fatal(err)
		}
		const places = 12 // of a file, its first and its last byte among them; internal/ledger tries them all
		for n := range places {
			at := n * (len(good) - 1) / (places - 1)
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (n % 8)
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			where := name
			if name == "events.jsonl" {
				where = fmt.Sprint("line ", 1+bytes.Count(good[:at], []byte("\n")))
			}
			if r := h.try("audit", "verify", "out", "--key", key); r.code != 4 || !strings.Contains(r.out+r.err, where) {
				t.Errorf("%s, byte %d: exit %d, want 4 and %q\n%s%s", name, at, r.code, where, r.out, r.err)
			}
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h.do("audit", "verify", "out", "--key", key)
	h.do("audit", "verify") // and what the server holds
}
