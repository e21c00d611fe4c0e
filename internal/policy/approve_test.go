package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

func TestParseApprove(t *testing.T) {
	for _, c := range []struct {
		who, fresh string
		want       Approve
		wrong      string
	}{
		{who: "owner", want: Approve{Need: 1, Words: []string{"owner"}}},
		{who: " ben  kim ", want: Approve{Need: 1, Words: []string{"ben", "kim"}}},
		{who: "2 of ben kim maya", fresh: "5m", want: Approve{Need: 2, Words: []string{"ben", "kim", "maya"}, Fresh: 5 * time.Minute}},
		{who: "", wrong: "say who"},
		{who: "2 of", wrong: "say who"},
		{who: "0 of ben", wrong: "how many"},
		{who: "9 of ben", wrong: "how many"},
		{who: "two of ben", wrong: "how many"},
		{who: "Ben", wrong: "no name"},
		{who: "ben, kim", wrong: "no name"},
		{who: "ben ben", wrong: "twice"},
		{who: "2 of person", wrong: "is one"},
		{who: "2 of ben operator", wrong: "cannot be told"},
		{who: strings.Repeat("a ", 17), wrong: "1 to 16"},
		{who: "owner", fresh: "5", wrong: "1m to 8h"},
		{who: "owner", fresh: "1s", wrong: "1m to 8h"},
		{who: "owner", fresh: "9h", wrong: "1m to 8h"},
		{who: "operator", fresh: "5m", wrong: "do not sign in"},
	} {
		a, err := ParseApprove(c.who, c.fresh)
		if c.wrong == "" && (err != nil || !a.same(c.want)) || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%q %q: %+v %v", c.who, c.fresh, a, err)
		}
	}
}

func rail(id, cedar string) Guardrail { return Guardrail{ID: id, Cedar: cedar} }

func TestDecideAsks(t *testing.T) {
	const (
		allow   = "allow"
		deny    = "deny"
		sending = `(principal, action == Lanyard::Action::"messages.send", resource)`
	)
	plain := Grant{Actions: []string{"write"}}
	elevated := Grant{Actions: []string{"write"}, Approve: "owner", Fresh: "5m"}
	inCedar := Grant{Cedar: `@approve("ben kim") permit` + sending + ";\npermit(principal, action == Lanyard::Action::\"messages.get\", resource);"}
	stop, asks := rail("stop", "forbid"+sending+";"), rail("asks", `@approve("upstream") forbid`+sending+";")
	if2 := rail("if", `@approve("2 of ben kim") forbid`+sending+` when { context.args has userId && context.args.userId == "you" };`)
	errs := rail("errs", `@approve("owner") forbid`+sending+` when { context.args.userId == "me" };`)
	send := ask("messages.send", Write, map[string]any{"userId": "you"})
	for _, c := range []struct {
		name   string
		rails  []Guardrail
		grants []Grant
		ask    Request
		want   string // allow, deny, or who is asked
	}{
		{"a grant that asks", nil, []Grant{elevated}, send, "g0: owner 5m0s"},
		{"one that does not, beside it", nil, []Grant{elevated, plain}, send, allow},
		{"one that asks, in its Cedar", nil, []Grant{inCedar}, send, "g0: ben kim 0s"},
		{"another policy of the same grant", nil, []Grant{inCedar}, ask("messages.get", Read, nil), allow},
		{"two that ask", nil, []Grant{elevated, inCedar}, send, "g0: owner 5m0s, g1: ben kim 0s"},
		{"a grant that asks and does not cover it", nil, []Grant{elevated}, ask("messages.list", Read, nil), deny},
		{"one that asks and has ended", nil, []Grant{{Actions: []string{"write"}, Approve: "owner", Until: now}}, send, deny},
		{"a guardrail that asks", []Guardrail{asks}, []Grant{plain}, send, "asks: upstream 0s"},
		{"without a grant", []Guardrail{asks}, nil, send, deny},
		{"both", []Guardrail{asks}, []Grant{elevated}, send, "asks: upstream 0s, g0: owner 5m0s"},
		{"a guardrail that forbids", []Guardrail{asks, stop}, []Grant{elevated, plain}, send, deny},
		{"one whose condition holds", []Guardrail{if2}, []Grant{plain}, send, "if: 2 of ben kim 0s"},
		{"one whose condition does not", []Guardrail{if2}, []Grant{plain}, ask("messages.send", Write, map[string]any{"userId": "me"}), allow},
		{"one that cannot be evaluated", []Guardrail{errs}, []Grant{plain}, ask("messages.send", Write, nil), deny},
		{"one that cannot be evaluated, for a grant that asks", []Guardrail{errs}, []Grant{elevated}, ask("messages.send", Write, nil), deny},
	} {
		s := set(t, c.rails, c.grants...)
		d := s.Decide(c.ask)
		var asked []string
		if d.Ask != nil {
			for _, a := range d.Ask.Of {
				asked = append(asked, a.Policy+": "+a.String()+" "+a.Fresh.String())
			}
		}
		got := strings.Join(asked, ", ")
		if d.Ask == nil {
			got = map[bool]string{true: allow, false: deny}[d.Allow]
		}
		if got != c.want || d.Allow && d.Ask != nil || d.Reason == "" {
			t.Errorf("%s: %s, want %s (%+v)", c.name, got, c.want, d)
		}
		if c.want != deny && !s.May(c.ask) {
			t.Errorf("%s: it is not even shown", c.name)
		}
		if d.Ask != nil && (!strings.Contains(d.Reason, d.Ask.Of[0].String()) || !d.Before || len(d.Policies) != len(d.Ask.Of)+map[bool]int{true: 1}[c.name != "both" && d.Ask.Of[0].Guardrail]) {
			t.Errorf("%s: %+v", c.name, d)
		}
		if e := s.Explain(c.ask); c.want != allow && c.want != deny && !slices.ContainsFunc(append(e.Guardrails, e.Grants...), func(v Verdict) bool { return strings.Contains(v.Why, "asks for the yes of") }) {
			t.Errorf("%s: the explanation says nothing of it: %+v", c.name, e)
		}
	}
}

func TestCompileApprove(t *testing.T) {
	for text, wrong := range map[string]string{
		`@approve permit(principal, action, resource);`:                         "say who",
		`@approve("Ben") permit(principal, action, resource);`:                  "no name",
		`@approve("owner") @fresh("1s") permit(principal, action, resource);`:   "1m to 8h",
		`@fresh("5m") permit(principal, action, resource);`:                     "@approve",
		`@approve("owner") @fresh permit(principal, action, resource);`:         "@fresh",
		`@aprove("owner") permit(principal, action, resource);`:                 "did you mean @approve",
		`@Approve("owner") permit(principal, action, resource);`:                "did you mean @approve",
		`@approval("owner") permit(principal, action, resource);`:               "did you mean @approve",
		`@approve("owner") @freshness("5m") permit(principal,action,resource);`: "did you mean @fresh",
		`@approve("owner") @note("mine") permit(principal, action, resource);`:  "",
	} {
		_, err := Compile(Grant{ID: "g", Identity: bot, Upstream: "mail", Cedar: text, Until: now.Add(time.Hour)}, mail)
		if (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v", text, err)
		}
		err = CompileGuardrail(Guardrail{ID: "r", Cedar: strings.Replace(text, "permit", "forbid", 1)}, mail)
		if (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("as a guardrail, %s: %v", text, err)
		}
	}
	for _, g := range []Grant{{Approve: "Ben"}, {Fresh: "5m"}, {Approve: "owner", Fresh: "x"}} {
		g.ID, g.Identity, g.Upstream, g.Actions, g.Plain, g.Until = "g", bot, "mail", []string{"read"}, true, now.Add(time.Hour)
		if _, err := Compile(g, mail); err == nil {
			t.Errorf("%+v compiles", g)
		}
	}
	g, err := Compile(Grant{ID: "g", Identity: bot, Upstream: "mail", Actions: []string{"write"}, Approve: "owner", Plain: true, Until: now.Add(time.Hour)}, mail)
	if err != nil || !strings.Contains(g.Cedar, `@approve("owner")`) || strings.Contains(g.Common(), "approve") {
		t.Errorf("%v\n%s\n%s", err, g.Cedar, g.Common())
	}
	// What alike grants have in common does not say who approves: that stays with each.
	g.Cedar = g.Common()
	rails, _ := NewGuardrails(nil)
	s, err := NewSet(Subject{ID: bot, Owner: "maya", Environment: "production"}, []Grant{g}, rails)
	if d := s.Decide(ask("messages.send", Write, nil)); err != nil || d.Allow || d.Ask == nil {
		t.Errorf("%v %+v", err, d)
	}
}

// TestAskNeverAllows: of any mixture of policies, what asks is allowed only where the same policies,
// without those that ask, allow it; and what is not asked is as it would be if nothing could ask.
func TestAskNeverAllows(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	texts := []string{`(principal, action, resource)`, `(principal, action == Lanyard::Action::"messages.send", resource)`, `(principal, action in Lanyard::Action::"read", resource)`,
		`(principal, action, resource) when { context.args has userId && context.args.userId == "me" }`, `(principal, action == Lanyard::Action::"messages.send", resource) when { context.args.userId == "me" }`}
	asks := []Request{ask("messages.send", Write, map[string]any{"userId": "me"}), ask("messages.send", Write, nil), ask("messages.list", Read, map[string]any{"userId": "you"})}
	for range 300 {
		var rails, hard []Guardrail
		var grants, sure []Grant
		for n := range r.IntN(4) {
			g := rail(string(rune('a'+n)), "forbid"+texts[r.IntN(len(texts))]+";")
			if r.IntN(2) == 0 {
				g.Cedar = `@approve("owner") ` + g.Cedar
			} else {
				hard = append(hard, g)
			}
			rails = append(rails, g)
		}
		for range r.IntN(4) {
			g := Grant{Cedar: "permit" + texts[r.IntN(len(texts)-1)] + ";"} // the last one could err, and does not compile
			switch r.IntN(3) {
			case 0:
				g.Approve = "owner"
			case 1:
				g.Cedar = `@approve("owner") ` + g.Cedar
			default:
				sure = append(sure, g)
			}
			grants = append(grants, g)
		}
		for _, q := range asks {
			d := set(t, rails, slices.Clone(grants)...).Decide(q)
			without := set(t, hard, slices.Clone(sure)...).Decide(q)          // nothing asks
			most := set(t, hard, slices.Clone(stripped(grants))...).Decide(q) // everything that asks was agreed to
			switch {
			case d.Allow && d.Ask != nil, d.Allow && !without.Allow, d.Ask != nil && !most.Allow, !d.Allow && d.Ask == nil && without.Allow && len(hard) == len(rails):
				t.Fatalf("%+v\nwithout those that ask: %+v\nwith a yes to all: %+v\n%v\n%+v", d, without, most, rails, grants)
			}
		}
	}
}

func stripped(grants []Grant) (out []Grant) {
	for _, g := range grants {
		g.Approve, g.Cedar = "", strings.TrimPrefix(g.Cedar, `@approve("owner") `)
		out = append(out, g)
	}
	return out
}

// TestAskOfPeople: the guardrails that ask, ask of people in a chain as well.
func TestAskOfPeople(t *testing.T) {
	rails, err := NewGuardrails([]Guardrail{rail("asks", `@approve("person") forbid(principal, action in Lanyard::Action::"write", resource);`)})
	if err != nil {
		t.Fatal(err)
	}
	ben := identity.MustID("spiffe://lanyard.local/person/ben")
	s, err := NewSet(Subject{ID: ben, Owner: "ben"}, nil, rails)
	if err != nil {
		t.Fatal(err)
	}
	q := ask("messages.send", Write, nil)
	q.Upstream.Owner = "ben"
	if d := s.Decide(q); d.Allow || d.Ask == nil || d.Ask.Of[0].String() != "person" {
		t.Errorf("%+v", d)
	}
	q.Upstream.Owner = "maya"
	if d := s.Decide(q); d.Allow || d.Ask != nil {
		t.Errorf("what ben may not have done is asked about: %+v", d)
	}
}

func FuzzParseApprove(f *testing.F) {
	f.Add("2 of ben kim maya", "5m")
	f.Add("owner", "")
	f.Fuzz(func(t *testing.T, who, fresh string) {
		a, err := ParseApprove(who, fresh)
		if err != nil {
			return
		}
		again, err := ParseApprove(a.String(), fresh)
		if err != nil || !again.same(a) || a.Need < 1 || len(a.Words) == 0 {
			t.Errorf("%q is %+v, written %q is %+v (%v)", who, a, a.String(), again, err)
		}
	})
}

// TestAsking: what is asked together does not hang on the order in which it is put together.
func TestAsking(t *testing.T) {
	one := &Asking{Of: []Approve{{Policy: "b", Need: 1, Words: []string{"owner"}}, {Policy: "c", Need: 2, Words: []string{"ben", "kim"}, Fresh: time.Hour}}}
	two := &Asking{Of: []Approve{{Policy: "c", Need: 2, Words: []string{"ben", "kim"}, Fresh: time.Minute}, {Policy: "b", Guardrail: true, Need: 1, Words: []string{"owner"}}, {Policy: "b", Need: 1, Words: []string{"owner"}}}}
	a, b := one.With(two), two.With(one)
	if fmt.Sprint(a.Of) != fmt.Sprint(b.Of) || len(a.Of) != 4 || a.Fresh() != time.Minute || one.Fresh() != time.Hour || len(one.Of) != 2 {
		t.Errorf("%v\n%v", a.Of, b.Of)
	}
	if !one.Within(a.Of) || a.Within(one.Of) || (*Asking)(nil).With(one) != one || one.With(nil) != one {
		t.Error("within")
	}
}
