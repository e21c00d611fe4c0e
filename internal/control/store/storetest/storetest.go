// Package storetest is the suite that the store must pass on every database.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/feed/feedtest"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Epoch is the time of the suite's clock.
var Epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Config is one for tests: everything but where the store is.
func Config(t testing.TB) store.Config {
	box, err := seal.New()
	if err != nil {
		t.Fatal(err)
	}
	return store.Config{Now: func() time.Time { return Epoch }, Rand: rand.Reader, Seal: box,
		Fatal: func(err error) { t.Errorf("the store would have ended the process: %v", err) }}
}

// Test runs the suite. place returns where a fresh store can be, in the configuration's own terms.
func Test(t *testing.T, place func(*testing.T, *store.Config)) {
	for name, f := range map[string]func(*testing.T, kit){
		"objects": objects, "unique": unique, "references": references, "unrecorded": unrecorded, "rollback": rollback,
		"record": record, "concurrent": concurrent, "reopen": reopen, "kill": kill, "children": children, "loops": loops, "compacted": compacted,
		"ledger": events, "sieves": sieves, "damage": damage, "secrets": secrets, "resealed": resealed, "otherNode": otherNode, "before": before, "interrupted": interrupted, "second": second, "closed": closed, "lists": lists, "belongings": belongings, "owned": owned, "lines": lines, "grantsOf": grantsOf, "touched": touchedLater, "tickets": tickets, "sessions": sessions, "listed": listed, "providers": providers, "accounts": accounts, "tasks": tasks, "approvals": approvals, "yeses": yeses, "former": former, "notes": notes, "acks": acks, "gateways": gateways, "migrated": migrated, "statuses": statuses, "manyStatuses": manyStatuses, "receivers": receivers, "directories": directories,
	} {
		t.Run(name, func(t *testing.T) {
			c := Config(t)
			place(t, &c)
			f(t, kit{t, c})
		})
	}
	feedtest.Test(t, func(t *testing.T) feedtest.Kit {
		c := Config(t)
		place(t, &c)
		db := kit{t, c}.open()
		return feedtest.Kit{Source: source{db}, Put: func(c feed.Change) feed.Cursor { return Put(t, db, c) }}
	})
}

// source is the store's part of a feed.Source.
type source struct{ *store.DB }

func (source) Ack(context.Context, feed.Cursor) (time.Duration, error) { return 0, nil }
func (source) Credential(context.Context, string, identity.Chain, feed.Secret) (feed.Secret, error) {
	return feed.Secret{}, store.ErrNotFound
}
func (source) Draw(context.Context, string, policy.Budget) (policy.Budget, error) {
	return nil, store.ErrNotFound
}
func (source) Introduce(context.Context, string, string) (feed.Introduction, error) {
	return feed.Introduction{}, store.ErrNotFound
}

type kit struct {
	*testing.T
	store.Config
}

func (k kit) open() *store.DB {
	k.Helper()
	db, err := store.Open(k.Context(), k.Config)
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() { db.Close() })
	return db
}

func (k kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k kit) write(db *store.DB, f func(*store.Tx) error) feed.Cursor {
	k.Helper()
	at, err := db.Write(k.Context(), func(tx *store.Tx) error {
		tx.Record(Event("test.put"))
		return f(tx)
	})
	k.must(err)
	return at
}

func (k kit) read(db *store.DB, f func(*store.Tx) error) {
	k.Helper()
	k.must(db.Read(k.Context(), f))
}

// Event makes an event with an id of its own.
func Event(kind string) ledger.Event {
	return ledger.Event{ID: "evt_" + rand.Text(), Time: Epoch, Type: kind, Outcome: ledger.Allowed, Actor: "operator:test"}
}

// Put writes one change of the feed as the state it stands for.
func Put(t *testing.T, db *store.DB, c feed.Change) feed.Cursor {
	at, err := db.Write(t.Context(), func(tx *store.Tx) error {
		tx.Record(Event("test.put"))
		switch {
		case c.Removed:
			return tx.DeleteGrant(c.Grant.ID)
		case c.Owner != nil:
			return tx.PutOwner(*c.Owner)
		case c.Identity != nil:
			return tx.PutIdentity(*c.Identity)
		case c.Credential != nil:
			return tx.PutCredential(*c.Credential)
		case c.Upstream != nil:
			return tx.PutUpstream(*c.Upstream)
		case c.Grant != nil:
			return tx.PutGrant(*c.Grant)
		case c.Guardrail != nil:
			return tx.PutGuardrail(*c.Guardrail)
		case c.Task != nil:
			return tx.PutTask(*c.Task)
		case c.Token != nil:
			return tx.RevokeToken(*c.Token)
		case c.Approval != nil:
			return tx.PutApproval(store.Approval{Approval: *c.Approval})
		case c.Kill != nil:
			_, _, err := tx.Kill(c.Kill.ID, store.Selector{Identity: c.Kill.Identities[0]})
			return err
		}
		return fmt.Errorf("%+v is not put by this suite", c)
	})
	if err != nil {
		t.Errorf("put %s: %v", feedtest.Key(c), err)
	}
	return at
}

var (
	bot   = identity.MustID("spiffe://lanyard.local/agent/bot")
	maya  = identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", State: identity.OwnerActive}
	mail  = policy.Upstream{Name: "mail", URL: "http://127.0.0.1:1", Owner: "maya", Environment: "production", Family: "patterns", Version: 1}
	agent = identity.Identity{ID: bot, Owner: "maya", Purpose: "tests", Environment: "production", State: identity.Active,
		Created: Epoch, Expires: Epoch.AddDate(0, 3, 0), Version: 1}
	key   = identity.Credential{ID: "cred_1", Identity: bot, Kind: identity.Key, Thumbprint: "t1", Created: Epoch, Expires: agent.Expires}
	grant = policy.Grant{ID: "bot/read", Identity: bot, Upstream: "mail", Actions: []string{"read"}, Cedar: "permit(principal, action, resource);", Plain: true, Until: agent.Expires}
	rail  = policy.Guardrail{ID: "no-admin", Cedar: `forbid(principal, action in Lanyard::Action::"admin", resource);`}
)

func world(tx *store.Tx) error {
	return errors.Join(tx.PutOwner(maya), tx.PutIdentity(agent), tx.PutCredential(key), tx.PutUpstream(mail), tx.PutGrant(grant), tx.PutGuardrail(rail))
}

// objects: what is put is what is read, and what is deleted is gone.
func objects(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	k.read(db, func(tx *store.Tx) error {
		o, err1 := tx.Owner("maya")
		i, err2 := tx.Identity(bot)
		n, err3 := tx.IdentityByName("bot")
		c, err4 := tx.Credential("cred_1")
		d, err5 := tx.CredentialByThumbprint("t1")
		u, err6 := tx.Upstream("mail")
		g, err7 := tx.Grant("bot/read")
		r, err8 := tx.Guardrail("no-admin")
		for _, same := range [][2]any{{o, maya}, {i, agent}, {n, agent}, {c, key}, {d, key}, {u, mail}, {g, grant}, {r, rail}} {
			if fmt.Sprintf("%+v", same[0]) != fmt.Sprintf("%+v", same[1]) {
				t.Errorf("read %+v\nput  %+v", same[0], same[1])
			}
		}
		return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8)
	})
	k.write(db, func(tx *store.Tx) error {
		return errors.Join(tx.DeleteGrant("bot/read"), tx.DeleteUpstream("mail"), tx.DeleteGuardrail("no-admin"))
	})
	k.read(db, func(tx *store.Tx) error {
		for name, err := range map[string]error{"grant": errOf(tx.Grant("bot/read")), "upstream": errOf(tx.Upstream("mail")), "guardrail": errOf(tx.Guardrail("no-admin")),
			"owner": errOf(tx.Owner("nobody")), "credential": errOf(tx.Credential("cred_2"))} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s that is not there: %v", name, err)
			}
		}
		return nil
	})
}

// former: of an owner that was removed the generation is left, whoever had the name before.
func former(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	left := func(want string) {
		t.Helper()
		k.read(db, func(tx *store.Tx) error {
			o, err := tx.Former("zoe")
			if got := fmt.Sprint(o.Generation, " ", o.Stopped.Equal(Epoch), " ", o.ID); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			return err
		})
	}
	left("0 false ")
	for n := range uint64(3) {
		k.write(db, func(tx *store.Tx) error { return tx.PutOwner(identity.Owner{ID: "zoe", Generation: 7 * n}) })
		k.write(db, func(tx *store.Tx) error { return tx.DeleteOwner("zoe") })
		left(fmt.Sprint(7*n+1, " true "))
	}
	k.must(db.Close())
	db = k.open()
	left("15 true ")
	_, err := db.Write(t.Context(), func(tx *store.Tx) error { tx.Record(Event("x")); return tx.DeleteOwner("zoe") })
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("removed again: %v", err)
	}
}

func errOf[T any](_ T, err error) error { return err }

// unique: a name and a key belong to one identity, a revoked key to nobody else.
func unique(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	twin, again := agent, key
	twin.ID = identity.MustID("spiffe://lanyard.local/service/bot")
	again.ID = "cred_2"
	inside, other := key, key
	inside.ID, inside.Thumbprint, inside.KeyPrint = "cred_3", "t3", "t1"
	other.ID, other.Thumbprint, other.KeyPrint = "cred_4", "t4", "k4"
	k.write(db, func(tx *store.Tx) error { return tx.PutCredential(other) })
	second := other
	second.ID, second.Thumbprint = "cred_5", "t5"
	for name, put := range map[string]func(*store.Tx) error{
		"the name in another kind": func(tx *store.Tx) error { return tx.PutIdentity(twin) },
		"the key once more":        func(tx *store.Tx) error { return tx.PutCredential(again) },
		"the key in a certificate": func(tx *store.Tx) error { return tx.PutCredential(inside) },
		"a second certificate":     func(tx *store.Tx) error { return tx.PutCredential(second) },
	} {
		_, err := db.Write(t.Context(), func(tx *store.Tx) error { tx.Record(Event("x")); return put(tx) })
		if !errors.Is(err, store.ErrExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// references: nothing refers to what is not there.
func references(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	for name, f := range map[string]func(*store.Tx) error{
		"an owner in use":       func(tx *store.Tx) error { return tx.DeleteOwner("maya") },
		"an upstream in use":    func(tx *store.Tx) error { return tx.DeleteUpstream("mail") },
		"a grant on nothing":    func(tx *store.Tx) error { g := grant; g.ID, g.Upstream = "bot/x", "x"; return tx.PutGrant(g) },
		"an identity of nobody": func(tx *store.Tx) error { i := agent; i.Owner = "x"; return tx.PutIdentity(i) },
	} {
		_, err := db.Write(t.Context(), func(tx *store.Tx) error { tx.Record(Event("x")); return f(tx) })
		if !errors.Is(err, store.ErrInUse) && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// unrecorded: there is no change of state without an event.
func unrecorded(t *testing.T, k kit) {
	db := k.open()
	before := db.Head()
	for _, put := range []func(*store.Tx) error{
		func(tx *store.Tx) error { return tx.PutOwner(maya) },
		func(tx *store.Tx) error { return tx.PutSecret("x", []byte("y")) },
		func(tx *store.Tx) error { return tx.PutMeta("x", []byte("y")) },
	} {
		if _, err := db.Write(t.Context(), put); !errors.Is(err, store.ErrUnrecorded) {
			t.Errorf("a write without an event: %v", err)
		}
	}
	if db.Head() != before || db.Size() != 0 {
		t.Error("something was kept")
	}
	if _, err := db.Write(t.Context(), func(*store.Tx) error { return nil }); err != nil {
		t.Errorf("a write of nothing: %v", err)
	}
}

// rollback: what fails halfway never was: state, feed and ledger.
func rollback(t *testing.T, k kit) {
	db := k.open()
	k.write(db, func(tx *store.Tx) error { return tx.PutOwner(maya) })
	at, size, root := db.Head(), db.Size(), db.Root()
	sorry := errors.New("sorry")
	_, err := db.Write(t.Context(), func(tx *store.Tx) error {
		for range 300 { // more than a tile
			tx.Record(Event("x"))
		}
		return errors.Join(tx.PutIdentity(agent), sorry)
	})
	if !errors.Is(err, sorry) || db.Head() != at || db.Size() != size || db.Root() != root {
		t.Errorf("%v; at %v, %d events", err, db.Head(), db.Size())
	}
	e := Event("twice")
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error {
		for range 300 {
			tx.Record(Event("x"))
		}
		tx.Record(e)
		tx.Record(e) // found by the database only after tiles were made
		return tx.PutIdentity(agent)
	}); !errors.Is(err, store.ErrExists) || db.Size() != size {
		t.Errorf("an event twice in one write: %v, %d events", err, db.Size())
	}
	k.write(db, func(tx *store.Tx) error { return tx.PutIdentity(agent) })
	verified(t, db)
}

// reopen: everything is there after a restart, and goes on.
func reopen(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	for range 5 {
		var list []ledger.Event
		for range 150 {
			list = append(list, Event("x"))
		}
		k.must(db.Record(t.Context(), list))
		at, size, root, verifier := db.Head(), db.Size(), db.Root(), db.Verifier()
		k.must(db.Close())
		if db = k.open(); db.Head() != at || db.Size() != size || db.Root() != root || db.Verifier() != verifier {
			t.Fatalf("after the restart: %v %d, before: %v %d", db.Head(), db.Size(), at, size)
		}
	}
	k.read(db, func(tx *store.Tx) error { _, err := tx.Identity(bot); return err })
	verified(t, db)
}

// kill: one change, whatever it stops; what was stopped before stays as it was.
func kill(t *testing.T, k kit) {
	db := k.open()
	k.write(db, func(tx *store.Tx) error {
		err := errors.Join(world(tx), tx.PutOwner(identity.Owner{ID: "ben", Name: "Ben", State: identity.OwnerActive}))
		for n, state := range []identity.State{identity.Active, identity.Suspended, identity.Pending, identity.Retired, identity.Killed} {
			i := agent
			i.ID, i.State, i.Generation = identity.MustID(fmt.Sprint("spiffe://lanyard.local/agent/a", n)), state, 7
			c := key
			c.ID, c.Identity, c.Thumbprint = fmt.Sprint("cred_a", n), i.ID, fmt.Sprint("a", n)
			err = errors.Join(err, tx.PutIdentity(i), tx.PutCredential(c))
		}
		other := agent
		other.ID, other.Owner = identity.MustID("spiffe://lanyard.local/agent/bens"), "ben"
		return errors.Join(err, tx.PutIdentity(other))
	})
	before := db.Head().Seq
	var ids []identity.ID
	var credentials int
	k.write(db, func(tx *store.Tx) (err error) {
		ids, credentials, err = tx.Kill("kill_1", store.Selector{Owner: "maya"})
		return err
	})
	if db.Head().Seq != before+1 || len(ids) != 3 || credentials != 3 {
		t.Errorf("%d changes, %v, %d credentials", db.Head().Seq-before, ids, credentials)
	}
	k.read(db, func(tx *store.Tx) error {
		for name, want := range map[string]string{"bot": "killed 1 kill_1 active", "a0": "killed 8 kill_1 active", "a1": "killed 8 kill_1 suspended", "a2": "pending 7  ", "a3": "retired 7  ", "a4": "killed 7  ", "bens": "active 0  "} {
			i, err := tx.IdentityByName(name)
			if got := fmt.Sprint(i.State, " ", i.Generation, " ", i.KilledBy, " ", i.KilledFrom); err != nil || got != want {
				t.Errorf("%s is %q, want %q (%v)", name, got, want, err)
			}
		}
		c, err := tx.Credential("cred_a0")
		if c.Revoked != Epoch {
			t.Errorf("credential revoked %v", c.Revoked)
		}
		stopped, err2 := tx.Identities(store.Filter{Kill: "kill_1"})
		if len(stopped) != 3 {
			t.Errorf("by the kill: %v", stopped)
		}
		return errors.Join(err, err2)
	})
	for _, s := range []store.Selector{{All: true}, {Identity: bot}} {
		k.write(db, func(tx *store.Tx) (err error) { ids, _, err = tx.Kill("kill_2", s); return err })
		if want := map[bool]int{true: 1, false: 0}[s.All]; len(ids) != want {
			t.Errorf("%+v stopped %v", s, ids)
		}
	}
	k.write(db, func(tx *store.Tx) error { return tx.KillUpstream("kill_3", "mail") })
	k.read(db, func(tx *store.Tx) error {
		u, err := tx.Upstream("mail")
		if !u.Killed || u.Version != 2 {
			t.Errorf("%+v", u)
		}
		return err
	})
}

// compacted: a follower that is too far behind is told so.
func compacted(t *testing.T, k kit) {
	k.Keep = 8
	db := k.open()
	first := k.write(db, func(tx *store.Tx) error { return tx.PutOwner(maya) })
	var at feed.Cursor
	for range 30 {
		at = k.write(db, func(tx *store.Tx) error { return tx.PutOwner(maya) })
	}
	for _, err := range db.Watch(t.Context(), first) {
		if !errors.Is(err, feed.ErrCompacted) {
			t.Errorf("from long ago: %v", err)
		}
		break
	}
	near := at
	near.Seq -= 5
	n := 0
	for _, err := range db.Watch(t.Context(), near) {
		k.must(err)
		if n++; n == 5 {
			break
		}
	}
}

// secrets: sealed in the database, for their name only, and unreadable with another seal key.
func secrets(t *testing.T, k kit) {
	db := k.open()
	k.write(db, func(tx *store.Tx) error { return tx.PutSecret("upstream/mail", []byte("hush hush")) })
	k.read(db, func(tx *store.Tx) error {
		s, err := tx.Secret("upstream/mail")
		names, err2 := tx.Secrets("upstream/")
		if string(s) != "hush hush" || !slices.Equal(names, []string{"upstream/mail"}) {
			t.Errorf("%q %v", s, names)
		}
		return errors.Join(err, err2)
	})
	k.must(db.UnsafeExec("INSERT INTO secrets (name, sealed) SELECT 'upstream/other', sealed FROM secrets WHERE name = 'upstream/mail'"))
	if err := db.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Secret("upstream/other"); return err }); err == nil {
		t.Error("a secret that was moved opens")
	}
	k.write(db, func(tx *store.Tx) error { return tx.DeleteSecret("upstream/mail") })
	k.must(db.Close())
	k.Seal = Config(t).Seal
	if _, err := store.Open(t.Context(), k.Config); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("with another seal key: %v", err)
	}
}

// second: two on one folder, the second is refused and told who is there. Of a database there may be many.
func second(t *testing.T, k kit) {
	if k.Database != "" {
		shared(t, k)
		return
	}
	k.open()
	if _, err := store.Open(t.Context(), k.Config); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("the second: %v", err)
	}
}

// closed: a closed store refuses, and lets nobody wait.
func closed(t *testing.T, k kit) {
	db := k.open()
	waiting := make(chan error)
	at := k.write(db, func(tx *store.Tx) error { return tx.PutOwner(maya) })
	go func() {
		for _, err := range db.Watch(t.Context(), at) {
			waiting <- err
		}
	}()
	k.must(db.Close())
	if err := <-waiting; !errors.Is(err, store.ErrClosed) {
		t.Errorf("a watch: %v", err)
	}
	if err := db.Record(t.Context(), []ledger.Event{Event("x")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("record: %v", err)
	}
	if _, err := db.Write(t.Context(), func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("write: %v", err)
	}
}
