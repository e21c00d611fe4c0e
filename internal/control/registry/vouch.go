package registry

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Vouched is what a provider said, when it is certain that it did.
type Vouched struct {
	Provider identity.Provider // as it was when its word was judged
	Key      string            // what the assertion is known by, which is good once
	Ends     time.Time
	Client   identity.Client
	Upstream string
}

// Untrusted says why a provider's word counts for nothing, for the record: not for who shows it.
type Untrusted struct{ Text string }

func (e *Untrusted) Error() string { return e.Text }

// Allowance is what a client gets on one provider's word for one person.
type Allowance struct {
	Classes []policy.Class
	Actions map[string][]string // by upstream: the one it is for, and those that one joins
}

// Allowance finds what provider and upstream let a client of that person do: what
// both allow, and what is needed to open the door at all. Nothing is an *Untrusted.
func (r *Registry) Allowance(tx *store.Tx, p identity.Provider, person identity.OwnerID, upstream string) (a Allowance, err error) {
	u, err := tx.Upstream(upstream)
	if errors.Is(err, store.ErrNotFound) {
		return a, &Untrusted{fmt.Sprintf("there is no upstream %q", upstream)}
	} else if err != nil {
		return a, err
	}
	a.Actions = map[string][]string{}
	basic := map[string][]string{}
	add := func(u policy.Upstream) (joined []string, err error) {
		d, err := r.Describe(u)
		limit := u.Limit(person)
		for _, action := range d.Actions {
			class := policy.ClassOf(u, action)
			switch {
			case u.Killed || !slices.Contains(limit, class):
			case action.Basic:
				basic[u.Name] = append(basic[u.Name], action.Name)
			case slices.Contains(p.Limit(), string(class)):
				a.Actions[u.Name] = append(a.Actions[u.Name], action.Name)
				if !slices.Contains(a.Classes, class) {
					a.Classes = append(a.Classes, class)
				}
			}
		}
		return d.Joined, err
	}
	joined, err := add(u)
	if err != nil {
		return a, err
	}
	if len(joined) > 0 && len(basic[u.Name]) > 0 { // the door is the person's to open
		for _, name := range joined {
			m, err := tx.Upstream(name)
			if err == nil {
				_, err = add(m)
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return a, err
			}
		}
	}
	if len(a.Classes) == 0 {
		return a, &Untrusted{fmt.Sprintf("%s may not connect a client to %s on the word of %s: look at the upstream's owner and consent, its cord, and the provider's scopes", person, upstream, p.Name)}
	}
	for name, actions := range basic {
		if a.Actions[name] != nil || name == u.Name {
			a.Actions[name] = append(a.Actions[name], actions...)
		}
	}
	return a, nil
}

// Vouch uses up a provider's word: the client of that person has an identity, as
// after [Change.Connect], for as long as the provider's entry says, and a credential
// that stands on the word. One that was used before is an *Untrusted.
func (c *Change) Vouch(v Vouched) (identity.Credential, error) {
	none := identity.Credential{}
	p, err := c.Provider(v.Provider.Name)
	if errors.Is(err, store.ErrNotFound) || err == nil && !p.May(identity.IDJAG) {
		return none, &Untrusted{fmt.Sprintf("the provider %s is removed or disabled", v.Provider.Name)}
	} else if err != nil {
		return none, err
	}
	if !reflect.DeepEqual(p, v.Provider) { // whose keys, and whom it may speak of
		return none, &Untrusted{fmt.Sprintf("the provider %s has changed since its word was judged", p.Name)}
	}
	if !c.Now().Before(v.Ends) { // what is used up is remembered no longer than this
		return none, &Untrusted{"the assertion has expired"}
	}
	var used bool
	if _, err := c.Ticket(store.UsedAssertion, v.Key, &used); err == nil {
		return none, &Untrusted{"the assertion was used before"}
	} else if !errors.Is(err, store.ErrNotFound) {
		return none, err
	}
	a, err := c.r.Allowance(c.Tx, p, v.Client.Person, v.Upstream)
	if err != nil {
		return none, err
	}
	life, err := ParseEnd(p.Life)
	if err != nil {
		return none, err
	}
	until := c.Now().Add(min(life.life, c.r.maxExpiry()))
	var i identity.Identity
	for _, name := range slices.Sorted(maps.Keys(a.Actions)) {
		if i, err = c.vouched(Connection{Client: v.Client, Upstream: name, Actions: a.Actions[name], Until: until, Provider: p.Name}); err != nil {
			return none, err
		}
	}
	k, err := c.standing(i, p.Name, v.Key, until)
	if err != nil {
		return none, err
	}
	c.by.Name = i.ID.String()
	return k, errors.Join(c.PutTicket(store.UsedAssertion, v.Key, v.Ends, true),
		c.record("assertion.use", i.ID.String(), string(i.Owner), "", map[string]string{"provider": p.Name, "client": v.Client.ID, "upstream": v.Upstream, "credential": k.ID}))
}

// vouched is Connect, but writes nothing while what it would write is there and has
// most of its time before it: a client asks for a token every few minutes.
func (c *Change) vouched(w Connection) (identity.Identity, error) {
	i, err := FindConnected(c.Tx, w.Client)
	if errors.Is(err, store.ErrNotFound) {
		err = c.mayBear(w.Client.Person)
	}
	if err != nil {
		return i, err
	}
	if i.State == identity.Active && i.Client == w.Client {
		g, err := c.Grant(i.ID.Name() + "/" + w.Upstream)
		if err == nil && g.Plain && g.Upstream == w.Upstream && slices.Equal(g.Actions, w.Actions) && lasting(g.Until, c.Now(), w.Until) && !i.Expires.Before(g.Until) &&
			len(g.Resources) == 0 && len(g.Where) == 0 {
			return i, nil
		}
	}
	return c.Connect(w)
}

// mayBear refuses a birth on a provider's word, where nobody is asked, while the cord
// is pulled on something else of that person's: or a kill of all that is theirs would not last.
func (c *Change) mayBear(person identity.OwnerID) error {
	killed, err := c.Identities(store.Filter{Owner: person, State: identity.Killed, Limit: 1})
	if err == nil && len(killed) > 0 {
		err = &Untrusted{fmt.Sprintf("%s of %s is killed, and until it is restored or retired no new client of theirs is connected without asking", killed[0].ID.Name(), person)}
	}
	return err
}

// lasting reports whether has is close enough to until: what is left is not less by a tenth, or a day.
func lasting(has, now, until time.Time) bool {
	slack := min(until.Sub(now)/10, 24*time.Hour)
	return !has.Before(until.Add(-slack)) && !has.After(until)
}

// standing is the identity's credential that stands on the provider's word.
func (c *Change) standing(i identity.Identity, provider, key string, until time.Time) (identity.Credential, error) {
	all, err := c.Credentials(i.ID)
	if err != nil {
		return identity.Credential{}, err
	}
	for _, k := range all {
		if k.Kind != identity.Vouched || k.Provider != provider || k.Usable(c.Now()) != nil {
			continue
		}
		if lasting(k.Expires, c.Now(), until) {
			return k, nil
		}
		k.Expires = until
		return k, c.PutCredential(k)
	}
	k := identity.Credential{Identity: i.ID, Kind: identity.Vouched, Provider: provider, Thumbprint: store.TicketHash(key), Created: c.Now(), Expires: until}
	if k.ID, err = c.newID(identity.CredentialPrefix); err != nil {
		return k, err
	}
	return k, errors.Join(c.PutCredential(k), c.record("credential.add", i.ID.String(), string(i.Owner), "",
		map[string]string{"credential": k.ID, "kind": string(k.Kind), "provider": provider, "expires": k.Expires.Format(time.RFC3339)}))
}
