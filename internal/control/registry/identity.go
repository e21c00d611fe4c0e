package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Wanted is an identity as somebody wants it.
type Wanted struct {
	Kind          identity.Kind
	Name          string
	Owner, Backup identity.OwnerID
	Purpose       string
	Environment   string // default production
	Expires       End    // default DefaultExpiry
	Set           string
	Tasks         string            // "required", or empty
	Children      identity.Children // how many it may start; default none
	Pending       bool              // register only; do not let it act yet
	client        identity.Client
}

// PutIdentity registers an identity, and lets it act unless Pending, or changes
// one. Its state is nobody's to put: see Transition, Kill and Restore.
func (c *Change) PutIdentity(w Wanted) (identity.Identity, Outcome, error) {
	what := "identity " + w.Name
	id, err := identity.NewID(c.r.Domain, w.Kind, w.Name)
	if err != nil {
		return identity.Identity{}, Outcome{}, &Invalid{what, "", err.Error()}
	}
	old, err := c.IdentityByName(w.Name)
	created := errors.Is(err, store.ErrNotFound)
	switch {
	case err != nil && !created:
		return old, Outcome{}, err
	case !created && old.ID != id:
		return old, Outcome{}, &Invalid{what, "kind", fmt.Sprintf("the name belongs to %s; a kind never changes: use another name", old.ID)}
	case old.State == identity.Retired:
		return old, Outcome{}, &Conflict{fmt.Sprintf("%s is retired, and its name stays taken so that the record stays clear; use another name", w.Name)}
	}
	i := old
	c.owns(old)
	if created {
		i = identity.Identity{ID: id, State: identity.Pending, Created: c.Now(), Client: w.client}
	}
	i.Owner, i.Backup, i.Purpose, i.Environment, i.Set = w.Owner, w.Backup, strings.TrimSpace(w.Purpose), w.Environment, w.Set
	i.Tasks, i.Children = w.Tasks, w.Children
	if i.Environment == "" {
		i.Environment = "production"
	}
	if w.Expires.Zero() && created {
		w.Expires = For(c.r.defaultExpiry())
	}
	if !w.Expires.Zero() {
		i.Expires = w.Expires.Keep(old.Created, old.Expires, c.Now())
	}
	owner, err := c.checkIdentity(what, i, old)
	if err != nil {
		return old, Outcome{}, err
	}
	if created && !w.Pending {
		if i, err = i.Transition(identity.Active, owner, c.Now()); err != nil {
			return old, Outcome{}, err
		}
	}
	out := compare(old, i, created)
	if !out.Changed() {
		return old, out, nil
	}
	i.Version++
	kind := "identity.change"
	if created {
		kind = "identity.register"
	}
	err = errors.Join(c.Tx.PutIdentity(i), c.record(kind, i.ID.String(), string(i.Owner), "", out.detail()))
	if err == nil && !created {
		err = errors.Join(c.moveCredentials(old, i), c.follow(old, i))
	}
	return i, out, err
}

func (r *Registry) defaultExpiry() time.Duration {
	if r.DefaultExpiry <= 0 {
		return min(90*24*time.Hour, r.maxExpiry())
	}
	return r.DefaultExpiry
}

func (r *Registry) maxExpiry() time.Duration {
	if r.MaxExpiry <= 0 {
		return 365 * 24 * time.Hour
	}
	return r.MaxExpiry
}

// checkIdentity returns the owner, or everything that is wrong.
func (c *Change) checkIdentity(what string, i, old identity.Identity) (identity.Owner, error) {
	var wrong []error
	bad := func(field, text string) { wrong = append(wrong, &Invalid{what, field, text}) }
	known := func(field string, id identity.OwnerID) (identity.Owner, error) {
		o, err := c.Owner(id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			bad(field, fmt.Sprintf("there is no owner %q", id))
		case err != nil:
			return o, err
		case o.State != identity.OwnerActive:
			bad(field, fmt.Sprintf("%s has left; name another", id))
		}
		return o, nil
	}
	owner, err := known("owner", i.Owner)
	if err == nil && i.Backup != "" {
		_, err = known("backup", i.Backup)
	}
	if err != nil {
		return owner, err
	}
	if i.Backup == i.Owner {
		bad("backup", "the owner cannot be its own backup; name another, or nobody")
	}
	if err := c.checkChild(i, old, bad); err != nil {
		return owner, err
	}
	if i.Purpose == "" {
		bad("purpose", "say in one sentence what it is for")
	}
	if i.Tasks != "" && i.Tasks != identity.TasksRequired {
		bad("tasks", fmt.Sprintf("%q: use required, or leave it out", i.Tasks))
	}
	if !identity.ValidName(i.Environment) {
		bad("environment", fmt.Sprintf("%q is no name: 1 to 64 of a-z 0-9 . _ -", i.Environment))
	}
	if !i.Expires.Equal(old.Expires) {
		if !i.Expires.After(c.Now()) {
			bad("expires", fmt.Sprintf("%s has passed; give a later time", i.Expires.Format(time.RFC3339)))
		} else if latest := c.Now().Add(c.r.maxExpiry()); i.Expires.After(latest) {
			bad("expires", fmt.Sprintf("%s is further away than the %s allowed here; it can be renewed before it ends", i.Expires.Format(time.DateOnly), days(c.r.maxExpiry())))
		}
	}
	return owner, errors.Join(wrong...)
}

func days(d time.Duration) string { return fmt.Sprintf("%d days", d/(24*time.Hour)) }

// Transition moves an identity to another state: Active (activate, resume),
// Suspended or Retired. Its end is renewed with it when expires says so.
func (c *Change) Transition(ref string, to identity.State, verb, reason string, expires End) (identity.Identity, error) {
	old, err := FindIdentity(c.Tx, ref)
	if err != nil {
		return old, err
	}
	if to == identity.Active {
		if why, err := c.bereft(old); err != nil {
			return old, err
		} else if why != "" {
			return old, &Conflict{why}
		}
	}
	if old.State == identity.Killed && (to == identity.Active || to == identity.Suspended) {
		return old, &Conflict{fmt.Sprintf("%s was killed; lanyard restore %s brings it back, with new credentials only", old.ID.Name(), old.ID.Name())}
	}
	if old.State == identity.Pending && verb == "resume" { // who may end a suspension may not let it begin
		return old, &Conflict{fmt.Sprintf("%s is pending and not suspended; lanyard identity activate %s lets it act", old.ID.Name(), old.ID.Name())}
	}
	i := old
	detail := map[string]string{"state": string(old.State) + " → " + string(to)}
	owner, err := c.Owner(i.Owner)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return old, err
	}
	if !expires.Zero() {
		i.Expires = expires.From(c.Now())
		if _, err := c.checkIdentity("identity "+i.ID.Name(), i, old); err != nil {
			return old, err
		}
		detail["expires"] = old.Expires.Format(time.RFC3339) + " → " + i.Expires.Format(time.RFC3339)
	}
	if i.State != to {
		if i, err = i.Transition(to, owner, c.Now()); err != nil {
			return old, err
		}
	} else if expires.Zero() {
		return old, nil // it is so already
	}
	i.Version++
	if err := errors.Join(c.Tx.PutIdentity(i), c.record("identity."+verb, i.ID.String(), string(i.Owner), reason, detail)); err != nil {
		return old, err
	}
	if to == identity.Retired {
		return i, errors.Join(c.endAll(i, reason), c.retireBelow(i))
	}
	return i, errors.Join(c.moveCredentials(old, i), c.follow(old, i))
}

// endAll revokes what a retired identity had.
func (c *Change) endAll(i identity.Identity, reason string) error {
	credentials, err := c.Credentials(i.ID)
	if err != nil {
		return err
	}
	for _, k := range credentials {
		if k.Revoked.IsZero() {
			if err := c.RevokeCredential(k.ID, reason); err != nil {
				return err
			}
		}
	}
	grants, err := c.Grants(i.ID)
	if err != nil {
		return err
	}
	for _, g := range grants {
		if err := c.RevokeGrant(g.ID, reason); err != nil {
			return err
		}
	}
	for _, state := range []policy.TaskState{policy.TaskOpen, policy.TaskWaiting} {
		tasks, err := c.Tasks(store.TaskFilter{Identity: i.ID, State: state})
		for _, t := range tasks {
			err = errors.Join(err, c.closeTask(t, reason))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// endAfter is when a credential ends once its identity ends at to and not at from any more.
func endAfter(k identity.Credential, from, to time.Time) time.Time {
	switch {
	case k.Expires.After(to):
		return to
	case !k.Expires.Equal(from):
	case k.Kind == identity.PrivateKeyJWT:
		return to
	case k.NotAfter != nil && to.After(*k.NotAfter):
		return *k.NotAfter
	case k.NotAfter != nil:
		return to
	}
	return k.Expires // what is shown as it is, and what a person agreed to, gets no longer by itself
}

// moveCredentials moves the end of those credentials that ended with their identity, or would outlive it.
func (c *Change) moveCredentials(old, i identity.Identity) error {
	if i.Expires.Equal(old.Expires) {
		return nil
	}
	list, err := c.Credentials(i.ID)
	if err != nil {
		return err
	}
	for _, k := range list {
		if end := endAfter(k, old.Expires, i.Expires); k.Revoked.IsZero() && !end.Equal(k.Expires) {
			k.Expires = end
			if err := c.PutCredential(k); err != nil {
				return err
			}
		}
	}
	grants, err := c.Grants(i.ID)
	for _, g := range grants {
		if g.Until.Equal(old.Expires) || g.Until.After(i.Expires) {
			g.Until = i.Expires
			u, missing := c.Upstream(g.Upstream)
			g, wrong := c.compile(g, u) // its end stands in its Cedar, too
			if err = errors.Join(err, missing, wrong); err == nil {
				err = c.Tx.PutGrant(g)
			}
		}
	}
	return err
}

// Expire stops what has come to its end. The end itself needs no such help, it
// is looked at on every request; this is for the state and the record. It
// returns when the next one ends, zero if none does.
func (r *Registry) Expire(ctx context.Context) (next time.Time, err error) {
	for more := true; more && err == nil; {
		next, more, err = r.expire(ctx)
	}
	return next, err
}

// expire does as much of it as others should have to wait for.
func (r *Registry) expire(ctx context.Context) (next time.Time, more bool, err error) {
	_, err = r.Do(ctx, Self, func(c *Change) error {
		list, err := c.Expiring(tidied)
		if err != nil {
			return err
		}
		for _, i := range list {
			if i, err = i.Transition(identity.Expired, identity.Owner{}, c.Now()); err != nil {
				return err
			}
			i.Version++
			if err := errors.Join(c.Tx.PutIdentity(i), c.record("identity.expire", i.ID.String(), string(i.Owner), "Its end has come; its owner can renew it.", nil)); err != nil {
				return err
			}
		}
		if more, err = c.endTasks(); err != nil {
			return err
		}
		more = more || len(list) == tidied
		for _, first := range []func() (int64, error){c.NextExpiry, c.NextTaskEnd} {
			at, err := first()
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if t := time.UnixMicro(at).UTC(); err == nil && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
		return nil
	})
	return next, more, err
}
