package policy

import (
	"strings"
	"testing"
	"time"
)

var bank = Described{Upstream: Upstream{Name: "mail", Environment: "production"}, Actions: []Action{
	{Name: "tools.pay", Class: Write, Parameters: []Parameter{{Name: "amount", Type: "number"}, {Name: "to.iban", Type: "string"}, {Name: "count", Type: "integer"}}}}}

// TestNumbers: amounts are compared exactly, and one that Cedar cannot hold is never taken for one that it can.
func TestNumbers(t *testing.T) {
	limit, floor := 100.50, 0.0001
	most := Grant{Actions: []string{"tools.pay"}, Where: map[string]Condition{"amount": {Min: &floor, Max: &limit}}}
	exactly := Grant{Actions: []string{"tools.pay"}, Where: map[string]Condition{"amount": {OneOf: []string{"5", "7.25"}}}}
	whatever := Grant{Actions: []string{"tools.pay"}}
	to := Grant{Actions: []string{"tools.pay"}, Where: map[string]Condition{"to.iban": {Like: "DE*"}}}
	cedar := Grant{Cedar: `permit(principal, action, resource) when { context.args has amount && context.args.amount.lessThan(decimal("0.3")) };`}
	rail := Guardrail{ID: "much", Cedar: `forbid(principal, action, resource) when { context.args has amount && context.args.amount.greaterThan(decimal("1000.0")) };`}
	for _, c := range []struct {
		name  string
		grant Grant
		args  map[string]any
		want  bool
	}{
		{"as much", most, map[string]any{"amount": Number("100.5")}, true},
		{"as much, written out", most, map[string]any{"amount": Number("100.500000")}, true},
		{"a bit more", most, map[string]any{"amount": Number("100.5001")}, false},
		{"more than a bit, but less than Cedar holds", most, map[string]any{"amount": Number("100.50001")}, false},
		{"less, but finer than Cedar holds", most, map[string]any{"amount": Number("100.49999")}, false},
		{"whole", most, map[string]any{"amount": Number("100")}, true},
		{"negative", most, map[string]any{"amount": Number("-0.5")}, false},
		{"with an exponent", most, map[string]any{"amount": Number("1e2")}, false},
		{"larger than Cedar holds", most, map[string]any{"amount": Number("99999999999999999999")}, false},
		{"missing", most, nil, false},
		{"one of", exactly, map[string]any{"amount": Number("7.2500")}, true},
		{"none of", exactly, map[string]any{"amount": Number("7.251")}, false},
		{"none of, finer", exactly, map[string]any{"amount": Number("7.25000001")}, false},
		{"not looked at", whatever, map[string]any{"amount": Number("3.14159265")}, true},
		{"0.1+0.2", cedar, map[string]any{"amount": Number("0.3")}, false},
		{"cedar", cedar, map[string]any{"amount": Number("0.2999")}, true},
		{"a member", to, map[string]any{"to.iban": "DE02"}, true},
		{"another member", to, map[string]any{"to.iban": "FR02"}, false},
	} {
		g := c.grant
		g.ID, g.Identity, g.Upstream, g.Plain = "g0", bot, "mail", g.Cedar == ""
		g.Until = now.Add(time.Hour)
		g, err := Compile(g, bank)
		if err != nil {
			t.Fatal(c.name, err)
		}
		decide := func(rails ...Guardrail) Decision {
			all, err := NewGuardrails(rails)
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewSet(Subject{ID: bot, Owner: "priya", Environment: "production"}, []Grant{g}, all)
			if err != nil {
				t.Fatal(err)
			}
			u := bank.Upstream
			return s.Decide(Request{Call{"mail", "tools.pay", Write, "tools/pay", c.args, ""}, &u, now, "127.0.0.1", nil})
		}
		if d := decide(); d.Allow != c.want {
			t.Errorf("%s: %+v\n%s", c.name, d, g.Cedar)
		}
		if c.name == "not looked at" && decide(rail).Allow {
			t.Error("a guardrail that cannot compare the amount lets it pass")
		}
	}
	if err := CompileGuardrail(rail, bank); err != nil {
		t.Error(err)
	}
	// Equality errs for nothing in Cedar, and upstreams compute with other numbers than Cedar does.
	for name, text := range map[string]string{
		"rail, dot":             `forbid(principal, action, resource) when { context.args has amount && context.args.amount == decimal("100.0") };`,
		"rail, quoted":          `forbid(principal, action, resource) when { context.args has "amount" && context.args["amount"] == decimal("100.0") };`,
		"rail, set":             `forbid(principal, action, resource) when { context.args has amount && [decimal("100.0"), decimal("1.0")].contains(context.args.amount) };`,
		"asking rail":           `@approve("owner") forbid(principal, action, resource) when { context.args has amount && context.args.amount == decimal("100.0") };`,
		"grant":                 `permit(principal, action, resource) when { context.args has amount && context.args.amount != decimal("100.0") };`,
		"asking grant":          `@approve("owner") permit(principal, action, resource) when { context.args has amount && context.args.amount != decimal("100.0") };`,
		"rail, in brackets":     `forbid(principal, action, resource) when { context.args has amount && (if true then context.args else context.args).amount == decimal("100.0") };`,
		"rail, all of them":     `forbid(principal, action, resource) when { context.args == {"amount": decimal("100.0")} };`,
		"rail, all there is":    `forbid(principal, action, resource) when { [1].contains(1) && (if true then context else context).args.amount == decimal("100.0") };`,
		"other rail, longer":    `forbid(principal, action, resource) when { context.args has amount_due && context.args.amount_due == decimal("100.0") };`,
		"other rail, other":     `forbid(principal, action, resource) when { context.depth > 5 || context.args has count && context.args.count == 3 || context has person && context.person == "amount" };`,
		"other rail, not of it": `forbid(principal, action, resource) when { principal.owner == "context.args.amount" };`,
		"other grant":           `permit(principal, action, resource) when { !(context.args has amount_due && context.args.amount_due == decimal("100.0")) };`,
	} {
		for _, amount := range []Number{"1e2", "100.00000000000000000001", "100"} {
			grants, rails := []Grant{{ID: "g", Identity: bot, Upstream: "mail", Cedar: "permit(principal, action, resource);", Until: now.Add(time.Hour)}}, []Guardrail(nil)
			if strings.Contains(name, "rail") {
				rails = []Guardrail{{ID: "r", Cedar: text}}
			} else {
				grants[0].Cedar = text
			}
			all, err := NewGuardrails(rails)
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewSet(Subject{ID: bot, Environment: "production"}, grants, all)
			if err != nil {
				t.Fatal(err)
			}
			u := bank.Upstream
			d := s.Decide(Request{Call{"mail", "tools.pay", Write, "tools/pay", map[string]any{"amount": amount}, ""}, &u, now, "127.0.0.1", nil})
			if asks := name == "asking rail" && amount == "100"; d.Allow != strings.HasPrefix(name, "other") || (d.Ask != nil) != asks {
				t.Errorf("%s of %s: %+v", name, amount, d)
			}
		}
	}
	fine, long, half := 0.00001, 1234567890123.4567, 1.5
	for why, where := range map[string]map[string]Condition{
		"four digits":      {"amount": {Max: &fine}},
		"15 digits":        {"amount": {Max: &long}},
		"no whole number":  {"count": {Min: &half}},
		"1e3":              {"amount": {Is: "1e3"}},
		"like is for text": {"amount": {Like: "1*"}},
	} {
		g := Grant{ID: "g", Identity: bot, Upstream: "mail", Plain: true, Actions: []string{"tools.pay"}, Where: where, Until: now.Add(time.Hour)}
		if c, err := Compile(g, bank); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("want %q, got %v\n%s", why, err, c.Cedar)
		}
	}
}
