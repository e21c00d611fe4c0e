package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/test/port"
)

// TestFiveMistakes: a file with many mistakes lists each at its place, and nothing is changed.
func TestFiveMistakes(t *testing.T) {
	t.Parallel()
	h := build(t)
	before := h.do("audit", "key") + h.do("status", "-o", "json")
	text := `set: test
owners:
  maya: {name: Maya Lind, emial: maya@example.com}
upstreams:
  mail:
    url: ftp://office.example
    owner: maya
    description: {google: gmail/v1}
identities:
  bot:
    kind: agnet
    owner: maya
    purpos: Reads mail
    expires: soon
`
	if err := os.WriteFile(filepath.Join(h.dir, "five.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"--yes", "--dry-run"} {
		r := h.try("apply", "-f", "five.yaml", how)
		if r.code != 3 || r.out != "" || !strings.Contains(r.err, "nothing was changed") {
			t.Errorf("%s: exit %d\n%s%s", how, r.code, r.out, r.err)
		}
		at := 0
		for _, want := range []string{"five.yaml:3:27: ", "did you mean email?", "five.yaml:6:10: ", "five.yaml:11:11: ", "did you mean agent?", "five.yaml:13:5: ", "did you mean purpose?", "five.yaml:14:14: "} {
			i := strings.Index(r.err[at:], want)
			if i < 0 {
				t.Fatalf("%s: %q is missing, or not in its place:\n%s", how, want, r.err)
			}
			at += i
		}
	}
	if after := h.do("audit", "key") + h.do("status", "-o", "json"); size(t, before) != size(t, after) {
		t.Error("the record grew")
	}
}

// size is the number of events in what lanyard status -o json printed after a key.
func size(t *testing.T, s string) (n int) {
	t.Helper()
	var status struct{ Ledger struct{ Size int } }
	if err := json.Unmarshal([]byte(s[strings.IndexByte(s, '{'):]), &status); err != nil {
		t.Fatal(err)
	}
	return status.Ledger.Size
}

// TestEnvironment: every flag can come from the environment, and what is secret there is not said aloud.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.Setenv("LANYARD_OUTPUT", "json")
	var list []any
	if err := json.Unmarshal([]byte(h.do("owner", "list")), &list); err != nil || len(list) != 2 {
		t.Errorf("LANYARD_OUTPUT: %v, %d owners", err, len(list))
	}
	h.Setenv("LANYARD_OUTPUT", "xml")
	h.fails(64, "use text or json", "status")
	h.do("status", "-o", "text") // the flag wins
	h.Setenv("LANYARD_OUTPUT", "text")
	h.Setenv("LANYARD_API_KEY", "lyd_hush") // what lanyard call reads, and not the flag --api-key
	h.do("keygen", "second")
	if r := h.try("credential", "add", "reader", "--public-key", "second.jwk"); r.code != 0 || strings.Contains(r.out+r.err, "lyd_") {
		t.Errorf("credential add: exit %d\n%s%s", r.code, r.out, r.err)
	}
}

// TestExitCodes: 64 is for the command line, and a word in a message does not make it that.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.fails(1, "no such file", "apply", "-f", "flags.yaml", "--yes")
	h.fails(1, "no such file", "guardrail", "put", "x", "--cedar", "flags.cedar")
	h.fails(1, "no such file", "call", "mail", "GET", "/", "--as", "reader", "--key", "arg(s).jwk")
	h.fails(64, "required flag", "kill", "reader")
	h.fails(64, "accepts 1 arg(s)", "keygen")
	h.fails(64, "accepts at most 1 arg(s)", "kill", "a", "b", "--reason", "x")
	h.fails(64, "unknown shorthand flag", "status", "-z")
	h.fails(64, "flag needs an argument", "kill", "reader", "--reason")
	h.fails(64, "unknown command", "token", "admin", "extra")
	h.fails(64, "invalid argument", "audit", "search", "--limit", "many")
	h.fails(64, "use token, credential, grant", "revoke", "owner", "maya", "--reason", "x")
	h.fails(3, "exactly one of", "kill", "--reason", "x")
	h.fails(3, "exactly one of", "kill", "reader", "--all", "--reason", "x")
	h.fails(3, "exactly one of", "restore", "--reason", "x")
	h.fails(3, "nothing to restore", "restore", "reader", "--reason", "x")
	h.fails(3, "there is no credential", "revoke", "credential", "cred_none", "--reason", "x")
	h.fails(3, "has passed", "identity", "register", "late", "--owner", "maya", "--purpose", "x", "--expires", "2020-01-01")
	h.fails(3, "365 days", "identity", "register", "long", "--owner", "maya", "--purpose", "x", "--expires", "9y")
	h.fails(3, `no owner "nobody"`, "identity", "register", "lost", "--owner", "nobody", "--purpose", "x")
	h.fails(64, `required flag(s) "purpose"`, "identity", "register", "idle", "--owner", "maya")
	h.fails(3, "purpose", "identity", "register", "idle", "--owner", "maya", "--purpose", " ")
	h.fails(1, "LANYARD_ADMIN_TOKEN", "--server", h.control, "status")
	h.Setenv("LANYARD_ADMIN_TOKEN", "lyd_admin_wrong")
	h.fails(3, "sends the admin token", "--server", h.control, "status")
	closed := "http://" + port.Free()
	h.fails(1, closed+" cannot be reached", "--server", closed, "status")
	if out := h.do("identity", "list"); strings.Contains(out, "late") || strings.Contains(out, "long") || strings.Contains(out, "lost") || strings.Contains(out, "idle") {
		t.Errorf("something was kept:\n%s", out)
	}
}

// TestHints: a command that a message names is one that there is.
func TestHints(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	for _, args := range [][]string{{"revoke", "credential", "cred_none", "--reason", "x"}, {"revoke", "grant", "reader/none", "--reason", "x"}, {"revoke", "grant", "none/none", "--reason", "x"},
		{"identity", "show", "none"}, {"owner", "gone", "none"}, {"upstream", "remove", "none"}, {"guardrail", "remove", "none"}, {"kill", "--upstream", "none", "--reason", "x"}, {"upstream", "actions", "none"}} {
		r := h.try(args...)
		if r.code != 3 {
			t.Errorf("lanyard %v: exit %d\n%s%s", args, r.code, r.out, r.err)
		}
		hint := strings.Fields(h.first(`; (lanyard [a-z]+ [a-z]+)`, r.err))
		if help := h.try(append(hint[1:], "--help")...); !strings.Contains(help.out, "\n  "+strings.Join(hint, " ")) {
			t.Errorf("lanyard %v says %s, which there is not:\n%s", args, strings.Join(hint, " "), r.err)
		}
	}
}

// TestJSON: the lines that tail and search print are JSON, each an event.
func TestJSON(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.do(h.asReader("GET", profile)...)
	for _, args := range [][]string{{"audit", "search"}, {"audit", "search", "--class", "read", "--outcome", "allowed", "--upstream", "mail", "--owner", "maya", "--action", "gmail.*"}, {"audit", "search", "--type", "token", "--since", "1h"}} {
		h.eventually(fmt.Sprint(args), func() bool { return h.do(append(args, "-o", "json")...) != "" })
		for line := range strings.Lines(h.do(append(args, "-o", "json")...)) {
			var e struct {
				Class int `json:"class_uid"`
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Class == 0 {
				t.Errorf("lanyard %v: %v in %s", args, err, line)
			}
		}
	}
	for _, args := range [][]string{{"audit", "prove", "1"}, {"audit", "export", "out"}, {"audit", "verify", "out"}, {"kill", "reader", "--reason", "x", "--dry-run"}, {"explain", "reader", "mail", "--action", "gmail.users.messages.send"},
		{"keygen", "other"}, {"credential", "add", "reader", "--public-key", "other.jwk"}, {"identity", "suspend", "reader"}, {"identity", "resume", "reader"}, {"keys", "rotate"}, {"token", "admin"}, {"kill", "reader", "--reason", "x"}, {"restore", "reader", "--reason", "x"}} {
		var v map[string]any
		h.json(&v, args...)
	}
	for _, args := range [][]string{{"upstream", "list"}, {"owner", "list"}, {"identity", "list"}, {"guardrail", "list"}, {"keys", "list"}} {
		var v []any
		if h.json(&v, args...); v == nil {
			t.Errorf("lanyard %v: null is no list", args)
		}
	}
}
