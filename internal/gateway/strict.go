package gateway

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
)

// Strict wraps a plain listener, so that HTTP/1.1 heads which net/http repairs
// without a word are refused: a bare LF or CR, a folded line, Content-Length
// beside Transfer-Encoding (RFC 9112 sections 2.2, 5.2, 6.3). It reads along
// where each message ends, and when a head is bad it hands net/http a line that
// it answers with 400. A TLS listener cannot be wrapped: net/http must see the
// *tls.Conn. There the same requests reach the upstream in the one reading that
// net/http gave them, since what is forwarded is written anew.
func Strict(l net.Listener) net.Listener { return strictListener{l} }

type strictListener struct{ net.Listener }

func (l strictListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &strictConn{Conn: c}, nil
}

// strictConn follows the messages of one connection. net/http reads it from one goroutine at a time.
type strictConn struct {
	net.Conn
	framing
	poison []byte // handed out instead of what a bad head went on with
	bad    bool
}

func (c *strictConn) Read(p []byte) (int, error) {
	if c.bad {
		if len(c.poison) == 0 {
			return 0, io.EOF
		}
		n := copy(p, c.poison)
		c.poison = c.poison[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	good := c.follow(p[:n])
	if good == n {
		return n, err
	}
	c.bad, c.poison = true, []byte("\x00\r\n\x00\r\n\r\n") // bad at a line's start as well as in its middle
	if good > 0 {
		return good, nil
	}
	return c.Read(p)
}

// framing says where a stream of HTTP/1.1 requests is.
type framing struct {
	where            place
	left             int64  // bytes of the body or chunk still to come
	line             []byte // the unfinished line
	length           int64  // of the body, once the head has said so
	sized, chunked   bool
	upgrade, started bool
	old              bool // not HTTP/1.1: it has no chunks (RFC 9112 section 6.1)
}

type place byte

const (
	inHead place = iota
	inBody
	inChunkSize
	inChunkEnd
	inTrailer
	inTunnel // upgraded: no longer HTTP
)

const maxLine = 64 << 10

// follow reads b and returns how much of it is unambiguous.
func (f *framing) follow(b []byte) int {
	at := 0
	for at < len(b) {
		switch f.where {
		case inTunnel:
			return len(b)
		case inBody:
			n := min(f.left, int64(len(b)-at))
			at += int(n)
			if f.left -= n; f.left == 0 {
				f.where = inHead
				if f.chunked {
					f.where = inChunkEnd
				}
			}
		default:
			end := bytes.IndexByte(b[at:], '\n')
			if end < 0 {
				if len(f.line)+len(b)-at > maxLine {
					return at
				}
				f.line = append(f.line, b[at:]...)
				return len(b)
			}
			line := b[at : at+end+1]
			if len(f.line) > 0 {
				line = append(f.line, line...)
				f.line = f.line[:0]
			}
			if !f.take(line) {
				return at
			}
			at += end + 1
		}
	}
	return at
}

// take reads one line, with its end, and reports whether it is unambiguous.
func (f *framing) take(line []byte) bool {
	n := len(line) - 2
	if n < 0 || line[n] != '\r' || bytes.IndexByte(line[:n], '\r') >= 0 {
		return false
	}
	line = line[:n]
	switch f.where {
	case inHead:
		return f.header(line)
	case inChunkEnd:
		f.where = inChunkSize
		return len(line) == 0
	case inChunkSize:
		size, _, _ := strings.Cut(string(line), ";")
		v, err := strconv.ParseInt(strings.TrimRight(size, " \t"), 16, 63)
		if err != nil || v < 0 {
			return false
		}
		f.left, f.where = v, inBody
		if v == 0 {
			f.where = inTrailer
		}
	case inTrailer:
		if len(line) == 0 {
			f.where, f.chunked = inHead, false
		} else if line[0] == ' ' || line[0] == '\t' {
			return false
		}
	}
	return true
}

// header reads one line of a head: the request line first, an empty one last.
func (f *framing) header(line []byte) bool {
	switch {
	case len(line) == 0 && !f.started:
		return false // RFC 9112 section 2.2 lets a server skip it; nobody who means well sends it
	case len(line) == 0:
		return f.headEnd()
	case line[0] == ' ' || line[0] == '\t':
		return false
	case !f.started:
		f.started, f.old = true, !bytes.HasSuffix(line, []byte(" HTTP/1.1"))
		return true
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return true // net/http refuses it itself
	}
	switch value := bytes.TrimSpace(line[colon+1:]); colon {
	case len("Content-Length"):
		if bytes.EqualFold(line[:colon], []byte("Content-Length")) {
			v, err := strconv.ParseInt(string(value), 10, 63)
			if err != nil || f.sized {
				return false
			}
			f.length, f.sized = v, true
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(line[:colon], []byte("Transfer-Encoding")) {
			if f.chunked || f.old || !bytes.EqualFold(value, []byte("chunked")) {
				return false
			}
			f.chunked = true
		}
	case len("Upgrade"):
		f.upgrade = f.upgrade || bytes.EqualFold(line[:colon], []byte("Upgrade"))
	}
	return !f.sized || !f.chunked
}

func (f *framing) headEnd() bool {
	f.where, f.left = inHead, f.length
	switch {
	case f.upgrade:
		f.where = inTunnel // only a GET without a body may ask for it, see cleanHeader
		if f.chunked || f.length > 0 {
			return false
		}
	case f.chunked:
		f.where = inChunkSize
	case f.length > 0:
		f.where = inBody
	}
	f.length, f.sized, f.started, f.upgrade = 0, false, false, false
	return true
}
