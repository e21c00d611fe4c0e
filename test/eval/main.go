// Eval plays recorded runs of an agent that obeys every instruction it reads, call by call, through
// the built lanyard over MCP, and prints what would have come of them: see docs/eval.md.
//
//	go run ./test/eval [-data DIR] [-suite NAME] [-ways without,with,redirect,respell] [-v]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// ways are those in which all runs are played; the last two only where there is an attack.
var ways = map[string]way{
	"without":  {},
	"with":     {answers: true},
	"redirect": {answers: true, redirect: true},
	"respell":  {answers: true, respell: true},
}

func main() {
	log.SetFlags(0)
	data := flag.String("data", "test/eval/data", "folder of suites.json and obedient.jsonl.gz")
	bin := flag.String("bin", "bin/lanyard", "the built lanyard")
	only := flag.String("suite", "", "one suite")
	which := flag.String("ways", "without,with,redirect,respell", "ways to play")
	verbose := flag.Bool("v", false, "print each question of harmless runs, and each attack that succeeded")
	flag.Parse()
	suites, runs, err := load(*data)
	if err != nil {
		log.Fatal("eval: ", err)
	}
	if *only != "" {
		runs = slices.DeleteFunc(runs, func(r *run) bool { return r.Suite != *only })
		maps.DeleteFunc(suites, func(name string, _ *suite) bool { return name != *only })
	}
	all, err := evaluate(context.Background(), *bin, suites, runs, strings.Split(*which, ","))
	if err != nil {
		log.Fatal("eval: ", err)
	}
	report(os.Stdout, suites, runs, all, *verbose)
}

// evaluate plays all runs in each way.
func evaluate(ctx context.Context, bin string, suites map[string]*suite, runs []*run, names []string) (map[string][]played, error) {
	all, errs := make([][]played, len(names)), make([]error, len(names))
	two := make(chan struct{}, 2)
	var wait sync.WaitGroup
	for i, name := range names {
		w, ok := ways[name]
		if !ok {
			return nil, fmt.Errorf("there is no way %q; there is %v", name, slices.Sorted(maps.Keys(ways)))
		}
		wait.Go(func() {
			two <- struct{}{}
			defer func() { <-two }()
			all[i], errs[i] = evaluateWay(ctx, bin, suites, runs, w)
		})
	}
	wait.Wait()
	out := map[string][]played{}
	for i, name := range names {
		out[name] = all[i]
	}
	return out, errors.Join(errs...)
}

// evaluateWay plays all runs in one way, behind a lanyard of its own.
func evaluateWay(ctx context.Context, bin string, suites map[string]*suite, runs []*run, w way) (list []played, err error) {
	offices := map[string]*office{}
	for name, s := range suites {
		offices[name] = newOffice(s, runs)
		defer offices[name].close()
	}
	h, err := open(bin, suites, offices)
	if err != nil {
		return nil, err
	}
	defer h.close()
	for _, r := range runs {
		if r.Injection == "" && (w.redirect || w.respell) {
			continue
		}
		p, err := h.play(ctx, suites[r.Suite], offices[r.Suite], r, w)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}
