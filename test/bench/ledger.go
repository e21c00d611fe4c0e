package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// sample is an event as a request makes it.
func sample(n int) ledger.Event {
	return ledger.Event{ID: fmt.Sprintf("evt_01a20a37-8350-7407-a000-%012x", n), Time: time.Now().UTC().Truncate(time.Microsecond), Type: "request",
		Outcome: ledger.Allowed, Actor: agentID(0).String(), Chain: []string{agentID(0).String()}, Owner: "maya", Credential: "cred_bot-0", Token: "tok_bench",
		Action: "things.read", Class: "read", Upstream: "mail", Resource: thing, Policies: []string{"bot-0/read"}, Request: "req_bench", Source: "127.0.0.1",
		Gateway: "bench", Status: 200, Duration: time.Millisecond}
}

// verifying exports a ledger and checks it as an auditor does, without a database.
func verifying() error {
	const events = 200_000
	tmp, err := os.MkdirTemp("", "lanyard-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	secret, verifier, err := ledger.NewKey(rand.Reader, "lanyard.bench")
	if err != nil {
		return err
	}
	var tree ledger.Tree
	leaves := make([][]byte, events)
	for i := range leaves {
		leaves[i] = sample(i).Leaf()
		tree.Append(leaves[i])
	}
	signed, err := ledger.Checkpoint{Origin: "lanyard.bench", Size: events, Root: tree.Root()}.Sign(secret)
	if err != nil {
		return err
	}
	dir := filepath.Join(tmp, "export")
	err = ledger.Export(dir, signed, verifier, func(yield func([]byte) error) error {
		for _, l := range leaves {
			if err := yield(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var rates []float64
	for range 3 {
		begun := time.Now()
		report, err := ledger.Check(os.DirFS(dir), verifier)
		if err != nil || !report.OK() || report.Events != events {
			return fmt.Errorf("checking the export: %v %w", report, err)
		}
		rates = append(rates, events/time.Since(begun).Seconds())
	}
	figure("verify_events_per_s", median(rates), "events/s")
	return nil
}

// appending records events that are durable when record returns, from many callers at once.
func appending(d time.Duration) error {
	rate, err := appendRate("", d)
	if err == nil {
		figure("ledger_append_per_s", rate, "events/s")
	}
	return err
}

func appendRate(database string, d time.Duration) (rate float64, err error) {
	record, closeBook, err := book(database)
	if err != nil {
		return 0, err
	}
	defer closeBook()
	const callers = 256
	var wg sync.WaitGroup
	counts, errs := make([]int, callers), make([]error, callers)
	begun := time.Now()
	for c := range callers {
		wg.Go(func() {
			for i := c; time.Since(begun) < d && errs[c] == nil; i += callers {
				errs[c] = record(context.Background(), []ledger.Event{sample(i)})
				counts[c]++
			}
		})
	}
	wg.Wait()
	n := 0
	for c := range callers {
		if errs[c] != nil {
			return 0, errs[c]
		}
		n += counts[c]
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}
