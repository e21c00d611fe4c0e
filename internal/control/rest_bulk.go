package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// bulkMost is to how many identities one thing can be done at once.
const bulkMost = 10_000

// BulkRequest is POST /v1/identities/bulk. Exactly one of Identities and Where is given.
type BulkRequest struct {
	Do         string         `json:"do" enum:"suspend,resume,kill,extend,transfer"`
	Identities []string       `json:"identities,omitempty" doc:"Names, kind/name or SPIFFE IDs" maxItems:"10000"`
	Where      *IdentityWhere `json:"where,omitempty" doc:"All that these select, up to 10000"`
	Owner      string         `json:"owner,omitempty" doc:"transfer: to whom" maxLength:"64"`
	Expires    string         `json:"expires,omitempty" doc:"extend: the new end; default 90d" example:"90d" maxLength:"64"`
	Reason     string         `json:"reason" minLength:"1" maxLength:"500"`
	Preview    bool           `json:"preview,omitempty" doc:"Only say what would be done"`
}

// BulkResult says what was done, or would be, to each; one that it cannot be done to keeps it from none of the others.
type BulkResult struct {
	Identities []BulkDone    `json:"identities"`
	Receipt    *feed.Receipt `json:"receipt,omitempty"`
}

// BulkDone is one identity of it.
type BulkDone struct {
	ID    string `json:"id"`
	Would string `json:"would,omitempty" example:"active → suspended"`
	Did   string `json:"did,omitempty"`
	Error string `json:"error,omitempty" doc:"Why it cannot be done to this one"`
}

// bulkOperation is the operation that does to one what is done to many.
var bulkOperation = map[string]string{"suspend": "suspend-identity", "resume": "resume-identity", "kill": "kill", "extend": "renew-identity", "transfer": "put-identity"}

func (p *Plane) bulkRoutes(api door) {
	handleList(api, "POST", "/identities/bulk", "bulk-identities", "identities", "Do one thing to many identities, or show what it would do", func(ctx context.Context, in *body[BulkRequest]) (out BulkResult, err error) {
		b := in.Body
		end, err := registry.ParseEnd(b.Expires)
		switch {
		case err != nil:
			return out, invalid("expires: " + err.Error())
		case (b.Where == nil) == (len(b.Identities) == 0):
			return out, invalid("give exactly one of identities and where")
		case b.Do == "transfer" && b.Owner == "":
			return out, invalid("owner: say to whom they go")
		}
		if end.Zero() {
			end = registry.For(p.registry.Default())
		}
		var killed []registry.Killed
		work := func(c *registry.Change) error {
			killed, out.Identities = nil, []BulkDone{}
			refs, err := p.meant(c.Tx, in)
			for _, ref := range refs {
				if err != nil {
					return err
				}
				one := BulkDone{ID: ref}
				var k registry.Killed
				k, err = p.bulkOne(c, in, end, &one)
				if k.ID != "" {
					killed = append(killed, k)
				}
				out.Identities = append(out.Identities, one)
			}
			return err
		}
		if b.Preview {
			err = p.registry.Try(ctx, in.actor(), work)
			for i := range out.Identities {
				out.Identities[i].Would, out.Identities[i].Did = out.Identities[i].Did, ""
			}
			return out, err
		}
		var r feed.Receipt
		if b.Do == "kill" {
			r, err = p.kill(ctx, in.Caller, work, func(c *registry.Change) (err error) {
				for _, k := range killed {
					_, e := c.KillBelow(k, b.Reason)
					err = errors.Join(err, e)
				}
				return err
			})
		} else {
			var changed Changed
			changed, err = p.change(ctx, in.Caller, work)
			r = changed.Receipt
		}
		out.Receipt = &r
		return out, err
	})
}

// meant are the identities that a request names, or those of its query that the caller sees.
func (p *Plane) meant(tx *store.Tx, in *body[BulkRequest]) ([]string, error) {
	b := in.Body
	if b.Where == nil {
		return b.Identities, nil
	}
	l, err := p.listing(tx, b.Where, in.only)
	if err != nil {
		return nil, err
	}
	l.Limit = bulkMost + 1
	list, _, err := tx.Listed(l)
	if len(list) > bulkMost {
		return nil, invalid(fmt.Sprintf("where: more than %d are meant; narrow it down", bulkMost))
	}
	refs := make([]string, len(list))
	for i := range list {
		refs[i] = list[i].ID.String()
	}
	return refs, err
}

// bulkOne does it to one identity, or says in done why it cannot be. The error is one that ends it all.
func (p *Plane) bulkOne(c *registry.Change, in *body[BulkRequest], end registry.End, done *BulkDone) (k registry.Killed, err error) {
	b := in.Body
	i, err := registry.FindIdentity(c.Tx, done.ID)
	if err == nil && in.Session != "" {
		v, e := visit(c.Tx, in.Session)
		if e != nil {
			return k, e
		}
		objects := []object{owned("identity", done.ID, i.Owner)}
		if b.Do == "transfer" { // who gets it has a say as with a single one, see objectsOf
			objects = append(objects, owned("owner", b.Owner, identity.OwnerID(b.Owner)))
		}
		var no *Problem
		if err = mayAll(&v, bulkOperation[b.Do], objects...); errors.As(err, &no) {
			done.ID, done.Error = i.ID.String(), "you may not do this to it"
			return k, nil
		}
	}
	if err == nil {
		done.ID = i.ID.String()
		k, done.Did, err = bulkChange(c, b, i, end)
	}
	if told, ok := problem(err).(*Problem); err != nil && (!ok || told.Status >= 500) {
		return k, err
	} else if err != nil {
		done.Did, done.Error = "", told.Detail
	}
	return k, nil
}

func bulkChange(c *registry.Change, b BulkRequest, i identity.Identity, end registry.End) (k registry.Killed, did string, err error) {
	was := i
	switch b.Do {
	case "kill":
		k, err = c.Kill(registry.Aim{Identity: i.ID.String()}, b.Reason)
		return k, string(was.State) + " → killed", err
	case "suspend":
		i, err = c.Transition(i.ID.String(), identity.Suspended, "suspend", b.Reason, registry.End{})
	case "resume":
		i, err = c.Transition(i.ID.String(), identity.Active, "resume", b.Reason, registry.End{})
	case "extend":
		to := i.State
		if to == identity.Expired {
			to = identity.Active
		}
		i, err = c.Transition(i.ID.String(), to, "renew", b.Reason, end)
		return k, "ends " + i.Expires.UTC().Format(time.DateOnly) + " instead of " + was.Expires.UTC().Format(time.DateOnly), err
	case "transfer":
		if !i.Parent.ID.IsZero() {
			return k, "", &registry.Conflict{Text: i.ID.Name() + " was started by " + i.Parent.ID.Name() + ", whose owner it has"}
		}
		w := registry.Wanted{Kind: i.ID.Kind(), Name: i.ID.Name(), Owner: identity.OwnerID(b.Owner), Backup: i.Backup, Purpose: i.Purpose, Environment: i.Environment, Set: i.Set, Tasks: i.Tasks, Children: i.Children}
		if w.Backup == w.Owner {
			w.Backup = ""
		}
		i, _, err = c.PutIdentity(w)
		return k, string(was.Owner) + " → " + string(i.Owner), err
	}
	return k, string(was.State) + " → " + string(i.State), err
}
