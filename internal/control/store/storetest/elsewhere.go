package storetest

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// DatabaseVariable names a database for the tests of all rooms. See test/pg.
const DatabaseVariable = "LANYARD_TEST_DATABASE"

// Elsewhere puts the store that a test will open into a schema of its own on the database that the environment
// names, and does nothing where it names none.
func Elsewhere(t testing.TB, c *store.Config) {
	t.Helper()
	url := os.Getenv(DatabaseVariable)
	if url == "" {
		return
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	name := "t" + strings.ToLower(rand.Text())
	if _, err := conn.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	c.Database = url + "&search_path=" + name
}
