package control

import (
	"context"
	"net"
	"net/http"
	"testing"
)

// ported is a connection from that address.
type ported struct {
	net.Conn
	from *net.TCPAddr
}

func (p *ported) RemoteAddr() net.Addr { return p.from }

// TestReusedPort: a connection from the port of one that is not cleared away yet stays known when that one is.
func TestReusedPort(t *testing.T) {
	p := start(t)
	p.abroad()
	s := p.FleetServer()
	opened := func() net.Conn {
		c := &ported{from: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4000}}
		if s.ConnContext != nil {
			s.ConnContext(context.Background(), c)
		}
		s.ConnState(c, http.StateNew)
		return c
	}
	known := func() int {
		p.fleet.mu.Lock()
		defer p.fleet.mu.Unlock()
		return len(p.fleet.links)
	}
	old, next := opened(), opened()
	s.ConnState(old, http.StateClosed)
	if known() != 1 {
		t.Errorf("%d connections are known, want the one that is open", known())
	}
	s.ConnState(next, http.StateClosed)
	if known() != 0 {
		t.Errorf("%d connections are known after the last has closed", known())
	}
}
