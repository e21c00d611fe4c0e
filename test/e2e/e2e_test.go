package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/test/port"
)

// TestDemonstration is make run, twice on one data folder: after the cord was
// pulled, the second must bring the agent back with a new key.
func TestDemonstration(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "lyd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	manifest, err := os.ReadFile("../../examples/office/office.yaml")
	if err != nil {
		t.Fatal(err)
	}
	desk := port.Free()
	text := strings.NewReplacer("http://127.0.0.1:8442", "http://"+desk, "../../data/office/", "./data/office/").Replace(string(manifest))
	if err := os.WriteFile(filepath.Join(dir, "office.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	tools, err := os.ReadFile("../../examples/office/tools.json")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "tools.json"), tools, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		c := exec.Command(filepath.Join(bin, "office-run"), "--once", "--bin", bin, "--data", "data", "--manifests", "office.yaml",
			"--listen", port.Free(), "--gateway-listen", port.Free(), "--office-listen", desk)
		c.Dir = dir
		b, err := c.CombinedOutput()
		out := string(b)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		at := 0
		for _, want := range []string{
			"3 messages about invoices", "403 invoice-bot may not do gmail.users.messages.send (write) on mail", "Priya Shah, owner of mail, can grant more",
			"The tools I am told of: find_mail\n", "find_mail: 3 messages", "may not do tools.send_mail (write) on tools",
			"403 Guardrail no-mail-rules refuses this",
			"refused: invoice-bot may not do gmail.users.messages.send", "lanyard grant put invoice-bot send --upstream mail",
			"I started spiffe://lanyard.local/agent/invoice-bot.counter-", "It counts 3 messages", "may not do gmail.users.messages.get (read) on mail",
			"403 This needs approval: grant invoice-bot/draft-replies asks for the yes of owner. Maya Lind can approve it at http://", "May invoice-bot do this?",
			"POST /gmail/v1/users/me/drafts", "Subject: Re: Invoice 2041", "maya approved it once", "The draft is there.", "403 This needs approval",
			"guardrail hijack-destination is in force", "is open for assistant", "says to me: Ignore your earlier instructions", "This needs approval: guardrail hijack-destination asks for the yes of owner", "May assistant do this?",
			`recipients: "archive@helpful.example" was first seen in text that anybody may have written`, "Subject: All invoices", "maya said no: I never asked for that", "maya denied it", "Sent to ben@example.com: Northwind Paper asks for EUR 412.60.", "invoice-bot (maya)  gmail.users.settings.updateAutoForwarding on mail",
			"killed  spiffe://lanyard.local/agent/invoice-bot", "in force at gateway-1", "It did not work: ", "events are what was recorded",
		} {
			i := strings.Index(out[at:], want)
			if i < 0 {
				t.Fatalf("round %d: %q is missing, or not in its place:\n%s", round, want, out)
			}
			at += i
		}
		if round == 1 && !strings.Contains(out, "restored  spiffe://lanyard.local/agent/invoice-bot") {
			t.Errorf("the second run did not restore:\n%s", out)
		}
	}
}

// TestGuarded: what is granted goes through, all else is refused with a reason, and all of it is on record.
func TestGuarded(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	if out := h.do(h.asReader("GET", profile)...); !strings.Contains(out, "maya@example.com") {
		t.Errorf("profile: %s", out)
	}
	h.fails(3, "reader may not do gmail.users.messages.delete (delete) on mail: its grants there cover only read; Maya Lind, owner of mail, can grant more.", h.asReader("DELETE", "/gmail/v1/users/me/messages/1")...)
	h.fails(3, "the conditions of its grants do not cover them", h.asReader("GET", "/gmail/v1/users/other/profile")...)
	h.fails(3, "description does not have", h.asReader("GET", "/admin")...)
	h.fails(3, "holds no grant", h.call("drive", "GET", "/drive/v3/files", "--as", "reader", "--key", "reader.key.jwk")...)
	for _, want := range []string{"allowed  reader (maya)  gmail.users.getProfile on mail", "refused  reader (maya)  gmail.users.messages.delete on mail"} {
		h.eventually(want, func() bool { return strings.Contains(h.do("audit", "search", "--identity", "reader"), want) })
	}
	if out := h.do("explain", "reader", "mail", "GET", profile); !strings.HasPrefix(out, "allowed: Granted by reader/read-mail") {
		t.Error(out)
	}
	if out := h.do("explain", "reader", "mail", "--action", "gmail.users.messages.send"); !strings.HasPrefix(out, "refused: reader may not do") {
		t.Error(out)
	}
	b, err := os.ReadFile(filepath.Join(h.data, "lanyard.db"))
	wal, _ := os.ReadFile(filepath.Join(h.data, "lanyard.db-wal"))
	if err != nil || strings.Contains(string(b)+string(wal)+h.log.String(), h.secret) {
		t.Errorf("the office's secret lies about unsealed (%v)", err)
	}
}

// TestCord: the very next call is refused, for each of the ways to end something, by the gateway itself.
func TestCord(t *testing.T) {
	t.Parallel()
	h := build(t, "--allow-bearer")
	h.settle()
	h.do("identity", "register", "keyed", "--kind", "api_key", "--owner", "maya", "--purpose", "Old client")
	keyed := func() string {
		return h.first(`(lyd_\S+)`, h.do("credential", "add", "keyed", "--api-key"))
	}
	h.do("grant", "put", "keyed", "read-mail", "--upstream", "mail", "--action", "read")
	works := func(token string, want bool) {
		t.Helper()
		if status, body := h.get(h.gate+"/mail"+profile, token); (status == 200) != want {
			t.Errorf("status %d %s, want it to work: %v", status, body, want)
		}
	}
	key := keyed()
	token := h.badge("keyed", key)
	works(token, true)
	for name, end := range map[string]struct{ stop, undo []string }{
		"identity": {[]string{"kill", "keyed"}, []string{"restore", "keyed"}},
		"owner":    {[]string{"kill", "--owner", "maya"}, []string{"restore", "--owner", "maya"}},
		"all":      {[]string{"kill", "--all"}, []string{"restore", "--all"}},
		"upstream": {[]string{"kill", "--upstream", "mail"}, []string{"restore", "--upstream", "mail"}},
	} {
		works(token, true)
		if out := h.do(append(end.stop, "--reason", "test")...); !strings.Contains(out, "in force at gateway-1") || strings.Contains(out, "NOT yet") {
			t.Errorf("%s: the receipt says\n%s", name, out)
		}
		works(token, false)
		h.do(append(end.undo, "--reason", "test")...)
		works(token, name == "upstream") // an identity's old token stays dead
		if name != "upstream" {
			key = keyed()
			token = h.badge("keyed", key)
		}
	}
	h.fails(3, "revoked", h.asReader("GET", profile)...) // it fell with its owner, and its key stays dead
	works(token, true)
	h.do("revoke", "token", token, "--reason", "seen in a log")
	works(token, false)
	token = h.badge("keyed", key)
	h.do("revoke", "grant", "keyed/read-mail", "--reason", "over")
	works(token, false)
	h.do("grant", "put", "keyed", "read-mail", "--upstream", "mail", "--action", "read")
	works(token, true)
	var who struct {
		Credentials []struct{ ID, Revoked string }
	}
	h.json(&who, "identity", "show", "keyed")
	for _, c := range who.Credentials {
		if c.Revoked == "" {
			h.do("revoke", "credential", c.ID, "--reason", "rotated")
		}
	}
	works(token, false)
	key = keyed()
	token = h.badge("keyed", key)
	h.do("identity", "suspend", "keyed")
	works(token, false)
	h.do("identity", "resume", "keyed")
	works(token, true)
	h.do("keys", "rotate")
	works(token, true)
	works(h.badge("keyed", key), true)
	h.stop()
	h.start()
	works(token, true) // a restart forgets neither keys nor what is good
	h.do("kill", "keyed", "--reason", "the end")
	h.stop()
	h.start()
	works(token, false)
	h.do("audit", "verify")
}

// TestExpiry: an identity stops by itself at its end.
func TestExpiry(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.do("identity", "register", "reader", "--owner", "maya", "--purpose", "Reads mail", "--expires", time.Now().Add(6*time.Second).UTC().Format(time.RFC3339))
	h.eventually("reader has expired", func() bool { return h.try(h.asReader("GET", profile)...).code == 3 })
	h.eventually("the state says so", func() bool { return strings.Contains(h.do("identity", "show", "reader"), "expired") })
	h.do("identity", "renew", "reader", "--expires", "10d")
	h.do(h.asReader("GET", profile)...)
}

// TestOwnerGone: what a leaving owner owned goes to the backup; without one it stops.
func TestOwnerGone(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.do("owner", "gone", "maya")
	if out := h.do("identity", "show", "reader"); !strings.Contains(out, "ben  Ben Okafor") {
		t.Error(out)
	}
	h.do(h.asReader("GET", profile)...)
	h.do("owner", "gone", "ben")
	h.fails(3, "suspended", h.asReader("GET", profile)...)
}

// TestApply: dry runs, mistakes with their places, all or nothing, and nothing the second time.
func TestApply(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.do("keygen", "bot")
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(h.dir, "m.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	good := `set: test
owners:
  maya: {name: Maya Lind, email: maya@example.com}
upstreams:
  mail:
    url: ` + h.office + `
    owner: maya
    description: {google: gmail/v1}
    credential: {prefix: "Bearer ", value_from: {env: OFFICE_SECRET}}
identities:
  bot:
    kind: agent
    owner: maya
    purpose: Reads mail
    credentials: [{public_key: ./bot.jwk}]
    grants:
      read: {upstream: mail, actions: [read], until: 30d}
guardrails:
  no-admin: {cedar: 'forbid(principal, action in Lanyard::Action::"admin", resource);'}
`
	bad := strings.NewReplacer("email: maya@example.com", "emial: maya@example.com", "kind: agent", "kind: agnet", "upstream: mail,", "upstream: nail,",
		`Action::"admin"`, `Action::"admin`, "owner: maya\n    purpose", "owner: mya\n    purpose").Replace(good)
	write(bad)
	r := h.try("apply", "-f", "m.yaml", "--yes")
	if r.code != 3 || strings.Count(r.err, "m.yaml:") < 3 {
		t.Errorf("mistakes: exit %d\n%s", r.code, r.err)
	}
	for _, want := range []string{"m.yaml:3:", "did you mean email?", "m.yaml:12:", "did you mean agent?"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is missing in\n%s", want, r.err)
		}
	}
	if out := h.do("owner", "list"); strings.Contains(out, "maya") {
		t.Errorf("something was kept:\n%s", out)
	}
	write(good)
	h.fails(2, "+ identity bot", "apply", "-f", "m.yaml", "--dry-run")
	h.fails(64, "--yes", "apply", "-f", "m.yaml")
	h.do("apply", "-f", "m.yaml", "--yes")
	if out := h.do("apply", "-f", "m.yaml", "--dry-run"); !strings.Contains(out, "nothing to do") {
		t.Errorf("the second time: %s", out)
	}
	write(strings.Replace(good, "      read: {upstream: mail, actions: [read], until: 30d}\n", "      peek: {upstream: mail, actions: [gmail.users.getProfile]}\n", 1))
	if out := h.do("apply", "-f", "m.yaml", "--yes"); !strings.Contains(out, "+ grant bot/peek") || !strings.Contains(out, "- grant bot/read") {
		t.Error(out)
	}
	h.do("kill", "bot", "--reason", "test")
	if out := h.do("apply", "-f", "m.yaml", "--yes"); !strings.Contains(out, "bot is killed, and apply does not bring it back") {
		t.Error(out)
	}
}

// TestRecord: an export verifies without a server, a changed byte is located, one event can be proven.
func TestRecord(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.do(h.asReader("GET", profile)...)
	key := strings.TrimSpace(h.do("audit", "key"))
	h.do("audit", "export", "out")
	if out := h.do("audit", "verify", "out", "--key", key); !strings.HasPrefix(out, "ok: ") {
		t.Error(out)
	}
	file := filepath.Join(h.dir, "out", "events.jsonl")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(b), "\n")
	for name, change := range map[string]string{
		"changed":   strings.Join(lines[:4], "") + strings.Replace(lines[4], "maya", "mayo", 1) + strings.Join(lines[5:], ""),
		"dropped":   strings.Join(lines[:4], "") + strings.Join(lines[5:], ""),
		"reordered": strings.Join(lines[:4], "") + lines[5] + lines[4] + strings.Join(lines[6:], ""),
	} {
		if err := os.WriteFile(file, []byte(change), 0o644); err != nil {
			t.Fatal(err)
		}
		r := h.try("audit", "verify", "out", "--key", key)
		if r.code != 4 || !strings.Contains(r.out, "line 5") {
			t.Errorf("%s: exit %d\n%s%s", name, r.code, r.out, r.err)
		}
	}
	h.fails(4, "verifier key", "audit", "verify", "out", "--key", key[:len(key)-4]+"AAAA")
	if out := h.do("audit", "prove", "3"); !strings.Contains(out, "proven: event 3") {
		t.Error(out)
	}
	h.fails(3, "there is no event", "audit", "prove", "99999")
	h.do("audit", "verify")
	tail := exec.Command(filepath.Join(bin, "lanyard"), "--data", h.data, "audit", "tail", "--type", "identity")
	out, err := os.Create(filepath.Join(h.dir, "tail"))
	if err != nil {
		t.Fatal(err)
	}
	tail.Stdout = out
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { tail.Process.Signal(syscall.SIGTERM); tail.Wait() }()
	h.do("identity", "suspend", "reader", "--reason", "a test of the tail")
	h.eventually("the tail shows it", func() bool {
		b, _ := os.ReadFile(out.Name())
		return strings.Contains(string(b), "identity.suspend") && strings.Contains(string(b), "a test of the tail")
	})
}

// TestCommands: codes, JSON everywhere, errors that say what to do.
func TestCommands(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	for _, args := range [][]string{{"owner", "list"}, {"identity", "list"}, {"identity", "show", "reader"}, {"upstream", "list"}, {"upstream", "actions", "mail"}, {"guardrail", "list"},
		{"guardrail", "schema"}, {"grant", "show", "reader/read-mail"}, {"keys", "list"}, {"status"}, {"audit", "verify"}, {"audit", "key"}, {"explain", "reader", "mail", "GET", profile}, {"version"}, {"doctor"}, {"pack", "list"}, {"pack", "show", "hijack"}} {
		var v any
		h.json(&v, args...)
	}
	h.do("pack", "put", "hijack")
	if out := h.do("guardrail", "list"); !strings.Contains(out, "hijack-destination") {
		t.Errorf("the pack is not in force:\n%s", out)
	}
	h.do("pack", "remove", "hijack")
	if out := h.do("guardrail", "list"); strings.Contains(out, "hijack-") {
		t.Errorf("the pack is still in force:\n%s", out)
	}
	h.fails(64, `there is no pack "hijak"; there is reader`, "pack", "put", "hijak")
	if err := os.WriteFile(filepath.Join(h.dir, "known.yaml"), []byte("members: [maya]\nroles: {gmail.users.messages.list.q: content}\nlabels: {gmail.*: [private]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	put := []string{"upstream", "put", "mail", "--url", h.office, "--google", "gmail/v1", "--owner", "maya", "--credential-env", "OFFICE_SECRET", "--provenance", "known.yaml"}
	h.do(put...)
	if err := os.WriteFile(filepath.Join(h.dir, "known.yaml"), []byte("roles: {gmail.users.messages.list.nothing: content}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h.fails(3, "there is no such argument", put...)
	h.fails(64, `unknown command "frobnicate" for "lanyard"; see lanyard --help`, "frobnicate")
	h.fails(64, "unknown flag", "kill", "--now")
	h.fails(64, `required flag(s) "reason" not set; see lanyard kill --help`, "kill", "reader")
	h.fails(64, `required flag(s) "owner", "purpose" not set`, "identity", "register", "new")
	h.fails(64, `required flag(s) "email", "name" not set`, "owner", "put", "new")
	h.fails(64, `required flag(s) "cedar" not set`, "guardrail", "put", "new")
	h.fails(64, "give one of --public-key, --certificate and --api-key", "credential", "add", "reader")
	h.fails(1, "is there already; name a folder that is not", "audit", "export", h.data)
	if err := os.WriteFile(filepath.Join(h.dir, "sharing.cedar"), []byte(`forbid (principal, action in Lanyard::Action::"file.share", resource);`), 0o644); err != nil {
		t.Fatal(err)
	}
	h.fails(3, `no upstream has an action or word "file.share"; lanyard upstream actions lists those of one`, "guardrail", "put", "no-sharing", "--cedar", "sharing.cedar")
	if out := h.do("kill", "reader", "--reason", "x", "--dry-run"); !strings.Contains(out, "\n1 identity, 1 credential\n") {
		t.Errorf("how much would stop:\n%s", out)
	}
	if out := h.do("explain", "reader", "mail", "--action", "gmail.users.messages.send"); strings.Contains(out, "resource") {
		t.Errorf("it says a resource that nobody named:\n%s", out)
	}
	if out := h.do("audit", "search", "--type", "grant.put", "--limit", "1"); !strings.Contains(out, "allowed  operator:local:root  grant.put reader (maya)") {
		t.Errorf("whose agent it is stands with who did it:\n%s", out)
	}
	var given struct {
		Metadata struct{ UID string } `json:"metadata"`
	}
	h.json(&given, "audit", "search", "--type", "grant.put", "--limit", "1")
	if out := h.do("explain", given.Metadata.UID); strings.Contains(out, "refused") || !strings.Contains(out, "nothing to ask about now") {
		t.Errorf("what is no request is explained as one:\n%s", out)
	}
	h.fails(64, "identity --help", "identity", "frobnicate")
	h.fails(64, "use text or json", "status", "-o", "yaml")
	h.fails(3, "there is no identity \"nobody\"", "kill", "nobody", "--reason", "x")
	h.fails(1, "no Lanyard is running", "status", "--data", filepath.Join(h.dir, "elsewhere"))
	h.fails(1, "in use by process", "serve", "--data", h.data, "--listen", port.Free(), "--gateway-listen", port.Free())
	h.fails(64, "without TLS", "serve", "--data", filepath.Join(h.dir, "x"), "--listen", "0.0.0.0:0")
	h.fails(1, "a key is not replaced", "keygen", "reader")
	if out := h.do("completion", "bash"); !strings.Contains(out, "lanyard") {
		t.Error("no completion")
	}
	if out := h.do("doctor"); !strings.Contains(out, "upstream mail can be reached") {
		t.Error(out)
	}
	os.Chmod(filepath.Join(h.data, "seal.key"), 0o644)
	h.fails(1, "others may read", "doctor")
}

// TestAdminToken: shown once, good over the network, dead when there is a new one.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	h := build(t)
	token := h.first(`(lyd_admin_\w+)`, h.log.String())
	if status, body := h.get(h.control+"/v1/status", token); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	for _, wrong := range []string{"", "x", "lyd_admin_00", token + "0"} {
		if status, body := h.get(h.control+"/v1/status", wrong); status != 401 || strings.Contains(body, "trust_domain") {
			t.Errorf("with %q: %d %s", wrong, status, body)
		}
	}
	h.Setenv("LANYARD_ADMIN_TOKEN", token)
	if out := h.do("--server", h.control, "status"); !strings.Contains(out, "trust domain") {
		t.Error(out)
	}
	h.fails(3, "on the machine itself", "--server", h.control, "token", "admin")
	h.do("token", "admin")
	if status, _ := h.get(h.control+"/v1/status", token); status != 401 {
		t.Errorf("the old token is still good: %d", status)
	}
	if status, body := h.get(h.control+"/openapi.json", ""); status != 200 || !strings.Contains(body, `"3.1.0"`) {
		t.Errorf("openapi: %d", status)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/.well-known/oauth-authorization-server"} {
		if status, _ := h.get(h.control+path, ""); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	h.stop()
	h.start()
	if strings.Contains(h.log.String(), "lyd_admin_") {
		t.Error("the token is shown again")
	}
}

// TestCrash: kill -9 in the middle of changes loses nothing that a command was told had happened.
func TestCrash(t *testing.T) {
	t.Parallel()
	h := build(t)
	var acked []string
	for round := range 8 {
		stop := time.Now().Add(time.Duration(60+37*round) * time.Millisecond)
		for i := 0; time.Now().Before(stop); i++ {
			name := fmt.Sprintf("o%d-%d", round, i)
			h.do("owner", "put", name, "--name", name, "--email", name+"@example.com")
			acked = append(acked, name)
		}
		last := exec.Command(filepath.Join(bin, "lanyard"), "--data", h.data, "owner", "put", fmt.Sprint("last", round), "--name", "x", "--email", "x@example.com")
		if err := last.Start(); err != nil {
			t.Fatal(err)
		}
		h.serve.Process.Kill()
		h.serve.Wait()
		last.Wait() // it worked or it did not: both are fine, half is not
		h.start()
	}
	out := h.do("owner", "list")
	for _, name := range acked {
		if !strings.Contains(out, name+" ") {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
	h.do("audit", "verify")
}
