package store

import (
	"encoding/json"
	"errors"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// PutReceiver adds or changes a receiver. Gateways need not know of it, so it is no change of the feed.
func (tx *Tx) PutReceiver(r identity.Receiver) error {
	tx.changed = true
	_, err := tx.exec("INSERT INTO receivers (name, doc) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc", r.Name, encode(r))
	return err
}

// Receiver returns the receiver of that name, or ErrNotFound.
func (tx *Tx) Receiver(name string) (identity.Receiver, error) {
	return one(tx, "SELECT doc FROM receivers WHERE name = $1", name, none[identity.Receiver], nil)
}

// Receivers lists all receivers by name.
func (tx *Tx) Receivers() ([]identity.Receiver, error) {
	return list(tx, doc[identity.Receiver], "SELECT doc FROM receivers ORDER BY name")
}

// DeleteReceiver removes a receiver, its secret and what it is still to be told.
func (tx *Tx) DeleteReceiver(name string) error {
	tx.changed = true
	n, err := tx.exec("DELETE FROM receivers WHERE name = $1", name)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	_, err2 := tx.exec("DELETE FROM outbox WHERE door = $1", ReceiverDoor(name))
	_, err3 := tx.exec("DELETE FROM signals WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.approval = signals.id)")
	return errors.Join(err, err2, err3, tx.DeleteSecret(ReceiverSecret(name)))
}

// ReceiverSecret is the name under which what a receiver wants in Authorization is kept.
func ReceiverSecret(name string) string { return "receiver/" + name }

// ReceiverDoor is the door of notes for a receiver. No other door has a slash in its name.
func ReceiverDoor(name string) string { return "receiver/" + name }

// receiverDoors are the first of them, and what comes after the last.
var receiverDoors = []any{"receiver/", "receiver0"}

// PutSignal keeps what receivers are told. The notes that say to whom come with it.
func (tx *Tx) PutSignal(id string, s any) error {
	tx.changed = true
	_, err := tx.exec("INSERT INTO signals (id, doc) VALUES ($1, $2)", id, encode(s))
	return err
}

// Signal reads what PutSignal kept into s, or returns ErrNotFound.
func (tx *Tx) Signal(id string, s any) error {
	var doc []byte
	if err := tx.row("SELECT doc FROM signals WHERE id = $1", []any{id}, &doc); err != nil {
		return err
	}
	return json.Unmarshal(doc, s)
}

// DeleteSignal forgets a note, and the signal with the last one of it.
func (tx *Tx) DeleteSignal(n Note) error {
	err := tx.DeleteNote(n.ID)
	if err == nil {
		_, err = tx.exec("DELETE FROM signals WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM outbox WHERE approval = $1)", n.Approval)
	}
	return err
}

// Waiting is how many notes there are for a door.
func (tx *Tx) Waiting(door string) (n int, err error) {
	return n, tx.row("SELECT COUNT(*) FROM outbox WHERE door = $1", []any{door}, &n)
}
