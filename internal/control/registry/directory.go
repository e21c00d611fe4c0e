package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

const (
	// DirectoryPrefix begins what a directory shows.
	DirectoryPrefix  = "lyd_scim_"
	directoryKeys    = 2 // that a directory has at one time: the one, and the one that takes its place
	directoryLongest = 2 * 365 * 24 * time.Hour
	directoryUsual   = "365d"
)

// ErrDirectory means that what was shown is no key of a directory, or not any more.
var ErrDirectory = errors.New("this is no key of a directory: it was revoked, has expired, or never was one; an operator makes another: lanyard directory key")

// shownKey is what is kept under what a directory shows.
type shownKey struct {
	Directory string `json:"directory"`
	ID        string `json:"id"`
}

// PutDirectory adds or changes a directory. Its keys stay.
func (c *Change) PutDirectory(d identity.Directory) (Outcome, error) {
	var wrong []error
	bad := func(field, text string) { wrong = append(wrong, &Invalid{"directory " + d.Name, field, text}) }
	if !identity.ValidName(d.Name) {
		bad("", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit")
	}
	for _, domain := range d.Domains {
		if domain == "" || strings.ContainsAny(domain, "@*/ ") {
			bad("domains", fmt.Sprintf("%q is no domain like example.com", domain))
		}
	}
	for group, roles := range d.Roles {
		if err := identity.CheckRoles(roles); group == "" || err != nil {
			bad("roles", fmt.Sprintf("of the group %q: %v", group, err))
		}
	}
	if len(wrong) > 0 {
		return Outcome{}, errors.Join(wrong...)
	}
	old, err := c.Directory(d.Name)
	created := errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return Outcome{}, err
	}
	d.Keys, d.Version = old.Keys, old.Version
	out := compare(old, d, created)
	if !out.Changed() {
		return out, nil
	}
	d.Version++
	kind := "directory.change"
	if created {
		kind = "directory.add"
	}
	return out, errors.Join(c.Tx.PutDirectory(d), c.record(kind, d.Name, "", "", out.detail()))
}

// NewDirectoryKey makes a secret that a directory shows from now on, until then (default a year). It is told this once.
func (c *Change) NewDirectoryKey(name string, until End) (text string, k identity.DirectoryKey, err error) {
	d, err := c.Directory(name)
	if err != nil {
		return "", k, missing(err, "directory", name)
	}
	if until.Zero() {
		until, _ = ParseEnd(directoryUsual)
	}
	k.Created, k.Expires = c.Now(), until.From(c.Now())
	if !k.Expires.After(c.Now()) || k.Expires.Sub(c.Now()) > directoryLongest {
		return "", k, &Invalid{"directory " + name, "expires", "a key ends after now, and within two years"}
	}
	d.Keys = slices.DeleteFunc(slices.Clone(d.Keys), func(k identity.DirectoryKey) bool { return !c.Now().Before(k.Expires) })
	if len(d.Keys) >= directoryKeys {
		return "", k, &Conflict{fmt.Sprintf("directory %s has %d keys already; revoke the one that is not used any more: lanyard directory revoke %s KEY", name, directoryKeys, name)}
	}
	if text, err = c.secret(DirectoryPrefix); err != nil {
		return "", k, err
	}
	if k.ID, err = c.newID("key_"); err != nil {
		return "", k, err
	}
	d.Keys = append(d.Keys, k)
	d.Version++
	return text, k, errors.Join(c.PutTicket(store.DirectorySecret, text, k.Expires, shownKey{name, k.ID}), c.Tx.PutDirectory(d),
		c.record("directory.key", name, "", "", map[string]string{"key": k.ID, "expires": k.Expires.Format(time.RFC3339)}))
}

// RevokeDirectoryKey ends one of a directory's keys.
func (c *Change) RevokeDirectoryKey(name, id, reason string) error {
	d, err := c.Directory(name)
	if err != nil {
		return missing(err, "directory", name)
	}
	n := slices.IndexFunc(d.Keys, func(k identity.DirectoryKey) bool { return k.ID == id })
	if n < 0 {
		return &Conflict{fmt.Sprintf("directory %s has no key %s; lanyard directory show %s lists those that it has", name, id, name)}
	}
	d.Keys = slices.Delete(slices.Clone(d.Keys), n, n+1)
	d.Version++
	return errors.Join(c.Tx.PutDirectory(d), c.record("directory.revoke", name, "", reason, map[string]string{"key": id}))
}

// RemoveDirectory removes a directory. The people that it brought stay as they are; what its groups let them do ends.
func (c *Change) RemoveDirectory(name string) error {
	if err := c.DeleteDirectory(name); err != nil {
		return missing(err, "directory", name)
	}
	return c.record("directory.remove", name, "", "", nil)
}

// Shows says which directory it is that shows text, ErrDirectory when none does.
func Shows(tx *store.Tx, text string) (identity.Directory, error) {
	var shown shownKey
	_, err := tx.Ticket(store.DirectorySecret, text, &shown)
	var d identity.Directory
	if err == nil {
		d, err = tx.Directory(shown.Directory)
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && !slices.ContainsFunc(d.Keys, func(k identity.DirectoryKey) bool { return k.ID == shown.ID }) {
		err = ErrDirectory
	}
	return d, err
}

// DirectoryActor is who a directory is in events.
func DirectoryActor(name string) string { return "directory:" + name }
