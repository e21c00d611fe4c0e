package store_test

import (
	"errors"
	"net/url"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
)

// TestStandby: a server that follows another is no database, whatever the URL says of it: what it shows may be old, and a lease or a bound
// would stand on that. Of several hosts the one that leads is found.
func TestStandby(t *testing.T) {
	s, err := pgserver.Start()
	if errors.Is(err, pgserver.ErrMissing) && !pgserver.CI() {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	host := func(s *pgserver.Server) string {
		u, err := url.Parse(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("host")
	}
	b, err := s.Standby(pgserver.Place{}, "b", "host="+host(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	c := storetest.Config(t)
	c.Database = s.URL()
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	for _, more := range []string{"", "&target_session_attrs=any", "&target_session_attrs=prefer-standby"} {
		if is, err := store.ExistsIn(t.Context(), b.URL()+more); err == nil {
			t.Errorf("%q: the standby was asked: %v", more, is)
		}
		if is, err := store.ExistsIn(t.Context(), "postgres://postgres@/postgres?host="+host(b)+","+host(s)+more); err != nil || !is {
			t.Errorf("%q: of both: %v %v", more, is, err)
		}
	}
}
