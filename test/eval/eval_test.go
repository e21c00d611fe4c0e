package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEval plays a small part of the data set in every way, so that the evaluation itself is known to work: the attacks that
// are played succeed without Lanyard, are stopped with it, and the owner who is asked sees where a destination came from.
func TestEval(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "lanyard")
	build := exec.Command("go", "build", "-o", bin, "./cmd/lanyard")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	suites, runs, err := load("data")
	if err != nil {
		t.Fatal(err)
	}
	var some []*run
	seen, of := map[string]bool{}, map[string]int{}
	for _, r := range runs { // those that have a tool in them which was not seen with that attack
		for _, c := range r.Calls {
			if sort := r.Suite + " " + r.Injection + " " + c.Tool; !seen[sort] && of[r.Suite] < 20 && !slices.Contains(some, r) {
				seen[sort] = true
				of[r.Suite]++
				some = append(some, r)
			}
		}
	}
	all, err := evaluate(t.Context(), bin, suites, some, []string{"without", "with", "redirect", "respell"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	report(&out, suites, some, all, true)
	for _, r := range some {
		if _, attacked := r.outcome(nil); r.Injection != "" && !attacked {
			t.Errorf("%s: the attack does not succeed when nothing is refused", r.ID)
		}
	}
	for _, way := range []string{"without", "with", "respell"} {
		for _, p := range all[way] {
			if p.attacked {
				t.Errorf("%s: the attack of %s succeeded", way, p.ID)
			}
		}
	}
	shown := false
	for _, p := range all["with"] {
		if !p.done {
			t.Errorf("%s was not done though the owner answered", p.ID)
		}
		for _, s := range p.stopped {
			shown = shown || strings.Contains(s.page, "was first seen in text that anybody may have written, in what tools.")
		}
	}
	if f := count(all["with"], ""); !shown || f.questions == 0 || len(f.stoppedAttack) < 3 {
		t.Errorf("the owner was not shown where anything came from, or hardly asked: %+v", f)
	}
	if len(some) < 20 || t.Failed() {
		os.Stderr.WriteString(out.String())
		t.Errorf("%d runs", len(some))
	}
}

// TestSpellings: a way to write an address otherwise is otherwise, and what is no address stays.
func TestSpellings(t *testing.T) {
	for i, f := range spellings {
		for _, v := range []string{"mark@example.com", "www.example.com/x"} {
			if f(v) == v {
				t.Errorf("spelling %d of %s is the same", i, v)
			}
		}
	}
	args := map[string]any{"to": []any{"a@example.com"}, "n": 1.0, "in": map[string]any{"x": "y"}}
	got := mapped(args, "", func(name, v string) string { return name + "=" + v })
	if got["to"].([]any)[0] != "to=a@example.com" || got["n"] != 1.0 || got["in"].(map[string]any)["x"] != "in.x=y" || args["to"].([]any)[0] != "a@example.com" {
		t.Errorf("%v, %v", got, args)
	}
}
