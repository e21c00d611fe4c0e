package store

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// accountSecret is the name under which an owner's account at an upstream is kept, and so what it is sealed for:
// moved to another owner or another upstream it does not open. No name holds a slash.
func accountSecret(upstream string, owner identity.OwnerID) string {
	return "account/" + upstream + "/" + string(owner)
}

// PutAccount keeps an owner's account at an upstream, sealed. Gateways let go of what they hold of the one before.
func (tx *Tx) PutAccount(upstream string, owner identity.OwnerID, v any) error {
	tx.change(feed.Change{Account: &feed.Account{Upstream: upstream, Owner: owner}})
	return tx.RenewAccount(upstream, owner, v)
}

// RenewAccount is PutAccount for what does not take away from what gateways hold.
func (tx *Tx) RenewAccount(upstream string, owner identity.OwnerID, v any) error {
	return tx.PutSecret(accountSecret(upstream, owner), encode(v))
}

// Account reads an owner's account at an upstream into v, or returns ErrNotFound.
func (tx *Tx) Account(upstream string, owner identity.OwnerID, v any) error {
	plain, err := tx.Secret(accountSecret(upstream, owner))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("the account of %s at %s in the store is damaged", owner, upstream) // the cause could quote it
	}
	return nil
}

// Accounts lists who has an account at an upstream.
func (tx *Tx) Accounts(upstream string) (owners []identity.OwnerID, err error) {
	prefix := accountSecret(upstream, "")
	names, err := tx.Secrets(prefix)
	for _, name := range names {
		owners = append(owners, identity.OwnerID(strings.TrimPrefix(name, prefix)))
	}
	return owners, err
}

// DeleteAccount forgets an owner's account at an upstream; that it was not there is no error.
func (tx *Tx) DeleteAccount(upstream string, owner identity.OwnerID) error {
	tx.change(feed.Change{Account: &feed.Account{Upstream: upstream, Owner: owner}})
	return tx.DeleteSecret(accountSecret(upstream, owner))
}

// DeleteAccounts forgets all accounts at an upstream. No gateway is told: the upstream itself changes with it.
func (tx *Tx) DeleteAccounts(upstream string) error {
	tx.changed = true
	prefix := accountSecret(upstream, "")
	_, err := tx.exec("DELETE FROM secrets WHERE name >= $1 AND name < $2", prefix, prefix+"\x7f")
	return err
}

// UpstreamClient is the name under which the secret of our client at an upstream's authorization server is kept.
func UpstreamClient(upstream string) string { return "client/" + upstream }

// UpstreamRegistration is the name under which is kept how we registered ourselves there.
func UpstreamRegistration(upstream string) string { return "registration/" + upstream }
