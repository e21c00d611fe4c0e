// Scale fills a PostgreSQL of its own with identities, two grants and two credentials each, has the built
// binary serve them, and prints what it measures, one a line:
//
//	scale <name> <value> <unit> (goal …)
//
// What costs are compared with is a second store with a thousand identities, in the same run and in turn. All of it runs on
// this machine, so a time is that of database, control plane and gateway together. Lines of what does not
// meet its goal end in a word that says so; -strict has the program fail then.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("identities", 1_000_000, "how many there are")
	rounds := flag.Int("rounds", 15, "rounds of the comparison of costs")
	each := flag.Duration("each", 2*time.Second, "time of one round")
	colds := flag.Int("colds", 3, "how many times a gateway starts that knows nothing; the median counts")
	strict := flag.Bool("strict", false, "fail when a goal is missed")
	flag.Parse()
	missed, err := run(max(*n, few), *colds, *rounds, *each)
	if errors.Is(err, pgserver.ErrMissing) && !pgserver.CI() {
		log.Print("scale: nothing is measured: ", err)
		return
	}
	if err != nil {
		log.Fatal("scale: ", err)
	}
	if missed > 0 && *strict {
		log.Fatalf("scale: %d goals were missed", missed)
	}
}

// few is how many identities the store has that the large one is compared with.
const few = 1000

// print prints a figure.
func print(name string, v float64, unit, goal string) {
	if goal != "" {
		goal = " (" + goal + ")"
	}
	fmt.Printf("scale %s %s %s%s\n", name, strconv.FormatFloat(v, 'g', 4, 64), unit, goal)
}

// goals counts those that were missed.
type goals int

func (g *goals) most(name string, v float64, unit string, most float64) {
	word := fmt.Sprintf("goal at most %g", most)
	if v > most {
		word += ", missed"
		*g++
	}
	print(name, v, unit, word)
}

func run(n, colds, rounds int, each time.Duration) (missed goals, err error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "lysc")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	pg, err := pgserver.Start("shared_buffers=1GB", "max_wal_size=8GB", "maintenance_work_mem=256MB")
	if err != nil {
		return 0, err
	}
	defer pg.Stop()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	defer upstream.Close()
	var stacks [2]*stack
	for k, size := range []int{few, n} {
		s, err := filled(ctx, pg, filepath.Join(dir, fmt.Sprint(k)), upstream.URL, size)
		if err != nil {
			return 0, err
		}
		defer s.end()
		stacks[k] = s
	}
	small, large := stacks[0], stacks[1]
	fmt.Printf("scale identities %d identities\n", n)
	if err := wire(n); err != nil {
		return 0, err
	}
	print("control_start", large.controlStart.Seconds(), "s", "")
	print("control_start_cpu", large.control.cpu(), "s", "")

	if _, _, _, err := small.cold("small"); err != nil {
		return 0, err
	}
	var took, theirs, ours []float64
	for try := range colds {
		if try > 0 {
			large.gateway.end()
		}
		d, gateway, control, err := large.cold(fmt.Sprint("cold-", try))
		if err != nil {
			return 0, err
		}
		took, theirs, ours = append(took, d.Seconds()), append(theirs, gateway), append(ours, control)
	}
	missed.most("snapshot_to_cold_gateway", median(took), "s", 30)
	print("snapshot_cpu_gateway", median(theirs), "s", "")
	print("snapshot_cpu_control", median(ours), "s", "")
	_, peak := large.gateway.memory()
	print("gateway_peak", peak/(1<<20), "MiB", "")
	kept, err := large.gateway.quiet(2 * time.Minute)
	if err != nil {
		return 0, err
	}
	print("view_to_disk_cpu", kept, "s", "")
	a, b := settled(small.gateway), settled(large.gateway)
	print("gateway_resident_small", a/(1<<20), "MiB", "")
	print("gateway_resident", b/(1<<20), "MiB", "")
	if n >= 20*few { // of fewer it is what the two processes differ by anyway
		missed.most("gateway_memory_per_identity", (b-a)/float64(n-few), "bytes", 1024)
	}
	slowest, err := large.api(n)
	if err != nil {
		return 0, err
	}
	missed.most("api_slowest", float64(slowest.Microseconds())/1000, "ms", 50)
	if _, err := large.gateway.quiet(2 * time.Minute); err != nil {
		return 0, err
	}
	if err := costs(small, large, n, rounds, each, &missed); err != nil {
		return 0, err
	}
	return missed, kills(large, n)
}

func filled(ctx context.Context, pg *pgserver.Server, dir, upstream string, n int) (*stack, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	database, err := pg.New()
	if err != nil {
		return nil, err
	}
	f, err := newFiller(n, upstream)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := f.fill(ctx, dir, database); err != nil {
		return nil, err
	}
	log.Printf("scale: %d identities are in the database after %s", n, time.Since(begun).Round(time.Second/10))
	s := newStack(dir, database)
	if err := s.begin(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// settled is what a gateway has in RAM once it gives nothing back any more.
func settled(p *process) float64 {
	least, _ := p.memory()
	for quiet := 0; quiet < 10; quiet++ {
		time.Sleep(time.Second)
		if now, _ := p.memory(); now < least*0.995 {
			least, quiet = now, 0
		}
	}
	return least
}

func costs(small, large *stack, n, rounds int, each time.Duration, missed *goals) error {
	a, err := newLoad(small, few)
	if err != nil {
		return err
	}
	b, err := newLoad(large, n)
	if err != nil {
		return err
	}
	x, y, err := cost(a, b, rounds, each)
	if err != nil {
		return err
	}
	print("request_cpu_small", x, "us", "")
	print("request_cpu", y, "us", "")
	missed.most("request_cost_vs_1000_identities", y/x, "ratio", 1.10)
	return nil
}

// kills pulls the cord a few times and prints how long it takes until the gateway has confirmed it, by the control plane's clock.
func kills(s *stack, n int) error {
	var took []float64
	for k := range 21 {
		var r struct {
			Receipt struct {
				Committed time.Time
				Confirmed map[string]time.Time
			}
		}
		if err := s.call("POST", "kill", map[string]any{"identity": name(k * 100 % n), "reason": "measured"}, &r); err != nil {
			return err
		}
		at, ok := r.Receipt.Confirmed[s.named]
		if !ok {
			return fmt.Errorf("%s has not confirmed a kill: %v", s.named, r.Receipt)
		}
		took = append(took, at.Sub(r.Receipt.Committed).Seconds()*1000)
	}
	print("kill_confirmed", median(took), "ms", "")
	return nil
}

// wire prints how many bytes of a snapshot an identity is, with all that is its own.
func wire(n int) error {
	f, err := newFiller(n, "http://127.0.0.1:1")
	if err != nil {
		return err
	}
	i, g := f.identity(n/2), f.grantsOf(n/2)
	c, err := f.credentials(n / 2)
	var b []byte
	for _, change := range []feed.Change{{Identity: &i}, {Credential: &c[0]}, {Credential: &c[1]}, {Grant: &g[0]}, {Grant: &g[1]}} {
		doc, e := json.Marshal(change)
		line, e2 := feed.Encode(feed.Cursor{}, doc)
		line.Part = true
		b = line.Append(b)
		err = errors.Join(err, e, e2)
	}
	print("wire_bytes_per_identity", float64(len(b)), "bytes", "")
	return err
}
