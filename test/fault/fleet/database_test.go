package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestDatabase: what becomes of the database of a fleet. A standby has all that was committed, and takes over.
func TestDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{standby: true, database: []string{"max_connections=60"}})

	w.fault("all connections are taken by others", everyone, func() func() {
		var taken []*pgx.Conn
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		w.must(w.pg.Cut())
		for range 200 {
			c, err := pgx.Connect(ctx, w.pg.URL()+"&user=others")
			if err != nil {
				break
			}
			taken = append(taken, c)
		}
		w.t.Logf("%d connections are taken", len(taken))
		return func() {
			for _, c := range taken {
				c.Close(context.Background())
			}
		}
	}, 8*time.Second)

	w.during("what nodes are told of each other's commits gets lost", nobody, func() func() { return func() {} }, func() {
		for range 25 {
			w.must(w.pg.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'listen%'"))
			time.Sleep(300 * time.Millisecond)
		}
	})

	w.during("the database is lost, and its standby takes over", everyone, func() func() { return func() {} }, func() {
		w.pg.Kill()
		time.Sleep(2 * time.Second)
		w.must(w.pg2.Promote())
	})
	w.judge()
}
