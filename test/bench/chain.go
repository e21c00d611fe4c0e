package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// lineOf is a chain of the first n agents, each of which may read.
func lineOf(n int) (c identity.Chain) {
	for i := range n {
		c = append(c, identity.Link{ID: agentID(i)})
	}
	return c
}

// runChain is the role: it prints the nanoseconds of a decision on a chain of 1, 2, 4 and 8
// links, which is what a request needs of the view: is the token still good, and may each of them.
func runChain() error {
	view := feed.NewView()
	if err := populate(view, "http://127.0.0.1:1", 100); err != nil {
		return err
	}
	up, _ := view.Upstream("mail")
	line := ""
	for _, n := range []int{1, 2, 4, 8} {
		c := token.Claims{ID: "tok_bench", Chain: lineOf(n), Credential: "cred_bot-0", Expires: time.Now().Add(time.Hour)}
		r := policy.Request{Call: policy.Call{Upstream: "mail", Action: "things.read", Class: policy.Read, Resource: thing, Arguments: map[string]any{"id": "17c2"}},
			Upstream: up, Now: time.Now(), Source: "127.0.0.1", Chain: c.Chain}
		one := func() error {
			if err := view.Check(c, r.Now); err != nil {
				return err
			}
			for _, l := range c.Chain {
				s, _ := view.Subject(l.ID)
				if err := s.Identity.Usable(r.Now); err != nil {
					return err
				}
				set, err := s.Set()
				if err != nil {
					return err
				}
				if d := set.Decide(r); !d.Allow {
					return fmt.Errorf("%s is refused: %s", l.ID, d.Reason)
				}
			}
			return nil
		}
		if err := one(); err != nil {
			return err
		}
		var took []float64
		for range 7 {
			const times = 50_000
			begun := time.Now()
			for range times {
				one()
			}
			took = append(took, float64(time.Since(begun).Nanoseconds())/times)
		}
		line += strconv.FormatFloat(median(took), 'g', 5, 64) + " "
	}
	fmt.Println(line)
	return nil
}

// chains measures what it costs that more than one is behind a request.
func chains(conns, rounds int, each time.Duration) error {
	p, err := child("chain")
	if err != nil {
		return err
	}
	p.end()
	for i, text := range append([]string{p.addr}, p.more...) {
		ns, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		figure(fmt.Sprintf("decide_chain_ns_%d", 1<<i), ns, "ns")
	}
	up, err := child("upstream")
	if err != nil {
		return err
	}
	defer up.end()
	gate, err := child("gateway", "http://"+up.addr, "", "")
	if err != nil {
		return err
	}
	defer gate.end()
	with := func(raw string) func(int) []byte {
		b := get("/mail"+thing, "Authorization: Bearer "+raw)
		return func(int) []byte { return b }
	}
	got, err := compare(conns, rounds, each,
		target{name: "one", addr: gate.addr, pid: gate.pid, request: with(gate.more[1])},
		target{name: "four", addr: gate.addr, pid: gate.pid, request: with(gate.more[4])})
	if err != nil {
		return err
	}
	ratio("gateway_chain4_vs_chain1", rate(got["four"])/rate(got["one"]))
	ratio("gateway_chain4_cpu_vs_chain1", cpu(got["four"])/cpu(got["one"]))
	return nil
}
