package manifest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/patterns"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// key makes the nth public key (any 32 bytes are one).
func key(n int) string {
	return fmt.Sprintf(`{kty: OKP, crv: Ed25519, x: "%02dqYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, 11+n)
}

var office = `set: office
owners:
  maya: {name: Maya Lind, email: maya@example.com, backup: ben}
  ben: {name: Ben Okafor, email: ben@example.com, backup: maya}
upstreams:
  mail:
    url: http://127.0.0.1:1
    owner: maya
    description: {patterns: ["GET /m/{id} -> m.read read /m/{id}", "POST /m -> m.send write /m"]}
    credential: {prefix: "Bearer ", value_from: {env: MAIL}}
identities:
  bot:
    kind: agent
    owner: maya
    purpose: Reads mail
    expires: 90d
    credentials:
      - public_key: ` + key(0) + `
    grants:
      read: {upstream: mail, actions: [read], conditions: {id: {like: "a*"}}, until: 30d}
      send: {upstream: mail, actions: [m.send]}
guardrails:
  no-delete:
    cedar: forbid(principal, action in Lanyard::Action::"delete", resource);
`

// world is a registry to apply to.
type world struct {
	*testing.T
	r *registry.Registry
}

func open(t *testing.T) world {
	c := storetest.Config(t)
	c.Dir = t.TempDir()
	storetest.Elsewhere(t, &c)
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return world{t, &registry.Registry{Store: db, Domain: "lanyard.local", Families: []connector.Family{patterns.Family()}, Rand: c.Rand}}
}

func (w world) try(keep bool, secret string, files ...string) (plan Plan, err error) {
	in := Inputs{Secrets: map[string]string{}}
	if secret != "" {
		in.Secrets["env:MAIL"] = secret
	}
	for i, f := range files {
		in.Files = append(in.Files, File{fmt.Sprintf("f%d.yaml", i), f})
	}
	m, err := Parse(in)
	if err != nil {
		return plan, err
	}
	f := func(c *registry.Change) (err error) { plan, err = m.Apply(c); return err }
	if !keep {
		return plan, w.r.Try(w.Context(), registry.Self, f)
	}
	_, err = w.r.Do(w.Context(), registry.Self, f)
	return plan, err
}

func (w world) apply(files ...string) string {
	w.Helper()
	plan, err := w.try(true, "hush", files...)
	if err != nil {
		w.Fatal(err)
	}
	return lines(plan)
}

// lines is a plan as text: "+ owner maya | ~ ..." with its notes.
func lines(p Plan) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, map[Op]string{Create: "+", Change: "~", Remove: "-"}[s.Op]+" "+s.Noun+" "+s.Name)
	}
	return strings.Join(append(out, p.Notes...), " | ")
}

func (w world) do(f func(*registry.Change) error) {
	w.Helper()
	if _, err := w.r.Do(w.Context(), registry.Self, f); err != nil {
		w.Fatal(err)
	}
}

// TestApply: everything is made, in an order in which nothing is missing; the second time there is nothing to do.
func TestApply(t *testing.T) {
	w := open(t)
	if plan, err := w.try(false, "hush", office); err != nil || len(plan.Steps) != 8 || w.r.Store.Size() != 0 {
		t.Errorf("dry: %v %v, %d events", lines(plan), err, w.r.Store.Size())
	}
	if got, want := w.apply(office), "+ owner maya | + owner ben | + upstream mail | + guardrail no-delete | + identity bot | + credential bot/private_key_jwt | + grant bot/read | + grant bot/send"; got != want {
		t.Errorf("first\n%s\nwant\n%s", got, want)
	}
	head, size := w.r.Store.Head(), w.r.Store.Size()
	if got := w.apply(office); got != "" || w.r.Store.Head() != head || w.r.Store.Size() != size {
		t.Errorf("again: %s", got)
	}
	if plan, err := w.try(true, "", office); err != nil || !strings.Contains(lines(plan), "stays as it is: the environment variable MAIL") {
		t.Errorf("without the secret: %v %v", lines(plan), err)
	}
	if plan, err := w.try(true, "other", office); err != nil || lines(plan) != "~ upstream mail" || strings.Contains(fmt.Sprint(plan), "other") {
		t.Errorf("another secret: %v %v", plan, err)
	}
}

// TestChange: what differs is changed, and what left the set is removed; what is in no set stays.
func TestChange(t *testing.T) {
	w := open(t)
	w.apply(office, "owners: {zoe: {name: Zoe, email: zoe@example.com}}")
	for _, c := range []struct{ from, to, want string }{
		{"purpose: Reads mail", "purpose: Reads all mail", "~ identity bot"},
		{"purpose: Reads mail", "purpose: Reads mail\n    children: {at_once: 5, depth: 2}", "~ identity bot"},
		{"actions: [m.send]", "actions: [m.read, m.send]", "~ grant bot/send"},
		{"      send: {upstream: mail, actions: [m.send]}\n", "", "- grant bot/send"},
		{key(0), key(1), "+ credential bot/private_key_jwt | - credential bot/"},
		{"  no-delete:\n    cedar: forbid(principal, action in Lanyard::Action::\"delete\", resource);\n", "  {}\n", "- guardrail no-delete"},
		{"email: ben@example.com", "email: ben@example.org", "~ owner ben"},
	} {
		text := strings.Replace(office, c.from, c.to, 1)
		if text == office {
			t.Fatalf("%q is not there", c.from)
		}
		plan, err := w.try(false, "hush", text)
		if err != nil || !strings.HasPrefix(lines(plan), c.want) {
			t.Errorf("%q → %q: %s (%v), want %s", c.from, c.to, lines(plan), err, c.want)
		}
	}
	if got, want := w.apply("set: office\nowners: {maya: {name: Maya Lind, email: maya@example.com}}"), "~ owner maya | - guardrail no-delete | - identity bot | - upstream mail"; !strings.HasPrefix(got, want) {
		t.Errorf("left alone\n%s\nwant\n%s", got, want)
	}
	if err := w.r.Store.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Owner("zoe"); return err }); err != nil {
		t.Errorf("zoe, who is in no set: %v", err)
	}
}

// TestKilled: a file brings back nobody who was killed, and no key that was revoked.
func TestKilled(t *testing.T) {
	w := open(t)
	w.apply(office)
	w.do(func(c *registry.Change) error { _, err := c.Kill(registry.Aim{Identity: "bot"}, "test"); return err })
	if got := w.apply(office); !strings.HasPrefix(got, "bot is killed, and apply does not bring it back") {
		t.Error(got)
	}
	w.do(func(c *registry.Change) error { _, err := c.Restore(registry.Aim{All: true}, "test"); return err })
	if got := w.apply(office); !strings.Contains(got, "is revoked and stays so; make a new key") {
		t.Error(got)
	}
	if got := w.apply(strings.Replace(office, key(0), key(2), 1)); got != "+ credential bot/private_key_jwt" {
		t.Error(got)
	}
}

// TestMistakes: all of them at once, each at its place, and nothing is kept.
func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"member":        {"purpose:", "purpos:", `f0.yaml:15:5: an identity has no member "purpos"; did you mean purpose?`},
		"kind":          {"kind: agent", "kind: agnet", `f0.yaml:13:11: kind "agnet"; did you mean agent?`},
		"owner":         {"owner: maya\n    purpose", "owner: mya\n    purpose", `f0.yaml:14:12: identity bot: owner: there is no owner "mya"`},
		"backup":        {"backup: ben", "backup: bn", `f0.yaml:3:60: owner maya: backup: there is no owner "bn"`},
		"email":         {"email: ben@example.com", "email: ben", "f0.yaml:4:3: owner ben"},
		"expires":       {"expires: 90d", "expires: 900d", "f0.yaml:16:14: identity bot: expires: "},
		"no children":   {"expires: 90d", "expires: 90d\n    children: {at_once: 0}", "f0.yaml:17:15: identity bot: children: at_once is 1 to"},
		"half a child":  {"expires: 90d", "expires: 90d\n    children: {at_once: half}", "f0.yaml:17:25: at_once is to be a whole number"},
		"too deep":      {"expires: 90d", "expires: 90d\n    children: {at_once: 5, depth: 7}", "f0.yaml:17:15: identity bot: children: depth is 1 to 6"},
		"no end":        {"expires: 90d", "expires: soon", "f0.yaml:16:14: expires: \"soon\" is no end"},
		"upstream":      {"send: {upstream: mail", "send: {upstream: nail", `f0.yaml:21:24: grant bot/send: upstream: there is no upstream "nail"`},
		"action":        {"actions: [m.send]", "actions: [m.sned]", "f0.yaml:21:39: grant bot/send: actions: "},
		"condition":     {"conditions: {id:", "conditions: {di:", "f0.yaml:20:60: grant bot/read: conditions.di"},
		"until":         {"until: 30d", "until: 300d", "f0.yaml:20:86: grant bot/read: until: "},
		"guardrail":     {`"delete"`, `"delte"`, "f0.yaml:24:12: guardrail no-delete: cedar: "},
		"permit":        {"forbid", "permit", "f0.yaml:24:12: guardrail no-delete: cedar: "},
		"description":   {"GET /m/{id} ->", "GET m ->", "f0.yaml:9:18: upstream mail: description: "},
		"family":        {"{patterns:", "{paterns:", "f0.yaml:9:18: upstream mail: "},
		"secret inline": {"value_from: {env: MAIL}", "value: hush", "f0.yaml:10:44: a secret does not belong in a manifest"},
		"key":           {"crv: Ed25519", "crv: Ed25518", "f0.yaml:18:21: "},
		"twice":         {"  ben:", "  maya:", `f0.yaml:4:3: "maya" is already on line 3`},
		"tag":           {"kind: agent", "kind: !!str agent", "f0.yaml:13:11: tags"},
		"anchor":        {"kind: agent", "kind: &a agent", "f0.yaml:13:11: anchors"},
		"syntax":        {"kind: agent", "kind: [agent", "f0.yaml:"},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t)
			text := strings.Replace(office, c.from, c.to, 1)
			if text == office {
				t.Fatalf("%q is not there", c.from)
			}
			_, err := w.try(true, "hush", text)
			var mistakes Mistakes
			if !errors.As(err, &mistakes) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if w.r.Store.Size() != 0 {
				t.Error("something was kept")
			}
		})
	}
	w := open(t)
	many := strings.NewReplacer("kind: agent", "kind: agnet", "email: ben@", "emial: ben@", "expires: 90d", "expires: soon").Replace(office)
	if _, err := w.try(true, "hush", many); strings.Count(fmt.Sprint(err), "f0.yaml:") < 3 {
		t.Errorf("not all at once: %v", err)
	}
	apart := strings.NewReplacer(`"delete"`, `"delte"`, "actions: [m.send]", "actions: [m.sned]", "backup: ben", "backup: bn").Replace(office)
	if _, err := w.try(true, "hush", apart); err == nil || !strings.Contains(err.Error(), "f0.yaml:3:60: ") || !strings.Contains(err.Error(), "f0.yaml:21:39: ") || !strings.Contains(err.Error(), "f0.yaml:24:12: ") {
		t.Errorf("what is settled at the end is not there: %v", err)
	}
	follows := strings.NewReplacer("GET /m/{id} ->", "GET m ->", `"delete"`, `"m.read"`).Replace(office)
	if _, err := w.try(true, "hush", follows); err == nil || strings.Contains(err.Error(), "guardrail") {
		t.Errorf("what follows from an upstream's mistake is there too: %v", err)
	}
	if _, err := w.try(true, "hush", office, office); !strings.Contains(fmt.Sprint(err), "f1.yaml:3:3: owner maya is already at f0.yaml:3:3") {
		t.Errorf("the same in two files: %v", err)
	}
	if _, err := w.try(true, "", office); !strings.Contains(fmt.Sprint(err), "f0.yaml:10:") || !strings.Contains(fmt.Sprint(err), "MAIL is not to be had here") {
		t.Errorf("without its secret: %v", err)
	}
}

// TestTaskFields: what counters an upstream has, and that an identity acts under tasks alone, stand in manifests.
func TestTaskFields(t *testing.T) {
	w := open(t)
	with := strings.Replace(strings.Replace(office, "    owner: maya\n    description", "    owner: maya\n    counters: {ids: {actions: [m.read], argument: id}}\n    description", 1),
		"    purpose: Reads mail", "    purpose: Reads mail\n    tasks: required", 1)
	if _, err := w.try(true, "x", with); err != nil {
		t.Fatal(err)
	}
	w.do(func(c *registry.Change) error {
		u, err1 := c.Upstream("mail")
		i, err2 := c.IdentityByName("bot")
		if u.Counters["ids"].Argument != "id" || i.Tasks != "required" {
			t.Errorf("%+v %+v", u.Counters, i)
		}
		return errors.Join(err1, err2)
	})
	for says, bad := range map[string]string{"has no argument": strings.Replace(with, "argument: id", "argument: amount", 1), "use required": strings.Replace(with, "tasks: required", "tasks: never", 1), "no member": strings.Replace(with, "argument: id", "arg: id", 1)} {
		if _, err := w.try(true, "x", bad); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestReferences(t *testing.T) {
	paths, secrets, err := References([]File{{"a/b.yaml", `upstreams: {x: {url: "http://x", description: {openapi: ./x.yaml}, credential: {value_from: {file: ../s}}}}
identities: {b: {kind: bot, owner: m, purpose: p, credentials: [{public_key: ./b.jwk}, {certificate: /c.pem}]}}`}})
	if err != nil || fmt.Sprint(paths) != "[a/x.yaml a/b.jwk /c.pem]" || len(secrets) != 1 || secrets[0].Name != "file:s" {
		t.Errorf("%v %v %v", paths, secrets, err)
	}
}

// FuzzParse: whatever the file, it is read or every mistake has its place, and both the same way each time.
func FuzzParse(f *testing.F) {
	f.Add(office)
	f.Add("a: [1, {b: c}]\n---\nowners: 1\n")
	f.Add("x: &a [*a, *a]")
	f.Fuzz(func(t *testing.T, text string) {
		in := Inputs{Files: []File{{"f.yaml", text}}}
		_, err := Parse(in)
		_, again := Parse(in)
		if fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("%v, and then %v", err, again)
		}
		var mistakes Mistakes
		if err == nil {
			return
		}
		if !errors.As(err, &mistakes) {
			t.Fatalf("not a list of mistakes: %v", err)
		}
		for _, m := range mistakes {
			if m.Text == "" || m.Line == 0 && len(text) < maxFile {
				t.Errorf("a mistake without a place: %+v", m)
			}
		}
	})
}

// TestAllAtOnce: mistakes of reading, of what things refer to, and of policy come together.
func TestAllAtOnce(t *testing.T) {
	w := open(t)
	text := strings.NewReplacer("email: ben@", "emial: ben@", "owner: maya\n    purpose", "owner: mya\n    purpose", "actions: [m.send]", "actions: [m.sned]", `"delete"`, `"delte"`).Replace(office)
	m, err := Parse(Inputs{Files: []File{{"f0.yaml", text}}, Secrets: map[string]string{"env:MAIL": "x"}})
	if err == nil {
		t.Fatal("no mistake")
	}
	err = w.r.Try(t.Context(), registry.Self, func(c *registry.Change) error { _, err := m.Apply(c); return err })
	for _, want := range []string{"f0.yaml:4:27: an owner has no member", "f0.yaml:14:12: identity bot: owner: ", "f0.yaml:21:39: grant bot/send: actions: ", "f0.yaml:24:12: guardrail no-delete: cedar: "} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
}

// TestAgentUpstream: an upstream can be an identity of the same files, is told who is behind a request, and grants can be for others only.
func TestAgentUpstream(t *testing.T) {
	w := open(t)
	files := strings.NewReplacer("    owner: maya\n    description:", "    owner: maya\n    agent: bot\n    chain_header: true\n    description:", "actions: [m.send]", "actions: [m.send], only_for_others: true").Replace(office)
	if _, err := w.try(true, "s", files); err != nil {
		t.Fatal(err)
	}
	err := w.r.Store.Read(t.Context(), func(tx *store.Tx) error {
		u, err := tx.Upstream("mail")
		if u.Agent.String() != "spiffe://lanyard.local/agent/bot" || u.ChainHeader != "Lanyard-Chain" {
			t.Errorf("%+v", u)
		}
		g, err2 := tx.Grant("bot/send")
		if !g.ForOthers || !strings.Contains(g.Cedar, "context.for_others") {
			t.Errorf("%+v", g)
		}
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Error(err)
	}
	if plan, err := w.try(true, "s", files); err != nil || len(plan.Steps) != 0 {
		t.Errorf("applied again: %v %v", plan.Steps, err)
	}
	for wrong, says := range map[string]string{"agent: nobody": "is no identity", "agent: bot/bot": "is no identity", "chain_header: Cookie": "begins with X-", "chain_header: [a]": ""} {
		_, err := w.try(false, "s", strings.Replace(files, map[bool]string{true: "agent: bot", false: "chain_header: true"}[strings.HasPrefix(wrong, "agent")], wrong, 1))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// TestOAuth: what a manifest says of an upstream that is signed in to is what there is; mistakes have their places, and no secret is shown.
func TestOAuth(t *testing.T) {
	w := open(t)
	with := func(oauth string) string {
		return strings.Replace(office, `    credential: {prefix: "Bearer ", value_from: {env: MAIL}}
`, "    oauth: {"+oauth+"}\n", 1)
	}
	const good = `issuer: "https://as.example.com", client_id: ours, client_secret: {value_from: {env: MAIL}}, scopes: [mail.read], parameters: {access_type: offline}, shared: true`
	plan, err := w.try(true, "hush", with(good))
	if said := fmt.Sprint(plan); err != nil || !strings.Contains(said, " → set") || strings.Contains(said, "hush") {
		t.Fatal(said, err)
	}
	w.do(func(c *registry.Change) error {
		u, err := c.Upstream("mail")
		secret, err2 := c.Secret(store.UpstreamClient("mail"))
		if o := u.OAuth; o == nil || o.Account != policy.Shared || o.Issuer != "https://as.example.com" || o.Client != "ours" || o.Scopes[0] != "mail.read" || o.Parameters["access_type"] != "offline" || string(secret) != "hush" {
			t.Errorf("%+v %q", o, secret)
		}
		return errors.Join(err, err2)
	})
	if got := w.apply(with(good)); got != "" {
		t.Errorf("again: %s", got)
	}
	if plan, err := w.try(true, "", with(good)); err != nil || !strings.Contains(lines(plan), "the client_secret of mail stays as it is") {
		t.Errorf("without the secret: %v %v", lines(plan), err)
	}
	const issuer = `issuer: "https://as.example.com", `
	for oauth, says := range map[string]string{
		issuer + `parameters: {state: x}`:                           `parameter "state" is not to be set`,
		issuer + `scopes: [mail.read mail.send]`:                    "is no scope",
		issuer + `client_secret: {value: hush}`:                     "does not belong in a manifest",
		issuer + `client_secret: {header: X, value_from: {env: A}}`: "has no header",
		issuer + `secret: x`:                                        "secret",
		`shared: true`:                                              "name the issuer",
	} {
		if _, err := w.try(true, "hush", with(oauth)); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "f0.yaml:10:") {
			t.Errorf("%s: %v", oauth, err)
		}
	}
	if got := w.apply(office); got != "~ upstream mail" {
		t.Errorf("back to a credential: %s", got)
	}
	w.do(func(c *registry.Change) error {
		u, err := c.Upstream("mail")
		if _, gone := c.Secret(store.UpstreamClient("mail")); u.OAuth != nil || !errors.Is(gone, store.ErrNotFound) {
			t.Errorf("%+v %v", u.OAuth, gone)
		}
		return err
	})
}
