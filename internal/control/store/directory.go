package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// DirectoryUser is a person as their directory tells of them (RFC 7643 section 4.1). They are an owner, whose state says whether they are active.
type DirectoryUser struct {
	ID        string           `json:"id"`
	Directory string           `json:"directory"`
	Owner     identity.OwnerID `json:"owner"`
	UserName  string           `json:"user_name"`
	External  string           `json:"external_id,omitempty"`
	Display   string           `json:"display_name,omitempty"`
	Formatted string           `json:"formatted,omitempty"`
	Given     string           `json:"given_name,omitempty"`
	Family    string           `json:"family_name,omitempty"`
	Emails    []DirectoryEmail `json:"emails,omitempty"`
	Active    bool             `json:"active"` // what the directory said last
	Created   time.Time        `json:"created"`
	Changed   time.Time        `json:"changed"`
	Version   int64            `json:"version"`
}

// DirectoryEmail is one of a user's addresses.
type DirectoryEmail struct {
	Value   string `json:"value"`
	Type    string `json:"type,omitempty"`
	Primary *bool  `json:"primary,omitempty"`
}

// Email is the address that counts: the primary one, or else that of work, or else the first.
func (u DirectoryUser) Email() (found string) {
	best := 0
	for _, e := range u.Emails {
		rank := 1
		if strings.EqualFold(e.Type, "work") {
			rank = 2
		}
		if e.Primary != nil && *e.Primary {
			rank = 3
		}
		if rank > best {
			found, best = e.Value, rank
		}
	}
	return found
}

// Called is the name that people know the user by.
func (u DirectoryUser) Called() string {
	for _, name := range []string{u.Display, u.Formatted, strings.TrimSpace(u.Given + " " + u.Family)} {
		if strings.TrimSpace(name) != "" {
			return name
		}
	}
	return u.UserName
}

// DirectoryGroup is one of a directory's groups (RFC 7643 section 4.2); its members are beside it.
type DirectoryGroup struct {
	ID        string    `json:"id"`
	Directory string    `json:"directory"`
	Display   string    `json:"display_name"`
	External  string    `json:"external_id,omitempty"`
	Created   time.Time `json:"created"`
	Changed   time.Time `json:"changed"`
	Version   int64     `json:"version"`
}

// PutDirectory adds or changes a directory. Gateways need not know of it, so it is no change of the feed.
func (tx *Tx) PutDirectory(d identity.Directory) error {
	tx.changed = true
	_, err := tx.exec("INSERT INTO directories (name, heard, doc) VALUES ($1, 0, $2) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc", d.Name, encode(d))
	return err
}

// Directory returns the directory of that name, or ErrNotFound.
func (tx *Tx) Directory(name string) (identity.Directory, error) {
	return one(tx, "SELECT doc FROM directories WHERE name = $1", name, none[identity.Directory], nil)
}

// Directories lists all directories by name.
func (tx *Tx) Directories() ([]identity.Directory, error) {
	return list(tx, doc[identity.Directory], "SELECT doc FROM directories ORDER BY name")
}

// DirectoryHeard is when a directory last asked for something, and how many people and groups it has.
func (tx *Tx) DirectoryHeard(name string) (heard time.Time, users, groups int, err error) {
	var when int64
	err = tx.row("SELECT heard, (SELECT COUNT(*) FROM directory_users WHERE directory = $1), (SELECT COUNT(*) FROM directory_groups WHERE directory = $1) FROM directories WHERE name = $1",
		[]any{name}, &when, &users, &groups)
	return at(when), users, groups, err
}

// TouchDirectory notes that a directory asked for something. It does not wait for the disk.
func (db *DB) TouchDirectory(name string, when time.Time) { db.asked.note(name, when) }

// DeleteDirectory removes a directory, and what it told. The people stay.
func (tx *Tx) DeleteDirectory(name string) error {
	tx.changed = true
	n, err := tx.exec("DELETE FROM directories WHERE name = $1", name)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	for _, query := range []string{"DELETE FROM directory_members WHERE member_of IN (SELECT id FROM directory_groups WHERE directory = $1)",
		"DELETE FROM directory_groups WHERE directory = $1", "DELETE FROM directory_users WHERE directory = $1"} {
		if err == nil {
			_, err = tx.exec(query, name)
		}
	}
	return err
}

// PutDirectoryUser adds or changes a user. ErrExists: the directory has another of that userName, or the owner is another user.
func (tx *Tx) PutDirectoryUser(u DirectoryUser) error {
	tx.changed = true
	_, err := tx.exec(`INSERT INTO directory_users (id, directory, owner, name, external, doc) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, external = excluded.external, doc = excluded.doc`,
		u.ID, u.Directory, string(u.Owner), strings.ToLower(u.UserName), u.External, encode(u))
	return err
}

// DirectoryUser returns one of a directory's users, or ErrNotFound.
func (tx *Tx) DirectoryUser(directory, id string) (DirectoryUser, error) {
	if !held(id) {
		return DirectoryUser{}, ErrNotFound
	}
	u, err := one(tx, "SELECT doc FROM directory_users WHERE id = $1", id, none[DirectoryUser], nil)
	if err == nil && u.Directory != directory {
		return DirectoryUser{}, ErrNotFound
	}
	return u, err
}

// DirectoryUserOf returns an owner as their directory tells of them, or ErrNotFound when none does.
func (tx *Tx) DirectoryUserOf(o identity.OwnerID) (DirectoryUser, error) {
	return one(tx, "SELECT doc FROM directory_users WHERE owner = $1", string(o), none[DirectoryUser], nil)
}

// DirectoriesOf says which directory tells of each of some owners.
func (tx *Tx) DirectoriesOf(of []identity.Owner) (map[identity.OwnerID]string, error) {
	var owners []string
	for _, o := range of {
		owners = append(owners, string(o.ID))
	}
	found := map[identity.OwnerID]string{}
	type told struct {
		owner     identity.OwnerID
		directory string
	}
	return found, among(tx, func(row scanner) (t told, err error) { return t, row.Scan(&t.owner, &t.directory) },
		"SELECT owner, directory FROM directory_users WHERE owner IN (?)", owners, nil, func(t told) { found[t.owner] = t.directory })
}

// DeleteDirectoryUser forgets what a directory told of a person, who stays.
func (tx *Tx) DeleteDirectoryUser(id string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM directory_members WHERE member = $1", id)
	if err == nil {
		_, err = tx.exec("DELETE FROM directory_users WHERE id = $1", id)
	}
	return err
}

// Told is which of a directory's users or groups are meant: all, or those that have a value in an indexed column.
type Told struct {
	Directory     string
	Column, Value string // "name" (folded), "external" or "id"; "" for all
	After         string // the id of the one before
	Offset, Limit int
}

// held reports whether s is text as both databases hold it. What is none is found nowhere.
func held(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

func (t Told) query(what, table string) (query string, args []any) {
	query, args = "SELECT "+what+" FROM "+table+" WHERE directory = $1", []any{t.Directory}
	if !held(t.Value) {
		query += " AND 1 = 0"
	} else if t.Column != "" {
		query += " AND " + t.Column + " = $2"
		args = append(args, t.Value)
	}
	if t.After != "" {
		args = append(args, t.After)
		query += " AND id > $" + strconv.Itoa(len(args))
	}
	return query, args
}

func (t Told) rows() string {
	return " ORDER BY id LIMIT " + strconv.Itoa(t.Limit) + " OFFSET " + strconv.Itoa(t.Offset)
}

// DirectoryUsers lists users by id.
func (tx *Tx) DirectoryUsers(t Told) ([]DirectoryUser, error) {
	query, args := t.query("doc", "directory_users")
	return list(tx, doc[DirectoryUser], query+t.rows(), args...)
}

// CountDirectoryUsers counts them, whatever Limit is.
func (tx *Tx) CountDirectoryUsers(t Told) (n int, err error) {
	query, args := t.query("COUNT(*)", "directory_users")
	return n, tx.row(query, args, &n)
}

// DirectoryGroups lists groups by id.
func (tx *Tx) DirectoryGroups(t Told) ([]DirectoryGroup, error) {
	query, args := t.query("doc", "directory_groups")
	return list(tx, doc[DirectoryGroup], query+t.rows(), args...)
}

// CountDirectoryGroups counts them, whatever Limit is.
func (tx *Tx) CountDirectoryGroups(t Told) (n int, err error) {
	query, args := t.query("COUNT(*)", "directory_groups")
	return n, tx.row(query, args, &n)
}

// PutDirectoryGroup adds or changes a group. ErrExists: the directory has another of that name.
func (tx *Tx) PutDirectoryGroup(g DirectoryGroup) error {
	tx.changed = true
	_, err := tx.exec(`INSERT INTO directory_groups (id, directory, name, external, doc) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, external = excluded.external, doc = excluded.doc`,
		g.ID, g.Directory, strings.ToLower(g.Display), g.External, encode(g))
	return err
}

// DirectoryGroup returns one of a directory's groups, or ErrNotFound.
func (tx *Tx) DirectoryGroup(directory, id string) (DirectoryGroup, error) {
	if !held(id) {
		return DirectoryGroup{}, ErrNotFound
	}
	g, err := one(tx, "SELECT doc FROM directory_groups WHERE id = $1", id, none[DirectoryGroup], nil)
	if err == nil && g.Directory != directory {
		return DirectoryGroup{}, ErrNotFound
	}
	return g, err
}

// DeleteDirectoryGroup removes a group.
func (tx *Tx) DeleteDirectoryGroup(id string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM directory_members WHERE member_of = $1", id)
	if err == nil {
		_, err = tx.exec("DELETE FROM directory_groups WHERE id = $1", id)
	}
	return err
}

// DirectoryMembers lists the users in a group, by id.
func (tx *Tx) DirectoryMembers(group string) ([]DirectoryUser, error) {
	return list(tx, doc[DirectoryUser], "SELECT u.doc FROM directory_members m JOIN directory_users u ON u.id = m.member WHERE m.member_of = $1 ORDER BY u.id", group)
}

// DirectoryGroupsOf lists the groups that a user is in, by id.
func (tx *Tx) DirectoryGroupsOf(user string) ([]DirectoryGroup, error) {
	return list(tx, doc[DirectoryGroup], "SELECT g.doc FROM directory_members m JOIN directory_groups g ON g.id = m.member_of WHERE m.member = $1 ORDER BY g.id", user)
}

// PutDirectoryMember puts a user into a group; who is in it already stays.
func (tx *Tx) PutDirectoryMember(group, user string) error {
	tx.changed = true
	_, err := tx.exec("INSERT INTO directory_members (member_of, member) VALUES ($1, $2) ON CONFLICT (member_of, member) DO NOTHING", group, user)
	return err
}

// DeleteDirectoryMember takes a user out of a group.
func (tx *Tx) DeleteDirectoryMember(group, user string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM directory_members WHERE member_of = $1 AND member = $2", group, user)
	return err
}

// DirectoryRoles are those that an owner has by the groups of their directory.
func (tx *Tx) DirectoryRoles(o identity.OwnerID) (list []identity.Role, err error) {
	type in struct {
		d identity.Directory
		g DirectoryGroup
	}
	found := rows(tx, func(row scanner) (v in, err error) {
		var d, g []byte
		if err = row.Scan(&d, &g); err == nil {
			v.d, err = decoded(d, v.d, nil)
		}
		if err == nil {
			v.g, err = decoded(g, v.g, nil)
		}
		return v, err
	}, `SELECT d.doc, g.doc FROM directory_users u JOIN directory_members m ON m.member = u.id JOIN directory_groups g ON g.id = m.member_of
		JOIN directories d ON d.name = u.directory WHERE u.owner = $1`, string(o))
	for v, err := range found {
		if err != nil {
			return nil, err
		}
		list = append(list, v.d.RolesOf([]string{v.g.Display})...)
	}
	return list, nil
}

// OwnersByEmail lists the owners that have an email address, in any case.
func (tx *Tx) OwnersByEmail(email string) ([]identity.Owner, error) {
	return list(tx, doc[identity.Owner], "SELECT doc FROM owners WHERE email = $1 ORDER BY id", strings.ToLower(email))
}

// fillEmails is the part of a migration that no SQL of both engines could do.
func fillEmails(ctx context.Context, tx *sql.Tx) error {
	r, err := tx.QueryContext(ctx, "SELECT doc FROM owners")
	if err != nil {
		return err
	}
	var all []identity.Owner
	for r.Next() {
		var o identity.Owner
		if o, err = doc[identity.Owner](r); err != nil {
			break
		}
		all = append(all, o)
	}
	err = errors.Join(err, r.Err(), r.Close())
	for _, o := range all {
		if err == nil {
			_, err = tx.ExecContext(ctx, "UPDATE owners SET email = $1 WHERE id = $2", strings.ToLower(o.Email), string(o.ID))
		}
	}
	return err
}
