package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func (p *Plane) routes(api door) {
	p.meRoutes(api)
	p.passkeyRoutes(api)
	p.homeRoutes(api)
	p.whatIfRoutes(api)
	p.ownerRoutes(api)
	p.identityRoutes(api)
	p.packRoutes(api)
	p.childRoutes(api)
	p.upstreamRoutes(api)
	p.providerRoutes(api)
	p.directoryRoutes(api)
	p.viewRoutes(api)
	p.consentRoutes(api)
	p.receiverRoutes(api)
	p.accountRoutes(api)
	p.guardrailRoutes(api)
	p.taskRoutes(api)
	p.cordRoutes(api)
	p.receiptRoutes(api)
	p.approvalRoutes(api)
	p.ledgerRoutes(api)
	p.fleetRoutes(api)
	p.systemRoutes(api)
	p.sealRoutes(api)
}

// change runs f and answers with the receipt.
func (p *Plane) change(ctx context.Context, who Caller, f func(*registry.Change) error) (Changed, error) {
	at, err := p.do(ctx, who.actor(), f)
	if err != nil {
		return Changed{}, err
	}
	return Changed{p.receipt(ctx, at, who.patience)}, nil
}

// read answers from one state of the store.
func read[T any](ctx context.Context, p *Plane, f func(*store.Tx) (T, error)) (out T, err error) {
	err = p.Store.Read(ctx, func(tx *store.Tx) error { out, err = f(tx); return err })
	return out, err
}

func page[T any](items []T) Page[T] {
	if items == nil {
		items = []T{}
	}
	return Page[T]{Items: items}
}

func ownerViews(tx *store.Tx, all ...identity.Owner) (list []OwnerView, err error) {
	owned, err := tx.CountOwned(all)
	told, err2 := tx.DirectoriesOf(all)
	for _, o := range all {
		list = append(list, OwnerView{Owner: o, Identities: owned[o.ID], Directory: told[o.ID]})
	}
	return list, errors.Join(err, err2)
}

func (p *Plane) ownerRoutes(api door) {
	handleList(api, "GET", "/owners", "list-owners", "owners", "Owners, with how much they own", func(ctx context.Context, in *ownerList) (Page[OwnerView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[OwnerView], error) {
			all, err := in.owners(tx)
			if err != nil {
				return page[OwnerView](nil), err
			}
			next := ""
			if len(all) == in.Limit {
				next = string(all[in.Limit-1].ID)
			}
			list, err := ownerViews(tx, all...)
			out := page(list)
			out.Next = next
			return out, err
		})
	})
	handle(api, "GET", "/owners/{name}", "get-owner", "owners", "An owner", func(ctx context.Context, in *byName) (OwnerView, error) {
		return read(ctx, p, func(tx *store.Tx) (OwnerView, error) {
			o, err := tx.Owner(identity.OwnerID(in.Name))
			if err != nil {
				return OwnerView{}, missing(err, "owner", in.Name)
			}
			list, err := ownerViews(tx, o)
			if err != nil {
				return OwnerView{}, err
			}
			return list[0], nil
		})
	})
	handle(api, "PUT", "/owners/{name}", "put-owner", "owners", "Add or change an owner; one marked gone hands over what it owns", func(ctx context.Context, in *namedBody[OwnerInput]) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			b, state := in.Body, identity.OwnerActive
			if b.Gone {
				state = identity.OwnerGone
			}
			old, err := c.Owner(identity.OwnerID(in.Name))
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			_, err = c.PutOwner(identity.Owner{ID: identity.OwnerID(in.Name), Name: b.Name, Email: b.Email, Team: b.Team, Members: members(b.Members), Backup: identity.OwnerID(b.Backup), State: state, Set: old.Set, Roles: roles(b.Roles)})
			return err
		})
	})
	handle(api, "POST", "/owners/{name}/sign-in", "make-sign-in-code", "owners", "Make a code with which an owner signs in, once, within ten minutes", func(ctx context.Context, in *byName) (out SignInCode, err error) {
		out.URL = p.URL + "/signin"
		_, err = p.do(ctx, in.actor(), func(c *registry.Change) (err error) {
			out.Code, out.Expires, err = c.NewSignIn(identity.OwnerID(in.Name))
			return err
		})
		return out, err
	})
	handle(api, "DELETE", "/owners/{name}", "remove-owner", "owners", "Remove an owner that owns nothing", func(ctx context.Context, in *byName) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error { return c.RemoveOwner(identity.OwnerID(in.Name)) })
	})
}

// roles are nil when they are left out, and not when there are none.
func roles(names []string) (list []identity.Role) {
	if names != nil {
		list = []identity.Role{}
	}
	for _, name := range names {
		list = append(list, identity.Role(name))
	}
	return list
}

func members(names []string) (list []identity.OwnerID) {
	for _, name := range names {
		list = append(list, identity.OwnerID(name))
	}
	return list
}

func missing(err error, noun, name string) error {
	if errors.Is(err, store.ErrNotFound) {
		return &registry.Missing{Noun: noun, Name: name}
	}
	return err
}

// identityViews are identities with all that belongs to them. Who started one is named to those who may know of that.
func (p *Plane) identityViews(tx *store.Tx, who *Caller, all ...identity.Identity) (list []IdentityView, err error) {
	theirs, err := tx.Belongings(all, shown)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		v := p.identityView(tx, i, theirs)
		if who.only != nil && !i.Parent.ID.IsZero() {
			if _, err := who.find(tx, i.Parent.ID.String()); errors.Is(err, store.ErrNotFound) {
				v.Parent = identity.Link{}
			} else if err != nil {
				return nil, err
			}
		}
		list = append(list, v)
	}
	return list, nil
}

func (p *Plane) identityView(tx *store.Tx, i identity.Identity, theirs store.Belongings) IdentityView {
	v := IdentityView{Identity: i, Name: i.ID.Name(), Kind: i.ID.Kind(), OwnerName: theirs.Owners[i.Owner].Name, Living: theirs.Children[i.ID],
		Credentials: append([]identity.Credential{}, theirs.Credentials[i.ID]...), Grants: append([]policy.Grant{}, theirs.Grants[i.ID]...)}
	usable, last := 0, v.LastUsed
	for _, k := range v.Credentials {
		if k.Usable(tx.Now()) == nil {
			usable++
		}
		if k.LastUsed.After(last) {
			last = k.LastUsed
		}
	}
	v.LastUsed, v.Odd = last, p.tally.why(i.ID, p.Now())
	switch err := p.mayAct(i, tx.Now()); {
	case err != nil:
		v.Why = err.Error()
	case usable == 0:
		v.Why = i.ID.Name() + " has no credential that is still good"
	default:
		v.Usable = true
	}
	return v
}

type ownerList struct {
	Caller
	After string `query:"after" doc:"Next of the page before" maxLength:"64"`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

// owners is the page that is asked for, of those whom the caller may know of.
func (in *ownerList) owners(tx *store.Tx) (list []identity.Owner, err error) {
	if in.only == nil {
		return tx.OwnersAfter(identity.OwnerID(in.After), in.Limit)
	}
	for _, id := range slices.Sorted(slices.Values(in.only)) {
		if string(id) <= in.After || len(list) == in.Limit {
			continue
		}
		o, err := tx.Owner(id)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, nil
}

type identityPart struct {
	Caller
	Name string `path:"name" maxLength:"512"`
	Part string `path:"part" maxLength:"128"`
}

type identityGrant struct {
	Caller
	Name string `path:"name" maxLength:"512"`
	Part string `path:"part" maxLength:"64"`
	Body GrantInput
}

func (p *Plane) identityRoutes(api door) {
	const tag = "identities"
	p.listingRoutes(api)
	p.graphRoutes(api)
	p.bulkRoutes(api)
	get := func(ctx context.Context, who *Caller, name string) (IdentityView, error) {
		return read(ctx, p, func(tx *store.Tx) (IdentityView, error) {
			i, err := registry.FindIdentity(tx, name)
			if err != nil {
				return IdentityView{}, err
			}
			list, err := p.identityViews(tx, who, i)
			if err != nil {
				return IdentityView{}, err
			}
			return list[0], nil
		})
	}
	handle(api, "GET", "/identities/{name}", "get-identity", tag, "An identity with its credentials and grants", func(ctx context.Context, in *byName) (IdentityView, error) {
		return get(ctx, &in.Caller, in.Name)
	})
	handleOwn(api, "GET", "/self", "get-self", tag, "The identity that asks", func(ctx context.Context, in *none) (IdentityView, error) {
		id, ok := in.self()
		if !ok {
			return IdentityView{}, refusal(http.StatusNotFound, "An operator is no identity; GET /v1/identities/{name} shows one.")
		}
		return get(ctx, &in.Caller, id.String())
	})
	handle(api, "PUT", "/identities/{name}", "put-identity", tag, "Register or change an identity", func(ctx context.Context, in *namedBody[IdentityInput]) (Changed, error) {
		b := in.Body
		end, err := registry.ParseEnd(b.Expires)
		if err != nil {
			return Changed{}, invalid("expires: " + err.Error())
		}
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			old, err := c.IdentityByName(in.Name)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			_, _, err = c.PutIdentity(registry.Wanted{Kind: identity.Kind(b.Kind), Name: in.Name, Owner: identity.OwnerID(b.Owner), Backup: identity.OwnerID(b.Backup),
				Purpose: b.Purpose, Environment: b.Environment, Expires: end, Pending: b.Pending, Set: old.Set, Tasks: b.Tasks, Children: b.Children.value()})
			return err
		})
	})
	for verb, to := range map[string]identity.State{"activate": identity.Active, "suspend": identity.Suspended, "resume": identity.Active, "retire": identity.Retired, "renew": identity.Active} {
		summary := map[string]string{"activate": "Let a pending identity act", "suspend": "Stop an identity for now; its credentials stay", "resume": "End a suspension",
			"retire": "End an identity for good; its name stays taken", "renew": "Give an identity a later end"}[verb]
		handle(api, "POST", "/identities/{name}/"+verb, verb+"-identity", tag, summary, func(ctx context.Context, in *namedBody[StateInput]) (Changed, error) {
			end, err := registry.ParseEnd(in.Body.Expires)
			if err != nil {
				return Changed{}, invalid("expires: " + err.Error())
			}
			if verb == "renew" && end.Zero() {
				end = registry.For(p.registry.Default())
			}
			return p.change(ctx, in.Caller, func(c *registry.Change) error {
				to := to
				if verb == "renew" {
					i, err := registry.FindIdentity(c.Tx, in.Name)
					if err != nil {
						return err
					}
					if to = i.State; to == identity.Expired {
						to = identity.Active
					}
				}
				_, err := c.Transition(in.Name, to, verb, in.Body.Reason, end)
				return err
			})
		})
	}
	handle(api, "POST", "/identities/{name}/credentials", "add-credential", tag, "Add a credential; an API key is shown this once", func(ctx context.Context, in *namedBody[CredentialInput]) (CredentialCreated, error) {
		b := in.Body
		end, err := registry.ParseEnd(b.Expires)
		if err != nil {
			return CredentialCreated{}, invalid("expires: " + err.Error())
		}
		n := 0
		for _, given := range []bool{len(b.PublicKey) > 0, b.Certificate != "", b.APIKey} {
			if given {
				n++
			}
		}
		if n != 1 {
			return CredentialCreated{}, invalid("give exactly one of public_key, certificate and api_key")
		}
		proof := registry.Proof{Expires: end}
		if len(b.PublicKey) > 0 {
			proof.PublicKey = publicKey(b.PublicKey)
		}
		if b.Certificate != "" {
			proof.Certificate = []byte(b.Certificate)
		}
		var out CredentialCreated
		at, err := p.do(ctx, in.actor(), func(c *registry.Change) (err error) {
			out.Credential, out.APIKey, err = c.AddCredential(in.Name, proof)
			return err
		})
		if err != nil {
			return CredentialCreated{}, err
		}
		out.Receipt = p.receipt(ctx, at, in.patience)
		return out, nil
	})
	handle(api, "PUT", "/identities/{name}/grants/{part}", "put-grant", tag, "Give a grant, or change it", func(ctx context.Context, in *identityGrant) (Changed, error) {
		b := in.Body
		until, err := registry.ParseEnd(b.Until)
		if err != nil {
			return Changed{}, invalid("until: " + err.Error())
		}
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			if err := sameGrant(c, in.Name, in.Part, b.Was); err != nil {
				return err
			}
			_, _, err := c.PutGrant(in.Name, in.Part, grantOf(b), until)
			return err
		})
	})
	handle(api, "DELETE", "/identities/{name}/grants/{part}", "revoke-grant", tag, "Take a grant away", func(ctx context.Context, in *identityPart) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			i, err := registry.FindIdentity(c.Tx, in.Name)
			if err != nil {
				return err
			}
			return c.RevokeGrant(i.ID.Name()+"/"+in.Part, "")
		})
	})
}

func grantOf(b GrantInput) policy.Grant {
	return policy.Grant{Upstream: b.Upstream, Actions: b.Actions, Resources: b.Resources, Where: b.Conditions,
		ForOthers: b.ForOthers, Cedar: b.Cedar, Plain: b.Cedar == "", Record: b.Record, Approve: b.Approve, Fresh: b.Fresh, Layers: b.Layers}
}

// publicKey accepts a JWK as JSON, and as a string that holds one.
func publicKey(raw json.RawMessage) []byte {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return []byte(s)
	}
	return raw
}

// upstreamView is an upstream; who may connect to it, and whose identity it is, is for its owner and for whom that is about.
func (p *Plane) upstreamView(tx *store.Tx, who *Caller, u policy.Upstream) (UpstreamView, error) {
	if !who.sees(u.Owner) {
		u.Consent.Owners = slices.DeleteFunc(slices.Clone(u.Consent.Owners), func(o identity.OwnerID) bool { return o != "*" && !who.sees(o) })
		if !u.Agent.IsZero() {
			if _, err := who.find(tx, u.Agent.String()); errors.Is(err, store.ErrNotFound) {
				u.Agent = identity.ID{}
			} else if err != nil {
				return UpstreamView{}, err
			}
		}
	}
	v := UpstreamView{Upstream: u, Description: string(u.Description), Audience: p.GatewayURL + "/" + u.Name, Down: p.down(u)}
	if len(u.Description) > 2000 {
		v.Description = fmt.Sprintf("%d bytes", len(u.Description))
	}
	if u.OAuth != nil {
		v.SignIn = p.broker.Page(u.Name)
	}
	d, err := p.registry.Describe(u)
	v.Actions = len(d.Actions)
	_, secretErr := tx.Secret(store.UpstreamSecret(u.Name))
	if v.Secret = secretErr == nil; errors.Is(secretErr, store.ErrNotFound) {
		secretErr = nil
	}
	return v, errors.Join(err, secretErr)
}

func (p *Plane) upstreamRoutes(api door) {
	const tag = "upstreams"
	p.offerRoutes(api)
	handleList(api, "GET", "/upstreams", "list-upstreams", tag, "Upstreams by name", func(ctx context.Context, in *none) (Page[UpstreamView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[UpstreamView], error) {
			all, err := in.upstreams(tx)
			var list []UpstreamView
			for _, u := range all {
				v, e := p.upstreamView(tx, &in.Caller, u)
				list, err = append(list, v), errors.Join(err, e)
			}
			return page(list), err
		})
	})
	handle(api, "GET", "/upstreams/{name}", "get-upstream", tag, "An upstream", func(ctx context.Context, in *byName) (UpstreamView, error) {
		return read(ctx, p, func(tx *store.Tx) (UpstreamView, error) {
			u, err := tx.Upstream(in.Name)
			if err != nil {
				return UpstreamView{}, missing(err, "upstream", in.Name)
			}
			return p.upstreamView(tx, &in.Caller, u)
		})
	})
	handle(api, "GET", "/upstreams/{name}/actions", "list-actions", tag, "What can be done on an upstream", func(ctx context.Context, in *byName) (Page[ActionView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[ActionView], error) {
			u, err := tx.Upstream(in.Name)
			if err != nil {
				return Page[ActionView]{}, missing(err, "upstream", in.Name)
			}
			d, err := p.registry.Describe(u)
			var list []ActionView
			for _, a := range d.Actions {
				v := ActionView{Name: a.Name, Class: policy.ClassOf(u, a), Words: a.Words, Summary: a.Summary, Parameters: map[string]string{}}
				for _, q := range a.Parameters {
					v.Parameters[q.Name] = q.Type
				}
				list = append(list, v)
			}
			return page(list), err
		})
	})
	handle(api, "PUT", "/upstreams/{name}", "put-upstream", tag, "Add or change an upstream", func(ctx context.Context, in *namedBody[UpstreamInput]) (Changed, error) {
		b := in.Body
		u := policy.Upstream{Name: in.Name, URL: b.URL, Owner: identity.OwnerID(b.Owner), Environment: b.Environment, Family: b.Family, Description: []byte(b.Description), WebSocket: b.WebSocket, StatusList: b.StatusList, ChainHeader: b.ChainHeader, Counters: b.Counters, Provenance: b.Provenance}
		if b.Consent != nil {
			for _, o := range b.Consent.Owners {
				u.Consent.Owners = append(u.Consent.Owners, identity.OwnerID(o))
			}
			for _, class := range b.Consent.Classes {
				u.Consent.Classes = append(u.Consent.Classes, policy.Class(class))
			}
		}
		for name, class := range b.Classes {
			if u.Classes == nil {
				u.Classes = map[string]policy.Class{}
			}
			u.Classes[name] = policy.Class(class)
		}
		var client *string
		if o := b.OAuth; o != nil && !o.None {
			u.OAuth = &policy.OAuth{Account: policy.Own, Issuer: o.Issuer, Client: o.ClientID, Scopes: o.Scopes, Parameters: o.Parameters}
			if o.Shared {
				u.OAuth.Account = policy.Shared
			}
			if o.ClientSecret != "" {
				client = &o.ClientSecret
			}
		}
		var secret *registry.Secret
		if b.Secret != nil {
			secret = &registry.Secret{Header: b.Secret.Header, Value: b.Secret.Value}
		}
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			old, err := c.Upstream(in.Name)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if u.Set = old.Set; b.OAuth == nil {
				u.OAuth = old.OAuth
			}
			if u.Agent, err = c.AgentID(b.Agent, nil); err != nil {
				return err
			}
			_, err = c.PutUpstreamOAuth(u, secret, client)
			return err
		})
	})
	handle(api, "DELETE", "/upstreams/{name}", "remove-upstream", tag, "Remove an upstream without grants", func(ctx context.Context, in *byName) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error { return c.RemoveUpstream(in.Name) })
	})
}

func (p *Plane) guardrailRoutes(api door) {
	const tag = "guardrails"
	handle(api, "GET", "/guardrails", "list-guardrails", tag, "Guardrails, the built-in ones first", func(ctx context.Context, in *none) (Page[policy.Guardrail], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[policy.Guardrail], error) {
			list, err := tx.Guardrails()
			return page(append(policy.Builtin(), list...)), err
		})
	})
	handle(api, "GET", "/guardrails/{name}", "get-guardrail", tag, "A guardrail", func(ctx context.Context, in *byName) (policy.Guardrail, error) {
		return read(ctx, p, func(tx *store.Tx) (policy.Guardrail, error) {
			for _, g := range policy.Builtin() {
				if g.ID == in.Name {
					return g, nil
				}
			}
			g, err := tx.Guardrail(in.Name)
			return g, missing(err, "guardrail", in.Name)
		})
	})
	handle(api, "PUT", "/guardrails/{name}", "put-guardrail", tag, "Add or change a guardrail", func(ctx context.Context, in *namedBody[GuardrailInput]) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			old, err := c.Guardrail(in.Name)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if err := same("guardrail "+in.Name, in.Body.Was, old, err, func(*policy.Guardrail) {}); err != nil {
				return err
			}
			_, err = c.PutGuardrail(policy.Guardrail{ID: in.Name, Description: in.Body.Description, Cedar: in.Body.Cedar, Set: old.Set})
			return err
		})
	})
	handle(api, "DELETE", "/guardrails/{name}", "remove-guardrail", tag, "Remove a guardrail", func(ctx context.Context, in *byName) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error { return c.RemoveGuardrail(in.Name) })
	})
	handleList(api, "GET", "/schema", "get-schema", tag, "The Cedar schema that grants and guardrails are checked against", func(ctx context.Context, in *none) (Schema, error) {
		return read(ctx, p, func(tx *store.Tx) (out Schema, err error) {
			ups, err := in.upstreams(tx)
			var all []policy.Described
			for _, u := range ups {
				d, e := p.registry.Describe(u)
				all, err = append(all, d), errors.Join(err, e)
			}
			out.Cedar = strings.TrimSpace(policy.Schema(all...)) + "\n"
			return out, err
		})
	})
}
