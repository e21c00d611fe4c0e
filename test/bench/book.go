package main

import (
	"context"
	"sync"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// book records events into a tree in memory.
func book() (func(context.Context, []ledger.Event) error, error) {
	var mu sync.Mutex
	var tree ledger.Tree
	return func(_ context.Context, events []ledger.Event) error {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range events {
			tree.Append(e.Leaf())
		}
		return nil
	}, nil
}
