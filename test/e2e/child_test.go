package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/client"
)

// parent lets reader start children and returns how it acts.
func (h *house) parent(flags ...string) *client.Source {
	h.Helper()
	h.do(append([]string{"identity", "register", "reader", "--owner", "maya", "--purpose", "Reads mail"}, flags...)...)
	s, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/reader", KeyFile: filepath.Join(h.dir, "reader.key.jwk")})
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func (h *house) spawn(of *client.Source, c client.Child) (*client.Source, client.Spawned) {
	h.Helper()
	if c.Purpose == "" {
		c.Purpose = "Reads one mail"
	}
	s, made, err := of.Spawn(h.Context(), c)
	if err != nil {
		h.Fatal(err)
	}
	return s, made
}

// reads returns how a call of s ends: "200", or what it is told.
func (h *house) reads(s *client.Source, path string) string {
	h.Helper()
	res, err := s.HTTPClient(h.gate + "/mail").Get(h.gate + "/mail" + path)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatal(err)
	}
	if res.StatusCode == 200 {
		return "200"
	}
	return fmt.Sprint(res.StatusCode, " ", string(b))
}

// TestChildren: an agent starts others for its work in one call; they do what it may, under their own
// names, for as long as it may, and end with it.
func TestChildren(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	_, _, err := h.parent().Spawn(t.Context(), client.Child{Purpose: "x"})
	var no *client.Refusal
	if !errors.As(err, &no) || no.Status != 409 || !strings.Contains(no.Detail, "reader may start no children; an operator can allow") {
		t.Fatal(err)
	}
	reader := h.parent("--children", "3", "--depth", "2")
	kid, k := h.spawn(reader, client.Child{Name: "one"})
	toddler, td := h.spawn(kid, client.Child{Expires: "30m"})
	narrow, n := h.spawn(reader, client.Child{Grants: []client.Lend{{Upstream: "mail", Actions: []string{"gmail.users.messages.list"}}}})
	for name, c := range map[string]struct {
		s    *client.Source
		path string
		says string
	}{
		"what its parent may":         {kid, profile, "200"},
		"and a child of its":          {toddler, profile, "200"},
		"what it was given":           {narrow, "/gmail/v1/users/me/messages", "200"},
		"what it was not given":       {narrow, profile, "403"},
		"what nobody above it may":    {toddler, "/gmail/v1/users/ben%40example.com/profile", "403"},
		"what it was given, for ben":  {narrow, "/gmail/v1/users/ben/messages", "403"},
		"the parent itself":           {reader, profile, "200"},
		"the parent, for ben as well": {reader, "/gmail/v1/users/ben/profile", "403"},
	} {
		if got := h.reads(c.s, c.path); !strings.HasPrefix(got, c.says) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if _, _, err := toddler.Spawn(t.Context(), client.Child{Purpose: "x"}); !errors.As(err, &no) || !strings.Contains(no.Detail, "may start no children") {
		t.Errorf("three deep: %v", err)
	}
	done, d := h.spawn(reader, client.Child{})
	if err := kid.End(t.Context(), d.ID); !errors.As(err, &no) || no.Status != 404 {
		t.Errorf("a sibling was ended: %v", err)
	}
	if err := reader.End(t.Context(), d.ID); err != nil || !strings.Contains(h.reads(done, profile), "invalid_client") {
		t.Errorf("its work is done: %v, %s", err, h.reads(done, profile))
	}
	h.spawn(reader, client.Child{})
	if _, _, err := reader.Spawn(t.Context(), client.Child{Purpose: "x"}); !errors.As(err, &no) || !strings.Contains(no.Detail, "has 3 children at once") {
		t.Errorf("the fourth: %v", err)
	}
	kidName, toddlerName := strings.TrimPrefix(k.ID, "spiffe://lanyard.local/agent/"), strings.TrimPrefix(td.ID, "spiffe://lanyard.local/agent/")
	if out := h.do("identity", "list"); strings.Contains(out, kidName) || !strings.Contains(out, "reader") {
		t.Error(out)
	}
	if out := h.do("identity", "list", "--children"); !strings.Contains(out, toddlerName) {
		t.Error(out)
	}
	if out := h.do("identity", "list", "--parent", "reader"); !strings.Contains(out, kidName) || strings.Contains(out, toddlerName) {
		t.Error(out)
	}
	if out := h.do("identity", "show", kidName); !strings.Contains(out, "started by   spiffe://lanyard.local/agent/reader") || !strings.Contains(out, "It may do what reader may.") || !strings.Contains(out, "1 of at most 3 at once, 1 deep") {
		t.Error(out)
	}
	if out := h.do("identity", "tree", "reader"); !strings.Contains(out, "\n  "+kidName) || !strings.Contains(out, "\n    "+toddlerName) {
		t.Error(out)
	}
	// The chain is on record, the actor is the child.
	h.eventually("the child's call is on record with all that are above it", func() bool {
		out := h.do("audit", "search", "--identity", toddlerName, "--type", "request", "-o", "json")
		return strings.Contains(out, td.ID) && strings.Contains(out, k.ID) && strings.Contains(out, "spiffe://lanyard.local/agent/reader")
	})
	// The one between is killed: it and what it started stop, nothing else does.
	if out := h.do("kill", kidName, "--reason", "test", "--dry-run"); !strings.Contains(out, toddlerName) || !strings.Contains(out, "2 identities, 2 credentials") {
		t.Error(out)
	}
	if got := h.reads(toddler, profile); got != "200" {
		t.Errorf("after a dry run: %s", got)
	}
	if out := h.do("kill", kidName, "--reason", "test"); !strings.Contains(out, "2 identities, 2 credentials") || !strings.Contains(out, "in force at") {
		t.Error(out)
	}
	for name, s := range map[string]*client.Source{"kid": kid, "toddler": toddler} {
		if got := h.reads(s, profile); !strings.Contains(got, "is killed") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if _, _, err := toddler.Spawn(t.Context(), client.Child{Purpose: "x"}); err == nil {
		t.Error("an orphan started another")
	}
	h.fails(3, "ended for good", "identity", "resume", toddlerName)
	if got := h.reads(narrow, "/gmail/v1/users/me/messages"); got != "200" {
		t.Errorf("one of its parent's: %s", got)
	}
	// Suspended and back.
	h.do("identity", "suspend", "reader", "--reason", "test")
	if got := h.reads(narrow, "/gmail/v1/users/me/messages"); !strings.Contains(got, "reader is suspended") {
		t.Error(got)
	}
	h.do("identity", "resume", "reader")
	if got := h.reads(narrow, "/gmail/v1/users/me/messages"); got != "200" {
		t.Error(got)
	}
	// Killed and restored: it comes back alone.
	out := h.do("kill", "reader", "--reason", "test")
	out = h.do("restore", "--kill", h.first(`(kill_\w+)`, out), "--reason", "test")
	if !strings.Contains(out, "restored  spiffe://lanyard.local/agent/reader ") || !strings.Contains(out, "left      "+n.ID) || !strings.Contains(out, "ended for good") {
		t.Error(out)
	}
	if got := h.reads(narrow, "/gmail/v1/users/me/messages"); got == "200" {
		t.Error("a child came back with its parent")
	}
	h.do("audit", "verify")
}

// TestChildCut: what a child runs is cut when its parent loses the right to it, and when its parent's end comes.
func TestChildCut(t *testing.T) {
	t.Parallel()
	feed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		if r.URL.Path != "/now" {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(func() { feed.CloseClientConnections(); feed.Close() })
	h := build(t)
	h.settle()
	h.do("grant", "revoke", "reader/read-mail", "--reason", "test")
	h.do("upstream", "put", "mail", "--url", feed.URL, "--owner", "maya", "--pattern", "GET /{what} -> clock.read read /{what}")
	grant := []string{"grant", "put", "reader", "read", "--upstream", "mail", "--action", "read"}
	end := time.Now().Add(time.Minute).Truncate(time.Second) // none of what ends here ends for this
	kid, k := h.spawn(h.parent("--children", "3"), client.Child{Expires: end.UTC().Format(time.RFC3339)})
	if got := h.reads(kid, "/now"); !strings.Contains(got, "holds no grant") {
		t.Errorf("of a parent without a grant: %s", got)
	}
	if len(k.Resources) != 0 || !k.Expires.Equal(end) {
		t.Errorf("%+v", k)
	}
	stream := func() (ended chan struct{}) {
		h.Helper()
		res, err := kid.HTTPClient(h.gate + "/mail").Get(h.gate + "/mail/stream")
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %+v", err, res)
		}
		ended = make(chan struct{})
		go func() {
			defer close(ended)
			defer res.Body.Close()
			_, _ = io.Copy(io.Discard, res.Body)
		}()
		return ended
	}
	over := func(what string, ended chan struct{}) {
		h.Helper()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Errorf("%s, and a child's stream still runs", what)
		}
	}
	h.do(grant...)
	one := stream()
	h.do("grant", "revoke", "reader/read", "--reason", "test")
	over("its parent's grant is gone", one)
	if got := h.reads(kid, "/now"); got == "200" {
		t.Error("its next call is allowed")
	}
	h.do(grant...)
	if got := h.reads(kid, "/now"); got != "200" {
		t.Errorf("with the grant again: %s", got)
	}
	two := stream()
	h.parent("--children", "3", "--expires", time.Now().Add(5*time.Second).UTC().Format(time.RFC3339)) // sooner than the child's end was
	over("its parent's end has come", two)
	if got := h.reads(kid, "/now"); got == "200" {
		t.Error("its next call is allowed")
	}
	if out := h.do("identity", "list", "--children"); strings.Contains(out, "active") {
		h.eventually("its end is written down", func() bool { return !strings.Contains(h.do("identity", "list", "--children"), "active") })
	}
}

// TestManyChildren: a hundred at once, each with its own key and name, and not one more.
func TestManyChildren(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	reader := h.parent("--children", "100")
	type result struct {
		id  string
		err error
	}
	all := make(chan result, 164)
	for range 164 {
		go func() {
			_, made, err := reader.Spawn(t.Context(), client.Child{Purpose: "One of many"})
			all <- result{made.ID, err}
		}()
	}
	ids, refused := map[string]bool{}, 0
	for range 164 {
		switch r := <-all; {
		case r.err == nil:
			ids[r.id] = true
		case strings.Contains(r.err.Error(), "has 100 children at once"):
			refused++
		default:
			t.Error(r.err)
		}
	}
	if len(ids) != 100 || refused != 64 {
		t.Errorf("%d were started, %d refused", len(ids), refused)
	}
	if out := h.do("kill", "reader", "--reason", "test"); !strings.Contains(out, "101 identities, 101 credentials") {
		t.Error(out)
	}
}
