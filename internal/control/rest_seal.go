package control

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// SealView is how the secrets in the store are sealed.
type SealView struct {
	KEK     string    `json:"kek" doc:"What wraps the data keys" example:"file:/var/lib/lanyard/seal.key"`
	Usable  bool      `json:"usable" doc:"It opened the data keys when it was last asked, as the next start will"`
	Why     string    `json:"why,omitempty" doc:"Why it is not"`
	Keys    int       `json:"keys" doc:"Data keys; more than one while a rotation is under way"`
	Since   time.Time `json:"since" doc:"When the newest began to seal"`
	Waiting int       `json:"waiting" doc:"Secrets that are still to be sealed with the newest"`
}

// RewrapInput is POST /v1/seal/rewrap.
type RewrapInput struct {
	To string `json:"to,omitempty" doc:"What is to wrap the data keys, as for --seal; left out, the same as before wraps them anew" maxLength:"2048" example:"openbao:https://bao.example.com:8200/transit/keys/lanyard"`
}

func (p *Plane) sealRoutes(api door) {
	const tag = "system"
	handle(api, "GET", "/seal", "get-seal", tag, "How the secrets in the store are sealed", func(ctx context.Context, in *none) (SealView, error) {
		p.checkSeal(ctx)
		return p.sealView(ctx)
	})
	handle(api, "POST", "/seal/rotate", "rotate-seal", tag, "Make a new data key and seal everything with it, in the background", func(ctx context.Context, in *none) (SealView, error) {
		if err := p.registry.RotateSeal(ctx, in.actor(), p.Now()); err != nil {
			return SealView{}, unusable(err)
		}
		p.sealed.stir()
		return p.sealView(ctx)
	})
	handle(api, "POST", "/seal/rewrap", "rewrap-seal", tag, "Have another key wrap the data keys, over the Unix socket only", func(ctx context.Context, in *body[RewrapInput]) (SealView, error) {
		if !strings.HasPrefix(in.remote, localPrefix) {
			return SealView{}, refusal(http.StatusForbidden, "What wraps the data keys is changed on the machine itself: lanyard seal rewrap, over the Unix socket.")
		}
		var to seal.KEK
		if in.Body.To != "" {
			if p.KEK == nil {
				return SealView{}, refusal(http.StatusConflict, "What wraps the seal keys cannot be changed here.")
			}
			var err error
			if to, err = p.KEK(in.Body.To); err != nil {
				return SealView{}, invalid(err.Error())
			}
		}
		if err := p.registry.RewrapSeal(ctx, in.actor(), to); err != nil {
			return SealView{}, unusable(err)
		}
		p.checkSeal(ctx)
		return p.sealView(ctx)
	})
}

// unusable tells the operator what the KEK said: it is for them to make it work.
func unusable(err error) error {
	var e *seal.KEKError
	if errors.As(err, &e) {
		return refusal(http.StatusBadGateway, "Nothing was changed: "+e.Error()+".")
	}
	return err
}

func (p *Plane) sealView(ctx context.Context) (v SealView, err error) {
	i := p.Store.Seal.Info()
	v = SealView{KEK: i.KEK, Keys: i.Keys, Since: i.Since, Why: *p.sealed.why.Load()}
	v.Usable = v.Why == ""
	return v, p.Store.Read(ctx, func(tx *store.Tx) (err error) { v.Waiting, err = tx.SealedBefore(); return err })
}

// sealed is what is known of the seal between two looks at it.
type sealed struct {
	why  atomic.Pointer[string] // the KEK did not open the data keys; empty when it did
	wake chan struct{}
}

func newSealed() *sealed {
	s := &sealed{wake: make(chan struct{}, 1)}
	s.why.Store(new(string))
	return s
}

func (s *sealed) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// checkSeal looks whether the next start could open the seal keys, which another node may have had wrapped by something else.
func (p *Plane) checkSeal(ctx context.Context) error {
	var other *seal.KEKError
	why, err := "", p.Store.RefreshSeal(ctx)
	if !errors.As(err, &other) { // or the store cannot be read, which others say
		err = p.Store.Seal.Check(ctx)
	}
	if err != nil {
		why = err.Error()
	}
	p.sealed.why.Store(&why)
	return err
}

// keepSeal finishes rotations, and looks every minute whether the next start could open the seal. The secrets that are open
// stay so, whatever becomes of the key that wraps theirs.
func (p *Plane) keepSeal(ctx context.Context) {
	for ctx.Err() == nil {
		if err := p.checkSeal(ctx); err != nil && ctx.Err() == nil {
			p.Log.Error("what wraps the seal keys cannot be used: everything goes on, but the next start will fail", "error", err)
		}
		if err := p.registry.Reseal(ctx, p.Now()); err != nil && ctx.Err() == nil {
			p.Log.Error("sealing anew", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-p.sealed.wake:
		case <-time.After(time.Minute):
		}
	}
}
