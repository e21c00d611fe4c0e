// Package registry is every change of state: who there is, whose it is, what it
// may do, and when that ends. Nothing else writes.
//
// A [Registry] runs a function over a [Change], one transaction: each of its
// methods checks the rules, puts the new state and records the event that says
// who did it. Together they commit or they never were; what commits is in force
// on the very next request. [Registry.Try] is the same with nothing kept, which is
// how a plan is made.
package registry

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// Registry changes state. All fields are required but those with a default.
type Registry struct {
	Store         *store.DB
	Domain        string             // trust domain of new identities
	Families      []connector.Family // how upstreams describe themselves
	Rand          io.Reader
	DefaultExpiry time.Duration // of an identity; default 90 days
	MaxExpiry     time.Duration // the longest that an identity may run without being renewed; default 365 days
	Questions     int           // that may wait for people for one identity; default 20
	Doors         []string      // through which people are told of a question
	KeepEnded     time.Duration // how long a child that ended is kept; default a day
	Gateways      []string      // names that no gateway can join by

	// GivenUp is handed the accounts at upstreams that a change has ended, for their servers to be told;
	// the change is in force by then. It must not wait. nil: nobody is told.
	GivenUp func(context.Context, []Account)

	described described
}

// Actor is who changes something: "operator:<name>", "owner:<name>", "provider:<name>" on whose word it is, an
// identity's SPIFFE ID, or "lanyard" for what happens by itself.
type Actor struct {
	Name   string
	Source string // peer address, if it came over the network

	Session string                // the id of a person's, if one does it
	Still   func(*store.Tx) error // why the actor may not do it, asked in the transaction in which it is done; nil: it may

	Sees func(identity.OwnerID) bool // whose it may be told of; nil: everybody's

	chain []string // who is behind it, when that is known to be more than Name
}

// sees reports whether the actor may be told of what is an owner's.
func (a Actor) sees(owner identity.OwnerID) bool { return a.Sees == nil || a.Sees(owner) }

// Self is the actor of what happens by itself.
var Self = Actor{Name: "lanyard"}

// Change is one transaction of the registry. It is for one goroutine.
type Change struct {
	*store.Tx
	r  *Registry
	by Actor
	// What Settle has to look at: guardrails against the upstreams, grants on
	// upstreams that changed, backups of owners.
	rails   bool
	moved   map[string]bool
	backups []identity.Owner
	given   []Account                        // up, at upstreams
	owned   map[identity.ID]identity.OwnerID // whose identities were before, that are put
}

// Do runs f and commits all it did, or nothing when it returns an error.
func (r *Registry) Do(ctx context.Context, by Actor, f func(*Change) error) (feed.Cursor, error) {
	return r.do(ctx, r.Store.Write, by, f)
}

// DoRegardless is Do for the cord, which must work on a full disk, too. f may run twice.
func (r *Registry) DoRegardless(ctx context.Context, by Actor, f func(*Change) error) (feed.Cursor, error) {
	return r.do(ctx, r.Store.WriteRegardless, by, f)
}

func (r *Registry) do(ctx context.Context, write func(context.Context, func(*store.Tx) error) (feed.Cursor, error), by Actor, f func(*Change) error) (feed.Cursor, error) {
	var given []Account
	at, err := write(ctx, func(tx *store.Tx) error {
		c, err := r.run(tx, by, f)
		given = c.given
		return err
	})
	if err == nil && len(given) > 0 && r.GivenUp != nil {
		r.GivenUp(context.WithoutCancel(ctx), given)
	}
	return at, err
}

var errTried = errors.New("tried")

// Try runs f and keeps nothing of it. The error is what Do would have returned.
func (r *Registry) Try(ctx context.Context, by Actor, f func(*Change) error) error {
	_, err := r.Store.Write(ctx, func(tx *store.Tx) error {
		if _, err := r.run(tx, by, f); err != nil {
			return err
		}
		return errTried
	})
	if errors.Is(err, errTried) {
		return nil
	}
	return err
}

func (r *Registry) run(tx *store.Tx, by Actor, f func(*Change) error) (*Change, error) {
	c := &Change{Tx: tx, r: r, by: by, moved: map[string]bool{}}
	if by.Still != nil {
		if err := by.Still(tx); err != nil {
			return c, err
		}
	}
	if err := f(c); err != nil {
		return c, err
	}
	if err := c.Settle(); err != nil {
		return c, err
	}
	return c, c.signal()
}

// record adds the event of a change.
func (c *Change) record(kind, resource, owner, reason string, detail map[string]string) error {
	id, err := ledger.NewID(c.r.Rand, c.Now())
	if err != nil {
		return err
	}
	c.Record(ledger.Event{ID: id, Time: c.Now(), Type: kind, Outcome: ledger.Allowed, Actor: c.by.Name, Source: c.by.Source, Chain: c.by.chain,
		Owner: owner, Resource: resource, Reason: reason, Detail: detail})
	return nil
}

// newID makes an id: prefix and 16 random letters and digits.
func (c *Change) newID(prefix string) (string, error) {
	var b [10]byte
	if _, err := io.ReadFull(c.r.Rand, b[:]); err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	return prefix + strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), nil
}

// Invalid says what is wrong with one field of what was put.
type Invalid struct {
	What  string // "identity invoice-bot"
	Field string // as in manifests: owner, expires, conditions.to; empty: all of it
	Text  string
}

func (e *Invalid) Error() string {
	if e.Field == "" || strings.HasPrefix(e.Text, e.Field) {
		return e.What + ": " + e.Text
	}
	return e.What + ": " + e.Field + ": " + e.Text
}

// Conflict says why something cannot be now, as things are.
type Conflict struct{ Text string }

func (e *Conflict) Error() string { return e.Text }

// Missing says what is not there.
type Missing struct{ Noun, Name string }

func (e *Missing) Error() string {
	where := e.Noun + " list"
	if e.Noun == "grant" || e.Noun == "credential" { // listed with whose they are
		where = "identity show"
	}
	return fmt.Sprintf("there is no %s %q; lanyard %s shows what there is", e.Noun, e.Name, where)
}
func (e *Missing) Is(err error) bool { return err == store.ErrNotFound }

func missing(err error, noun, name string) error {
	if errors.Is(err, store.ErrNotFound) {
		return &Missing{noun, name}
	}
	return err
}

// FindIdentity finds an identity by name, kind/name or SPIFFE ID.
func FindIdentity(tx *store.Tx, ref string) (identity.Identity, error) {
	if strings.HasPrefix(ref, "spiffe://") {
		id, err := identity.ParseID(ref)
		if err != nil {
			return identity.Identity{}, &Invalid{"identity", "", err.Error()}
		}
		i, err := tx.Identity(id)
		return i, missing(err, "identity", ref)
	}
	kind, name, both := strings.Cut(ref, "/")
	if !both {
		kind, name = "", ref
	}
	i, err := tx.IdentityByName(name)
	if err == nil && both && string(i.ID.Kind()) != kind {
		err = store.ErrNotFound
	}
	return i, missing(err, "identity", ref)
}

// Default is how long an identity may act when nothing else is said; Longest is the most that may be said.
func (r *Registry) Default() time.Duration { return r.defaultExpiry() }

// Longest is the longest that an identity may act without being renewed.
func (r *Registry) Longest() time.Duration { return r.maxExpiry() }
