package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Listing selects identities, sorts them, and takes a part. Empty fields select all.
type Listing struct {
	Owner       identity.OwnerID
	Owners      []identity.OwnerID // one of these; nil: whoever
	State       identity.State
	Kind        identity.Kind
	Environment string
	Query       string             // somewhere in the name, the purpose or the owner, in any case; of one or two bytes: how the name begins
	QueryOwners []identity.OwnerID // or it is one of these owners'
	Name        string             // part of the name, and of one or two bytes how it begins
	Of          identity.ID        // started by this one
	Roots       bool               // started by nobody
	Expiring    time.Time          // they end by then, and nobody stopped them before
	Unused      time.Time          // they may act, and have not since then, nor were they made later
	Ownerless   bool               // nobody who is there answers for them
	Gone        []identity.OwnerID // owners who have left
	Among       []identity.ID      // one of these, of which there are 10,000 at most; nil: whichever
	Sort        Sort
	Down        bool
	After       *Place // those after it
	Limit       int    // at most

	begins found // of a search by name: which of its two halves
}

// found is whether a name has to begin with what is searched.
type found int

const (
	anyhow found = iota
	beginning
	within
)

// halves reports whether names that begin with what is searched are found by themselves. They are one piece of an index,
// so that what many have is found, and counted, as fast as what few have.
func (l *Listing) halves() bool { return len(cmp.Or(l.Query, l.Name)) >= trigram }

// trigram is how much of a text the index needs to find it.
const trigram = 3

// Sort is what identities are sorted by; by name, where that is the same.
type Sort string

// sorts are the columns of each: all have an index, with name.
var sorts = map[Sort]string{"name": "name", "owner": "COALESCE(owner, '')", "state": "state", "expires": "expires", "last_used": "used", "created": "created"}

// Place is where one identity stands in a listing.
type Place struct {
	Key    any // text, or microseconds
	Name   string
	Within bool // of a search by name: those whose names begin with what is searched are before it
}

// maxSearched is what an identity is found by at most, in bytes: the index of it has room for that. Names, purposes and
// owners that the API takes stay below.
const maxSearched = 2400

// searched is what an identity is found by.
func searched(i identity.Identity) string {
	text := strings.ToLower(i.ID.Name() + "\n" + i.Purpose + "\n" + string(i.Owner))
	return strings.ToValidUTF8(text[:min(len(text), maxSearched)], "")
}

// wheres are the conditions of a query, with its arguments.
type wheres struct {
	tests []string
	args  []any
}

// add adds a test with one ? for each value.
func (w *wheres) add(test string, values ...any) {
	for _, v := range values {
		w.args = append(w.args, v)
		test = strings.Replace(test, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.tests = append(w.tests, test)
}

// in is that column is one of list.
func (w *wheres) in(column string, list []identity.OwnerID) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = string(v)
	}
	return w.oneOf(column, texts)
}

func (w *wheres) oneOf(column string, list []string) string {
	if len(list) == 0 {
		return "1 = 0"
	}
	places := make([]string, len(list))
	for i, v := range list {
		w.args = append(w.args, v)
		places[i] = "$" + strconv.Itoa(len(w.args))
	}
	return column + " IN (" + strings.Join(places, ", ") + ")"
}

func (w *wheres) text() string {
	if len(w.tests) == 0 {
		return ""
	}
	return "WHERE " + strings.Join(w.tests, " AND ") + " "
}

func contains(s string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(s)) + "%"
}

// namedFrom is whether a name begins with a text, whose bounds are [from].
const namedFrom = "name >= ? AND name < ?"

func from(text string) []any {
	text = strings.ToLower(text)
	return []any{text, text + "\x7f"}
}

// finds finds a text in a column, with the values [findings]: what is too short for the index only where a name begins with it.
func finds(column, text string) string {
	if len(text) < trigram {
		return namedFrom
	}
	return column + " LIKE ? ESCAPE '!'"
}

func findings(text string) []any {
	if len(text) < trigram {
		return from(text)
	}
	return []any{contains(text)}
}

func (l *Listing) wheres(now time.Time) *wheres {
	w := &wheres{}
	if l.Owners != nil {
		w.tests = append(w.tests, w.in("owner", l.Owners))
	}
	if l.Owner != "" {
		w.add("owner = ?", string(l.Owner))
	}
	if l.Among != nil {
		ids := make([]string, len(l.Among))
		for i, id := range l.Among {
			ids[i] = id.String()
		}
		w.tests = append(w.tests, w.oneOf("id", ids))
	}
	if l.State != "" {
		w.add("state = ?", string(l.State))
	}
	if l.Kind != "" {
		w.add("kind = ?", string(l.Kind))
	}
	if l.Environment != "" {
		w.add("environment = ?", l.Environment)
	}
	if l.Query != "" && l.begins != beginning {
		w.add("("+finds("search", l.Query), findings(l.Query)...)
		w.tests[len(w.tests)-1] += " OR " + w.in("owner", l.QueryOwners) + ")"
	}
	if l.Name != "" && (l.begins != beginning || l.Query != "") { // else the beginning says it
		if len(l.Name) >= trigram {
			w.add("search LIKE ? ESCAPE '!'", contains(l.Name)) // which has an index, where there is one
		}
		w.add(finds("name", l.Name), findings(l.Name)...)
	}
	switch begun := cmp.Or(l.Query, l.Name); l.begins {
	case beginning:
		w.add(namedFrom, from(begun)...)
	case within:
		w.add("NOT ("+namedFrom+")", from(begun)...)
	}
	if !l.Of.IsZero() {
		w.add("parent = ?", l.Of.String())
	}
	if l.Roots {
		w.add("parent IS NULL")
	}
	if !l.Expiring.IsZero() {
		w.add("parent IS NULL AND state IN ('active', 'suspended') AND expires > ? AND expires <= ?", micros(now), micros(l.Expiring))
	}
	if !l.Unused.IsZero() {
		w.add("parent IS NULL AND state = 'active' AND used < ? AND created < ?", micros(l.Unused), micros(l.Unused))
	}
	if l.Ownerless {
		w.tests = append(w.tests, "parent IS NULL AND state NOT IN ('retired', 'killed') AND (owner IS NULL OR "+w.in("owner", l.Gone)+")")
	}
	return w
}

// Listed lists identities, and where the last of them stands when there may be more. Of a search by name, those whose
// names begin with what is searched come first.
func (tx *Tx) Listed(l Listing) (out []identity.Identity, next *Place, err error) {
	if l.Sort != "name" || l.Down || !l.halves() {
		return tx.listed(l)
	}
	if l.begins = beginning; l.After == nil || !l.After.Within {
		if out, next, err = tx.listed(l); err != nil || next != nil {
			return out, next, err
		}
		l.After = nil
	}
	l.begins, l.Limit = within, l.Limit-len(out)
	more, next, err := tx.listed(l)
	if next != nil {
		next.Within = true
	}
	return append(out, more...), next, err
}

func (tx *Tx) listed(l Listing) (out []identity.Identity, next *Place, err error) {
	key, ok := sorts[l.Sort]
	if !ok {
		return nil, nil, fmt.Errorf("identities are not sorted by %q", l.Sort)
	}
	w, than, down := l.wheres(tx.now), ">", ""
	if l.Down {
		than, down = "<", " DESC"
	}
	order := key + down + ", name" + down
	if l.Sort == "name" {
		order = "name" + down
	}
	switch {
	case l.After == nil:
	case l.Sort == "name":
		w.add("name "+than+" ?", l.After.Name)
	default:
		w.add("("+key+", name) "+than+" (?, ?)", l.After.Key, l.After.Name)
	}
	which := w.text() + "ORDER BY " + order + " LIMIT " + strconv.Itoa(l.Limit)
	if l.Sort == "name" { // names come first: they, and what is searched, are found in an index alone
		which = "WHERE name IN (SELECT name FROM identities " + which + ") ORDER BY " + order
	}
	query := strings.Replace(identityColumns, "SELECT doc", "SELECT "+key+", doc", 1) + which
	var last any
	for i, err := range rows(tx, func(row scanner) (identity.Identity, error) { return scanListed(row, &last) }, query, w.args...) {
		if err != nil {
			return nil, nil, err
		}
		out = append(out, i)
	}
	if n := len(out); n > 0 && n == l.Limit {
		next = &Place{Key: last, Name: out[n-1].ID.Name()}
	}
	return out, next, nil
}

func scanListed(row scanner, key *any) (identity.Identity, error) {
	var r identityRow
	var b []byte
	if err := row.Scan(append([]any{key, &b}, r.columns()...)...); err != nil {
		return identity.Identity{}, err
	}
	if text, ok := (*key).([]byte); ok {
		*key = string(text)
	}
	r, err := decoded(b, r, (*identityRow).fix)
	return r.Identity, err
}

// Count is how many identities l selects, up to most.
func (tx *Tx) Count(l Listing, most int) (n int, err error) {
	if !l.halves() {
		return tx.count(l, most)
	}
	l.begins = beginning
	begin, err := tx.count(l, most)
	if err != nil || begin == most {
		return begin, err
	}
	l.begins = within
	n, err = tx.count(l, most-begin)
	return begin + n, err
}

func (tx *Tx) count(l Listing, most int) (n int, err error) {
	w := l.wheres(tx.now)
	return n, tx.row("SELECT COUNT(*) FROM (SELECT 1 FROM identities "+w.text()+"LIMIT "+strconv.Itoa(most)+") found", w.args, &n)
}

// fillListed is the part of a migration that no SQL of both engines could do.
func fillListed(ctx context.Context, tx *sql.Tx) error {
	after := ""
	for {
		part, err := listedAfter(ctx, tx, after)
		if err != nil || len(part) == 0 {
			return err
		}
		for _, i := range part {
			if after = i.ID.String(); i.ID.IsZero() {
				return errors.New("an identity in the store is damaged")
			}
			_, err := tx.ExecContext(ctx, `UPDATE identities SET environment = $1, created = $2, search = $3,
				used = COALESCE((SELECT MAX(last_used) FROM credentials WHERE identity = $4), 0) WHERE id = $4`,
				i.Environment, micros(i.Created), searched(i), after)
			if err != nil {
				return err
			}
		}
	}
}

func listedAfter(ctx context.Context, tx *sql.Tx, after string) (part []identity.Identity, err error) {
	r, err := tx.QueryContext(ctx, "SELECT doc FROM identities WHERE id > $1 ORDER BY id LIMIT 1000", after)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for r.Next() {
		i, err := doc[identity.Identity](r)
		if err != nil {
			return nil, err
		}
		part = append(part, i)
	}
	return part, r.Err()
}
