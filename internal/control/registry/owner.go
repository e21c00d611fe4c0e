package registry

import (
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// PutOwner adds or changes an owner. One that becomes gone hands what it owns to
// its backup; what has no living backup is suspended.
func (c *Change) PutOwner(o identity.Owner) (Outcome, error) {
	what := "owner " + string(o.ID)
	slices.Sort(o.Roles)
	o.Roles = slices.Compact(o.Roles)
	if o.State == "" {
		o.State = identity.OwnerActive
	}
	var wrong []error
	bad := func(field, text string) { wrong = append(wrong, &Invalid{what, field, text}) }
	if !identity.ValidName(string(o.ID)) {
		bad("", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit")
	}
	if strings.TrimSpace(o.Name) == "" {
		bad("name", "an owner needs the name people know it by")
	}
	if a, err := mail.ParseAddress(o.Email); err != nil || a.Address != o.Email {
		bad("email", fmt.Sprintf("%q is no email address", o.Email))
	}
	if o.Backup == o.ID && o.ID != "" {
		bad("backup", "an owner cannot stand in for itself; name another, or nobody")
	}
	if len(o.Members) > 0 && !o.Team {
		bad("members", "a person has none; say that it is a team")
	}
	if err := identity.CheckRoles(o.Roles); err != nil {
		bad("roles", err.Error())
	} else if len(o.Roles) > 0 && o.Team {
		bad("roles", "a team signs in nowhere; give them to its members")
	}
	if slices.Contains(o.Members, o.ID) {
		bad("members", "a team is no member of itself; name people")
	}
	if len(wrong) > 0 {
		return Outcome{}, errors.Join(wrong...)
	}
	old, err := c.Owner(o.ID)
	created := errors.Is(err, store.ErrNotFound)
	if created { // what was done for somebody else of that name is not theirs
		old, err = c.Former(o.ID)
	}
	if err != nil {
		return Outcome{}, err
	}
	if o.Roles == nil { // left out, they stay
		o.Roles = old.Roles
	}
	if o.State == identity.OwnerGone {
		o.Roles = nil
	}
	if old.State == identity.OwnerGone && o.State == identity.OwnerActive {
		if u, err := c.DirectoryUserOf(o.ID); err == nil && !u.Active {
			return Outcome{}, &Conflict{fmt.Sprintf("%s has left: the directory %s says so, and brings them back itself", o.ID, u.Directory)}
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return Outcome{}, err
		}
	}
	if len(o.Roles) == 0 {
		o.Roles = nil
	}
	if o.Generation, o.Stopped = old.Generation, old.Stopped; old.State == identity.OwnerActive && o.State == identity.OwnerGone {
		o.Generation++ // nothing is done in the name of who has left
		o.Stopped = c.Now()
	}
	out := compare(old, o, created)
	if old.State != o.State && !created {
		out.Fields = append(out.Fields, Diff{"state", string(old.State), string(o.State)})
	}
	if !out.Changed() {
		return out, nil
	}
	c.backups = append(c.backups, o)
	kind := "owner.change"
	if created {
		kind = "owner.add"
	}
	if err := errors.Join(c.Tx.PutOwner(o), c.record(kind, string(o.ID), string(o.ID), "", out.detail())); err != nil {
		return out, err
	}
	if old.State == identity.OwnerActive && o.State == identity.OwnerGone {
		return out, c.offboard(o)
	}
	if old.State == identity.OwnerGone && o.State == identity.OwnerActive { // what lapsed with the leaving does not come back
		if err := c.takeBack(o.ID, o.Name+" had left since."); err != nil {
			return out, err
		}
	}
	return out, c.rename(o)
}

// checkBackups: two owners may stand in for each other, so this is looked at when both are there.
// Who leaves may have a backup that has left before: its heirs are found one by one.
func (c *Change) checkBackups() (wrong []error) {
	for _, o := range c.backups {
		for _, m := range o.Members {
			member, err := c.Owner(m)
			if errors.Is(err, store.ErrNotFound) {
				err = &Invalid{"owner " + string(o.ID), "members", fmt.Sprintf("there is no owner %q", m)}
			} else if err == nil && member.Team {
				err = &Invalid{"owner " + string(o.ID), "members", string(m) + " is a team; name people"}
			}
			wrong = append(wrong, err)
		}
		if o.Backup == "" {
			continue
		}
		b, err := c.Owner(o.Backup)
		if errors.Is(err, store.ErrNotFound) {
			err = &Invalid{"owner " + string(o.ID), "backup", fmt.Sprintf("there is no owner %q", o.Backup)}
		} else if err == nil && b.State != identity.OwnerActive && o.State == identity.OwnerActive {
			err = &Invalid{"owner " + string(o.ID), "backup", string(o.Backup) + " has left; name another, or nobody"}
		}
		wrong = append(wrong, err)
	}
	c.backups = nil
	return wrong
}

// rename brings the owner's name to the upstreams, which show it to who is refused.
func (c *Change) rename(o identity.Owner) error {
	list, err := c.Upstreams()
	if err != nil {
		return err
	}
	for _, u := range list {
		if u.Owner == o.ID && u.OwnerName != o.Name {
			u.OwnerName = o.Name
			u.Version++
			if err := c.Tx.PutUpstream(u); err != nil {
				return err
			}
		}
	}
	return nil
}

// offboard hands over what a leaving owner owns. A client that runs on the owner's own
// machine is stopped as well: who takes over can look at it and resume it.
func (c *Change) offboard(o identity.Owner) error {
	heir := func(first identity.OwnerID) (identity.Owner, bool) {
		for _, id := range []identity.OwnerID{first, o.Backup} {
			if b, err := c.Owner(id); id != "" && err == nil && b.State == identity.OwnerActive {
				return b, true
			}
		}
		return identity.Owner{}, false
	}
	list, err := c.Identities(store.Filter{Owner: o.ID})
	if err := errors.Join(err, c.EndSessions(store.Ended{Owner: o.ID}), c.EndPasskeys(Person(o.ID)), c.EndSavedViews(Person(o.ID)), c.takeBack(o.ID, o.Name+" has left."), c.endTasksFor(o.ID, o.Name+" has left."), c.forgetOwner(o.ID, o.Name+" has left.")); err != nil {
		return err
	}
	for _, i := range list {
		if i.State == identity.Retired {
			continue
		}
		c.owns(i)
		detail := map[string]string{"owner": string(o.ID) + " → nobody"}
		kind, reason := "identity.suspend", o.Name+" has left and there is no living backup."
		if b, ok := heir(i.Backup); ok {
			i.Owner, i.Backup = b.ID, ""
			kind, reason, detail["owner"] = "identity.assign", o.Name+" has left.", string(o.ID)+" → "+string(b.ID)
			if i.Client.Person == o.ID && i.State == identity.Active {
				if i, err = i.Transition(identity.Suspended, b, c.Now()); err != nil {
					return err
				}
				kind, reason = "identity.suspend", o.Name+" has left, and it is a client that "+o.Name+" connected."
			}
		} else if i.State == identity.Active {
			if i, err = i.Transition(identity.Suspended, o, c.Now()); err != nil {
				return err
			}
		} else {
			continue
		}
		i.Version++
		if err := errors.Join(c.Tx.PutIdentity(i), c.record(kind, i.ID.String(), string(i.Owner), reason, detail)); err != nil {
			return err
		}
	}
	ups, err := c.Upstreams()
	if err != nil {
		return err
	}
	for _, u := range ups {
		b, ok := heir("")
		if u.Owner != o.ID || !ok {
			continue
		}
		u.Owner, u.OwnerName = b.ID, b.Name
		u.Version++
		if err := errors.Join(c.Tx.PutUpstream(u), c.record("upstream.assign", u.Name, string(b.ID), o.Name+" has left.", map[string]string{"owner": string(o.ID) + " → " + string(b.ID)})); err != nil {
			return err
		}
	}
	return nil
}

// named says what has an owner as a member, or in its consent, as a *Conflict: who gets the name later would be that.
func (c *Change) named(id identity.OwnerID, owners []identity.Owner) error {
	for _, o := range owners {
		if slices.Contains(o.Members, id) {
			return &Conflict{fmt.Sprintf("owner %s is a member of the team %s; take them out of it first", id, o.ID)}
		}
	}
	upstreams, err := c.Upstreams()
	if err != nil {
		return err
	}
	for _, u := range upstreams {
		if slices.Contains(u.Consent.Owners, id) {
			return &Conflict{fmt.Sprintf("owner %s is in the consent of the upstream %s; take them out of it first", id, u.Name)}
		}
	}
	return nil
}

// RemoveOwner removes an owner that owns nothing, stands in for nobody, and is in no team and no consent.
func (c *Change) RemoveOwner(id identity.OwnerID) error {
	all, err := c.Owners()
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Backup == id {
			return &Conflict{fmt.Sprintf("owner %s is the backup of %s; give that one another first", id, o.ID)}
		}
	}
	identities, err := c.Identities(store.Filter{})
	if err != nil {
		return err
	}
	for _, i := range identities {
		if i.Backup == id && i.State != identity.Retired {
			return &Conflict{fmt.Sprintf("owner %s is the backup of the identity %s; give that one another first", id, i.ID.Name())}
		}
	}
	providers, err := c.Providers()
	if err != nil {
		return err
	}
	for _, p := range providers {
		for _, o := range p.People {
			if o == id {
				return &Conflict{fmt.Sprintf("the provider %s has people who are owner %s; take them out of it first", p.Name, id)}
			}
		}
	}
	if err := c.named(id, all); err != nil {
		return err
	}
	const removed = "The owner was removed." // who gets the same name later is another
	if u, err := c.DirectoryUserOf(id); err == nil {
		if err := c.DeleteDirectoryUser(u.ID); err != nil {
			return err
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := errors.Join(c.EndSessions(store.Ended{Owner: id}), c.EndPasskeys(Person(id)), c.EndSavedViews(Person(id)), c.endTasksFor(id, removed), c.forgetOwner(id, removed), c.takeBack(id, removed)); err != nil {
		return err
	}
	err = c.DeleteOwner(id)
	if errors.Is(err, store.ErrInUse) {
		return &Conflict{fmt.Sprintf("owner %s still owns something; assign that to another owner first, or mark it gone: its backup takes over", id)}
	}
	if err != nil {
		return missing(err, "owner", string(id))
	}
	return c.record("owner.remove", string(id), string(id), "", nil)
}
