package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// one reads the object that query finds: its doc, and columns that count instead of what doc says.
func one[T any](tx *Tx, query, key string, columns func(*T) []any, fix func(*T)) (v T, err error) {
	var doc []byte
	if err := tx.row(query, []any{key}, append([]any{&doc}, columns(&v)...)...); err != nil {
		return v, err
	}
	return decoded(doc, v, fix)
}

// decoded is v with doc read under the columns that were scanned into it.
func decoded[T any](doc []byte, columns T, fix func(*T)) (T, error) {
	v := columns
	if err := json.Unmarshal(doc, &v); err != nil {
		return v, fmt.Errorf("an object in the store is damaged: %w", err)
	}
	if fix != nil {
		fix(&v)
	}
	return v, nil
}

func none[T any](*T) []any { return nil }

func nullable[T ~string](s T) any {
	if s == "" {
		return nil
	}
	return string(s)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func at(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func encode(v any) []byte {
	doc, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own values always encode
	}
	return doc
}

// PutOwner adds or changes an owner.
func (tx *Tx) PutOwner(o identity.Owner) error {
	_, err := tx.exec("INSERT INTO owners (id, email, doc) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET email = excluded.email, doc = excluded.doc", string(o.ID), strings.ToLower(o.Email), encode(o))
	tx.change(feed.Change{Owner: &o})
	return err
}

// Owner returns the owner of that id, or ErrNotFound.
func (tx *Tx) Owner(id identity.OwnerID) (identity.Owner, error) {
	return one(tx, "SELECT doc FROM owners WHERE id = $1", string(id), none[identity.Owner], nil)
}

// DeleteOwner removes an owner that nothing refers to; else it returns ErrInUse. Its generation is kept ([Tx.Former]).
func (tx *Tx) DeleteOwner(id identity.OwnerID) error {
	o, err := tx.Owner(id)
	if err != nil {
		return err
	}
	if err := tx.delete("DELETE FROM owners WHERE id = $1", string(id), feed.Change{Owner: &identity.Owner{ID: id}}); err != nil {
		return err
	}
	_, err = tx.exec("INSERT INTO former_owners (id, generation, stopped) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET generation = excluded.generation, stopped = excluded.stopped",
		string(id), o.Generation+1, micros(tx.now))
	return err
}

// Former is what is left of an owner that was removed: the generation and the time from which on things are those of
// who gets the same name. Nothing when nobody had it.
func (tx *Tx) Former(id identity.OwnerID) (o identity.Owner, err error) {
	var stopped int64
	err = tx.row("SELECT generation, stopped FROM former_owners WHERE id = $1", []any{string(id)}, &o.Generation, &stopped)
	if errors.Is(err, ErrNotFound) {
		return o, nil
	}
	o.Stopped = at(stopped)
	return o, err
}

func (tx *Tx) delete(query, key string, c feed.Change) error {
	n, err := tx.sql.ExecContext(tx.ctx, query, key)
	if err != nil {
		if tx.db.engine.foreign(err) {
			return ErrInUse
		}
		return tx.db.mapped(err)
	}
	if rows, err := n.RowsAffected(); err != nil || rows == 0 {
		return errors.Join(ErrNotFound, err)
	}
	c.Removed = true
	tx.change(c)
	return nil
}

// identityRow is an identity as it is stored: what is changed in bulk lies beside the doc.
type identityRow struct {
	identity.Identity
	state      identity.State
	generation uint64
	killedBy   string
	killedFrom identity.State
	version    int64
}

const identityColumns = "SELECT doc, state, generation, killed_by, killed_from, version FROM identities "

func (r *identityRow) columns() []any {
	return []any{&r.state, &r.generation, &r.killedBy, &r.killedFrom, &r.version}
}

func (r *identityRow) fix() {
	r.State, r.Generation, r.KilledBy, r.KilledFrom, r.Version = r.state, r.generation, r.killedBy, r.killedFrom, r.version
}

// PutIdentity adds or changes an identity. Its name may not be another's, of whatever kind.
func (tx *Tx) PutIdentity(i identity.Identity) error {
	_, err := tx.exec(`INSERT INTO identities (id, name, kind, owner, state, expires, generation, killed_by, killed_from, version, parent, born, ended, doc, environment, created, search)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, state = excluded.state, expires = excluded.expires,
		generation = excluded.generation, killed_by = excluded.killed_by, killed_from = excluded.killed_from, version = excluded.version,
		ended = CASE WHEN excluded.ended > 0 AND identities.ended > 0 THEN identities.ended ELSE excluded.ended END, doc = excluded.doc,
		environment = excluded.environment, created = excluded.created, search = excluded.search`,
		i.ID.String(), i.ID.Name(), string(i.ID.Kind()), nullable(i.Owner), string(i.State), micros(i.Expires), i.Generation, i.KilledBy, string(i.KilledFrom), i.Version,
		nullable(i.Parent.ID.String()), i.Parent.Generation, tx.ended(i.State), encode(i), i.Environment, micros(i.Created), searched(i))
	tx.change(feed.Change{Identity: &i})
	return err
}

// Identity returns the identity of that id, or ErrNotFound.
func (tx *Tx) Identity(id identity.ID) (identity.Identity, error) {
	return tx.identity("WHERE id = $1", id.String())
}

// IdentityByName returns the identity of that name, of whatever kind, or ErrNotFound.
func (tx *Tx) IdentityByName(name string) (identity.Identity, error) {
	return tx.identity("WHERE name = $1", name)
}

func (tx *Tx) identity(where, key string) (identity.Identity, error) {
	r, err := one(tx, identityColumns+where, key, (*identityRow).columns, (*identityRow).fix)
	return r.Identity, err
}

type credentialRow struct {
	identity.Credential
	revoked, lastUsed int64
}

const credentialColumns = "SELECT doc, revoked, last_used FROM credentials "

func (r *credentialRow) columns() []any { return []any{&r.revoked, &r.lastUsed} }
func (r *credentialRow) fix()           { r.Revoked, r.LastUsed = at(r.revoked), at(r.lastUsed) }

// PutCredential adds or changes a credential. One whose thumbprint or key is known already, of whichever
// identity and though it be revoked, is refused with ErrExists: one key, one identity, one life.
func (tx *Tx) PutCredential(c identity.Credential) error {
	key := c.KeyPrint
	if key == "" {
		key = c.Thumbprint
	}
	_, err := tx.exec(`INSERT INTO credentials (id, identity, thumbprint, key_thumbprint, revoked, last_used, provider, doc) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET revoked = excluded.revoked, doc = excluded.doc`,
		c.ID, c.Identity.String(), c.Thumbprint, key, micros(c.Revoked), micros(c.LastUsed), c.Provider, encode(c))
	tx.change(feed.Change{Credential: &c})
	return err
}

// Credential returns the credential of that id, or ErrNotFound.
func (tx *Tx) Credential(id string) (identity.Credential, error) {
	r, err := one(tx, credentialColumns+"WHERE id = $1", id, (*credentialRow).columns, (*credentialRow).fix)
	return r.Credential, err
}

// CredentialByThumbprint returns the credential of that thumbprint, or ErrNotFound.
func (tx *Tx) CredentialByThumbprint(thumbprint string) (identity.Credential, error) {
	r, err := one(tx, credentialColumns+"WHERE thumbprint = $1", thumbprint, (*credentialRow).columns, (*credentialRow).fix)
	return r.Credential, err
}

// CredentialByKey returns the credential of the key with that RFC 7638 thumbprint, whether it came as
// a JWK or in a certificate, or ErrNotFound.
func (tx *Tx) CredentialByKey(thumbprint string) (identity.Credential, error) {
	r, err := one(tx, credentialColumns+"WHERE key_thumbprint = $1", thumbprint, (*credentialRow).columns, (*credentialRow).fix)
	return r.Credential, err
}

// PutUpstream adds or changes an upstream.
func (tx *Tx) PutUpstream(u policy.Upstream) error {
	killed := 0
	if u.Killed {
		killed = 1
	}
	_, err := tx.exec(`INSERT INTO upstreams (name, owner, killed, version, doc) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, killed = excluded.killed, version = excluded.version, doc = excluded.doc`,
		u.Name, nullable(u.Owner), killed, u.Version, encode(u))
	tx.change(feed.Change{Upstream: &u})
	return err
}

// Upstream returns the upstream of that name, or ErrNotFound.
func (tx *Tx) Upstream(name string) (policy.Upstream, error) {
	return one(tx, "SELECT doc FROM upstreams WHERE name = $1", name, none[policy.Upstream], nil)
}

// DeleteUpstream removes an upstream that no grant refers to; else it returns ErrInUse.
func (tx *Tx) DeleteUpstream(name string) error {
	return tx.delete("DELETE FROM upstreams WHERE name = $1", name, feed.Change{Upstream: &policy.Upstream{Name: name}})
}

// PutGrant adds or changes a grant. It stays with its identity for ever.
func (tx *Tx) PutGrant(g policy.Grant) error {
	_, err := tx.exec(`INSERT INTO grants (id, identity, upstream, doc) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET upstream = excluded.upstream, doc = excluded.doc`,
		g.ID, g.Identity.String(), g.Upstream, encode(g))
	tx.change(feed.Change{Grant: &g})
	return err
}

// Grant returns the grant of that id, or ErrNotFound.
func (tx *Tx) Grant(id string) (policy.Grant, error) {
	return one(tx, "SELECT doc FROM grants WHERE id = $1", id, none[policy.Grant], nil)
}

// DeleteGrant removes a grant.
func (tx *Tx) DeleteGrant(id string) error {
	g, err := tx.Grant(id)
	if err != nil {
		return err
	}
	return tx.delete("DELETE FROM grants WHERE id = $1", id, feed.Change{Grant: &policy.Grant{ID: id, Identity: g.Identity}})
}

// PutGuardrail adds or changes a guardrail.
func (tx *Tx) PutGuardrail(g policy.Guardrail) error {
	_, err := tx.exec("INSERT INTO guardrails (id, doc) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc", g.ID, encode(g))
	tx.change(feed.Change{Guardrail: &g})
	return err
}

// Guardrail returns the guardrail of that id, or ErrNotFound.
func (tx *Tx) Guardrail(id string) (policy.Guardrail, error) {
	return one(tx, "SELECT doc FROM guardrails WHERE id = $1", id, none[policy.Guardrail], nil)
}

// DeleteGuardrail removes a guardrail.
func (tx *Tx) DeleteGuardrail(id string) error {
	return tx.delete("DELETE FROM guardrails WHERE id = $1", id, feed.Change{Guardrail: &policy.Guardrail{ID: id}})
}

// RevokeToken ends a token before its time.
func (tx *Tx) RevokeToken(t feed.TokenRevocation) error {
	// Those that ended long ago need not be remembered.
	if _, err := tx.exec("DELETE FROM tokens WHERE expires < $1", micros(tx.now.Add(-time.Hour))); err != nil {
		return err
	}
	_, err := tx.exec("INSERT INTO tokens (id, expires) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", t.ID, micros(t.Expires))
	tx.change(feed.Change{Token: &t})
	return err
}

// PutKeys publishes the keys that tokens are verified with.
func (tx *Tx) PutKeys(k feed.Keys) error {
	err := tx.PutMeta("jwks", k.JWKS)
	tx.change(feed.Change{Keys: &k})
	return err
}

// PutMeta keeps a small value that no gateway needs to know.
func (tx *Tx) PutMeta(name string, value []byte) error {
	tx.changed = true
	_, err := tx.exec("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	return err
}

// Meta returns what PutMeta kept, or ErrNotFound.
func (tx *Tx) Meta(name string) (value []byte, err error) {
	return value, tx.row("SELECT value FROM meta WHERE name = $1", []any{name}, &value)
}

// UpstreamSecret is the name under which an upstream's credential is kept.
func UpstreamSecret(upstream string) string { return "upstream/" + upstream }

// PutSecret keeps a secret, sealed for its name.
func (tx *Tx) PutSecret(name string, plain []byte) error {
	if err := tx.current(); err != nil {
		return err
	}
	sealed, err := tx.db.Seal.Seal(plain, name)
	if err != nil {
		return err
	}
	tx.changed = true
	_, err = tx.exec("INSERT INTO secrets (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed", name, sealed)
	return err
}

// Secret returns a secret, or ErrNotFound.
func (tx *Tx) Secret(name string) ([]byte, error) {
	var sealed []byte
	if err := tx.row("SELECT sealed FROM secrets WHERE name = $1", []any{name}, &sealed); err != nil {
		return nil, err
	}
	return tx.Unseal(sealed, name)
}

// DeleteSecret forgets a secret; that it was not there is no error.
func (tx *Tx) DeleteSecret(name string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM secrets WHERE name = $1", name)
	return err
}

// Secrets returns the names that begin with prefix.
func (tx *Tx) Secrets(prefix string) ([]string, error) {
	return list(tx, func(row scanner) (s string, err error) { return s, row.Scan(&s) },
		"SELECT name FROM secrets WHERE name >= $1 AND name < $2 ORDER BY name", prefix, prefix+"\x7f")
}
