package store_test

import (
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Test(t, func(t *testing.T, c *store.Config) { c.Dir = t.TempDir() })
}
