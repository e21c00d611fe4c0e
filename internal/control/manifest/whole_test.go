package manifest

import (
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// whole has every member that a manifest can have.
var whole = `set: office
owners:
  maya: {name: Maya Lind, email: maya@example.com, backup: ben}
  ben: {name: Ben Okafor, email: ben@example.com}
  desk: {name: Service desk, email: desk@example.com, team: true, members: [maya, ben]}
upstreams:
  mail:
    url: http://127.0.0.1:1
    owner: maya
    agent: bot
    chain_header: true
    websocket: true
    status_list: true
    description: {patterns: ["GET /m/{id} -> m.read read /m/{id}", "POST /m -> m.send write /m"]}
    classes: {m.send: admin}
    consent: {owners: [ben], classes: [read, write]}
    counters: {ids: {actions: [m.read], argument: id}}
    provenance: {members: [maya], contacts: ["@partner.example"], roles: {m.read.id: object}, effects: {m.send: send}, labels: {m.read: [private]}}
  notes:
    url: https://notes.example.com
    owner: ben
    description: {patterns: ["GET /n -> n.read read /n"]}
    oauth: {shared: true, issuer: "https://as.example.com", scopes: [notes], parameters: {prompt: consent}}
identities:
  bot:
    kind: agent
    owner: maya
    backup: ben
    purpose: Reads mail
    environment: production
    expires: 90d
    tasks: required
    children: {at_once: 5, depth: 2}
    grants:
      read: {upstream: mail, actions: [read], resources: ["m/*"], conditions: {id: {like: "a*"}}, until: 30d, record: before}
      send: {upstream: mail, actions: [m.send], approve: 2 of desk ben maya, fresh: 5m}
      for: {upstream: notes, actions: [read], only_for_others: true}
      own: {upstream: notes, cedar: '@approve("owner") permit(principal, action, resource);'}
guardrails:
  asks:
    description: Nothing is deleted unseen
    cedar: '@approve("desk") @fresh("5m") forbid(principal, action in Lanyard::Action::"delete", resource);'
providers:
  acme: {issuer: "https://idp.example.com", uses: [id_jag, on_behalf], audience: [app], claim: email, domains: [example.com], people: {u1: ben}, scopes: [read], life: 7d}
receivers:
  crm: {url: "https://crm.example.com/events", audience: "https://crm.example.com"}
`

// TestWhole: with every member there is, the second time there is nothing to do; and what is left out of the file is taken away.
func TestWhole(t *testing.T) {
	w := open(t)
	w.apply(whole)
	if got := w.apply(whole); got != "" {
		t.Fatalf("again: %s", got)
	}
	for _, gone := range []string{", members: [maya, ben]", "    agent: bot\n", "    chain_header: true\n", "    websocket: true\n", "    status_list: true\n", "    classes: {m.send: admin}\n", "    consent: {owners: [ben], classes: [read, write]}\n",
		"    counters: {ids: {actions: [m.read], argument: id}}\n", `    provenance: {members: [maya], contacts: ["@partner.example"], roles: {m.read.id: object}, effects: {m.send: send}, labels: {m.read: [private]}}`, `contacts: ["@partner.example"], `, ", labels: {m.read: [private]}", ", scopes: [notes]", ", parameters: {prompt: consent}", "    tasks: required\n", "    children: {at_once: 5, depth: 2}\n", "    backup: ben\n",
		`, resources: ["m/*"]`, `, conditions: {id: {like: "a*"}}`, ", until: 30d", ", record: before", ", approve: 2 of desk ben maya, fresh: 5m", ", fresh: 5m", ", only_for_others: true", `@approve("owner") `,
		"    description: Nothing is deleted unseen\n", `@fresh("5m") `, `@approve("desk") @fresh("5m") `, ", domains: [example.com]", ", people: {u1: ben}", ", life: 7d", "id_jag, ", `, audience: "https://crm.example.com"`} {
		text := strings.Replace(whole, gone, "", 1)
		if gone == ", members: [maya, ben]" { // nobody could approve what names it
			text = strings.ReplaceAll(strings.Replace(text, "desk ben maya", "ben maya", 1), `@approve("desk")`, `@approve("ben")`)
		}
		if text == whole {
			t.Fatalf("%q is not there", gone)
		}
		if got := w.apply(text); !strings.Contains(got, "~ ") {
			t.Errorf("without %q: %q", gone, got)
		}
		if got := w.apply(text); got != "" {
			t.Errorf("without %q, again: %s", gone, got)
		}
		if got := w.apply(whole); !strings.Contains(got, "~ ") {
			t.Errorf("with %q again: %q", gone, got)
		}
	}
	if err := w.r.Store.Read(t.Context(), func(tx *store.Tx) error {
		i, err := tx.IdentityByName("bot")
		if i.Tasks != "required" || i.Children.Depth != 2 {
			t.Errorf("%+v", i)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if got := w.apply(whole[:strings.Index(whole, "upstreams:")]); !strings.Contains(got, "- provider acme") || !strings.Contains(got, "- receiver crm") || !strings.Contains(got, "- identity bot") {
		t.Errorf("all left out: %s", got)
	}
}

// TestPacks: a pack is its guardrails, as if they were written out; one that there is not is a mistake with its place.
func TestPacks(t *testing.T) {
	w := open(t)
	w.apply(whole)
	with := whole + "packs: [hijack]\n"
	if got := w.apply(with); !strings.Contains(got, "+ guardrail hijack-destination") || !strings.Contains(got, "+ guardrail hijack-unasked") {
		t.Error(got)
	}
	if got := w.apply(with); got != "" {
		t.Errorf("again: %s", got)
	}
	if got := w.apply(whole); !strings.Contains(got, "- guardrail hijack-link") {
		t.Error(got)
	}
	if _, err := w.try(false, "", whole+"packs: [hijak]\n"); err == nil || !strings.Contains(err.Error(), `there is no pack "hijak"`) {
		t.Errorf("%v", err)
	}
	if _, err := w.try(false, "", strings.Replace(whole, "roles: {m.read.id: object}", "roles: {m.read.no: object}", 1)); err == nil || !strings.Contains(err.Error(), "no such argument") {
		t.Errorf("%v", err)
	}
}
