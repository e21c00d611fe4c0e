package control

import (
	"context"
	"errors"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// Desk is where gateways ask people, in the same process.
func (p *Plane) Desk() feed.Desk { return desk{p} }

type desk struct{ p *Plane }

var _ feed.Desk = desk{}

func (d desk) Ask(ctx context.Context, q feed.Question) (feed.Approval, error) {
	a, err := read(ctx, d.p, func(tx *store.Tx) (store.Approval, error) { return d.p.registry.Asked(tx, q) })
	if !errors.Is(err, store.ErrNotFound) {
		return a.Approval, err
	}
	_, err = d.p.do(ctx, registry.Actor{Name: q.Chain.Actor().String(), Source: q.Source}, func(c *registry.Change) (err error) {
		a, err = c.Ask(q)
		return err
	})
	return a.Approval, err
}

func (d desk) Use(ctx context.Context, id, hash, request string) error {
	used := false
	_, err := d.p.registry.Do(ctx, registry.Self, func(c *registry.Change) (err error) {
		used, err = c.Use(id, hash, request)
		return err
	})
	if err == nil && !used {
		err = feed.ErrUsed
	}
	return err
}
