package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// distrust refuses a provider's word. Who shows it learns nothing of whom we know and
// what there is; the record has all of it.
func distrust(why string) error {
	return &refusal{code: token.InvalidGrant, why: why,
		text: "The assertion is not accepted: it is not from a trusted identity provider, or what it says is not allowed here. The events of this server say why."}
}

// byVoucher understands an ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant): a
// provider's word that this client acts for a person. The client authenticates as
// itself first. Nothing is fetched before the assertion names a provider that is
// registered, and nothing for the client before that provider has signed it.
func (i *Issuer) byVoucher(r *http.Request, q *issue) (err error) {
	if q.form["assertion"] == "" {
		return refuse("invalid_request", "assertion is missing.")
	}
	documented := i.documented(r, q)
	if !documented {
		if q.client, q.claimed, err = i.authenticate(r, q.form, q.now); err != nil {
			return err
		}
	}
	v, err := token.ParseVoucher(q.form["assertion"])
	if err != nil {
		return err
	}
	q.told = map[string]string{"issuer": v.Issuer} // by its own word
	p, err := i.provider(r.Context(), v.Issuer, identity.IDJAG)
	if errors.Is(err, store.ErrNotFound) {
		return distrust("no provider that is trusted for id_jag has this issuer")
	} else if err != nil {
		return err
	}
	if err := i.proven(r.Context(), v, p); err != nil {
		return err
	}
	q.told = map[string]string{"provider": p.Name, "assertion": v.ID, "subject": v.Subject}
	if err := v.Judge(i.URL, q.now); err != nil {
		return err
	}
	if v.Client != q.claimed {
		return distrust("it is for the client " + clip(v.Client) + ", and another client showed it")
	}
	client := identity.Client{ID: q.claimed}
	if documented {
		client.Name, err = i.byDocument(r.Context(), q, p)
	} else {
		client.Name = q.client.subject.Identity.ID.Name()
	}
	if err != nil {
		return err
	}
	return i.vouched(r.Context(), q, v, p, client)
}

// proven returns nil when the provider signed v.
func (i *Issuer) proven(ctx context.Context, v token.Voucher, p identity.Provider) error {
	keys, err := i.keysOf(ctx, p, v.Knows)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	} else if err != nil {
		return &refusal{code: "temporarily_unavailable", why: err.Error(), text: "The keys of the identity provider cannot be had now; try again."}
	}
	if !v.SignedBy(keys) {
		return distrust("its signature is wrong, or by a key that the provider " + p.Name + " does not publish")
	}
	return nil
}

// vouched finds the person, and what the client gets for what the provider said of the person. What
// is made of it is made last, when all else is right (exchange).
func (i *Issuer) vouched(ctx context.Context, q *issue, v token.Voucher, p identity.Provider, client identity.Client) error {
	name, ok := i.upstreamOf(v.Resource)
	if !ok {
		return refuse("invalid_target", "resource in the assertion must be the URL of an upstream at the gateway, as in "+i.GatewayURL+"/<upstream>.")
	}
	var a registry.Allowance
	err := i.Registry.Store.Read(ctx, func(tx *store.Tx) error {
		person, why, err := owner(tx, p, identity.Word{Subject: v.Subject, Email: v.Email, Verified: v.Verified, Denied: v.Denied, Claim: v.Claim})
		if err != nil {
			return err
		}
		if why != "" {
			return &registry.Untrusted{Text: why}
		}
		client.Person = person.ID
		a, err = i.Registry.Allowance(tx, p, person.ID, name)
		return err
	})
	var untrusted *registry.Untrusted
	if errors.As(err, &untrusted) {
		return distrust(untrusted.Text)
	} else if err != nil {
		return err
	}
	scope, err := within(v.Scope, a)
	if err != nil {
		return err
	}
	q.given = &given{client: q.claimed, upstream: name, scope: scope, jkt: v.JKT, anyKey: v.JKT == "", provider: p.Name}
	q.given.use = func(c *registry.Change) (identity.Credential, string, error) {
		k, err := c.Vouch(registry.Vouched{Provider: p, Key: v.Key(), Ends: v.Expires, Client: client, Upstream: name})
		return k, "", err
	}
	return nil
}

// within is the scope that an assertion comes to: of what it says, what is allowed;
// where it says nothing, reading. Words that are none of ours give nothing.
func within(said string, a registry.Allowance) (string, error) {
	if said == "" {
		said = "read"
	}
	var kept []string
	for _, class := range policy.Classes {
		if slices.Contains(a.Classes, class) && slices.Contains(strings.Fields(said), string(class)) {
			kept = append(kept, string(class))
		}
	}
	if len(kept) == 0 {
		return "", &refusal{code: "invalid_scope", why: fmt.Sprintf("it says %s, and allowed is %s", clip(said), a.Classes), text: "Nothing of the scope of the assertion is allowed here."}
	}
	return strings.Join(kept, " "), nil
}
