package gateway

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestSieve: events are filtered one by one, however they arrive and however their lines end.
func TestSieve(t *testing.T) {
	for stream, want := range map[string]string{
		"data: a\n\ndata: b\n\n":               "[data: a\n\n][data: b\n\n]",
		"data: a\r\ndata: b\r\n\r\ndata: c":    "[data: a\r\ndata: b\r\n\r\n][data: c]",
		"data: a\r\rdata: b\r\n\n":             "[data: a\r\r][data: b\r\n\n]",
		": ping\n\n\n\nid: 1":                  "[: ping\n\n][\n][\n][id: 1]",
		"":                                     "",
		"data: bad\n\ndata: after\n\n":         "",
		"data: a\n\n" + "data: bad\n\ndata: x": "[data: a\n\n]",
	} {
		for _, r := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream)), iotest.DataErrReader(strings.NewReader(stream))} {
			held := int64(0)
			s := &sieve{ReadCloser: io.NopCloser(r), filter: func(e []byte) ([]byte, error) {
				if bytes.Contains(e, []byte("bad")) {
					return nil, errors.New("no")
				}
				return []byte("[" + string(e) + "]"), nil
			}, holds: func(n int64) error { held += n; return nil }}
			got, err := io.ReadAll(s)
			if err == nil && held != int64(len(s.in)) {
				t.Errorf("%q: %d bytes are held at the end", stream, held)
			}
			if string(got) != want || (err != nil) != strings.Contains(stream, "bad") {
				t.Errorf("%q became %q (%v), want %q", stream, got, err, want)
			}
		}
	}
	s := &sieve{ReadCloser: io.NopCloser(neverEnds{}), filter: func(e []byte) ([]byte, error) { return e, nil }, holds: func(int64) error { return nil }}
	if n, err := io.Copy(io.Discard, s); n != 0 || err == nil {
		t.Errorf("an event without an end: %d bytes, %v", n, err)
	}
}

type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) { return copy(p, "data: x"), nil }

func FuzzSieve(f *testing.F) {
	f.Add("data: a\r\n\r\ndata: b\n\n: c\r\r")
	f.Fuzz(func(t *testing.T, stream string) {
		read := func(r io.Reader) (parts []string) {
			held := int64(0)
			s := &sieve{ReadCloser: io.NopCloser(r), filter: func(e []byte) ([]byte, error) { parts = append(parts, string(e)); return e, nil }, holds: func(n int64) error { held += n; return nil }}
			all, err := io.ReadAll(s)
			if err != nil || string(all) != stream || held != 0 {
				t.Fatalf("%q became %q (%v), and %d bytes are held", stream, all, err, held)
			}
			return parts
		}
		if len(stream) > 10_000 {
			return
		}
		if a, b := read(strings.NewReader(stream)), read(iotest.OneByteReader(strings.NewReader(stream))); strings.Join(a, "|") != strings.Join(b, "|") {
			t.Fatalf("%q whole, %q byte by byte", a, b)
		}
	})
}
