package control

import (
	"context"
	"crypto/rand"
	"reflect"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/ca"
)

// TestAuthoritiesOfNodes: two control planes on one store never keep keys beside each other's.
func TestAuthoritiesOfNodes(t *testing.T) {
	p := start(t)
	node := func() *ca.Authority {
		return &ca.Authority{Vault: p.caVault(), Domain: p.Domain, Now: p.Now, Rand: rand.Reader}
	}
	a, b := node(), node()
	load := b.Vault.Load
	b.Vault.Load = func(ctx context.Context) (map[string][]byte, error) { // a starts when b has seen that there is nothing
		b.Vault.Load = load
		kept, err := load(ctx)
		if err := a.Open(ctx); err != nil {
			t.Error(err)
		}
		return kept, err
	}
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.List(), b.List()) {
		t.Errorf("they started with %+v and %+v", a.List(), b.List())
	}
	for i, n := range []*ca.Authority{a, b, a} {
		if err := n.Rotate(t.Context(), "operator:x"); err != nil || len(n.List()) != i+2 {
			t.Errorf("rotation %d: %v, %+v", i, err, n.List())
		}
	}
	again := node()
	if err := again.Open(t.Context()); err != nil || len(again.List()) != 4 || again.List()[1].State != "trusted" {
		t.Errorf("%v: %+v", err, again.List())
	}
}

// TestAuthorityFollowed: a node uses and tells its gateways what another made of the authority, as it hears of it.
func TestAuthorityFollowed(t *testing.T) {
	p := start(t)
	p.abroad()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.followKeys(ctx) }()
	defer func() { cancel(); <-done }()
	other := &ca.Authority{Vault: p.caVault(), Domain: p.Domain, Now: p.Now, Rand: rand.Reader}
	if err := other.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		_, changed := p.fleet.ca.Trust()
		if err := other.Rotate(t.Context(), "operator:x"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatal("it was not heard of")
		}
		if list := p.fleet.ca.List(); len(list) != n+2 || !reflect.DeepEqual(list, other.List()) {
			t.Errorf("%+v, want %+v", list, other.List())
		}
	}
}
