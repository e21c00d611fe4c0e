package fleet

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestDatabase: what becomes of the database of a fleet. A standby has all that was committed, and takes over.
func TestDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{standby: true, database: []string{"max_connections=60"}})

	w.during("all connections are taken by others", everyone, func() func() { return func() {} }, func() {
		ctx := t.Context()
		mine, err := pgx.Connect(ctx, w.pg.URL())
		w.must(err)
		taken := []*pgx.Conn{mine}
		for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
			if _, err := mine.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lanyard'"); err != nil {
				w.t.Error(err)
			}
			for {
				c, err := pgx.Connect(ctx, w.pg.URL())
				if err != nil {
					break
				}
				taken = append(taken, c)
			}
		}
		for _, c := range taken {
			c.Close(ctx)
		}
		if len(taken) < 50 {
			w.t.Errorf("%d connections were taken", len(taken))
		}
	})

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
