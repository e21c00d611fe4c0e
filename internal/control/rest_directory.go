package control

import (
	"context"
	"errors"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// DirectoryInput is PUT /v1/directories/{name}.
type DirectoryInput struct {
	Domains []string            `json:"domains,omitempty" doc:"Of the email addresses that it answers for; none: any" example:"[\"example.com\"]" maxItems:"50"`
	Roles   map[string][]string `json:"roles,omitempty" doc:"Group, by its display name → roles of its members: admin, security, operator, owner, auditor"`
}

// DirectoryView is a directory, without what it shows.
type DirectoryView struct {
	identity.Directory
	URL    string    `json:"url" doc:"Where it sends what it tells: the base URL of SCIM" example:"https://lanyard.example.com:8440/scim/v2"`
	Heard  time.Time `json:"heard,omitzero" doc:"When it last asked for something, to half a minute"`
	Users  int       `json:"users"`
	Groups int       `json:"groups"`
}

// DirectoryKeyInput is POST /v1/directories/{name}/keys.
type DirectoryKeyInput struct {
	Expires string `json:"expires,omitempty" doc:"When it ends, within two years; default 365d" example:"365d" maxLength:"64"`
}

// DirectoryKeyMade is a new key of a directory.
type DirectoryKeyMade struct {
	identity.DirectoryKey
	Key string `json:"key" doc:"Shown this once"`
	URL string `json:"url" doc:"The base URL of SCIM, which goes with it"`
}

func (p *Plane) directoryRoutes(api door) {
	const tag = "directories"
	view := func(tx *store.Tx, d identity.Directory) (v DirectoryView, err error) {
		v = DirectoryView{Directory: d, URL: p.URL + scimBase}
		v.Heard, v.Users, v.Groups, err = tx.DirectoryHeard(d.Name)
		return v, err
	}
	handle(api, "GET", "/directories", "list-directories", tag, "Directories that bring people over SCIM, by name", func(ctx context.Context, in *none) (Page[DirectoryView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[DirectoryView], error) {
			all, err := tx.Directories()
			var list []DirectoryView
			for _, d := range all {
				one, e := view(tx, d)
				list, err = append(list, one), errors.Join(err, e)
			}
			return page(list), err
		})
	})
	handle(api, "GET", "/directories/{name}", "get-directory", tag, "A directory, and when it was heard of", func(ctx context.Context, in *byName) (DirectoryView, error) {
		return read(ctx, p, func(tx *store.Tx) (DirectoryView, error) {
			d, err := tx.Directory(in.Name)
			if err != nil {
				return DirectoryView{}, missing(err, "directory", in.Name)
			}
			return view(tx, d)
		})
	})
	handle(api, "PUT", "/directories/{name}", "put-directory", tag, "Let a directory bring people, or change which", func(ctx context.Context, in *namedBody[DirectoryInput]) (Changed, error) {
		d := identity.Directory{Name: in.Name, Domains: in.Body.Domains}
		for group, list := range in.Body.Roles {
			if d.Roles == nil {
				d.Roles = map[string][]identity.Role{}
			}
			d.Roles[group] = roles(list)
		}
		return p.change(ctx, in.Caller, func(c *registry.Change) error { _, err := c.PutDirectory(d); return err })
	})
	handle(api, "POST", "/directories/{name}/keys", "make-directory-key", tag, "Make a key that a directory shows; it has two at most", func(ctx context.Context, in *namedBody[DirectoryKeyInput]) (out DirectoryKeyMade, err error) {
		until, err := registry.ParseEnd(in.Body.Expires)
		if err != nil {
			return out, invalid("expires: " + err.Error())
		}
		out.URL = p.URL + scimBase
		_, err = p.do(ctx, in.actor(), func(c *registry.Change) (err error) {
			out.Key, out.DirectoryKey, err = c.NewDirectoryKey(in.Name, until)
			return err
		})
		if err != nil {
			return DirectoryKeyMade{}, err
		}
		return out, nil
	})
	handle(api, "DELETE", "/directories/{name}/keys/{part}", "revoke-directory-key", tag, "End a key of a directory at once", func(ctx context.Context, in *identityPart) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error { return c.RevokeDirectoryKey(in.Name, in.Part, "") })
	})
	handle(api, "DELETE", "/directories/{name}", "remove-directory", tag, "Remove a directory: the people that it brought stay, and what its groups let them do ends", func(ctx context.Context, in *byName) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error { return c.RemoveDirectory(in.Name) })
	})
}
