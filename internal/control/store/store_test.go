package store_test

import (
	"os"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
)

var pg pgserver.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	pg.End()
	os.Exit(code)
}

func TestSQLite(t *testing.T) {
	storetest.Test(t, func(t *testing.T, c *store.Config) { c.Dir = t.TempDir() })
}

func TestPostgres(t *testing.T) {
	pg.Get(t)
	storetest.Test(t, func(t *testing.T, c *store.Config) { c.Database = pg.New(t) })
}
