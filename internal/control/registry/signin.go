package registry

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

const (
	codeLife    = 10 * time.Minute // of a sign-in code
	sessionLife = 8 * time.Hour
)

// ErrSignIn means that a sign-in code is unknown, was used or is too old.
var ErrSignIn = errors.New("this code is not right, was used already or is older than ten minutes; ask for another")

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
	if code, err = c.secret(""); err != nil {
		return "", expires, err
	}
	code, expires = strings.ToUpper(code[:4]+"-"+code[4:8]+"-"+code[8:12]+"-"+code[12:16]), c.Now().Add(codeLife)
	return code, expires, errors.Join(c.PutTicket(store.SignInCode, code, expires, o.ID),
		c.record("owner.sign_in_code", string(o.ID), string(o.ID), "", map[string]string{"expires": expires.Format(time.RFC3339)}))
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

// SignIn takes a code for a session of the owner it was made for. The session's
// text is for a cookie.
func (c *Change) SignIn(code string) (session string, o identity.Owner, err error) {
	var id identity.OwnerID
	code = SignInText(code)
	if _, err = c.Ticket(store.SignInCode, code, &id); errors.Is(err, store.ErrNotFound) {
		return "", o, ErrSignIn
	} else if err != nil {
		return "", o, err
	}
	if o, err = c.livingOwner(id); err != nil {
		return "", o, err
	}
	if session, err = c.secret(""); err != nil {
		return "", o, err
	}
	c.by.Name = Person(o.ID)
	return session, o, errors.Join(c.DeleteTicket(store.SignInCode, code), c.PutTicket(store.Session, session, c.Now().Add(sessionLife), o.ID),
		c.record("owner.sign_in", string(o.ID), string(o.ID), "", nil))
}

// SignOut ends a session. One that is none has ended already.
func (c *Change) SignOut(session string) error {
	o, err := SignedIn(c.Tx, session)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	c.by.Name = Person(o.ID)
	return errors.Join(c.DeleteTicket(store.Session, session), c.record("owner.sign_out", string(o.ID), string(o.ID), "", nil))
}

// SignedIn returns the owner whose session it is, ErrNotFound when there is none or the owner has left.
func SignedIn(tx *store.Tx, session string) (o identity.Owner, err error) {
	var id identity.OwnerID
	if _, err = tx.Ticket(store.Session, session, &id); err != nil {
		return o, err
	}
	if o, err = tx.Owner(id); err == nil && o.State != identity.OwnerActive {
		err = store.ErrNotFound
	}
	return o, err
}

// SignedInAt is [SignedIn] with when the person did so.
func SignedInAt(tx *store.Tx, session string) (o identity.Owner, since time.Time, err error) {
	if o, err = SignedIn(tx, session); err != nil {
		return o, since, err
	}
	end, err := tx.Ticket(store.Session, session, new(identity.OwnerID))
	return o, end.Add(-sessionLife), err
}

// Person is how an owner who did something is named in events.
func Person(id identity.OwnerID) string { return "owner:" + string(id) }
