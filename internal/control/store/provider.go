package store

import (
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// PutProvider adds or changes a provider. One with the issuer of another is refused
// with ErrExists. Gateways need not know of it, so it is no change of the feed.
func (tx *Tx) PutProvider(p identity.Provider) error {
	tx.changed = true
	_, err := tx.exec(`INSERT INTO providers (name, issuer, doc) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET issuer = excluded.issuer, doc = excluded.doc`, p.Name, p.Issuer, encode(p))
	return err
}

// ProviderClient is the name under which the secret of our client at a provider is kept.
func ProviderClient(provider string) string { return "provider/" + provider }

// Provider returns the provider of that name, or ErrNotFound.
func (tx *Tx) Provider(name string) (identity.Provider, error) {
	return one(tx, "SELECT doc FROM providers WHERE name = $1", name, none[identity.Provider], nil)
}

// ProviderByIssuer returns the provider with exactly that issuer, or ErrNotFound.
func (tx *Tx) ProviderByIssuer(issuer string) (identity.Provider, error) {
	return one(tx, "SELECT doc FROM providers WHERE issuer = $1", issuer, none[identity.Provider], nil)
}

// Providers lists all providers by name.
func (tx *Tx) Providers() ([]identity.Provider, error) {
	return list(tx, doc[identity.Provider], "SELECT doc FROM providers ORDER BY name")
}

// DeleteProvider removes a provider.
func (tx *Tx) DeleteProvider(name string) error {
	tx.changed = true
	n, err := tx.exec("DELETE FROM providers WHERE name = $1", name)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// CredentialsOf lists the credentials that stand on a provider's word and are not revoked, in the order they were made.
func (tx *Tx) CredentialsOf(provider string) ([]identity.Credential, error) {
	return list(tx, scanCredential, credentialColumns+"WHERE provider = $1 AND provider <> '' AND revoked = 0 ORDER BY id", provider)
}
