package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// onPostgres compares the issuer over PostgreSQL with the issuer over SQLite, and says how many events go into PostgreSQL.
// Both are on the same disk and sync each commit.
func onPostgres(conns, rounds int, each time.Duration) error {
	s, err := pgserver.Start("fsync=on", "full_page_writes=on", "shared_buffers=128MB")
	if errors.Is(err, pgserver.ErrMissing) {
		fmt.Fprintln(os.Stderr, "bench: pg_vs_sqlite_issue and events_per_s_into_pg are not measured:", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Stop()
	h, err := newHolder()
	if err != nil {
		return err
	}
	url, err := s.New()
	if err != nil {
		return err
	}
	var targets []target
	for _, database := range []string{"", url} {
		p, err := child("issuer", h.jwk, database)
		if err != nil {
			return err
		}
		defer p.end()
		t := issueTarget(h, p)
		if _, err := t.load(conns, each/4, 8000); err != nil {
			return err
		}
		targets = append(targets, t)
	}
	rates := make([][]float64, len(targets))
	for range rounds {
		for n, t := range targets {
			r, err := t.load(conns, each, 12_000)
			if err != nil {
				return err
			}
			rates[n] = append(rates[n], r.perSecond)
		}
	}
	ratio("pg_vs_sqlite_issue", median(rates[1])/median(rates[0]))
	figure("issue_into_pg_per_s", median(rates[1]), "tokens/s")
	var appended []float64
	for range min(rounds, 3) {
		if url, err = s.New(); err != nil {
			return err
		}
		rate, err := appendRate(url, each)
		if err != nil {
			return err
		}
		appended = append(appended, rate)
	}
	figure("events_per_s_into_pg", median(appended), "events/s")
	if url, err = s.New(); err != nil {
		return err
	}
	alone, err := commitTime(url)
	if err == nil {
		figure("pg_commit_ms", alone, "ms")
	}
	return err
}

// commitTime is how long one event takes until it is durable, when nothing else is written, in milliseconds.
func commitTime(database string) (float64, error) {
	record, closeBook, err := book(database)
	if err != nil {
		return 0, err
	}
	defer closeBook()
	var took []float64
	for n := range 300 {
		begun := time.Now()
		if err := record(context.Background(), []ledger.Event{sample(n)}); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun).Seconds()*1000)
	}
	return median(took), nil
}
