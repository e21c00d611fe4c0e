package issuer

import (
	"context"
	"errors"
	"fmt"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Attested judges what a workload shows to be let in as a gateway: a JWT that a provider which is trusted for attest signed, about it, for this
// control plane alone. The error is a [registry.ErrAttestation] with why, for the log.
func (i *Issuer) Attested(ctx context.Context, raw string) (registry.Attested, error) {
	no := func(why any) (registry.Attested, error) {
		return registry.Attested{}, fmt.Errorf("%w (%v)", registry.ErrAttestation, why)
	}
	t, err := token.ParsePersonToken(raw, token.TypeID)
	if err != nil {
		return no(err)
	}
	p, err := i.provider(ctx, t.Issuer, identity.Attest)
	if errors.Is(err, store.ErrNotFound) {
		return no(fmt.Sprintf("no provider that is trusted for attest has the issuer %.200q", t.Issuer))
	} else if err != nil {
		return registry.Attested{}, err
	}
	keys, err := i.keysOf(ctx, p, t.Knows)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return registry.Attested{}, err
	case err != nil:
		return no(err)
	case !t.SignedBy(keys):
		return no("its signature is wrong, or by a key that the provider " + p.Name + " does not publish")
	}
	if err := t.JudgeWorkload(i.URL, i.Now()); err != nil {
		return no(err)
	}
	return registry.Attested{Provider: p, Subject: t.Subject, Key: "attest " + t.Hash(), Ends: t.Expires}, nil
}
