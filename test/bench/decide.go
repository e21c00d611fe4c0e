package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// runDecide is the role: it fills a view with n identities and prints the
// nanoseconds of a decision and the bytes of an identity. A decision is what a
// request needs of the view: is the token still good, whose is it, may it.
func runDecide(arg string) error {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return err
	}
	before := heap()
	view := feed.NewView()
	if err := populate(view, "http://127.0.0.1:1", n); err != nil {
		return err
	}
	bytes := float64(heap()-before) / float64(n)
	up, _ := view.Upstream("mail")
	r := policy.Request{Call: policy.Call{Upstream: "mail", Action: "things.read", Class: policy.Read, Resource: thing, Arguments: map[string]any{"id": "17c2"}},
		Upstream: up, Now: time.Now(), Source: "127.0.0.1"}
	hot := make([]identity.ID, min(n, 4096)) // spread over all
	for i := range hot {
		hot[i] = agentID(rand.IntN(n))
	}
	one := func(id identity.ID) error {
		c := token.Claims{ID: "tok_bench", Chain: identity.Alone(id, 0), Expires: r.Now.Add(time.Minute), Credential: "cred_" + id.Name()}
		if err := view.Check(c, r.Now); err != nil {
			return err
		}
		s, _ := view.Subject(id)
		set, err := s.Set()
		if err != nil {
			return err
		}
		if d := set.Decide(r); !d.Allow {
			return fmt.Errorf("%s is refused: %s", id, d.Reason)
		}
		return nil
	}
	for _, id := range hot {
		if err := one(id); err != nil {
			return err
		}
	}
	var took []float64
	for range 7 {
		const times = 100_000
		begun := time.Now()
		for i := range times {
			one(hot[i%len(hot)])
		}
		took = append(took, float64(time.Since(begun).Nanoseconds())/times)
	}
	fmt.Println(median(took), bytes)
	return nil
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func deciding() error {
	for _, n := range []int{10, 10_000, 1_000_000} {
		p, err := child("decide", strconv.Itoa(n))
		if err != nil {
			return err
		}
		p.end()
		ns, err := strconv.ParseFloat(p.addr, 64)
		if err != nil {
			return err
		}
		figure(fmt.Sprintf("decide_ns_%d", n), ns, "ns")
		if n == 1_000_000 {
			b, err := strconv.ParseFloat(p.more[0], 64)
			if err != nil {
				return err
			}
			figure("view_bytes_per_identity", b, "bytes")
		}
	}
	return nil
}
