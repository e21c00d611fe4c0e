package gateway

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/journal"
	"github.com/lanyard-dev/lanyard/internal/journal/journaltest"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

func openSpool(t testing.TB, dir string, limit int64, seal journal.Sealer) *Spool {
	t.Helper()
	s, err := OpenSpool(dir, "gw-1", limit, seal)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func some(names ...string) (list []ledger.Event) {
	for _, n := range names {
		list = append(list, ledger.Event{ID: "evt_" + n, Time: time.Now().UTC().Truncate(time.Microsecond), Type: "request", Outcome: ledger.Pending, Actor: "bot",
			Detail: map[string]string{"a": "canary"}, Chain: []string{"bot"}, Duration: time.Second, Reason: "\xff no text"})
	}
	return list
}

// emptied reads what waits in a spool, in order, and removes it.
func emptied(t testing.TB, s *Spool) (ids []string, damaged int) {
	t.Helper()
	for {
		n, events, err := s.next()
		if n == 0 {
			if err != nil {
				t.Fatal(err)
			}
			return ids, damaged
		}
		if err != nil {
			damaged++
		}
		for _, e := range events {
			ids = append(ids, e.ID)
		}
		if err := s.done(n, err != nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpooledEvicted: a gateway that hears that it was evicted when it records an intent lets nothing pass by its spool, which
// nobody may ever take from it; the ends of what had passed wait there.
func TestSpooledEvicted(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(c *Config) {
		c.Spool = openSpool(t, filepath.Join(t.TempDir(), "spool"), 1<<20, journaltest.Sealer(t))
	})
	raw := w.mint(w.claims("bot"))
	if res, body := w.do(w.request("GET", "/mail/before", raw, nil)); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	w.plane.gone.Store(true)
	if res, body := w.do(w.request("POST", "/mail/after", raw, nil)); res.StatusCode != 503 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	eventually(t, "nothing is in memory alone", func() bool { return w.g.recorder.held.Load() == 0 })
	w.plane.gone.Store(false)
	eventually(t, "the ends are recorded", func() bool { return w.g.Spool.empty() })
	ends := 0
	for _, e := range w.plane.recorded() {
		if e.Outcome != ledger.Pending {
			ends++
		}
	}
	if ends != 2 {
		t.Errorf("%d ends", ends)
	}
}

// TestSpooledGoesOn: while the control plane cannot record, what must be recorded first goes on by the spool; then all of it is recorded, in order.
func TestSpooledGoesOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(c *Config) { c.Spool = openSpool(t, dir, 1<<20, journaltest.Sealer(t)) })
	raw := w.mint(w.claims("bot"))
	w.plane.down.Store(true)
	const n = 20
	for i := range n {
		for _, method := range []string{"POST", "GET"} {
			if res, body := w.do(w.request(method, fmt.Sprintf("/mail/%02d", i), raw, nil)); res.StatusCode != 200 {
				t.Fatalf("%s %d: %d %s", method, i, res.StatusCode, body)
			}
		}
	}
	eventually(t, "nothing is in memory alone", func() bool { return w.g.recorder.held.Load() == 0 })
	files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if len(files) == 0 || len(w.plane.recorded()) != 0 {
		t.Fatalf("%v on disk, %d recorded", files, len(w.plane.recorded()))
	}
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), "bot") || strings.Contains(string(b), "mail") {
			t.Error("it can be read")
		}
	}
	w.plane.down.Store(false)
	eventually(t, "all is recorded", func() bool { return w.g.Spool.empty() && w.g.recorder.held.Load() == 0 })
	var intents []string
	ends, seen := map[string]int{}, map[string]bool{}
	for _, e := range w.plane.recorded() {
		if seen[e.ID] {
			continue
		}
		if seen[e.ID] = true; e.Outcome == ledger.Pending {
			intents = append(intents, e.Resource)
		} else {
			ends[e.Resource]++
		}
	}
	if len(intents) != n || !slices.IsSorted(intents) || len(ends) != n {
		t.Errorf("%d intents: %v; %d ends", len(intents), intents, len(ends))
	}
	if res, _ := w.do(w.request("POST", "/mail/after", raw, nil)); res.StatusCode != 200 {
		t.Error(res.Status)
	}
	eventually(t, "it is recorded at once again", func() bool {
		return slices.ContainsFunc(w.plane.recorded(), func(e ledger.Event) bool { return e.Resource == "after" && e.Outcome == ledger.Pending })
	})
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+suffix)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestSpoolFull: when it holds what it may, what must be recorded first is refused, as without one; and works again once the events are recorded.
func TestSpoolFull(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(c *Config) { c.Spool = openSpool(t, dir, 20<<10, journaltest.Sealer(t)) })
	raw := w.mint(w.claims("bot"))
	w.plane.down.Store(true)
	passed := 0
	eventually(t, "a refusal", func() bool {
		res, body := w.do(w.request("POST", "/mail/x", raw, nil))
		if res.StatusCode == 503 && strings.Contains(body, "must be recorded first") {
			return true
		}
		passed++
		return false
	})
	if passed == 0 || w.g.Spool.held.Load() > 20<<10 {
		t.Errorf("%d passed, %d bytes", passed, w.g.Spool.held.Load())
	}
	if w.g.Ready() == nil {
		t.Error("it is ready, and refuses what must be recorded first")
	}
	w.plane.down.Store(false)
	eventually(t, "it is ready by itself", func() bool { return w.g.Ready() == nil })
	eventually(t, "it goes on", func() bool {
		res, _ := w.do(w.request("POST", "/mail/y", raw, nil))
		return res.StatusCode == 200
	})
	eventually(t, "all is recorded", func() bool { return w.g.Spool.empty() && w.g.recorder.held.Load() == 0 })
	intents := map[string]bool{}
	for _, e := range w.plane.recorded() {
		if e.Outcome == ledger.Pending && e.Resource == "x" {
			intents[e.ID] = true
		}
	}
	if len(intents) != passed {
		t.Errorf("%d passed and %d are on record", passed, len(intents))
	}
}

// TestSpoolLeft: what a process leaves the next one sends.
func TestSpoolLeft(t *testing.T) {
	dir, seal := t.TempDir(), journaltest.Sealer(t)
	s := openSpool(t, dir, 1<<20, seal)
	for i := range 5 {
		if err := s.put(some(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenSpool(dir, "gw-1", 1<<20, seal); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("two have it: %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if s.put(some("late")) == nil {
		t.Error("it takes events when it is closed")
	}
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(c *Config) { c.Spool = openSpool(t, dir, 1<<20, seal) })
	eventually(t, "all is recorded", func() bool { return len(w.plane.recorded()) == 5 })
	for i, e := range w.plane.recorded() {
		if want := some(fmt.Sprint(i))[0]; e.ID != want.ID || string(e.Leaf()[200:]) == "" || e.Detail["a"] != "canary" || e.Duration != time.Second {
			t.Errorf("%+v", e)
		}
	}
}

// TestSpoolDamage: of a file that is torn or damaged all is sent that can be read, and what is damaged is set aside.
func TestSpoolDamage(t *testing.T) {
	seal := journaltest.Sealer(t)
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   string
		aside  bool
	}{
		"whole":               {func(b []byte) []byte { return b }, "evt_a evt_b evt_c", false},
		"torn":                {func(b []byte) []byte { return b[:len(b)-3] }, "evt_a evt_b", false},
		"begun":               {func(b []byte) []byte { return append(b, 0, 0, 1) }, "evt_a evt_b evt_c", false},
		"zeroes":              {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, "evt_a evt_b evt_c", false},
		"empty":               {func(b []byte) []byte { return nil }, "", false},
		"a bit in the middle": {func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "evt_a evt_c", true},
		"a bit in a length":   {func(b []byte) []byte { b[3] ^= 1; return b }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openSpool(t, dir, 1<<20, seal)
			for _, id := range []string{"a", "b", "c"} {
				if err := s.put(some(id)); err != nil {
					t.Fatal(err)
				}
			}
			path := s.path(1)
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, c.change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			s = openSpool(t, dir, 1<<20, seal)
			defer s.close()
			if err := s.put(some("new")); err != nil {
				t.Fatal(err)
			}
			ids, damaged := emptied(t, s)
			if got, want := strings.Join(ids, " "), strings.TrimSpace(c.want+" evt_new"); got != want || (damaged == 1) != c.aside {
				t.Errorf("%s, want %s; %d damaged", got, want, damaged)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*"+aside)); len(left) == 1 != c.aside || !s.empty() {
				t.Errorf("set aside: %v", left)
			}
		})
	}
}

// TestSpoolRefused: an event that the control plane does not take keeps none from it that wait with it, or after it; the file is set aside.
func TestSpoolRefused(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(c *Config) {
		c.Spool = openSpool(t, dir, 1<<20, journaltest.Sealer(t))
		list := some("0", "1", "2", "3", "4")
		list[1].Type, list[3].Type = "a.newer", "a.newer"
		if err := c.Spool.put(list); err != nil {
			t.Fatal(err)
		}
	})
	eventually(t, "the rest is recorded", func() bool { return w.g.Spool.empty() })
	var ids []string
	for _, e := range w.plane.recorded() {
		ids = append(ids, e.ID)
	}
	if got := strings.Join(ids, " "); got != "evt_0 evt_2 evt_4" {
		t.Errorf("recorded: %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+aside)); len(left) != 1 {
		t.Errorf("set aside: %v", left)
	}
	if res, _ := w.do(w.request("POST", "/mail/after", w.mint(w.claims("bot")), nil)); res.StatusCode != 200 {
		t.Error(res.Status)
	}
	eventually(t, "what comes after is recorded", func() bool { return len(w.plane.recorded()) == 5 })
}

// TestSpoolTogether: many at the same time share fsyncs, and all of them are there.
func TestSpoolTogether(t *testing.T) {
	s := openSpool(t, t.TempDir(), 64<<20, journaltest.Sealer(t))
	var wg sync.WaitGroup
	const n, each = 50, 40
	for i := range n {
		wg.Go(func() {
			for j := range each {
				if err := s.put(some(fmt.Sprintf("%d-%d", i, j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	ids, damaged := emptied(t, s)
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 50*each || damaged > 0 || s.held.Load() > 0 {
		t.Errorf("%d events, %d bytes held", n, s.held.Load())
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestSpoolDiskFails: an event whose write failed was not promised, and nothing is written behind it.
func TestSpoolDiskFails(t *testing.T) {
	s := openSpool(t, t.TempDir(), 1<<20, journaltest.Sealer(t))
	defer s.close()
	if err := s.put(some("a")); err != nil {
		t.Fatal(err)
	}
	s.disk.Lock()
	s.file.Close() // the next write to it fails
	s.disk.Unlock()
	if err := s.put(some("lost")); !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	if err := s.put(some("b")); err != nil {
		t.Fatal(err)
	}
	if s.number != 2 {
		t.Errorf("it went on in file %d", s.number)
	}
	if ids, damaged := emptied(t, s); fmt.Sprint(ids) != "[evt_a evt_b]" || damaged > 0 {
		t.Errorf("%v, %d damaged", ids, damaged)
	}
}

func FuzzSpool(f *testing.F) {
	seal := journaltest.Sealer(f)
	s := openSpool(f, f.TempDir(), 1<<20, seal)
	for range 3 {
		if err := s.put(some(rand.Text())); err != nil {
			f.Fatal(err)
		}
	}
	b, err := os.ReadFile(s.path(1))
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.read(1, b)
	if err != nil || len(good) != 3 {
		f.Fatal(good, err)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte("0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, _ := s.read(1, b)
		for _, e := range events {
			if !slices.ContainsFunc(good, func(g ledger.Event) bool { return g.ID == e.ID }) {
				t.Errorf("an event that was never sealed: %+v", e)
			}
		}
	})
}

// TestSpoolReady: with a spool, a ledger that cannot be written does not make a gateway unready; without one it does.
func TestSpoolReady(t *testing.T) {
	for spooled, want := range map[bool]bool{true: true, false: false} {
		w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(c *Config) {
			if spooled {
				c.Spool = openSpool(t, filepath.Join(t.TempDir(), "spool"), 1<<20, journaltest.Sealer(t))
			}
		})
		w.plane.down.Store(true)
		w.do(w.request("POST", "/mail/x", w.mint(w.claims("bot")), nil))
		eventually(t, "it fails", w.g.recorder.failing.Load)
		if err := w.g.Ready(); (err == nil) != want {
			t.Errorf("with a spool %v: %v", spooled, err)
		}
		w.plane.down.Store(false)
		eventually(t, "all is recorded", func() bool { return w.g.recorder.held.Load() == 0 })
	}
}

// TestSpoolLargeEvents: many events with long paths are not too large to be spooled, nor to be sent when the control plane is back.
func TestSpoolLargeEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(c *Config) { c.Spool = openSpool(t, dir, 256<<20, journaltest.Sealer(t)) })
	w.plane.down.Store(true)
	const n = 600
	path := strings.Repeat("&", maxTarget) // JSON writes six bytes for each
	for i := range n {
		if !w.g.recorder.reserve() {
			t.Fatal("no place")
		}
		e := some(fmt.Sprint(i))[0]
		e.Resource, e.Reason = path, path
		w.g.recorder.queue(e)
	}
	eventually(t, "all are on disk", func() bool { return w.g.recorder.held.Load() == 0 })
	w.plane.down.Store(false)
	eventually(t, "all are in the ledger", func() bool { return len(w.plane.recorded()) == n })
	for events := w.plane.recorded(); len(events) > 0; {
		k := loaded(events)
		if b, err := json.Marshal(events[:k]); err != nil || len(b) > load || k < 2 {
			t.Fatalf("%d events are %d bytes (%v)", k, len(b), err)
		}
		events = events[k:]
	}
}
