package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// Two mailboxes that call things differently and share their words.
func mailboxes(t *testing.T) (google, graph Described) {
	t.Helper()
	make := func(name string, actions ...Action) Described {
		d, err := Describe(Upstream{Name: name, Environment: "production", URL: "http://x"}, actions)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	to := []Parameter{{Name: "recipients", Type: "strings"}}
	return make("gmail", Action{Name: "gmail.send", Class: Write, Words: []string{"mail.send"}, Parameters: to}, Action{Name: "gmail.modify", Class: Write, Words: []string{"mail.label", "mail.delete"}}, Action{Name: "gmail.get", Class: Read, Words: []string{"mail.read"}}),
		make("outlook", Action{Name: "me.sendMail", Class: Write, Words: []string{"mail.send"}, Parameters: to}, Action{Name: "me.getMessages", Class: Read, Words: []string{"mail.read"}})
}

func TestOneGrantForBoth(t *testing.T) {
	google, graph := mailboxes(t)
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	rail := Guardrail{ID: "inside", Cedar: `forbid (principal, action in Lanyard::Action::"mail.send", resource) unless { context.args has recipients && ["ben@example.com"].containsAll(context.args.recipients) };`}
	if err := CompileGuardrail(rail, google, graph); err != nil {
		t.Fatal(err)
	}
	rails, err := NewGuardrails([]Guardrail{rail})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Described{google, graph} {
		g, err := Compile(Grant{ID: "bot/mail", Identity: bot, Upstream: d.Upstream.Name, Actions: []string{"mail.send", "mail.re*"}, Plain: true, Until: now.Add(time.Hour), Layers: &layer.Layers{Show: layer.Headers}}, d)
		if err != nil {
			t.Fatal(err)
		}
		set, err := NewSet(Subject{ID: bot, Environment: "production"}, []Grant{g}, rails)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range d.Actions {
			for _, to := range []string{"ben@example.com", "eve@evil.example"} {
				call := Call{Upstream: d.Upstream.Name, Action: a.Name, Class: a.Class, Word: a.Words[0], Arguments: map[string]any{"recipients": []string{to}}}
				got := set.Decide(Request{Call: call, Upstream: &d.Upstream, Now: now})
				want := call.Word == "mail.read" || call.Word == "mail.send" && to == "ben@example.com"
				if got.Allow != want || want && (len(got.Layers) != 1 || got.Layers[0].Show != layer.Headers) {
					t.Errorf("%s to %s: %+v", a.Name, to, got)
				}
				if set.May(Request{Call: Call{Upstream: d.Upstream.Name, Action: a.Name, Class: a.Class, Word: a.Words[0]}, Upstream: &d.Upstream, Now: now}) != (call.Word != "mail.label") {
					t.Errorf("%s may or may not", a.Name)
				}
			}
		}
	}
	// The word that a call is, not all that its action has, is what is granted.
	g, err := Compile(Grant{ID: "bot/mail", Identity: bot, Upstream: "gmail", Actions: []string{"mail.label"}, Plain: true, Until: now.Add(time.Hour)}, google)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(Subject{ID: bot, Environment: "production"}, []Grant{g}, rails)
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]bool{"mail.label": true, "mail.delete": false} {
		if d := set.Decide(Request{Call: Call{Upstream: "gmail", Action: "gmail.modify", Class: Write, Word: word}, Upstream: &google.Upstream, Now: now}); d.Allow != want {
			t.Errorf("%s: %+v", word, d)
		}
	}
}

func TestLayersOfAGrantAreChecked(t *testing.T) {
	google, _ := mailboxes(t)
	plain, err := Describe(Upstream{Name: "crm"}, []Action{{Name: "x", Class: Read}})
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		d Described
		l layer.Layers
	}{
		"layers.show: \"much\" is not one of":    {google, layer.Layers{Show: "much"}},
		"layers: they hold nothing back":         {google, layer.Layers{}},
		"layers: crm has no mail, files or even": {plain, layer.Layers{Show: layer.Headers}},
	} {
		g := Grant{ID: "bot/x", Identity: identity.MustID("spiffe://lanyard.local/agent/bot"), Upstream: c.d.Upstream.Name, Actions: []string{"read"}, Plain: true, Until: time.Now(), Layers: &c.l}
		if _, err := Compile(g, c.d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestLayersOfAllGrantsHold(t *testing.T) {
	google, _ := mailboxes(t)
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	now := time.Now()
	var grants []Grant
	for id, l := range map[string]*layer.Layers{"bot/a": nil, "bot/b": {Show: layer.Headers}, "bot/c": {Time: layer.Time{Days: 3}}} {
		g, err := Compile(Grant{ID: id, Identity: bot, Upstream: "gmail", Actions: []string{"read"}, Plain: true, Until: now.Add(time.Hour), Layers: l}, google)
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, g)
	}
	rails, err := NewGuardrails(nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(Subject{ID: bot, Environment: "production"}, grants, rails)
	if err != nil {
		t.Fatal(err)
	}
	if d := set.Decide(Request{Call: Call{Upstream: "gmail", Action: "gmail.get", Class: Read, Word: "mail.read"}, Upstream: &google.Upstream, Now: now}); !d.Allow || len(d.Layers) != 2 {
		t.Errorf("%+v", d)
	}
	said := ""
	for _, v := range set.Explain(Request{Call: Call{Upstream: "gmail", Action: "gmail.get", Class: Read, Word: "mail.read"}, Upstream: &google.Upstream, Now: now}).Grants {
		said += v.Why + "\n"
	}
	if !strings.Contains(said, "nothing older than 3 days") || !strings.Contains(said, "and no text") {
		t.Errorf("explained as %s", said)
	}
}
