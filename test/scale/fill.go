package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lanyard-dev/lanyard/internal/connector/patterns"
	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// slow is how many identities go through the store itself, a change each, before the others are copied in.
const slow = 2000

var (
	areas   = []string{"invoice", "mail", "deploy", "report", "support", "backup", "search", "billing", "ticket", "crawl"}
	regions = []string{"eu", "us", "ap", "sa"}
)

// filler makes the identities of a store, each from its number alone.
type filler struct {
	n      int // how many there are
	mail   policy.Upstream
	grants map[identity.Kind][2]policy.Grant // compiled for one of each kind, which has the name of number 0
	now    time.Time
	until  time.Time
}

func newFiller(n int, upstream string) (*filler, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	f := &filler{n: n, grants: map[identity.Kind][2]policy.Grant{}, now: now, until: now.Add(90 * 24 * time.Hour)}
	f.mail = policy.Upstream{Name: "mail", URL: upstream, Owner: owner(0), Environment: "production", Family: "patterns", Version: 1,
		Description: []byte("GET /things/{id} -> things.read read /things/{id}\nPOST /things -> things.make write /things\n")}
	table, err := patterns.Open(f.mail.Description)
	if err != nil {
		return nil, err
	}
	d := policy.Described{Upstream: f.mail, Actions: table.Actions()}
	compiled := func(id identity.ID) (list [2]policy.Grant, err error) {
		for k, class := range []string{"read", "write"} {
			g := policy.Grant{ID: id.Name() + "/" + class, Identity: id, Upstream: "mail", Actions: []string{class}, Plain: true, Until: f.until}
			if list[k], err = policy.Compile(g, d); err != nil {
				return list, err
			}
		}
		return list, nil
	}
	for i := range 20 {
		if f.grants[kind(i)], err = compiled(identity.MustID("spiffe://lanyard.local/" + string(kind(i)) + "/" + name(0))); err != nil {
			return nil, err
		}
	}
	for i := range 20 { // compiling a million of them takes minutes
		want, err := compiled(id(i))
		if got := f.grantsOf(i); err != nil || !reflect.DeepEqual(got, want) {
			return nil, errors.Join(err, fmt.Errorf("%+v would be put, and %+v is right", got, want))
		}
	}
	return f, nil
}

func (f *filler) owners() int { return max(10, f.n/1000) }

func owner(n int) identity.OwnerID { return identity.OwnerID(fmt.Sprintf("owner-%04d", n)) }

func name(i int) string {
	return fmt.Sprintf("%s-%s-%07d", areas[i%len(areas)], regions[i/10%len(regions)], i)
}

func kind(i int) identity.Kind {
	switch i % 20 {
	case 17, 18:
		return identity.Service
	case 19:
		return identity.Bot
	}
	return identity.Agent
}

func id(i int) identity.ID {
	return identity.MustID("spiffe://lanyard.local/" + string(kind(i)) + "/" + name(i))
}

// bytesOf is 32 bytes that are always the same for a number and a use. As a reader it repeats them.
type bytesOf [32]byte

func seeded(i int, use string) bytesOf {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte(use), uint64(i)))
}

func (b bytesOf) Read(p []byte) (int, error) {
	for n := 0; n < len(p); n += copy(p[n:], b[:]) {
	}
	return len(p), nil
}

// secret is the API key of an identity, and its hash.
func secret(i int) (key, hash string, err error) { return token.NewAPIKey(seeded(i, "secret")) }

func (f *filler) identity(i int) identity.Identity {
	v := identity.Identity{ID: id(i), Owner: owner(i % f.owners()), Purpose: fmt.Sprintf("Handles the %ss of customer %d", areas[i%len(areas)], i/7),
		Environment: "production", State: identity.Active, Created: f.now, Expires: f.until, Version: 1}
	if i%100 == 99 {
		v.State = identity.Suspended
	}
	return v
}

func (f *filler) credentials(i int) (list [2]identity.Credential, err error) {
	ids := seeded(i, "credential")
	for k := range list {
		u := fmt.Sprintf("%x", ids[16*k:16*k+16])
		list[k] = identity.Credential{ID: "cred_" + u[:8] + "-" + u[8:12] + "-" + u[12:16] + "-" + u[16:20] + "-" + u[20:], Identity: id(i), Created: f.now, Expires: f.until}
	}
	list[0].Kind = identity.PrivateKeyJWT
	list[0].PublicKey = fmt.Appendf(nil, `{"kty":"OKP","crv":"Ed25519","x":"%s"}`, b64(seeded(i, "key")))
	if list[0].Thumbprint, err = token.Thumbprint(list[0].PublicKey); err != nil {
		return list, err
	}
	list[1].Kind = identity.Key
	_, list[1].Thumbprint, err = secret(i)
	return list, err
}

func (f *filler) grantsOf(i int) (list [2]policy.Grant) {
	for k, g := range f.grants[kind(i)] {
		g.Cedar = strings.ReplaceAll(g.Cedar, name(0), name(i))
		g.ID, g.Identity = name(i)+g.ID[strings.LastIndexByte(g.ID, '/'):], id(i)
		list[k] = g
	}
	return list
}

// fill makes a store in database, whose seal key is in dir, and puts everything in.
func (f *filler) fill(ctx context.Context, dir, database string) error {
	box, err := seal.Create(filepath.Join(dir, "seal.key"))
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{Database: database, Now: time.Now, Rand: rand.Reader, Seal: box, Fatal: func(err error) { panic(err) }})
	if err != nil {
		return err
	}
	first := min(f.n, slow)
	err = f.write(ctx, db, 0, first)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if err := f.same(ctx, c, first); err != nil {
		return err
	}
	return f.copy(ctx, c, first)
}

// write puts the owners, the upstream, and the identities up to a number through the store, with an event for each.
func (f *filler) write(ctx context.Context, db *store.DB, from, to int) error {
	event := func(tx *store.Tx, what string, i int) error {
		e := ledger.Event{Time: tx.Now(), Type: what, Outcome: ledger.Allowed, Actor: "operator:scale", Resource: id(i).String()}
		var err error
		if e.ID, err = ledger.NewID(rand.Reader, tx.Now()); err == nil {
			tx.Record(e)
		}
		return err
	}
	if _, err := db.Write(ctx, func(tx *store.Tx) error {
		for n := range f.owners() {
			if err := tx.PutOwner(identity.Owner{ID: owner(n), Name: fmt.Sprint("Owner ", n), Email: fmt.Sprintf("owner%d@example.com", n), State: identity.OwnerActive}); err != nil {
				return err
			}
		}
		return errors.Join(tx.PutUpstream(f.mail), event(tx, "upstream.put", 0))
	}); err != nil {
		return err
	}
	for i := from; i < to; i += 100 {
		if _, err := db.Write(ctx, func(tx *store.Tx) error {
			for i := i; i < min(i+100, to); i++ {
				c, err := f.credentials(i)
				g := f.grantsOf(i)
				if err = errors.Join(err, tx.PutIdentity(f.identity(i)), tx.PutCredential(c[0]), tx.PutCredential(c[1]), tx.PutGrant(g[0]), tx.PutGrant(g[1]), event(tx, "identity.register", i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// table is one that is copied into.
type table struct {
	name    string
	columns []string
	each    int // rows of an identity
	row     func(i, k int) ([]any, error)
}

func (f *filler) tables() []table {
	return []table{
		{"identities", []string{"id", "name", "kind", "owner", "state", "expires", "generation", "killed_by", "killed_from", "version", "parent", "born", "ended", "environment", "created", "used", "search", "doc"}, 1, func(i, _ int) ([]any, error) {
			v := f.identity(i)
			doc, err := json.Marshal(v)
			return []any{v.ID.String(), name(i), string(kind(i)), string(v.Owner), string(v.State), v.Expires.UnixMicro(), int64(v.Generation), "", "", v.Version, nil, int64(0), int64(0), v.Environment, v.Created.UnixMicro(), int64(0),
				strings.ToLower(name(i) + "\n" + v.Purpose + "\n" + string(v.Owner)), doc}, err
		}},
		{"credentials", []string{"id", "identity", "thumbprint", "key_thumbprint", "revoked", "last_used", "provider", "doc"}, 2, func(i, k int) ([]any, error) {
			list, err := f.credentials(i)
			if err != nil {
				return nil, err
			}
			c := list[k]
			doc, err := json.Marshal(c)
			return []any{c.ID, c.Identity.String(), c.Thumbprint, c.Thumbprint, int64(0), int64(0), "", doc}, err
		}},
		{"grants", []string{"id", "identity", "upstream", "doc"}, 2, func(i, k int) ([]any, error) {
			g := f.grantsOf(i)[k]
			doc, err := json.Marshal(g)
			return []any{g.ID, g.Identity.String(), g.Upstream, doc}, err
		}},
	}
}

// same compares what the store wrote with what would be copied: it is all the same.
func (f *filler) same(ctx context.Context, c *pgx.Conn, first int) error {
	for _, t := range f.tables() {
		want := map[string][]any{}
		for i := range first {
			for k := range t.each {
				row, err := t.row(i, k)
				if err != nil {
					return err
				}
				want[row[0].(string)] = row
			}
		}
		rows, err := c.Query(ctx, "SELECT "+strings.Join(t.columns, ", ")+" FROM "+t.name)
		if err != nil {
			return err
		}
		seen := 0
		for rows.Next() {
			got, err := rows.Values()
			if err != nil {
				return err
			}
			row := want[got[0].(string)]
			if len(row) != len(got) {
				return fmt.Errorf("%s: the store wrote %v, which would not be copied", t.name, got[0])
			}
			for i := range got {
				a, isBytes := got[i].([]byte)
				if isBytes && bytes.Equal(a, row[i].([]byte)) || !isBytes && got[i] == row[i] {
					continue
				}
				return fmt.Errorf("%s.%s: the store wrote %s, and %s would be copied", t.name, t.columns[i], got[i], row[i])
			}
			seen++
		}
		if err := rows.Err(); err != nil || seen != len(want) {
			return errors.Join(err, fmt.Errorf("%s: the store wrote %d rows of %d", t.name, seen, len(want)))
		}
		var columns int
		if err := c.QueryRow(ctx, "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1", t.name).Scan(&columns); err != nil || columns != len(t.columns) {
			return errors.Join(err, fmt.Errorf("%s has %d columns, and %d would be copied", t.name, columns, len(t.columns)))
		}
	}
	return nil
}

// copy copies the identities from a number on in, with all that is theirs. The feed then begins behind them: whoever follows takes a snapshot.
func (f *filler) copy(ctx context.Context, c *pgx.Conn, from int) error {
	// The references hold by how the rows are made; asking for each takes as long as all the rest.
	if _, err := c.Exec(ctx, "SET session_replication_role = replica"); err != nil {
		return err
	}
	again, err := withoutIndexes(ctx, c)
	if err != nil {
		return err
	}
	for _, t := range f.tables() {
		at := from * t.each
		_, err := c.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromFunc(func() ([]any, error) {
			if at == f.n*t.each {
				return nil, nil
			}
			at++
			return t.row((at-1)/t.each, (at-1)%t.each)
		}))
		if err != nil {
			return fmt.Errorf("copying %s: %w", t.name, err)
		}
	}
	var lost int
	if err := c.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM credentials c LEFT JOIN identities i ON i.id = c.identity WHERE i.id IS NULL)
		+ (SELECT COUNT(*) FROM grants g LEFT JOIN identities i ON i.id = g.identity WHERE i.id IS NULL)
		+ (SELECT COUNT(*) FROM identities i LEFT JOIN owners o ON o.id = i.owner WHERE o.id IS NULL)`).Scan(&lost); err != nil || lost > 0 {
		return errors.Join(err, fmt.Errorf("%d rows refer to what is not there", lost))
	}
	for _, statement := range append(again, "DELETE FROM changes", "UPDATE head SET kept = seq", "VACUUM ANALYZE") {
		if _, err := c.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// withoutIndexes drops the indexes that are no constraints, and returns what makes them again: at once they take a third of the time.
func withoutIndexes(ctx context.Context, c *pgx.Conn) (again []string, err error) {
	rows, err := c.Query(ctx, `SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE NOT indisprimary
		AND indrelid IN ('identities'::regclass, 'credentials'::regclass, 'grants'::regclass)
		AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)`)
	if err != nil {
		return nil, err
	}
	var names []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		names, again = append(names, name), append(again, text)
	}
	for _, name := range names {
		if _, e := c.Exec(ctx, "DROP INDEX "+name); e != nil {
			err = errors.Join(err, e)
		}
	}
	return again, errors.Join(err, rows.Err())
}
