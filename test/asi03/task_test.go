package asi03

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/client"
)

// TestCachedCredentialsReusedAcrossTasks: an agent keeps the token of one task in its memory, and a later, hostile task
// has it use that. The token does what its task names and nothing else, is dead once that task is closed,
// cannot be exchanged into another, and an agent that acts under tasks alone has none without.
func TestCachedCredentialsReusedAcrossTasks(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll, ledger := h.upstream("payroll", "--consent", "ben"), h.upstream("ledger", "--consent", "ben")
	h.do("identity", "register", "temp", "--owner", "eve", "--purpose", "Does one thing after another", "--tasks", "required")
	h.do("keygen", "temp")
	h.do("credential", "add", "temp", "--public-key", "temp.jwk")
	for _, u := range []string{"payroll", "ledger"} {
		h.do("grant", "put", "temp", u, "--upstream", u, "--action", "read", "--action", "write")
	}
	open := func(args ...string) (task string, badge *client.Source) {
		out := h.do(append([]string{"task", "open", "temp"}, args...)...)
		for _, word := range strings.Fields(out) {
			if strings.HasPrefix(word, "task_") {
				task = strings.TrimRight(word, ".,:;")
				break
			}
		}
		badge, err := client.New(client.Config{Issuer: h.control, Identity: id("temp"), KeyFile: filepath.Join(h.dir, "temp.key.jwk"), Task: task})
		if err != nil || task == "" {
			t.Fatal(out, err)
		}
		return task, badge
	}
	first, reading := open("--purpose", "Read what ben asked for", "--upstream", "payroll", "--action", "read", "--budget", "calls=3")
	if status, said := h.call(reading, "payroll", "GET", "/records/7"); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	n, _ := payroll.reached()
	// The next task's words have it use what it remembers.
	if status, said := h.call(reading, "payroll", "PUT", "/records/7"); status != 403 || !strings.Contains(said, "does not name records.put") {
		t.Errorf("something else with the token of the first task: %d %s", status, said)
	}
	if status, said := h.call(reading, "ledger", "GET", "/records/7"); status != 0 || !strings.Contains(said, "names nothing on ledger") {
		t.Errorf("something elsewhere: %d %s", status, said)
	}
	held, err := reading.Token(t.Context(), h.gate+"/payroll")
	if err != nil {
		t.Fatal(err)
	}
	if status, said := h.call(h.badge("temp", "temp").OnBehalf(held.Access, client.AccessToken), "ledger", "GET", "/records/7"); status != 0 || !strings.Contains(said, "names nothing on ledger") {
		t.Errorf("exchanged for elsewhere: %d %s", status, said)
	}
	if status, said := h.call(h.badge("temp", "temp"), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "under tasks alone") {
		t.Errorf("without a task: %d %s", status, said)
	}
	second, writing := open("--purpose", "Write down what ben said", "--upstream", "ledger", "--action", "write")
	if status, said := h.call(writing, "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, second+" names nothing on payroll") {
		t.Errorf("the second task reads what the first did: %d %s", status, said)
	}
	h.onRecord(`"records.put"`, "refused", first, id("temp"))
	// The first task is over; its token lies about.
	h.do("task", "close", first)
	if status, said := h.call(reading, "payroll", "GET", "/records/7"); status == 200 {
		t.Errorf("after its task was closed: %d %s", status, said)
	}
	if status, said := h.call(h.badge("temp", "temp").OnBehalf(held.Access, client.AccessToken), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "closed") {
		t.Errorf("exchanged after its task was closed: %d %s", status, said)
	}
	if status, said := h.call(writing, "ledger", "PUT", "/records/7"); status != 200 {
		t.Errorf("the second task, meanwhile: %d %s", status, said)
	}
	if now, _ := payroll.reached(); now != n {
		t.Errorf("%d requests reached the payroll", now-n)
	}
	if now, _ := ledger.reached(); now != 1 {
		t.Errorf("%d requests reached the ledger", now)
	}
}

// opens opens a task as an operator and returns its id.
func (h *house) opens(who string, args ...string) string {
	h.Helper()
	var k struct{ ID string }
	if err := json.Unmarshal([]byte(h.do(append([]string{"task", "open", who, "-o", "json"}, args...)...)), &k); err != nil || k.ID == "" {
		h.Fatal(err)
	}
	return k.ID
}

// under is a badge for one task.
func (h *house) under(task string, c client.Config) *client.Source {
	h.Helper()
	c.Issuer, c.Task = h.control, task
	s, err := client.New(c)
	if err != nil {
		h.Fatal(err)
	}
	return s
}

// TestCachedCredentialsRaceTheBudget: 64 calls at once, with tokens that agent and child have kept of one task, spend its budget
// once and not more.
func TestCachedCredentialsRaceTheBudget(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll")
	h.do("identity", "register", "manager", "--owner", "eve", "--purpose", "Gives work to others", "--children", "2", "--depth", "1")
	h.do("keygen", "manager")
	h.do("credential", "add", "manager", "--public-key", "manager.jwk")
	h.do("grant", "put", "manager", "payroll", "--upstream", "payroll", "--action", "read")
	_, made, err := h.badge("manager", "manager").Spawn(t.Context(), client.Child{Purpose: "Reads, too"})
	if err != nil {
		t.Fatal(err)
	}
	task := h.opens("manager", "--purpose", "Ten reads", "--upstream", "payroll", "--action", "read", "--budget", "calls=10")
	var badges []*client.Source
	for range 4 {
		badges = append(badges, h.under(task, client.Config{Identity: id("manager"), KeyFile: filepath.Join(h.dir, "manager.key.jwk")}), h.under(task, client.Config{Identity: made.ID, Key: made.Key}))
	}
	for _, b := range badges {
		if _, err := b.Token(t.Context(), h.gate+"/payroll"); err != nil {
			t.Fatal(err)
		}
	}
	var passed, spent atomic.Int64
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			switch status, said := h.call(badges[n%len(badges)], "payroll", "GET", "/records/7"); {
			case status == 200:
				passed.Add(1)
			case status == 403 && strings.Contains(said, "budget-spent"):
				spent.Add(1)
			default:
				t.Errorf("%d %s", status, said)
			}
		})
	}
	all.Wait()
	if n, _ := payroll.reached(); passed.Load() != 10 || spent.Load() != 54 || n != 10 {
		t.Errorf("%d passed, %d were refused, %d reached the payroll", passed.Load(), spent.Load(), n)
	}
	h.onRecord("refused", task, "budget")
}

// TestUnscopedInheritanceOfTasks: a child gets the one piece of its manager's task that both may do, no other task, none of its own
// where its manager must have one, and nobody is asked in its name; with the task it is over for all.
func TestUnscopedInheritanceOfTasks(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--chain-header", "--consent", "ben", "--consent-class", "read,write,delete")
	h.do("identity", "register", "manager", "--owner", "eve", "--purpose", "Gives work to others", "--children", "4", "--depth", "1", "--tasks", "required")
	h.do("keygen", "manager")
	h.do("credential", "add", "manager", "--public-key", "manager.jwk")
	h.do("grant", "put", "manager", "payroll", "--upstream", "payroll", "--action", "read", "--action", "write", "--action", "delete")
	stranger := h.agent("stranger", "eve")
	h.do("grant", "put", "stranger", "payroll", "--upstream", "payroll", "--action", "read")
	manager := h.badge("manager", "manager")
	heir, made, err := manager.Spawn(t.Context(), client.Child{Purpose: "Inherits all"})
	if err != nil {
		t.Fatal(err)
	}
	_, writer, err := manager.Spawn(t.Context(), client.Child{Purpose: "Writes", Grants: []client.Lend{{Upstream: "payroll", Actions: []string{"write"}}}})
	if err != nil {
		t.Fatal(err)
	}
	reads := h.opens("manager", "--purpose", "Read for ben", "--on", "ben", "--upstream", "payroll", "--action", "read", "--where", "id=7")
	writes := h.opens("manager", "--purpose", "Write", "--upstream", "payroll", "--action", "write")
	theirs := h.opens("stranger", "--purpose", "Read", "--upstream", "payroll", "--action", "read")
	child := func(task string) *client.Source {
		return h.under(task, client.Config{Identity: made.ID, Key: made.Key})
	}
	if status, said := h.call(child(reads), "payroll", "GET", "/records/7"); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	n, last := payroll.reached()
	if told := last.Header.Get("Lanyard-Chain"); !strings.HasPrefix(told, `"`+made.ID+`", "`+id("manager")+`", "spiffe://lanyard.local/person/ben"`) {
		t.Errorf("the payroll is told %q", told)
	}
	for name, k := range map[string]struct {
		badge        *client.Source
		method, path string
		says         string
	}{
		"what the task does not name, though inherited": {child(reads), "DELETE", "/records/7", "does not name"},
		"another record":                              {child(reads), "GET", "/records/8", "does not name"},
		"more of the manager's other task":            {child(writes), "DELETE", "/records/7", "does not name"},
		"the task of a stranger":                      {child(theirs), "GET", "/records/7", "no such task"},
		"a stranger under the manager's task":         {h.under(reads, client.Config{Identity: id("stranger"), KeyFile: filepath.Join(h.dir, "stranger.key.jwk")}), "GET", "/records/7", "no such task"},
		"no task":                                     {heir, "GET", "/records/7", "under tasks alone"},
		"the task has it, the child was not given it": {h.under(reads, client.Config{Identity: writer.ID, Key: writer.Key}), "GET", "/records/7", "may not do"},
	} {
		if status, said := h.call(k.badge, "payroll", k.method, k.path); status == 200 || !strings.Contains(said, k.says) {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
	if status, said := h.sends(heir, h.control, "POST", "/v1/tasks", `{"on":"ben","purpose":"For ben","scope":[{"upstream":"payroll","actions":["read"]}]}`); status < 400 {
		t.Errorf("a child has ben asked: %d %s", status, said)
	}
	if _, page := h.in("ben").follows(h.control + "/approvals"); strings.Contains(page, "For ben") {
		t.Error("ben is asked by a child")
	}
	if status, said := h.sends(stranger, h.control, "POST", "/v1/tasks", `{"identity":"manager","purpose":"For me","scope":[{"upstream":"payroll","actions":["delete"]}]}`); status != 403 {
		t.Errorf("a stranger opens a task for the manager: %d %s", status, said)
	}
	h.do("task", "close", reads)
	if status, said := h.call(child(reads), "payroll", "GET", "/records/7"); status == 200 {
		t.Errorf("after the task was closed: %d %s", status, said)
	}
	if now, _ := payroll.reached(); now != n {
		t.Errorf("%d requests reached the payroll", now-n)
	}
	h.onRecord(`"records.drop"`, "refused", made.ID, id("manager"), reads)
}

// TestDelegationOutlived: an agent that was called for a moment, on somebody's behalf and within a scope, has a task opened that
// would leave its caller out and last. Only whom the person asked may, and what it opened ends when all for that person is stopped.
func TestDelegationOutlived(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--consent", "ben", "--consent-class", "read,write")
	analyst := h.analyst()
	peer := h.agent("peer", "eve")
	for _, who := range []string{"peer", "analyst"} {
		h.do("grant", "put", who, "payroll", "--upstream", "payroll", "--action", "read", "--action", "write")
	}
	h.do("grant", "put", "peer", "ask", "--upstream", "analyst", "--action", "mcp.*", "--action", "read")
	forBen := peer.OnBehalf(h.signedIn("ben"), client.IDToken)
	if said, failed := h.asks(forBen, "careful", "7"); failed {
		t.Fatal(said)
	}
	given, _ := analyst.given.Load().(string)
	open := func(badge *client.Source) (int, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "POST", h.control+"/v1/tasks", strings.NewReader(`{"on":"ben","purpose":"What ben never asked for","until":"30d","scope":[{"upstream":"payroll","actions":["read","write"]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := badge.HTTPClient(h.control).Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	if status, said := open(analyst.badge.OnBehalf(given, client.JWT)); status != 403 || !strings.Contains(said, "others are behind this token") {
		t.Errorf("by who was called: %d %s", status, said)
	}
	status, said := open(forBen)
	var task struct{ ID string }
	if err := json.Unmarshal([]byte(said), &task); err != nil || status != 200 || task.ID == "" {
		t.Fatal(status, said, err)
	}
	badge, err := client.New(client.Config{Issuer: h.control, Identity: id("peer"), KeyFile: filepath.Join(h.dir, "peer.key.jwk"), Task: task.ID})
	if err != nil {
		t.Fatal(err)
	}
	if status, said := h.call(badge, "payroll", "GET", "/records/7"); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	n, _ := payroll.reached()
	h.do("kill", "--owner", "ben", "--reason", "a laptop was stolen")
	if status, said := h.call(badge, "payroll", "GET", "/records/7"); status == 200 || !strings.Contains(said, "stopped") {
		t.Errorf("with a token from before: %d %s", status, said)
	}
	again, err := client.New(client.Config{Issuer: h.control, Identity: id("peer"), KeyFile: filepath.Join(h.dir, "peer.key.jwk"), Task: task.ID})
	if err != nil {
		t.Fatal(err)
	}
	if status, said := h.call(again, "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "before all that was done for ben was stopped") {
		t.Errorf("with a token from after: %d %s", status, said)
	}
	if now, _ := payroll.reached(); now != n {
		t.Errorf("%d requests reached the payroll", now-n)
	}
}
