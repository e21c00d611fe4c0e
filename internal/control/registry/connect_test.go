package registry_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

var scribe = identity.Client{ID: "https://scribe.example/client.json", Name: "Scribe Desktop", Person: "maya"}

func (w *world) connect(client identity.Client, life time.Duration, actions ...string) (i identity.Identity) {
	w.Helper()
	w.do(func(c *registry.Change) (err error) {
		i, err = c.Connect(registry.Connection{Client: client, Upstream: "mail", Actions: actions, Until: w.now.Add(life)})
		return err
	})
	return i
}

// TestConnect: an identity for each client of each person, for as long and for as much as was said last.
func TestConnect(t *testing.T) {
	w := open(t)
	w.do(func(c *registry.Change) error {
		u, err := c.Upstream("mail")
		u.Consent = policy.Consent{Owners: []identity.OwnerID{"*"}, Classes: []policy.Class{policy.Read}}
		_, err2 := c.PutUpstream(u, nil)
		return errors.Join(err, err2)
	})
	day := 24 * time.Hour
	first := w.connect(scribe, day, "m.read", "m.send")
	of := func(client identity.Client) identity.Client { client.Person = "ben"; return client }
	other := scribe
	other.ID = "https://other.example/client.json"
	if ben, second := w.connect(of(scribe), day, "m.read"), w.connect(other, day, "m.read"); first.ID.Name() != "scribe-desktop-maya" || ben.ID.Name() != "scribe-desktop-ben" || ben.Owner != "ben" || second.ID.Name() != "scribe-desktop-maya-2" {
		t.Errorf("%s, %s, %s", first.ID, ben.ID, second.ID)
	}
	again := w.connect(scribe, 3*day, "m.read")
	w.do(func(c *registry.Change) error {
		g, err := c.Grant("scribe-desktop-maya/mail")
		if again.ID != first.ID || !again.Expires.Equal(w.now.Add(3*day)) || strings.Join(g.Actions, " ") != "m.read" || !g.Until.Equal(w.now.Add(3*day)) {
			t.Errorf("connected again: %+v with %+v", again, g)
		}
		return err
	})
	for says, x := range map[string]registry.Connection{
		"may not let a client write": {Client: of(scribe), Upstream: "mail", Actions: []string{"m.send"}, Until: w.now.Add(day)},
		"no action":                  {Client: scribe, Upstream: "mail", Actions: []string{"m.*"}, Until: w.now.Add(day)},
		"choose at least one":        {Client: scribe, Upstream: "mail", Until: w.now.Add(day)},
		"there is no upstream":       {Client: scribe, Upstream: "drive", Actions: []string{"m.read"}, Until: w.now.Add(day)},
		"it is to end between":       {Client: scribe, Upstream: "mail", Actions: []string{"m.read"}, Until: w.now.Add(400 * day)},
		"there is no owner":          {Client: identity.Client{ID: "x", Name: "X", Person: "kim"}, Upstream: "mail", Actions: []string{"m.read"}, Until: w.now.Add(day)},
	} {
		w.fails(says, func(c *registry.Change) error { _, err := c.Connect(x); return err })
	}
	// What was stopped is not brought back by connecting it.
	w.do(func(c *registry.Change) error {
		_, err := c.Kill(registry.Aim{Identity: "scribe-desktop-maya"}, "test")
		return err
	})
	w.fails("is killed", func(c *registry.Change) error {
		_, err := c.Connect(registry.Connection{Client: scribe, Upstream: "mail", Actions: []string{"m.read"}, Until: w.now.Add(day)})
		return err
	})
	// What passed to another owner is not that owner's client.
	w.do(func(c *registry.Change) error {
		o, err := c.Owner("maya")
		o.State = identity.OwnerGone
		_, err2 := c.PutOwner(o)
		return errors.Join(err, err2)
	})
	if i := w.connect(of(other), day, "m.read"); i.ID.Name() == "scribe-desktop-maya-2" {
		t.Error("ben's client took over maya's identity")
	}
	// One that ran out is renewed by its person.
	w.set(w.now.Add(2 * day))
	if _, err := w.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i := w.connect(of(scribe), day, "m.read"); i.State != identity.Active || !i.Expires.Equal(w.now.Add(day)) {
		t.Errorf("renewed: %+v", i)
	}
}

// TestConnectAgainHoldsBack: what an operator had a connection hold back, ask and record stays when its person consents anew.
func TestConnectAgainHoldsBack(t *testing.T) {
	w := open(t)
	w.do(func(c *registry.Change) error {
		_, err := c.PutUpstream(policy.Upstream{Name: "gmail", URL: "http://127.0.0.1:1", Owner: "maya", Family: "google", Description: []byte("gmail/v1")}, nil)
		return err
	})
	connect := func(life time.Duration, actions ...string) {
		w.do(func(c *registry.Change) error {
			_, err := c.Connect(registry.Connection{Client: scribe, Upstream: "gmail", Actions: actions, Until: w.now.Add(life)})
			return err
		})
	}
	connect(time.Hour, "gmail.users.messages.get", "gmail.users.messages.list")
	held := &layer.Layers{Show: layer.Headers, Contacts: layer.Contacts{Never: []string{"legal@example.com"}}}
	w.do(func(c *registry.Change) error {
		g, err := c.Grant("scribe-desktop-maya/gmail")
		g.Layers, g.Approve, g.Fresh, g.Record = held, "owner", "5m", "before"
		_, _, err2 := c.PutGrant("scribe-desktop-maya", "gmail", g, registry.At(g.Until))
		return errors.Join(err, err2)
	})
	connect(3*time.Hour, "gmail.users.messages.get")
	w.do(func(c *registry.Change) error {
		g, err := c.Grant("scribe-desktop-maya/gmail")
		if !reflect.DeepEqual(g.Layers, held) || g.Approve != "owner" || g.Fresh != "5m" || g.Record != "before" || strings.Join(g.Actions, " ") != "gmail.users.messages.get" {
			t.Errorf("connected again: %+v", g)
		}
		return err
	})
}

// TestConnectLonger: what ends, ends, though another connection of the same client goes on for longer.
func TestConnectLonger(t *testing.T) {
	w := open(t)
	w.do(func(c *registry.Change) error {
		_, err := c.PutUpstream(policy.Upstream{Name: "files", URL: "http://127.0.0.1:1", Owner: "maya", Family: "patterns", Description: []byte("GET /f/{id} -> f.read read /f/{id}")}, nil)
		return err
	})
	w.connect(scribe, time.Hour, "m.read")
	w.do(func(c *registry.Change) error {
		_, err := c.Connect(registry.Connection{Client: scribe, Upstream: "files", Actions: []string{"f.read"}, Until: w.now.Add(100 * time.Hour)})
		return err
	})
	w.do(func(c *registry.Change) error {
		g, err := c.Grant("scribe-desktop-maya/mail")
		if !g.Until.Equal(w.now.Add(time.Hour)) {
			t.Errorf("the first connection now ends %s", g.Until)
		}
		return err
	})
}

// TestCodes: what was given out is good once and for as long as it says, and a second use is noticed.
func TestCodes(t *testing.T) {
	w := open(t)
	i := w.connect(scribe, time.Hour, "m.read")
	issue := func() (code string) {
		w.do(func(c *registry.Change) (err error) {
			code, err = c.NewCode(registry.Code{Identity: i.ID, Client: scribe.ID, Upstream: "mail", Until: w.now.Add(time.Hour)})
			return errors.Join(err, c.RevokeToken("tok_x", w.now, i.ID, "an event")) // NewCode comes with Connect's
		})
		return code
	}
	redeem := func(code string) (k identity.Credential, refresh string, err error) {
		_, err = w.Do(t.Context(), maya, func(c *registry.Change) (err error) { k, refresh, err = c.Redeem(code, ""); return err })
		return k, refresh, err
	}
	rotate := func(text string) (next string, err error) {
		_, err = w.Do(t.Context(), maya, func(c *registry.Change) (err error) { next, err = c.Rotate(text); return err })
		return next, err
	}
	revoked := func(id string) (is bool) {
		w.do(func(c *registry.Change) error {
			k, err := c.Credential(id)
			is = !k.Revoked.IsZero()
			return err
		})
		return is
	}
	late := issue()
	w.set(w.now.Add(time.Minute))
	if _, _, err := redeem(late); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a code of a minute ago: %v", err)
	}
	code := issue()
	k, refresh, err := redeem(code)
	if err != nil || k.Kind != identity.RefreshToken || refresh == "" {
		t.Fatalf("%+v %v", k, err)
	}
	next, err := rotate(refresh)
	if err != nil || next == "" || next == refresh || revoked(k.ID) {
		t.Errorf("rotated: %q %v", next, err)
	}
	if again, err := rotate(refresh); err != nil || again != "" || !revoked(k.ID) {
		t.Errorf("used twice: %q %v", again, err)
	}
	var conflict *registry.Conflict
	if _, err := rotate(next); !errors.As(err, &conflict) {
		t.Errorf("the next, after that: %v", err)
	}
	code = issue()
	k, _, _ = redeem(code)
	if twice, _, err := redeem(code); err != nil || twice.ID != "" || !revoked(k.ID) {
		t.Errorf("a code used twice: %+v %v", twice, err)
	}
	if _, err := rotate("lyd_refresh_unknown"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

// TestSignIn: a code is for one owner, once, for ten minutes; a session ends with its time, or its owner.
func TestSignIn(t *testing.T) {
	w := open(t)
	issue := func() (code string) {
		w.do(func(c *registry.Change) (err error) { code, _, err = c.NewSignIn("maya"); return err })
		return code
	}
	signIn := func(code string) (session string, err error) {
		_, err = w.Do(t.Context(), maya, func(c *registry.Change) (err error) { session, _, err = c.SignIn(code, registry.Browser{}); return err })
		return session, err
	}
	who := func(session string) (o identity.Owner) {
		w.Store.Read(t.Context(), func(tx *store.Tx) (err error) { o, err = registry.SignedIn(tx, session); return err })
		return o
	}
	code := issue()
	session, err := signIn(" " + strings.ToLower(code))
	if err != nil || who(session).ID != "maya" || who(code).ID != "" || who("").ID != "" {
		t.Errorf("%q %v", session, err)
	}
	if _, err := signIn(code); !errors.Is(err, registry.ErrSignIn) {
		t.Errorf("a code used twice: %v", err)
	}
	late := issue()
	w.set(w.now.Add(10 * time.Minute))
	if _, err := signIn(late); !errors.Is(err, registry.ErrSignIn) {
		t.Errorf("a code of ten minutes ago: %v", err)
	}
	w.set(w.now.Add(8 * time.Hour))
	if who(session).ID != "" {
		t.Error("a session of yesterday")
	}
	session, _ = signIn(issue())
	w.do(func(c *registry.Change) error { return c.SignOut(session, false) })
	if who(session).ID != "" {
		t.Error("signed out, and still in")
	}
	w.fails("there is no owner", func(c *registry.Change) error { _, _, err := c.NewSignIn("nobody"); return err })
}

// TestLeaverLosesClients: a client runs on its person's machine, so it does not go on under the backup when that person leaves.
func TestLeaverLosesClients(t *testing.T) {
	w := open(t)
	i := w.connect(scribe, 24*time.Hour, "m.read")
	w.do(func(c *registry.Change) error {
		o, err := c.Owner("maya")
		o.State = identity.OwnerGone
		_, err2 := c.PutOwner(o)
		return errors.Join(err, err2)
	})
	w.do(func(c *registry.Change) error {
		now, err := c.Identity(i.ID)
		agent, err2 := c.IdentityByName("bot")
		if now.Owner != "ben" || now.State != identity.Suspended || agent.Owner != "ben" || agent.State != identity.Active {
			t.Errorf("maya's client is %s and of %s; her agent is %s and of %s", now.State, now.Owner, agent.State, agent.Owner)
		}
		return errors.Join(err, err2)
	})
}

// TestKillEndsSessions: who is stopped cannot have another identity born with a session, or a code, of before.
func TestKillEndsSessions(t *testing.T) {
	for name, aim := range map[string]registry.Aim{"an owner": {Owner: "maya"}, "everything": {All: true}} {
		w := open(t)
		var session, other string
		w.do(func(c *registry.Change) (err error) {
			first, _, err1 := c.NewSignIn("maya")
			session, _, err = c.SignIn(first, registry.Browser{})
			bens, _, err2 := c.NewSignIn("ben")
			var err3 error
			other, _, err3 = c.SignIn(bens, registry.Browser{})
			return errors.Join(err, err1, err2, err3)
		})
		w.do(func(c *registry.Change) error {
			code, _, err := c.NewSignIn("maya")
			_, err2 := c.Kill(aim, "test")
			if _, _, err := c.SignIn(code, registry.Browser{}); !errors.Is(err, registry.ErrSignIn) {
				t.Errorf("%s: a code of before the kill: %v", name, err)
			}
			return errors.Join(err, err2)
		})
		w.Store.Read(t.Context(), func(tx *store.Tx) error {
			if _, err := registry.SignedIn(tx, session); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: a session of before the kill: %v", name, err)
			}
			if _, err := registry.SignedIn(tx, other); (err == nil) == aim.All {
				t.Errorf("%s: ben's session: %v", name, err)
			}
			return nil
		})
	}
}
