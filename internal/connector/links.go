package connector

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Turn has addresses in a body of JSON lead elsewhere while it goes by: the values that are text of members whose names end with one of
// names become what turn says; null for "". The rest is what it was, but for blanks before such a value. A link of more than MaxLink bytes is an error of Read.
func Turn(body io.ReadCloser, names []string, turn func(link string) string) io.ReadCloser {
	return &turned{ReadCloser: body, names: names, turn: turn}
}

// turned finds names as they stand there. One that is followed by a quote and a colon is that of a member: within a string the quote has a
// backslash before it.
type turned struct {
	io.ReadCloser
	names []string
	turn  func(string) string
	in    []byte // read, and not looked at yet
	out   []byte // to be handed on
	gone  int    // of out, that was
	err   error
}

const (
	MaxLink  = 64 << 10 // bytes of a link
	maxPiece = 32 << 10 // of a body, that is looked at: what comes after a link is moved each time
)

var errLink = errors.New("a link in the reply cannot be read")

func (t *turned) Read(p []byte) (int, error) {
	p = p[:min(len(p), maxPiece)]
	if len(t.in) == 0 && t.gone == len(t.out) && t.err == nil { // most of it has no link: it goes by as it is
		n, err := t.ReadCloser.Read(p)
		if !slices.ContainsFunc(t.names, func(name string) bool { return bytes.Contains(p[:n], []byte(name)) }) && t.begun(p[:n]) == 0 {
			return n, err
		}
		t.in, t.err = append(t.in, p[:n]...), err
		if bad := t.look(err != nil); bad != nil {
			t.err = bad
		}
	}
	for t.gone == len(t.out) {
		t.out, t.gone = t.out[:0], 0
		if t.err != nil {
			return 0, t.err
		}
		at := len(t.in)
		t.in = append(t.in, make([]byte, 16<<10)...)
		n, err := t.ReadCloser.Read(t.in[at:])
		t.in = t.in[:at+n]
		if err != nil {
			t.err = err
		}
		if bad := t.look(err != nil); bad != nil {
			t.err = bad
		}
	}
	n := copy(p, t.out[t.gone:])
	t.gone += n
	return n, nil
}

// look moves what is done from in to out; all of it, at the end.
func (t *turned) look(end bool) error {
	for {
		at, size := -1, 0
		for _, name := range t.names {
			if i := bytes.Index(t.in, []byte(name+`"`)); i >= 0 && (at < 0 || i < at) {
				at, size = i, len(name)+1
			}
		}
		if at < 0 {
			keep := 0
			if !end {
				keep = t.begun(t.in)
			}
			t.move(len(t.in) - keep)
			return nil
		}
		t.move(at)
		value, ok := bytes.CutPrefix(bytes.TrimLeft(t.in[size:], " \t\r\n"), []byte(":"))
		value = bytes.TrimLeft(value, " \t\r\n")
		switch {
		case !ok && len(bytes.TrimLeft(t.in[size:], " \t\r\n")) > 0: // no name, but a text that ends so
			t.move(size)
			continue
		case len(value) == 0 && !end && len(t.in) < MaxLink:
			return nil
		case len(value) == 0 || value[0] != '"':
			t.move(size)
			continue
		}
		n := quoted(value)
		if n == 0 && !end && len(t.in) < MaxLink {
			return nil
		}
		link, err := jsontext.AppendUnquote(nil, value[:n])
		if n == 0 || err != nil {
			return errLink
		}
		turned := []byte("null")
		if len(link) == 0 { // it leads nowhere
			turned = value[:n]
		} else if s := t.turn(string(link)); s != "" {
			if turned, err = jsontext.AppendQuote(nil, s); err != nil {
				return errLink
			}
		}
		rest := value[n:]
		t.out = append(append(t.out, t.in[:size]...), ':')
		t.out = append(t.out, turned...)
		t.in = append([]byte(nil), rest...)
	}
}

// begun is how much of a name b ends with.
func (t *turned) begun(b []byte) int {
	most := 0
	for _, name := range t.names {
		for n := min(len(b), len(name)); n > most; n-- {
			if string(b[len(b)-n:]) == name[:n] {
				most = n
			}
		}
	}
	return most
}

func (t *turned) move(n int) {
	t.out = append(t.out, t.in[:n]...)
	t.in = append(t.in[:0], t.in[n:]...)
}

// quoted is the size of the JSON string that b begins with; 0 if it does not end.
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}
