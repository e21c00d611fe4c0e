package registry

import (
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Taken says that something is unique, and another's (RFC 7644 section 3.12, uniqueness).
type Taken struct{ Text string }

func (e *Taken) Error() string { return e.Text }

// PutDirectoryUser has a directory tell of a person: of one without an ID for the first time. They become an owner, or are the one with the
// same email address that nobody told of yet. One who is active no more leaves, with all that this means; one who is again, comes back.
func (c *Change) PutDirectoryUser(d identity.Directory, u store.DirectoryUser) (store.DirectoryUser, error) {
	u.Directory = d.Name
	if err := c.checkUser(d, u); err != nil {
		return u, err
	}
	old, err := c.toldOf(d, &u)
	if err != nil {
		return u, err
	}
	o, err := c.Owner(u.Owner)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return u, err
	}
	u.Changed, u.Version = old.Changed, old.Version
	told := compare(old, u, old.ID == "")
	known, before := o.ID != "", o.State
	o.ID, o.Name, o.Email = u.Owner, u.Called(), u.Email()
	back := !old.Active // and active now: it said that they left, and says that they are back
	if old.ID == "" {   // then what it said before it knew nothing of them any more
		back = !known || before == identity.OwnerActive || o.Left == d.Name
	}
	if old.ID == "" || old.Active != u.Active { // else somebody here may have said that they have left
		o.State = identity.OwnerGone
	}
	if u.Active && o.State == identity.OwnerGone && back {
		o.State, o.Left = identity.OwnerActive, ""
		if b, err := c.Owner(o.Backup); o.Backup != "" && (errors.Is(err, store.ErrNotFound) || err == nil && b.State != identity.OwnerActive) {
			o.Backup = "" // who would stand in has left meanwhile
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return u, err
		}
	}
	if before == identity.OwnerActive && o.State == identity.OwnerGone {
		o.Left = d.Name
	}
	if told.Changed() || old.Active != u.Active {
		u.Changed = c.Now()
		u.Version++
		if err := c.Tx.PutDirectoryUser(u); errors.Is(err, store.ErrExists) {
			return u, &Taken{"another user has this userName"}
		} else if err != nil {
			return u, err
		}
	}
	out, err := c.PutOwner(o)
	if err == nil && u.Version != old.Version && !out.Changed() { // what only the directory knows has its event, too
		err = c.record("directory.user", string(u.Owner), string(u.Owner), "", told.detail())
	}
	return u, err
}

// checkUser says what is wrong with what is told of a person.
func (c *Change) checkUser(d identity.Directory, u store.DirectoryUser) error {
	bad := func(field, text string) error { return &Invalid{"user", field, text} }
	for field, s := range map[string]string{"userName": u.UserName, "externalId": u.External, "displayName": u.Display, "name.formatted": u.Formatted, "name.givenName": u.Given, "name.familyName": u.Family} {
		if len(s) > 256 || strings.ContainsFunc(s, unicode.IsControl) {
			return bad(field, "it is longer than 256 bytes, or has a character that cannot be seen")
		}
	}
	if strings.TrimSpace(u.UserName) == "" {
		return bad("userName", "a user needs one")
	}
	if len(u.Emails) > 20 {
		return bad("emails", "there are more than 20")
	}
	email := u.Email()
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email || len(email) > 254 {
		return bad("emails", "a person is told at an email address, and known by it: give emails, or a userName that is one")
	}
	if !d.AnswersFor(email) {
		return bad("emails", fmt.Sprintf("%s is of a domain that the directory %s does not answer for (%s)", email, d.Name, strings.Join(d.Domains, ", ")))
	}
	return nil
}

// toldOf is what was told of a person before, and finds out which owner they are.
func (c *Change) toldOf(d identity.Directory, u *store.DirectoryUser) (old store.DirectoryUser, err error) {
	if u.ID != "" {
		if old, err = c.DirectoryUser(d.Name, u.ID); err != nil {
			return old, missing(err, "user", u.ID)
		}
		u.Owner, u.Created = old.Owner, old.Created
	}
	same, err := c.OwnersByEmail(u.Email())
	if err != nil {
		return old, err
	}
	same = slices.DeleteFunc(same, func(o identity.Owner) bool { return o.ID == u.Owner })
	switch {
	case u.ID != "" && len(same) > 0 && !strings.EqualFold(old.Email(), u.Email()):
		return old, &Taken{u.Email() + " is the address of another owner, " + string(same[0].ID)}
	case u.ID != "":
		return old, nil
	case len(same) > 1:
		return old, &Taken{"more than one owner has the address " + u.Email()}
	case len(same) == 1:
		if same[0].Team {
			return old, &Taken{u.Email() + " is the address of a team, " + string(same[0].ID)}
		}
		if other, err := c.DirectoryUserOf(same[0].ID); err == nil {
			return old, &Taken{"the directory " + other.Directory + " has told of " + u.Email() + " already"}
		} else if !errors.Is(err, store.ErrNotFound) {
			return old, err
		}
		u.Owner = same[0].ID
	default:
		if u.Owner, err = c.freeOwner(u.UserName); err != nil {
			return old, err
		}
	}
	u.Created = c.Now()
	u.ID, err = c.newID("usr_")
	return old, err
}

// freeOwner makes a name for an owner that nobody has or had, of what the organisation calls them.
func (c *Change) freeOwner(userName string) (identity.OwnerID, error) {
	local, _, _ := strings.Cut(userName, "@")
	base := strings.Trim(strings.Map(func(r rune) rune {
		switch r = unicode.ToLower(r); {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, local), "._-")
	for strings.Contains(base, "..") {
		base = strings.ReplaceAll(base, "..", ".")
	}
	if base = strings.Trim(base[:min(len(base), 56)], "._-"); base == "" {
		base = "person"
	}
	for n := 1; n < 10_000; n++ {
		name := identity.OwnerID(base)
		if n > 1 {
			name = identity.OwnerID(base + "-" + strconv.Itoa(n))
		}
		_, err := c.Owner(name)
		if !errors.Is(err, store.ErrNotFound) {
			if err != nil {
				return "", err
			}
			continue
		}
		if former, err := c.Former(name); err != nil || former.Generation == 0 {
			return name, err
		}
	}
	return "", &Conflict{"there are too many owners called " + base}
}

// RemoveDirectoryUser has a directory know nothing of a person any more, who leaves.
func (c *Change) RemoveDirectoryUser(d identity.Directory, id string) error {
	u, err := c.DirectoryUser(d.Name, id)
	if err != nil {
		return missing(err, "user", id)
	}
	o, err := c.Owner(u.Owner)
	if err != nil {
		return err
	}
	if err := c.DeleteDirectoryUser(id); err != nil {
		return err
	}
	if o.State == identity.OwnerActive {
		o.State, o.Left = identity.OwnerGone, d.Name
	}
	out, err := c.PutOwner(o)
	if err == nil && !out.Changed() {
		err = c.record("directory.user", string(u.Owner), string(u.Owner), "The directory knows nothing of them any more.", nil)
	}
	return err
}

// Members is what becomes of who is in a group.
type Members struct {
	Only     bool     // those that are added, and nobody else
	Add, Cut []string // ids of users
}

// PutDirectoryGroup has a directory tell of a group, and who is in it; of one without an ID for the first time. What its members may do
// by it is so from their next request on.
func (c *Change) PutDirectoryGroup(d identity.Directory, g store.DirectoryGroup, m Members) (_ store.DirectoryGroup, err error) {
	g.Directory = d.Name
	if s := g.Display + g.External; strings.TrimSpace(g.Display) == "" || len(g.Display) > 256 || len(g.External) > 256 || strings.ContainsFunc(s, unicode.IsControl) {
		return g, &Invalid{"group", "displayName", "a group needs a displayName; that and externalId are 256 bytes at most, and have no character that cannot be seen"}
	}
	var old store.DirectoryGroup
	if g.ID == "" {
		g.Created = c.Now()
		g.ID, err = c.newID("grp_")
	} else if old, err = c.DirectoryGroup(d.Name, g.ID); err == nil {
		g.Created = old.Created
	}
	if err != nil {
		return g, missing(err, "group", g.ID)
	}
	before, err := c.DirectoryMembers(g.ID)
	if err != nil {
		return g, err
	}
	was := map[string]identity.OwnerID{}
	for _, u := range before {
		was[u.ID] = u.Owner
	}
	if m.Only {
		stay := map[string]bool{}
		for _, id := range m.Add {
			stay[id] = true
		}
		for id := range was {
			if !stay[id] {
				m.Cut = append(m.Cut, id)
			}
		}
	}
	var added, cut []string // owners
	for _, id := range m.Add {
		u, err := c.DirectoryUser(d.Name, id)
		if errors.Is(err, store.ErrNotFound) {
			return g, &Invalid{"group", "members", fmt.Sprintf("there is no user %q", id)}
		} else if err != nil {
			return g, err
		}
		if _, in := was[id]; !in {
			was[id] = u.Owner
			added = append(added, string(u.Owner))
			err = c.PutDirectoryMember(g.ID, id)
		}
		if err != nil {
			return g, err
		}
	}
	for _, id := range m.Cut {
		if o, in := was[id]; in {
			delete(was, id)
			cut = append(cut, string(o))
			if err := c.DeleteDirectoryMember(g.ID, id); err != nil {
				return g, err
			}
		}
	}
	if old.ID != "" && old.Display == g.Display && old.External == g.External && len(added)+len(cut) == 0 {
		return old, nil
	}
	g.Changed, g.Version = c.Now(), old.Version+1
	if err := c.Tx.PutDirectoryGroup(g); errors.Is(err, store.ErrExists) {
		return g, &Taken{"another group has this displayName"}
	} else if err != nil {
		return g, err
	}
	detail := map[string]string{"directory": d.Name}
	if old.ID != "" && old.Display != g.Display {
		detail["display_name"] = Diff{"", old.Display, g.Display}.String()
	}
	for what, who := range map[string][]string{"added": added, "removed": cut} {
		if len(who) > 0 {
			detail[what] = someOf(who)
		}
	}
	return g, c.record("directory.group", g.Display, "", "", detail)
}

// someOf names the first of many.
func someOf(list []string) string {
	const most = 20
	slices.Sort(list)
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

// RemoveDirectoryGroup has a directory know nothing of a group any more, and takes what its members may do by it.
func (c *Change) RemoveDirectoryGroup(d identity.Directory, id string) error {
	g, err := c.DirectoryGroup(d.Name, id)
	if err != nil {
		return missing(err, "group", id)
	}
	return errors.Join(c.DeleteDirectoryGroup(id), c.record("directory.group", g.Display, "", "The directory knows nothing of it any more.", map[string]string{"directory": d.Name}))
}
