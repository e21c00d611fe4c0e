package registry_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func newKey(t *testing.T) []byte {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"kty":"OKP","crv":"Ed25519","x":"%s"}`, base64.RawURLEncoding.EncodeToString(pub))
}

// parent lets bot start children, as many and as deep.
func (w *world) parent(atOnce, depth int) {
	w.Helper()
	x := bot("bot")
	x.Children = identity.Children{AtOnce: atOnce, Depth: depth}
	w.do(func(c *registry.Change) error { _, _, err := c.PutIdentity(x); return err })
}

func (w *world) spawn(parent string, s registry.Spawn) (made registry.Spawned, err error) {
	w.Helper()
	i, _, _ := w.identity(parent)
	if s.Key == nil {
		s.Key = newKey(w.T)
	}
	if s.Purpose == "" {
		s.Purpose = "tests"
	}
	_, err = w.Do(w.Context(), registry.Actor{Name: maya.Name}, func(c *registry.Change) (err error) { made, err = c.Spawn(i.ID, s); return err })
	return made, err
}

// child is the name of one that parent starts.
func (w *world) child(parent string, s registry.Spawn) string {
	w.Helper()
	made, err := w.spawn(parent, s)
	if err != nil {
		w.Fatal(err)
	}
	return made.ID.Name()
}

func (w *world) states(names ...string) (list string) {
	for _, name := range names {
		i, _, _ := w.identity(name)
		list += string(i.State) + " "
	}
	return strings.TrimSpace(list)
}

// TestSpawn: a child has a name and a key of its own, and everything else of its parent.
func TestSpawn(t *testing.T) {
	w := open(t)
	_, err := w.spawn("bot", registry.Spawn{})
	if err == nil || !strings.Contains(err.Error(), "an operator can allow it some") {
		t.Fatal(err)
	}
	w.parent(100, 2)
	p, _, _ := w.identity("bot")
	made, err := w.spawn("bot", registry.Spawn{Word: "summarise", Purpose: "Sums up"})
	if err != nil {
		t.Fatal(err)
	}
	i, k, g := w.identity(made.ID.Name())
	if !strings.HasPrefix(i.ID.Name(), "bot.summarise-") || len(i.ID.Name()) != len("bot.summarise-")+16 || i.ID.Kind() != p.ID.Kind() || i.State != identity.Active || i.Owner != "maya" ||
		i.Environment != p.Environment || !i.Expires.Equal(w.now.Add(time.Hour)) || i.Parent != (identity.Link{ID: p.ID, Generation: p.Generation}) || !i.Inherits ||
		i.Children != (identity.Children{AtOnce: 100, Depth: 1}) || len(k) != 1 || !k[0].Expires.Equal(i.Expires) || len(g) != 0 || fmt.Sprint(made.Upstreams) != "[mail]" || w.last(1) != "identity.register" {
		t.Errorf("%+v\n%+v %+v %v after %s", i, k, g, made.Upstreams, w.last(1))
	}
	w.fails("a grant of its own would change nothing", func(c *registry.Change) error {
		_, _, err := c.PutGrant(i.ID.Name(), "x", policy.Grant{Upstream: "mail", Actions: []string{"read"}, Plain: true}, registry.End{})
		return err
	})
	narrow := registry.Lent{Grant: policy.Grant{Upstream: "mail", Actions: []string{"m.read"}}}
	made, err = w.spawn("bot", registry.Spawn{Grants: []registry.Lent{narrow, narrow}, Expires: registry.For(30 * time.Minute), Children: &identity.Children{}})
	if err != nil {
		t.Fatal(err)
	}
	i, _, g = w.identity(made.ID.Name())
	if i.Inherits || len(g) != 2 || g[0].ID != i.ID.Name()+"/mail" || !g[0].Until.Equal(w.now.Add(30*time.Minute)) || g[1].ID != i.ID.Name()+"/mail-2" || i.Children != (identity.Children{}) {
		t.Errorf("%+v %+v", i, g)
	}
	grand := w.child(w.child("bot", registry.Spawn{}), registry.Spawn{Word: "deep", Expires: registry.For(time.Minute)})
	if i, _, _ := w.identity(grand); !strings.HasPrefix(grand, "bot.deep-") || i.Children != (identity.Children{}) {
		t.Errorf("%+v", i)
	}
	long := bot(strings.Repeat("a", 29) + strings.Repeat(".b", 17))
	long.Children = identity.Children{AtOnce: 1, Depth: 1}
	w.do(func(c *registry.Change) error { _, _, err := c.PutIdentity(long); return err })
	if name := w.child(long.Name, registry.Spawn{Word: strings.Repeat("w", 16)}); len(name) > 64 || strings.Contains(name, "..") {
		t.Error(name)
	}
}

// TestSpawnRefused: what a child cannot have, and who cannot have one.
func TestSpawnRefused(t *testing.T) {
	w := open(t)
	w.parent(2, 2)
	lent := func(upstream, action string) []registry.Lent {
		return []registry.Lent{{Grant: policy.Grant{Upstream: upstream, Actions: []string{action}}}}
	}
	w.do(func(c *registry.Change) error {
		_, err := c.PutUpstream(policy.Upstream{Name: "crm", URL: "http://127.0.0.1:1", Family: "patterns", Description: []byte("GET /c -> c.read read /c")}, nil)
		return err
	})
	for says, s := range map[string]registry.Spawn{
		"after bot itself ends":         {Expires: registry.For(91 * 24 * time.Hour)},
		"has passed; give a later time": {Expires: registry.At(w.now)},
		"is already cred_":              {Key: []byte(key)},
		"public_key":                    {Key: []byte("{}")},
		"private":                       {Key: []byte(strings.Replace(key, `"x"`, `"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x"`, 1))},
		"it needs a key":                {Key: []byte{}},
		"is no word":                    {Word: "../../etc"},
		"1 to 16":                       {Word: strings.Repeat("a", 17)},
		"say in one":                    {Purpose: " "},
		"at most 2 at once, 1 deep":     {Children: &identity.Children{AtOnce: 3, Depth: 1}},
		"at most 2 at once, 1 deep; ":   {Children: &identity.Children{AtOnce: -1, Depth: -1}},
		`grants[0].upstream: bot holds no grant on "c`: {Grants: lent("crm", "c.read")},
		`bot holds no grant on "ghost"`:                {Grants: lent("ghost", "read")},
		"m.nothing":                                    {Grants: lent("mail", "m.nothing")},
	} {
		says = strings.TrimSuffix(says, "; ")
		head, size := w.Store.Head(), w.Store.Size()
		if _, err := w.spawn("bot", s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		if w.Store.Head() != head || w.Store.Size() != size {
			t.Errorf("%q: something was kept", says)
		}
	}
	no := func(says, parent string) {
		t.Helper()
		if _, err := w.spawn(parent, registry.Spawn{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", parent, err, says)
		}
	}
	one := w.child("bot", registry.Spawn{Expires: registry.For(time.Minute)})
	two := w.child(one, registry.Spawn{Expires: registry.For(time.Minute)})
	no("may start no children", two)
	w.child("bot", registry.Spawn{})
	no("has 2 children at once, which is all", "bot")
	w.set(w.now.Add(2 * time.Minute)) // one has ended, written down or not
	w.child("bot", registry.Spawn{})
	no("expired on", one)
	no("expired on", two)
	w.parent(10, 1) // less than it was
	fresh := w.child("bot", registry.Spawn{})
	no("may start no children", fresh)
	w.parent(10, 3)
	a := w.child("bot", registry.Spawn{})
	b := w.child(a, registry.Spawn{})
	w.parent(10, 1)
	no("it is 1 below bot", a)
	no("it is 2 below bot", b)
	w.do(state(identity.Suspended, "suspend", registry.End{}))
	no("bot is suspended", a)
	w.parent(0, 0)
	for text, k := range map[string]identity.Children{"at_once is 1 to": {Depth: 1}, "depth is 1 to": {AtOnce: 1, Depth: 7}} {
		x := bot("bot")
		x.Children = k
		w.fails(text, func(c *registry.Change) error { _, _, err := c.PutIdentity(x); return err })
	}
}

// TestChildFollows: whose a child is, and until when, is its parent's to say.
func TestChildFollows(t *testing.T) {
	w := open(t)
	w.parent(10, 2)
	end := w.now.Add(10 * 24 * time.Hour)
	a := w.child("bot", registry.Spawn{Expires: registry.At(end), Grants: []registry.Lent{{Grant: policy.Grant{Upstream: "mail", Actions: []string{"read"}}}}})
	b := w.child(a, registry.Spawn{Expires: registry.At(end)})
	put := func(name string, edit func(*registry.Wanted)) func(*registry.Change) error {
		x := bot(name)
		x.Children = identity.Children{AtOnce: 10, Depth: 2}
		edit(&x)
		return func(c *registry.Change) error { _, _, err := c.PutIdentity(x); return err }
	}
	w.fails("change it there", put(a, func(x *registry.Wanted) { x.Owner = "ben" }))
	w.fails("change it there", put(a, func(x *registry.Wanted) { x.Backup = "ben" }))
	w.fails("change it there", put(b, func(x *registry.Wanted) { x.Environment = "staging" }))
	w.fails("no manifest manages it", put(a, func(x *registry.Wanted) { x.Set = "files" }))
	w.fails("which started it", put(b, func(x *registry.Wanted) { x.Expires = registry.At(end.Add(time.Hour)) }))
	w.do(put(b, func(x *registry.Wanted) { x.Purpose = "more tests" }))

	w.do(put("bot", func(x *registry.Wanted) {
		x.Owner, x.Environment, x.Expires = "ben", "staging", registry.For(24*time.Hour)
	}))
	for _, name := range []string{a, b} {
		i, k, g := w.identity(name)
		if i.Owner != "ben" || i.Environment != "staging" || !i.Expires.Equal(w.now.Add(24*time.Hour)) || !k[0].Expires.Equal(i.Expires) || len(g) > 0 && !g[0].Until.Equal(i.Expires) {
			t.Errorf("%s: %+v %+v %+v", name, i, k, g)
		}
	}
	if got := w.last(3); got != "identity.change identity.change identity.change" {
		t.Error(got)
	}
	w.do(state(identity.Active, "renew", registry.For(48*time.Hour)))
	if i, _, _ := w.identity(a); !i.Expires.Equal(w.now.Add(24 * time.Hour)) {
		t.Errorf("it grew with its parent: %v", i.Expires)
	}
	w.set(w.now.Add(25 * time.Hour))
	if _, err := w.Expire(t.Context()); err != nil || w.states("bot", a, b) != "active expired expired" {
		t.Errorf("%v: %s", err, w.states("bot", a, b))
	}
	w.leave("ben")
	if w.states("bot", a) != "suspended expired" {
		t.Error(w.states("bot", a))
	}
	w.do(state(identity.Retired, "retire", registry.End{}))
	if _, k, g := w.identity(a); w.states("bot", a, b) != "retired retired retired" || k[0].Revoked.IsZero() || len(g) != 0 {
		t.Errorf("%s %+v %+v", w.states("bot", a, b), k, g)
	}
}

// TestKillTree: who is stopped takes along all it started, and comes back alone.
func TestKillTree(t *testing.T) {
	w := open(t)
	w.parent(10, 3)
	a := w.child("bot", registry.Spawn{})
	aa := w.child(a, registry.Spawn{})
	b := w.child("bot", registry.Spawn{})
	all := []string{"bot", a, aa, b}
	k := w.kill(registry.Aim{Identity: a})
	if w.states(all...) != "active killed active active" {
		t.Error(w.states(all...))
	}
	if _, err := w.spawn(aa, registry.Spawn{}); err == nil || !strings.Contains(err.Error(), a+" is killed") {
		t.Errorf("an orphan started another: %v", err)
	}
	below := func(k registry.Killed) (out registry.Killed) {
		w.do(func(c *registry.Change) (err error) { out, err = c.KillBelow(k, "test"); return err })
		return out
	}
	if k = below(k); w.states(all...) != "active killed killed active" || len(k.Identities) != 2 || k.Credentials != 2 || w.last(2) != "identity.kill identity.kill" {
		t.Errorf("%s: %+v", w.states(all...), k)
	}
	if again := below(k); len(again.Identities) != 2 || w.last(1) != "identity.kill" {
		t.Errorf("%+v", again)
	}
	w.fails("it ended for good with "+a, func(c *registry.Change) error {
		_, err := c.Transition(aa, identity.Active, "resume", "x", registry.End{})
		return err
	})
	r := w.restore(registry.Aim{Kill: k.ID})
	if w.states(all...) != "active active killed active" || len(r.Left) != 1 || !strings.Contains(r.Left[0].Why, "it ended for good with "+a) {
		t.Errorf("%s: %+v", w.states(all...), r)
	}
	// A restore between the two steps of a kill gives nothing back, and takes nothing from those started since.
	w.do(func(c *registry.Change) error {
		_, _, err := c.AddCredential(a, registry.Proof{PublicKey: newKey(t)})
		return err
	})
	old := w.child(a, registry.Spawn{})
	k = w.kill(registry.Aim{Identity: a})
	w.restore(registry.Aim{Identity: a})
	fresh := w.child(a, registry.Spawn{})
	below(k)
	if w.states(a, old, fresh) != "active killed active" {
		t.Error(w.states(a, old, fresh))
	}
	// A crash between the two is made good.
	w.kill(registry.Aim{Identity: "bot"})
	if err := w.Tidy(t.Context()); err != nil || w.states("bot", a, fresh, b) != "killed killed killed killed" {
		t.Errorf("%v: %s", err, w.states("bot", a, fresh, b))
	}
	w.restore(registry.Aim{Identity: "bot"})
	last := w.child("bot", registry.Spawn{})
	w.kill(registry.Aim{Identity: "bot"})
	w.kill(registry.Aim{Owner: "maya"}) // which stopped the child before its turn came
	if err := w.Tidy(t.Context()); err != nil || w.states(last) != "killed" {
		t.Errorf("%v: %s", err, w.states(last))
	}
	size := w.Store.Size()
	if err := w.Tidy(t.Context()); err != nil || w.Store.Size() != size {
		t.Errorf("nothing to do: %v, %d events", err, w.Store.Size()-size)
	}
}

// TestForget: what ended is kept for a day, and its key is nobody's for ever.
func TestForget(t *testing.T) {
	w := open(t)
	w.parent(2000, 2)
	k := newKey(t)
	a := w.child("bot", registry.Spawn{Key: k, Expires: registry.For(time.Minute)})
	aa := w.child(a, registry.Spawn{Expires: registry.For(time.Minute), Grants: []registry.Lent{{Grant: policy.Grant{Upstream: "mail", Actions: []string{"read"}}}}})
	tidy := func() {
		t.Helper()
		_, err := w.Expire(t.Context())
		if err := errors.Join(err, w.Tidy(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	w.set(w.now.Add(2 * time.Minute))
	tidy()
	w.set(w.now.Add(23 * time.Hour))
	tidy()
	if w.states(a, aa) != "expired expired" {
		t.Error(w.states(a, aa))
	}
	w.set(w.now.Add(2 * time.Hour))
	tidy()
	err := w.Store.Read(t.Context(), func(tx *store.Tx) error {
		for _, name := range []string{a, aa} {
			if _, err := tx.IdentityByName(name); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s is there: %v", name, err)
			}
		}
		_, err := tx.IdentityByName("bot")
		return err
	})
	if err != nil || w.last(2) != "identity.forget identity.forget" { // leaves first
		t.Errorf("%v, %s", err, w.last(2))
	}
	if _, err := w.spawn("bot", registry.Spawn{Key: k}); err == nil || !strings.Contains(err.Error(), "make a new one") {
		t.Errorf("a key that was somebody's: %v", err)
	}
}
