package registry

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

const (
	codeLife    = 10 * time.Minute // of a sign-in code
	firstLife   = 24 * time.Hour   // of the administrator's first
	sessionLife = 8 * time.Hour
	deviceLife  = 24 * time.Hour // of a program's session
)

// Administrator is the local one, who is no owner: who holds the machine, or the first link.
const Administrator = feed.OperatorPrefix + "admin"

// ErrSignIn means that a sign-in code is unknown, was used or is too old.
var ErrSignIn = errors.New("this code is not right, was used already or is too old; ask for another")

// secret makes a random text that is told to nobody but the one it is for.
func (c *Change) secret(prefix string) (string, error) {
	var b [20]byte
	if _, err := io.ReadFull(c.r.Rand, b[:]); err != nil {
		return "", fmt.Errorf("making a secret: %w", err)
	}
	return prefix + strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), nil
}

// NewSignIn makes a code with which an owner signs in, once, within ten minutes.
func (c *Change) NewSignIn(id identity.OwnerID) (code string, expires time.Time, err error) {
	o, err := c.livingOwner(id)
	if err != nil {
		return "", expires, err
	}
	return c.newCode(o.ID, codeLife)
}

// NewAdministrator makes a code with which the local administrator signs in, once: the first within a day.
func (c *Change) NewAdministrator(first bool) (code string, expires time.Time, err error) {
	if first {
		return c.newCode("", firstLife)
	}
	return c.newCode("", codeLife)
}

func (c *Change) newCode(id identity.OwnerID, life time.Duration) (code string, expires time.Time, err error) {
	if code, err = c.secret(""); err != nil {
		return "", expires, err
	}
	who := string(id)
	if who == "" {
		who = Administrator
	}
	code, expires = strings.ToUpper(code[:4]+"-"+code[4:8]+"-"+code[8:12]+"-"+code[12:16]), c.Now().Add(life)
	return code, expires, errors.Join(c.PutTicket(store.SignInCode, code, expires, id),
		c.record("owner.sign_in_code", who, string(id), "", map[string]string{"expires": expires.Format(time.RFC3339)}))
}

func (c *Change) livingOwner(id identity.OwnerID) (identity.Owner, error) {
	o, err := c.Owner(id)
	if err != nil {
		return o, missing(err, "owner", string(id))
	}
	if o.State != identity.OwnerActive {
		return o, &Conflict{fmt.Sprintf("%s has left and cannot sign in", o.ID)}
	}
	return o, nil
}

// SignInText is a sign-in code as it was made, however a person typed it.
func SignInText(code string) string { return strings.ToUpper(strings.TrimSpace(code)) }

// SignIn takes a code for a session of who it was made for: an owner, or the administrator. The session's
// text is for a cookie.
func (c *Change) SignIn(code string, from Browser) (text string, s store.Session, err error) {
	var id identity.OwnerID
	code = SignInText(code)
	if _, err = c.Ticket(store.SignInCode, code, &id); errors.Is(err, store.ErrNotFound) {
		return "", s, ErrSignIn
	} else if err != nil {
		return "", s, err
	}
	s = store.Session{Person: Administrator, Method: store.ByLink}
	if id == "" {
		s.Name, s.Roles = "Administrator", []identity.Role{identity.RoleAdmin}
	} else {
		o, err := c.livingOwner(id)
		if err != nil {
			return "", s, err
		}
		s.Person, s.Owner, s.Name, s.Email = Person(o.ID), o.ID, o.Name, o.Email
	}
	text, s, err = c.Begin(s, from)
	return text, s, errors.Join(err, c.DeleteTicket(store.SignInCode, code))
}

// Browser is where somebody signs in, as far as it can be told.
type Browser struct{ Address, Name string }

// Begin begins a session of somebody who proved who they are; the text is what is shown for it.
func (c *Change) Begin(s store.Session, from Browser) (text string, _ store.Session, err error) {
	life, prefix := sessionLife, ""
	if s.Method == store.ByDevice {
		life, prefix = deviceLife, DevicePrefix
	}
	if s.Began.IsZero() || s.Began.After(c.Now()) {
		s.Began = c.Now()
	}
	s.Expires, s.From, s.With = c.Now().Add(life), from.Address, from.Name
	if len(s.With) > 300 {
		s.With = s.With[:300]
	}
	if text, err = c.secret(prefix); err != nil {
		return "", s, err
	}
	if s.ID, err = c.newID("ses_"); err != nil {
		return "", s, err
	}
	c.by.Name = s.Person
	return text, s, errors.Join(c.PutSession(text, s),
		c.record("owner.sign_in", resourceOf(s), string(s.Owner), "", map[string]string{"session": s.ID, "method": string(s.Method)}))
}

// DevicePrefix begins the text of a program's session.
const DevicePrefix = "lyd_user_"

func resourceOf(s store.Session) string {
	if s.Owner != "" {
		return string(s.Owner)
	}
	return s.Person
}

// SignOut ends a session, or all of that person's. One that is none has ended already.
func (c *Change) SignOut(text string, everywhere bool) error {
	s, err := c.Session(text)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	c.by.Name = s.Person
	if everywhere {
		return errors.Join(c.EndSessions(store.Ended{Person: s.Person}), c.record("owner.sign_out", resourceOf(s), string(s.Owner), "Everywhere.", nil))
	}
	return c.EndSession(s.Person, s.ID)
}

// EndSession ends one session of a person.
func (c *Change) EndSession(person, id string) error {
	list, err := c.Sessions(person)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(s store.Session) bool { return s.ID == id })
	if i < 0 {
		return &Missing{"session", id}
	}
	return errors.Join(c.DeleteSession(person, id), c.record("owner.sign_out", resourceOf(list[i]), string(list[i].Owner), "", map[string]string{"session": id}))
}

// Visitor is a person who is signed in.
type Visitor struct {
	store.Session
	As     identity.Owner // the zero one: they are no owner
	Roles  []identity.Role
	Theirs []identity.OwnerID // they themselves, and the teams that they are in
}

// Visit says who a session is of, as things are now: ErrNotFound when it is over, or when who it is of has left, or
// their provider is trusted no more.
func Visit(tx *store.Tx, text string) (v Visitor, err error) {
	if v.Session, err = tx.Session(text); err != nil {
		return v, err
	}
	if v.Provider != "" {
		p, err := tx.Provider(v.Provider)
		if err == nil && !p.May(identity.SignIn) {
			err = store.ErrNotFound
		}
		if err != nil {
			return v, err
		}
	}
	v.Roles = slices.Clone(v.Session.Roles)
	if v.Owner == "" {
		return v, nil
	}
	if v.As, err = tx.Owner(v.Owner); err == nil && (v.As.State != identity.OwnerActive || v.As.Team) {
		err = store.ErrNotFound
	}
	if err != nil {
		return v, err
	}
	v.Name, v.Email = v.As.Name, v.As.Email
	groups, err := tx.DirectoryRoles(v.Owner)
	if err != nil {
		return v, err
	}
	v.Roles = append(append(append(v.Roles, v.As.Roles...), groups...), identity.RoleOwner)
	slices.Sort(v.Roles)
	v.Roles, v.Theirs = slices.Compact(v.Roles), []identity.OwnerID{v.Owner}
	all, err := tx.Owners()
	for _, o := range all {
		if o.Team && o.State == identity.OwnerActive && slices.Contains(o.Members, v.Owner) {
			v.Theirs = append(v.Theirs, o.ID)
		}
	}
	return v, err
}

// SignedIn returns the owner whose session it is, ErrNotFound when there is none or the owner has left.
func SignedIn(tx *store.Tx, text string) (identity.Owner, error) {
	o, _, err := SignedInAt(tx, text)
	return o, err
}

// SignedInAt is [SignedIn] with when the person did so.
func SignedInAt(tx *store.Tx, text string) (o identity.Owner, since time.Time, err error) {
	v, err := Visit(tx, text)
	if err == nil && v.Owner == "" {
		err = store.ErrNotFound
	}
	return v.As, v.Began, err
}

// Person is how an owner who did something is named in events.
func Person(id identity.OwnerID) string { return "owner:" + string(id) }

// OwnerOf is the owner who is named so in events; "" for who is none.
func OwnerOf(person string) identity.OwnerID {
	id, ok := strings.CutPrefix(person, "owner:")
	if !ok {
		return ""
	}
	return identity.OwnerID(id)
}

// Strange is how somebody is named who is no owner, and came in on a provider's word.
func Strange(provider, sub string) string { return "person:" + provider + "/" + sub }

// SignOutAt ends the sessions of who signed out at their provider: all that they have on its word, or those of one session there. The token
// that says so is good once. That nobody is signed in is as well.
func (c *Change) SignOutAt(provider string, l token.LogoutToken) error {
	once := l.Issuer + " " + l.ID
	if _, err := c.Ticket(store.LogoutToken, once, new(bool)); err == nil {
		return &Conflict{"this logout token was used already"}
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	list, err := c.SessionsAt(provider, l.Subject, l.Session)
	if err != nil {
		return err
	}
	if err := c.PutTicket(store.LogoutToken, once, l.Issued.Add(token.LogoutLife+token.Skew), true); err != nil {
		return err
	}
	if len(list) == 0 {
		return c.record("owner.sign_out", "", "", "Nobody was signed in.", map[string]string{"provider": provider, "sub": l.Subject})
	}
	for _, s := range list {
		err = errors.Join(err, c.DeleteSession(s.Person, s.ID), c.record("owner.sign_out", resourceOf(s), string(s.Owner), "They signed out at their identity provider.", map[string]string{"session": s.ID, "provider": provider}))
	}
	return err
}
