package control

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// objectsOf says what an operation would be done to, all of it; what is not there is an error. With none, it is about everything.
func (p *Plane) objectsOf(tx *store.Tx, v *registry.Visitor, path string, in any) ([]object, error) {
	switch in := in.(type) {
	case *body[ApplyRequest]:
		if in.Body.DryRun {
			return []object{plan}, nil
		}
		return nil, nil
	case *body[KillRequest]:
		return p.aimed(tx, v, in.Body.Identity, in.Body.Owner, in.Body.Upstream)
	case *body[RevokeRequest]:
		return p.revoked(tx, in.Body)
	case *body[ExplainRequest]:
		return p.explained(tx, v, in.Body)
	case *body[WhatIfRequest]:
		var found []object
		for _, g := range in.Body.Grants {
			more, err := identityObject(tx, g.Identity)
			if err != nil {
				return nil, err
			}
			if found = append(found, more...); g.Upstream != "" {
				if more, err = upstreamObject(tx, v, g.Upstream); err != nil {
					return nil, err
				}
				found = append(found, more...)
			}
		}
		return found, nil
	case *body[TaskInput]:
		found, err := identityObject(tx, in.Body.Identity)
		if err == nil && in.Body.On != "" { // in whose name, is theirs to say as well
			found = append(found, owned("owner", in.Body.On, identity.OwnerID(in.Body.On)))
		}
		return found, err
	case *namedBody[IdentityInput]:
		found, err := identityObject(tx, in.Name)
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return append(found, owned("owner", in.Body.Owner, identity.OwnerID(in.Body.Owner))), err
	case *identityGrant:
		found, err := upstreamObject(tx, v, in.Body.Upstream)
		if err != nil || !permits(v, "put-grant", found[0]) { // who may give nothing there learns of no identity, either
			return found, err
		}
		i, err := registry.FindIdentity(tx, in.Name)
		if err != nil {
			return nil, err
		}
		old, err := tx.Grant(i.ID.Name() + "/" + in.Part)
		if errors.Is(err, store.ErrNotFound) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		before, err := upstreamObject(tx, v, old.Upstream)
		if err == nil {
			found = append(found, object{"identity", in.Name, before[0].owners, []identity.OwnerID{i.Owner}}) // they may not know of what it is on
		}
		return found, err
	case *identityPart:
		if strings.HasPrefix(path, "/v1/upstreams/") { // an account there is its owner's
			return []object{owned("account", in.Name+"/"+in.Part, identity.OwnerID(in.Part))}, nil
		}
		return grantObject(tx, in.Name, in.Part)
	}
	name := ""
	if named, ok := in.(interface{ named() string }); ok {
		name = named.named()
	}
	noun, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	switch {
	case name == "":
		return nil, nil
	case noun == "identities":
		return identityObject(tx, name)
	case noun == "upstreams":
		return upstreamObject(tx, v, name)
	case noun == "owners":
		o, err := tx.Owner(identity.OwnerID(name))
		return []object{owned("owner", name, o.ID)}, missing(err, "owner", name)
	case noun == "tasks":
		t, err := tx.Task(name)
		if err != nil {
			return nil, missing(err, "task", name)
		}
		o, err := taskObject(tx, t)
		return []object{o}, err
	case noun == "approvals":
		a, err := tx.Approval(name)
		if err != nil {
			return nil, missing(err, "approval", name)
		}
		o, err := approvalObject(tx, v, a)
		return []object{o}, err
	case strings.HasPrefix(path, "/v1/ledger/proof/"):
		o, err := p.eventObject(tx, name)
		return []object{o}, err
	}
	return nil, nil
}

func (in *byName) named() string        { return in.Name }
func (in *namedBody[T]) named() string  { return in.Name }
func (in *taskWait) named() string      { return in.Name }
func (in *approvalWait) named() string  { return in.Name }
func (in *identityPart) named() string  { return in.Name }
func (in *identityGrant) named() string { return in.Name }

func identityObject(tx *store.Tx, ref string) ([]object, error) {
	i, err := registry.FindIdentity(tx, ref)
	if err != nil {
		return nil, err
	}
	return []object{owned("identity", ref, i.Owner)}, nil
}

// upstreamObject is seen by those whose identities have a grant there, too.
func upstreamObject(tx *store.Tx, v *registry.Visitor, name string) ([]object, error) {
	u, err := tx.Upstream(name)
	if err != nil {
		return nil, missing(err, "upstream", name)
	}
	o, err := sawUpstream(tx, v, u)
	return []object{o}, err
}

func sawUpstream(tx *store.Tx, v *registry.Visitor, u policy.Upstream) (object, error) {
	o := owned("upstream", u.Name, u.Owner)
	for _, owner := range v.Theirs {
		grants, err := tx.GrantsOf(owner, u.Name)
		if err != nil {
			return o, err
		}
		if len(grants) > 0 {
			o.seen = append(o.seen, owner)
		}
	}
	return o, nil
}

// grantObject is whose identity has it, and whose upstream it is on. That there is no such identity is not told apart.
func grantObject(tx *store.Tx, ref, part string) ([]object, error) {
	id := ref + "/" + part
	i, err := registry.FindIdentity(tx, ref)
	if err != nil {
		return nil, missing(err, "grant", id)
	}
	g, err := tx.Grant(i.ID.Name() + "/" + part)
	if err != nil {
		return nil, missing(err, "grant", id)
	}
	u, err := tx.Upstream(g.Upstream)
	return []object{{"grant", id, []identity.OwnerID{i.Owner, u.Owner}, nil}}, err
}

func taskObject(tx *store.Tx, t policy.Task) (object, error) {
	i, err := tx.Identity(t.Identity)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return object{"task", t.ID, []identity.OwnerID{i.Owner, t.On}, nil}, err
}

// approvalObject is of who owns who asks; those who may answer see it, and who did.
func approvalObject(tx *store.Tx, v *registry.Visitor, a store.Approval) (object, error) {
	i, err := tx.Identity(a.Identity)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	o := owned("approval", a.ID, i.Owner)
	if err != nil || v.Owner == "" {
		return o, err
	}
	mine, err := registry.MayAnswer(tx, a, v.Owner)
	if said := len(mine) > 0; said || answered(a, v.Owner) {
		o.seen = append(o.seen, v.Owner)
	}
	return o, err
}

func answered(a store.Approval, by identity.OwnerID) bool {
	for _, d := range a.Decisions {
		if d.By == by {
			return true
		}
	}
	return false
}

// eventObject is of whom it is about, and seen by who did it.
func (p *Plane) eventObject(tx *store.Tx, name string) (o object, err error) {
	index, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		if index, err = tx.EventIndex(name); err != nil {
			return o, missing(err, "event", name)
		}
	}
	leaf, err := tx.Leaf(index)
	if err != nil {
		return o, missing(err, "event", name)
	}
	e, err := ledger.Parse(leaf)
	o = object{noun: "event", name: name, seen: []identity.OwnerID{identity.OwnerID(e.Owner)}}
	if by, ok := strings.CutPrefix(e.Actor, registry.Person("")); ok {
		o.seen = append(o.seen, identity.OwnerID(by))
	}
	return o, err
}

// aimed is what the cord is pulled on.
func (p *Plane) aimed(tx *store.Tx, v *registry.Visitor, id, owner, upstream string) (found []object, err error) {
	if id != "" {
		if found, err = identityObject(tx, id); err != nil {
			return nil, err
		}
	}
	if owner != "" {
		found = append(found, owned("owner", owner, identity.OwnerID(owner)))
	}
	if upstream != "" {
		more, err := upstreamObject(tx, v, upstream)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

func (p *Plane) revoked(tx *store.Tx, b RevokeRequest) (found []object, err error) {
	if b.Credential != "" {
		k, err := tx.Credential(b.Credential)
		if err != nil {
			return nil, missing(err, "credential", b.Credential)
		}
		i, err := tx.Identity(k.Identity)
		if err != nil {
			return nil, missing(err, "credential", b.Credential)
		}
		found = append(found, owned("credential", b.Credential, i.Owner))
	}
	if b.Grant != "" {
		ref, part, _ := strings.Cut(b.Grant, "/")
		more, err := grantObject(tx, ref, part)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	if b.Token != "" {
		_, _, subject, err := p.tokenOf(b.Token)
		if err != nil {
			return nil, err
		}
		if subject.IsZero() { // whose it is, its name does not say
			return nil, refusal(http.StatusForbidden, "By its id alone a token is revoked by who may revoke any; give the token itself.")
		}
		more, err := identityObject(tx, subject.String())
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// explained is who is behind a call, and what it is to. Of an event it is that; what is told of who else is behind it, explain sees to.
func (p *Plane) explained(tx *store.Tx, v *registry.Visitor, b ExplainRequest) (found []object, err error) {
	if b.Event != "" {
		o, err := p.eventObject(tx, b.Event)
		return []object{o}, err
	}
	for _, ref := range append([]string{b.Identity}, b.As...) {
		if person, ok := strings.CutPrefix(strings.TrimPrefix(ref, "spiffe://"+p.Domain+"/"), string(identity.Person)+"/"); ok {
			found = append(found, owned("owner", person, identity.OwnerID(person)))
		} else if ref != "" {
			more, err := identityObject(tx, ref)
			if err != nil {
				return nil, err
			}
			found = append(found, more...)
		}
	}
	if b.Upstream != "" {
		more, err := upstreamObject(tx, v, b.Upstream)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}
