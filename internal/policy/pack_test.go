package policy

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// TestPacks: each pack compiles on an upstream that has all words, and no word is in two parts of one.
func TestPacks(t *testing.T) {
	var actions []Action
	for _, p := range Packs() {
		for _, part := range p.Parts {
			for _, w := range part.Words {
				if !slices.ContainsFunc(actions, func(a Action) bool { return a.Name == "do."+w }) {
					actions = append(actions, Action{Name: "do." + w, Class: Write, Words: []string{w}})
				}
			}
		}
	}
	d, err := Describe(Upstream{Name: "office"}, actions)
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/guides/packs.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Packs() {
		for _, sentence := range append([]string{"### " + p.Name + "\n\n" + p.For}, p.Stops...) {
			if !strings.Contains(string(guide), sentence) {
				t.Errorf("docs/guides/packs.md does not say of %s: %s", p.Name, sentence)
			}
		}
		if p.For == "" || len(p.Stops) < 3 {
			t.Errorf("%s does not say what it is for, or what it stops", p.Name)
		}
		if len(p.Guardrails) > 0 {
			continue // for everybody: traced_test.go
		}
		seen := map[string]bool{}
		list, err := p.On(d, layer.Layers{Contacts: layer.Contacts{Never: []string{"evil.example"}}, Show: layer.Headers})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range list {
			g.Identity, g.Until = identity.MustID("spiffe://lanyard.local/agent/bot"), time.Now()
			if _, err := Compile(g, d); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
			if g.Layers == nil || g.Layers.Show != layer.Headers || len(g.Layers.Contacts.Never) != 1 {
				t.Errorf("%s: %s is not narrowed: %+v", p.Name, g.ID, g.Layers)
			}
			for _, w := range g.Actions {
				if seen[w] {
					t.Errorf("%s has %s twice", p.Name, w)
				}
				seen[w] = true
			}
		}
		if seen["mail.rule"] {
			t.Errorf("%s lets rules be changed", p.Name)
		}
	}
	if _, err := FindPack("everything"); err == nil {
		t.Error("there is a pack of everything")
	}
}
