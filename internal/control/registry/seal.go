package registry

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

const (
	// sealOverlap is how long a data key that seals no more is kept after that: what is half done then, a consent page
	// or a sign-in at an upstream, was sealed with it and is in no row of the store.
	sealOverlap = time.Hour
	// sealKeys is how many data keys there may be at once.
	sealKeys = 8
	// resealed is how many secrets at once: others want to write, too.
	resealed = 100
)

// RotateSeal makes a data key that secrets are sealed with from now on. Reseal does the rest.
func (r *Registry) RotateSeal(ctx context.Context, by Actor, now time.Time) error {
	if err := r.Store.RefreshSeal(ctx); err != nil {
		return err
	}
	if n := r.Store.Seal.Info().Keys; n >= sealKeys {
		return &Conflict{"There are " + strconv.Itoa(n) + " data keys: an older one goes an hour after the last rotation, once nothing is sealed with it. Rotate again then."}
	}
	n, err := r.Store.Seal.Rotate(ctx, now)
	if err != nil {
		return err
	}
	return r.putSeal(ctx, by, n, "seal.rotate", "A new data key seals from now on; what others sealed is sealed anew.")
}

// RewrapSeal wraps the data keys with another KEK, or anew with the same one when to is nil.
func (r *Registry) RewrapSeal(ctx context.Context, by Actor, to seal.KEK) error {
	if err := r.Store.RefreshSeal(ctx); err != nil {
		return err
	}
	n, err := r.Store.Seal.Rewrap(ctx, to)
	if err != nil {
		return err
	}
	name := r.Store.Seal.Info().KEK
	if to != nil {
		name = to.Name()
	}
	return r.putSeal(ctx, by, n, "seal.rewrap", "The data keys are wrapped by "+name+" from now on.")
}

func (r *Registry) putSeal(ctx context.Context, by Actor, n *seal.Next, kind, reason string) error {
	_, err := r.Do(ctx, by, func(c *Change) error {
		return errors.Join(c.PutSeal(n), c.record(kind, "seal", "", reason, nil))
	})
	if errors.Is(err, store.ErrMoved) {
		return &Conflict{"The seal keys were changed by somebody else in the meantime; try again."}
	}
	if err == nil {
		r.Store.Seal.Apply(n)
	}
	return err
}

// Reseal seals anew what older data keys sealed, and takes those away once nothing is sealed with them and an hour
// has gone by. A crash in between delays it.
func (r *Registry) Reseal(ctx context.Context, now time.Time) error {
	if err := r.Store.RefreshSeal(ctx); err != nil {
		return err
	}
	if r.Store.Seal.Info().Keys < 2 {
		return nil
	}
	for {
		if n, err := r.Store.Reseal(ctx, resealed); err != nil {
			return err
		} else if n < resealed {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	if now.Sub(r.Store.Seal.Info().Since) < sealOverlap {
		return nil
	}
	n, err := r.Store.Seal.Drop(ctx)
	if err != nil {
		return err
	}
	_, err = r.Do(ctx, Self, func(c *Change) error {
		if left, err := c.SealedBefore(); err != nil || left > 0 {
			return errors.Join(err, store.ErrMoved)
		}
		return errors.Join(c.PutSeal(n), c.record("seal.drop", "seal", "", "Nothing is sealed with older data keys any more.", nil))
	})
	if errors.Is(err, store.ErrMoved) {
		return nil // the next time
	}
	if err == nil {
		r.Store.Seal.Apply(n)
	}
	return err
}
