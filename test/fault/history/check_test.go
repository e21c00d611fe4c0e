package history

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

const second = int64(time.Second)

// good is a history in which every promise was kept: gw-b was cut off from second 10 to 20, and x was switched off meanwhile.
func good() []Line {
	lines := []Line{{Kind: Rules, Rules: &Terms{Gateways: []string{"gw-a", "gw-b"}, Nodes: []string{"c1"}, Steady: "steady",
		Lease: 2 * time.Second, Heal: 5 * time.Second, Gap: 3 * time.Second, Flight: 500 * time.Millisecond}}}
	pass := func(id, gateway, subject string, at int64) {
		lines = append(lines, Line{Kind: Request, ID: id, Who: gateway, What: subject, Began: at, Ended: at + 20, Status: 200},
			Line{Kind: Got, ID: id, Ended: at + 10}, Line{Kind: Event, ID: id, Who: gateway})
	}
	for at := second; at < 30*second; at += second {
		name := time.Duration(at).String()
		pass("a"+name, "gw-a", "steady", at)
		if at < 12*second || at > 20*second {
			pass("b"+name, "gw-b", "steady", at)
		}
	}
	pass("x1", "gw-a", "x", 9*second)
	pass("x2", "gw-b", "x", 11*second+second/2)
	pass("x3", "gw-a", "x", 26*second)
	return append(lines,
		Line{Kind: Fault, What: "cut", Began: 10 * second, Ended: 20 * second, Broken: &Broken{Cuts: []string{"gw-b"}}},
		Line{Kind: Off, Who: "c1", What: "x", Began: 11 * second, Ended: 11*second + 1000, Result: OK, Told: &Told{Confirmed: []string{"gw-a"}, Waiting: map[string]int64{"gw-b": second}}},
		Line{Kind: Request, ID: "r", Who: "gw-a", What: "x", Began: 12 * second, Ended: 12*second + 10, Status: 403},
		Line{Kind: On, Who: "c1", What: "x", Began: 25 * second, Ended: 25*second + 10, Result: OK},
		Line{Kind: Off, Who: "c1", What: "y", Began: 26 * second, Ended: 27 * second, Result: Unknown},
		Line{Kind: Make, Who: "c1", What: "one", Began: 21 * second, Ended: 22 * second, Result: OK},
		Line{Kind: Make, Who: "c1", What: "two", Began: 15 * second, Ended: 16 * second, Result: Refused},
		Line{Kind: Make, Who: "c1", What: "three", Began: 15 * second, Ended: 16 * second, Result: Unknown},
		Line{Kind: Made, What: "one"}, Line{Kind: Made, What: "three"}, Line{Kind: May, What: "x"}, Line{Kind: May, What: "steady"},
		Line{Kind: Ledger, Who: "c1", Result: OK},
		Line{Kind: End},
	)
}

// without is a history without the lines of which.
func without(lines []Line, which func(Line) bool) []Line { return slices.DeleteFunc(lines, which) }

// with is a history with more lines before its end.
func with(lines []Line, more ...Line) []Line { return slices.Insert(lines, len(lines)-1, more...) }

// change changes the lines of which.
func change(lines []Line, which func(Line) bool, do func(*Line)) []Line {
	for i := range lines {
		if which(lines[i]) {
			do(&lines[i])
		}
	}
	return lines
}

// sent is a request that the upstream received, with its event.
func sent(id, gateway, subject string, began, got int64) []Line {
	return []Line{{Kind: Request, ID: id, Who: gateway, What: subject, Began: began, Ended: got + 10, Status: 200}, {Kind: Got, ID: id, Ended: got}, {Kind: Event, ID: id}}
}

// TestCheck: the good history is good, and each rule finds what is against it, and nothing else does.
func TestCheck(t *testing.T) {
	of := func(k Kind, what string) func(Line) bool {
		return func(l Line) bool { return l.Kind == k && (l.What == what || l.ID == what) }
	}
	all := func(k Kind) func(Line) bool { return func(l Line) bool { return l.Kind == k } }
	for _, c := range []struct {
		name, rule string
		lines      []Line
	}{
		{"good", "", good()},
		{"nothing", RuleWhole, nil},
		{"cut off", RuleWhole, good()[:20]},
		{"no fault", RuleWhole, without(good(), all(Fault))},
		{"nothing refused", RuleWhole, without(good(), of(Request, "r"))},
		{"no ledger", RuleWhole, without(good(), all(Ledger))},
		{"a request twice", RuleWhole, with(good(), Line{Kind: Request, ID: "x1", Who: "gw-a", What: "x", Began: 1, Ended: 2})},
		{"received from nobody", RuleWhole, with(good(), Line{Kind: Got, ID: "z", Ended: 1}, Line{Kind: Event, ID: "z"})},
		{"the fault was too short", RuleWhole, change(good(), all(Fault), func(l *Line) { l.Began = 19 * second })},
		{"a lost change", RuleLost, without(good(), of(Made, "one"))},
		{"a ghost", RuleGhost, with(good(), Line{Kind: Made, What: "two"})},
		{"unknown and gone", "", without(good(), of(Made, "three"))},
		{"lost on", RuleState, without(good(), of(May, "x"))},
		{"lost off", RuleState, with(good(), Line{Kind: Off, Who: "c1", What: "steady", Began: 28 * second, Ended: 29 * second, Result: OK})},
		{"unknown off", "", with(good(), Line{Kind: May, What: "y"})},
		{"sent after it was confirmed", RuleLate, with(good(), sent("l", "gw-a", "x", 11*second+1001, 11*second+1002)...)},
		{"sent before and received long after", RuleLate, with(good(), sent("l", "gw-a", "x", 11*second, 13*second)...)},
		{"under way", "", with(good(), sent("l", "gw-a", "x", 11*second+999, 11*second+2000)...)},
		{"after it has stopped", RuleLate, with(change(good(), of(Off, "x"), func(l *Line) { l.Told.Waiting["gw-b"] = second / 2 }), sent("l", "gw-b", "x", 11*second+second/2+1001, 11*second+second/2+1002)...)},
		{"before it has stopped", "", with(good(), sent("l", "gw-b", "x", 11*second+2000, 11*second+2002)...)},
		{"after it was switched on", "", with(good(), sent("l", "gw-b", "x", 25*second+1, 25*second+2)...)},
		{"not named, after the lease", RuleLate, with(change(good(), of(Off, "x"), func(l *Line) { l.Told = nil }), sent("l", "gw-a", "x", 13*second+1001, 13*second+1002)...)},
		{"killed again and again", RuleLate, with(good(), append(sent("l", "gw-a", "z", 24*second, 24*second+1),
			Line{Kind: Off, Who: "c1", What: "z", Began: 22 * second, Ended: 23 * second, Result: OK, Told: &Told{Confirmed: []string{"gw-a", "gw-b"}}},
			Line{Kind: On, Who: "c1", What: "z", Began: 23 * second, Ended: 24 * second, Result: Refused})...)},
		{"not named", RuleUnnamed, change(good(), of(Off, "x"), func(l *Line) { l.Told = &Told{Waiting: map[string]int64{"gw-b": second}} })},
		{"not named, and evicted", "", change(change(good(), of(Off, "x"), func(l *Line) { l.Told = &Told{Waiting: map[string]int64{"gw-b": second}} }), func(l Line) bool { return l.Kind == Fault }, func(l *Line) {
			b := *l.Broken
			b.Evicted = []string{"gw-a"}
			l.Broken = &b
		})},
		{"not named among others", "", change(good(), of(Off, "x"), func(l *Line) {
			l.Told = &Told{Waiting: map[string]int64{"gw-b": second, "others (x)": 300 * second}}
		})},
		{"a bound too late", RuleBound, change(good(), of(Off, "x"), func(l *Line) { l.Told.Waiting["gw-b"] = 3 * second })},
		{"served after its lease", RuleLease, with(good(), sent("l", "gw-b", "steady", 15*second, 15*second+1)...)},
		{"sent before and served after its lease", RuleLease, with(good(), sent("l", "gw-b", "steady", 11*second, 15*second+1)...)},
		{"no event", RuleEvent, without(good(), of(Event, "x1"))},
		{"an event twice", RuleEvent, with(good(), Line{Kind: Event, ID: "x1"})},
		{"a bad ledger", RuleLedger, with(good(), Line{Kind: Ledger, Who: "c2", Result: Unknown, Text: "leaf 7"})},
		{"a gateway does not come back", RuleHeal, without(good(), func(l Line) bool { return l.Who == "gw-b" && l.Kind == Request && l.Began > 20*second })},
		{"a node does not come back", RuleHeal, change(good(), of(Make, "one"), func(l *Line) { l.Began = 5 * second })},
		{"the other stalls", RuleStall, change(good(), func(l Line) bool {
			return l.Kind == Request && l.Who == "gw-a" && l.What == "steady" && l.Began > 11*second && l.Began < 19*second
		}, func(l *Line) { l.Status = 503 })},
	} {
		found := Check(c.lines)
		if c.rule == "" && len(found) > 0 {
			t.Errorf("%s: %v", c.name, found)
		} else if c.rule != "" && !slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == c.rule }) {
			t.Errorf("%s: nothing is against %q: %v", c.name, c.rule, found)
		}
		for _, f := range found {
			if f.Rule != c.rule && f.Rule != RuleWhole {
				t.Errorf("%s: also %v", c.name, f)
			}
		}
	}
}

func TestLog(t *testing.T) {
	var b bytes.Buffer
	log := NewLog(&b)
	for _, l := range good() {
		log.Add(l)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	lines, err := Read(bytes.NewReader(b.Bytes()))
	if err != nil || len(Check(lines)) > 0 || len(lines) != len(good()) {
		t.Errorf("%d lines, %v, %v", len(lines), Check(lines), err)
	}
	if _, err := Read(bytes.NewReader(append(b.Bytes(), "{"...))); err == nil {
		t.Error("half a line is read")
	}
}
