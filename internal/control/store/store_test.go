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
	storetest.Test(t, folder)
}

func TestPostgres(t *testing.T) {
	pg.Get(t)
	storetest.Test(t, database)
}

func folder(t *testing.T, c *store.Config)   { c.Dir = t.TempDir() }
func database(t *testing.T, c *store.Config) { c.Database = pg.New(t) }

func TestArchives(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { storetest.Archives(t, folder, folder) })
	t.Run("sqlite to postgres", func(t *testing.T) { pg.Get(t); storetest.Archives(t, folder, database) })
	t.Run("postgres to sqlite", func(t *testing.T) { pg.Get(t); storetest.Archives(t, database, folder) })
	t.Run("postgres", func(t *testing.T) { pg.Get(t); storetest.Archives(t, database, database) })
}

func TestMoved(t *testing.T) {
	pg.Get(t)
	storetest.Moved(t, folder, database)
}
