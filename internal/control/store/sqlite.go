package store

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	sqlite3 "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// engine is what differs between databases. Everything else is SQL that both understand.
type engine struct {
	name        string
	words       *strings.Replacer // of the migrations
	open        func(Config) (w, r *sql.DB, err error)
	write, read sql.TxOptions
	unique      func(error) bool // a unique constraint was violated
	foreign     func(error) bool // a foreign key was
	missing     func(error) bool // the table is not there
	full        func(error) bool // no space; nothing was written
	broken      func(error) bool // a write may or may not be on disk, and no question would tell

	// Of a database that other processes write to, too.
	shared bool
	lost   func(error) bool           // no connection; whatever was not committed is not there
	hold   string                     // ends a SELECT of the head: whoever reads it so is the one writer
	told   string                     // ends the UPDATE of the head: everyone is woken once it commits, and hears by which node
	bulk   string                     // inserts any number of events
	alone  string                     // begins a transaction that nobody changes the schema beside
	follow func(db *DB, begun func()) // rings the bell when others commit, until the store closes; begun when others see this node
	search string                     // a statement that makes the index by which parts of names are found
}

// sqlite is SQLite in one file, in WAL mode. Every commit is synced: with
// synchronous=NORMAL a power cut loses commits that were acknowledged.
var sqlite = engine{
	name:    "sqlite",
	words:   strings.NewReplacer("{{key}}", "TEXT", "{{int}}", "INTEGER", "{{bool}}", "INTEGER", "{{bytes}}", "BLOB", "{{strict}}", " STRICT"),
	open:    openSQLite,
	read:    sql.TxOptions{ReadOnly: true},
	unique:  sqliteCode(lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY),
	foreign: sqliteCode(lib.SQLITE_CONSTRAINT_FOREIGNKEY),
	full:    sqliteCode(lib.SQLITE_FULL, lib.SQLITE_IOERR_SHMSIZE), // the second: no room for the log's index
	broken: func(err error) bool {
		var e *sqlite3.Error
		if !errors.As(err, &e) || e.Code() == lib.SQLITE_IOERR_SHMSIZE {
			return false
		}
		switch e.Code() & 0xff {
		case lib.SQLITE_IOERR, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_NOMEM, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY:
			return true
		}
		return false
	},
	missing: func(err error) bool { return err != nil && strings.Contains(err.Error(), "no such table") }, // it has no code of its own
	lost:    func(error) bool { return false },
}

func sqliteCode(codes ...int) func(error) bool {
	return func(err error) bool {
		var e *sqlite3.Error
		if !errors.As(err, &e) {
			return false
		}
		for _, code := range codes {
			if e.Code() == code {
				return true
			}
		}
		return false
	}
}

func openSQLite(c Config) (w, r *sql.DB, err error) {
	path := filepath.Join(c.Dir, "lanyard.db")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite would let the umask decide
	if err != nil {
		return nil, nil, err
	}
	f.Close()
	// Set in the connection string, so that each connection of the pool has them.
	pragmas := []string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(" + c.UnsafeSynchronous + ")", "foreign_keys(1)",
		"temp_store(MEMORY)", "wal_autocheckpoint(4000)", "journal_size_limit(33554432)"}
	dsn := func(more ...string) string {
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + url.Values{"_pragma": append(more, pragmas...)}.Encode()
	}
	if w, err = sql.Open("sqlite", dsn("cache_size(-16384)")+"&_txlock=immediate"); err != nil {
		return nil, nil, err
	}
	if r, err = sql.Open("sqlite", dsn("cache_size(-4096)")+"&_query_only=1"); err != nil {
		return w, nil, err
	}
	w.SetMaxOpenConns(1)
	r.SetMaxOpenConns(8)
	r.SetMaxIdleConns(8)
	return w, r, nil
}
