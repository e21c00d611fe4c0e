package asi03

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/client"
)

// TestCachedCredentialsReusedAcrossTasks: an agent keeps the token of one task in its memory, and a later, hostile task
// has it use that. The token does what its task names and nothing else, is dead once that task is closed,
// cannot be exchanged into another, and an agent that acts under tasks alone has none without.
func TestCachedCredentialsReusedAcrossTasks(t *testing.T) {
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

// TestDelegationOutlived: an agent that was called for a moment, on somebody's behalf and within a scope, has a task opened that
// would leave its caller out and last. Only whom the person asked may, and what it opened ends when all for that person is stopped.
func TestDelegationOutlived(t *testing.T) {
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
