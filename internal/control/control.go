// Package control is the doors of the control plane: REST for operators, OAuth
// for identities, the feed for gateways. Behind them one [Plane] holds the
// rooms: store, registry, broker, issuer, and a view of its own state.
//
// Every change goes the same way: a door knows who asks, the registry writes
// state, change and event in one transaction, the gateways confirm, and the
// answer carries the receipt.
package control

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/control/broker"
	"github.com/lanyard-dev/lanyard/internal/control/issuer"
	"github.com/lanyard-dev/lanyard/internal/control/notify"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Config is what a control plane needs. Fields without a default are required.
type Config struct {
	Store         *store.DB
	View          *feed.View         // its memory; the caller keeps it up to date with feed.Follow
	Domain        string             // trust domain
	URL           string             // public base of this control plane, and the issuer's name
	GatewayURL    string             // public base of the gateways
	Families      []connector.Family // how upstreams describe themselves
	Version       string
	Now           func() time.Time
	Rand          io.Reader
	Log           *slog.Logger
	Metrics       *prometheus.Registry
	DefaultExpiry time.Duration // of identities; default 90 days
	MaxExpiry     time.Duration // default 365 days
	TokenTTL      time.Duration // default 5 minutes, at most 15
	AllowBearer   bool          // give unbound tokens to clients that could bind them
	Register      bool          // clients that people connect may register themselves (RFC 7591)
	LocalClients  bool          // metadata documents of clients, and providers' keys, may be on this machine, over http: for development
	Questions     int           // that may wait for people for one identity; default 20
	Notify        []notify.Door // through which people are told that they are asked
	Lease         time.Duration // how long a gateway may go on without word; default 10 seconds
	Clock         feed.Clock    // what leases are measured with; default the machine's
	// KEK makes the key that a setting names, to wrap the seal keys; nil: they stay wrapped as they are.
	KEK func(setting string) (seal.KEK, error)

	Fleet          bool          // gateways elsewhere may join: they are served by FleetServer
	CertificateTTL time.Duration // of gateways; default 24 hours
	Local          []string      // names of what follows the feed in this process
	Node           string        // where this control node runs, for people: in receipts, where there are several
}

// Plane is a control plane.
type Plane struct {
	Config
	started  time.Time
	registry *registry.Registry
	broker   *broker.Broker
	ring     *issuer.KeyRing
	issuer   *issuer.Issuer
	acks     acks          // of gateways
	fleet    *fleet        // nil: there is none
	wake     chan struct{} // something's end may have come nearer
	bodyTime time.Duration // a body that is not whole by then is refused
	waiting  waiting       // for people's answers
	sealed   *sealed
	draining atomic.Bool
	counters counters
	tally    tally
	scimDoor scimDoor

	replaying sync.Mutex // who replays recorded requests: one at a time
}

// Open makes a control plane over a store, and its first signing key on the first start.
func Open(ctx context.Context, c Config) (*Plane, error) {
	p := &Plane{Config: c, started: c.Now().Truncate(time.Second).Add(time.Second), wake: make(chan struct{}, 1), bodyTime: 30 * time.Second}
	if p.Clock == nil {
		p.Clock = feed.BootClock
	}
	if p.Lease == 0 {
		p.Lease = feed.DefaultLease
	}
	p.Node = strings.TrimSpace(p.Node + " " + c.Store.Node()[:6]) // another one each time it starts
	p.sealed = newSealed()
	p.registry = &registry.Registry{Store: c.Store, Domain: c.Domain, Families: c.Families, Rand: c.Rand,
		DefaultExpiry: c.DefaultExpiry, MaxExpiry: c.MaxExpiry, Questions: c.Questions, Doors: doorNames(c.Notify), Gateways: c.Local}
	p.broker = &broker.Broker{Registry: p.registry, URL: c.URL, Now: c.Now, Rand: c.Rand, Log: c.Log}
	p.registry.GivenUp = p.broker.GivenUp
	p.ring = &issuer.KeyRing{Vault: vault(c.Store), Now: c.Now, Rand: c.Rand}
	if err := errors.Join(p.ring.Open(ctx), p.recall(ctx)); err != nil {
		return nil, err
	}
	p.issuer = &issuer.Issuer{URL: c.URL, GatewayURL: c.GatewayURL, View: c.View, Ring: p.ring, Now: c.Now, Rand: c.Rand, Start: p.started,
		TTL: c.TokenTTL, AllowBearer: c.AllowBearer, Registry: p.registry, Fetch: fetch.New(c.LocalClients), Register: c.Register,
		Settle: func(ctx context.Context, at feed.Cursor) { p.stir(); p.receipt(ctx, at, 0) }, Record: p.recordIssued, RecordStatus: p.recordStatus, Statuses: c.Store.Statuses, Touch: c.Store.TouchCredential, Admin: p.networkOperator,
		RevokeToken: func(ctx context.Context, t token.Claims, actor string) error {
			at, err := p.do(ctx, registry.Actor{Name: actor}, func(c *registry.Change) error {
				return c.RevokeToken(t.ID, t.Expires, t.Actor(), "")
			})
			if err == nil {
				p.receipt(ctx, at, 0)
			}
			return err
		}}
	if c.Fleet {
		var err error
		if p.fleet, err = newFleet(ctx, p); err != nil {
			return nil, err
		}
	}
	return p, p.metrics()
}

// Close ends what is under way with authorization servers of upstreams, whose answers must be kept: the store is closed after it, and
// what follows the feed in this process before it.
func (p *Plane) Close() {
	p.broker.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.leave(ctx); err != nil {
		p.Log.Warn("telling the other control nodes that this one has stopped", "error", err)
	}
}

// Start is the whole second before which its handlers must not serve: an
// assertion is dated to the second, and one of an earlier second may have been
// used before a restart.
func (p *Plane) Start() time.Time { return p.started }

// vault keeps the signing keys sealed in the store.
func vault(db *store.DB) issuer.Vault {
	const prefix = "key/"
	return issuer.Vault{
		Load: func(ctx context.Context) (map[string][]byte, error) {
			keys := map[string][]byte{}
			return keys, db.Read(ctx, func(tx *store.Tx) error {
				return loadSecrets(tx, prefix, keys)
			})
		},
		Save: func(ctx context.Context, put map[string][]byte, drop []string, keys feed.Keys, e ledger.Event) error {
			_, err := db.Write(ctx, func(tx *store.Tx) error {
				if err := unlessOthers(tx, prefix, put, drop, issuer.ErrOtherKeys); err != nil {
					return err
				}
				tx.Record(e)
				return errors.Join(tx.PutKeys(keys), saveSecrets(tx, prefix, put, drop))
			})
			return err
		},
	}
}

// loadSecrets puts every secret under prefix into keys, by what comes after it.
func loadSecrets(tx *store.Tx, prefix string, keys map[string][]byte) error {
	names, err := tx.Secrets(prefix)
	for _, name := range names {
		if keys[strings.TrimPrefix(name, prefix)], err = tx.Secret(name); err != nil {
			return err
		}
	}
	return err
}

// unlessOthers returns other when there is a secret under prefix that is neither put nor dropped: who saves does not know of it.
func unlessOthers(tx *store.Tx, prefix string, put map[string][]byte, drop []string, other error) error {
	names, err := tx.Secrets(prefix)
	for _, name := range names {
		if id := strings.TrimPrefix(name, prefix); put[id] == nil && !slices.Contains(drop, id) {
			return other
		}
	}
	return err
}

func saveSecrets(tx *store.Tx, prefix string, put map[string][]byte, drop []string) (err error) {
	for id, key := range put {
		err = errors.Join(err, tx.PutSecret(prefix+id, key))
	}
	for _, id := range drop {
		err = errors.Join(err, tx.DeleteSecret(prefix+id))
	}
	return err
}

// Run does what happens by itself until ctx ends: identities and questions expire, children that ended long ago and old
// signing keys go, people are told.
func (p *Plane) Run(ctx context.Context) {
	if _, err := p.registry.Do(ctx, registry.Self, func(c *registry.Change) error { return c.ForgetDoors() }); err != nil {
		p.Log.Error("what is still to be told", "error", err)
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		var all sync.WaitGroup
		all.Go(func() { p.notify(ctx) })
		all.Go(func() { p.keepSeal(ctx) })
		all.Go(func() { p.count(ctx) })
		if p.Store.Shared() {
			all.Go(func() { p.followKeys(ctx) })
			all.Go(func() { p.tellAcks(ctx) })
		}
		all.Wait()
	}()
	defer func() { <-told }()
	noted := make(chan struct{})
	go func() { defer close(noted); p.noteAcks(ctx) }()
	defer func() { <-noted }()
	var tidied time.Time
	for ctx.Err() == nil {
		wait := time.Minute
		next, err := p.registry.Expire(ctx)
		if now := p.Now(); err == nil && now.Sub(tidied) >= time.Minute {
			tidied, err = now, p.registry.Tidy(ctx)
		}
		if err == nil {
			var answer time.Time
			if answer, err = p.registry.ExpireApprovals(ctx); next.IsZero() || !answer.IsZero() && answer.Before(next) {
				next = answer
			}
		}
		if err == nil {
			err = p.ring.Prune(ctx)
		}
		if err == nil && p.fleet != nil {
			err = p.fleet.ca.Prune(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.Log.Error("what happens by itself", "error", err)
		} else if until := next.Sub(p.Now()); !next.IsZero() && until < wait {
			wait = max(until, 10*time.Millisecond)
		}
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-time.After(wait):
		}
	}
}

// followKeys has the ring and the fleet's authority hold what any node made of their keys, until ctx ends.
func (p *Plane) followKeys(ctx context.Context) {
	refresh := func() error {
		err := p.ring.Refresh(ctx)
		if err == nil && p.fleet != nil {
			err = p.fleet.ca.Refresh(ctx)
		}
		return err
	}
	for ctx.Err() == nil {
		at := p.Store.Head()
		err := refresh()
		if err == nil {
			for c, e := range p.Store.Watch(ctx, at) {
				if err = e; err == nil && c.Keys != nil {
					err = refresh()
				}
				if err != nil {
					break
				}
			}
		}
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("following the keys of other nodes", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// do runs a change and wakes what depends on the time something ends.
func (p *Plane) do(ctx context.Context, by registry.Actor, f func(*registry.Change) error) (feed.Cursor, error) {
	at, err := p.registry.Do(ctx, by, f)
	p.stir()
	return at, err
}

// stir has Run look at once at what happens by itself.
func (p *Plane) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Source is the control plane as the gateway of that name sees it, in the same process.
func (p *Plane) Source(gateway string) feed.Source {
	return source{p, gateway, p.here(gateway), time.Time{}}
}

type source struct {
	p       *Plane
	gateway string
	ackAs   string
	joined  time.Time // of one elsewhere
}

var _ feed.Source = source{}

func (s source) Watch(ctx context.Context, after feed.Cursor) iter.Seq2[feed.Change, error] {
	return s.p.Store.Watch(ctx, after)
}

func (s source) Ack(ctx context.Context, at feed.Cursor) (time.Duration, error) {
	return s.p.acknowledged(ctx, s.ackAs, s.joined, at)
}

func (s source) Record(ctx context.Context, events []ledger.Event) error {
	return s.p.Store.Record(ctx, events)
}

func (s source) Credential(ctx context.Context, upstream string, chain identity.Chain, refused feed.Secret) (feed.Secret, error) {
	return s.p.broker.Credential(ctx, upstream, chain, refused)
}

func (s source) Draw(ctx context.Context, task string, want policy.Budget) (got policy.Budget, err error) {
	_, err = s.p.registry.Do(ctx, registry.Self, func(c *registry.Change) (err error) {
		got, err = c.DrawBudget(s.gateway, task, want)
		return err
	})
	return got, err
}

func (s source) Introduce(ctx context.Context, upstream, access string) (feed.Introduction, error) {
	return s.p.issuer.Introduce(ctx, upstream, access, s.gateway)
}
