package store

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// An archive is all of a store as of one moment, the same for every engine: gzip
// over lines of JSON. The first is an [Archive]; then for each table a line with
// its columns and one line for each row; the last is a note, signed with the key
// of the ledger, over the number of lines before it and their SHA-256. In a row,
// bytes are a list of one string in base64. Secrets are in it as they are in the
// store, sealed.
const archiveVersion = 1

// Archive says what is in one.
type Archive struct {
	Version int       `json:"archive"`
	Schema  int       `json:"schema"` // how many migrations made its tables
	Made    time.Time `json:"made"`
	Epoch   string    `json:"epoch"` // of the feed
	Seq     uint64    `json:"seq"`   // of the last change
	Events  int64     `json:"events"`
	Root    []byte    `json:"root"` // of the ledger's tree
}

// Cursor is where the feed was.
func (a Archive) Cursor() feed.Cursor { return feed.Cursor{Epoch: a.Epoch, Seq: a.Seq} }

// table begins the rows of one.
type table struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

// archiveSeal is the last line.
type archiveSeal struct {
	Signed string `json:"signed"`
}

var madeTable = regexp.MustCompile(`(?m)^(CREATE|DROP) TABLE (\w+)`)

// tables are those that the first n migrations leave, what is referred to before what refers to it.
func tables(n int) (list []string, err error) {
	for _, name := range steps()[:n] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, m := range madeTable.FindAllStringSubmatch(string(text), -1) {
			if m[1] == "DROP" {
				return nil, fmt.Errorf("%s drops %s, which archives do not know how to leave out", name, m[2])
			}
			list = append(list, m[2])
		}
	}
	return list, nil
}

// lines writes or reads the lines of an archive, and remembers what goes into the signature.
type lines struct {
	n    int64
	hash hash.Hash
}

func (l *lines) add(line []byte) {
	l.n++
	l.hash.Write(line)
	l.hash.Write([]byte{'\n'})
}

// text is what is signed: it is no checkpoint of the ledger, whose first line is the key's name alone.
func (l *lines) text(name string) string {
	return name + "/archive\n" + strconv.FormatInt(l.n, 10) + "\n" + base64.StdEncoding.EncodeToString(l.hash.Sum(nil)) + "\n"
}

// Backup writes an archive of the store, which may be in use.
func Backup(ctx context.Context, c Config, w io.Writer) (a Archive, err error) {
	if c.Database == "" {
		if _, err := os.Stat(filepath.Join(c.Dir, "lanyard.db")); err != nil {
			return a, fmt.Errorf("there is no store in %s: %w", c.Dir, err)
		}
	}
	db := newDB(c)
	defer func() { err = errors.Join(err, db.shut()) }()
	if db.w, db.r, err = db.engine.open(db.Config); err != nil {
		return a, err
	}
	return db.archive(ctx, w)
}

func (db *DB) archive(ctx context.Context, out io.Writer) (a Archive, err error) {
	buffer := bufio.NewWriterSize(out, 1<<16)
	z := gzip.NewWriter(buffer)
	l := lines{hash: sha256.New()}
	put := func(v any) error {
		line := encode(v)
		l.add(line)
		_, err := z.Write(append(line, '\n'))
		return err
	}
	err = db.Read(ctx, func(tx *Tx) error {
		r, err := readHead(ctx, tx.sql, "")
		if err != nil {
			return err
		}
		a = Archive{Version: archiveVersion, Made: tx.now, Epoch: r.epoch, Seq: r.seq, Events: r.size, Root: r.root}
		if err := tx.row("SELECT MAX(version) FROM schema_version", nil, &a.Schema); err != nil {
			return err
		}
		if a.Schema > len(steps()) {
			return fmt.Errorf("its schema is version %d, this program knows %d: use the newer lanyard that made it", a.Schema, len(steps()))
		}
		names, err := tables(a.Schema)
		if err == nil {
			err = put(a)
		}
		for _, name := range names {
			if err == nil {
				err = tx.dump(name, put)
			}
		}
		if err != nil {
			return err
		}
		if err := tx.opened(); err != nil {
			return err
		}
		secret, err := tx.Secret(checkpointKey)
		if err != nil {
			return err
		}
		signer, err := note.NewSigner(string(secret))
		if err != nil {
			return errors.New("the key that signs checkpoints is malformed")
		}
		signed, err := note.Sign(&note.Note{Text: l.text(signer.Name())}, signer)
		if err != nil {
			return err
		}
		return put(archiveSeal{string(signed)})
	})
	return a, errors.Join(err, z.Close(), buffer.Flush())
}

// dump writes the rows of a table.
func (tx *Tx) dump(name string, put func(any) error) error {
	r, err := tx.sql.QueryContext(tx.ctx, "SELECT * FROM "+name+" ORDER BY 1")
	if err != nil {
		return err
	}
	defer r.Close()
	columns, err := r.Columns()
	if err == nil {
		err = put(table{name, columns})
	}
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for r.Next() {
		if err := r.Scan(into...); err != nil {
			return err
		}
		row := make([]any, len(values))
		for i, v := range values {
			switch v := v.(type) {
			case nil, string, int64:
				row[i] = v
			case []byte:
				row[i] = []string{base64.StdEncoding.EncodeToString(v)}
			default:
				return fmt.Errorf("table %s, column %s holds a %T", name, columns[i], v)
			}
		}
		if err := put(row); err != nil {
			return err
		}
	}
	return r.Err()
}

// reader reads an archive.
type reader struct {
	lines
	z    *gzip.Reader
	in   *bufio.Reader
	next []byte // read, and not yet taken
	err  error
}

func readArchive(in io.Reader) (*reader, Archive, error) {
	var a Archive
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, a, fmt.Errorf("this is no backup of lanyard: %w", err)
	}
	r := &reader{lines: lines{hash: sha256.New()}, z: z, in: bufio.NewReaderSize(z, 1<<16)}
	if err := json.Unmarshal(r.peek(), &a); r.err != nil || err != nil || a.Version == 0 {
		return nil, a, errors.Join(errors.New("this is no backup of lanyard"), r.err)
	}
	r.take()
	if a.Version != archiveVersion || a.Schema < 1 || a.Schema > len(steps()) {
		return nil, a, fmt.Errorf("the backup is of form %d and schema %d, this program knows %d and %d: use the newer lanyard that made it", a.Version, a.Schema, archiveVersion, len(steps()))
	}
	return r, a, nil
}

// peek returns the next line without taking it.
func (r *reader) peek() []byte {
	if r.next == nil && r.err == nil {
		line, err := r.in.ReadBytes('\n')
		if err != nil {
			r.err = fmt.Errorf("the backup ends in the midst: %w", err)
			return nil
		}
		r.next = bytes.TrimSuffix(line, []byte{'\n'})
	}
	return r.next
}

func (r *reader) take() {
	r.add(r.next)
	r.next = nil
}

// row takes a row; ok is false at the end of the table.
func (r *reader) row(columns int) (row []any, ok bool, err error) {
	line := r.peek()
	if r.err != nil || len(line) == 0 || line[0] != '[' {
		return nil, false, r.err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&row); err != nil || len(row) != columns {
		return nil, false, errors.Join(fmt.Errorf("the backup is damaged in line %d", r.n+1), err)
	}
	for i, v := range row {
		if row[i], err = value(v); err != nil {
			return nil, false, fmt.Errorf("the backup is damaged in line %d: %w", r.n+1, err)
		}
	}
	r.take()
	return row, true, nil
}

func value(v any) (any, error) {
	switch v := v.(type) {
	case nil, string:
		return v, nil
	case json.Number:
		return v.Int64()
	case []any:
		if len(v) == 1 {
			if s, ok := v[0].(string); ok {
				return base64.StdEncoding.DecodeString(s)
			}
		}
	}
	return nil, fmt.Errorf("a %T is no value", v)
}

// signed takes the last line and says whether all before it was signed with that key.
func (r *reader) signed(verifier string) error {
	var s archiveSeal
	if err := json.Unmarshal(r.peek(), &s); r.err != nil || err != nil || s.Signed == "" {
		return errors.Join(fmt.Errorf("the backup is damaged in line %d", r.n+1), r.err)
	}
	v, err := note.NewVerifier(strings.TrimSpace(verifier))
	if err != nil {
		return fmt.Errorf("the backup's key of the ledger: %w", err)
	}
	n, err := note.Open([]byte(s.Signed), note.VerifierList(v))
	if err != nil || n.Text != r.text(v.Name()) {
		return errors.New("the backup is not what was backed up: its signature does not fit")
	}
	if more, err := io.Copy(io.Discard, r.in); err != nil || more > 0 { // the checksum of gzip, too
		return errors.Join(errors.New("the backup is damaged at its end"), err)
	}
	return nil
}

// insert writes the rows that follow into a table.
func (r *reader) insert(ctx context.Context, tx *sql.Tx, t table, known []string) error {
	for _, c := range t.Columns {
		if !slices.Contains(known, c) {
			return fmt.Errorf("the backup is damaged: table %s has no column %q", t.Table, c)
		}
	}
	const most = 50
	for {
		var args []any
		n := 0
		for ; n < most; n++ {
			row, ok, err := r.row(len(t.Columns))
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			args = append(args, row...)
		}
		if n > 0 {
			if _, err := tx.ExecContext(ctx, insertRowsInto(t, n), args...); err != nil {
				return fmt.Errorf("table %s: %w", t.Table, err)
			}
		}
		if n < most {
			return nil
		}
	}
}

func insertRowsInto(t table, rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + t.Table + " (" + strings.Join(t.Columns, ", ") + ") VALUES ")
	n := 0
	for row := range rows {
		if row > 0 {
			b.WriteString(", ")
		}
		for i := range t.Columns {
			n++
			b.WriteString(map[bool]string{true: "(", false: ", "}[i == 0] + "$" + strconv.Itoa(n))
		}
		b.WriteString(")")
	}
	return b.String()
}
