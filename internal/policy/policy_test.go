package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

var (
	now  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	bot  = identity.MustID("spiffe://lanyard.local/agent/invoice-bot")
	mail = Described{
		Upstream: Upstream{Name: "mail", Environment: "production", OwnerName: "Priya Shah", Classes: map[string]Class{"messages.purge*": Admin}},
		Actions: []Action{
			{Name: "messages.list", Class: Read, Parameters: []Parameter{{"userId", "string"}, {"maxResults", "integer"}, {"labelIds", "strings"}, {"spam", "boolean"}}},
			{Name: "messages.get", Class: Read, Parameters: []Parameter{{"userId", "string"}, {"id", "string"}}},
			{Name: "messages.send", Class: Write, Parameters: []Parameter{{"userId", "string"}}},
			{Name: "messages.purgeAll", Class: Delete},
		},
	}
)

func set(t testing.TB, rails []Guardrail, grants ...Grant) *Set {
	t.Helper()
	for i := range grants {
		grants[i].ID, grants[i].Identity, grants[i].Upstream = fmt.Sprint("g", i), bot, "mail"
		grants[i].Plain = grants[i].Cedar == ""
		if grants[i].Until.IsZero() {
			grants[i].Until = now.Add(time.Hour)
		}
		g, err := Compile(grants[i], mail)
		if err != nil {
			t.Fatal(err)
		}
		grants[i] = g
	}
	g, err := NewGuardrails(rails)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSet(Subject{ID: bot, Owner: "maya", Environment: "production"}, grants, g)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(action string, class Class, args map[string]any) Request {
	u := mail.Upstream
	return Request{Call{"mail", action, class, "users/me/messages", args, ""}, &u, now, "127.0.0.1", nil}
}

func TestDecide(t *testing.T) {
	two := 2.0
	list := func(args map[string]any) Request { return ask("messages.list", Read, args) }
	me := map[string]any{"userId": "me"}
	path := func(like string) Grant {
		return Grant{Actions: []string{"read"}, Where: map[string]Condition{"userId": {Like: like}}}
	}
	for _, c := range []struct {
		name  string
		grant Grant
		ask   Request
		want  bool
	}{
		{"class", Grant{Actions: []string{"read"}}, list(me), true},
		{"other class", Grant{Actions: []string{"read"}}, ask("messages.send", Write, me), false},
		{"action", Grant{Actions: []string{"messages.send"}}, ask("messages.send", Write, me), true},
		{"pattern", Grant{Actions: []string{"messages.*"}}, ask("messages.send", Write, me), true},
		{"operator's class", Grant{Actions: []string{"delete"}}, ask("messages.purgeAll", Admin, nil), false},
		{"is", Grant{Actions: []string{"read"}, Where: map[string]Condition{"userId": {Is: "me"}}}, list(me), true},
		{"is not", Grant{Actions: []string{"read"}, Where: map[string]Condition{"userId": {Is: "me"}}}, list(map[string]any{"userId": "you"}), false},
		{"missing argument", Grant{Actions: []string{"read"}, Where: map[string]Condition{"userId": {Is: "me"}}}, list(nil), false},
		{"max", Grant{Actions: []string{"messages.list"}, Where: map[string]Condition{"maxResults": {Max: &two}}}, list(map[string]any{"maxResults": int64(2)}), true},
		{"over max", Grant{Actions: []string{"messages.list"}, Where: map[string]Condition{"maxResults": {Max: &two}}}, list(map[string]any{"maxResults": int64(3)}), false},
		{"like", Grant{Actions: []string{"read"}, Where: map[string]Condition{"userId": {Like: "m*"}}}, list(me), true},
		{"like a path", path("docs/*"), list(map[string]any{"userId": "docs/a/b.c"}), true},
		{"out of a path", path("docs/*"), list(map[string]any{"userId": "docs/../keys"}), false},
		{"out of a path, encoded", path("file:///docs/*"), list(map[string]any{"userId": "file:///docs/%2e%2E/keys"}), false},
		{"out of a path, on Windows", path("docs/*"), list(map[string]any{"userId": `docs/..\keys`}), false},
		{"dots in no path", path("m*"), list(map[string]any{"userId": "my..self"}), true},
		{"all of a list", Grant{Actions: []string{"messages.list"}, Where: map[string]Condition{"labelIds": {OneOf: []string{"A", "B"}}}}, list(map[string]any{"labelIds": []string{"A"}}), true},
		{"one outside", Grant{Actions: []string{"messages.list"}, Where: map[string]Condition{"labelIds": {OneOf: []string{"A", "B"}}}}, list(map[string]any{"labelIds": []string{"A", "C"}}), false},
		{"boolean", Grant{Actions: []string{"messages.list"}, Where: map[string]Condition{"spam": {Is: "false"}}}, list(map[string]any{"spam": true}), false},
		{"resource", Grant{Actions: []string{"read"}, Resources: []string{"users/me/*"}}, list(me), true},
		{"other resource", Grant{Actions: []string{"read"}, Resources: []string{"users/you/*"}}, list(me), false},
		{"ended", Grant{Actions: []string{"read"}, Until: now}, list(me), false},
		{"cedar", Grant{Cedar: `permit(principal, action == Lanyard::Action::"messages.list", resource) when { context.args has userId && context.args.userId == "me" };`}, list(me), true},
		{"ended cedar", Grant{Until: now, Cedar: `permit(principal, action, resource);`}, list(me), false},
	} {
		d := set(t, nil, c.grant).Decide(c.ask)
		if d.Allow != c.want {
			t.Errorf("%s: %+v", c.name, d)
		}
		if d.Allow && !slices.Equal(d.Policies, []string{"g0"}) || d.Reason == "" {
			t.Errorf("%s: policies %v, reason %q", c.name, d.Policies, d.Reason)
		}
		if d.Allow && d.Before != (c.ask.Call.Class != Read) {
			t.Errorf("%s: record before is %v", c.name, d.Before)
		}
	}
	if (Decision{}).Allow || set(t, nil).Decide(Request{}).Allow {
		t.Error("the zero value allows")
	}
}

func TestRecord(t *testing.T) {
	write := ask("messages.send", Write, nil)
	all := []string{"read", "write"}
	if !set(t, nil, Grant{Actions: all, Record: "before"}).Decide(ask("messages.list", Read, nil)).Before {
		t.Error("a grant cannot ask for durable reads")
	}
	if set(t, nil, Grant{Actions: all, Record: "within"}).Decide(write).Before {
		t.Error("a grant cannot relax writes")
	}
	if !set(t, nil, Grant{Actions: all, Record: "within"}, Grant{Actions: all}).Decide(write).Before {
		t.Error("one of two grants relaxed what the other did not")
	}
}

func TestGuardrails(t *testing.T) {
	everything := Grant{Cedar: "permit(principal, action, resource);"}
	no := Guardrail{ID: "no-sending", Description: "People send mail, agents do not.", Cedar: `forbid(principal is Lanyard::Agent, action in Lanyard::Action::"write", resource);`}
	if err := CompileGuardrail(no, mail); err != nil {
		t.Fatal(err)
	}
	if err := CompileGuardrail(no); err != nil {
		t.Fatalf("without upstreams: %v", err)
	}
	d := set(t, []Guardrail{no}, everything).Decide(ask("messages.send", Write, nil))
	if d.Allow || !d.Guardrail || d.Policies[0] != "no-sending" || !strings.Contains(d.Reason, no.Description) {
		t.Errorf("%+v", d)
	}
	errs := Guardrail{ID: "errs", Cedar: `forbid(principal, action, resource) when { context.args.userId == "x" };`}
	d = set(t, []Guardrail{errs}, everything).Decide(ask("messages.list", Read, nil))
	if d.Allow || !d.Guardrail || d.Policies[0] != "errs" {
		t.Errorf("a guardrail that errs does not forbid: %+v", d)
	}
	r := ask("messages.list", Read, nil)
	r.Upstream.Environment = "staging"
	if d = set(t, nil, everything).Decide(r); d.Allow || d.Policies[0] != EnvironmentGuardrail {
		t.Errorf("crossing environments: %+v", d)
	}
}

func TestDenialIsASentence(t *testing.T) {
	d := set(t, nil, Grant{Actions: []string{"read"}}).Decide(ask("messages.send", Write, nil))
	if want := "invoice-bot may not do messages.send (write) on mail: its grants there cover only read; Priya Shah, owner of mail, can grant more."; d.Reason != want {
		t.Errorf("got %q", d.Reason)
	}
}

func TestCompileRefuses(t *testing.T) {
	for want, g := range map[string]Grant{
		"name at least one":          {Plain: true},
		"did you mean":               {Plain: true, Actions: []string{"message.send"}},
		"none of the actions":        {Plain: true, Actions: []string{"read"}, Where: map[string]Condition{"nope": {Is: "x"}}},
		"no whole number":            {Plain: true, Actions: []string{"messages.list"}, Where: map[string]Condition{"maxResults": {Is: "many"}}},
		"min and max":                {Plain: true, Actions: []string{"read"}, Where: map[string]Condition{"userId": {Min: new(float64)}}},
		"say what must hold":         {Plain: true, Actions: []string{"read"}, Where: map[string]Condition{"userId": {}}},
		"can only permit":            {Cedar: "forbid(principal, action, resource);"},
		"principal is not this":      {Cedar: `permit(principal == Lanyard::Agent::"spiffe://lanyard.local/agent/other", action, resource);`},
		"write principal, or":        {Cedar: `permit(principal is Lanyard::Bot, action, resource);`},
		"is not of upstream mail":    {Cedar: `permit(principal, action, resource in Lanyard::Upstream::"crm");`},
		"mean messages.send":         {Cedar: `permit(principal, action == Lanyard::Action::"message.send", resource);`},
		"they have id, labelIds":     {Plain: true, Actions: []string{"read"}, Where: map[string]Condition{"labels": {Is: "x"}}},
		"an empty pattern":           {Plain: true, Actions: []string{"read"}, Resources: []string{""}},
		"conditions.userId: \"\\xff": {Plain: true, Actions: []string{"read"}, Where: map[string]Condition{"userId": {Like: "\xff"}}},
		"use read, write":            {Plain: true, Actions: []string{"everything"}},
		"no policy":                  {Cedar: "// nothing"},
		"cedar:":                     {Cedar: "permit(principal, action, resource) when { context.args.nope == 1 };"},
		"not both":                   {Cedar: "permit(principal, action, resource);", Actions: []string{"read"}},
		"record \"sometimes\"":       {Plain: true, Actions: []string{"read"}, Record: "sometimes"},
	} {
		g.ID, g.Identity, g.Upstream, g.Until = "g", bot, "mail", now.Add(time.Hour)
		if c, err := Compile(g, mail); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v\n%s", want, err, c.Cedar)
		}
	}
	if _, err := Compile(Grant{ID: "g", Identity: bot, Upstream: "mail", Plain: true, Actions: []string{"read"}}, mail); err == nil {
		t.Error("a grant without an end date")
	}
	for _, bad := range []string{"permit(principal, action, resource);", "", "forbid(", `forbid(principal, action == Lanyard::Action::"nope", resource);`} {
		if CompileGuardrail(Guardrail{ID: "x", Cedar: bad}, mail) == nil {
			t.Errorf("guardrail %q was taken", bad)
		}
	}
}

func TestDescribe(t *testing.T) {
	d, err := Describe(mail.Upstream, mail.Actions)
	if err != nil {
		t.Fatal(err)
	}
	g := Grant{ID: "g", Identity: bot, Upstream: "mail", Plain: true, Actions: []string{"read"}, Until: now.Add(time.Hour)}
	one, err1 := Compile(g, d)
	two, err2 := Compile(g, mail)
	if err1 != nil || err2 != nil || one.Cedar != two.Cedar {
		t.Errorf("%v %v\n%s%s", err1, err2, one.Cedar, two.Cedar)
	}
	for want, bad := range map[string]Described{
		"name of a class":    {Upstream: Upstream{}, Actions: []Action{{Name: "read", Class: Admin}}},
		`has class "reed"`:   {Upstream: Upstream{}, Actions: []Action{{Name: "a", Class: "reed"}}},
		`has type "float"`:   {Upstream: Upstream{}, Actions: []Action{{Name: "a", Class: Read, Parameters: []Parameter{{"p", "float"}}}}},
		`"reed" is no class`: {Upstream: Upstream{Classes: map[string]Class{"a": "reed"}}, Actions: []Action{{Name: "a", Class: Read}}},
		"mean messages.list": {Upstream: Upstream{Classes: map[string]Class{"message.list": Read}}, Actions: mail.Actions},
	} {
		if _, err := Describe(bad.Upstream, bad.Actions); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	// An action named as a class would be taken for the whole class: it is never allowed.
	if set(t, nil, Grant{Actions: []string{"read"}}).Decide(ask("read", Admin, nil)).Allow {
		t.Error("an action took the name of a class")
	}
}

func TestExplain(t *testing.T) {
	s := set(t, []Guardrail{{ID: "no", Cedar: `forbid(principal, action in Lanyard::Action::"write", resource);`}},
		Grant{Actions: []string{"read"}, Where: map[string]Condition{"userId": {Is: "me"}}}, Grant{Actions: []string{"write"}}, Grant{Actions: []string{"read"}, Until: now},
		Grant{Cedar: `permit(principal, action, resource) when { context.args has maxResults && context.args.maxResults * 9223372036854775807 > 0 };`})
	e := s.Explain(ask("messages.list", Read, map[string]any{"userId": "you", "maxResults": int64(2)}))
	var got []string
	for _, v := range append(e.Guardrails, e.Grants...) {
		got = append(got, fmt.Sprintf("%s %v %.20s", v.ID, v.Matched, v.Why))
	}
	want := []string{"lanyard.environment false invoice-bot is in pr", "no false is not about this ac", "g0 false its conditions do no", "g1 false is not about this ac",
		"g2 false ended on 2026-11-23 ", "g3 false could not be evaluat"}
	if e.Decision.Allow || !slices.Equal(got, want) {
		t.Errorf("%+v\n%q", e.Decision, got)
	}
	if (*Set)(nil).Explain(Request{}).Decision.Allow {
		t.Error("no set allows")
	}
}

// FuzzPlain: whatever text the plain fields hold, the grant permits just what they
// say, and so does what it has in common with others.
func FuzzPlain(f *testing.F) {
	f.Add("me", "you", "mail")
	f.Add("\") || true || (\"", "x", "m\"")
	f.Add("*", "a*b", "*")
	f.Add("\\", "\\*\x00\"", "\n")
	f.Add("when {\n  context.now < datetime(\"2026-11-23T13:00:00Z\")", "permit (\n  principal == ", "],\n")
	f.Fuzz(func(t *testing.T, is, asked, name string) {
		d := Described{Upstream: mail.Upstream, Actions: slices.Clone(mail.Actions)}
		d.Upstream.Name = name
		d.Actions = append(d.Actions, Action{Name: "a" + name, Class: Write})
		g := Grant{ID: "g\"\n" + is, Identity: bot, Upstream: name, Plain: true, Actions: []string{"messages.list", "a" + name}, Until: now.Add(time.Hour), Where: map[string]Condition{"userId": {Is: is}}}
		g, err := Compile(g, d)
		if err != nil {
			return
		}
		other := g
		other.Cedar = g.Common()
		if other.Cedar == g.Cedar || strings.Contains(other.Cedar, "invoice-bot") && !strings.Contains(is+name, "invoice-bot") {
			t.Fatalf("nothing in common:\n%s%s", g.Cedar, other.Cedar)
		}
		rails, _ := NewGuardrails(nil)
		for _, g := range []Grant{g, other} {
			s, err := NewSet(Subject{ID: bot, Owner: "maya", Environment: "production"}, []Grant{g}, rails)
			if err != nil {
				t.Fatalf("%v\n%s", err, g.Cedar)
			}
			r := ask("messages.list", Read, map[string]any{"userId": asked})
			r.Call.Upstream, r.Upstream = name, &d.Upstream
			if d := s.Decide(r); d.Allow != (is == asked) {
				t.Fatalf("grant for %q, asked %q: %+v\n%s", is, asked, d, g.Cedar)
			}
			r.Call.Arguments["userId"] = is
			for action, class := range map[string]Class{"messages.get": Read, "messages.send": Write} {
				r.Call.Action, r.Call.Class = action, class
				if s.Decide(r).Allow {
					t.Fatalf("grant for messages.list allows %s\n%s", action, g.Cedar)
				}
			}
			r.Call.Action, r.Now = "messages.list", g.Until
			if s.Decide(r).Allow {
				t.Fatalf("allowed after its end\n%s", g.Cedar)
			}
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	var actions []Action
	for i := range 80 {
		a := Action{Name: fmt.Sprint("messages.x", i), Class: Classes[i%4]}
		for j := range 10 {
			a.Parameters = append(a.Parameters, Parameter{fmt.Sprint("p", j), "string"})
		}
		actions = append(actions, a)
	}
	d, err := Describe(Upstream{Name: "mail"}, actions)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Compile(Grant{ID: "g", Identity: bot, Upstream: "mail", Plain: true, Actions: []string{"read"}, Until: now}, d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	grants := make([]Grant, 10)
	for i := range grants {
		grants[i] = Grant{Actions: []string{"read"}, Where: map[string]Condition{"userId": {Is: fmt.Sprint("me", i)}}}
	}
	rails := []Guardrail{{ID: "a", Cedar: `forbid(principal, action in Lanyard::Action::"admin", resource);`},
		{ID: "b", Cedar: `forbid(principal is Lanyard::Bot, action, resource);`},
		{ID: "c", Cedar: `forbid(principal, action == Lanyard::Action::"messages.send", resource);`},
		{ID: "d", Cedar: `forbid(principal, action in Lanyard::Action::"write", resource) when { resource.path like "users/*" };`},
		{ID: "e", Cedar: `forbid(principal, action, resource) when { context.args has userId && context.args.userId == "root" };`}}
	s := set(b, rails, grants...)
	r := ask("messages.list", Read, map[string]any{"userId": "me9"})
	b.ReportAllocs()
	for b.Loop() {
		if !s.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}

// TestMay: what there is to show is what some call could do, whatever its arguments.
func TestMay(t *testing.T) {
	rails := []Guardrail{{ID: "a", Cedar: `forbid(principal, action in Lanyard::Action::"admin", resource);`},
		{ID: "b", Cedar: `forbid(principal, action, resource) when { context.args has userId && context.args.userId == "root" };`}}
	s := set(t, rails, Grant{Actions: []string{"read"}, Where: map[string]Condition{"userId": {Is: "me"}}}, Grant{Actions: []string{"admin"}})
	for class, want := range map[Class]bool{Read: true, Write: false, Admin: false} {
		if got := s.May(ask("messages.x", class, nil)); got != want {
			t.Errorf("%s: %v", class, got)
		}
	}
	if (*Set)(nil).May(ask("messages.x", Read, nil)) {
		t.Error("nobody may")
	}
}
