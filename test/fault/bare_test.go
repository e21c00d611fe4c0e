package fault

import (
	"database/sql"
	"fmt"
	"path/filepath"

	_ "modernc.org/sqlite"
)

// bare is SQLite with nothing of ours around it: what it loses and keeps is
// known, so it shows that the faults here are real faults.
var bare = engine{name: "bare", write: bareWrite, check: bareCheck}

func bareOpen(dir, synchronous string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous("+synchronous+")")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY) STRICT; CREATE TABLE IF NOT EXISTS event (name TEXT PRIMARY KEY, body TEXT) STRICT`)
	return db, err
}

func bareWrite(dir, synchronous, prefix string, ack func(string)) error {
	db, err := bareOpen(dir, synchronous)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		name := fmt.Sprint(prefix, i)
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO state VALUES ($1)`, name)
		if err == nil {
			_, err = tx.Exec(`INSERT INTO event VALUES ($1, hex(randomblob(150)))`, name)
		}
		if err == nil {
			err = tx.Commit()
		}
		if err != nil {
			return err
		}
		ack(name)
	}
}

func bareCheck(dir string) (map[string]bool, error) {
	db, err := bareOpen(dir, "FULL")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		return nil, fmt.Errorf("integrity: %s %w", verdict, err)
	}
	rows, err := db.Query(`SELECT s.name, e.name FROM state s FULL JOIN event e ON s.name = e.name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	have := map[string]bool{}
	for rows.Next() {
		var s, e sql.NullString
		if err := rows.Scan(&s, &e); err != nil {
			return nil, err
		}
		if !s.Valid || !e.Valid {
			return nil, fmt.Errorf("half a write: state %v, event %v", s, e)
		}
		have[s.String] = true
	}
	return have, rows.Err()
}
