package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Connection is what a person lets a client of theirs do on one upstream.
type Connection struct {
	Client   identity.Client
	Upstream string
	Actions  []string // by name
	Until    time.Time
	Provider string // on whose word, when it is not the person's own
}

// Connect gives the client of that person an identity of its own, or, when it has
// one, lets it do what is said now: what it could do on this upstream before is
// replaced, and what its grant held back, asked and recorded stays. The person is its owner.
func (c *Change) Connect(w Connection) (identity.Identity, error) {
	person, err := c.livingOwner(w.Client.Person)
	if err != nil {
		return identity.Identity{}, err
	}
	if err := c.mayConsent(person, w); err != nil {
		return identity.Identity{}, err
	}
	if longest := c.Now().Add(c.r.maxExpiry()); !w.Until.After(c.Now()) || w.Until.After(longest) {
		return identity.Identity{}, &Invalid{"connection", "until", fmt.Sprintf("it is to end between now and %s", longest.Format(time.DateOnly))}
	}
	i, err := c.connected(person, w)
	if err != nil {
		return i, err
	}
	old, err := c.Grant(i.ID.Name() + "/" + w.Upstream)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return i, err
	}
	_, _, err = c.PutGrant(i.ID.Name(), w.Upstream, policy.Grant{Upstream: w.Upstream, Actions: w.Actions, Plain: true,
		Layers: old.Layers, Approve: old.Approve, Fresh: old.Fresh, Record: old.Record}, At(w.Until))
	return i, errors.Join(err, c.record("consent.give", i.ID.String(), string(i.Owner), "", map[string]string{"client": w.Client.ID,
		"upstream": w.Upstream, "actions": strings.Join(w.Actions, " "), "until": w.Until.Format(time.RFC3339)}))
}

// mayConsent refuses what is not the person's to give.
func (c *Change) mayConsent(person identity.Owner, w Connection) error {
	u, err := c.Upstream(w.Upstream)
	if err != nil {
		return missing(err, "upstream", w.Upstream)
	}
	if u.Killed {
		return &Conflict{u.Name + " is cut off: the cord was pulled on it"}
	}
	d, err := c.r.Describe(u)
	if err != nil {
		return err
	}
	limit := u.Limit(person.ID)
	if len(w.Actions) == 0 {
		return &Invalid{"connection", "actions", "choose at least one"}
	}
	for _, name := range w.Actions {
		n := slices.IndexFunc(d.Actions, func(a policy.Action) bool { return a.Name == name })
		if n < 0 {
			return &Invalid{"connection", "actions", fmt.Sprintf("%s has no action %.60q", u.Name, name)}
		}
		if class := policy.ClassOf(u, d.Actions[n]); !slices.Contains(limit, class) {
			return &Conflict{fmt.Sprintf("%s may not let a client %s on %s; its owner can allow it", person.Name, class, u.Name)}
		}
	}
	return nil
}

// FindConnected returns the identity that the client of that person has, or ErrNotFound. One that is
// retired, or has passed to another owner, is none of theirs any more.
func FindConnected(tx *store.Tx, client identity.Client) (identity.Identity, error) {
	mine, err := tx.Identities(store.Filter{Owner: client.Person})
	if err != nil {
		return identity.Identity{}, err
	}
	for _, i := range mine {
		if i.Client.ID == client.ID && i.Client.Person == client.Person && i.State != identity.Retired {
			return i, nil
		}
	}
	return identity.Identity{}, store.ErrNotFound
}

// connected is the client's identity, active until at least the connection ends.
func (c *Change) connected(person identity.Owner, w Connection) (identity.Identity, error) {
	i, err := FindConnected(c.Tx, w.Client)
	if errors.Is(err, store.ErrNotFound) {
		name, err := c.freeName(w.Client)
		if err != nil {
			return i, err
		}
		purpose := fmt.Sprintf("%s, connected by %s", w.Client.Name, person.Name)
		if w.Provider != "" {
			purpose = fmt.Sprintf("%s of %s, on the word of %s", w.Client.Name, person.Name, w.Provider)
		}
		i, _, err = c.PutIdentity(Wanted{Kind: identity.Agent, Name: name, Owner: person.ID, Purpose: purpose,
			Expires: At(w.Until), client: w.Client})
		return i, err
	} else if err != nil {
		return i, err
	}
	switch i.State {
	case identity.Active:
	case identity.Expired:
		old := i.Expires
		i.Expires = w.Until
		if i, err = i.Transition(identity.Active, person, c.Now()); err != nil {
			return i, err
		}
		i.Expires = old
	default:
		return i, &Conflict{fmt.Sprintf("%s is %s; it has to be brought back first (lanyard restore, resume or activate)", i.ID.Name(), i.State)}
	}
	if !i.Expires.Before(w.Until) && i.Client == w.Client {
		return i, nil
	}
	if i.Client = w.Client; i.Expires.Before(w.Until) { // only it: what else it was given ends when that was to end
		i.Expires = w.Until
	}
	i.Version++
	return i, c.Tx.PutIdentity(i)
}

// freeName makes a name of the client's and the person's: claude-maya, claude-maya-2.
func (c *Change) freeName(client identity.Client) (string, error) {
	base := slug(client.Name) + "-" + slug(string(client.Person))
	for n := 1; n < 1000; n++ {
		name := base
		if n > 1 {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		if _, err := c.IdentityByName(name); errors.Is(err, store.ErrNotFound) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
	return "", &Conflict{fmt.Sprintf("there are a thousand identities called %s; retire some", base)}
}

// slug makes of a name for people 1 to 28 of what a name may hold.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	out := b.String()
	if out = strings.Trim(out[:min(len(out), 28)], "-"); out == "" {
		return "client"
	}
	return out
}
