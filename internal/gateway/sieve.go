package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// sieve is an event stream (HTML, section 9.2.6) of which every event is filtered as soon
// as it is whole: a list that was asked for elsewhere may come in it.
type sieve struct {
	io.ReadCloser
	filter  func(event []byte) ([]byte, error)
	holds   func(int64) error // takes in into account
	piece   []byte            // as it was read
	in, out []byte
	line    int // where in in its last line begins
	seen    int // bytes of in that hold no end of a line but those before line
	err     error
}

func (s *sieve) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.fill()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// fill reads on and filters what has become whole.
func (s *sieve) fill() {
	if s.piece == nil {
		s.piece = make([]byte, 8<<10)
	}
	n, err := s.ReadCloser.Read(s.piece)
	if s.err = s.holds(int64(n)); s.err != nil {
		return
	}
	s.in = append(s.in, s.piece[:n]...)
	for s.err == nil {
		end := s.event()
		if end == 0 {
			break
		}
		s.pass(s.in[:end])
		_ = s.holds(-int64(end))
		s.in, s.line, s.seen = s.in[end:], 0, 0
	}
	switch {
	case s.err != nil:
	case len(s.in) > maxList:
		s.err = fmt.Errorf("an event has more than %d bytes", int64(maxList))
	case errors.Is(err, io.EOF) && len(s.in) > 0:
		s.pass(s.in)
		_ = s.holds(-int64(len(s.in)))
		s.in = nil
	}
	if s.err == nil {
		s.err = err
	}
}

func (s *sieve) pass(event []byte) {
	out, err := s.filter(event)
	if s.err = err; err == nil {
		s.out = append(s.out, out...)
	}
}

// event is where the first event of in ends, after an empty line; 0 when it is not whole yet.
func (s *sieve) event() int {
	for {
		i := bytes.IndexAny(s.in[s.seen:], "\r\n")
		if i < 0 {
			s.seen = len(s.in)
			return 0
		}
		end := s.seen + i
		next := end + 1
		if s.in[end] == '\r' {
			if next == len(s.in) { // LF may follow
				s.seen = end
				return 0
			}
			if s.in[next] == '\n' {
				next++
			}
		}
		if end == s.line {
			return next
		}
		s.line, s.seen = next, next
	}
}
