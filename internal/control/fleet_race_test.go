package control

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// during is randomness that does something before it gives any.
type during struct{ do func() }

func (d during) Read(b []byte) (int, error) {
	d.do()
	return io.ReadFull(rand.Reader, b)
}

// TestReplacedUnderWay: a gateway whose place another takes while it asks for a new certificate gets none: shown, that would give it the
// place back.
func TestReplacedUnderWay(t *testing.T) {
	p := start(t)
	at := p.abroad()
	old := p.joined(at, "gw-1", `{}`)
	invited := p.invite("gw-1", `{"replace":true}`)
	p.fleet.ca.Rand = during{sync.OnceFunc(func() {
		if _, err := p.registry.Do(t.Context(), registry.Self, func(c *registry.Change) error {
			_, _, err := c.JoinGateway("gw-1", invited.Secret, func(string) (store.GatewayCertificate, error) {
				return store.GatewayCertificate{Serial: "1", Print: "of another"}, nil
			})
			return err
		}); err != nil {
			t.Error(err)
		}
	})}
	m, err := old.Rotate(t.Context(), old.member.Load(), rand.Reader)
	if !errors.Is(err, feed.ErrCertificate) {
		t.Errorf("it has a certificate: %v", err)
	}
	if err == nil {
		old.member.Store(m)
		old.Forget()
		t.Error("with which it may ask again: ", old.Record(t.Context(), []ledger.Event{event(t, "gw-1")}))
	}
	if g := errFree(p.Store.Gateway(t.Context(), "gw-1")); g.Current.Print != "of another" || g.Next.Print != "" {
		t.Errorf("%+v", g)
	}
}

// TestShownUnderWay: an acknowledgement that is under way when the gateway first shows its new certificate is not taken for one of a
// gateway that was evicted, which would end all that it knows.
func TestShownUnderWay(t *testing.T) {
	p := start(t)
	if !p.Store.Shared() {
		t.Skip("there no other node shows what this one has not seen")
	}
	at := p.abroad()
	g := p.joined(at, "gw-1", `{}`)
	if _, err := g.Rotate(t.Context(), g.member.Load(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	next := errFree(p.Store.Gateway(t.Context(), "gw-1")).Next.Print
	shown := sync.OnceFunc(func() {
		if _, err := p.registry.Do(t.Context(), registry.Self, func(c *registry.Change) error {
			_, err := c.ShownGateway("gw-1", next)
			return err
		}); err != nil {
			t.Error(err)
		}
	})
	p.tick.Store(&shown)
	if lease, err := g.Ack(t.Context(), p.Store.Head()); err != nil || lease <= 0 {
		t.Errorf("a lease of %s: %v", lease, err)
	}
	if _, err := g.Ack(t.Context(), p.Store.Head()); !errors.Is(err, feed.ErrCertificate) {
		t.Errorf("with the certificate of before: %v", err)
	}
}
