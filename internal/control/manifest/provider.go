package manifest

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

type provider struct {
	at      place
	fieldAt map[string]place
	value   identity.Provider
}

func (m *Manifest) provider(r *reader, name string, key, n *yaml.Node) {
	p := provider{at: r.at(key), fieldAt: map[string]place{}, value: identity.Provider{Name: name}}
	v := &p.value
	at := func(field string, do func(*yaml.Node)) func(*yaml.Node) {
		return func(n *yaml.Node) { p.fieldAt[field] = r.at(n); do(n) }
	}
	r.object(n, "a provider", fields{
		"issuer": at("issuer", func(n *yaml.Node) { v.Issuer = r.text(n, "issuer") }),
		"uses": at("uses", func(n *yaml.Node) {
			for _, use := range r.list(n, "uses") {
				v.Uses = append(v.Uses, identity.ProviderUse(use))
			}
		}),
		"claim":   at("claim", func(n *yaml.Node) { v.Claim = r.text(n, "claim") }),
		"domains": at("domains", func(n *yaml.Node) { v.Domains = r.list(n, "domains") }),
		"people": at("people", func(n *yaml.Node) {
			v.People = map[string]identity.OwnerID{}
			r.members(n, "people", func(sub, owner *yaml.Node) {
				v.People[sub.Value] = identity.OwnerID(r.text(owner, "an owner"))
			})
		}),
		"scopes":         at("scopes", func(n *yaml.Node) { v.Scopes = r.list(n, "scopes") }),
		"audience":       at("audience", func(n *yaml.Node) { v.Audience = r.list(n, "audience") }),
		"life":           at("life", func(n *yaml.Node) { v.Life = r.text(n, "life") }),
		"public_clients": &v.Public,
		"client_id":      at("client_id", func(n *yaml.Node) { v.Client = r.text(n, "client_id") }),
		"label":          at("label", func(n *yaml.Node) { v.Label = r.text(n, "label") }),
		"groups":         at("groups", func(n *yaml.Node) { v.Groups = r.text(n, "groups") }),
		"roles": at("roles", func(n *yaml.Node) {
			v.Roles = map[string][]identity.Role{}
			r.members(n, "roles", func(group, list *yaml.Node) {
				for _, role := range r.list(list, "roles") {
					v.Roles[group.Value] = append(v.Roles[group.Value], identity.Role(role))
				}
			})
		}),
		"jwks": at("jwks", func(n *yaml.Node) {
			if s := r.text(n, "jwks"); isPath(s) {
				v.JWKS = m.file(r, n)
			} else {
				v.JWKS = []byte(s)
			}
		}),
	})
	m.providers = append(m.providers, p)
}

func (a *applying) providers() error {
	for _, p := range a.m.providers {
		name := p.value.Name
		a.places["provider "+name] = fieldPlaces(p.at, p.fieldAt)
		out, err := a.c.PutProvider(p.value)
		if err := a.put("provider", name, out, err); err != nil {
			return err
		}
		if now, err := a.c.Provider(name); err == nil && now.Disabled {
			a.plan.Notes = append(a.plan.Notes, fmt.Sprintf("provider %s is disabled and stays so; lanyard provider enable %s trusts it again", name, name))
		}
	}
	return nil
}

// dropProviders takes away those that belong to one of the sets and are in no file any more.
func (a *applying) dropProviders() error {
	all, err := a.c.Providers()
	for _, p := range all {
		if !a.m.sets[p.Set] || slices.ContainsFunc(a.m.providers, func(o provider) bool { return o.value.Name == p.Name }) {
			continue
		}
		if e := a.c.RemoveProvider(p.Name); e != nil {
			err = errors.Join(err, a.note(e, "provider "+p.Name))
			continue
		}
		a.plan.Steps = append(a.plan.Steps, Step{Op: Remove, Noun: "provider", Name: p.Name, Note: "what stood on its word ends"})
	}
	return err
}
