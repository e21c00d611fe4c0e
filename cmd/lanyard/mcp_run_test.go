package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestMain is also the MCP servers of the tests, started as commands.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "stdio-server" {
		stdioServer(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

type wish struct {
	Do string `json:"do"`
}

// stdioServer is a server of the official SDK with one tool that does what it is told,
// or one that is none.
func stdioServer(kind string) {
	switch kind {
	case "deaf":
		select {}
	case "garbage":
		for {
			fmt.Println("Server listening on \x1b[31mport 3000")
		}
	case "flood":
		fmt.Println(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		for {
			fmt.Println(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"` + strings.Repeat("x", 1000) + `"}}`)
		}
	case "long":
		fmt.Println(strings.Repeat("x", maxWritten+1))
		select {}
	case "dead":
		fmt.Fprintln(os.Stderr, "no such folder")
		os.Exit(3)
	}
	s := sdk.NewServer(&sdk.Implementation{Name: "tests", Version: "1"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "do"}, func(ctx context.Context, r *sdk.CallToolRequest, in wish) (*sdk.CallToolResult, any, error) {
		text := ""
		switch in.Do {
		case "pid":
			text = fmt.Sprint(os.Getpid())
		case "environment":
			text = strings.Join(os.Environ(), "\n")
		case "die":
			os.Exit(4)
		case "twice":
			fmt.Println(`{"jsonrpc":"2.0","id":77,"result":{}}`)
			fmt.Println(`{"jsonrpc":"2.0","id":"77","result":{}}`)
		case "family": // a process that is in our group, and one that left it
			for _, leaves := range []bool{false, true} {
				c := exec.Command("sleep", "600")
				c.SysProcAttr = &syscall.SysProcAttr{Setsid: leaves}
				if err := c.Start(); err != nil {
					return nil, nil, err
				}
				text += fmt.Sprintln(c.Process.Pid)
			}
		case "progress":
			for i := range 3 {
				_ = r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i)})
			}
		case "ask":
			a, err := r.Session.Elicit(ctx, &sdk.ElicitParams{Message: "sure?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{}}})
			if err != nil {
				return nil, nil, err
			}
			text = a.Action
		case "wait":
			fmt.Fprintln(os.Stderr, "it waits")
			<-ctx.Done()
			fmt.Fprintln(os.Stderr, "it was cancelled")
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}}, nil, nil
	})
	_ = s.Run(context.Background(), &sdk.StdioTransport{}) // ends with its input
}

// guarded is a buffer for a log.
type guarded struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (g *guarded) Write(b []byte) (int, error) { g.mu.Lock(); defer g.mu.Unlock(); return g.b.Write(b) }
func (g *guarded) String() string              { g.mu.Lock(); defer g.mu.Unlock(); return g.b.String() }

// hosted serves a kind of server.
func hosted(t *testing.T, kind string) (*stdioHost, *httptest.Server, *guarded) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := &guarded{}
	env, _ := cleanEnv([]string{"PATH=" + os.Getenv("PATH"), "HOME=/", "X_SECRET=hush", "FINE=yes"}, []string{"FINE"})
	h := &stdioHost{command: []string{self, "stdio-server", kind}, env: env, credential: "right", idle: time.Minute, most: 4,
		log: slog.New(slog.NewTextHandler(log, nil)), sessions: map[string]*stdioSession{}, live: map[*stdioSession]bool{}}
	web := httptest.NewServer(h)
	t.Cleanup(func() {
		h.endAll("the test is over")
		web.CloseClientConnections()
		web.Close()
		if len(h.live) != 0 || len(h.sessions) != 0 {
			t.Errorf("%d processes and %d sessions are left", len(h.live), len(h.sessions))
		}
	})
	return h, web, log
}

func opened(t *testing.T, web *httptest.Server, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	s, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o).
		Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: web.URL + "/mcp", MaxRetries: -1, HTTPClient: &http.Client{Transport: &bearer{header: "Authorization", value: "Bearer right"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func does(s *sdk.ClientSession, what string) (string, error) {
	r, err := s.CallTool(context.Background(), &sdk.CallToolParams{Meta: sdk.Meta{"progressToken": "p-" + what}, Name: "do", Arguments: wish{what}})
	if err != nil {
		return "", err
	}
	return r.Content[0].(*sdk.TextContent).Text, nil
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("never: " + what)
		}
	}
}

// TestSessions: each session is a process of its own, with its own end.
func TestSessions(t *testing.T) {
	progress := make(chan float64, 3)
	_, web, log := hosted(t, "good")
	one := opened(t, web, &sdk.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
			progress <- r.Params.Progress
		},
		ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "decline"}, nil
		}})
	two := opened(t, web, nil)
	if v := one.InitializeResult().ProtocolVersion; v != sessionVersions[0] {
		t.Errorf("a client that begins with %s came back to %q", statelessVersion, v)
	}
	a, err := does(one, "pid")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := does(two, "pid"); err != nil || b == a {
		t.Errorf("two sessions share process %s: %v", a, err)
	}
	if env, err := does(one, "environment"); err != nil || strings.Contains(env, "hush") || !strings.Contains(env, "FINE=yes") {
		t.Errorf("its environment: %s %v", env, err)
	}
	if _, err := does(one, "progress"); err != nil {
		t.Error(err)
	}
	for i := range 3 {
		if got := <-progress; got != float64(i) {
			t.Errorf("progress %v, want %d", got, i)
		}
	}
	if answer, err := does(one, "ask"); err != nil || answer != "decline" {
		t.Errorf("what the server asked: %q %v", answer, err)
	}
	if _, err := does(one, "twice"); err != nil {
		t.Errorf("answers that nobody asked for: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := one.CallTool(ctx, &sdk.CallToolParams{Name: "do", Arguments: wish{"wait"}})
		waited <- err
	}()
	until(t, "it waits", func() bool { return strings.Contains(log.String(), "it waits") })
	cancel()
	<-waited
	until(t, "it is cancelled", func() bool { return strings.Contains(log.String(), "it was cancelled") })
	family, err := does(one, "family")
	if err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	fmt.Sscan(family, &pids[0], &pids[1])
	defer syscall.Kill(pids[1], syscall.SIGKILL) // lanyard mcp run ends it when it ends
	// The SDK tells of whichever it sees first: the answer, or the end of the session's stream.
	if _, err := does(two, "die"); err == nil || !strings.Contains(err.Error(), "(exit status 4); begin another session") && !strings.Contains(err.Error(), "standalone SSE stream") {
		t.Errorf("a process that dies: %v", err)
	}
	if _, err := does(two, "pid"); err == nil {
		t.Error("its session goes on")
	}
	if b, err := does(one, "pid"); err != nil || b != a {
		t.Errorf("the other session: %s %v", b, err)
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the session's processes end", func() bool {
		return syscall.Kill(pids[0], 0) != nil && strings.Contains(log.String(), "its client closed it")
	})
}

// TestBadServers: a server that is none ends its session, with why.
func TestBadServers(t *testing.T) {
	for kind, why := range map[string]string{"garbage": "writes what are no messages", "long": "more than 16 MB", "dead": "exit status 3"} {
		t.Run(kind, func(t *testing.T) {
			_, web, log := hosted(t, kind)
			code, _, body := post(t, web, "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`)
			if code != 200 || !strings.Contains(body, why) {
				t.Errorf("%d %s\n%s", code, body, log)
			}
			if strings.Contains(log.String(), "\x1b") || len(log.String()) > 10_000 {
				t.Errorf("the log: %d bytes\n%.2000s", len(log.String()), log)
			}
			if kind == "dead" && !strings.Contains(log.String(), "no such folder") {
				t.Errorf("what it said last: %s", log)
			}
		})
	}
	t.Run("deaf", func(t *testing.T) {
		h, web, _ := hosted(t, "deaf")
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "POST", web.URL+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer right")
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		res.Body.Close()
		until(t, "a session that was never opened ends", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.live) == 0 })
	})
	t.Run("flood", func(t *testing.T) {
		h, web, _ := hosted(t, "flood")
		_, session, body := post(t, web, "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`)
		if !strings.Contains(body, `"result":{}`) {
			t.Errorf("what it answered before: %.300s", body)
		}
		for _, method := range []string{"GET", "DELETE"} { // a client that listens and reads nothing, and then leaves
			req, err := http.NewRequest(method, web.URL+"/mcp", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer right")
			req.Header.Set("Accept", "text/event-stream")
			req.Header.Set("Mcp-Session-Id", session)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode > 204 {
				t.Errorf("%s: %s", method, res.Status)
			}
		}
		until(t, "it ends", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.live) == 0 })
	})
	t.Run("none", func(t *testing.T) {
		h, web, _ := hosted(t, "good")
		h.command = []string{"/no/such/server"}
		code, _, body := post(t, web, "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`)
		if code != 503 || !strings.Contains(body, "cannot be started") || strings.Contains(body, "/no/such") {
			t.Errorf("%d %s", code, body)
		}
	})
}

// post sends one message and reads the whole answer, with the session's id.
func post(t *testing.T, web *httptest.Server, session, body string, headers ...string) (int, string, string) {
	t.Helper()
	req, err := http.NewRequest("POST", web.URL+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer right")
	req.Header.Set("Content-Type", "application/json")
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Mcp-Session-Id"), string(b)
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// TestHostRefuses: who may not call, and what is no message of a session.
func TestHostRefuses(t *testing.T) {
	h, web, _ := hosted(t, "good")
	_, session, _ := post(t, web, "", initialize)
	for what, c := range map[string]struct {
		session, body string
		headers       []string
		code          int
		says          string
	}{
		"without a credential":   {"", initialize, []string{"Authorization", ""}, 401, "credential"},
		"with another's":         {"", initialize, []string{"Authorization", "Bearer wrong"}, 401, "credential"},
		"no JSON":                {"", `x`, nil, 400, "no JSON"},
		"a batch":                {"", `[` + initialize + `]`, nil, 400, "one JSON-RPC"},
		"text":                   {"", initialize, []string{"Content-Type", "text/plain"}, 415, "application/json"},
		"no session":             {"", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, nil, 400, "initialize"},
		"another's session":      {session + "x", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, nil, 404, "begin another"},
		"without sessions":       {"", `{"jsonrpc":"2.0","id":"a","method":"tools/list"}`, []string{"Mcp-Protocol-Version", "2026-07-28"}, 400, `"supported":["2025-11-25"`},
		"without sessions, meta": {"", `{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, nil, 400, `-32022`},
		"discovery":              {"", `{"jsonrpc":"2.0","id":"a","method":"server/discover"}`, nil, 400, `"requested":""`},
		"too much":               {session, `{"jsonrpc":"2.0","id":2,"method":"ping","params":{"x":"` + strings.Repeat("x", maxPosted) + `"}}`, nil, 413, "too large"},
	} {
		if code, _, body := post(t, web, c.session, c.body, c.headers...); code != c.code || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %.300s", what, code, body)
		}
	}
	for range 3 {
		post(t, web, "", initialize)
	}
	if code, _, body := post(t, web, "", initialize); code != 503 || !strings.Contains(body, "as many sessions as it may") {
		t.Errorf("one session too many: %d %s", code, body)
	}
	h.idle = time.Millisecond
	post(t, web, session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	until(t, "an idle session ends", func() bool { return h.session(session) == nil })
	if code, _, _ := post(t, web, session, `{"jsonrpc":"2.0","id":3,"method":"ping"}`); code != 404 {
		t.Errorf("a session that has ended: %d", code)
	}
}

func FuzzPosted(f *testing.F) {
	f.Add([]byte(initialize))
	f.Add([]byte("{\"jsonrpc\":\"2.0\",\r\n\"id\":\"x\",\"method\":\"tools/call\",\"params\":{\"_meta\":{\"progressToken\":1}}}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, _, err := parsePosted(body)
		if err != nil {
			return
		}
		if bytes.ContainsAny(p.line, "\r\n") || !json.Valid(p.line) {
			t.Errorf("%q is not one line of JSON", p.line)
		}
		if p.id != "" && !p.request.ID.IsValid() {
			t.Errorf("%q has an id and has none", p.line)
		}
	})
}

func FuzzWritten(f *testing.F) {
	f.Add([]byte("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\nServer ready\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1}}"))
	f.Fuzz(func(t *testing.T, out []byte) {
		h := &stdioHost{log: slog.New(slog.DiscardHandler), sessions: map[string]*stdioSession{}, live: map[*stdioSession]bool{}}
		s := &stdioSession{id: "fuzzing", host: h, done: make(chan struct{}), pending: map[string]*outbox{}}
		p, _, err := parsePosted([]byte(initialize))
		if err != nil {
			t.Fatal(err)
		}
		o := newOutbox(p)
		s.pending[p.id] = o
		go func() {
			for {
				select {
				case line := <-o.lines:
					if bytes.ContainsAny(line, "\r\n") || !json.Valid(line) {
						t.Errorf("%q is not one line of JSON", line)
					}
				case <-s.done:
					return
				}
			}
		}()
		s.read(bytes.NewReader(out))
		s.end("the test is over")
	})
}

func TestReadLine(t *testing.T) {
	r := bufio.NewReaderSize(strings.NewReader("a\n"+strings.Repeat("b", 40)+"\n"+strings.Repeat("c", 60)), 16)
	for _, want := range []string{"a\n", strings.Repeat("b", 40) + "\n"} {
		if line, err := readLine(r, 50); err != nil || string(line) != want {
			t.Errorf("%q %v", line, err)
		}
	}
	if _, err := readLine(r, 50); err != errLong {
		t.Error(err)
	}
}
