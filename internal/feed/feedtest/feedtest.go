// Package feedtest is the suite that every [feed.Source] must pass, in process
// and over HTTP, and [Memory], a Source to test followers with.
package feedtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Kit is a Source under test and how to make it change.
type Kit struct {
	Source  feed.Source
	Put     func(feed.Change) feed.Cursor // commits a change; owners come before what they own
	Compact func()                        // forgets the changes so far; nil if the source never does
}

const patience = 10 * time.Second

// Test runs the suite. open returns a fresh, empty source each time.
func Test(t *testing.T, open func(*testing.T) Kit) {
	for name, f := range map[string]func(*testing.T, Kit){
		"snapshot": snapshot, "order": order, "resume": resume, "removed": removed, "racing": racing,
		"compacted": compacted, "cursors": cursors, "ends": ends, "follow": follow,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

// Key names what a change is about, so that changes of one thing can be told from others.
func Key(c feed.Change) string {
	switch {
	case c.Owner != nil:
		return "owner " + string(c.Owner.ID)
	case c.Identity != nil:
		return "identity " + c.Identity.ID.String()
	case c.Credential != nil:
		return "credential " + c.Credential.ID
	case c.Upstream != nil:
		return "upstream " + c.Upstream.Name
	case c.Grant != nil:
		return "grant " + c.Grant.ID
	case c.Guardrail != nil:
		return "guardrail " + c.Guardrail.ID
	case c.Task != nil:
		return "task " + c.Task.ID
	case c.Token != nil:
		return "token " + c.Token.ID
	case c.Kill != nil:
		return "kill " + c.Kill.ID
	case c.Keys != nil:
		return "keys"
	case c.Account != nil:
		return "account " + c.Account.Upstream + "/" + string(c.Account.Owner)
	case c.Approval != nil:
		return "approval " + c.Approval.ID
	case c.Synced:
		return "synced"
	}
	return "nothing"
}

var (
	bot   = identity.MustID("spiffe://lanyard.local/agent/bot")
	epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	later = epoch.AddDate(50, 0, 0)
)

func owner(id string) feed.Change {
	return feed.Change{Owner: &identity.Owner{ID: identity.OwnerID(id), Name: id, Email: id + "@example.com", State: identity.OwnerActive}}
}

func agent(n int) feed.Change {
	return feed.Change{Identity: &identity.Identity{ID: identity.MustID(fmt.Sprint("spiffe://lanyard.local/agent/bot", n)), Owner: "maya",
		Purpose: "tests", Environment: "production", State: identity.Active, Created: epoch, Expires: later}}
}

// world puts one of each thing and returns their keys.
func world(k Kit) map[string]bool {
	id := agent(0).Identity
	id.ID = bot
	keys := map[string]bool{}
	for _, c := range []feed.Change{
		owner("maya"), {Identity: id},
		{Credential: &identity.Credential{ID: "cred_1", Identity: bot, Kind: identity.Key, Thumbprint: "t1", Created: epoch, Expires: later}},
		{Upstream: &policy.Upstream{Name: "mail", URL: "http://127.0.0.1:1", Environment: "production", Family: "patterns"}},
		{Grant: &policy.Grant{ID: "bot/read", Identity: bot, Upstream: "mail", Actions: []string{"read"}, Cedar: "permit(principal, action, resource);", Until: later}},
		{Guardrail: &policy.Guardrail{ID: "no", Cedar: `forbid(principal, action in Lanyard::Action::"admin", resource);`}},
		{Task: &policy.Task{ID: "task_1", Identity: bot, Purpose: "tests", State: policy.TaskOpen, Until: later}},
		{Token: &feed.TokenRevocation{ID: "tok_1", Expires: later}},
		{Approval: &feed.Approval{ID: "appr_1", Hash: "h", Identity: bot, State: feed.Waiting, Expires: later}},
	} {
		k.Put(c)
		keys[Key(c)] = true
	}
	return keys
}

// read collects changes after at until done, or fails when that takes too long.
func read(t *testing.T, s feed.Source, at feed.Cursor, done func(feed.Change) bool) (list []feed.Change) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for c, err := range s.Watch(ctx, at) {
		if err != nil {
			t.Fatalf("watch after %v: %v", at, err)
		}
		list = append(list, c)
		if done(c) {
			return list
		}
	}
	t.Fatalf("watch after %v ended with %d changes, %v", at, len(list), ctx.Err())
	return nil
}

func synced(c feed.Change) bool { return c.Synced }
func reached(at feed.Cursor) func(feed.Change) bool {
	return func(c feed.Change) bool { return c.Cursor == at }
}

func last(list []feed.Change) feed.Cursor { return list[len(list)-1].Cursor }

// snapshot: everything that is, each once, then Synced with a cursor.
func snapshot(t *testing.T, k Kit) {
	if list := read(t, k.Source, feed.Cursor{}, synced); last(list) == (feed.Cursor{}) {
		t.Error("the snapshot of an empty source ends without a cursor, so it would be read again for ever")
	}
	want := world(k)
	list := read(t, k.Source, feed.Cursor{}, synced)
	for _, c := range list[:len(list)-1] {
		if c.Kill != nil || c.Removed {
			t.Errorf("%s in a snapshot", Key(c))
		}
		if want[Key(c)] {
			delete(want, Key(c))
		} else if c.Keys == nil {
			t.Errorf("%s is there twice, or was never put", Key(c))
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// order: after the snapshot each change once, in the order it was made, with a growing cursor.
func order(t *testing.T, k Kit) {
	k.Put(owner("maya"))
	at := last(read(t, k.Source, feed.Cursor{}, synced))
	var want []feed.Cursor
	for n := range 50 {
		want = append(want, k.Put(agent(n)))
	}
	list := read(t, k.Source, at, reached(want[49]))
	if len(list) != 50 {
		t.Fatalf("%d changes, made 50", len(list))
	}
	for n, c := range list {
		if c.Cursor != want[n] || Key(c) != Key(agent(n)) || c.Cursor.Epoch != at.Epoch || c.Cursor.Seq <= at.Seq {
			t.Fatalf("change %d is %s at %v, want %s at %v, after %v", n, Key(c), c.Cursor, Key(agent(n)), want[n], at)
		}
		at = c.Cursor
	}
}

// resume: a watch that goes on from any cursor misses nothing and repeats nothing.
func resume(t *testing.T, k Kit) {
	k.Put(owner("maya"))
	at := last(read(t, k.Source, feed.Cursor{}, synced))
	var end feed.Cursor
	for n := range 20 {
		end = k.Put(agent(n))
	}
	for n := range 20 {
		list := read(t, k.Source, at, func(feed.Change) bool { return true })
		if Key(list[0]) != Key(agent(n)) {
			t.Fatalf("after %v comes %s, want %s", at, Key(list[0]), Key(agent(n)))
		}
		at = last(list)
	}
	if at != end {
		t.Errorf("ended at %v, want %v", at, end)
	}
}

// removed: what is gone is said to be gone, with enough to find it, and is in no snapshot.
func removed(t *testing.T, k Kit) {
	world(k)
	at := last(read(t, k.Source, feed.Cursor{}, synced))
	end := k.Put(feed.Change{Grant: &policy.Grant{ID: "bot/read", Identity: bot}, Removed: true})
	c := read(t, k.Source, at, reached(end))[0]
	if c.Grant == nil || !c.Removed || c.Grant.ID != "bot/read" || c.Grant.Identity != bot {
		t.Errorf("removal of a grant arrives as %+v", c)
	}
	for _, c := range read(t, k.Source, feed.Cursor{}, synced) {
		if c.Grant != nil {
			t.Error("a removed grant is in a snapshot")
		}
	}
}

// racing: a snapshot taken while changes are made, and what follows it, together miss nothing.
func racing(t *testing.T, k Kit) {
	k.Put(owner("maya"))
	const n = 200
	done := make(chan feed.Cursor, 1)
	go func() {
		var end feed.Cursor
		for i := range n {
			end = k.Put(agent(i))
		}
		done <- end
	}()
	seen := map[string]bool{}
	var at feed.Cursor
	for range 10 {
		clear(seen)
		list := read(t, k.Source, feed.Cursor{}, synced)
		for _, c := range list {
			seen[Key(c)] = true
		}
		at = last(list)
	}
	if end := <-done; end != at {
		for _, c := range read(t, k.Source, at, reached(end)) {
			seen[Key(c)] = true
		}
	}
	for i := range n {
		if !seen[Key(agent(i))] {
			t.Fatalf("%s was lost", Key(agent(i)))
		}
	}
}

// compacted: who asks for what is forgotten is told so, and a snapshot is there for them.
func compacted(t *testing.T, k Kit) {
	if k.Compact == nil {
		t.Skip("this source keeps everything")
	}
	k.Put(owner("maya"))
	at := last(read(t, k.Source, feed.Cursor{}, synced))
	k.Put(agent(1))
	end := k.Put(agent(2))
	k.Compact()
	refused(t, k.Source, at)
	if got := last(read(t, k.Source, feed.Cursor{}, synced)); got != end {
		t.Errorf("a snapshot after compaction is at %v, want %v", got, end)
	}
	if next := k.Put(agent(3)); last(read(t, k.Source, end, reached(next))) != next {
		t.Error("the newest cursor does not survive compaction")
	}
}

// cursors: of another history, or of a future, is no place to go on from.
func cursors(t *testing.T, k Kit) {
	end := k.Put(owner("maya"))
	refused(t, k.Source, feed.Cursor{Epoch: end.Epoch + "x", Seq: end.Seq})
	refused(t, k.Source, feed.Cursor{Epoch: end.Epoch, Seq: end.Seq + 1000})
}

func refused(t *testing.T, s feed.Source, at feed.Cursor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for c, err := range s.Watch(ctx, at) {
		if !errors.Is(err, feed.ErrCompacted) {
			t.Errorf("watch after %v: %v %v, want ErrCompacted", at, c, err)
		}
		return
	}
	t.Errorf("watch after %v ended without ErrCompacted", at)
}

// ends: a watch ends with its context, and with its reader.
func ends(t *testing.T, k Kit) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := range k.Source.Watch(ctx, feed.Cursor{}) {
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if c.Synced {
				cancel()
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("a watch outlives its context")
	}
	cancel()
}

// follow: a view that follows is live, knows what is put, and says so.
func follow(t *testing.T, k Kit) {
	world(k)
	ctx, cancel := context.WithCancel(t.Context())
	view, stopped := feed.NewView(), make(chan feed.Stop, 100)
	view.OnStop(func(s feed.Stop) { stopped <- s })
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed.Follow(ctx, k.Source, view, func(err error) { t.Error(err) })
	}()
	defer func() { cancel(); <-done }()
	k.Put(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{bot}, At: epoch.Add(time.Hour)}})
	for deadline := time.After(patience); ; {
		if s, ok := view.Subject(bot); ok && view.Live() == nil && s.Identity.State == identity.Killed && s.Identity.Generation == 1 &&
			len(s.Credentials) == 1 && !s.Credentials[0].Revoked.IsZero() {
			return
		}
		select {
		case <-stopped:
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatal("a kill has not reached the view")
		}
	}
}
