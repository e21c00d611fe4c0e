package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/client"
)

// opened is what lanyard task open says with -o json.
type opened struct {
	ID    string
	Given map[string]int64
}

func (h *house) open(args ...string) string {
	h.Helper()
	var k opened
	h.json(&k, append([]string{"task", "open"}, args...)...)
	return k.ID
}

func (h *house) given(task, kind string) int64 {
	h.Helper()
	var k opened
	h.json(&k, "task", "show", task)
	return k.Given[kind]
}

// on is a client of reader's whose tokens are for a task.
func (h *house) on(task string) *client.Source {
	h.Helper()
	s, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/reader", KeyFile: filepath.Join(h.dir, "reader.key.jwk"), Task: task})
	if err != nil {
		h.Fatal(err)
	}
	return s
}

// fetch is the status and body of a GET on an upstream.
func (h *house) fetch(s *client.Source, upstream, path string) (int, string, error) {
	res, err := s.HTTPClient(h.gate + "/" + upstream).Get(h.gate + "/" + upstream + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// TestTask: under a task an agent reaches what the task names and nothing else of what it is granted.
func TestTask(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.do("identity", "register", "other", "--owner", "ben", "--purpose", "Another")
	h.do("keygen", "other")
	h.do("credential", "add", "other", "--public-key", "other.jwk")
	h.do("grant", "put", "other", "read-mail", "--upstream", "mail", "--action", "read")
	task := h.open("reader", "--purpose", "See who I am", "--words", "who am I?", "--upstream", "mail", "--action", "gmail.users.getProfile", "--where", "userId=me", "--until", "1h")
	under := func(args ...string) []string { return append(args, "--task", task) }
	const messages = "/gmail/v1/users/me/messages"
	h.do(h.asReader("GET", messages)...)
	h.do(under(h.asReader("GET", profile)...)...)
	h.fails(3, "does not name gmail.users.messages.list", under(h.asReader("GET", messages)...)...)
	h.fails(3, "no such task", under(h.call("mail", "GET", profile, "--as", "other", "--key", "other.key.jwk")...)...)
	h.fails(3, "no such task", append(h.asReader("GET", profile), "--task", "task_x")...)
	if out := h.do("audit", "search", "--task", task); !strings.Contains(out, "task.open") || !strings.Contains(out, "token.issue") || !strings.Contains(out, "gmail.users.getProfile on mail") || !strings.Contains(out, "does not name") {
		t.Errorf("the record of the task:\n%s", out)
	}
	if out := h.do("task", "list", "--identity", "reader"); !strings.Contains(out, task) || !strings.Contains(out, "See who I am") {
		t.Error(out)
	}
	h.do("task", "close", task, "--reason", "seen")
	h.fails(3, "is closed", under(h.asReader("GET", profile)...)...)
	if out := h.do("task", "list"); strings.Contains(out, task) {
		t.Error(out)
	}
	// On behalf of a person, who may have read and nothing more.
	h.do("grant", "put", "reader", "write-mail", "--upstream", "mail", "--action", "write")
	task = h.open("reader", "--purpose", "Read for ben", "--on", "ben", "--upstream", "mail", "--action", "read", "--action", "write")
	h.fails(3, "ben, on whose behalf it is asked", under(h.asReader("GET", profile)...)...)
	h.do("upstream", "put", "mail", "--url", h.office, "--google", "gmail/v1", "--owner", "maya", "--credential-env", "OFFICE_SECRET", "--consent", "ben")
	h.do(under(h.asReader("GET", profile)...)...)
	h.fails(3, "ben, on whose behalf it is asked", under(append(h.asReader("POST", messages+"/send"), "-d", `{"raw":"VG86IGJlbkBleGFtcGxlLmNvbQ0KDQpIaQ"}`)...)...)
	// One that acts under tasks alone.
	h.do("identity", "register", "reader", "--owner", "maya", "--purpose", "Reads mail", "--tasks", "required")
	h.fails(3, "acts under tasks alone", h.asReader("GET", profile)...)
	h.do(under(h.asReader("GET", profile)...)...)
}

// TestTaskStream: what runs under a task is cut when that is closed, and when its budget of bytes is spent.
func TestTaskStream(t *testing.T) {
	t.Parallel()
	ticker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; r.Context().Err() == nil; i++ {
			fmt.Fprintf(w, "data: %090d\n\n", i) // 98 bytes
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}))
	t.Cleanup(func() { ticker.CloseClientConnections(); ticker.Close() })
	h := build(t)
	h.settle()
	h.do("upstream", "put", "ticker", "--url", ticker.URL, "--owner", "maya", "--pattern", "GET /ticks -> ticks.watch read /ticks")
	h.do("grant", "put", "reader", "ticks", "--upstream", "ticker", "--action", "read")
	watch := func(task string, then func(task string)) (n int64, err error) {
		res, err := h.on(task).HTTPClient(h.gate + "/ticker").Get(h.gate + "/ticker/ticks")
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		defer res.Body.Close()
		first := bufio.NewReader(res.Body)
		if _, err := first.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		then(task)
		n, err = io.Copy(io.Discard, first)
		return n, err
	}
	nothing := func(string) {}
	if _, err := watch(h.open("reader", "--purpose", "Watch", "--upstream", "ticker", "--action", "read"), func(task string) { h.do("task", "close", task) }); err == nil {
		t.Error("closed: the stream ended as if it were whole")
	}
	soon := time.Now().Add(6 * time.Second).UTC().Format(time.RFC3339)
	if _, err := watch(h.open("reader", "--purpose", "Watch for a moment", "--upstream", "ticker", "--action", "read", "--until", soon), nothing); err == nil {
		t.Error("at its end: the stream ended as if it were whole")
	}
	task := h.open("reader", "--purpose", "Watch a little", "--upstream", "ticker", "--action", "read", "--budget", "bytes=20000")
	if n, err := watch(task, nothing); err == nil || n > 20000 || n < 10000 {
		t.Errorf("%d bytes came, and it ended with %v", n, err)
	}
	h.eventually("the reason is on record", func() bool {
		return strings.Contains(h.do("audit", "search", "--task", task, "--outcome", "failed"), "budget of task "+task+" is spent: it is 20000 bytes")
	})
	if n := h.given(task, "bytes"); n > 20000 {
		t.Errorf("%d bytes given", n)
	}
}

// TestTaskBudget: a budget raced by 64 calls lets exactly as many pass; a server that is killed and starts again counts what
// it held as used; one that is stopped gives it back.
func TestTaskBudget(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	const path = profile
	task := h.open("reader", "--purpose", "Ten", "--upstream", "mail", "--action", "read", "--budget", "calls=10")
	agent := h.on(task)
	if _, err := agent.Token(t.Context(), h.gate+"/mail"); err != nil {
		t.Fatal(err)
	}
	var passed, refused atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			switch status, body, err := h.fetch(agent, "mail", path); {
			case err == nil && status == 200:
				passed.Add(1)
			case err == nil && status == 403 && strings.Contains(body, "budget-spent") && strings.Contains(body, "Maya Lind, who answers for reader"):
				refused.Add(1)
			default:
				t.Errorf("%d %s %v", status, body, err)
			}
		})
	}
	all.Wait()
	if passed.Load() != 10 || refused.Load() != 54 || h.given(task, "calls") != 10 {
		t.Errorf("%d passed, %d refused, %d given", passed.Load(), refused.Load(), h.given(task, "calls"))
	}
	task = h.open("reader", "--purpose", "Eighty", "--upstream", "mail", "--action", "read", "--budget", "calls=80")
	spend := func(most int) (n int) {
		agent := h.on(task)
		for ; n < most; n++ {
			if status, body, err := h.fetch(agent, "mail", path); err != nil || status != 200 {
				if err != nil || status != 403 || !strings.Contains(body, "budget-spent") {
					t.Errorf("%d %s %v", status, body, err)
				}
				break
			}
		}
		return n
	}
	if n := spend(5); n != 5 || h.given(task, "calls") != 10 {
		t.Errorf("%d passed, %d given", n, h.given(task, "calls"))
	}
	h.serve.Process.Kill()
	h.serve.Wait()
	h.start()
	if given := h.given(task, "calls"); given != 10 {
		t.Errorf("after a crash %d are given: what was held is not known to be unused", given)
	}
	if n := spend(3); n != 3 {
		t.Errorf("%d passed", n)
	}
	h.stop()
	h.start()
	if given := h.given(task, "calls"); given != 13 {
		t.Errorf("after a stop %d are given, and 10 and 3 were used or lost", given)
	}
	if n := spend(1000); n != 67 {
		t.Errorf("%d more passed of 80, of which 13 were gone", n)
	}
	h.do("audit", "verify")
}

// TestTaskCounter: an amount that an upstream counts is limited, over HTTP and in MCP, whose clients hear it in their protocol.
func TestTaskCounter(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.fails(3, "has no argument", "upstream", "put", "mail", "--url", h.office, "--google", "gmail/v1", "--owner", "maya", "--counter", "results=gmail.users.messages.list:amount")
	h.do("upstream", "put", "mail", "--url", h.office, "--google", "gmail/v1", "--owner", "maya", "--counter", "results=gmail.users.messages.list:maxResults")
	task := h.open("reader", "--purpose", "List a little", "--upstream", "mail", "--action", "read", "--budget", "results=50")
	list := func(n string) []string {
		return append(h.asReader("GET", "/gmail/v1/users/me/messages"+n), "--task", task)
	}
	h.do(list("?maxResults=30")...)
	h.fails(3, "is not enough for this", list("?maxResults=30")...)
	h.fails(3, "argument maxResults is missing", list("")...)
	h.do(list("?maxResults=20")...)
	h.do(append(h.asReader("GET", profile), "--task", task)...)
	if out := h.do("task", "show", task); !strings.Contains(out, "results") || h.given(task, "results") != 50 {
		t.Error(out)
	}

	_, server := notes(t)
	if err := os.WriteFile(filepath.Join(h.dir, "notes.json"), []byte(h.do("mcp", "catalogue", server.URL+"/mcp")), 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("upstream", "put", "notes", "--url", server.URL, "--mcp", "notes.json", "--owner", "maya")
	h.do("grant", "put", "reader", "notes", "--upstream", "notes", "--action", "read", "--action", "write", "--action", "mcp.*")
	task = h.open("reader", "--purpose", "Read two notes", "--upstream", "notes", "--action", "tools.read_note", "--budget", "calls=2")
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: h.gate + "/notes/mcp", HTTPClient: h.on(task).HTTPClient(h.gate + "/notes"), MaxRetries: -1, DisableStandaloneSSE: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	tools, err := s.ListTools(t.Context(), nil)
	if err != nil || len(tools.Tools) != 1 || tools.Tools[0].Name != "read_note" {
		t.Errorf("under the task it sees %+v %v", tools, err)
	}
	call := func(tool string) (string, error) {
		res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"path": "/a"}})
		if err != nil {
			return "", err
		}
		if text, ok := res.Content[0].(*mcp.TextContent); ok && res.IsError {
			return "", errors.New(text.Text)
		} else if ok {
			return text.Text, nil
		}
		return "", errors.New("no text")
	}
	if _, err := call("write_note"); err == nil || !strings.Contains(err.Error(), "does not name tools.write_note") {
		t.Error(err)
	}
	for range 2 {
		if said, err := call("read_note"); err != nil || said != "read /a" {
			t.Error(said, err)
		}
	}
	if _, err := call("read_note"); err == nil || !strings.Contains(err.Error(), "is spent: it is 2 calls") {
		t.Error(err)
	}
}
