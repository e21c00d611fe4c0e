package store

import (
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Session is a person who is signed in, at one browser or with one program. What is shown for it is told once and kept as a hash.
type Session struct {
	ID       string           `json:"id"`
	Person   string           `json:"person"` // as in events: owner:maya, operator:admin, person:sso/00u1
	Owner    identity.OwnerID `json:"owner,omitempty"`
	Provider string           `json:"provider,omitempty"` // on whose word they came in
	Subject  string           `json:"sub,omitempty"`      // whom the provider knows them as
	SID      string           `json:"sid,omitempty"`      // their session at the provider, if it says
	Method   SignIn           `json:"method"`
	Roles    []identity.Role  `json:"roles,omitempty"`    // for as long as this lasts, beside those that the owner has
	Name     string           `json:"name,omitempty"`     // as it was then
	Email    string           `json:"email,omitempty"`    // as it was then
	Began    time.Time        `json:"began"`              // when they proved who they are
	Unproven bool             `json:"unproven,omitempty"` // their provider does not say when they did: it may have been long before Began
	Expires  time.Time        `json:"expires"`
	From     string           `json:"from,omitempty"` // peer address
	With     string           `json:"with,omitempty"` // the browser or program, as it called itself
}

// Proven is when they proved who they are, the zero time if nobody says when.
func (s Session) Proven() time.Time {
	if s.Unproven {
		return time.Time{}
	}
	return s.Began
}

// SignIn is how somebody proved who they are.
type SignIn string

const (
	ByLink    SignIn = "link"
	ByOIDC    SignIn = "oidc"
	ByPasskey SignIn = "passkey"
	ByDevice  SignIn = "device" // a program, let in by a person who was signed in
)

// PutSession begins a session, or changes one; text is what is shown for it.
func (tx *Tx) PutSession(text string, s Session) error {
	tx.changed = true
	if _, err := tx.exec("DELETE FROM sessions WHERE expires < $1", micros(tx.now)); err != nil {
		return err
	}
	_, err := tx.exec("INSERT INTO sessions (id, hash, person, owner, provider, sub, sid, expires, doc) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		s.ID, TicketHash(text), s.Person, string(s.Owner), s.Provider, s.Subject, s.SID, micros(s.Expires), encode(s))
	return err
}

// Session returns the session that text is shown for; ErrNotFound also when it is over.
func (tx *Tx) Session(text string) (Session, error) {
	s, err := one(tx, "SELECT doc FROM sessions WHERE hash = $1", TicketHash(text), none[Session], nil)
	if err == nil && !tx.now.Before(s.Expires) {
		return Session{}, ErrNotFound
	}
	return s, err
}

// Sessions lists the sessions of a person that last, by id.
func (tx *Tx) Sessions(person string) ([]Session, error) {
	return list(tx, doc[Session], "SELECT doc FROM sessions WHERE person = $1 AND expires > $2 ORDER BY id", person, micros(tx.now))
}

// SessionsAt lists the sessions that last of whom a provider knows as sub, or that are its session sid. Where both are given, they are those
// that are both; and of whom it knows as sub also those of which it never said its session: they may be of that one.
func (tx *Tx) SessionsAt(provider, sub, sid string) ([]Session, error) {
	query, args := "SELECT doc FROM sessions WHERE provider = $1 AND expires > $2", []any{provider, micros(tx.now)}
	switch {
	case sub != "" && sid != "":
		query, args = query+" AND sub = $3 AND (sid = $4 OR sid = '')", append(args, sub, sid)
	case sub != "":
		query, args = query+" AND sub = $3", append(args, sub)
	case sid != "":
		query, args = query+" AND sid = $3", append(args, sid)
	default:
		return nil, nil
	}
	return list(tx, doc[Session], query+" ORDER BY id", args...)
}

// DeleteSession ends one session of a person; ErrNotFound when there is none.
func (tx *Tx) DeleteSession(person, id string) error {
	tx.changed = true
	n, err := tx.exec("DELETE FROM sessions WHERE person = $1 AND id = $2", person, id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// Ended selects sessions that end together. Empty fields select all.
type Ended struct {
	Person, Provider string
	Owner            identity.OwnerID
	But              string // the id of one that goes on
}

// EndSessions ends sessions, and with them the sign-in codes of their owner; of all when none is named.
func (tx *Tx) EndSessions(e Ended) error {
	tx.changed = true
	query, args := "DELETE FROM sessions WHERE id <> $1", []any{e.But}
	for column, value := range map[string]string{"person": e.Person, "provider": e.Provider, "owner": string(e.Owner)} {
		if value != "" {
			args = append(args, value)
			query += " AND " + column + " = $" + strconv.Itoa(len(args))
		}
	}
	if _, err := tx.exec(query, args...); err != nil {
		return err
	}
	switch {
	case e.Owner != "":
		_, err := tx.exec("DELETE FROM tickets WHERE kind = $1 AND doc = $2", string(SignInCode), encode(e.Owner))
		return err
	case e == Ended{But: e.But}:
		_, err := tx.exec("DELETE FROM tickets WHERE kind IN ($1, $2)", string(SignInCode), string(DeviceCode))
		return err
	}
	return nil
}
