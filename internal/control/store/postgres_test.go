package store

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPostgresConfig: what a URL means when it says nothing, and that no error quotes its password.
func TestPostgresConfig(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for database, verified := range map[string]bool{
		"postgres://lanyard:hush@db.example.com/lanyard":                                        true,
		"postgres://lanyard:hush@10.0.0.1:5433/lanyard?application_name=x":                      true,
		"postgresql://lanyard:hush@db.example.com/lanyard?sslmode=require":                      false,
		"postgres://lanyard:hush@127.0.0.1/lanyard":                                             false,
		"postgres://lanyard:hush@localhost/lanyard":                                             false,
		"postgres://lanyard:hush@/lanyard?host=/run/postgresql":                                 false,
		"postgres://lanyard:hush@/lanyard?host=db.example.com":                                  true,
		"postgres://lanyard:hush@db.example.com/lanyard?idle_in_transaction_session_timeout=1s": true,
	} {
		c, err := postgresConfig(database)
		if err != nil {
			t.Errorf("%s: %v", database, err)
			continue
		}
		if is := c.TLSConfig != nil && !c.TLSConfig.InsecureSkipVerify && len(c.Fallbacks) == 0; is != verified {
			t.Errorf("%s: verified TLS alone: %v, want %v", database, is, verified)
		}
		if c.RuntimeParams["lock_timeout"] == "" || c.ConnectTimeout == 0 {
			t.Errorf("%s: it may wait for ever: %v", database, c.RuntimeParams)
		}
	}
	// A service file says where the database is, which is not in the URL.
	services := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(services, []byte("[far]\nhost=db.example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", services)
	for _, service := range []string{"", "far"} {
		t.Setenv("PGSERVICE", service)
		c, err := postgresConfig("postgres:///lanyard" + map[bool]string{true: "?service=far"}[service == ""])
		if err != nil || c.Host != "db.example.com" || c.TLSConfig == nil || c.TLSConfig.InsecureSkipVerify || len(c.Fallbacks) > 0 {
			t.Errorf("of a service: %+v %v", c, err)
		}
	}
	t.Setenv("PGSERVICE", "")
	for _, database := range []string{"postgres://lanyard:hush@db:x:y/z", "mysql://lanyard:hush@db/z", "lanyard:hush@db", "postgres://lanyard:hush@db/z?sslmode=sure", "postgres://lanyard:hush@db/%zz"} {
		if _, err := postgresConfig(database); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", database, err)
		}
		if db := newDB(Config{Database: database}); strings.Contains(db.place(), "hush") {
			t.Errorf("it is in %s", db.place())
		}
	}
	// Nobody is there.
	_, err := Open(t.Context(), Config{Database: "postgres://lanyard:hush@127.0.0.1:1/lanyard", Now: time.Now, Rand: rand.Reader, Seal: nil, Fatal: func(error) {}})
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}

// FuzzArchive: whatever a backup says, it is read or refused.
func FuzzArchive(f *testing.F) {
	f.Add([]byte(`{"archive":1,"schema":1,"events":0}` + "\n" + `{"table":"head","columns":["one","root"]}` + "\n" + `[1,["AAAA"]]` + "\n" + `{"signed":"x"}` + "\n"))
	f.Add([]byte(`{"archive":1,"schema":99}` + "\n"))
	f.Add([]byte(`{"archive":1,"schema":1}` + "\n" + `[1e400,[["x"]]]` + "\n[null,\"x\"]\n[[],{}]\n"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(plain)
		z.Close()
		r, _, err := readArchive(&b)
		if err != nil {
			return
		}
		for range 10 {
			row, ok, err := r.row(2)
			if err != nil {
				return
			}
			if !ok {
				if r.peek() == nil {
					return
				}
				r.take()
				continue
			}
			for _, v := range row {
				switch v.(type) {
				case nil, string, int64, []byte:
				default:
					t.Fatalf("%T", v)
				}
			}
		}
		if r.signed("x+00000000+AAAA") == nil {
			t.Error("signed by nobody")
		}
	})
}
