package control

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// TestRevokedIsRevoked: when a token's end is acknowledged, this node says so, too.
func TestRevokedIsRevoked(t *testing.T) {
	p := start(t)
	p.settle()
	reached, goOn := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(reached); <-goOn })
	p.View.OnStop(func(feed.Stop) { once() })
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	if _, err := p.registry.Do(t.Context(), registry.Self, func(c *registry.Change) error { return c.RevokeGrant("bot/read", "x") }); err != nil {
		t.Fatal(err)
	}
	<-reached // the view is busy
	c := token.Claims{ID: "tok_1", Chain: identity.Alone(identity.MustID("spiffe://lanyard.local/agent/bot"), 0), Expires: p.Now().Add(time.Minute)}
	size, answered, known := p.Store.Size(), make(chan bool, 1), false
	go func() {
		if err := p.issuer.RevokeToken(context.Background(), c, "operator:x"); err != nil {
			t.Error(err)
		}
		answered <- p.View.TokenRevoked(c.ID)
	}()
	eventually(t, "it is in the store", func() bool { return p.Store.Size() > size })
	select {
	case known = <-answered:
	case <-time.After(50 * time.Millisecond): // it waits for the view
		release()
		known = <-answered
	}
	if !known {
		t.Error("acknowledged, and not known here")
	}
}
