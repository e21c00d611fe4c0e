package store

import (
	"context"
	"database/sql"
)

// trigrams has PostgreSQL find a part of a name without reading all names, if it may have the extension that does: with
// a database that is not the user's own, that has no such extension, or in which nothing is to be added, a search only
// takes longer. Whatever else goes wrong is an error. Another store may make the extension at the same moment.
const trigrams = `DO $$
DECLARE place text;
BEGIN
	IF NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm') THEN
		BEGIN
			CREATE EXTENSION pg_trgm SCHEMA public;
		EXCEPTION WHEN duplicate_object OR unique_violation THEN
			NULL;
		END;
	END IF;
	SELECT quote_ident(n.nspname) INTO place FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
	EXECUTE 'CREATE INDEX IF NOT EXISTS identities_search ON identities USING gin (search ' || place || '.gin_trgm_ops)';
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file OR invalid_schema_name THEN
	RAISE NOTICE 'parts of names are searched without an index: %', SQLERRM;
END $$`

// indexSearch makes the index that parts of names are found by, where the engine has one.
func (db *DB) indexSearch(ctx context.Context, tx *sql.Tx) error {
	if db.engine.search == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, db.engine.search)
	return err
}
