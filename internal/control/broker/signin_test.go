package broker_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

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
