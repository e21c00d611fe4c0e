package store

import (
	"iter"
	"strconv"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

type scanner interface{ Scan(...any) error }

// rows goes through what a query finds.
func rows[T any](tx *Tx, scan func(scanner) (T, error), query string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		r, err := tx.sql.QueryContext(tx.ctx, query, args...)
		if err != nil {
			yield(zero, tx.db.mapped(err))
			return
		}
		defer r.Close()
		for r.Next() {
			v, err := scan(r)
			if !yield(v, err) || err != nil {
				return
			}
		}
		if err := r.Err(); err != nil {
			yield(zero, tx.db.mapped(err))
		}
	}
}

func list[T any](tx *Tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	all := []T{}
	for v, err := range rows(tx, scan, query, args...) {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// doc scans an object that has nothing beside its doc.
func doc[T any](row scanner) (v T, err error) {
	var b []byte
	if err := row.Scan(&b); err != nil {
		return v, err
	}
	return decoded(b, v, nil)
}

func scanIdentity(row scanner) (identity.Identity, error) {
	var r identityRow
	var b []byte
	if err := row.Scan(append([]any{&b}, r.columns()...)...); err != nil {
		return identity.Identity{}, err
	}
	r, err := decoded(b, r, (*identityRow).fix)
	return r.Identity, err
}

func scanCredential(row scanner) (identity.Credential, error) {
	var r credentialRow
	var b []byte
	if err := row.Scan(append([]any{&b}, r.columns()...)...); err != nil {
		return identity.Credential{}, err
	}
	r, err := decoded(b, r, (*credentialRow).fix)
	return r.Credential, err
}

// Owners lists all owners by id.
func (tx *Tx) Owners() ([]identity.Owner, error) {
	return list(tx, doc[identity.Owner], "SELECT doc FROM owners ORDER BY id")
}

// Upstreams lists all upstreams by name.
func (tx *Tx) Upstreams() ([]policy.Upstream, error) {
	return list(tx, doc[policy.Upstream], "SELECT doc FROM upstreams ORDER BY name")
}

// Guardrails lists all guardrails by id.
func (tx *Tx) Guardrails() ([]policy.Guardrail, error) {
	return list(tx, doc[policy.Guardrail], "SELECT doc FROM guardrails ORDER BY id")
}

// Credentials lists the credentials of an identity, revoked ones too, in the order they were made.
func (tx *Tx) Credentials(id identity.ID) ([]identity.Credential, error) {
	return list(tx, scanCredential, credentialColumns+"WHERE identity = $1 ORDER BY id", id.String())
}

// Grants lists the grants of an identity by id.
func (tx *Tx) Grants(id identity.ID) ([]policy.Grant, error) {
	return list(tx, doc[policy.Grant], "SELECT doc FROM grants WHERE identity = $1 ORDER BY id", id.String())
}

// GrantsOn lists the grants on an upstream by id.
func (tx *Tx) GrantsOn(upstream string) ([]policy.Grant, error) {
	return list(tx, doc[policy.Grant], "SELECT doc FROM grants WHERE upstream = $1 ORDER BY id", upstream)
}

// GrantsOf lists the grants on an upstream of an owner's identities that are not retired, by id.
func (tx *Tx) GrantsOf(owner identity.OwnerID, upstream string) ([]policy.Grant, error) {
	return list(tx, doc[policy.Grant], `SELECT g.doc FROM grants g JOIN identities i ON i.id = g.identity
		WHERE g.upstream = $1 AND i.owner = $2 AND i.state <> 'retired' ORDER BY g.id`, upstream, string(owner))
}

// Filter selects identities. Empty fields select all.
type Filter struct {
	Owner identity.OwnerID
	State identity.State
	Kind  identity.Kind
	Kill  string      // killed by this kill
	Query string      // part of the name; one of less than three characters, how it begins
	Set   string      // managed by this manifest set
	Of    identity.ID // started by this one
	Roots bool        // started by nobody
	After string      // name: those after it
	Limit int         // at most; 0 is all
}

// Identities lists identities by name.
func (tx *Tx) Identities(f Filter) ([]identity.Identity, error) {
	var where []string
	var args []any
	add := func(on bool, test string, value any) {
		if on {
			args = append(args, value)
			where = append(where, strings.ReplaceAll(test, "?", "$"+strconv.Itoa(len(args))))
		}
	}
	add(f.Owner != "", "owner = ?", string(f.Owner))
	add(f.State != "", "state = ?", string(f.State))
	add(f.Kind != "", "kind = ?", string(f.Kind))
	add(f.Kill != "", "killed_by = ? AND killed_by <> ''", f.Kill)
	add(!f.Of.IsZero(), "parent = ?", f.Of.String())
	add(f.After != "", "name > ?", f.After)
	if query := strings.ToLower(f.Query); len(query) < 3 {
		add(query != "", "name >= ?", query)
		add(query != "", "name < ?", query+"\x7f")
	} else {
		add(true, "name LIKE ? ESCAPE '!'", "%"+strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(query)+"%")
	}
	if f.Roots {
		where = append(where, "parent IS NULL")
	}
	which := ""
	if len(where) > 0 {
		which = "WHERE " + strings.Join(where, " AND ") + " "
	}
	query := identityColumns + which + "ORDER BY name"
	if f.Limit > 0 && f.Set == "" {
		// What the database is not told to leave out it may sort, and sends. Names come first: they are found in an index alone.
		args = append(args, f.Limit)
		query = identityColumns + "WHERE name IN (SELECT name FROM identities " + which + "ORDER BY name LIMIT $" + strconv.Itoa(len(args)) + ") ORDER BY name"
	}
	var out []identity.Identity
	for i, err := range rows(tx, scanIdentity, query, args...) {
		if err != nil {
			return nil, err
		}
		if f.Set != "" && i.Set != f.Set {
			continue
		}
		if out = append(out, i); len(out) == f.Limit {
			break
		}
	}
	return out, nil
}

// CountIdentities counts by state, of one owner or, with none, of all.
func (tx *Tx) CountIdentities(owner identity.OwnerID) (map[identity.State]int, error) {
	query, args := "SELECT state, COUNT(*) FROM identities GROUP BY state", []any(nil)
	if owner != "" {
		query, args = "SELECT state, COUNT(*) FROM identities WHERE owner = $1 GROUP BY state", []any{string(owner)}
	}
	type count struct {
		state identity.State
		n     int
	}
	counts, err := list(tx, func(row scanner) (c count, err error) { return c, row.Scan(&c.state, &c.n) }, query, args...)
	all := map[identity.State]int{}
	for _, c := range counts {
		all[c.state] = c.n
	}
	return all, err
}

// Expiring lists the identities that may act though their end has come, at most limit.
func (tx *Tx) Expiring(limit int) ([]identity.Identity, error) {
	return list(tx, scanIdentity, identityColumns+"WHERE state IN ('active', 'suspended') AND expires <= $1 ORDER BY expires LIMIT $2", micros(tx.now), limit)
}

// NextExpiry is when the next identity ends; ErrNotFound if none does.
func (tx *Tx) NextExpiry() (int64, error) {
	var next *int64
	err := tx.row(`SELECT MIN(next) FROM (SELECT MIN(expires) AS next FROM identities WHERE state = 'active'
		UNION ALL SELECT MIN(expires) FROM identities WHERE state = 'suspended') ends`, nil, &next)
	if err == nil && next == nil {
		err = ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return *next, nil
}
