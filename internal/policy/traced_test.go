package policy

import (
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// TestPack: the guardrails of each pack compile against any upstream, ask and do not refuse, and say by themselves that somebody has to look.
func TestPack(t *testing.T) {
	for _, p := range Packs() {
		for _, g := range p.Guardrails {
			if err := CompileGuardrail(g, mail); err != nil {
				t.Errorf("%s: %v", g.ID, err)
			}
			if asks, err := Approvers(g.Cedar); err != nil || len(asks) != 1 || !strings.HasPrefix(g.ID, p.Name+"-") {
				t.Errorf("%s asks %v %v", g.ID, asks, err)
			}
		}
		if again, err := FindPack(p.Name); err != nil || again.For != p.For {
			t.Errorf("%s is not found", p.Name)
		}
	}
}

// TestGuide: the policy that docs/guides/hijacked.md shows compiles, and does what it says.
func TestGuide(t *testing.T) {
	rail := Guardrail{ID: "kept", Cedar: `forbid (principal, action, resource)
    when { context.labels.contains("confidential") && context.effect != "read" && !["words", "directory"].containsAll(context.destinations) };`}
	if err := CompileGuardrail(rail, mail); err != nil {
		t.Fatal(err)
	}
	s := set(t, []Guardrail{rail}, Grant{Cedar: "permit(principal, action, resource);"})
	for to, want := range map[provenance.Origin]bool{provenance.Words: true, provenance.InDirectory: true, provenance.Confirmed: false, provenance.Content: false} {
		u := mail.Upstream
		f := provenance.Facts{Effect: provenance.Sends, Meant: true, Labels: []string{"confidential", "untrusted"}, Destinations: []provenance.Origin{to}}
		if d := s.Decide(Request{Call: Call{Upstream: "mail", Action: "messages.send", Class: Write}, Upstream: &u, Now: now, Facts: &f}); d.Allow != want {
			t.Errorf("to what comes from %s: %+v", to, d)
		}
	}
}

// TestHijack: which facts make the pack ask, and through which guardrail.
func TestHijack(t *testing.T) {
	pack, _ := FindPack("hijack")
	s := set(t, pack.Guardrails, Grant{Cedar: "permit(principal, action, resource);"})
	type F = provenance.Facts
	type O = []provenance.Origin
	for _, x := range []struct {
		facts *F
		class Class
		want  string
	}{
		{nil, Write, ""},
		{&F{Effect: provenance.Sends, Meant: true, Destinations: O{provenance.Words, provenance.InDirectory, provenance.Confirmed, provenance.Named, provenance.Sought, provenance.Listed}}, Write, ""},
		{&F{Effect: provenance.Sends, Meant: true, Destinations: O{provenance.Words, provenance.Content}}, Write, "hijack-destination"},
		{&F{Effect: provenance.Sends, Meant: true, Destinations: O{provenance.Colleague}}, Write, "hijack-destination"},
		{&F{Effect: provenance.Pays, Meant: true, Destinations: O{provenance.Record}}, Write, "hijack-destination"},
		{&F{Effect: provenance.Shares, Meant: true, Destinations: O{provenance.Unseen}}, Admin, "hijack-destination"},
		{&F{Effect: provenance.Reads, Meant: true, Destinations: O{provenance.Colleague}}, Read, ""},
		{&F{Effect: provenance.Reads, Meant: true, Destinations: O{provenance.Content}}, Read, "hijack-fetch"},
		{&F{Effect: provenance.Sends, Meant: true, Links: O{provenance.Content}}, Write, "hijack-link"},
		{&F{Effect: provenance.Sends, Meant: true, Links: O{provenance.Colleague, provenance.Record}}, Write, ""},
		{&F{Effect: provenance.Creates}, Write, "hijack-unasked"},
		{&F{Effect: provenance.Deletes, Meant: true, Objects: O{provenance.Content}}, Delete, "hijack-object"},
		{&F{Effect: provenance.Shares, Meant: true, Privileges: O{provenance.Listed}}, Admin, "hijack-privilege"},
		{&F{Effect: provenance.Shares, Meant: true, Privileges: O{provenance.Words}}, Admin, ""},
	} {
		u := mail.Upstream
		d := s.Decide(Request{Call: Call{Upstream: "mail", Action: "messages.send", Class: x.class}, Upstream: &u, Now: now, Facts: x.facts})
		got := ""
		if d.Ask != nil {
			got = d.Ask.Of[0].Policy
		}
		if got != x.want || d.Allow != (x.want == "") {
			t.Errorf("%+v: %q, allowed %v", x.facts, got, d.Allow)
		}
	}
	if !s.Traces() || set(t, []Guardrail{{ID: "x", Cedar: `forbid(principal, action, resource) when { context.depth > 3 && context has person };`}}, Grant{Cedar: "permit(principal, action, resource);"}).Traces() {
		t.Error("whether somebody has to look does not follow from the policies")
	}
	if !set(t, nil, Grant{Cedar: `permit(principal, action, resource) when { context.labels.contains("untrusted") };`}).Traces() {
		t.Error("a grant that asks is not seen")
	}
	for cedar, want := range map[string]bool{
		`permit(principal, action, resource) when { context.labels.contains("untrusted") };`: false, `permit(principal, action, resource) when { context.args has to };`: true, `permit(principal, action, resource) when { context.args["to"] == "x" };`: true,
		`permit(principal, action, resource) when { context.args has cc || context.args.bcc == "x" };`: false, `permit(principal, action, resource) when { context.args has cc && context.args.to == "x" };`: true, `permit(principal, action, resource) when { context has args };`: false,
		`permit(principal, action, resource) when { [context].contains(context) };`: true, `permit(principal, action, resource) when { [context.args].contains(context.args) };`: true,
		`permit(principal, action == Lanyard::Action::"messages.get", resource) when { context.args has to };`: false, `permit(principal, action == Lanyard::Action::"messages.send", resource) when { context.args has to };`: true,
	} {
		r := Request{Call: Call{Upstream: "mail", Action: "messages.send", Class: Write}, Upstream: &mail.Upstream, Now: now}
		if set(t, []Guardrail{{ID: "x", Cedar: strings.Replace(cedar, "permit", "forbid", 1)}}, Grant{Cedar: `permit(principal, action, resource);`}).Weighs(r, "to") != want {
			t.Errorf("%s: that it asks for an argument is seen to be %v", cedar, !want)
		}
	}
	r := Request{Call: Call{Upstream: "mail", Action: "messages.send", Class: Write}, Upstream: &mail.Upstream, Now: now}
	if s := set(t, nil, Grant{Cedar: `permit(principal, action == Lanyard::Action::"messages.send", resource) when { context.args has userId && context.args.userId == "me" };`}); !s.Weighs(r, "userId") || s.Weighs(r, "to") {
		t.Error("a grant that asks for an argument is not seen, or one that does not is")
	}
}

// TestProvenance: what an operator may say, and what is made of it.
func TestProvenance(t *testing.T) {
	d := mail
	for want, p := range map[string]*Provenance{
		"":                        {Known: provenance.Known{Members: []string{"maya"}}, Roles: map[string]provenance.Role{"messages.*.id": provenance.Object}, Effects: map[string]provenance.Effect{"messages.*": provenance.Sends}, Labels: map[string][]string{"messages.get": {"private"}}},
		`"x" is no role`:          {Roles: map[string]provenance.Role{"messages.get.id": "x"}},
		"no such argument":        {Roles: map[string]provenance.Role{"messages.get.nothing": provenance.Plain}},
		`"x" is no effect`:        {Effects: map[string]provenance.Effect{"messages.get": "x"}},
		"no such action":          {Effects: map[string]provenance.Effect{"things.*": provenance.Reads}},
		`"A b" is no label`:       {Labels: map[string][]string{"messages.get": {"A b"}}},
		"labels.things.*: it has": {Labels: map[string][]string{"things.*": {"a"}}},
	} {
		if err := p.Check(d); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	u := mail.Upstream
	u.Provenance = &Provenance{Roles: map[string]provenance.Role{"messages.*": provenance.Plain, "messages.send.userId": provenance.Text}, Effects: map[string]provenance.Effect{"messages.send": provenance.Pays}, Labels: map[string][]string{"messages.*": {"private"}}}
	tool := u.Tool(mail.Actions[2])
	if tool.Effect != provenance.Pays || tool.Role("userId", "me") != provenance.Text || len(tool.Labels) != 1 {
		t.Errorf("%+v", tool)
	}
	if tool := mail.Upstream; (&tool).Tool(mail.Actions[0]).Effect != provenance.Reads {
		t.Error("what only reads does not")
	}
}
