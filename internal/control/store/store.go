// Package store keeps state, feed and ledger in one transaction.
//
// [DB.Write] is the only way to change state: what the function puts, the feed's
// changes that say so and the ledger's events that record it commit together or
// not at all. Every Put writes its own [feed.Change]; without a [ledger.Event] the
// whole is refused. [DB.Record] is for events alone: callers that wait at the same time
// share one commit. There is one writer at a time, so there is nothing to retry,
// and the feed's numbers appear in order. Whatever returned without error is on
// disk.
//
// The Merkle tree over the events grows with them: its root is in the row that
// every commit writes. [Open] rebuilds the tree and compares; a store that is not
// what it was does not open, and no checkpoint is signed over an event that
// cannot be read back as it was recorded.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

var (
	// ErrNotFound means that what was asked for, or referred to, is not there.
	ErrNotFound = errors.New("not found")
	// ErrExists means that the name, or the credential's thumbprint, is taken.
	ErrExists = errors.New("already exists")
	// ErrInUse means that something still refers to what should go.
	ErrInUse = errors.New("still in use")
	// ErrFull means that the disk is full: nothing was changed, and the same works once there is space.
	ErrFull = errors.New("disk is full")
	// ErrUnrecorded means that a Write changed state and recorded no event: a mistake of the caller's.
	ErrUnrecorded = errors.New("state changed without an event in the ledger")
	// ErrClosed means that the store is closing.
	ErrClosed = errors.New("store is closed")
)

// Config is what a store needs. Dir or Database, Now, Rand, Seal and Fatal are required.
type Config struct {
	Dir      string // data folder; made if it is not there
	Database string // postgres://…, which other nodes may share; without it, it is SQLite in Dir
	Now      func() time.Time
	Rand     io.Reader
	Seal     *seal.Box   // seals secrets; Open opens it
	Origin   string      // the ledger's name in checkpoints; default "lanyard.local/ledger"
	Keep     uint64      // changes kept for followers; default 100 000
	Fatal    func(error) // called when a write may or may not be on disk (an I/O error): it must end the process

	UnsafePatience    time.Duration // for tests alone: how long a database elsewhere has to answer; default 30 s
	UnsafeSynchronous string        // for tests alone: with NORMAL a power cut loses what was acknowledged; default FULL
}

// DB is the store. It is safe for concurrent use.
type DB struct {
	Config
	engine engine
	lock   *os.File
	w, r   *sql.DB // the one writing connection; those that read
	told   string  // the engine's, with the name of this node
	node   string

	writing  chan struct{} // holds a value while someone writes
	head     atomic.Pointer[head]
	bell     feed.Bell // rings after each commit
	tail     tail
	noted    feed.Bell // rings when there is something to be told
	queue    chan *batch
	recorded chan struct{}     // closed when nothing more will be taken from queue
	inserts  map[int]*sql.Stmt // events, by how many rows
	verifier string            // of checkpoints
	signed   atomic.Pointer[signed]
	touched  touched                      // credentials
	heard    touched                      // of gateways
	asked    touched                      // by directories
	full     atomic.Bool                  // the last write found the disk full
	newer    atomic.Bool                  // a newer program has changed the schema
	leads    atomic.Bool                  // this is the node of several that does what is to be done once
	take     atomic.Pointer[func(string)] // what other nodes tell
	down     atomic.Pointer[error]        // why the database was not reached when it last was to be

	closed atomic.Bool
	ctx    context.Context // ends with Close
	close  context.CancelFunc
	ended  sync.WaitGroup
}

// head is the row that every commit writes: how far feed and ledger are.
type head struct {
	epoch     string
	seq, kept uint64
	tree      ledger.Tree
}

// Exists reports whether a store was made in that folder.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "lanyard.db"))
	return err == nil
}

// ExistsIn reports whether a store was made in that database.
func ExistsIn(ctx context.Context, database string) (is bool, err error) {
	db := newDB(Config{Database: database})
	defer func() { err = errors.Join(err, db.shut()) }()
	if db.w, db.r, err = db.engine.open(db.Config); err != nil {
		return false, err
	}
	_, err = readHead(ctx, db.r, "")
	if db.engine.missing(err) || errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for a store in %s: %w", db.place(), db.mapped(err))
	}
	return true, nil
}

// Open opens the store in c.Dir and makes it on the first start. A second
// process is refused, and so are a store of a newer version, one that another
// seal key belongs to, and one whose ledger is damaged, with the place.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Dir == "" && c.Database == "" || c.Now == nil || c.Rand == nil || c.Seal == nil || c.Fatal == nil {
		return nil, errors.New("opening the store: a field of its configuration is missing")
	}
	db := newDB(c)
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store in %s: %w", db.place(), err), db.shut())
	}
	db.setAside()
	db.ended.Add(4)
	go db.tailLoop()
	go db.recordLoop()
	go db.touchLoop()
	go db.sieveLoop()
	if db.engine.follow != nil {
		db.ended.Add(1)
		following := make(chan struct{})
		go db.engine.follow(db, sync.OnceFunc(func() { close(following) }))
		<-following
	}
	return db, nil
}

func newDB(c Config) *DB {
	if c.Origin == "" {
		c.Origin = "lanyard.local/ledger"
	}
	if c.Keep == 0 {
		c.Keep = 100_000
	}
	if c.UnsafeSynchronous == "" {
		c.UnsafeSynchronous = "FULL"
	}
	if c.UnsafePatience == 0 {
		c.UnsafePatience = patience
	}
	db := &DB{Config: c, engine: sqlite, writing: make(chan struct{}, 1), queue: make(chan *batch, queued), recorded: make(chan struct{}),
		inserts: map[int]*sql.Stmt{}}
	if c.Database != "" {
		db.engine = postgres
	}
	db.head.Store(&head{})
	db.ctx, db.close = context.WithCancel(context.Background())
	return db
}

// connect opens the database. SQLite is for one process at a time.
func (db *DB) connect() (err error) {
	if !db.engine.shared {
		if err := os.MkdirAll(db.Dir, 0o700); err != nil {
			return fmt.Errorf("making the data folder: %w", err)
		}
		if db.lock, err = lock(filepath.Join(db.Dir, "lock")); err != nil {
			return err
		}
	}
	if db.node, err = db.epoch(); err != nil {
		return err
	}
	db.told = strings.ReplaceAll(db.engine.told, "%s", db.node)
	db.w, db.r, err = db.engine.open(db.Config)
	return err
}

// place is where the store is, in words that may be printed.
func (db *DB) place() string {
	if !db.engine.shared {
		return db.Dir
	}
	u, err := url.Parse(db.Database)
	if err != nil || u.Opaque != "" || u.Host == "" && u.User == nil { // who knows what stands there
		return "the database"
	}
	u.RawQuery = ""
	return u.Redacted()
}

func (db *DB) open(ctx context.Context) (err error) {
	if err := db.connect(); err != nil {
		return err
	}
	if err := db.migrate(ctx); err != nil {
		return db.mapped(err)
	}
	if err := db.unseal(ctx); err != nil {
		return db.mapped(err)
	}
	if err := db.load(ctx); err != nil {
		return db.mapped(err)
	}
	for _, rows := range insertRows {
		if db.engine.bulk != "" {
			break
		}
		if db.inserts[rows], err = db.w.PrepareContext(ctx, insertEvents(rows)); err != nil {
			return err
		}
	}
	return nil
}

// Close ends everything that waits, writes what is left to write, and gives the folder free.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	db.close()
	db.ended.Wait()
	db.writing <- struct{}{} // a Write under way ends first; none starts after
	err := db.flushTouched()
	return errors.Join(err, db.shut())
}

func (db *DB) shut() (err error) {
	db.close()
	for _, pool := range []*sql.DB{db.r, db.w} { // the last to close brings the log into the database
		if pool != nil {
			err = errors.Join(err, pool.Close())
		}
	}
	if db.lock != nil {
		err = errors.Join(err, unlock(db.lock))
	}
	return err
}

// Node is the name of this process among those that have the store open: another one each time that it is opened.
func (db *DB) Node() string { return db.node }

// Shared reports whether other nodes may have the store open, too.
func (db *DB) Shared() bool { return db.engine.shared }

// Leads reports whether this node is the one that does what is to be done once. When it ends, or its connection
// breaks, another leads a moment later; in between it may be that both do it.
func (db *DB) Leads() bool { return !db.engine.shared || db.leads.Load() }

// Ready returns why the store cannot be written, or nil.
func (db *DB) Ready() error {
	if db.ctx.Err() != nil {
		return ErrClosed
	}
	if db.full.Load() {
		return ErrFull
	}
	if db.newer.Load() {
		return ErrNewer
	}
	if why := db.down.Load(); why != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, *why)
	}
	return nil
}

// acquire makes the caller the one writer.
func (db *DB) acquire(ctx context.Context) error {
	select {
	case <-db.ctx.Done():
		return ErrClosed
	default:
	}
	select {
	case db.writing <- struct{}{}:
		if db.ctx.Err() != nil {
			<-db.writing
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-db.ctx.Done():
		return ErrClosed
	}
}

func (db *DB) release() { <-db.writing }

// mapped turns an engine's error into ours.
func (db *DB) mapped(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrFull), errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case db.engine.unique(err):
		return ErrExists
	case db.engine.foreign(err):
		return fmt.Errorf("%w: it refers to something that is not there", ErrNotFound)
	case db.engine.full(err):
		return fmt.Errorf("%w (%s)", ErrFull, db.place())
	case db.engine.lost(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
