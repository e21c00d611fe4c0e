package feed

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

var (
	now   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	later = now.Add(24 * time.Hour)
	mail  = &policy.Upstream{Name: "mail", Owner: "maya", Environment: "production"}
)

func agent(name string) identity.ID { return identity.MustID("spiffe://lanyard.local/agent/" + name) }

func identityOf(name string) *identity.Identity {
	return &identity.Identity{ID: agent(name), Owner: "maya", Purpose: "tests", Environment: "production", State: identity.Active, Created: now, Expires: later, Generation: 3}
}

func credentialOf(name string) *identity.Credential {
	return &identity.Credential{ID: "cred_" + name, Identity: agent(name), Kind: identity.PrivateKeyJWT, Thumbprint: "print-" + name, Created: now, Expires: later}
}

func grantOf(name string) *policy.Grant {
	return &policy.Grant{ID: name + "/read", Identity: agent(name), Upstream: "mail", Actions: []string{"read"}, Cedar: `permit(principal, action in Lanyard::Action::"read", resource);`, Until: later}
}

// enrolled is all that makes an identity able to act.
func enrolled(name string) []Change {
	return []Change{{Identity: identityOf(name)}, {Credential: credentialOf(name)}, {Grant: grantOf(name)}}
}

func claims(name string) token.Claims {
	return token.Claims{ID: "tok_" + name, Chain: identity.Alone(agent(name), 3), Expires: later, Credential: "cred_" + name}
}

func apply(t testing.TB, v *View, list ...Change) {
	t.Helper()
	for _, c := range list {
		if err := v.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
}

// office is a live view with mail and two agents, bot and other.
func office(t testing.TB) *View {
	v := NewView()
	v.Now = func() time.Time { return now }
	apply(t, v, Change{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerActive}}, Change{Upstream: mail})
	apply(t, v, append(append(enrolled("bot"), enrolled("other")...), Change{Synced: true})...)
	return v
}

func ask(action string, class policy.Class) policy.Request {
	return policy.Request{Call: policy.Call{Upstream: "mail", Action: action, Class: class, Resource: "x"}, Upstream: mail, Now: now}
}

func may(t testing.TB, v *View, name string, r policy.Request) bool {
	t.Helper()
	s, ok := v.Subject(agent(name))
	if !ok {
		return false
	}
	set, err := s.Set()
	if err != nil {
		t.Fatal(err)
	}
	return set.Decide(r).Allow
}

// TestCheck: everything that ends a token before its time.
func TestCheck(t *testing.T) {
	edit := func(f func(*identity.Identity)) Change { i := identityOf("bot"); f(i); return Change{Identity: i} }
	credential := func(f func(*identity.Credential)) Change {
		c := credentialOf("bot")
		f(c)
		return Change{Credential: c}
	}
	with := func(f func(*token.Claims)) token.Claims { c := claims("bot"); f(&c); return c }
	acting := with(func(c *token.Claims) {
		c.Chain = identity.Chain{{ID: agent("bot"), Generation: 3}, {ID: agent("other"), Generation: 3}}
	})
	for _, c := range []struct {
		name   string
		change Change
		claims token.Claims
		now    time.Time
		want   string // part of the error; empty: still good
	}{
		{"good", Change{}, claims("bot"), now, ""},
		{"good in a chain", Change{}, acting, now, ""},
		{"expired", Change{}, claims("bot"), later, "expired"},
		{"revoked", Change{Token: &TokenRevocation{"tok_bot", later}}, claims("bot"), now, "revoked"},
		{"another revoked", Change{Token: &TokenRevocation{"tok_other", later}}, claims("bot"), now, ""},
		{"unknown", Change{}, with(func(c *token.Claims) { c.Chain = identity.Alone(agent("ghost"), 3) }), now, "unknown identity"},
		{"nobody", Change{}, token.Claims{Expires: later}, now, "unknown identity"},
		{"suspended", edit(func(i *identity.Identity) { i.State = identity.Suspended }), claims("bot"), now, "suspended"},
		{"retired", edit(func(i *identity.Identity) { i.State = identity.Retired }), claims("bot"), now, "retired"},
		{"ended", edit(func(i *identity.Identity) { i.Expires = now }), claims("bot"), now, "expired on"},
		{"older generation", edit(func(i *identity.Identity) { i.Generation = 4 }), claims("bot"), now, "stopped since"},
		{"newer generation", Change{}, with(func(c *token.Claims) { c.Chain = identity.Alone(agent("bot"), 4) }), now, "stopped since"},
		{"killed", Change{Kill: &Kill{ID: "kill_1", Identities: []identity.ID{agent("bot")}, At: now}}, claims("bot"), now, "killed"},
		{"no credential", Change{}, with(func(c *token.Claims) { c.Credential = "" }), now, "unknown credential"},
		{"another's credential", Change{}, with(func(c *token.Claims) { c.Credential = "cred_other" }), now, "unknown credential"},
		{"credential revoked", credential(func(c *identity.Credential) { c.Revoked = now }), claims("bot"), now, "is revoked"},
		{"credential ended", credential(func(c *identity.Credential) { c.Expires = now }), claims("bot"), now, "expired on"},
		{"who it acts for is killed", Change{Kill: &Kill{ID: "kill_1", Identities: []identity.ID{agent("other")}, At: now}}, acting, now, "acts for another: other is killed"},
		{"another is killed", Change{Kill: &Kill{ID: "kill_1", Identities: []identity.ID{agent("other")}, At: now}}, claims("bot"), now, ""},
	} {
		v := office(t)
		if c.change != (Change{}) {
			apply(t, v, c.change)
		}
		if err := v.Check(c.claims, c.now); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestKill(t *testing.T) {
	v := office(t)
	const many = 10_000
	k := &Kill{ID: "kill_1", At: now}
	for n := range many {
		name := fmt.Sprint("a", n)
		k.Identities = append(k.Identities, agent(name))
		apply(t, v, enrolled(name)...)
	}
	var told []Stop
	v.OnStop(func(s Stop) {
		if err := v.Check(claims("a0"), now); err == nil {
			t.Error("told of a stop before it is so")
		}
		told = append(told, s)
	})
	began := time.Now()
	apply(t, v, Change{Kill: k})
	t.Logf("%d identities in %v", many, time.Since(began))
	apply(t, v, Change{Kill: k}) // told twice, it is the same kill
	for n := range many {
		c := claims(fmt.Sprint("a", n))
		s, _ := v.Subject(c.Actor())
		if v.Check(c, now) == nil || s.Identity.Generation != 4 || s.Identity.KilledBy != "kill_1" || !s.Credentials[0].Revoked.Equal(now) {
			t.Fatalf("%+v", s.Identity)
		}
	}
	if len(told) != 2 || len(told[0].Identities) != many {
		t.Errorf("told %d times", len(told))
	}
	a1, bot := claims("a1"), claims("bot")
	if !told[0].Touches(&a1, "mail") || told[0].Touches(&bot, "mail") || v.Check(bot, now) != nil {
		t.Error("a kill touches who it does not name, or does not touch who it names")
	}
	apply(t, v, Change{Kill: &Kill{ID: "kill_2", Upstream: "mail", At: now}})
	if u, ok := v.Upstream("mail"); !ok || !u.Killed || mail.Killed {
		t.Error("the upstream is not killed, or the caller's is")
	}
	// Restored: a new generation, so what was issued before stays dead.
	i := identityOf("a1")
	i.Generation = 4
	apply(t, v, Change{Identity: i})
	if v.Check(a1, now) == nil {
		t.Error("a token outlived a kill and a restore")
	}
}

// TestKillRace: when Apply has returned, no reader finds the token good.
func TestKillRace(t *testing.T) {
	v := office(t)
	var dead atomic.Int64 // agents up to here are killed
	const n = 200
	for i := range n {
		apply(t, v, enrolled(fmt.Sprint("a", i))...)
	}
	stop, readers := make(chan struct{}), sync.WaitGroup{}
	for range 4 {
		readers.Go(func() {
			for i := 0; ; i = (i + 1) % n {
				select {
				case <-stop:
					return
				default:
				}
				name, before := fmt.Sprint("a", i), dead.Load()
				err := v.Check(claims(name), now)
				if err == nil && int64(i) < before {
					t.Errorf("%s was killed and is good", name)
				}
				if s, ok := v.Subject(agent(name)); ok {
					if _, err := s.Set(); err != nil {
						t.Error(err)
					}
				}
				v.Credential("print-" + name)
				v.TokenRevoked("tok_" + name)
			}
		})
	}
	for i := range n {
		apply(t, v, Change{Token: &TokenRevocation{fmt.Sprint("tok_x", i), later}}, Change{Guardrail: &policy.Guardrail{ID: "g", Cedar: fmt.Sprintf("forbid(principal, action, resource) when { context.source == %q };", fmt.Sprint(i))}},
			Change{Kill: &Kill{ID: fmt.Sprint("kill_", i), Identities: []identity.ID{agent(fmt.Sprint("a", i))}, At: now}})
		dead.Store(int64(i + 1))
	}
	close(stop)
	readers.Wait()
}

// TestAnyOrder: a snapshot means the same in whatever order its things come.
func TestAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		list := append(enrolled("bot"), Change{Upstream: mail}, Change{Token: &TokenRevocation{"tok_x", later}}, Change{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind"}},
			Change{Guardrail: &policy.Guardrail{ID: "no", Cedar: `forbid(principal, action == Lanyard::Action::"list", resource);`}})
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		v := NewView()
		apply(t, v, append(list, Change{Synced: true})...)
		s, ok := v.Subject(agent("bot"))
		if c, found := v.Credential("print-bot"); !ok || !found || c.ID != "cred_bot" || s.Owner().Name != "Maya Lind" || !v.TokenRevoked("tok_x") {
			t.Fatalf("%+v", s)
		}
		if v.Check(claims("bot"), now) != nil || !may(t, v, "bot", ask("get", policy.Read)) || may(t, v, "bot", ask("list", policy.Read)) {
			t.Fatal("decides otherwise")
		}
	}
	v := NewView() // a credential and a grant of nobody are nobody's
	apply(t, v, Change{Credential: credentialOf("bot")}, Change{Grant: grantOf("bot")}, Change{Synced: true})
	if _, ok := v.Subject(agent("bot")); ok || v.Check(claims("bot"), now) == nil {
		t.Error("an identity was made of its credential")
	}
}

func TestStop(t *testing.T) {
	revoked := credentialOf("bot")
	revoked.Revoked = now
	used := credentialOf("bot")
	used.LastUsed = now
	bot, other, acting := claims("bot"), claims("other"), claims("other")
	acting.Chain = append(acting.Chain, identity.Link{ID: agent("bot"), Generation: 3})
	acting.From = []string{"tok_1", bot.Credential}
	second := claims("bot")
	second.ID, second.Credential = "tok_2", "cred_2"
	all := []*token.Claims{&bot, &second, &acting, &other}
	for name, c := range map[string]struct {
		change Change
		want   string // of bot, second, acting, other: who is touched
	}{
		"new identity":       {Change{Identity: identityOf("new")}, ""},
		"changed identity":   {Change{Identity: identityOf("bot")}, "yyy-"},
		"new credential":     {Change{Credential: credentialOf("new")}, ""},
		"credential used":    {Change{Credential: used}, ""},
		"credential revoked": {Change{Credential: revoked}, "y-y-"},
		"new grant":          {Change{Grant: grantOf("new")}, ""},
		"changed grant":      {Change{Grant: grantOf("bot")}, "yyy-"},
		"grant removed":      {Change{Grant: grantOf("bot"), Removed: true}, "yyy-"},
		"unknown removed":    {Change{Grant: grantOf("new"), Removed: true}, ""},
		"guardrail":          {Change{Guardrail: &policy.Guardrail{ID: "no", Cedar: "forbid(principal, action, resource);"}}, "yyyy"},
		"token":              {Change{Token: &TokenRevocation{"tok_bot", later}}, "y---"},
		"upstream changed":   {Change{Upstream: mail}, "yyyy"},
		"upstream removed":   {Change{Upstream: mail, Removed: true}, "yyyy"},
		"another upstream":   {Change{Upstream: &policy.Upstream{Name: "crm"}}, ""},
		"kill":               {Change{Kill: &Kill{ID: "k", Identities: []identity.ID{agent("bot")}}}, "yyy-"},
		"upstream killed":    {Change{Kill: &Kill{ID: "k", Upstream: "mail"}}, "yyyy"},
		"account":            {Change{Account: &Account{Upstream: "mail", Owner: "maya"}}, "yyyy"},
		"account elsewhere":  {Change{Account: &Account{Upstream: "crm", Owner: "maya"}}, "----"},
		"owner":              {Change{Owner: &identity.Owner{ID: "maya", State: identity.OwnerActive}}, "----"},
		"owner left":         {Change{Owner: &identity.Owner{ID: "maya", State: identity.OwnerGone}}, "yyyy"}, // what others do may be approved by maya
		"new snapshot":       {Change{Synced: true}, "yyyy"},
	} {
		v, got := office(t), ""
		v.OnStop(func(s Stop) {
			for _, c := range all {
				if s.Touches(c, "mail") {
					got += "y"
				} else {
					got += "-"
				}
			}
		})
		apply(t, v, c.change)
		if got != c.want {
			t.Errorf("%s touches %q, want %q", name, got, c.want)
		}
	}
}

// TestInvalid: what cannot be applied ends the view's life, until a new snapshot.
func TestInvalid(t *testing.T) {
	twin := credentialOf("other")
	twin.Thumbprint = "print-bot"
	for name, c := range map[string]Change{
		"nothing":             {},
		"two things":          {Synced: true, Upstream: mail},
		"credential removed":  {Credential: twin, Removed: true},
		"token removed":       {Token: &TokenRevocation{"tok_1", later}, Removed: true},
		"identity, no id":     {Identity: &identity.Identity{}},
		"credential, no id":   {Credential: &identity.Credential{Identity: agent("bot")}},
		"one key, two owners": {Credential: twin},
		"grant, no identity":  {Grant: &policy.Grant{ID: "g"}},
		"guardrail, no id":    {Guardrail: &policy.Guardrail{Cedar: "forbid(principal, action, resource);"}},
		"guardrail permits":   {Guardrail: &policy.Guardrail{ID: "g", Cedar: "permit(principal, action, resource);"}},
		"guardrail, no Cedar": {Guardrail: &policy.Guardrail{ID: "g", Cedar: "forbid("}},
		"upstream, no name":   {Upstream: &policy.Upstream{}},
		"account of nobody":   {Account: &Account{Upstream: "mail"}},
		"account nowhere":     {Account: &Account{Owner: "maya"}},
		"account removed":     {Account: &Account{Upstream: "mail", Owner: "maya"}, Removed: true},
		"owner, no id":        {Owner: &identity.Owner{}},
		"token, no id":        {Token: &TokenRevocation{}},
		"keys":                {Keys: &Keys{JWKS: []byte("{}")}},
		"kill of nothing":     {Kill: &Kill{ID: "k"}},
		"kill of both":        {Kill: &Kill{ID: "k", Upstream: "mail", Identities: []identity.ID{agent("bot")}}},
		"kill of an unknown":  {Kill: &Kill{ID: "k", Identities: []identity.ID{agent("ghost"), agent("bot")}}},
		"kill of no upstream": {Kill: &Kill{ID: "k", Upstream: "ghost"}},
		"kill without a name": {Kill: &Kill{Identities: []identity.ID{agent("bot")}}},
	} {
		v, told := office(t), 0
		v.OnStop(func(s Stop) {
			if s.Everything {
				told++
			}
		})
		if v.Apply(c) == nil || v.Live() == nil || told != 1 {
			t.Errorf("%s: live %v, told %d times", name, v.Live(), told)
		}
		if strings.HasPrefix(name, "kill of an") && v.Check(claims("bot"), now) == nil {
			t.Error("one unknown identity saved another from a kill")
		}
		if v.Apply(Change{Synced: true}) == nil || v.Live() == nil {
			t.Errorf("%s: forgotten by the mere end of a snapshot", name)
		}
		v.Restart()
		apply(t, v, append(enrolled("bot"), Change{Synced: true})...)
		if v.Live() != nil || v.Check(claims("bot"), now) != nil {
			t.Errorf("%s: a new snapshot does not make it good: %v", name, v.Live())
		}
	}
	if errors.Is(NewView().Live(), nil) {
		t.Error("a view that knows nothing is live")
	}
}

// TestRestart: what is not in a new snapshot is gone, and until it is complete the old one holds.
func TestRestart(t *testing.T) {
	v := office(t)
	v.Restart()
	apply(t, v, Change{Upstream: mail})
	apply(t, v, enrolled("other")...)
	if v.Live() != nil || v.Check(claims("bot"), now) != nil {
		t.Error("half a snapshot is read")
	}
	apply(t, v, Change{Synced: true})
	_, ok := v.Subject(agent("bot"))
	if _, found := v.Credential("print-bot"); ok || found || v.Check(claims("bot"), now) == nil || v.Check(claims("other"), now) != nil {
		t.Error("who is in no snapshot lives on")
	}
}

func TestSet(t *testing.T) {
	v := office(t)
	s, _ := v.Subject(agent("bot"))
	first, _ := s.Set()
	if again, _ := s.Set(); again != first {
		t.Error("compiled twice")
	}
	if !may(t, v, "bot", ask("list", policy.Read)) || may(t, v, "bot", ask("send", policy.Write)) {
		t.Error("the grant does not hold")
	}
	no := &policy.Guardrail{ID: "no", Cedar: `forbid(principal, action == Lanyard::Action::"list", resource);`}
	apply(t, v, Change{Guardrail: no})
	if may(t, v, "bot", ask("list", policy.Read)) {
		t.Error("a new guardrail does not hold")
	}
	apply(t, v, Change{Guardrail: no, Removed: true})
	if !may(t, v, "bot", ask("list", policy.Read)) || len(v.Guardrails()) != 0 {
		t.Error("a guardrail that is gone holds")
	}
	apply(t, v, Change{Grant: grantOf("bot"), Removed: true})
	if may(t, v, "bot", ask("list", policy.Read)) {
		t.Error("a grant that is gone holds")
	}
	staging := identityOf("other")
	staging.Environment = "staging"
	apply(t, v, Change{Identity: staging})
	if may(t, v, "other", ask("list", policy.Read)) {
		t.Error("an identity that moved to another environment is taken for what it was")
	}
	broken := grantOf("other")
	broken.Cedar = "permit("
	apply(t, v, Change{Grant: broken})
	s, _ = v.Subject(agent("other"))
	if set, err := s.Set(); err == nil || set.Decide(ask("list", policy.Read)).Allow {
		t.Error("a grant that does not parse is no error")
	}
}

// TestSetsAreBounded: however many identities ask, only so many sets stay, and those in use do.
func TestSetsAreBounded(t *testing.T) {
	v := office(t)
	v.unpacked.ring = make([]*held, 8)
	hot, _ := v.Subject(agent("bot"))
	first, _ := hot.Set()
	var all []*Subject
	for n := range 100 {
		name := fmt.Sprint("a", n)
		apply(t, v, enrolled(name)...)
		s, _ := v.Subject(agent(name))
		if _, err := s.Set(); err != nil {
			t.Fatal(err)
		}
		if again, _ := hot.Set(); again != first {
			t.Fatalf("what is used all the time was dropped after %d others", n)
		}
		all = append(all, s)
	}
	kept := 0
	for _, s := range all {
		if s.memo.Load() != nil {
			kept++
		}
	}
	if kept != 7 {
		t.Errorf("%d others are kept, want 7", kept)
	}
}

func TestRevokedTokensAreForgotten(t *testing.T) {
	v := office(t)
	clock := now
	v.Now = func() time.Time { return clock }
	for n := range 20_000 {
		clock = now.Add(time.Duration(n) * time.Second)
		apply(t, v, Change{Token: &TokenRevocation{fmt.Sprint("tok_", n), clock.Add(5 * time.Minute)}})
	}
	if held := v.now.Load().revoked.sweep(func(time.Time) bool { return false }); held > 3000 {
		t.Errorf("%d revocations are held, of which 360 can matter", held)
	}
	for n := 19_700; n < 20_000; n++ {
		if !v.TokenRevoked(fmt.Sprint("tok_", n)) {
			t.Fatalf("tok_%d was forgotten before it expired", n)
		}
	}
}

// TestFromTouches: a stop of one token touches what came of it.
func TestFromTouches(t *testing.T) {
	c := token.Claims{ID: "tok_c", From: []string{"tok_b", "tok_a"}}
	for id, want := range map[string]bool{"tok_a": true, "tok_b": true, "tok_c": true, "tok_d": false} {
		if s := (Stop{Token: id}); s.Touches(&c, "mail") != want {
			t.Error(id)
		}
	}
}

// TestAddress: an address is an owner's while that owner is there and has it.
func TestAddress(t *testing.T) {
	v := NewView()
	maya := identity.Owner{ID: "maya", Name: "Maya", Email: "Maya@example.com", State: identity.OwnerActive}
	apply := func(o identity.Owner, removed bool) {
		if err := v.Apply(Change{Owner: &o, Removed: removed}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(address string, want bool) {
		t.Helper()
		if v.Address(address) != want {
			t.Errorf("%s is an owner's: %v", address, !want)
		}
	}
	apply(maya, false)
	if err := v.Apply(Change{Synced: true}); err != nil {
		t.Fatal(err)
	}
	is("maya@example.com", true)
	is("ben@example.com", false)
	maya.Email = "m@example.com"
	apply(maya, false)
	is("maya@example.com", false)
	is("m@example.com", true)
	maya.State = identity.OwnerGone
	apply(maya, false)
	is("m@example.com", false)
	maya.State = identity.OwnerActive
	apply(maya, false)
	apply(maya, true)
	is("m@example.com", false)
}
