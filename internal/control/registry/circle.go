package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// circle is who may say yes to one approve of a question, as things are now.
type circle struct {
	people   []identity.Owner // living, and no teams
	operator bool
}

// has reports whether who decides is in it.
func (k circle) has(by identity.OwnerID) bool {
	if strings.HasPrefix(string(by), feed.OperatorPrefix) {
		return k.operator
	}
	return slices.ContainsFunc(k.people, func(o identity.Owner) bool { return o.ID == by })
}

// enough reports whether so many can be found in it.
func (k circle) enough(need int) bool { return k.operator || len(k.people) >= need }

func (k circle) names() []string {
	var names []string
	for _, o := range k.people {
		names = append(names, o.Name)
	}
	if k.operator {
		names = append(names, "an operator")
	}
	return names
}

// circle resolves the words of an approve.
func (tx reader) circle(a policy.Approve, q feed.Question) (k circle, err error) {
	for _, word := range a.Words {
		id := identity.OwnerID(word)
		switch word {
		case policy.ByOperator:
			k.operator = true
			continue
		case policy.ByOwner:
			i, err := tx.Identity(a.Asker(q.Chain))
			if err != nil {
				return k, err
			}
			id = i.Owner
		case policy.ByUpstream:
			u, err := tx.Upstream(q.Upstream)
			if err != nil {
				return k, err
			}
			id = u.Owner
		case policy.ByPerson:
			id = q.Chain.Root().Owner()
		}
		if err := tx.admit(&k, id); err != nil {
			return k, err
		}
	}
	return k, nil
}

// reader is a transaction that is asked who there is.
type reader struct{ *store.Tx }

// admit adds an owner to a circle; of a team its members. Who has left, or is not there any more, is not added.
func (tx reader) admit(k *circle, id identity.OwnerID) error {
	o, err := tx.Owner(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	people := []identity.OwnerID{o.ID}
	if o.Team {
		people = o.Members
	}
	for _, id := range people {
		p, err := tx.Owner(id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		if p.State == identity.OwnerActive && !p.Team && !k.has(p.ID) {
			k.people = append(k.people, p)
		}
	}
	return nil
}

// MayAnswer says which of what a question asks a person may answer, as things are now.
func MayAnswer(tx *store.Tx, a store.Approval, by identity.OwnerID) (list []policy.Approve, err error) {
	for _, one := range a.Of {
		k, err := reader{tx}.circle(one, a.Question)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		if k.has(by) {
			list = append(list, one)
		}
	}
	return list, nil
}

// met reports whether enough of those who may have said yes to every part of a question, by those who may now.
func (tx reader) met(a store.Approval) (bool, error) {
	for _, one := range a.Of {
		k, err := tx.circle(one, a.Question)
		if err != nil {
			return false, err
		}
		said := map[identity.OwnerID]bool{}
		for _, v := range a.Decisions {
			if v.Yes && k.has(v.By) {
				said[v.By] = true
			}
		}
		if len(said) < one.Need {
			return false, nil
		}
	}
	return len(a.Of) > 0, nil
}

// checkApprovers refuses a policy that names people who are not there.
func (c *Change) checkApprovers(what, field string, asks []policy.Approve) error {
	for _, a := range asks {
		for _, word := range a.Words {
			switch word {
			case policy.ByOwner, policy.ByUpstream, policy.ByPerson, policy.ByOperator:
				continue
			}
			o, err := c.Owner(identity.OwnerID(word))
			switch {
			case errors.Is(err, store.ErrNotFound):
				return &Invalid{what, field, fmt.Sprintf("%q is neither owner, upstream, person nor operator, nor the name of an owner", word)}
			case err != nil:
				return err
			case o.State != identity.OwnerActive:
				return &Invalid{what, field, word + " has left and cannot approve anything; name another"}
			case o.Team && len(o.Members) == 0:
				return &Invalid{what, field, word + " is a team without members, so nobody could approve; give it some (lanyard owner put --member)"}
			}
		}
	}
	return nil
}
