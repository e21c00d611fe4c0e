package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date, each step in a transaction of its own.
func (db *DB) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if _, err := db.w.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL PRIMARY KEY)"); err != nil {
		return err
	}
	var at int
	if err := db.w.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&at); err != nil {
		return err
	}
	if at > len(names) {
		return fmt.Errorf("its schema is version %d, this program knows %d: use the newer lanyard that made it", at, len(names))
	}
	for i, name := range names[at:] {
		n := at + i + 1
		if !strings.HasPrefix(name, fmt.Sprintf("migrations/%04d_", n)) {
			return fmt.Errorf("migration %d is missing", n)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		err = db.inTx(ctx, func(tx *sql.Tx) error {
			for _, stmt := range statements(db.engine.words.Replace(string(text))) {
				if _, err := tx.ExecContext(ctx, stmt); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO schema_version (version) VALUES ("+strconv.Itoa(n)+")")
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
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

func (db *DB) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
