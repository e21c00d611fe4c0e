package registry

import (
	"errors"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// ceremonyLife is how long making or showing one may take.
const ceremonyLife = 5 * time.Minute

// passkeyFresh is how long ago a person may have signed in who adds a key that lasts.
const passkeyFresh = 15 * time.Minute

// MayAddPasskey says why a person may add no passkey now, or nil. Whom an identity provider vouches for signs in with that: a key of their
// own would outlast its word.
func MayAddPasskey(v Visitor, now time.Time) error {
	switch {
	case v.Provider != "":
		return &Conflict{"you sign in with " + v.Provider + ", which says whether you still may; a passkey would not ask it"}
	case v.Method == store.ByDevice:
		return &Conflict{"a passkey is added at a browser"}
	case now.Sub(v.Began) > passkeyFresh:
		return &Stale{passkeyFresh}
	}
	return nil
}

// BeginPasskey keeps what a passkey is made for, until it is made.
func (c *Change) BeginPasskey(v Visitor, session any) error {
	return errors.Join(c.PutTicket(store.Ceremony, v.ID, c.Now().Add(ceremonyLife), session), c.record("owner.passkey_begin", resourceOf(v.Session), string(v.Owner), "", nil))
}

// TakePasskey is what was kept, once.
func (c *Change) TakePasskey(v Visitor, session any) error {
	_, err := c.Ticket(store.Ceremony, v.ID, session)
	if errors.Is(err, store.ErrNotFound) {
		return &Conflict{"no passkey was begun in this session, or it took too long; begin again"}
	}
	return errors.Join(err, c.DeleteTicket(store.Ceremony, v.ID))
}

// AddPasskey adds one of the person's own.
func (c *Change) AddPasskey(v Visitor, k store.Passkey) error {
	if err := MayAddPasskey(v, c.Now()); err != nil {
		return err
	}
	if _, err := c.Passkey(k.ID); err == nil {
		return &Conflict{"this passkey is somebody's already"}
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	k.Person, k.Created = v.Person, c.Now()
	return errors.Join(c.PutPasskey(k), c.record("owner.passkey_add", resourceOf(v.Session), string(v.Owner), "", map[string]string{"passkey": k.ID}))
}

// RemovePasskey removes one of a person's, and ends the sessions begun with any, this one aside.
func (c *Change) RemovePasskey(v Visitor, id string) error {
	if err := c.DeletePasskey(v.Person, id); err != nil {
		return missing(err, "passkey", id)
	}
	return errors.Join(c.EndSessions(store.Ended{Person: v.Person, But: v.ID}), c.record("owner.passkey_remove", resourceOf(v.Session), string(v.Owner), "", map[string]string{"passkey": id}))
}

// PasskeySignIn begins a session of whoever has a passkey, which was verified against before, and is now as after. A challenge is good once.
func (c *Change) PasskeySignIn(challenge string, before, after store.Passkey, from Browser) (text string, s store.Session, err error) {
	if _, err := c.Ticket(store.Ceremony, challenge, new(bool)); !errors.Is(err, store.ErrNotFound) {
		return "", s, errors.Join(err, ErrPasskey)
	}
	now, err := c.Passkey(before.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && (now.Person != before.Person || string(now.Key) != string(before.Key)) {
		return "", s, ErrPasskey
	} else if err != nil {
		return "", s, err
	}
	s = store.Session{Person: now.Person, Method: store.ByPasskey, Name: "Administrator", Roles: []identity.Role{identity.RoleAdmin}}
	if id := OwnerOf(now.Person); id != "" {
		o, err := c.livingOwner(id)
		if err != nil {
			return "", s, ErrPasskey
		}
		s.Owner, s.Name, s.Email, s.Roles = id, o.Name, o.Email, nil
	} else if now.Person != Administrator {
		return "", s, ErrPasskey
	}
	after.Used = c.Now()
	if text, s, err = c.Begin(s, from); err != nil {
		return "", s, err
	}
	return text, s, errors.Join(c.PutPasskey(after), c.PutTicket(store.Ceremony, challenge, c.Now().Add(2*ceremonyLife), true))
}

// ErrPasskey means that a passkey is nobody's, or not verified.
var ErrPasskey = errors.New("this passkey is not known here, or it was not shown right")
