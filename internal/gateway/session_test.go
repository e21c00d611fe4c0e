package gateway

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// hall keeps sessions, except at /mail/stateless.
type hall struct{ talker }

func (hall) Session(r *connector.Request) (string, bool) {
	return "Mcp-Session-Id", r.Path != "/stateless"
}

var _ connector.SessionKeeper = hall{}

// TestSession: the name of a session is good for who opened it, there, until it is killed, and for nobody else.
func TestSession(t *testing.T) {
	var seen []string
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen = r.Header["Mcp-Session-Id"]
		rw.Header().Set("Mcp-Session-Id", "upstream.name-1")
	}), func(c *Config) {
		c.Families = []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return hall{}, nil }}}
	})
	w.enrol("other")
	grant := all("bot")
	grant.ID, grant.Upstream = "bot/drive", "drive"
	w.apply(feed.Change{Grant: grant})
	tokens := map[string]string{"bot": w.mint(w.claims("bot")), "again": w.mint(w.claims("bot")), "other": w.mint(w.claims("other"))}
	drive := w.claims("bot")
	drive.Audience = testScope + "/drive"
	tokens["drive"] = w.mint(drive)
	behalf := w.claims("bot")
	behalf.Chain = identity.Chain{{ID: id("bot")}, {ID: id("other")}}
	tokens["behalf"] = w.mint(behalf)
	send := func(who, path string, session ...string) *http.Response {
		t.Helper()
		seen = nil
		r := w.request("POST", path, tokens[who], strings.NewReader("read"))
		r.Header["Mcp-Session-Id"] = session
		res, body := w.do(r)
		if res.StatusCode == 404 && !strings.Contains(body, "open a new one") {
			t.Errorf("404 says %s", body)
		}
		return res
	}
	res := send("bot", "/mail/talk")
	mine := res.Header.Get("Mcp-Session-Id")
	if mine == "" || mine == "upstream.name-1" || seen != nil {
		t.Fatalf("the session is called %q", mine)
	}
	for _, who := range []string{"bot", "again"} { // the same identity with another token
		res = send(who, "/mail/talk", mine)
		if res.StatusCode != 200 || len(seen) != 1 || seen[0] != "upstream.name-1" || res.Header.Get("Mcp-Session-Id") != mine {
			t.Errorf("%s: %s, the upstream saw %q, the caller %q", who, res.Status, seen, res.Header)
		}
	}
	mac, name, _ := strings.Cut(mine, ".")
	for why, x := range map[string][]string{
		"another identity": {"other", "/mail/talk", mine}, "another upstream": {"drive", "/drive/talk", mine}, "on behalf of another": {"behalf", "/mail/talk", mine},
		"the upstream's own name": {"bot", "/mail/talk", name}, "none": {"bot", "/mail/talk", ""}, "no MAC": {"bot", "/mail/talk", "." + name}, "no name": {"bot", "/mail/talk", mac + "."},
		"another name": {"bot", "/mail/talk", mac + "." + name + "x"}, "tampered": {"bot", "/mail/talk", "A" + mine[1:] + "A"}, "two": {"bot", "/mail/talk", mine, mine},
	} {
		if res := send(x[0], x[1], x[2:]...); res.StatusCode != 404 || seen != nil {
			t.Errorf("%s: %s, the upstream saw %q", why, res.Status, seen)
		}
	}
	if res := send("bot", "/mail/stateless", mine); res.StatusCode != 200 || seen != nil || res.Header.Get("Mcp-Session-Id") != "" {
		t.Errorf("without sessions: %s, the upstream saw %q", res.Status, seen)
	}
	w.apply(feed.Change{Identity: &identity.Identity{ID: id("bot"), Owner: "maya", Purpose: "tests", Environment: "production", State: identity.Active, Expires: drive.Expires, Generation: 1}})
	restored := w.claims("bot")
	restored.Chain = identity.Alone(id("bot"), 1)
	tokens["restored"] = w.mint(restored)
	if res := send("restored", "/mail/talk", mine); res.StatusCode != 404 {
		t.Errorf("after kill and restore: %s", res.Status)
	}
	if res := send("restored", "/mail/talk"); res.StatusCode != 200 || res.Header.Get("Mcp-Session-Id") == mine {
		t.Errorf("a new session after the restore: %s", res.Status)
	}
}

// TestSessionKey: a session goes on at a gateway with the same key, which is what one is after a restart, and at no other.
func TestSessionKey(t *testing.T) {
	key := make([]byte, 32)
	at := func(key []byte) *world {
		return newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { rw.Header().Set("Mcp-Session-Id", "one") }), func(c *Config) {
			c.SessionKey = key
			c.Families = []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return hall{}, nil }}}
		})
	}
	send := func(w *world, session ...string) *http.Response {
		w.applyUpstream(&policy.Upstream{Name: "mail", URL: "http://mail.test", Owner: "maya", Environment: "production", Family: "any", Version: 2})
		b, err := w.g.backend("mail")
		if err != nil {
			t.Fatal(err)
		}
		b.base.Host = w.back.Listener.Addr().String()
		r := w.request("POST", "/mail/talk", w.mint(w.claims("bot")), strings.NewReader("read"))
		r.Header["Mcp-Session-Id"] = session
		res, _ := w.do(r)
		return res
	}
	mine := send(at(key)).Header.Get("Mcp-Session-Id")
	if res := send(at(key), mine); res.StatusCode != 200 {
		t.Errorf("with the same key: %s", res.Status)
	}
	if res := send(at(nil), mine); res.StatusCode != 404 {
		t.Errorf("with another: %s", res.Status)
	}
	killed := at(key)
	killed.apply(feed.Change{Identity: &identity.Identity{ID: id("bot"), Owner: "maya", Purpose: "tests", Environment: "production", State: identity.Active, Expires: time.Now().Add(time.Hour), Generation: 1}})
	claims := killed.claims("bot")
	claims.Chain = identity.Alone(id("bot"), 1)
	r := killed.request("POST", "/mail/talk", killed.mint(claims), strings.NewReader("read"))
	r.Header.Set("Mcp-Session-Id", mine)
	if res, _ := killed.do(r); res.StatusCode != 404 {
		t.Errorf("after a kill: %s", res.Status)
	}
	if _, err := New(Config{URL: testScope, Issuer: issuer, Source: &plane{}, View: feed.NewView(), Rand: rand.Reader, SessionKey: []byte("short")}); err == nil {
		t.Error("a short key is taken")
	}
}

// TestOrigin: a web page does not get through to an upstream that keeps sessions.
func TestOrigin(t *testing.T) {
	n := 0
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n++ }), func(c *Config) {
		c.Families = []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return hall{}, nil }}}
	})
	raw := w.mint(w.claims("bot"))
	for origin, status := range map[string]int{"": 200, testScope: 200, strings.ToUpper(testScope): 200, "http://evil.example.com": 403, "null": 403, testScope + ".evil.com": 403, testScope + "/": 403, "x, " + testScope: 403} {
		r := w.request("POST", "/mail/talk", raw, strings.NewReader("read"))
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if res, body := w.do(r); res.StatusCode != status || status == 403 && !strings.Contains(body, "web page") {
			t.Errorf("Origin %q: %s %s", origin, res.Status, body)
		}
	}
	r := w.request("POST", "/mail/talk", raw, strings.NewReader("read"))
	r.Header["Origin"] = []string{testScope, testScope}
	if res, _ := w.do(r); res.StatusCode != 403 || n != 3 {
		t.Errorf("two origins: %s, and the upstream was asked %d times", res.Status, n)
	}
}
