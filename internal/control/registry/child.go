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

const (
	defaultChildLife = time.Hour
	maxChildren      = 100_000
	maxDepth         = identity.MaxChain - 2 // whoever is lowest still has room in its chain for the first one, and a person
)

// Spawn is a child as an identity wants to start it.
type Spawn struct {
	Word     string // in its name, for people; may be empty
	Purpose  string
	Key      []byte             // its own public key, a JWK
	Expires  End                // default an hour, or its parent's end
	Children *identity.Children // how many it may start itself; default what its parent may, one level less
	Grants   []Lent             // what it may do of what its parent may; none: all of it
}

// Lent is a grant of a child.
type Lent struct {
	policy.Grant     // without ID, Identity and Until
	Until        End // default and at most the child's end
}

// Spawned is a child, and what it can ask tokens for at first.
type Spawned struct {
	identity.Identity
	Credential identity.Credential
	Upstreams  []string
}

// Spawn registers a child of an identity: with a key and a name of its own, its parent's
// kind, owner and environment, and an end that is no later. What it may do is asked anew
// of it and of all above it with each call, so nothing here compares rights.
func (c *Change) Spawn(parent identity.ID, s Spawn) (out Spawned, err error) {
	line, err := c.line(parent)
	if err != nil {
		return out, err
	}
	p := line[0]
	for _, i := range line {
		c.by.chain = append(c.by.chain, i.ID.String())
	}
	may, err := c.allowance(line)
	if err != nil {
		return out, err
	}
	what := "child of " + p.ID.Name()
	i := identity.Identity{State: identity.Pending, Owner: p.Owner, Backup: p.Backup, Environment: p.Environment, Purpose: strings.TrimSpace(s.Purpose),
		Created: c.Now(), Parent: identity.Link{ID: p.ID, Generation: p.Generation}, Inherits: len(s.Grants) == 0, Version: 1}
	if i.Purpose == "" {
		return out, &Invalid{what, "purpose", "say in one sentence what it is for"}
	}
	if len(s.Key) == 0 {
		return out, &Invalid{what, "public_key", "it needs a key of its own"}
	}
	if i.ID, err = c.childID(line, s.Word); err != nil {
		return out, err
	}
	if i.Expires = For(defaultChildLife).From(c.Now()); !s.Expires.Zero() {
		if i.Expires = s.Expires.From(c.Now()); i.Expires.After(p.Expires) {
			return out, &Invalid{what, "expires", fmt.Sprintf("%s is after %s itself ends (%s)", i.Expires.Format(time.RFC3339), p.ID.Name(), p.Expires.Format(time.RFC3339))}
		}
	}
	if i.Expires.After(p.Expires) {
		i.Expires = p.Expires
	}
	if !i.Expires.After(c.Now()) {
		return out, &Invalid{what, "expires", i.Expires.Format(time.RFC3339) + " has passed; give a later time"}
	}
	if may.Depth > 1 {
		i.Children = identity.Children{AtOnce: may.AtOnce, Depth: may.Depth - 1}
	}
	if s.Children != nil {
		if i.Children.Among(*s.Children) != *s.Children || s.Children.AtOnce < 0 || s.Children.Depth < 0 {
			return out, &Invalid{what, "children", fmt.Sprintf("it may have at most %d at once, %d deep", i.Children.AtOnce, i.Children.Depth)}
		}
		i.Children = *s.Children
	}
	owner, err := c.Owner(i.Owner)
	if err != nil {
		return out, err
	}
	if i, err = i.Transition(identity.Active, owner, c.Now()); err != nil {
		return out, err
	}
	if err := c.Tx.PutIdentity(i); err != nil {
		return out, err
	}
	out.Identity = i
	if out.Credential, _, err = c.addCredential(i, Proof{PublicKey: s.Key}); err != nil {
		return out, err
	}
	detail := credentialDetail(out.Credential)
	delete(detail, "kind")
	detail["parent"], detail["purpose"], detail["grants"] = p.ID.String(), i.Purpose, "its parent's"
	if !i.Inherits {
		detail["grants"] = fmt.Sprint(len(s.Grants))
	}
	if err := c.record("identity.register", i.ID.String(), string(i.Owner), "", detail); err != nil {
		return out, err
	}
	out.Upstreams, err = c.lend(line, i, s.Grants)
	return out, err
}

// EndChild retires a child, with all below it, for itself or for anyone above it. What
// is nobody's child, or another's, is not there.
func (c *Change) EndChild(by identity.ID, ref string) (identity.Identity, error) {
	i, err := FindIdentity(c.Tx, ref)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return i, err
	}
	for at := i; err == nil && !at.Parent.ID.IsZero(); {
		if i.ID == by || at.Parent.ID == by {
			return c.Transition(i.ID.String(), identity.Retired, "retire", "Its work is done.", End{})
		}
		at, err = c.Identity(at.Parent.ID)
	}
	return identity.Identity{}, &Missing{"identity", ref}
}

// childID makes an ID that nobody can guess or has: root.word-ab12...
func (c *Change) childID(line []identity.Identity, word string) (identity.ID, error) {
	if word != "" && (!identity.ValidName(word) || len(word) > 16) {
		return identity.ID{}, &Invalid{"child of " + line[0].ID.Name(), "name", fmt.Sprintf("%.64q is no word: 1 to 16 of a-z 0-9 . _ -, beginning and ending with a letter or digit", word)}
	}
	root := line[len(line)-1].ID
	stem := root.Name()
	stem = strings.TrimRight(stem[:min(len(stem), 30)], "._-") + "."
	if word != "" {
		stem += word + "-"
	}
	name, err := c.newID(stem)
	if err != nil {
		return identity.ID{}, err
	}
	if _, err := c.IdentityByName(name); !errors.Is(err, store.ErrNotFound) {
		return identity.ID{}, errors.Join(err, errors.New("a random name is taken"))
	}
	return identity.NewID(c.r.Domain, root.Kind(), name)
}

// lend gives a child its grants, and says on which upstreams it has something to ask for.
func (c *Change) lend(line []identity.Identity, i identity.Identity, grants []Lent) (upstreams []string, err error) {
	held, err := c.held(line)
	if err != nil {
		return nil, err
	}
	if i.Inherits {
		return held, nil
	}
	taken := map[string]int{}
	for n, g := range grants {
		// What else there is, is not its to know.
		if !slices.Contains(held, g.Upstream) {
			return nil, &Invalid{"child of " + line[0].ID.Name(), fmt.Sprintf("grants[%d].upstream", n), fmt.Sprintf("%s holds no grant on %.64q that is still in force", line[0].ID.Name(), g.Upstream)}
		}
		name := g.Upstream
		if taken[name]++; taken[name] > 1 {
			name = fmt.Sprintf("%.58s-%d", name, taken[name])
		} else {
			upstreams = append(upstreams, name)
		}
		g.Grant.Plain = true
		if _, _, err := c.PutGrant(i.ID.String(), name, g.Grant, g.Until); err != nil {
			return nil, err
		}
	}
	return upstreams, nil
}

// held is the upstreams on which the first of a line has a grant, or whoever it has its rights of.
func (c *Change) held(line []identity.Identity) (upstreams []string, err error) {
	for _, i := range line {
		if i.Inherits {
			continue
		}
		grants, err := c.Grants(i.ID)
		for _, g := range grants {
			if !g.Ended(c.Now()) && !slices.Contains(upstreams, g.Upstream) {
				upstreams = append(upstreams, g.Upstream)
			}
		}
		return upstreams, err
	}
	return nil, nil
}

// line is an identity and those that started it; an error says why they may not act.
func (c *Change) line(id identity.ID) (line []identity.Identity, err error) {
	for at := (identity.Link{ID: id}); len(line) < identity.MaxChain; {
		i, err := c.Identity(at.ID)
		if err != nil {
			return nil, missing(err, "identity", at.ID.Name())
		}
		if err := i.Usable(c.Now()); err != nil {
			return nil, &Conflict{err.Error()}
		}
		if len(line) > 0 && i.Generation != at.Generation {
			return nil, &Conflict{i.ID.Name() + " was stopped, and what it had started ended with that"}
		}
		if line = append(line, i); i.Parent.ID.IsZero() {
			return line, nil
		}
		at = i.Parent
	}
	return nil, &Conflict{id.Name() + " has too many above it"}
}

// allowance is how many children the first of a line may have, by what all of the line
// may have as things are, or says why it may have no other now.
func (c *Change) allowance(line []identity.Identity) (identity.Children, error) {
	p := line[0]
	may := p.Children
	for depth, above := range line {
		may = may.Among(identity.Children{AtOnce: above.Children.AtOnce, Depth: above.Children.Depth - depth})
		if may.AtOnce > 0 && may.Depth > 0 {
			continue
		}
		if depth == 0 {
			return may, &Conflict{fmt.Sprintf("%s may start no children; an operator can allow it some (children of the identity)", p.ID.Name())}
		}
		return may, &Conflict{fmt.Sprintf("%s may start no children: it is %d below %s, which may have %d at once, %d deep; an operator can allow more", p.ID.Name(), depth, above.ID.Name(), above.Children.AtOnce, above.Children.Depth)}
	}
	if len(line) >= identity.MaxChain-1 {
		return may, &Conflict{fmt.Sprintf("%s may start no children: nobody is more than %d below the first", p.ID.Name(), maxDepth)}
	}
	n, err := c.CountChildren(p.ID, may.AtOnce)
	if err == nil && n >= may.AtOnce {
		err = &Conflict{fmt.Sprintf("%s has %d children at once, which is all it may have: one has to end first, or an operator allows more", p.ID.Name(), n)}
	}
	return may, err
}

// checkChild finds what is wrong with how many children i may have, and, when i is a
// child itself, with what it has of its parent.
func (c *Change) checkChild(i, old identity.Identity, bad func(field, text string)) error {
	if k := i.Children; k != old.Children && k != (identity.Children{}) {
		if k.AtOnce < 1 || k.AtOnce > maxChildren {
			bad("children", fmt.Sprintf("at_once is 1 to %d; leave children out for none", maxChildren))
		} else if k.Depth < 1 || k.Depth > maxDepth {
			bad("children", fmt.Sprintf("depth is 1 to %d: 1 is children, 2 theirs too", maxDepth))
		}
	}
	if old.Parent.ID.IsZero() {
		return nil
	}
	parent := old.Parent.ID.Name()
	for field, same := range map[string]bool{"owner": i.Owner == old.Owner, "backup": i.Backup == old.Backup, "environment": i.Environment == old.Environment} {
		if !same {
			bad(field, fmt.Sprintf("it is that of %s, which started it; change it there", parent))
		}
	}
	if i.Set != "" {
		bad("", fmt.Sprintf("it was started by %s, and no manifest manages it", parent))
	}
	p, err := c.Identity(old.Parent.ID)
	if err == nil && i.Expires.After(p.Expires) && !i.Expires.Equal(old.Expires) {
		bad("expires", fmt.Sprintf("%s is after %s ends, which started it (%s)", i.Expires.Format(time.RFC3339), parent, p.Expires.Format(time.RFC3339)))
	}
	return err
}

// follow brings to all that descend from i what they have of it: owner, backup and
// environment, and an end that is no later.
func (c *Change) follow(old, i identity.Identity) error {
	if old.Owner == i.Owner && old.Backup == i.Backup && old.Environment == i.Environment && !i.Expires.Before(old.Expires) {
		return nil
	}
	list, err := c.Descendants(i.ID, 0)
	if err != nil {
		return err
	}
	for _, was := range list {
		if was.State == identity.Retired {
			continue
		}
		k := was
		c.owns(was)
		k.Owner, k.Backup, k.Environment = i.Owner, i.Backup, i.Environment
		if k.Expires.After(i.Expires) {
			k.Expires = i.Expires
		}
		out := compare(was, k, false)
		if !out.Changed() {
			continue
		}
		k.Version++
		if err := errors.Join(c.Tx.PutIdentity(k), c.moveCredentials(was, k), c.record("identity.change", k.ID.String(), string(k.Owner), "It follows "+i.ID.Name()+".", out.detail())); err != nil {
			return err
		}
	}
	return nil
}

// bereft says why a child can never act again, if so: it ended with who started it. A
// parent that is only suspended, or has expired, takes it along when it comes back.
func (c *Change) bereft(i identity.Identity) (why string, err error) {
	for child := i; !child.Parent.ID.IsZero(); {
		p, err := c.Identity(child.Parent.ID)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Sprintf("%s was started by %s, which is no more", child.ID.Name(), child.Parent.ID.Name()), nil
		} else if err != nil {
			return "", err
		}
		if p.Generation != child.Parent.Generation || p.State == identity.Killed || p.State == identity.Retired {
			return fmt.Sprintf("it ended for good with %s, which had started %s and was stopped since; that can start another", p.ID.Name(), child.ID.Name()), nil
		}
		child = p
	}
	return "", nil
}

// retireBelow ends for good what a retired identity had started.
func (c *Change) retireBelow(i identity.Identity) error {
	list, err := c.Descendants(i.ID, 0)
	if err != nil {
		return err
	}
	reason := "It was started by " + i.ID.Name() + ", which is retired."
	for _, k := range list {
		if k.State == identity.Retired {
			continue
		}
		from := k.State
		if k, err = k.Transition(identity.Retired, identity.Owner{}, c.Now()); err != nil {
			return err
		}
		k.Version++
		if err := errors.Join(c.Tx.PutIdentity(k), c.record("identity.retire", k.ID.String(), string(k.Owner), reason, map[string]string{"state": string(from) + " → " + string(k.State)}), c.endAll(k, reason)); err != nil {
			return err
		}
	}
	return nil
}
