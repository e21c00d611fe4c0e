package issuer

import (
	"context"
	"errors"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// user is the person that a token of an identity provider is about, for an actor: for how
// long, and how far. Nothing is fetched before the token names a provider that is
// registered for it.
func (i *Issuer) user(ctx context.Context, q *issue, raw, kind string, actor identity.ID) (who identity.OwnerID, b behalf, err error) {
	t, err := token.ParsePersonToken(raw, kind)
	if err != nil {
		return who, b, asGrant(err)
	}
	q.told = map[string]string{"issuer": t.Issuer} // by its own word
	p, err := i.provider(ctx, t.Issuer, identity.OnBehalf)
	if errors.Is(err, store.ErrNotFound) {
		return who, b, mistrust("no provider that is trusted for on_behalf has this issuer")
	} else if err != nil {
		return who, b, err
	}
	keys, err := i.keysOf(ctx, p, t.Knows)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return who, b, err
	case err != nil:
		return who, b, &refusal{code: "temporarily_unavailable", why: err.Error(), text: "The keys of the identity provider cannot be had now; try again."}
	case !t.SignedBy(keys):
		return who, b, mistrust("its signature is wrong, or by a key that the provider " + p.Name + " does not publish")
	}
	q.told = map[string]string{"provider": p.Name, "subject": t.Subject}
	if err := t.Judge(p.Audience, actor, q.now); err != nil {
		return who, b, asGrant(err)
	}
	var o identity.Owner
	var why string
	err = i.Registry.Store.Read(ctx, func(tx *store.Tx) (err error) {
		o, why, err = owner(tx, p, identity.Word{Subject: t.Subject, Email: t.Email, Verified: t.Verified, Denied: t.Denied, Claim: t.Claim})
		return err
	})
	if err != nil {
		return who, b, err
	}
	if why != "" {
		return who, b, mistrust(why)
	}
	return o.ID, behalf{made: t.Issued, ends: t.Expires, scope: strings.Join(p.Limit(), " ")}, nil
}

// mistrust refuses a person's token. Who shows it learns nothing of whom we know; the record has all of it.
func mistrust(why string) error {
	return &refusal{code: "invalid_grant", why: why,
		text: "The subject token is not accepted: it is not from an identity provider that is trusted for this, or whom it is about is nobody here. The events of this server say why."}
}
