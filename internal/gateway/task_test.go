package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// treasury is a plane that gives out budgets, as the control plane does.
type treasury struct {
	*plane
	mu    sync.Mutex
	limit map[string]policy.Budget // by task
	given map[string]policy.Budget
	draws int
}

func (b *treasury) Draw(_ context.Context, task string, want policy.Budget) (policy.Budget, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draws++
	given, got := b.given[task], policy.Budget{}
	if given == nil {
		given = policy.Budget{}
		b.given[task] = given
	}
	for kind, n := range want {
		if n > 0 {
			if n = policy.Slice(kind, b.limit[task][kind]-given[kind], n); n == 0 {
				return nil, &feed.Spent{Task: task, Kind: kind, Limit: b.limit[task][kind], Left: b.limit[task][kind] - given[kind]}
			}
		}
		got[kind] = n
	}
	for kind, n := range got {
		given[kind] += n
	}
	return got, nil
}

func (b *treasury) used(task, kind string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.given[task][kind]
}

// paying recognises POST /pay?amount=N, and what anything does.
type paying struct{ anything }

func (paying) Recognise(r *connector.Request) (policy.Call, error) {
	c, err := anything{}.Recognise(r)
	if amount, ok := strings.CutPrefix(r.Query, "amount="); ok {
		c.Arguments = map[string]any{"amount": amount}
	}
	return c, err
}

func tasked(t testing.TB, upstream http.Handler) (*world, *treasury) {
	b := &treasury{limit: map[string]policy.Budget{}, given: map[string]policy.Budget{}}
	w := newWorld(t, upstream, func(c *Config) {
		b.plane, _ = c.Source.(*plane)
		c.Source = b
		c.Families = []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return paying{}, nil }}}
	})
	return w, b
}

// task opens a task of bot's, for what actions name on mail, and returns a token for it.
func (w *world) task(b *treasury, id string, budget policy.Budget, change func(*policy.Task)) string {
	w.t.Helper()
	t := policy.Task{ID: id, Identity: identity.MustID("spiffe://lanyard.local/agent/bot"), Purpose: "tests", Budget: budget, Until: time.Now().Add(time.Hour), State: policy.TaskOpen, By: "operator:test"}
	t.Scope = []policy.Grant{{ID: id + "/0", Identity: t.Identity, Upstream: "mail", Cedar: `permit(principal, action, resource);`, Until: t.Until}}
	if change != nil {
		change(&t)
	}
	b.mu.Lock()
	b.limit[id] = budget
	b.mu.Unlock()
	w.apply(feed.Change{Task: &t})
	c := w.claims("bot")
	c.Task = id
	return w.mint(c)
}

func (w *world) status(method, path, raw string) (int, string) {
	w.t.Helper()
	res, body := w.do(w.request(method, path, raw, nil))
	return res.StatusCode, body
}

// TestTask: under a task nothing may be done that it does not name, by nobody whose it is not, and not after its end.
func TestTask(t *testing.T) {
	w, b := tasked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	w.enrol("other")
	only := func(cedar string) func(*policy.Task) {
		return func(t *policy.Task) { t.Scope[0].Cedar = cedar }
	}
	reads := `permit(principal, action in [Lanyard::Action::"read"], resource) when { resource.path like "inbox/*" };`
	raw := w.task(b, "task_1", nil, only(reads))
	for name, c := range map[string]struct {
		method, path string
		status       int
		says         string
	}{
		"what it names":          {"GET", "/mail/inbox/1", 200, "ok"},
		"another resource":       {"GET", "/mail/outbox/1", 403, "Task task_1 does not name"},
		"another class":          {"POST", "/mail/inbox/1", 403, "urn:lanyard:problem:task"},
		"another upstream":       {"GET", "/drive/inbox/1", 401, "is for"},
		"what nothing is for":    {"GET", "/mail/unknown", 403, "unrecognised"},
		"out of what it names":   {"GET", "/mail/", 403, "task_1"},
		"granted without a task": {"DELETE", "/mail/inbox/1", 403, "though it is granted"},
	} {
		if status, body := w.status(c.method, c.path, raw); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	c := w.claims("other")
	c.Task = "task_1"
	if status, body := w.status("GET", "/mail/inbox/1", w.mint(c)); status != 401 || !strings.Contains(body, "another identity's") {
		t.Errorf("another identity's: %d %s", status, body)
	}
	c.Chain = append(c.Chain, identity.Link{ID: id("bot")})
	if status, body := w.status("GET", "/mail/inbox/1", w.mint(c)); status != 200 {
		t.Errorf("of one that works for it: %d %s", status, body)
	}
	if status, body := w.status("POST", "/mail/inbox/1", w.mint(c)); status != 403 {
		t.Errorf("of one that works for it, what it does not name: %d %s", status, body)
	}
	c = w.claims("bot")
	c.Task = "task_9"
	if status, body := w.status("GET", "/mail/inbox/1", w.mint(c)); status != 401 || !strings.Contains(body, "task_9 is unknown") {
		t.Errorf("unknown: %d %s", status, body)
	}
	raw = w.task(b, "task_2", nil, func(t *policy.Task) { t.Until = time.Now().Add(-time.Second) })
	if status, body := w.status("GET", "/mail/inbox/1", raw); status != 401 || !strings.Contains(body, "ended at") {
		t.Errorf("ended: %d %s", status, body)
	}
	raw = w.task(b, "task_3", nil, func(t *policy.Task) { t.On = "maya" })
	if status, body := w.status("GET", "/mail/inbox/1", raw); status != 401 || !strings.Contains(body, "on behalf of maya") {
		t.Errorf("for somebody, by a token that is not: %d %s", status, body)
	}
	raw = w.task(b, "task_4", nil, only(`permit(principal, action, resource) when { context.args.no == 1 };`))
	if status, body := w.status("GET", "/mail/inbox/1", raw); status != 403 {
		t.Errorf("a condition that errs: %d %s", status, body)
	}
	eventually(t, "what was not recognised on record, and under which task", func() bool {
		for _, e := range w.plane.recorded() {
			if e.Detail["task"] == "task_1" && e.Detail["path"] == "/unknown" {
				return true
			}
		}
		return false
	})
	eventually(t, "the task on record", func() bool {
		for _, e := range w.plane.recorded() {
			if e.Detail["task"] == "task_1" && e.Status == 200 && strings.Contains(strings.Join(e.Policies, " "), "task_1/0") {
				return true
			}
		}
		return false
	})
	strict := identity.Identity{ID: id("bot"), Owner: "maya", Purpose: "tests", Environment: "production", State: identity.Active, Expires: time.Now().Add(time.Hour), Tasks: identity.TasksRequired}
	w.apply(feed.Change{Identity: &strict})
	if status, body := w.status("GET", "/mail/inbox/1", w.mint(w.claims("bot"))); status != 403 || !strings.Contains(body, "under tasks alone") {
		t.Errorf("without one: %d %s", status, body)
	}
	c = w.claims("other")
	c.Chain = append(c.Chain, identity.Link{ID: id("bot")})
	if status, body := w.status("GET", "/mail/inbox/1", w.mint(c)); status != 403 {
		t.Errorf("for one that acts under tasks alone, without one: %d %s", status, body)
	}
}

// TestTaskCut: what runs under a task is cut when that closes, and nothing else is.
func TestTaskCut(t *testing.T) {
	w, b := tasked(t, http.HandlerFunc(ticking))
	raw, other := w.task(b, "task_1", nil, nil), w.task(b, "task_2", nil, nil)
	open := func(raw string) *http.Response {
		res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", raw, nil))
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	one, two, free := open(raw), open(other), open(w.mint(w.claims("bot")))
	task, _ := w.view.Task("task_1")
	closed := task.Task
	closed.State, closed.Closed = policy.TaskClosed, time.Now()
	w.apply(feed.Change{Task: &closed})
	if cutShort(t, one.Body) == nil {
		t.Error("it ended as if it were whole")
	}
	for name, res := range map[string]*http.Response{"another task": two, "no task": free} {
		if _, err := io.ReadFull(res.Body, make([]byte, 64)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if status, body := w.status("GET", "/mail/x", raw); status != 401 || !strings.Contains(body, "task_1 is closed") {
		t.Errorf("%d %s", status, body)
	}
}

// TestBudgetRaced: of 64 calls at once exactly as many pass as the budget has, however often it is tried.
func TestBudgetRaced(t *testing.T) {
	var served atomic.Int64
	w, b := tasked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.Add(1) }))
	for round, budget := range []int64{1, 10, 30} {
		served.Store(0)
		id := fmt.Sprint("task_", round)
		raw := w.task(b, id, policy.Budget{policy.Calls: budget}, nil)
		var passed, spent atomic.Int64
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				res, body := w.do(w.request("POST", "/mail/x", raw, nil))
				switch {
				case res.StatusCode == 200:
					passed.Add(1)
				case res.StatusCode == 403 && strings.Contains(body, "budget-spent") && strings.Contains(body, "Maya Lind"):
					spent.Add(1)
				default:
					t.Errorf("%d %s", res.StatusCode, body)
				}
			})
		}
		all.Wait()
		if n := b.draws; n > int(budget)+5 {
			t.Errorf("the control plane was asked %d times for %d calls: those refused keep it busy", n, budget)
		}
		b.draws = 0
		if passed.Load() != budget || served.Load() != budget || spent.Load() != 64-budget || b.used(id, policy.Calls) != budget {
			t.Errorf("of %d: %d passed, %d arrived, %d refused, %d used", budget, passed.Load(), served.Load(), spent.Load(), b.used(id, policy.Calls))
		}
	}
}

// TestBudgetJoined: what passes a joined endpoint is one call, made where it goes on; one door is not another task's.
func TestBudgetJoined(t *testing.T) {
	b := &treasury{limit: map[string]policy.Budget{}, given: map[string]policy.Budget{}}
	d := joined(t, func(c *Config) {
		b.plane, _ = c.Source.(*plane)
		c.Source = b
	})
	for _, id := range []string{"task_1", "task_2"} {
		d.world.task(b, id, policy.Budget{policy.Calls: 2}, func(t *policy.Task) {
			t.Scope[0].Upstream = "office"
			t.Scope = append(t.Scope, policy.Grant{ID: id + "/1", Identity: t.Identity, Upstream: "notes", Until: t.Until,
				Cedar: `permit(principal, action in [Lanyard::Action::"tools.read_note", Lanyard::Action::"mcp.session", Lanyard::Action::"mcp.list"], resource);`})
		})
	}
	call := func(task, tool, says string) {
		t.Helper()
		if res, body := d.do(d.joinedTask("notes__"+tool, task)); !strings.Contains(body, says) {
			t.Errorf("%s of %s: %d %s", tool, task, res.StatusCode, body)
		}
	}
	call("task_1", "drop_notes", "does not name")
	call("task_1", "read_note", "read_note did it")
	call("task_1", "read_note", "read_note did it")
	call("task_1", "read_note", "is spent")
	call("task_2", "read_note", "read_note did it")
	call("", "drop_notes", "drop_notes did it")
	if b.used("task_1", policy.Calls) != 2 || b.used("task_2", policy.Calls) != 1 {
		t.Errorf("%d and %d used", b.used("task_1", policy.Calls), b.used("task_2", policy.Calls))
	}
}

// TestBudgetHeld: a gateway asks for parts and not for each call, gives back what it holds, and one that dies
// takes a part with it; two of them together never use more than there is.
func TestBudgetHeld(t *testing.T) {
	w, b := tasked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	raw := w.task(b, "task_1", policy.Budget{policy.Calls: 800}, nil)
	for range 50 {
		if status, body := w.status("GET", "/mail/x", raw); status != 200 {
			t.Fatal(status, body)
		}
	}
	if b.draws != 1 || b.used("task_1", policy.Calls) != 100 {
		t.Errorf("%d draws, %d used", b.draws, b.used("task_1", policy.Calls))
	}
	w.g.purses.sweep(time.Now().Add(purseIdle / 2))
	if b.draws != 1 {
		t.Error("given back too early")
	}
	w.g.purses.sweep(time.Now().Add(2 * purseIdle))
	if b.used("task_1", policy.Calls) != 50 {
		t.Errorf("idle: %d used", b.used("task_1", policy.Calls))
	}
	if status, _ := w.status("GET", "/mail/x", raw); status != 200 {
		t.Error(status)
	}
	other := purses{source: b, patience: time.Second, log: w.g.Log}
	n := 0
	for other.take("task_1", policy.Budget{policy.Calls: 1}, time.Now()) == nil {
		n++
	}
	for status := 200; status == 200; n++ {
		status, _ = w.status("GET", "/mail/x", raw)
	}
	if n--; n != 800-51 || b.used("task_1", policy.Calls) != 800 {
		t.Errorf("two gateways: %d more, %d used", n, b.used("task_1", policy.Calls))
	}
	raw = w.task(b, "task_2", policy.Budget{policy.Calls: 800}, nil)
	if status, _ := w.status("GET", "/mail/x", raw); status != 200 || b.used("task_2", policy.Calls) != 100 {
		t.Error(status)
	}
	task, _ := w.view.Task("task_2")
	closed := task.Task
	closed.State, closed.Closed = policy.TaskClosed, time.Now()
	w.apply(feed.Change{Task: &closed})
	eventually(t, "what a closed task did not use is given back", func() bool { return b.used("task_2", policy.Calls) == 1 })
	raw = w.task(b, "task_3", policy.Budget{policy.Calls: 800}, nil)
	w.plane.down.Store(true) // an intent cannot be written, so nothing is sent
	if status, body := w.status("POST", "/mail/x", raw); status != 503 {
		t.Error(status, body)
	}
	w.plane.down.Store(false)
	if err := w.g.Close(); err != nil {
		t.Error(err)
	}
	if b.used("task_3", policy.Calls) != 0 {
		t.Errorf("closed: %d used, and nothing was sent", b.used("task_3", policy.Calls))
	}
}

// TestBudgetGivenBack: what is taken while the rest is given back is counted once, whoever is quicker.
func TestBudgetGivenBack(t *testing.T) {
	b := &treasury{limit: map[string]policy.Budget{"task_1": {policy.Calls: 1 << 20}}, given: map[string]policy.Budget{}}
	s := purses{source: b, patience: time.Second}
	var taking, settling sync.WaitGroup
	done := make(chan struct{})
	settling.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				s.settle("task_1")
			}
		}
	})
	for range 8 {
		taking.Go(func() {
			for range 500 {
				if err := s.take("task_1", policy.Budget{policy.Calls: 1}, time.Now()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	taking.Wait()
	old := s.hold(t)
	settling.Go(func() { s.settle("task_1"); s.settle("task_1") })
	close(done)
	eventually(t, "it is being given back", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.of["task_1"] != old })
	old.mu.Unlock()
	settling.Wait()
	if !old.over {
		t.Error("who waited for it would draw into what nobody gives back")
	}
	s.shut()
	if used := b.used("task_1", policy.Calls); used != 8*500 {
		t.Errorf("%d used of %d taken", used, 8*500)
	}
	if err := s.take("task_1", policy.Budget{policy.Calls: 1}, time.Now()); err == nil {
		t.Error("taken though it is closed")
	}
}

// hold returns the purse of task_1, locked and in use.
func (s *purses) hold(t *testing.T) *purse {
	p, err := s.open("task_1")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBudgetNone: without a control plane that gives out budgets, nothing under one passes.
func TestBudgetNone(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	raw := w.task(&treasury{limit: map[string]policy.Budget{}}, "task_1", policy.Budget{policy.Calls: 1}, nil)
	if status, body := w.status("GET", "/mail/x", raw); status != 503 || !strings.Contains(body, "task_1") {
		t.Error(status, body)
	}
}

// TestBudgetBytes: what flows is counted both ways, exactly, and cut when there is no more.
func TestBudgetBytes(t *testing.T) {
	var got atomic.Int64
	w, b := tasked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Store(n)
		if r.URL.Path == "/big" {
			for range 64 {
				w.Write(make([]byte, 16<<10))
				http.NewResponseController(w).Flush()
			}
			return
		}
		io.WriteString(w, "12345")
	}))
	raw := w.task(b, "task_1", policy.Budget{policy.Bytes: 100}, nil)
	if res, body := w.do(w.request("POST", "/mail/x", raw, strings.NewReader("1234567890"))); res.StatusCode != 200 || body != "12345" || got.Load() != 10 {
		t.Fatal(res.StatusCode, body, got.Load())
	}
	w.g.purses.settle("task_1")
	if b.used("task_1", policy.Bytes) != 15 {
		t.Errorf("%d used", b.used("task_1", policy.Bytes))
	}
	res, body := w.do(w.request("POST", "/mail/x", raw, strings.NewReader(strings.Repeat("x", 86))))
	if res.StatusCode != 403 || !strings.Contains(body, "budget-spent") || got.Load() > 86 {
		t.Errorf("too long a body: %d %s", res.StatusCode, body)
	}
	raw = w.task(b, "task_2", policy.Budget{policy.Bytes: 600_000}, nil)
	res, err := http.DefaultClient.Do(w.request("GET", "/mail/big", raw, nil))
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if err == nil || n > 600_000 {
		t.Errorf("%d bytes came, and it ended with %v", n, err)
	}
	w.g.purses.settle("task_2")
	if used := b.used("task_2", policy.Bytes); used < n || used > 600_000 {
		t.Errorf("%d used, %d came", used, n)
	}
	eventually(t, "why, on record", func() bool {
		for _, e := range w.plane.recorded() {
			if e.Detail["task"] == "task_2" && strings.Contains(e.Reason, "budget of task task_2 is spent") {
				return true
			}
		}
		return false
	})
}

// TestBudgetUpgraded: a connection that was upgraded is counted, too.
func TestBudgetUpgraded(t *testing.T) {
	w, b := tasked(t, http.HandlerFunc(echoes))
	raw := w.task(b, "task_1", policy.Budget{policy.Bytes: 1000}, nil)
	status, answer := w.raw("GET /mail/ws HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer " + raw + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + strings.Repeat("x", 5000))
	if status != 101 {
		t.Fatal(status, answer)
	}
	w.g.purses.settle("task_1")
	if used := b.used("task_1", policy.Bytes); used > 1000 {
		t.Errorf("%d used", used)
	}
	if came := strings.Count(answer, "x"); came > 1000 {
		t.Errorf("%d bytes came back of a budget of 1000", came)
	}
}

// echoes upgrades and sends back what comes.
func echoes(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	io.Copy(conn, rw)
}

// TestBudgetCounters: what an upstream counts is limited, and what cannot be counted is refused.
func TestBudgetCounters(t *testing.T) {
	var served atomic.Int64
	w, b := tasked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.Add(1) }))
	raw := w.task(b, "task_1", policy.Budget{"spend_cents": 1000}, func(t *policy.Task) {
		t.Counts = []policy.Count{{Name: "spend_cents", Upstream: "mail", Counter: policy.Counter{Actions: []string{"write"}, Argument: "amount"}}}
	})
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"POST", "/mail/pay?amount=400", 200, ""},
		{"GET", "/mail/pay?amount=99999", 200, ""}, // a read pays nothing
		{"POST", "/mail/pay?amount=601", 403, "is not enough for this"},
		{"POST", "/mail/pay", 403, "argument amount is missing"},
		{"POST", "/mail/pay?amount=-1", 403, "no whole number"},
		{"POST", "/mail/pay?amount=1.5", 403, "no whole number"},
		{"POST", "/mail/pay?amount=%20600", 403, "no whole number"},
		{"POST", "/mail/pay?amount=9223372036854775808", 403, "no whole number"},
		{"POST", "/mail/pay?amount=9223372036854775807", 403, "budget-spent"},
		{"POST", "/mail/pay?amount=600", 200, ""},
		{"POST", "/mail/pay?amount=0", 200, ""},
		{"POST", "/mail/pay?amount=1", 403, "budget-spent"},
	} {
		if status, body := w.status(c.method, c.path, raw); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
	if b.used("task_1", "spend_cents") != 1000 || served.Load() != 4 {
		t.Errorf("%d used, %d served", b.used("task_1", "spend_cents"), served.Load())
	}
}

// mute is a control plane that never answers.
type mute struct {
	feed.Closed
	asked atomic.Int64
}

func (m *mute) Draw(ctx context.Context, _ string, _ policy.Budget) (policy.Budget, error) {
	m.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestBudgetSilent: of all who wait for a part of a budget while the control plane is silent, one asks; who comes later asks again.
func TestBudgetSilent(t *testing.T) {
	m := &mute{}
	s := purses{source: m, patience: 200 * time.Millisecond, log: slog.New(slog.DiscardHandler)}
	now := time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := s.take("task_1", policy.Budget{policy.Calls: 1}, now); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := m.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if err := s.take("task_1", policy.Budget{policy.Calls: 1}, now.Add(s.patience)); err == nil || m.asked.Load() != 2 {
		t.Errorf("later: %v, asked %d times", err, m.asked.Load())
	}
}

// crowd is a control plane that answers nobody until so many ask at the same time.
type crowd struct {
	*treasury
	mu     sync.Mutex
	lack   int
	enough chan struct{}
}

func (c *crowd) Draw(ctx context.Context, task string, want policy.Budget) (policy.Budget, error) {
	c.mu.Lock()
	if c.lack--; c.lack == 0 {
		close(c.enough)
	}
	c.mu.Unlock()
	select {
	case <-c.enough:
		return c.treasury.Draw(ctx, task, want)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestBudgetShut: what is held of many tasks is given back together, and a silent control plane holds up the end once.
func TestBudgetShut(t *testing.T) {
	const n = 100
	hold := func(b feed.Source, patience time.Duration) *purses {
		s := &purses{source: b, patience: patience, log: slog.New(slog.DiscardHandler)}
		for i := range n {
			s.put(&feed.Task{Task: policy.Task{ID: fmt.Sprint("task_", i)}}, policy.Budget{policy.Calls: 1})
		}
		return s
	}
	m := &mute{}
	s := hold(m, time.Second)
	s.shut()
	if asked := m.asked.Load(); asked != maxSettled {
		t.Errorf("asked for %d tasks", asked)
	}
	if len(s.of) != n-maxSettled { // what could not be given back in time
		t.Errorf("%d are held", len(s.of))
	}
	b := &crowd{treasury: &treasury{given: map[string]policy.Budget{}}, lack: maxSettled, enough: make(chan struct{})}
	hold(b, 20*time.Second).shut()
	for i := range n {
		if got := b.used(fmt.Sprint("task_", i), policy.Calls); got != -1 {
			t.Fatalf("task %d: %d", i, got)
		}
	}
}
