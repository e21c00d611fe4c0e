package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// start registers a child of bot; without a grant it has bot's rights.
func (w *world) start(name string, parent identity.Link, grants ...*policy.Grant) {
	w.t.Helper()
	w.apply(feed.Change{Identity: &identity.Identity{ID: id(name), Owner: "maya", Purpose: "tests", Environment: "production", State: identity.Active, Expires: time.Now().Add(time.Hour),
		Parent: parent, Inherits: len(grants) == 0}})
	w.apply(feed.Change{Credential: &identity.Credential{ID: "cred_" + name, Identity: id(name), Kind: identity.PrivateKeyJWT, Thumbprint: "t-" + name, Expires: time.Now().Add(time.Hour)}})
	for _, g := range grants {
		w.apply(feed.Change{Grant: g})
	}
}

// asChild is a token of an identity with all that are above it.
func (w *world) asChild(name string) string {
	w.t.Helper()
	c := w.claims(name)
	line, err := w.view.Line(id(name), time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	c.Chain = line
	return w.mint(c)
}

// TestChild: a child does what it and all above it may, from one request to the next, and while it runs.
func TestChild(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/once" {
			ticking(rw, r)
		}
	}))
	read := &policy.Grant{ID: "narrow/read", Identity: id("narrow"), Upstream: "mail", Actions: []string{"read"}, Cedar: `permit(principal, action in Lanyard::Action::"read", resource);`, Until: time.Now().Add(time.Hour)}
	try := func(method, raw string) (int, string) {
		res, body := w.do(w.request(method, "/mail/once", raw, nil))
		return res.StatusCode, body
	}
	w.start("kid", identity.Link{ID: id("bot")})
	w.start("toddler", identity.Link{ID: id("kid")})
	w.start("narrow", identity.Link{ID: id("bot")}, read)
	w.start("wide", identity.Link{ID: id("narrow")}, all("wide")) // more than its parent
	for _, c := range []struct {
		name, method string
		status       int
		says         string
	}{
		{"kid", "POST", 200, ""}, {"toddler", "POST", 200, ""}, {"narrow", "GET", 200, ""},
		{"narrow", "POST", 403, "narrow may not do"}, {"wide", "POST", 403, "narrow may not do"}, {"wide", "GET", 200, ""},
	} {
		if status, body := try(c.method, w.asChild(c.name)); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: %d %s", c.method, c.name, status, body)
		}
	}
	alone := w.claims("kid")
	if status, body := try("GET", w.mint(alone)); status != 403 || !strings.Contains(body, "not behind this request") {
		t.Errorf("a child without its parent: %d %s", status, body)
	}
	for _, c := range []struct {
		name, runs string
		stop       feed.Change
	}{
		{"the parent's grant goes", "toddler", feed.Change{Grant: all("bot"), Removed: true}},
		{"its own grant goes", "narrow", feed.Change{Grant: read, Removed: true}},
		{"the root is killed", "toddler", feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: time.Now()}}},
		{"the one between is killed", "toddler", feed.Change{Kill: &feed.Kill{ID: "kill_2", Identities: ids("kid"), At: time.Now()}}},
		{"the root is suspended", "toddler", feed.Change{Identity: &identity.Identity{ID: id("bot"), Owner: "maya", Environment: "production", State: identity.Suspended, Expires: time.Now().Add(time.Hour)}}},
		{"a rail for the parent", "kid", feed.Change{Guardrail: &policy.Guardrail{ID: "no-bot", Cedar: `forbid(principal == Lanyard::Agent::"spiffe://lanyard.local/agent/bot", action, resource);`}}},
	} {
		w.enrol("bot")
		w.start("kid", identity.Link{ID: id("bot")})
		w.apply(feed.Change{Grant: read})
		w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "no-bot"}, Removed: true})
		raw := w.asChild(c.runs)
		res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", raw, nil))
		if err != nil || res.StatusCode != 200 {
			t.Fatal(c.name, res.StatusCode, err)
		}
		w.apply(c.stop)
		if cutShort(t, res.Body) == nil {
			t.Errorf("%s: the stream ended as if it were whole", c.name)
		}
		res.Body.Close()
		if status, body := try("GET", raw); status != 401 && status != 403 {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
	}
}

// TestOffers: a child is shown what it and all above it may do.
func TestOffers(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(ticking))
	w.start("kid", identity.Link{ID: id("bot")})
	up, _ := w.view.Upstream("mail")
	offered := func(class policy.Class, args map[string]any) bool {
		r := newRequest(w.g)
		line, _ := w.view.Line(id("kid"), time.Now())
		for i, l := range line {
			s, _ := w.view.Subject(l.ID)
			set, err := s.Set()
			if err != nil {
				t.Fatal(err)
			}
			r.sets[i] = set
		}
		return r.offers(policy.Request{Call: policy.Call{Upstream: "mail", Action: "things.x", Class: class, Arguments: args}, Upstream: up, Now: time.Now(), Chain: line})
	}
	for _, args := range []map[string]any{nil, {"a": "b"}} {
		w.enrol("bot")
		if !offered(policy.Read, args) {
			t.Error("what its parent may is not shown", args)
		}
		w.apply(feed.Change{Grant: all("bot"), Removed: true})
		if offered(policy.Read, args) {
			t.Error("what its parent may not is shown", args)
		}
	}
}
