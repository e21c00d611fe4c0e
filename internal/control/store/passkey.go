package store

import "time"

// Passkey is a key that a person signs in with (WebAuthn).
type Passkey struct {
	ID      string    `json:"id"` // the credential's own, base64url
	Person  string    `json:"person"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
	Key     []byte    `json:"key"` // what it is verified with, as the library keeps it; no secret
}

// PutPasskey adds or changes a passkey.
func (tx *Tx) PutPasskey(k Passkey) error {
	tx.changed = true
	_, err := tx.exec("INSERT INTO passkeys (id, person, doc) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc WHERE passkeys.person = excluded.person", k.ID, k.Person, encode(k))
	return err
}

// Passkey returns the passkey of that id, or ErrNotFound.
func (tx *Tx) Passkey(id string) (Passkey, error) {
	return one(tx, "SELECT doc FROM passkeys WHERE id = $1", id, none[Passkey], nil)
}

// Passkeys lists those of a person, by id.
func (tx *Tx) Passkeys(person string) ([]Passkey, error) {
	return list(tx, doc[Passkey], "SELECT doc FROM passkeys WHERE person = $1 ORDER BY id", person)
}

// AnyPasskey reports whether anybody has one.
func (tx *Tx) AnyPasskey() (bool, error) {
	return tx.has("SELECT 1 FROM passkeys WHERE id >= $1 LIMIT 1", "")
}

// DeletePasskey removes one of a person's, or ErrNotFound.
func (tx *Tx) DeletePasskey(person, id string) error {
	tx.changed = true
	n, err := tx.exec("DELETE FROM passkeys WHERE person = $1 AND id = $2", person, id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// EndPasskeys removes those of a person.
func (tx *Tx) EndPasskeys(person string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM passkeys WHERE person = $1", person)
	return err
}

// EndPasskeysBut removes those of everybody but one person.
func (tx *Tx) EndPasskeysBut(person string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM passkeys WHERE person <> $1", person)
	return err
}
