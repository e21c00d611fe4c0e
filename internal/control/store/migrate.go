package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date, each step in a transaction of its own.
// Of several that start at the same time one does it, and the others find it done.
func (db *DB) migrate(ctx context.Context) error { return db.migrateTo(ctx, len(steps())) }

// steps are the names of the migrations, in their order.
func steps() []string {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	for i, name := range names {
		if err == nil && !strings.HasPrefix(name, fmt.Sprintf("migrations/%04d_", i+1)) {
			err = fmt.Errorf("migration %d is missing", i+1)
		}
	}
	if err != nil {
		panic(err) // they are in the binary
	}
	return names
}

func (db *DB) migrateTo(ctx context.Context, last int) error {
	for done := false; !done; {
		err := db.alone(ctx, func(tx *sql.Tx) error {
			at, err := schemaVersion(ctx, tx)
			if err != nil {
				return err
			}
			if done = at >= last; done {
				return nil
			}
			return db.step(ctx, tx, at+1)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// schemaVersion is how far the schema is, in a transaction in which nobody changes it.
func schemaVersion(ctx context.Context, tx *sql.Tx) (at int, err error) {
	if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL PRIMARY KEY)"); err != nil {
		return 0, err
	}
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&at); err != nil {
		return 0, err
	}
	if known := len(steps()); at > known {
		return at, fmt.Errorf("its schema is version %d, this program knows %d: use the newer lanyard that made it", at, known)
	}
	return at, nil
}

// step makes version n of the version before.
func (db *DB) step(ctx context.Context, tx *sql.Tx, n int) error {
	name := steps()[n-1]
	text, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	for _, stmt := range statements(db.engine.words.Replace(string(text))) {
		if _, err := tx.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if strings.HasSuffix(name, "_yeses.sql") {
		if err := fillYeses(ctx, tx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if strings.HasSuffix(name, "_people.sql") {
		if err := errors.Join(fillListed(ctx, tx), db.indexSearch(ctx, tx)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if strings.HasSuffix(name, "_searched.sql") {
		if err := db.indexSearch(ctx, tx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if strings.HasSuffix(name, "_directories.sql") {
		if err := fillEmails(ctx, tx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO schema_version (version) VALUES ("+strconv.Itoa(n)+")")
	return err
}

// statements splits a script; its comments are dropped, since they may hold semicolons.
func statements(script string) (list []string) {
	var b strings.Builder
	for line := range strings.Lines(script) {
		code, _, _ := strings.Cut(line, "--")
		b.WriteString(strings.TrimRight(code, " \n") + "\n")
	}
	for s := range strings.SplitSeq(b.String(), ";") {
		if strings.TrimSpace(s) != "" {
			list = append(list, s)
		}
	}
	return list
}

// inTx runs f as the one writer, with the head as the database has it. A database elsewhere has so long to do all of it.
func (db *DB) inTx(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	ctx, cancel := db.patient(ctx)
	defer cancel()
	tx, err := db.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// alone runs f in a transaction beside which nobody makes or changes the schema. There may be no head yet.
func (db *DB) alone(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.w.BeginTx(ctx, &db.engine.write)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if db.engine.alone != "" {
		if _, err := tx.ExecContext(ctx, db.engine.alone); err != nil {
			return err
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
