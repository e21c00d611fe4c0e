package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// ChildInput is POST /v1/children: an identity that the caller starts for a piece of its work.
type ChildInput struct {
	Name      string             `json:"name,omitempty" doc:"A word for people; the child's whole name is made of its first ancestor's, this, and a random end" example:"summarise" maxLength:"16"`
	Purpose   string             `json:"purpose" doc:"One sentence, for people" example:"Summarises one invoice" minLength:"1" maxLength:"500"`
	PublicKey json.RawMessage    `json:"public_key" doc:"JWK (RFC 7517) of an Ed25519 or P-256 public key that nobody has had: the child's own"`
	Expires   string             `json:"expires,omitempty" doc:"When it stops by itself; default 1h or the caller's end, and at most that" example:"30m" maxLength:"64"`
	Grants    []ChildGrant       `json:"grants,omitempty" doc:"What it may do of what the caller may; left out, all of that" maxItems:"50"`
	Children  *identity.Children `json:"children,omitempty" doc:"How many it may start itself; default what the caller may, one level less"`
}

// ChildGrant is one thing a child may do, as long as all above it may.
type ChildGrant struct {
	Upstream   string                      `json:"upstream" example:"mail" maxLength:"64"`
	Actions    []string                    `json:"actions" doc:"Classes, actions or patterns of actions" example:"[\"read\"]" minItems:"1" maxItems:"500"`
	Resources  []string                    `json:"resources,omitempty" doc:"Patterns with *; none means all" maxItems:"500"`
	Conditions map[string]policy.Condition `json:"conditions,omitempty" doc:"By argument: all must hold"`
	Until      string                      `json:"until,omitempty" doc:"Its end; default the child's" maxLength:"64"`
}

// ChildCreated is its answer: who the child is, and where it gets tokens for what.
type ChildCreated struct {
	ID            identity.ID       `json:"id" example:"spiffe://lanyard.local/agent/invoice-bot.summarise-..."`
	Name          string            `json:"name"`
	Parent        identity.ID       `json:"parent"`
	Credential    string            `json:"credential" example:"cred_..."`
	Expires       time.Time         `json:"expires"`
	Children      identity.Children `json:"children,omitzero"`
	Issuer        string            `json:"issuer" doc:"Audience of its assertions"`
	TokenEndpoint string            `json:"token_endpoint"`
	Resources     []string          `json:"resources" doc:"What it can ask tokens for (resource), as things are"`
	Receipt       feed.Receipt      `json:"receipt"`
}

// Tree is GET /v1/identities/{name}/tree: what an identity started, and what that started.
type Tree struct {
	Identity identity.ID `json:"identity"`
	Count    int         `json:"count" doc:"All that descend from it, ended ones too until they are forgotten"`
	Below    []Branch    `json:"below" doc:"Parents before children; the first 1000"`
}

// Branch is one identity of a tree.
type Branch struct {
	identity.Identity
	Name   string `json:"name"`
	Usable bool   `json:"usable" doc:"It and all above it may act at this moment"`
	Why    string `json:"why,omitempty" doc:"Why not"`
}

func (p *Plane) childRoutes(api door) {
	const tag = "identities"
	handleOwn(api, "POST", "/children", "register-child", tag, "Start a child: an identity of its own for a piece of the caller's work", func(ctx context.Context, in *body[ChildInput]) (ChildCreated, error) {
		parent, ok := in.self()
		if !ok {
			return ChildCreated{}, refusal(http.StatusForbidden, "A child is started by its parent, with the parent's own token; an operator registers identities with PUT /v1/identities/{name}.")
		}
		want, err := in.Body.spawn()
		if err != nil {
			return ChildCreated{}, err
		}
		var made registry.Spawned
		at, err := p.do(ctx, in.actor(), func(c *registry.Change) (err error) {
			made, err = c.Spawn(parent, want)
			return err
		})
		if err != nil {
			if unrecorded := p.refused(ctx, in.actor(), parent, err); unrecorded != nil {
				err = unrecorded
			}
			return ChildCreated{}, err
		}
		out := ChildCreated{ID: made.ID, Name: made.ID.Name(), Parent: parent, Credential: made.Credential.ID, Expires: made.Expires, Children: made.Children,
			Issuer: p.URL, TokenEndpoint: p.URL + "/oauth/token", Resources: []string{}, Receipt: p.receipt(ctx, at, in.patience)}
		for _, name := range made.Upstreams {
			out.Resources = append(out.Resources, p.GatewayURL+"/"+name)
		}
		return out, nil
	})
	handleOwn(api, "DELETE", "/children/{name}", "end-child", tag, "End a child whose work is done, with all that it started: the caller's, or the caller itself", func(ctx context.Context, in *byName) (Changed, error) {
		by, ok := in.self()
		if !ok {
			return Changed{}, refusal(http.StatusForbidden, "A child is ended by itself or by who is above it; an operator retires it with POST /v1/identities/{name}/retire.")
		}
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			_, err := c.EndChild(by, in.Name)
			return err
		})
	})
	handle(api, "GET", "/identities/{name}/tree", "get-tree", tag, "What an identity started, and what that started", func(ctx context.Context, in *byName) (Tree, error) {
		return read(ctx, p, func(tx *store.Tx) (Tree, error) {
			i, err := registry.FindIdentity(tx, in.Name)
			if err != nil {
				return Tree{}, err
			}
			return p.tree(tx, &in.Caller, i)
		})
	})
}

// refused puts on record that an identity asked for a child that it may not have.
func (p *Plane) refused(ctx context.Context, by registry.Actor, parent identity.ID, why error) error {
	var told *Problem
	if !errors.As(problem(why), &told) || told.Status >= 500 {
		return nil // nobody said no
	}
	now := p.Now().UTC()
	id, err := ledger.NewID(p.Rand, now)
	if err != nil {
		return err
	}
	e := ledger.Event{ID: id, Time: now, Type: "identity.register", Outcome: ledger.Refused, Actor: by.Name, Source: by.Source, Resource: parent.String(), Reason: told.Detail, Status: told.Status}
	if s, ok := p.View.Subject(parent); ok {
		e.Owner = string(s.Identity.Owner)
	}
	if line, err := p.View.Line(parent, now); err == nil {
		e.Chain = line.Texts()
	}
	return p.Store.Record(context.WithoutCancel(ctx), []ledger.Event{e})
}

func (b *ChildInput) spawn() (registry.Spawn, error) {
	end, err := registry.ParseEnd(b.Expires)
	if err != nil {
		return registry.Spawn{}, invalid("expires: " + err.Error())
	}
	s := registry.Spawn{Word: b.Name, Purpose: b.Purpose, Key: publicKey(b.PublicKey), Expires: end, Children: b.Children}
	for n, g := range b.Grants {
		until, err := registry.ParseEnd(g.Until)
		if err != nil {
			return s, invalid(fmt.Sprintf("grants[%d].until: %v", n, err))
		}
		s.Grants = append(s.Grants, registry.Lent{Until: until,
			Grant: policy.Grant{Upstream: g.Upstream, Actions: g.Actions, Resources: g.Resources, Where: g.Conditions}})
	}
	return s, nil
}

// mayAct says why an identity may not act at now: what the store holds of it, then what the gateways go by, for all above it.
func (p *Plane) mayAct(i identity.Identity, now time.Time) error {
	if err := i.Usable(now); err != nil || i.Parent.ID.IsZero() {
		return err
	}
	return p.standing(i, now)
}

// tree is what descends from i, as far as the caller may know of it, each judged with all that is above it.
func (p *Plane) tree(tx *store.Tx, who *Caller, i identity.Identity) (t Tree, err error) {
	t = Tree{Identity: i.ID, Below: []Branch{}}
	list, err := tx.Descendants(i.ID, map[bool]int{true: shown}[who.only == nil])
	if err != nil {
		return t, err
	}
	if list = slices.DeleteFunc(list, func(k identity.Identity) bool { return !who.sees(k.Owner) }); who.only != nil {
		t.Count = len(list)
	} else if t.Count, err = tx.CountDescendants(i.ID); err != nil {
		return t, err
	}
	for _, k := range list[:min(len(list), shown)] {
		b := Branch{Identity: k, Name: k.ID.Name(), Usable: true}
		if err := p.mayAct(k, tx.Now()); err != nil {
			b.Usable, b.Why = false, err.Error()
		}
		t.Below = append(t.Below, b)
	}
	return t, err
}
