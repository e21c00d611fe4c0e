package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

func (p *Plane) providerRoutes(api door) {
	const tag = "providers"
	view := func(tx *store.Tx, v identity.Provider) (ProviderView, error) {
		list, err := tx.CredentialsOf(v.Name)
		out := ProviderView{Provider: v, JWKS: json.RawMessage(v.JWKS)}
		for _, k := range list {
			if k.Usable(tx.Now()) == nil {
				out.Clients++
			}
		}
		return out, err
	}
	handle(api, "GET", "/providers", "list-providers", tag, "Identity providers of people, by name", func(ctx context.Context, in *none) (Page[ProviderView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[ProviderView], error) {
			all, err := tx.Providers()
			var list []ProviderView
			for _, v := range all {
				one, e := view(tx, v)
				list, err = append(list, one), errors.Join(err, e)
			}
			return page(list), err
		})
	})
	handle(api, "GET", "/providers/{name}", "get-provider", tag, "An identity provider", func(ctx context.Context, in *byName) (ProviderView, error) {
		return read(ctx, p, func(tx *store.Tx) (ProviderView, error) {
			v, err := tx.Provider(in.Name)
			if err != nil {
				return ProviderView{}, missing(err, "provider", in.Name)
			}
			return view(tx, v)
		})
	})
	handle(api, "GET", "/providers/{name}/keys", "get-provider-keys", tag, "The keys that a provider signs with, as this server has them or can get them now", func(ctx context.Context, in *byName) (ProviderKeys, error) {
		v, err := read(ctx, p, func(tx *store.Tx) (identity.Provider, error) {
			v, err := tx.Provider(in.Name)
			return v, missing(err, "provider", in.Name)
		})
		if err != nil {
			return ProviderKeys{}, err
		}
		ids, err := p.issuer.ProviderKeys(ctx, v)
		if err != nil {
			return ProviderKeys{}, refusal(http.StatusBadGateway, err.Error())
		}
		return ProviderKeys{ids, v.JWKS != nil}, nil
	})
	handle(api, "PUT", "/providers/{name}", "put-provider", tag, "Trust an identity provider, or change what it is trusted for; one that is disabled stays so", func(ctx context.Context, in *namedBody[ProviderInput]) (Changed, error) {
		b := in.Body
		v := identity.Provider{Name: in.Name, Issuer: b.Issuer, Claim: b.Claim, Domains: b.Domains, Scopes: b.Scopes, Audience: b.Audience, Life: b.Life, Public: b.Public, JWKS: []byte(b.JWKS)}
		v.Client, v.Label, v.Groups = b.Client, b.Label, b.Groups
		for group, list := range b.Roles {
			if v.Roles == nil {
				v.Roles = map[string][]identity.Role{}
			}
			v.Roles[group] = roles(list)
		}
		var secret *string
		if b.Secret != "" {
			secret = &b.Secret
		}
		for _, use := range b.Uses {
			v.Uses = append(v.Uses, identity.ProviderUse(use))
		}
		for sub, owner := range b.People {
			if v.People == nil {
				v.People = map[string]identity.OwnerID{}
			}
			v.People[sub] = identity.OwnerID(owner)
		}
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			old, err := c.Provider(in.Name)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			v.Set = old.Set
			_, err = c.PutProviderClient(v, secret)
			return err
		})
	})
	for verb, summary := range map[string]string{"disable": "Trust a provider for nothing, for now: what stood on its word ends", "enable": "Trust a disabled provider again"} {
		handle(api, "POST", "/providers/{name}/"+verb, verb+"-provider", tag, summary, func(ctx context.Context, in *namedBody[ReasonInput]) (Changed, error) {
			return p.change(ctx, in.Caller, func(c *registry.Change) error {
				return c.SwitchProvider(in.Name, verb == "enable", in.Body.Reason)
			})
		})
	}
	handle(api, "DELETE", "/providers/{name}", "remove-provider", tag, "Remove a provider: what stood on its word ends", func(ctx context.Context, in *byName) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error { return c.RemoveProvider(in.Name) })
	})
}
