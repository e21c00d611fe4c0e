package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// book opens a ledger as lanyard serve has it, on disk and synced before it
// returns, in a folder that close removes; or in a database, if one is named.
func book(database string) (record func(context.Context, []ledger.Event) error, close func(), err error) {
	dir, err := os.MkdirTemp("", "lanyard-bench-")
	if err != nil {
		return nil, nil, err
	}
	box, err := seal.New()
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(context.Background(), store.Config{Dir: dir, Database: database, Now: time.Now, Rand: rand.Reader, Seal: box, Fatal: func(err error) { panic(err) }})
	if err != nil {
		return nil, nil, fmt.Errorf("opening the ledger: %w", err)
	}
	return db.Record, func() { db.Close(); os.RemoveAll(dir) }, nil
}
