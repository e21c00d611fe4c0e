package feed

import (
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// born is all that makes a child of parent, as that is in the view, able to act.
func born(parent, name string, generation uint64, grants ...*policy.Grant) []Change {
	i := identityOf(name)
	i.Generation, i.Parent, i.Inherits = 0, identity.Link{ID: agent(parent), Generation: generation}, len(grants) == 0
	list := []Change{{Identity: i}, {Credential: credentialOf(name)}}
	for _, g := range grants {
		list = append(list, Change{Grant: g})
	}
	return list
}

// nursery is an office in which bot started kid, that started toddler, and narrow, which has a grant of its own.
func nursery(t *testing.T) *View {
	v := office(t)
	apply(t, v, append(append(born("bot", "kid", 3), born("kid", "toddler", 0)...), born("bot", "narrow", 3, grantOf("narrow"))...)...)
	return v
}

// TestLine: a child stands and falls with all above it.
func TestLine(t *testing.T) {
	edit := func(name string, f func(*identity.Identity)) Change {
		i := identityOf(name)
		f(i)
		return Change{Identity: i}
	}
	for _, c := range []struct {
		name    string
		change  Change
		toddler string // part of why it may not act; empty: it may
	}{
		{"nothing", Change{}, ""},
		{"parent killed", Change{Kill: &Kill{ID: "k", Identities: []identity.ID{agent("kid")}, At: now}}, "kid is killed"},
		{"root killed", Change{Kill: &Kill{ID: "k", Identities: []identity.ID{agent("bot")}, At: now}}, "bot is killed"},
		{"root restored", edit("bot", func(i *identity.Identity) { i.Generation = 4 }), "bot was stopped since"},
		{"root suspended", edit("bot", func(i *identity.Identity) { i.State = identity.Suspended }), "bot is suspended"},
		{"root expired", edit("bot", func(i *identity.Identity) { i.Expires = now }), "bot expired"},
		{"a stranger killed", Change{Kill: &Kill{ID: "k", Identities: []identity.ID{agent("other")}, At: now}}, ""},
		{"root unknown", Change{Identity: &identity.Identity{ID: agent("bot")}, Removed: true}, "unknown"},
	} {
		v := nursery(t)
		cl := claims("toddler")
		line, err := v.Line(agent("toddler"), now)
		if cl.Chain = line; err != nil || strings.Join(line.Texts(), " ") != agent("toddler").String()+" "+agent("kid").String()+" "+agent("bot").String() {
			t.Fatal(line, err)
		}
		var stopped []Stop
		v.OnStop(func(s Stop) { stopped = append(stopped, s) })
		if c.change.kinds() > 0 {
			apply(t, v, c.change)
		}
		_, err = v.Line(agent("toddler"), now)
		if check := v.Check(cl, now); (err == nil) != (c.toddler == "") || (check == nil) != (err == nil) || err != nil && !strings.Contains(err.Error(), c.toddler) {
			t.Errorf("%s: %v, token %v", c.name, err, check)
		}
		if err != nil && (len(stopped) != 1 || !stopped[0].Touches(&cl, "mail")) {
			t.Errorf("%s: what runs is not asked again: %+v", c.name, stopped)
		}
	}
	v := nursery(t)
	apply(t, v, born("toddler", "x1", 0)...)
	for n := range 6 {
		apply(t, v, born("x"+string(rune('1'+n)), "x"+string(rune('2'+n)), 0)...)
	}
	if _, err := v.Line(agent("x5"), now); err != nil {
		t.Error(err)
	}
	if _, err := v.Line(agent("x6"), now); err == nil || !strings.Contains(err.Error(), "more than 8") {
		t.Error(err)
	}
	loop := nursery(t)
	apply(t, loop, edit("bot", func(i *identity.Identity) { i.Parent = identity.Link{ID: agent("toddler")} }))
	if _, err := loop.Line(agent("kid"), now); err == nil {
		t.Error("a loop has an end")
	}
}

// TestHolds: a child has something to ask for where its parent has, or where both have.
func TestHolds(t *testing.T) {
	v := nursery(t)
	for _, c := range []struct {
		name string
		take string // whose grant goes
		want bool
	}{{"toddler", "", true}, {"narrow", "", true}, {"toddler", "bot", false}, {"narrow", "bot", false}, {"narrow", "narrow", false}} {
		v := nursery(t)
		if c.take != "" {
			apply(t, v, Change{Grant: grantOf(c.take), Removed: true})
		}
		line, err := v.Line(agent(c.name), now)
		if err != nil || v.Holds(line, "mail", now) != c.want || v.Holds(line, "drive", now) || v.Holds(line, "mail", later) {
			t.Errorf("%s without %s's grant: %v, %v", c.name, c.take, v.Holds(line, "mail", now), err)
		}
	}
	for name, chain := range map[string]identity.Chain{"nobody": nil, "without its parent": {{ID: agent("kid")}}, "behind somebody else": {{ID: agent("kid")}, {ID: agent("other"), Generation: 3}}} {
		if v.Holds(chain, "mail", now) {
			t.Errorf("%s holds something", name)
		}
	}
}

// TestForgotten: what is forgotten leaves nothing in memory, and its key may be found nowhere.
func TestForgotten(t *testing.T) {
	v := nursery(t)
	cl := claims("toddler")
	cl.Chain, _ = v.Line(agent("toddler"), now)
	gone := Change{Identity: &identity.Identity{ID: agent("toddler")}, Removed: true}
	apply(t, v, gone, gone)
	if _, ok := v.Subject(agent("toddler")); ok {
		t.Error("it is there")
	}
	if _, ok := v.Credential("print-toddler"); ok {
		t.Error("its credential is there")
	}
	if v.Check(cl, now.Add(time.Minute)) == nil || v.Live() != nil {
		t.Error("its token is good", v.Live())
	}
}
