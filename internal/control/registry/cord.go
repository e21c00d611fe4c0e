package registry

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Aim says what the cord is pulled on. Exactly one field is set.
type Aim struct {
	Identity string // name, kind/name or SPIFFE ID
	Owner    identity.OwnerID
	Upstream string
	Kill     string // restore only: what that kill stopped
	All      bool
}

func (a Aim) check(verb string) error {
	n := 0
	for _, set := range []bool{a.Identity != "", a.Owner != "", a.Upstream != "", a.Kill != "", a.All} {
		if set {
			n++
		}
	}
	if n != 1 {
		return &Invalid{verb, "", "say what: exactly one of identity, owner, upstream" + map[string]string{"restore": ", kill"}[verb] + " and all"}
	}
	return nil
}

// Killed is what a kill stopped.
type Killed struct {
	ID          string
	Root        identity.ID // the one it was pulled on, whose descendants are for KillBelow; zero if it was many
	Identities  []identity.ID
	Credentials int
	Upstream    string
	Providers   []string // disabled with everything
}

// Kill pulls the cord: identities stop, their tokens and credentials are dead
// for good; or every call to an upstream stops.
func (c *Change) Kill(a Aim, reason string) (k Killed, err error) {
	if a.Kill != "" {
		return k, &Invalid{"kill", "kill", "a kill is restored, not killed"}
	}
	if err := a.check("kill"); err != nil {
		return k, err
	}
	if strings.TrimSpace(reason) == "" {
		return k, &Invalid{"kill", "reason", "say why, in a few words: it stands in the record"}
	}
	if k.ID, err = c.newID("kill_"); err != nil {
		return k, err
	}
	detail := map[string]string{"kill": k.ID}
	resource, owner := "", ""
	switch {
	case a.Upstream != "":
		u, err := c.Upstream(a.Upstream)
		if err != nil {
			return k, missing(err, "upstream", a.Upstream)
		}
		k.Upstream = u.Name
		if err := errors.Join(c.KillUpstream(k.ID, u.Name), c.forgetAll(u.Name, "The cord was pulled on "+u.Name+".")); err != nil {
			return k, err
		}
		return k, c.record("upstream.kill", u.Name, string(u.Owner), reason, detail)
	case a.Identity != "":
		i, err := FindIdentity(c.Tx, a.Identity)
		if err != nil {
			return k, err
		}
		if i.State == identity.Pending || i.State == identity.Retired {
			return k, &Conflict{fmt.Sprintf("%s is %s: it cannot act, there is nothing to stop", i.ID.Name(), i.State)}
		}
		resource, owner, k.Root = i.ID.String(), string(i.Owner), i.ID
		k.Identities, k.Credentials, err = c.Tx.Kill(k.ID, store.Selector{Identity: i.ID})
		if err != nil {
			return k, err
		}
	case a.Owner != "":
		o, err := c.Owner(a.Owner)
		if err != nil {
			return k, missing(err, "owner", string(a.Owner))
		}
		o.Generation++ // nor does anybody else go on in this owner's name
		o.Stopped = c.Now()
		if err := c.Tx.PutOwner(o); err != nil {
			return k, err
		}
		resource, owner = "owner/"+string(a.Owner), string(a.Owner)
		k.Identities, k.Credentials, err = c.Tx.Kill(k.ID, store.Selector{Owner: a.Owner})
		if err = errors.Join(err, c.EndSessions(store.Ended{Owner: a.Owner, But: c.by.Session}), c.EndPasskeys(Person(a.Owner)), c.takeBack(a.Owner, "All that is "+string(a.Owner)+"'s was stopped.")); err != nil { // or another could be born at once
			return k, err
		}
	default:
		resource = "all"
		k.Identities, k.Credentials, err = c.Tx.Kill(k.ID, store.Selector{All: true})
		var err2 error
		k.Providers, err2 = c.disableProviders()
		if err := errors.Join(err, err2, c.EndSessions(store.Ended{But: c.by.Session}), c.EndPasskeysBut(Administrator)); err != nil {
			return k, err
		}
		if len(k.Providers) > 0 {
			detail["providers_disabled"] = strings.Join(k.Providers, " ")
		}
	}
	detail["count"], detail["credentials"] = strconv.Itoa(len(k.Identities)), strconv.Itoa(k.Credentials)
	detail["identities"] = someNames(k.Identities)
	return k, c.record("identity.kill", resource, owner, reason, detail)
}

// someNames is the names of the first hundred.
func someNames(list []identity.ID) string {
	names := make([]string, 0, 100)
	for _, id := range list[:min(len(list), 100)] {
		names = append(names, id.Name())
	}
	if len(list) > 100 {
		names = append(names, "…")
	}
	return strings.Join(names, " ")
}

// Left is an identity that a restore did not bring back.
type Left struct {
	Identity identity.ID
	Why      string
}

// Restored is what a restore brought back, and what not.
type Restored struct {
	Identities []identity.ID
	Left       []Left
	Upstream   string
}

// Restore brings back what was killed, without any of the old credentials and
// tokens: suspended if it was so before, else active.
func (c *Change) Restore(a Aim, reason string) (r Restored, err error) {
	if err := a.check("restore"); err != nil {
		return r, err
	}
	if strings.TrimSpace(reason) == "" {
		return r, &Invalid{"restore", "reason", "say why, in a few words: it stands in the record"}
	}
	if a.Upstream != "" {
		u, err := c.Upstream(a.Upstream)
		if err != nil {
			return r, missing(err, "upstream", a.Upstream)
		}
		if r.Upstream = u.Name; !u.Killed {
			return r, nil
		}
		u.Killed = false
		u.Version++
		return r, errors.Join(c.Tx.PutUpstream(u), c.record("upstream.restore", u.Name, string(u.Owner), reason, nil))
	}
	var list []identity.Identity
	switch {
	case a.Identity != "":
		i, err := FindIdentity(c.Tx, a.Identity)
		if err != nil {
			return r, err
		}
		if i.State != identity.Killed {
			return r, &Conflict{fmt.Sprintf("%s is %s, not killed: there is nothing to restore", i.ID.Name(), i.State)}
		}
		list = []identity.Identity{i}
	default:
		if list, err = c.Identities(store.Filter{State: identity.Killed, Owner: a.Owner, Kill: a.Kill}); err != nil {
			return r, err
		}
	}
	for _, old := range list {
		if why, err := c.bereft(old); err != nil {
			return r, err
		} else if why != "" {
			r.Left = append(r.Left, Left{old.ID, why})
			continue
		}
		owner, err := c.Owner(old.Owner)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
		to := identity.Active
		if old.KilledFrom == identity.Suspended {
			to = identity.Suspended
		}
		i, err := old.Transition(to, owner, c.Now())
		var no *identity.TransitionError
		if errors.As(err, &no) {
			r.Left = append(r.Left, Left{old.ID, no.Why})
			continue
		} else if err != nil {
			return r, err
		}
		i.Version++
		if err := errors.Join(c.Tx.PutIdentity(i), c.record("identity.restore", i.ID.String(), string(i.Owner), reason, map[string]string{"kill": old.KilledBy, "state": string(old.State) + " → " + string(to)})); err != nil {
			return r, err
		}
		r.Identities = append(r.Identities, i.ID)
	}
	return r, nil
}

// RevokeToken ends one token before its time.
func (c *Change) RevokeToken(jti string, expires time.Time, subject identity.ID, reason string) error {
	owner := ""
	if i, err := c.Identity(subject); err == nil {
		owner = string(i.Owner)
	}
	return errors.Join(c.Tx.RevokeToken(feed.TokenRevocation{ID: jti, Expires: expires}),
		c.record("token.revoke", subject.String(), owner, reason, map[string]string{"token": jti}))
}
