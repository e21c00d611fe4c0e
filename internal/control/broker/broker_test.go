package broker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/broker"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestOwners: each agent goes with the account of its own owner, and with that of its new one once it is handed over.
func TestOwners(t *testing.T) {
	w := open(t)
	if text := w.none("mayas"); !strings.Contains(text, "an account of Maya Lind, who has not connected an account there") || !strings.Contains(text, plane+"/accounts/notes") {
		t.Error(text)
	}
	w.connect("maya")
	mayas := w.gets("mayas")
	if mayas.Owner != "maya" || !mayas.Expires.After(w.Now()) || mayas.Expires.After(w.Now().Add(10*time.Minute)) {
		t.Errorf("%s until %v", mayas.Owner, mayas.Expires)
	}
	w.none("bens")
	w.connect("ben")
	bens := w.gets("bens")
	if bens.Value == mayas.Value || bens.Owner != "ben" || w.gets("mayas").Value != mayas.Value {
		t.Error("they go with one account")
	}
	w.do(func(c *registry.Change) error {
		_, _, err := c.PutIdentity(registry.Wanted{Kind: identity.Agent, Name: "mayas", Owner: "ben", Purpose: "tests"})
		return err
	})
	if got := w.gets("mayas"); got.Value != bens.Value || got.Owner != "ben" {
		t.Error("what was handed over goes with the account of who had it before")
	}
	// The one who acts counts, not those it acts for.
	w.do(func(c *registry.Change) error {
		_, _, err := c.PutIdentity(registry.Wanted{Kind: identity.Agent, Name: "other", Owner: "maya", Purpose: "tests"})
		return err
	})
	s, err := w.Credential(t.Context(), "notes", identity.Chain{{ID: id("bens")}, {ID: id("other")}}, mayas)
	if err != nil || s.Owner != "ben" {
		t.Errorf("%s %v", s.Owner, err)
	}
}

// TestPerson: what is done for a person goes with that person's account, or the one that all share, for
// as long as anything may be done there on the person's behalf, and with nobody else's.
func TestPerson(t *testing.T) {
	w := open(t)
	w.connect("maya")
	w.connect("ben")
	mayas := w.gets("mayas")
	link := func(person string, generation uint64) identity.Link {
		return identity.Link{ID: identity.MustID("spiffe://lanyard.local/person/" + person), Generation: generation}
	}
	gets := func(chain ...identity.Link) (feed.Secret, error) {
		return w.Credential(t.Context(), "notes", chain, feed.Secret{})
	}
	bens := identity.Link{ID: id("bens")}
	if s, err := gets(bens, link("maya", 0)); !errors.Is(err, broker.ErrRefused) || s.Value != "" {
		t.Errorf("without a consent: %s %v", s.Owner, err)
	}
	u := w.notes()
	u.Consent = policy.Consent{Owners: []identity.OwnerID{"maya"}}
	w.put(u)
	if s, err := gets(bens, link("maya", 0)); err != nil || s.Owner != "maya" || s.Value != mayas.Value {
		t.Errorf("for maya: %s %v", s.Owner, err)
	}
	for name, chain := range map[string]identity.Chain{
		"of another generation": {bens, link("maya", 1)},
		"of nobody":             {bens, link("zoe", 0)},
		"in the middle":         {bens, link("maya", 0), {ID: id("mayas")}},
		"first":                 {link("maya", 0)},
	} {
		if s, err := gets(chain...); err == nil && (s.Owner == "maya" || s.Value == mayas.Value) || name != "in the middle" && err == nil {
			t.Errorf("a person %s: %s %v", name, s.Owner, err)
		}
	}
	u.OAuth.Account, u.Owner = policy.Shared, "ben"
	w.put(u)
	w.connect("ben")
	if s, err := gets(bens, link("maya", 0)); err != nil || s.Owner != "ben" {
		t.Errorf("shared: %s %v", s.Owner, err)
	}
	w.do(func(c *registry.Change) error {
		_, err := c.Kill(registry.Aim{Owner: "maya"}, "test")
		return err
	})
	if s, err := gets(bens, link("maya", 0)); err == nil {
		t.Errorf("after all that is maya's was stopped: %s", s.Owner)
	}
}

// TestRenewal: many who ask at once show a refresh token once, and what came of it is kept before it is used.
func TestRenewal(t *testing.T) {
	w := open(t)
	w.connect("maya")
	first := w.gets("mayas")
	for range 3 {
		w.pass(11 * time.Minute)
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				s, err := w.ask("mayas")
				a, err2 := w.account("maya")
				if err != nil || err2 != nil || s.Value == first.Value || "Bearer "+a.Token.Access != s.Value {
					t.Errorf("%v %v", err, err2)
				}
			})
		}
		wg.Wait()
	}
	if n := w.as.count("refresh_token"); n != 3 || w.as.reused != 0 {
		t.Errorf("%d renewals, %d refresh tokens shown twice", n, w.as.reused)
	}
}

// TestRefused: a token that the upstream no longer takes is renewed once; one that was got just now is not.
func TestRefused(t *testing.T) {
	w := open(t)
	w.connect("maya")
	first := w.gets("mayas")
	if s, err := w.ask("mayas", first); err == nil {
		t.Errorf("at once: %v", s.Owner)
	}
	w.pass(time.Minute)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if s, err := w.ask("mayas", first); err != nil || s.Value == first.Value {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	second := w.gets("mayas")
	if n := w.as.count("refresh_token"); n != 1 {
		t.Errorf("%d renewals", n)
	}
	if _, err := w.ask("mayas", second); err == nil {
		t.Error("one that was got just now is renewed")
	}
	if w.gets("mayas", first).Value != second.Value || w.as.count("refresh_token") != 1 {
		t.Error("an old refusal renews a new token")
	}
}

// TestLapsed: what its server calls no longer good is forgotten, its owner is told, and it can be connected again.
func TestLapsed(t *testing.T) {
	w := open(t)
	w.connect("maya")
	w.as.mu.Lock()
	clear(w.as.live) // the owner took it back there
	w.as.mu.Unlock()
	w.pass(11 * time.Minute)
	if text := w.none("mayas"); !strings.Contains(text, "Maya Lind, who has to connect the account there again: its server says that the sign-in is no longer good") {
		t.Error(text)
	}
	a, err := w.account("maya")
	if err != nil || a.Lapsed == "" || a.Token.Access+a.Token.Refresh != "" {
		t.Errorf("%q %v", a.Lapsed, err)
	}
	w.none("mayas")
	if n := w.as.count("refresh_token"); n != 1 {
		t.Errorf("it was shown %d times", n)
	}
	w.connect("maya")
	w.gets("mayas")
	w.as.answers(func(rw http.ResponseWriter, form url.Values) bool { // as some do: nothing to renew it with
		_, _ = io.WriteString(rw, `{"access_token":"short","token_type":"bearer","expires_in":60}`)
		return true
	})
	w.connect("maya")
	w.gets("mayas")
	w.pass(time.Minute)
	if text := w.none("mayas"); !strings.Contains(text, "there is none to renew it with") {
		t.Error(text)
	}
}

// TestForgotten: a server that no longer knows the client that had registered itself there is asked to know it anew.
func TestForgotten(t *testing.T) {
	w := open(t)
	w.connect("maya")
	before, _ := w.account("maya")
	w.as.answers(func(rw http.ResponseWriter, _ url.Values) bool {
		rw.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(rw, `{"error":"invalid_client"}`)
		return true
	})
	w.pass(11 * time.Minute)
	if text := w.none("mayas"); !strings.Contains(text, "its server has forgotten Lanyard") {
		t.Error(text)
	}
	w.as.answers(nil)
	w.connect("maya")
	if after, _ := w.account("maya"); after.Client.ID == before.Client.ID || after.Client.ID == "" {
		t.Errorf("%q, then %q", before.Client.ID, after.Client.ID)
	}
}

// TestTrouble: a server that is down or answers nonsense costs nobody a sign-in, and is not asked by everyone.
func TestTrouble(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, url.Values) bool{
		"down":            func(rw http.ResponseWriter, _ url.Values) bool { panic(http.ErrAbortHandler) },
		"broken":          func(rw http.ResponseWriter, _ url.Values) bool { rw.WriteHeader(500); return true },
		"HTML":            func(rw http.ResponseWriter, _ url.Values) bool { _, _ = io.WriteString(rw, "<html>"); return true },
		"nothing":         func(rw http.ResponseWriter, _ url.Values) bool { _, _ = io.WriteString(rw, "{}"); return true },
		"twice":           says(`{"access_token":"a","access_token":"b","token_type":"Bearer"}`),
		"a header in it":  says(`{"access_token":"a\r\nX: y","token_type":"Bearer"}`),
		"another type":    says(`{"access_token":"a","token_type":"mac"}`),
		"bound to a key":  says(`{"access_token":"a","token_type":"DPoP"}`),
		"a negative life": says(`{"access_token":"a","token_type":"Bearer","expires_in":-1}`),
		"too long":        says(`{"access_token":"` + strings.Repeat("a", 2<<20) + `","token_type":"Bearer"}`),
		"somewhere else": func(rw http.ResponseWriter, _ url.Values) bool {
			rw.Header().Set("Location", "http://127.0.0.1:2/")
			rw.WriteHeader(307)
			return true
		},
		"an unknown error": func(rw http.ResponseWriter, _ url.Values) bool {
			rw.WriteHeader(400)
			_, _ = io.WriteString(rw, `{"error":"slow_down"}`)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t)
			w.as.answers(answer)
			if err := w.finish("maya", "s", w.as.person(t, w.begin("maya", "s"))); err == nil {
				t.Fatal("it is taken for a token")
			}
			if _, err := w.account("maya"); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			w.as.answers(nil)
			w.connect("maya")
			w.pass(11 * time.Minute)
			w.as.answers(answer)
			for range 5 {
				if s, err := w.ask("mayas"); err == nil || s.Value != "" || strings.Contains(err.Error(), "refresh-") {
					t.Errorf("%s %v", s.Value, err)
				}
			}
			if n := w.as.count("refresh_token"); n != 1 {
				t.Errorf("it was asked %d times in one moment", n)
			}
			w.as.answers(nil)
			w.pass(time.Minute)
			w.gets("mayas")
		})
	}
}

func says(body string) func(http.ResponseWriter, url.Values) bool {
	return func(rw http.ResponseWriter, _ url.Values) bool { _, _ = io.WriteString(rw, body); return true }
}

// TestAnswers: only the answer to a sign-in that this session began, from the server it was begun at, connects anything.
func TestAnswers(t *testing.T) {
	w := open(t)
	with := func(v url.Values, name, value string) url.Values {
		out := url.Values{}
		for k := range v {
			out[k] = v[k]
		}
		if out.Set(name, value); value == "" {
			out.Del(name)
		}
		return out
	}
	for _, c := range []struct {
		name, session string
		owner         identity.OwnerID
		change        func(url.Values) url.Values
		says          string
	}{
		{"another session of the same owner", "another", "maya", nil, "no sign-in"},
		{"another owner's session", "s", "ben", nil, "no sign-in"},
		{"another server", "s", "maya", func(v url.Values) url.Values { return with(v, "iss", "https://evil.example.com") }, "not of " + w.as.URL},
		{"a server with a slash more", "s", "maya", func(v url.Values) url.Values { return with(v, "iss", w.as.URL+"/") }, "not of " + w.as.URL},
		{"no server", "s", "maya", func(v url.Values) url.Values { return with(v, "iss", "") }, "promised"},
		{"no code", "s", "maya", func(v url.Values) url.Values { return with(v, "code", "") }, "no code"},
		{"two codes", "s", "maya", func(v url.Values) url.Values { out := with(v, "x", ""); out["code"] = []string{"a", "b"}; return out }, "twice"},
		{"another's code", "s", "maya", func(v url.Values) url.Values { return with(v, "code", "stolen") }, "invalid_grant"},
		{"a no", "s", "maya", func(v url.Values) url.Values { return with(with(v, "code", ""), "error", "access_denied") }, "access_denied"},
	} {
		answer := w.as.person(t, w.begin("maya", "s"))
		changed := answer
		if c.change != nil {
			changed = c.change(answer)
		}
		if err := w.finish(c.owner, c.session, changed); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		if err := w.finish("maya", "s", answer); !errors.Is(err, registry.ErrNoSignIn) {
			t.Errorf("%s: it is good once more: %v", c.name, err)
		}
	}
	// A server that does not say who it is may have been led to by another's sign-in (mix-up): its answer comes to its own place.
	elsewhere := w.as.person(t, w.begin("maya", "s"))
	if err := w.Finish(t.Context(), "crm", "maya", "s", elsewhere, registry.Self); !errors.Is(err, registry.ErrNoSignIn) {
		t.Errorf("at another upstream's place: %v", err)
	}
	if err := w.finish("maya", "s", elsewhere); !errors.Is(err, registry.ErrNoSignIn) {
		t.Errorf("after that: %v", err)
	}
	if w.as.count("authorization_code") != 1 { // the stolen code
		t.Errorf("%d codes were shown", w.as.count("authorization_code"))
	}
	answer := w.as.person(t, w.begin("maya", "s"))
	if err := w.finish("maya", "s", answer); err != nil {
		t.Error(err)
	}
	size := w.Registry.Store.Size()
	for _, v := range []url.Values{answer, {}, {"state": {"x"}, "code": {"y"}}, {"state": {answer.Get("state"), answer.Get("state")}}} {
		if err := w.finish("maya", "s", v); !errors.Is(err, registry.ErrNoSignIn) {
			t.Errorf("%v: %v", v, err)
		}
	}
	if w.Registry.Store.Size() != size {
		t.Error("who guesses writes the ledger")
	}
	late := w.as.person(t, w.begin("maya", "s"))
	w.pass(10 * time.Minute)
	if err := w.finish("maya", "s", late); !errors.Is(err, registry.ErrNoSignIn) {
		t.Errorf("after ten minutes: %v", err)
	}
}

// TestMeanwhile: what happens while a person signs in counts.
func TestMeanwhile(t *testing.T) {
	for name, f := range map[string]func(*world, *registry.Change) error{
		"the upstream moves": func(w *world, c *registry.Change) error {
			u := w.notes()
			u.URL += "/elsewhere"
			_, err := c.PutUpstream(u, nil)
			return err
		},
		"the cord": func(_ *world, c *registry.Change) error {
			_, err := c.Kill(registry.Aim{Upstream: "notes"}, "x")
			return err
		},
		"the owner leaves": func(_ *world, c *registry.Change) error {
			_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "ben", State: identity.OwnerGone})
			return err
		},
		"the grant ends": func(_ *world, c *registry.Change) error { return c.RevokeGrant("mayas/read", "x") },
	} {
		for _, when := range []string{"before the answer", "before the token"} {
			w := open(t)
			answer := w.as.person(t, w.begin("maya", "s"))
			change := func() { w.do(func(c *registry.Change) error { return f(w, c) }) }
			if when == "before the answer" {
				change()
			} else {
				w.as.answers(func(http.ResponseWriter, url.Values) bool { change(); return false })
			}
			if err := w.finish("maya", "s", answer); err == nil {
				t.Errorf("%s, %s: it is connected", name, when)
			}
			if _, err := w.account("maya"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s, %s: %v", name, when, err)
			}
			if when == "before the token" && len(w.as.gone()) != 1 {
				t.Errorf("%s: what came is not given up: %v", name, w.as.gone())
			}
		}
	}
}

// TestEnds: what ends an account has it forgotten and given up at its server, and nothing of it is used.
func TestEnds(t *testing.T) {
	move := func(f func(*policy.Upstream)) func(*world, *registry.Change) error {
		return func(w *world, c *registry.Change) error {
			u := w.notes()
			f(&u)
			_, err := c.PutUpstream(u, nil)
			return err
		}
	}
	for name, f := range map[string]func(*world, *registry.Change) error{
		"disconnected":   func(_ *world, c *registry.Change) error { return c.Disconnect("notes", "maya") },
		"another URL":    move(func(u *policy.Upstream) { u.URL += "/v2" }),
		"another issuer": move(func(u *policy.Upstream) { u.OAuth.Issuer += "/tenant" }),
		"another client": move(func(u *policy.Upstream) { u.OAuth.Client = "ours" }),
		"shared":         move(func(u *policy.Upstream) { u.OAuth.Account, u.Owner = policy.Shared, "maya" }),
		"no OAuth":       move(func(u *policy.Upstream) { u.OAuth = nil }),
		"the cord": func(_ *world, c *registry.Change) error {
			_, err := c.Kill(registry.Aim{Upstream: "notes"}, "x")
			return err
		},
		"the owner leaves": func(_ *world, c *registry.Change) error {
			_, err := c.PutOwner(identity.Owner{ID: "maya", Name: "Maya Lind", Email: "maya@example.com", Backup: "ben", State: identity.OwnerGone})
			return err
		},
		"removed": func(_ *world, c *registry.Change) error {
			return errors.Join(c.RevokeGrant("mayas/read", "x"), c.RevokeGrant("bens/read", "x"), c.RemoveUpstream("notes"))
		},
	} {
		w := open(t)
		w.connect("maya")
		had, err := w.account("maya")
		if err != nil {
			t.Fatal(err)
		}
		w.do(func(c *registry.Change) error { return f(w, c) })
		if _, err := w.account("maya"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if s, err := w.ask("mayas"); name != "no OAuth" && err == nil || s.Value != "" {
			t.Errorf("%s: %v", name, err)
		}
		w.eventually(name+": it is given up", func() bool { return slices.Contains(w.as.gone(), had.Token.Refresh) })
	}
}

// TestMoved: an account that is somehow still there is not shown at another place.
func TestMoved(t *testing.T) {
	w := open(t)
	w.connect("maya")
	u := w.notes()
	u.URL = "http://127.0.0.1:9"
	w.do(func(c *registry.Change) error { // past the registry
		return errors.Join(c.Tx.PutUpstream(u), c.Disconnect("notes", "maya"), c.RenewAccount("notes", "maya", must(w.account("maya"))))
	})
	w.none("mayas")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestMeanwhileRenewed: what is disconnected while it is renewed stays so, and what came is given up.
func TestMeanwhileRenewed(t *testing.T) {
	w := open(t)
	w.connect("maya")
	w.pass(11 * time.Minute)
	w.as.answers(func(rw http.ResponseWriter, _ url.Values) bool {
		w.as.mu.Unlock() // the server of the test is one at a time, and is told of the end meanwhile
		defer w.as.mu.Lock()
		w.do(func(c *registry.Change) error { return c.Disconnect("notes", "maya") })
		_, err := io.WriteString(rw, `{"access_token":"access-renewed","refresh_token":"refresh-renewed","token_type":"Bearer","expires_in":600}`)
		return err == nil // it had renewed before it was told
	})
	w.none("mayas")
	if _, err := w.account("maya"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	w.eventually("both are given up", func() bool { return len(w.as.gone()) == 2 })
}

// TestShared: one account serves all, and it is the upstream's owner's alone to connect.
func TestShared(t *testing.T) {
	w := open(t)
	u := w.notes()
	u.Owner, u.OAuth.Account = "ben", policy.Shared
	w.put(u)
	if _, _, err := w.Begin(t.Context(), "notes", "maya", "s", registry.Self); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("maya may connect it: %v", err)
	}
	if text := w.none("mayas"); !strings.Contains(text, "Ben Okafor") {
		t.Error(text)
	}
	w.connect("ben")
	if a, b := w.gets("mayas"), w.gets("bens"); a.Value != b.Value || a.Owner != "ben" {
		t.Errorf("%s %s", a.Owner, b.Owner)
	}
	u.Owner = "maya"
	w.put(u)
	w.none("bens")
}

// TestDiscovered: an MCP server says itself where to sign in; one that names another server than the operator did is not followed.
func TestDiscovered(t *testing.T) {
	w := open(t)
	u := w.notes()
	u.Family, u.Description, u.OAuth.Issuer, u.OAuth.Scopes = "mcp", []byte(`{"tools":[{"name":"read_note","description":"Reads a note.","inputSchema":{"type":"object"}}]}`), "", nil
	u.OAuth.Parameters = map[string]string{"audience": "notes"}
	w.do(func(c *registry.Change) error {
		return errors.Join(c.RevokeGrant("mayas/read", "x"), c.RevokeGrant("bens/read", "x"))
	})
	w.put(u)
	w.do(func(c *registry.Change) error {
		_, _, err := c.PutGrant("mayas", "read", policy.Grant{Upstream: "notes", Actions: []string{"tools.*"}, Plain: true}, registry.End{})
		return err
	})
	open := w.begin("maya", "s")
	q := must(url.Parse(open)).Query()
	if q.Get("scope") != "notes" || q.Get("resource") != w.as.URL+"/mcp" || q.Get("audience") != "notes" {
		t.Errorf("%v", q)
	}
	if err := w.finish("maya", "s", w.as.person(t, open)); err != nil {
		t.Error(err)
	}
	w.gets("mayas")
	u.OAuth.Issuer = "http://127.0.0.1:2"
	w.put(u)
	if _, _, err := w.Begin(t.Context(), "notes", "maya", "s", registry.Self); err == nil || !strings.Contains(err.Error(), "which was named") {
		t.Error(err)
	}
}

// TestUnkept: a token that cannot be kept is not used; once it can be, the server need not be asked again, which would
// take the refresh token before for stolen.
func TestUnkept(t *testing.T) {
	w := open(t)
	w.connect("maya")
	before := w.gets("mayas")
	w.pass(11 * time.Minute)
	exec := func(query string) {
		t.Helper()
		if err := w.Registry.Store.UnsafeExec(query); err != nil {
			t.Fatal(err)
		}
	}
	stuck, loose := []string{"CREATE TRIGGER stuck BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'stuck'); END"}, "DROP TRIGGER stuck"
	if w.Registry.Store.Database != "" {
		stuck = []string{"CREATE FUNCTION stuck() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''stuck''; END' LANGUAGE plpgsql", "CREATE TRIGGER stuck BEFORE INSERT ON secrets FOR EACH ROW EXECUTE FUNCTION stuck()"}
		loose += " ON secrets"
	}
	for _, statement := range stuck {
		exec(statement)
	}
	if s, err := w.ask("mayas"); err == nil || s.Value != "" {
		t.Errorf("%v", err)
	}
	exec(loose)
	w.pass(time.Minute)
	if s := w.gets("mayas"); s.Value == before.Value {
		t.Error("it is the one before")
	}
	if n := w.as.count("refresh_token"); n != 1 || w.as.reused != 0 {
		t.Errorf("asked %d times", n)
	}
}

// TestClosing: what is under way at the end of the process is kept, and nothing more is begun.
func TestClosing(t *testing.T) {
	w := open(t)
	w.connect("maya")
	w.pass(11 * time.Minute)
	asked, let := make(chan struct{}), make(chan struct{})
	w.as.answers(func(http.ResponseWriter, url.Values) bool { close(asked); <-let; return false })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := w.Credential(ctx, "notes", identity.Alone(id("mayas"), 0), feed.Secret{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	closed := make(chan struct{})
	go func() { w.Close(); close(closed) }()
	close(let)
	<-closed
	if a, err := w.account("maya"); err != nil || !a.Renewed.Equal(w.Now()) {
		t.Errorf("renewed %v %v", a.Renewed, err)
	}
	w.pass(11 * time.Minute)
	if _, err := w.ask("mayas"); !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
}

// TestConsenting: who may connect clients to an upstream may connect an account there, which goes when the owner is removed.
func TestConsenting(t *testing.T) {
	w := open(t)
	w.do(func(c *registry.Change) error {
		_, err := c.PutOwner(identity.Owner{ID: "kim", Name: "Kim Sato", Email: "kim@example.com"})
		return err
	})
	if _, _, err := w.Begin(t.Context(), "notes", "kim", "s", registry.Self); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without any part in it: %v", err)
	}
	u := w.notes()
	u.Consent.Owners = []identity.OwnerID{"kim"}
	w.put(u)
	w.connect("kim")
	w.do(func(c *registry.Change) error {
		u.Consent.Owners = nil
		_, err := c.PutUpstream(u, nil)
		return errors.Join(err, c.RemoveOwner("kim"))
	})
	if _, err := w.account("kim"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	w.eventually("it is given up", func() bool { return len(w.as.gone()) == 1 })
}

// FuzzCallback: nothing that a browser can bring but a code of the server's connects an account, and what it brought once it
// cannot bring again.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{"code=x&state=STATE&iss=ISS", "state=STATE", "state=STATE&state=STATE&code=x", "error=access_denied&state=STATE&iss=ISS", "code=x&state=&iss=ISS", "code=x&code=y&state=STATE&iss=ISS", "state=STATE&iss=ISS/&code=x", "%zz", "state=STATE;code=x"} {
		f.Add(seed)
	}
	w := open(f)
	f.Fuzz(func(t *testing.T, raw string) {
		w.TB = t
		q, err := url.ParseQuery(must(url.Parse(w.begin("maya", "s"))).RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := url.ParseQuery(strings.NewReplacer("STATE", q.Get("state"), "ISS", url.QueryEscape(w.as.URL)).Replace(raw))
		if err != nil {
			return
		}
		for range 2 {
			if w.finish("maya", "s", answer) == nil {
				t.Fatalf("connected by %q", raw)
			}
		}
		if _, err := w.account("maya"); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
	})
}
