package control

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Users and groups, as a directory sees them.

// userResource is a user; whether they are active is what their owner says.
func (c *scimCall) userResource(tx *store.Tx, u store.DirectoryUser) (map[string]any, error) {
	o, err := tx.Owner(u.Owner)
	if err != nil {
		return nil, err
	}
	r := map[string]any{"userName": u.UserName, "active": o.State == identity.OwnerActive}
	put := func(m map[string]any, name, value string) {
		if value != "" {
			m[name] = value
		}
	}
	put(r, "externalId", u.External)
	put(r, "displayName", u.Display)
	name := map[string]any{}
	put(name, "formatted", u.Formatted)
	put(name, "givenName", u.Given)
	put(name, "familyName", u.Family)
	if len(name) > 0 {
		r["name"] = name
	}
	var emails []any
	for _, e := range u.Emails {
		m := map[string]any{"value": e.Value}
		if put(m, "type", e.Type); e.Primary != nil {
			m["primary"] = *e.Primary
		}
		emails = append(emails, m)
	}
	if emails != nil {
		r["emails"] = emails
	}
	in, err := tx.DirectoryGroupsOf(u.ID)
	var groups []any
	for _, g := range in {
		groups = append(groups, map[string]any{"value": g.ID, "display": g.Display, "$ref": c.location(scimGroup, g.ID)})
	}
	if groups != nil {
		r["groups"] = groups
	}
	return c.finish(scimUser, r, u.ID, u.Created, u.Changed), err
}

func (c *scimCall) groupResource(tx *store.Tx, g store.DirectoryGroup) (map[string]any, error) {
	r := map[string]any{"displayName": g.Display}
	if g.External != "" {
		r["externalId"] = g.External
	}
	in, err := tx.DirectoryMembers(g.ID)
	members := []any{}
	for _, u := range in {
		members = append(members, map[string]any{"value": u.ID, "$ref": c.location(scimUser, u.ID)})
	}
	r["members"] = members
	return c.finish(scimGroup, r, g.ID, g.Created, g.Changed), err
}

// location is where a resource is.
func (c *scimCall) location(k *scimKind, id string) string {
	return c.URL + scimBase + "/" + k.plural + "/" + id
}

// finish adds what every resource has. Its version is of all that it says.
func (c *scimCall) finish(k *scimKind, r map[string]any, id string, created, changed time.Time) map[string]any {
	r["id"], r["schemas"] = id, []any{k.urn}
	meta := map[string]any{"resourceType": k.noun, "created": created.UTC().Format(time.RFC3339Nano), "lastModified": changed.UTC().Format(time.RFC3339Nano), "location": c.location(k, id)}
	r["meta"] = meta
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // our own values always encode
	}
	sum := sha256.Sum256(b)
	meta["version"] = `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return r
}

// show is a resource of the call's kind.
func (c *scimCall) show(tx *store.Tx, id string) (map[string]any, error) {
	if c.kind == scimUser {
		u, err := tx.DirectoryUser(c.d.Name, id)
		if err != nil {
			return nil, scimMissing(err)
		}
		return c.userResource(tx, u)
	}
	g, err := tx.DirectoryGroup(c.d.Name, id)
	if err != nil {
		return nil, scimMissing(err)
	}
	return c.groupResource(tx, g)
}

func scimMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &scimError{http.StatusNotFound, "", "there is none of this id"}
	}
	return err
}

// some are the resources that t selects, and the id of the last.
func (c *scimCall) some(tx *store.Tx, t store.Told) (found []map[string]any, last string, err error) {
	if c.kind == scimUser {
		users, err := tx.DirectoryUsers(t)
		for _, u := range users {
			if err == nil {
				var r map[string]any
				r, err = c.userResource(tx, u)
				found, last = append(found, r), u.ID
			}
		}
		return found, last, err
	}
	groups, err := tx.DirectoryGroups(t)
	for _, g := range groups {
		if err == nil {
			var r map[string]any
			r, err = c.groupResource(tx, g)
			found, last = append(found, r), g.ID
		}
	}
	return found, last, err
}

func (c *scimCall) list() (scimAnswer, error) {
	q := c.r.URL.Query()
	number := func(name string, usual, least int) (int, error) {
		if !q.Has(name) {
			return usual, nil
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil {
			return 0, &scimError{400, "invalidValue", name + " is a number"}
		}
		return max(n, least), nil
	}
	start, err := number("startIndex", 1, 1)
	if err != nil {
		return scimAnswer{}, err
	}
	count, err := number("count", scimPage, 0)
	if err != nil {
		return scimAnswer{}, err
	}
	count = min(count, scimPageMost)
	shape, err := c.shape()
	if err != nil {
		return scimAnswer{}, err
	}
	var f scimFilter
	t := store.Told{Directory: c.d.Name}
	if q.Get("filter") != "" {
		if f, err = parseScimFilter(q.Get("filter"), c.kind); err != nil {
			return scimAnswer{}, &scimError{400, "invalidFilter", "filter: " + err.Error()}
		}
		t.Column, t.Value = c.kind.indexed(f)
	}
	return read(c.r.Context(), c.Plane, func(tx *store.Tx) (scimAnswer, error) {
		found, total := []map[string]any{}, 0
		var err error
		if f == nil {
			if total, err = c.count(tx, t); err == nil && count > 0 {
				t.Offset, t.Limit = start-1, count
				var part []map[string]any
				part, _, err = c.some(tx, t)
				for _, r := range part {
					found = append(found, shape(r))
				}
			}
		}
		for t.Limit = scimChunk; f != nil && err == nil; {
			var part []map[string]any
			if part, t.After, err = c.some(tx, t); len(part) == 0 {
				break
			}
			for _, r := range part {
				if f.match(r) {
					if total++; total >= start && len(found) < count {
						found = append(found, shape(r))
					}
				}
			}
		}
		return scimAnswer{body: map[string]any{"schemas": []string{scimAPI + "ListResponse"}, "totalResults": total, "startIndex": start, "itemsPerPage": len(found), "Resources": found}}, err
	})
}

// search is list with its parameters in the body, where no log sees them (RFC 7644 section 3.4.3).
func (c *scimCall) search() (scimAnswer, error) {
	in, err := c.body()
	if err != nil {
		return scimAnswer{}, err
	}
	q := url.Values{}
	for name, v := range in {
		for _, known := range []string{"filter", "startIndex", "count", "attributes", "excludedAttributes"} {
			if !strings.EqualFold(name, known) || v == nil {
				continue
			}
			if list, ok := v.([]any); ok {
				words := make([]string, len(list))
				for n, one := range list {
					words[n] = fmt.Sprint(one)
				}
				v = strings.Join(words, ",")
			}
			q.Set(known, fmt.Sprint(v))
		}
	}
	r := c.r.Clone(c.r.Context())
	r.URL.RawQuery = q.Encode()
	c.r = r
	return c.list()
}

func (c *scimCall) count(tx *store.Tx, t store.Told) (int, error) {
	if c.kind == scimUser {
		return tx.CountDirectoryUsers(t)
	}
	return tx.CountDirectoryGroups(t)
}

// shape leaves of a resource what the request asks to have returned (RFC 7644 section 3.9).
func (c *scimCall) shape() (func(map[string]any) map[string]any, error) {
	q := c.r.URL.Query()
	paths := func(name string) (list []scimPath, err error) {
		for one := range strings.SplitSeq(q.Get(name), ",") {
			if one = strings.TrimSpace(one); one == "" {
				continue
			}
			p, err := parseScimPath(one, c.kind)
			if err != nil || p.pick != nil {
				return nil, &scimError{400, "invalidPath", name + " names attributes"}
			}
			list = append(list, p)
		}
		return list, nil
	}
	only, err := paths("attributes")
	if err != nil {
		return nil, err
	}
	without, err := paths("excludedAttributes")
	if err == nil && len(only) > 0 && len(without) > 0 {
		err = &scimError{400, "invalidValue", "attributes and excludedAttributes exclude each other"}
	}
	if err != nil {
		return nil, err
	}
	return func(r map[string]any) map[string]any {
		if len(only) == 0 && len(without) == 0 {
			return r
		}
		out := map[string]any{"id": r["id"], "schemas": r["schemas"]}
		for name, v := range r {
			keep, parts := len(only) == 0, []string(nil)
			for _, p := range only {
				if p.attr == name {
					keep, parts = true, append(parts, p.sub)
				}
			}
			for _, p := range without {
				if p.attr == name && p.sub == "" {
					keep = false
				} else if p.attr == name {
					parts = append(parts, p.sub)
				}
			}
			if keep {
				out[name] = scimParts(v, parts, len(only) > 0)
			}
		}
		out["id"], out["schemas"] = r["id"], r["schemas"]
		return out
	}, nil
}

// scimParts leaves, or leaves out, parts of a value; all are meant where one of them is "".
func scimParts(v any, parts []string, only bool) any {
	if len(parts) == 0 || slices.Contains(parts, "") {
		return v
	}
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for n, one := range v {
			out[n] = scimParts(one, parts, only)
		}
		return out
	case map[string]any:
		out := maps.Clone(v)
		maps.DeleteFunc(out, func(name string, _ any) bool { return slices.Contains(parts, name) != only })
		return out
	}
	return v
}

func (c *scimCall) get() (scimAnswer, error) {
	shape, err := c.shape()
	if err != nil {
		return scimAnswer{}, err
	}
	return read(c.r.Context(), c.Plane, func(tx *store.Tx) (scimAnswer, error) {
		r, err := c.show(tx, c.r.PathValue("id"))
		if err != nil {
			return scimAnswer{}, err
		}
		return scimAnswer{body: shape(r)}, nil
	})
}

func (c *scimCall) create() (a scimAnswer, err error) {
	sent, err := c.sent()
	if err != nil {
		return a, err
	}
	a, err = c.run(func(ch *registry.Change) (string, error) { return c.put(ch, "", sent) })
	a.status = http.StatusCreated
	return c.shaped(a, err)
}

// sent is the resource in the body.
func (c *scimCall) sent() (map[string]any, error) {
	in, err := c.body()
	if err != nil {
		return nil, err
	}
	r, err := c.kind.normal(in)
	if err != nil {
		return nil, &scimError{400, "invalidValue", err.Error()}
	}
	return r, nil
}

// put keeps a resource, new or changed, and notes whether somebody left by it.
func (c *scimCall) put(ch *registry.Change, id string, r map[string]any) (string, error) {
	if c.kind == scimGroup {
		g, members := readGroup(r, store.DirectoryGroup{ID: id})
		g, err := ch.PutDirectoryGroup(c.d, g, registry.Members{Only: true, Add: members})
		return g.ID, err
	}
	u := readUser(r, store.DirectoryUser{ID: id})
	before, err := ch.DirectoryUser(c.d.Name, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	u, err = ch.PutDirectoryUser(c.d, u)
	c.left = err == nil && !u.Active && before.Active
	return u.ID, err
}

// current is the resource as it is, if that is the version which the request is about.
func (c *scimCall) current(tx *store.Tx, id string) (map[string]any, error) {
	r, err := c.show(tx, id)
	if err != nil {
		return nil, err
	}
	if match := c.r.Header.Get("If-Match"); match != "" && !scimMatches(match, r["meta"].(map[string]any)["version"].(string)) {
		return nil, &scimError{http.StatusPreconditionFailed, "", "it was changed since (If-Match); read it again"}
	}
	return r, nil
}

// replace is PUT: what is left out is gone, but for active, which stays as the directory said last.
func (c *scimCall) replace() (a scimAnswer, err error) {
	sent, err := c.sent()
	if err != nil {
		return a, err
	}
	id := c.r.PathValue("id")
	return c.shaped(c.run(func(ch *registry.Change) (string, error) {
		if _, err := c.current(ch.Tx, id); err != nil {
			return "", err
		}
		r := maps.Clone(sent)
		if _, said := r["active"]; said {
			return c.put(ch, id, r)
		}
		if err := c.said(ch.Tx, id, r); err != nil {
			return "", err
		}
		return c.put(ch, id, r)
	}))
}

// said sets active to what the directory said last, which is not what the owner is where somebody here said that they have left.
func (c *scimCall) said(tx *store.Tx, id string, r map[string]any) error {
	if c.kind != scimUser {
		return nil
	}
	u, err := tx.DirectoryUser(c.d.Name, id)
	r["active"] = u.Active
	return err
}

func (c *scimCall) patch() (a scimAnswer, err error) {
	in, err := c.body()
	if err != nil {
		return a, err
	}
	ops, err := parseScimPatch(in)
	if err != nil {
		return a, &scimError{400, "invalidSyntax", err.Error()}
	}
	id := c.r.PathValue("id")
	a, err = c.run(func(ch *registry.Change) (string, error) {
		before, err := c.current(ch.Tx, id)
		if err != nil {
			return "", err
		}
		r, err := c.kind.normal(plainJSON(before))
		if err == nil {
			err = c.said(ch.Tx, id, r)
		}
		if err == nil {
			err = c.kind.applyAll(r, ops)
		}
		if err != nil {
			return "", err
		}
		return c.put(ch, id, r)
	})
	if q := c.r.URL.Query(); err == nil && c.kind == scimGroup && !q.Has("attributes") && !q.Has("excludedAttributes") { // a group may be large, and nobody asked for it
		return scimAnswer{status: http.StatusNoContent}, nil
	}
	return c.shaped(a, err)
}

func (c *scimCall) remove() (scimAnswer, error) {
	id := c.r.PathValue("id")
	err := c.write(func(ch *registry.Change) error {
		if _, err := c.current(ch.Tx, id); err != nil {
			return err
		}
		if c.kind == scimGroup {
			return ch.RemoveDirectoryGroup(c.d, id)
		}
		c.left = true
		return ch.RemoveDirectoryUser(c.d, id)
	})
	return scimAnswer{status: http.StatusNoContent}, err
}

// shaped is an answer with what the request asks to have returned.
func (c *scimCall) shaped(a scimAnswer, err error) (scimAnswer, error) {
	if err != nil {
		return a, err
	}
	shape, err := c.shape()
	if err == nil {
		a.body = shape(a.body)
	}
	return a, err
}
