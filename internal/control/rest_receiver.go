package control

import (
	"context"
	"errors"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

func (p *Plane) receiverRoutes(api door) {
	const tag = "receivers"
	handle(api, "GET", "/receivers", "list-receivers", tag, "Resource servers elsewhere that are told what ends, by name", func(ctx context.Context, in *none) (Page[ReceiverView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[ReceiverView], error) {
			all, err := tx.Receivers()
			var list []ReceiverView
			for _, r := range all {
				n, e := tx.Waiting(store.ReceiverDoor(r.Name))
				list, err = append(list, ReceiverView{r, n}), errors.Join(err, e)
			}
			return page(list), err
		})
	})
	handle(api, "PUT", "/receivers/{name}", "put-receiver", tag, "Have a resource server elsewhere told what ends, or change how", func(ctx context.Context, in *namedBody[ReceiverInput]) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			old, err := c.Receiver(in.Name)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			_, err = c.PutReceiver(identity.Receiver{Name: in.Name, URL: in.Body.URL, Audience: in.Body.Audience, Set: old.Set}, in.Body.Authorization)
			return err
		})
	})
	handle(api, "POST", "/receivers/{name}/verify", "verify-receiver", tag, "Push a verification event to a receiver, now", func(ctx context.Context, in *byName) (ReceiverVerified, error) {
		took, err := p.verify(ctx, in.Name)
		return ReceiverVerified{took.Seconds()}, err
	})
	handle(api, "DELETE", "/receivers/{name}", "remove-receiver", tag, "Remove a receiver: what it was still to be told it is not told", func(ctx context.Context, in *byName) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error { return c.RemoveReceiver(in.Name) })
	})
}
