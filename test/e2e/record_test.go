package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFlippedBytes: whichever byte of the record in an export is another, it is found, and said where.
// The hash tiles are no part of the record, and cannot hide what became of it.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.do(h.asReader("GET", profile)...)
	h.fails(3, "may not", h.asReader("DELETE", "/gmail/v1/users/me/messages/1")...)
	key := strings.TrimSpace(h.do("audit", "key"))
	h.do("audit", "export", "out")
	verify := []string{"audit", "verify", "out", "--key", key}
	h.do(verify...)
	out := filepath.Join(h.dir, "out")
	write := func(path string, b []byte) {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// flip gives each of some places of a file another value, its first and its last byte among them.
	flip := func(path string, try func(good []byte, at int)) {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		const places = 24
		for n := range places {
			at := n * (len(good) - 1) / (places - 1)
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (n % 8)
			write(path, bad)
			try(good, at)
		}
		write(path, good)
	}
	events := filepath.Join(out, "events.jsonl")
	line := func(good []byte, at int) string {
		return fmt.Sprintf("line %d", 1+bytes.Count(good[:at], []byte("\n")))
	}
	flip(events, func(good []byte, at int) { h.fails(4, line(good, at), verify...) })
	flip(filepath.Join(out, "checkpoint"), func([]byte, int) { h.fails(4, "checkpoint", verify...) })
	tiles, err := filepath.Glob(filepath.Join(out, "tile/0/*"))
	if err != nil || len(tiles) != 1 {
		t.Fatalf("%v %v", tiles, err)
	}
	tile := tiles[0]
	if info, err := os.Stat(tile); err == nil && info.IsDir() { // of a tree that does not fill one: 000.p/12
		if tiles, err = filepath.Glob(filepath.Join(tile, "*")); err != nil || len(tiles) != 1 {
			t.Fatalf("%v %v", tiles, err)
		}
		tile = tiles[0]
	}
	good, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	flip(tile, func([]byte, int) {
		h.do(verify...)
		write(events, bytes.Replace(good, []byte("maya"), []byte("mayo"), 1))
		h.fails(4, "NOT what was recorded", verify...)
		write(events, good)
	})
	h.do(verify...)
	h.do("audit", "verify") // and what the server holds
}
