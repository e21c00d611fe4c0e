package store

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
)

// TestSearchIndex: parts of names are searched without an index where the database lets nobody have one, and for no other reason; a store that
// had to do without gets it once it may.
func TestSearchIndex(t *testing.T) {
	s, err := pgserver.Start()
	if errors.Is(err, pgserver.ErrMissing) && !pgserver.CI() {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	exec := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if err := s.Exec(statement); err != nil {
				t.Fatal(statement, err)
			}
		}
	}
	box, err := seal.New()
	if err != nil {
		t.Fatal(err)
	}
	exec("CREATE ROLE plain LOGIN", "CREATE SCHEMA mine AUTHORIZATION plain")
	open := func() (*DB, error) {
		return Open(t.Context(), Config{Dir: t.TempDir(), Database: strings.Replace(s.URL(), "postgres@", "plain@", 1) + "&search_path=mine", Now: time.Now, Rand: rand.Reader, Seal: box, Fatal: func(err error) { t.Error(err) }})
	}
	indexed := func(want bool, what string) {
		t.Helper()
		db, err := open()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer db.Close()
		var n int
		if err := db.r.QueryRow("SELECT COUNT(*) FROM pg_indexes WHERE schemaname = 'mine' AND indexname = 'identities_search'").Scan(&n); err != nil || (n == 1) != want {
			t.Errorf("%s: %d indexes, %v", what, n, err)
		}
	}
	again := func() {
		exec("DELETE FROM mine.schema_version WHERE version >= 19", "DROP INDEX IF EXISTS mine.identities_found")
	}
	indexed(false, "no right to the extension")
	again()
	exec("CREATE SCHEMA hidden", "CREATE EXTENSION pg_trgm SCHEMA hidden")
	indexed(false, "no right to where it is")
	again()
	exec("DROP EXTENSION pg_trgm", "CREATE EXTENSION pg_trgm SCHEMA public",
		`CREATE FUNCTION full_disk() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF current_query() LIKE '%gin_trgm_ops%' THEN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END IF; END $$`,
		"CREATE EVENT TRIGGER full_disk ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION full_disk()")
	if db, err := open(); err == nil {
		db.Close()
		t.Error("that the disk was full was passed over")
	} else if !strings.Contains(err.Error(), "could not extend file") && !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	exec("DROP EVENT TRIGGER full_disk")
	indexed(true, "when there is room again")
	exec("DROP INDEX mine.identities_search")
	again()
	indexed(true, "a store that was without")
}
