package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// since11 takes back what the migrations from the eleventh on made.
var since11 = []string{"DROP TABLE directories", "DROP TABLE directory_users", "DROP TABLE directory_groups", "DROP TABLE directory_members", "DROP TABLE views", "DROP INDEX owners_email", "ALTER TABLE owners DROP COLUMN email",
	"DROP TABLE sessions", "DROP TABLE passkeys", "DROP INDEX IF EXISTS identities_search", "DROP INDEX identities_found", "DROP INDEX identities_by_owner", "DROP INDEX identities_by_end", "DROP INDEX identities_by_use",
	"DROP TABLE sieves", "DROP INDEX identities_by_birth", "DROP INDEX identities_idle", "ALTER TABLE identities DROP COLUMN environment", "ALTER TABLE identities DROP COLUMN created", "ALTER TABLE identities DROP COLUMN used", "ALTER TABLE identities DROP COLUMN search",
	"DROP INDEX identities_kind", "DROP INDEX identities_state", "DROP INDEX identities_roots", "DROP TABLE statuses", "DROP TABLE receivers", "DROP TABLE signals",
	"DROP INDEX outbox_approval", "ALTER TABLE acks DROP COLUMN turn", "DROP TABLE former_owners", "DROP TABLE yeses"}

// migrated: a store of two versions before knows its keys, and where its identities were killed from it does not.
func migrated(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	for _, statement := range append(slices.Clone(since11), "DROP TABLE gateways", "DROP TABLE acks", "DROP TABLE approvals", "DROP TABLE outbox", "DROP TABLE tasks", "DROP TABLE providers", "DROP INDEX credentials_provider", "ALTER TABLE credentials DROP COLUMN provider", "DROP INDEX credentials_key", "ALTER TABLE credentials DROP COLUMN key_thumbprint",
		"ALTER TABLE identities DROP COLUMN killed_from",
		"DROP INDEX identities_parent", "DROP INDEX identities_ended", "ALTER TABLE identities DROP COLUMN parent", "ALTER TABLE identities DROP COLUMN born",
		"ALTER TABLE identities DROP COLUMN ended", "DROP TABLE spent_keys", "DROP TABLE orphaned", "DELETE FROM schema_version WHERE version >= 3") {
		k.must(db.UnsafeExec(statement))
	}
	k.must(db.Close())
	have, know, err := store.Schema(t.Context(), k.Config)
	if err != nil || have != 2 || know < 7 {
		t.Errorf("schema %d of %d: %v", have, know, err)
	}
	k.must(store.Migrate(t.Context(), k.Config))
	if have, _, err := store.Schema(t.Context(), k.Config); err != nil || have != know {
		t.Errorf("migrated to schema %d of %d: %v", have, know, err)
	}
	db = k.open()
	k.read(db, func(tx *store.Tx) error {
		c, err := tx.CredentialByKey(key.Thumbprint)
		i, err2 := tx.Identity(bot)
		if c.ID != key.ID || i.State != identity.Active || i.KilledFrom != "" {
			t.Errorf("%+v %+v", c, i)
		}
		found, n, err3 := find(tx, store.Listing{Query: "TESTS", Sort: "created", Limit: 10})
		if n != 1 || found != "bot" {
			t.Errorf("found by what it is for: %s, %d", found, n)
		}
		return errors.Join(err, err2, err3)
	})
	k.must(db.UnsafeExec("INSERT INTO schema_version (version) VALUES ($1)", know+1))
	k.must(db.Close())
	for name, err := range map[string]error{"open": errOf(store.Open(t.Context(), k.Config)), "migrate": store.Migrate(t.Context(), k.Config)} {
		if err == nil || !strings.Contains(err.Error(), "use the newer lanyard that made it") {
			t.Errorf("%s a store of a newer version: %v", name, err)
		}
	}
	if have, _, err := store.Schema(t.Context(), k.Config); err != nil || have != know+1 {
		t.Errorf("schema %d: %v", have, err)
	}
}
