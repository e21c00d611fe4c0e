package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// TicketKind is what a ticket is for. One of a kind is none of another.
type TicketKind string

const (
	SignInCode        TicketKind = "sign-in"
	DeviceCode        TicketKind = "device"    // what a program shows that a person is to let in
	UserCode          TicketKind = "user code" // what that person enters for it
	Ceremony          TicketKind = "ceremony"  // a passkey that is being made or shown
	AuthorizationCode TicketKind = "code"
	RefreshToken      TicketKind = "refresh"
	RegisteredClient  TicketKind = "client"
	UsedAssertion     TicketKind = "assertion" // of a provider; by iss and jti
	UpstreamSignIn    TicketKind = "upstream sign-in"
	GatewayJoin       TicketKind = "gateway join"
	DirectorySecret   TicketKind = "directory"        // what a directory shows
	LogoutToken       TicketKind = "logout"           // of a provider that was used; by iss and jti
	ClientAssertion   TicketKind = "client assertion" // that a client proved itself with; by who made it and jti
)

// TicketHash is what is kept of the text of a ticket: its entropy makes a slow hash needless.
func TicketHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// PutTicket keeps v under a text that was given out, until it expires. Of the text only the hash is kept.
func (tx *Tx) PutTicket(kind TicketKind, text string, expires time.Time, v any) error {
	tx.changed = true
	if _, err := tx.exec("DELETE FROM tickets WHERE expires < $1", micros(tx.now)); err != nil {
		return err
	}
	_, err := tx.exec(`INSERT INTO tickets (kind, hash, expires, doc) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, hash) DO UPDATE SET expires = excluded.expires, doc = excluded.doc`, string(kind), TicketHash(text), micros(expires), encode(v))
	return err
}

// Ticket reads what is kept under a text into v, and when it expires; ErrNotFound also when it has.
func (tx *Tx) Ticket(kind TicketKind, text string, v any) (time.Time, error) {
	var doc []byte
	var expires int64
	if err := tx.row("SELECT doc, expires FROM tickets WHERE kind = $1 AND hash = $2", []any{string(kind), TicketHash(text)}, &doc, &expires); err != nil {
		return time.Time{}, err
	}
	if !tx.now.Before(at(expires)) {
		return time.Time{}, ErrNotFound
	}
	if err := json.Unmarshal(doc, v); err != nil {
		return time.Time{}, fmt.Errorf("a ticket in the store is damaged: %w", err)
	}
	return at(expires), nil
}

// DeleteTicket forgets a ticket; that it was not there is no error.
func (tx *Tx) DeleteTicket(kind TicketKind, text string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM tickets WHERE kind = $1 AND hash = $2", string(kind), TicketHash(text))
	return err
}

// Unanswered says that the tickets which are put are of somebody who asks and whom nobody knows yet: the ledger gets no event, or any
// stranger could fill it. What comes of it when somebody answers has one.
func (tx *Tx) Unanswered() { tx.asked = true }

// Tickets reads all of a kind that have not expired, those that expire first before the others.
func Tickets[T any](tx *Tx, kind TicketKind) ([]T, error) {
	return list(tx, doc[T], "SELECT doc FROM tickets WHERE kind = $1 AND expires > $2 ORDER BY expires, hash", string(kind), micros(tx.now))
}

// CountTickets counts those of a kind that have not expired.
func (tx *Tx) CountTickets(kind TicketKind) (n int, err error) {
	return n, tx.row("SELECT COUNT(*) FROM tickets WHERE kind = $1 AND expires >= $2", []any{string(kind), micros(tx.now)}, &n)
}

// Once reports whether a text of a kind has not been shown before, until then, to any of the nodes that share the store. It
// is not in the one order of what is written, or they would wait for each other; like [DB.NoteAcks] it has no event: what
// the text was shown for has.
func (db *DB) Once(ctx context.Context, kind TicketKind, text string, until time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := db.r.ExecContext(ctx, `INSERT INTO tickets (kind, hash, expires, doc) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, hash) DO UPDATE SET expires = excluded.expires WHERE tickets.expires < $5`, string(kind), TicketHash(text), micros(until), encode(true), micros(db.now()))
	if err != nil {
		return false, db.mapped(err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}
