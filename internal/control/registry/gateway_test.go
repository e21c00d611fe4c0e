package registry_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// TestGateways: the life of a gateway, each step with its event, and what is refused on the way.
func TestGateways(t *testing.T) {
	w := open(t)
	w.Gateways = []string{"gateway-1"}
	try := func(f func(*registry.Change) error) error { _, err := w.Do(t.Context(), maya, f); return err }
	certify := func(serial string) func(string) (store.GatewayCertificate, error) {
		return func(string) (store.GatewayCertificate, error) {
			return store.GatewayCertificate{Serial: serial, Print: "print-" + serial, Expires: w.now.Add(24 * time.Hour)}, nil
		}
	}
	join := func(name, secret, serial string) (replaced bool, err error) {
		err = try(func(c *registry.Change) error {
			_, replaced, err = c.JoinGateway(name, secret, certify(serial))
			return err
		})
		return replaced, err
	}
	invite := func(name, secret string, replace bool) error {
		return try(func(c *registry.Change) error { return c.InviteGateway(name, nil, replace, secret) })
	}
	get := func() (g store.Gateway) {
		if err := w.Store.Read(t.Context(), func(tx *store.Tx) (err error) { g, err = tx.Gateway("gw"); return err }); err != nil {
			t.Error(err)
		}
		return g
	}
	conflict := func(what string, err error) {
		t.Helper()
		if c := (*registry.Conflict)(nil); !errors.As(err, &c) {
			t.Errorf("%s: %v", what, err)
		}
	}
	conflict("the name of what is here", invite("gateway-1", "s", false))
	if err := invite("GW", "s", false); err == nil {
		t.Error("a name that is none")
	}
	if err := try(func(c *registry.Change) error { return c.InviteGateway("gw", []string{"nothing"}, false, "s") }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("for an upstream that is not there: %v", err)
	}
	if err := errors.Join(invite("gw", "one", false), invite("gw", "two", false)); err != nil {
		t.Fatal(err)
	}
	_, err := join("other", "one", "1")
	conflict("for another name", err)
	if err := try(func(c *registry.Change) error {
		_, _, err := c.JoinGateway("gw", "one", func(string) (store.GatewayCertificate, error) {
			return store.GatewayCertificate{}, errors.New("no key")
		})
		return err
	}); err == nil {
		t.Error("without a certificate")
	}
	if replaced, err := join("gw", "one", "1"); err != nil || replaced { // what failed has used up nothing
		t.Errorf("%v %v", replaced, err)
	}
	if _, err := join("gw", "one", "2"); !errors.Is(err, registry.ErrToken) {
		t.Errorf("a token twice: %v", err)
	}
	_, err = join("gw", "two", "2")
	conflict("a second of its name", err)
	conflict("invited, and joined already", invite("gw", "three", false))
	for _, serial := range []string{"3", "4"} {
		if err := try(func(c *registry.Change) error {
			next, _ := certify(serial)("")
			return c.RotateGateway("gw", "print-1", next)
		}); err != nil {
			t.Error(err)
		}
	}
	shown := func(print string) {
		if err := try(func(c *registry.Change) error { _, err := c.ShownGateway("gw", print); return err }); err != nil {
			t.Error(err)
		}
	}
	shown("print-3") // given out, and then another: it is not the next any more
	if g := get(); g.Current.Serial != "1" || g.Next.Serial != "4" {
		t.Errorf("%+v", g)
	}
	shown("print-4")
	if g := get(); g.Current.Serial != "4" || g.Previous.Serial != "1" || g.Next.Serial != "" {
		t.Errorf("%+v", g)
	}
	if err := invite("gw", "four", true); err != nil {
		t.Error(err)
	}
	if replaced, err := join("gw", "four", "5"); err != nil || !replaced || get().Previous.Serial != "" {
		t.Errorf("in its place: %v %v", replaced, err)
	}
	if err := try(func(c *registry.Change) error {
		return c.RotateGateway("gw", "print-4", store.GatewayCertificate{Print: "print-6"})
	}); !errors.Is(err, feed.ErrCertificate) || get().Next.Print != "" {
		t.Errorf("for the one whose place it took: %v", err)
	}
	if err := try(func(c *registry.Change) error { return c.EvictGateway("gw", "lost") }); err != nil {
		t.Error(err)
	}
	conflict("evicted twice", try(func(c *registry.Change) error { return c.EvictGateway("gw", "lost") }))
	conflict("a certificate for one that is evicted", try(func(c *registry.Change) error { return c.RotateGateway("gw", "print-5", store.GatewayCertificate{}) }))
	if err := try(func(c *registry.Change) error { return c.EvictGateway("nobody", "") }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if err := invite("gw", "five", false); err != nil {
		t.Errorf("after it was evicted: %v", err)
	}
	if _, err := join("gw", "five", "6"); err != nil || get().State != store.GatewayJoined || get().Reason != "" {
		t.Errorf("joined again: %v %+v", err, get())
	}
}
