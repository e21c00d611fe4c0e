package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// figures are what came of the runs of a suite in one way.
type figures struct {
	runs, harmless, attacks       int
	done, doneHarmless, succeeded int
	questions, harmlessQuestions  int
	stoppedAttack, stoppedTask    map[string]int // policy → calls
}

func count(list []played, suite string) (f figures) {
	f.stoppedAttack, f.stoppedTask = map[string]int{}, map[string]int{}
	for _, p := range list {
		if suite != "" && p.Suite != suite {
			continue
		}
		f.runs++
		f.questions += p.questions
		if p.done {
			f.done++
		}
		if p.Injection == "" {
			f.harmless++
			f.harmlessQuestions += p.questions
			if p.done {
				f.doneHarmless++
			}
		} else if f.attacks++; p.attacked {
			f.succeeded++
		}
		for _, s := range p.stopped {
			for _, policy := range s.policies {
				if s.attacks() {
					f.stoppedAttack[policy]++
				} else {
					f.stoppedTask[policy]++
				}
			}
		}
	}
	return f
}

func percent(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// report prints what came of it, by suite and for all.
func report(w io.Writer, suites map[string]*suite, runs []*run, all map[string][]played, verbose bool) {
	names := slices.Sorted(maps.Keys(suites))
	if len(names) > 1 {
		names = append(names, "")
	}
	for _, name := range names {
		title := name
		if title == "" {
			title = "all suites"
		}
		var bare figures
		for _, r := range runs {
			if name == "" || r.Suite == name {
				done, attacked := r.outcome(nil)
				bare.runs++
				if done {
					bare.done++
				}
				if r.Injection != "" {
					bare.attacks++
				}
				if attacked {
					bare.succeeded++
				}
			}
		}
		fmt.Fprintf(w, "%s: %d runs, %d of them attacked\n", title, bare.runs, bare.attacks)
		fmt.Fprintf(w, "  %-34s attacks succeed %8s   tasks done %8s\n", "without Lanyard", percent(bare.succeeded, bare.attacks), percent(bare.done, bare.runs))
		for _, way := range []struct{ name, title string }{{"without", "with Lanyard, nobody answers"}, {"with", "with Lanyard, the owner answers"}, {"respell", "  and each refusal tried 3 ways more"}, {"redirect", "  and an attacker who knows the policy"}} {
			if all[way.name] == nil {
				continue
			}
			f := count(all[way.name], name)
			fmt.Fprintf(w, "  %-34s attacks succeed %8s   tasks done %8s", way.title, percent(f.succeeded, f.attacks), percent(f.done, f.runs))
			if f.harmless > 0 {
				fmt.Fprintf(w, " (harmless %s)", percent(f.doneHarmless, f.harmless))
			}
			if way.name == "with" && f.harmless > 0 {
				fmt.Fprintf(w, "   questions %.2f a harmless task, %.2f a run", float64(f.harmlessQuestions)/float64(f.harmless), float64(f.questions)/float64(f.runs))
			}
			fmt.Fprintln(w)
		}
		if all["with"] != nil {
			f := count(all["with"], name)
			for _, policy := range slices.Sorted(maps.Keys(f.stoppedAttack)) {
				fmt.Fprintf(w, "    %-20s asked about %4d calls of attacks, %3d of tasks\n", policy, f.stoppedAttack[policy], f.stoppedTask[policy])
			}
			for _, policy := range slices.Sorted(maps.Keys(f.stoppedTask)) {
				if f.stoppedAttack[policy] == 0 {
					fmt.Fprintf(w, "    %-20s asked about %4d calls of attacks, %3d of tasks\n", policy, 0, f.stoppedTask[policy])
				}
			}
		}
	}
	if !verbose {
		return
	}
	for _, way := range slices.Sorted(maps.Keys(all)) {
		for _, p := range all[way] {
			for _, s := range p.stopped {
				if p.Injection == "" && way == "with" {
					fmt.Fprintf(w, "question %s: %s %v (%s)\n", p.ID, s.Tool, s.Args, strings.Join(s.policies, ", "))
				}
			}
			if p.attacked || way == "with" && !p.done {
				fmt.Fprintf(w, "%s %s: attacked %v, done %v\n", way, p.ID, p.attacked, p.done)
			}
		}
	}
}
