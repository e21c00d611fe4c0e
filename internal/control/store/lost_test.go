package store_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// wire is a way to PostgreSQL that can be cut at a commit: before the server hears it, or before the client hears that it was done.
type wire struct {
	dir, to string
	cut     atomic.Int32
	away    atomic.Bool // nobody gets through any more
	mute    atomic.Bool // nothing gets through any more, in either direction, and nobody is told
	mu      sync.Mutex
	open    []net.Conn
}

const (
	before = 1 + iota
	after
)

// through returns the URL of a database behind a wire.
func through(t *testing.T, database string) (*wire, string) {
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	w := &wire{dir: t.TempDir(), to: filepath.Join(q.Get("host"), ".s.PGSQL.5432")}
	l, err := net.Listen("unix", filepath.Join(w.dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	q.Set("host", w.dir)
	u.RawQuery = q.Encode()
	return w, u.String()
}

func (w *wire) carry(client net.Conn) {
	defer client.Close()
	if w.away.Load() {
		return
	}
	server, err := net.Dial("unix", w.to)
	if err != nil {
		return
	}
	defer server.Close()
	w.mu.Lock()
	w.open = append(w.open, client, server)
	w.mu.Unlock()
	silent, ended := make(chan struct{}), make(chan struct{})
	go func() { // what the server says
		defer close(ended)
		defer client.Close()
		b := make([]byte, 1<<16)
		for {
			n, err := server.Read(b)
			if err != nil {
				return
			}
			select {
			case <-silent: // it has answered the commit
				return
			default:
			}
			if w.mute.Load() {
				continue
			}
			if _, err := client.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 1<<16)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		if bytes.Contains(b[:n], []byte("commit\x00")) {
			switch w.cut.Swap(0) {
			case before:
				return
			case after:
				close(silent)
				server.Write(b[:n])
				<-ended // in the other direction
			}
		}
		if w.mute.Load() {
			continue
		}
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
	}
}

// gone cuts all there is, for good.
func (w *wire) gone() {
	w.away.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		c.Close()
	}
}

// TestUnanswered: a commit whose answer does not come is asked after. What was done is acknowledged, what was not is refused, and either is once.
func TestUnanswered(t *testing.T) {
	c := storetest.Config(t)
	w, database := through(t, pg.New(t))
	c.Database = database
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	put := func(name identity.OwnerID) error {
		_, err := db.Write(t.Context(), func(tx *store.Tx) error {
			tx.Record(storetest.Event("test.put"))
			return errors.Join(tx.PutOwner(identity.Owner{ID: name, Name: "x", State: identity.OwnerActive}), tx.PutNote(store.Note{ID: string(name), Door: "mail"}))
		})
		return err
	}
	owners := func() (n int) {
		err := db.Read(t.Context(), func(tx *store.Tx) error {
			list, err := tx.Owners()
			n = len(list)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	for round := range 5 {
		n, size := owners(), db.Size()
		w.cut.Store(after)
		note := db.NextNote()
		if err := put(identity.OwnerID(rune('a' + round))); err != nil {
			t.Errorf("done, and not acknowledged: %v", err)
		}
		select {
		case <-note:
		default:
			t.Error("done, and nobody hears that there is something to be told")
		}
		w.cut.Store(before)
		if err := put("never"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("not done, and acknowledged: %v", err)
		}
		w.cut.Store(after)
		e := storetest.Event("x")
		if err := db.Record(t.Context(), []ledger.Event{e, storetest.Event("y")}); err != nil {
			t.Errorf("recorded, and not acknowledged: %v", err)
		}
		w.cut.Store(before)
		if err := db.Record(t.Context(), []ledger.Event{storetest.Event("z")}); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("not recorded, and acknowledged: %v", err)
		}
		if err := db.Record(t.Context(), []ledger.Event{e}); err != nil {
			t.Error(err)
		}
		if owners() != n+1 || db.Size() != size+3 {
			t.Errorf("%d owners after %d, %d events after %d", owners(), n, db.Size(), size)
		}
	}
	w.cut.Store(before)
	n := 0
	if _, err := db.WriteRegardless(t.Context(), func(tx *store.Tx) error {
		n++
		tx.Record(storetest.Event("cord"))
		return tx.PutOwner(identity.Owner{ID: "cord", Name: "x", State: identity.OwnerActive})
	}); err != nil || n != 2 {
		t.Errorf("the cord, tried %d times: %v", n, err)
	}
	if r, err := db.Verify(t.Context()); err != nil || !r.OK() {
		t.Errorf("%v %+v", err, r)
	}
	begin, err := db.Latest(t.Context())
	if err != nil || begin != db.Head() {
		t.Errorf("%v %v", begin, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	heard := make(chan feed.Change, 10)
	go func() {
		defer close(heard)
		for c, err := range db.Watch(ctx, begin) {
			if err != nil && ctx.Err() == nil {
				t.Errorf("a follower is told %v", err)
			}
			heard <- c
		}
	}()
	// With nothing to reach it says that it cannot be reached, and is not ready.
	w.gone()
	if err := put("gone"); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	if err := db.Ready(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("it is ready: %v", err)
	}
	if at, err := db.Latest(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("it knows what others do: %v %v", at, err)
	}
	w.away.Store(false)
	if err := put("back"); err != nil {
		t.Errorf("the database is back: %v", err)
	}
	if c := <-heard; c.Owner == nil || c.Owner.ID != "back" {
		t.Errorf("a follower hears %+v", c)
	}
	cancel()
	for range heard {
	}
}

// TestSilent: a database that says nothing more, on connections that stand, is not waited for without an end by whoever holds the
// one writer, by who asks how far it is, and by who follows. When it speaks again, all goes on.
func TestSilent(t *testing.T) {
	c := storetest.Config(t)
	w, database := through(t, pg.New(t))
	c.Database, c.UnsafePatience = database, time.Second
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	write := func() error {
		_, err := db.Write(t.Context(), func(tx *store.Tx) error {
			tx.Record(storetest.Event("test.put"))
			return tx.PutOwner(identity.Owner{ID: "maya", Name: "x", State: identity.OwnerActive})
		})
		return err
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := make(chan feed.Change, 100)
	at := db.Head()
	go func() {
		defer close(heard)
		for c, err := range db.Watch(ctx, at) {
			if err != nil && ctx.Err() == nil {
				t.Errorf("a follower is told %v", err)
			}
			heard <- c
		}
	}()
	for _, ask := range []struct {
		what string
		f    func() error
	}{
		{"acks", func() error {
			return db.NoteAcks(t.Context(), []store.Ack{{Gateway: "g", Cursor: at, At: storetest.Epoch}}, nil)
		}},
		{"sealing anew", func() error { _, err := db.Reseal(t.Context(), 10); return err }},
		{"a write", write},
		{"the latest", func() error { _, err := db.Latest(t.Context()); return err }},
	} {
		w.mute.Store(true)
		ended := make(chan error, 1)
		go func() { ended <- ask.f() }()
		select {
		case err := <-ended:
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v", ask.what, err)
			}
		case <-time.After(15 * time.Second):
			t.Fatalf("%s waits for a database that is silent", ask.what)
		}
		w.mute.Store(false)
		for begun := time.Now(); write() != nil || db.Ready() != nil; time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > 20*time.Second {
				t.Fatalf("after %s: %v", ask.what, db.Ready())
			}
		}
	}
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error {
		tx.Record(storetest.Event("test.put"))
		return tx.PutOwner(identity.Owner{ID: "last", Name: "x", State: identity.OwnerActive})
	}); err != nil {
		t.Fatal(err)
	}
	for late := time.After(20 * time.Second); ; {
		select {
		case c := <-heard:
			if c.Owner == nil || c.Owner.ID != "last" {
				continue
			}
			cancel()
			for range heard {
			}
			return
		case <-late:
			t.Fatal("a follower hears nothing more")
		}
	}
}

// TestNewerBeside: a node that runs when a newer program changes the schema does nothing more, until that is undone: it writes nothing, gives
// no lease, shows no changes, and says so.
func TestNewerBeside(t *testing.T) {
	conf := storetest.Config(t)
	conf.Database = pg.New(t)
	db, err := store.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	begin := db.Head()
	put := func(id identity.OwnerID) error {
		_, err := db.Write(t.Context(), func(tx *store.Tx) error {
			tx.Record(storetest.Event("o"))
			return tx.PutOwner(identity.Owner{ID: id, Name: "x", State: identity.OwnerActive})
		})
		return err
	}
	change := func(text string) {
		t.Helper()
		c, err := pgx.Connect(t.Context(), conf.Database)
		if err == nil {
			_, err = c.Exec(t.Context(), text)
			c.Close(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change("INSERT INTO schema_version (version) VALUES (999)")
	if err := put("anna"); !errors.Is(err, store.ErrNewer) {
		t.Errorf("it writes: %v", err)
	}
	if _, err := db.Latest(t.Context()); !errors.Is(err, store.ErrNewer) {
		t.Errorf("it says where the head is: %v", err)
	}
	if err := db.Ready(); !errors.Is(err, store.ErrNewer) {
		t.Errorf("it is ready: %v", err)
	}
	for _, err := range db.Watch(t.Context(), begin) {
		if !errors.Is(err, store.ErrNewer) {
			t.Errorf("it shows changes: %v", err)
		}
		break
	}
	change("DELETE FROM schema_version WHERE version = 999")
	if err := put("anna"); err != nil {
		t.Error(err)
	}
	if _, err := db.Latest(t.Context()); err != nil {
		t.Error(err)
	}
	for begun := time.Now(); db.Ready() != nil; time.Sleep(20 * time.Millisecond) { // who listens has to come back, too
		if time.Since(begun) > 20*time.Second {
			t.Fatal(db.Ready())
		}
	}
}

// TestNewerMeanwhile: a write that waited for its turn while a newer program changed the schema is not made.
func TestNewerMeanwhile(t *testing.T) {
	conf := storetest.Config(t)
	conf.Database = pg.New(t)
	db, err := store.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := pgx.Connect(t.Context(), conf.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	exec := func(text string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	size, written := db.Size(), make(chan error, 1)
	exec("BEGIN")
	exec("SELECT 1 FROM head FOR UPDATE")
	go func() { written <- db.Record(context.Background(), []ledger.Event{storetest.Event("o")}) }()
	for waits := 0; waits == 0; {
		if err := c.QueryRow(t.Context(), "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%FROM head FOR UPDATE'").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	exec("INSERT INTO schema_version (version) VALUES (999)")
	exec("COMMIT")
	if err := <-written; !errors.Is(err, store.ErrNewer) {
		t.Errorf("it writes: %v", err)
	}
	exec("DELETE FROM schema_version WHERE version = 999")
	if err := db.Record(t.Context(), []ledger.Event{storetest.Event("o")}); err != nil || db.Size() != size+1 {
		t.Errorf("%d events, then %d: %v", size, db.Size(), err)
	}
}
