package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/journal"
	"github.com/lanyard-dev/lanyard/internal/journal/journaltest"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// keeping is a gateway's folder over several processes, with a clock of the test.
type keeping struct {
	*testing.T
	dir  string
	seal journal.Sealer
	now  Instant
}

func newKeeping(t *testing.T) *keeping {
	return &keeping{t, filepath.Join(t.TempDir(), "view"), journaltest.Sealer(t), Instant{time.Hour, time.Hour}}
}

// begin is the next process.
func (k *keeping) begin(boot string) (*View, *Keep, error) {
	k.Helper()
	keep, err := NewKeep(k.dir, "gw-1", boot, k.seal)
	if err != nil {
		k.Fatal(err)
	}
	v := NewView()
	v.Lease, v.Keep = NewLease(func() Instant { return k.now }), keep
	return v, keep, keep.Load(v)
}

// enforce applies what makes the view one of that place, acknowledges it, and has it kept.
func (k *keeping) enforce(v *View, keep *Keep, at Cursor, changes ...Change) {
	k.Helper()
	v.Restart()
	for _, c := range append(changes, Change{Cursor: at, Synced: true}) {
		if err := v.Apply(c); err != nil {
			k.Fatal(err)
		}
	}
	k.acked(v, keep, at)
}

func (k *keeping) acked(v *View, keep *Keep, at Cursor) {
	k.Helper()
	if err := keep.before(at); err != nil {
		k.Fatal(err)
	}
	if err := v.Lease.Renew(k.now, 10*time.Second); err != nil {
		k.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		keep.mu.Lock()
		keep.next = time.Time{}
		done := keep.lease == at
		keep.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			k.Fatal("it is not kept")
		}
		keep.after(v, at, k.now, 10*time.Second, func(err error) { k.Error(err) })
	}
}

func everything(until time.Time) []Change {
	bot, other := identity.MustID("spiffe://lanyard.local/agent/bot"), identity.MustID("spiffe://lanyard.local/agent/other")
	return []Change{
		{Owner: &identity.Owner{ID: "maya", Name: "Maya", State: identity.OwnerActive}},
		{Upstream: &policy.Upstream{Name: "mail", URL: "http://x", Owner: "maya", Family: "any", Version: 1}},
		{Guardrail: &policy.Guardrail{ID: "g", Cedar: "forbid (principal, action, resource) when { false };"}},
		{Identity: &identity.Identity{ID: bot, Owner: "maya", State: identity.Active, Expires: until, Generation: 3}},
		{Identity: &identity.Identity{ID: other, Owner: "maya", State: identity.Suspended, Expires: until}},
		{Credential: &identity.Credential{ID: "c", Identity: bot, Kind: identity.PrivateKeyJWT, Thumbprint: "t", Expires: until}},
		{Grant: &policy.Grant{ID: "bot/x", Identity: bot, Upstream: "mail", Actions: []string{"read"}, Cedar: "permit (principal, action, resource);", Until: until}},
		{Task: &policy.Task{ID: "task_1", Identity: bot, State: policy.TaskOpen, Until: until}},
		{Token: &TokenRevocation{ID: "tok_gone", Expires: until}},
		{Approval: &Approval{ID: "appr_1", Hash: "h", Identity: bot, State: Approved, Expires: until}},
	}
}

func told(v *View) (list []string) {
	v.now.Load().each(func(c Change) {
		list = append(list, fmt.Sprintf("%+v %+v %+v %+v %+v %+v", c.Owner, c.Upstream, c.Guardrail, c.Identity, c.Credential, c.Token))
	})
	return list
}

// TestKept: another process finds the whole view, and of its lease what is left.
func TestKept(t *testing.T) {
	k := newKeeping(t)
	v, keep, err := k.begin("boot")
	if !errors.Is(err, os.ErrNotExist) || v.Live() == nil {
		t.Fatal(err)
	}
	k.enforce(v, keep, Cursor{"e", 7}, everything(time.Now().Add(time.Hour).UTC())...)
	count := len(told(v))
	k.now = k.now.Add(6 * time.Second)
	v, keep, err = k.begin("boot")
	if err != nil || v.Live() != nil || v.Enforced() != (Cursor{"e", 7}) || len(told(v)) != count || count != 10 || !v.TokenRevoked("tok_gone") {
		t.Fatal(err, v.Live(), v.Enforced(), count, len(told(v)))
	}
	s, ok := v.Subject(identity.MustID("spiffe://lanyard.local/agent/bot"))
	if !ok || s.Identity.Generation != 3 || len(s.Credentials) != 1 || len(s.Grants) != 1 {
		t.Errorf("%+v", s)
	}
	if _, ok := v.Task("task_1"); !ok {
		t.Error("the task is gone")
	}
	if a, ok := v.Approval("h"); !ok || a.ID != "appr_1" {
		t.Error("the approval is gone")
	}
	k.now = k.now.Add(4 * time.Second)
	if !errors.Is(v.Live(), ErrLapsed) {
		t.Error("what was left is over, and it is live")
	}
	k.acked(v, keep, Cursor{"e", 7})
	for name, begin := range map[string]func() (*View, *Keep, error){
		"after a start of the machine":   func() (*View, *Keep, error) { return k.begin("another") },
		"which start it is is not known": func() (*View, *Keep, error) { return k.begin("") },
	} {
		v, _, err = begin()
		if err != nil || !errors.Is(v.Live(), ErrLapsed) || v.Enforced() != (Cursor{"e", 7}) {
			t.Errorf("%s: %v, %v at %v", name, err, v.Live(), v.Enforced())
		}
	}
}

// TestKeptNeverTakesBack: what was acknowledged later than what is on disk leaves no lease there, at whatever moment the process ends.
func TestKeptNeverTakesBack(t *testing.T) {
	k := newKeeping(t)
	v, keep, _ := k.begin("boot")
	k.enforce(v, keep, Cursor{"e", 1}, everything(time.Now().Add(time.Hour))...)
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	if err := v.Apply(Change{Cursor: Cursor{"e", 2}, Kill: &Kill{ID: "kill_1", Identities: []identity.ID{bot}}}); err != nil {
		t.Fatal(err)
	}
	if old, _, err := k.begin("boot"); err != nil || old.Live() != nil { // not acknowledged: its receipt waits for the lease
		t.Fatal(err, old.Live())
	}
	v.Keep = keep
	keep.lease = Cursor{"e", 1}
	if err := keep.before(Cursor{"e", 2}); err != nil {
		t.Fatal(err)
	}
	if old, _, err := k.begin("boot"); err != nil || old.Live() == nil || old.Enforced() != (Cursor{"e", 1}) {
		t.Error("what was acknowledged is taken back", err)
	}
	k.acked(v, keep, Cursor{"e", 2})
	now, _, err := k.begin("boot")
	if s, _ := now.Subject(bot); err != nil || now.Live() != nil || s.Identity.State != identity.Killed {
		t.Error("the later view is not kept", err, now.Live())
	}
}

// TestKeptBefore: what cannot be removed keeps an acknowledgement back.
func TestKeptBefore(t *testing.T) {
	k := newKeeping(t)
	v, keep, _ := k.begin("boot")
	k.enforce(v, keep, Cursor{"e", 1}, everything(time.Now().Add(time.Hour))...)
	if err := errors.Join(os.Rename(filepath.Join(k.dir, leaseFile), filepath.Join(k.dir, "x")), os.MkdirAll(filepath.Join(k.dir, leaseFile, "y"), 0o700)); err != nil {
		t.Fatal(err)
	}
	src := &counted{}
	f := follower{src: src, view: v}
	if _, _, err := f.ack(t.Context(), Cursor{"e", 2}, time.Minute); err == nil || src.acks != 0 {
		t.Errorf("acknowledged: %v, %d", err, src.acks)
	}
}

type counted struct {
	Closed
	acks int
}

func (c *counted) Ack(context.Context, Cursor) (time.Duration, error) {
	c.acks++
	return DefaultLease, nil
}
func (c *counted) Watch(context.Context, Cursor) iter.Seq2[Change, error] { return nil }
func (c *counted) Record(context.Context, []ledger.Event) error           { return nil }

// TestKeptReplayed: files that are put back as they were bring back no more than what was left of their lease.
func TestKeptReplayed(t *testing.T) {
	k := newKeeping(t)
	v, keep, _ := k.begin("boot")
	k.enforce(v, keep, Cursor{"e", 1}, everything(time.Now().Add(time.Hour))...)
	old := map[string][]byte{}
	for _, name := range []string{viewFile, leaseFile} {
		old[name], _ = os.ReadFile(filepath.Join(k.dir, name))
	}
	put := func(names ...string) {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(k.dir, name), old[name], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	k.now = k.now.Add(5 * time.Second)
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	if err := v.Apply(Change{Cursor: Cursor{"e", 2}, Kill: &Kill{ID: "kill_1", Identities: []identity.ID{bot}}}); err != nil {
		t.Fatal(err)
	}
	k.acked(v, keep, Cursor{"e", 2})
	put(viewFile)
	if v, _, err := k.begin("boot"); err != nil || v.Live() == nil {
		t.Error("the old view with the new lease serves", err)
	}
	put(viewFile, leaseFile)
	v, _, err := k.begin("boot")
	if left := v.Lease.Left(); err != nil || left > 5*time.Second {
		t.Errorf("both: %s left, %v", left, err)
	}
	k.now = k.now.Add(5 * time.Second)
	put(viewFile, leaseFile)
	if v, _, err := k.begin("boot"); err != nil || v.Live() == nil {
		t.Error("both, when the lease is over, serve", err)
	}
}

// TestKeptDamaged: of files that are not as they were written nothing is used.
func TestKeptDamaged(t *testing.T) {
	k := newKeeping(t)
	v, keep, _ := k.begin("boot")
	k.enforce(v, keep, Cursor{"e", 1}, everything(time.Now().Add(time.Hour))...)
	for _, name := range []string{viewFile, leaseFile} {
		path := filepath.Join(k.dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lease, _ := os.ReadFile(filepath.Join(k.dir, leaseFile))
		for what, bad := range map[string][]byte{"cut": good[:len(good)-1], "half": good[:len(good)/2], "empty": {}, "a bit": flipped(good), "more": append(bytes.Clone(good), good...)} {
			if name == leaseFile && what == "more" {
				continue // what is behind the lease is nothing
			}
			_ = os.WriteFile(filepath.Join(k.dir, leaseFile), lease, 0o600)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if v, _, err := k.begin("boot"); err == nil || v.Live() == nil {
				t.Errorf("%s, %s: %v, live %v", name, what, err, v.Live())
			}
		}
		_ = os.WriteFile(path, good, 0o600)
		_ = os.WriteFile(filepath.Join(k.dir, leaseFile), lease, 0o600)
	}
	other, err := NewKeep(k.dir, "gw-2", "boot", k.seal)
	if err != nil {
		t.Fatal(err)
	}
	if v := NewView(); other.Load(v) == nil || v.Live() == nil {
		t.Error("the view of another gateway is taken")
	}
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// TestFollowKept: a view of before follows on from where it was, without a snapshot.
func TestFollowKept(t *testing.T) {
	k := newKeeping(t)
	v, keep, _ := k.begin("boot")
	k.enforce(v, keep, Cursor{"e", 5}, everything(time.Now().Add(time.Hour))...)
	v, _, err := k.begin("boot")
	if err != nil {
		t.Fatal(err)
	}
	src := &asked{from: make(chan Cursor, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); Follow(ctx, src, v, func(error) {}) }()
	if at := <-src.from; at != (Cursor{"e", 5}) {
		t.Errorf("it asks for what is after %v", at)
	}
	cancel()
	<-done
}

type asked struct {
	counted
	from chan Cursor
}

func (a *asked) Watch(ctx context.Context, after Cursor) iter.Seq2[Change, error] {
	return func(func(Change, error) bool) {
		select {
		case a.from <- after:
		default:
		}
		<-ctx.Done()
	}
}

func FuzzKept(f *testing.F) {
	seal := journaltest.Sealer(f)
	k := &Keep{dir: f.TempDir(), name: "gw-1", boot: "boot", seal: seal}
	v := NewView()
	v.Restart()
	for _, c := range append(everything(time.Now().Add(time.Hour)), Change{Cursor: Cursor{"e", 1}, Synced: true}) {
		if err := v.Apply(c); err != nil {
			f.Fatal(err)
		}
	}
	if whole, err := k.dump(v, Cursor{"e", 1}); !whole || err != nil {
		f.Fatal(whole, err)
	}
	good, err := os.ReadFile(k.path(viewFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(slices.Concat(good, good))
	f.Fuzz(func(t *testing.T, b []byte) {
		changes := 0
		if at, err := k.parse(b, func(Change) error { changes++; return nil }); err == nil && (!bytes.Equal(b, good) || at.Seq != 1 || changes != 10) {
			t.Errorf("%v, %d changes", at, changes)
		}
	})
}
