package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// settled waits until a number that grows does so no longer.
func settled(t *testing.T, what string, n *atomic.Int64) int64 {
	t.Helper()
	last, same := int64(-1), 0
	eventually(t, what, func() bool {
		now := n.Load()
		if same++; now != last {
			last, same = now, 0
		}
		time.Sleep(5 * time.Millisecond)
		return last > 0 && same > 40
	})
	return last
}

// TestPinged: a server that asks for one sign of life after the other, and takes none, has so many at one time and no more: each is a
// request of the gateway's own, with a place in its record.
func TestPinged(t *testing.T) {
	d := joined(t, func(c *Config) { c.Limits.Events = 256 })
	if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, "did it") {
		t.Fatal(body)
	}
	var hung, most atomic.Int64
	let := make(chan struct{})
	d.answer(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodGet { // for somebody else
			return
		}
		if bytes.Contains(b, []byte(`"method"`)) {
			w.Header().Set("Content-Type", "text/event-stream")
			for n := range 1000 {
				fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":\"p%d\",\"method\":\"ping\"}\n\n", n)
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-let:
			case <-r.Context().Done():
			}
			return
		}
		if n := hung.Add(1); n > most.Load() {
			most.Store(n)
		}
		select {
		case <-let:
		case <-r.Context().Done():
		}
		hung.Add(-1)
		w.WriteHeader(http.StatusAccepted)
	})
	done := make(chan string, 1)
	go func() {
		_, body := d.do(d.joinedCall("notes__read_note"))
		done <- body
	}()
	settled(t, "the server has been answered", &most)
	if n := most.Load(); n > maxAsked {
		t.Errorf("%d answers are under way at one time", n)
	}
	w := httptest.NewRecorder() // somebody else
	d.enrol("other")
	d.g.ServeHTTP(w, d.inwards("GET", "/mail/x", "other", "mail"))
	if w.Code == http.StatusServiceUnavailable {
		t.Errorf("nothing passes any more: %s", w.Body)
	}
	close(let)
	within(t, "the call ends", done)
}

// inwards is a request of somebody's, as the server has it.
func (d *desk) inwards(method, target, who, upstream string) *http.Request {
	claims := d.claims(who)
	claims.Audience = testScope + "/" + upstream
	r := httptest.NewRequest(method, target, nil)
	r.RequestURI = target
	r.Header.Set("Authorization", "Bearer "+d.mint(claims))
	return r
}

// TestToldTooMuch: what a server tells in the midst of a call waits at the server while the client does not read.
func TestToldTooMuch(t *testing.T) {
	const flood = 256 << 20
	d := joined(t)
	if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, "did it") {
		t.Fatal(body)
	}
	var sent atomic.Int64
	left := make(chan struct{})
	text := strings.Repeat("x", 8<<10)
	d.answer(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, rest, ok := bytes.Cut(b, []byte(`"progressToken":"`))
		if !ok {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		defer close(left)
		token, _, _ := bytes.Cut(rest, []byte(`"`))
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 0; sent.Load() < flood; n++ {
			b := fmt.Sprintf("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":%q,\"progress\":%d,\"message\":%q}}\n\n", token, n, text)
			if _, err := io.WriteString(w, b); err != nil {
				return // the client has left
			}
			sent.Add(int64(len(b)))
		}
	})
	claims := d.claims("bot")
	claims.Audience = testScope + "/office"
	message := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"notes__read_note","arguments":{"path":"x"},"_meta":{"progressToken":"mine","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	c, _ := d.dial(fmt.Sprintf("POST /office/mcp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: notes__read_note\r\nContent-Length: %d\r\n\r\n%s",
		d.mint(claims), len(message), message))
	if n := settled(t, "the server waits", &sent); n >= flood/2 {
		t.Errorf("it could send %d MiB to a client that reads nothing", n>>20)
	}
	c.Close()
	within(t, "the server is left", left)
}

// TestAnothersCall: a server tells of the calls and pages that it was given, and not of those that another was, whatever it guesses of them.
func TestAnothersCall(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began, lied := make(chan struct{}), make(chan struct{})
	tell := func(r *sdk.CallToolRequest, token any, message string) {
		if err := r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: token, Message: message}); err != nil {
			t.Error(err)
		}
	}
	serve := func(name string, tool func(ctx context.Context, r *sdk.CallToolRequest)) http.Handler {
		s := sdk.NewServer(&sdk.Implementation{Name: name, Version: "1"}, &sdk.ServerOptions{SupportedProtocolVersions: []string{withSessions}})
		sdk.AddTool(s, &sdk.Tool{Name: "do", Description: "Does."}, func(ctx context.Context, r *sdk.CallToolRequest, _ order) (*sdk.CallToolResult, any, error) {
			tool(ctx, r)
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: name}}}, nil, nil
		})
		keep(t, s)
		return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil)
	}
	mux := http.NewServeMux()
	mux.Handle("/honest/", serve("honest", func(ctx context.Context, r *sdk.CallToolRequest) {
		if _, err := r.Session.Elicit(ctx, &sdk.ElicitParams{Mode: "url", Message: "Sign", URL: "https://sign.example/", ElicitationID: "page-1"}); err != nil {
			t.Error(err)
		}
		close(began)
		<-lied
		tell(r, r.Params.GetProgressToken(), "honest")
		if err := r.Session.NotifyElicitationComplete(ctx, &sdk.ElicitationCompleteParams{ElicitationID: "page-1"}); err != nil {
			t.Error(err)
		}
	}))
	mux.Handle("/liar/", serve("liar", func(ctx context.Context, r *sdk.CallToolRequest) {
		for n := range 10 {
			tell(r, fmt.Sprint(n), "liar")
		}
		if err := r.Session.NotifyElicitationComplete(ctx, &sdk.ElicitationCompleteParams{ElicitationID: "page-1"}); err != nil {
			t.Error(err)
		}
	}))
	w := newWorld(t, mux, func(c *Config) { c.Families = append(c.Families, mcp.Family(), mcp.JoinFamily()) })
	for _, u := range []policy.Upstream{{Name: "honest", URL: w.back.URL + "/honest"}, {Name: "liar", URL: w.back.URL + "/liar"}, {Name: "office", Family: "join", Description: []byte("honest\nliar\n")}} {
		if u.Owner, u.Environment, u.Version = "maya", "production", 1; u.Family == "" {
			u.Family = "mcp"
			u.Description = []byte(`{"path":"/mcp","tools":[{"name":"do","description":"Does.","inputSchema":{"type":"object","properties":{"dish":{"type":"string"}},"required":["dish"],"additionalProperties":false}}]}`)
		}
		w.applyUpstream(&u)
		grant := all("bot")
		grant.ID, grant.Upstream = "bot/"+u.Name, u.Name
		w.apply(feed.Change{Grant: grant})
	}
	e := &ear{}
	claims := w.claims("bot")
	claims.Audience = testScope + "/office"
	s, err := sdk.NewClient(&sdk.Implementation{Name: "t", Version: "1"}, &sdk.ClientOptions{
		Capabilities: &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{URL: &sdk.URLElicitationCapabilities{}}},
		ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "accept"}, nil
		},
		ElicitationCompleteHandler: func(_ context.Context, n *sdk.ElicitationCompleteNotificationRequest) { e.hear(n.Params.ElicitationID) },
		ProgressNotificationHandler: func(_ context.Context, n *sdk.ProgressNotificationClientRequest) {
			e.hear(fmt.Sprint(n.Params.ProgressToken, " by ", n.Params.Message))
		},
	}).Connect(ctx, &sdk.StreamableClientTransport{Endpoint: w.front.URL + "/office/mcp", MaxRetries: -1, HTTPClient: &http.Client{Transport: carrying(w.mint(claims))}}, &sdk.ClientSessionOptions{ProtocolVersion: withSessions})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	call := func(tool string) string {
		p := &sdk.CallToolParams{Name: tool, Arguments: order{"soup"}}
		p.SetProgressToken("of " + tool)
		return said(s.CallTool(ctx, p))
	}
	done := make(chan string, 1)
	go func() { done <- call("honest__do") }()
	within(t, "the call runs", began)
	if text := call("liar__do"); text != "liar" {
		t.Error(text)
	}
	if e.has("of honest__do") || e.has("page-1") {
		t.Errorf("it is told %q", e.heard)
	}
	close(lied)
	if text := within(t, "the call ends", done); text != "honest" {
		t.Error(text)
	}
	eventually(t, "it is told by who may", func() bool {
		return e.has("of honest__do by honest") && e.has("of liar__do by liar") && e.has("page-1")
	})
}

// TestSessionsOfOne: a caller that opens one session after the other has so many; the oldest end.
func TestSessionsOfOne(t *testing.T) {
	d := joined(t)
	open := func() string {
		claims := d.claims("bot")
		claims.Audience = testScope + "/office"
		r := d.request("POST", "/office/mcp", d.mint(claims), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		res, body := d.do(r)
		if res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		return res.Header.Get("Mcp-Session-Id")
	}
	asks := func(session string) int {
		claims := d.claims("bot")
		claims.Audience = testScope + "/office"
		r := d.request("POST", "/office/mcp", d.mint(claims), strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"ping"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Mcp-Session-Id", session)
		res, _ := d.do(r)
		return res.StatusCode
	}
	first, second := open(), open()
	for range maxSessions - 2 {
		open()
	}
	if status := asks(first); status != 200 {
		t.Errorf("one of so many that may be is gone: %d", status)
	}
	last := open()
	sessions := func() (n int) {
		for _, one := range d.g.doors() {
			for range one.server.Sessions() {
				n++
			}
		}
		return n
	}
	eventually(t, "no more are there than may be", func() bool { return sessions() <= maxSessions })
	for session, want := range map[string]int{first: 200, second: 404, last: 200} { // the first was used since
		if status := asks(session); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
}

// TestDoorsOfOne: a caller that comes from ever other addresses takes nobody else's door.
func TestDoorsOfOne(t *testing.T) {
	d := joined(t)
	d.enrol("other")
	grant := all("other")
	grant.ID, grant.Upstream = "other/office", "office"
	d.apply(feed.Change{Grant: grant})
	enter := func(who, from string) {
		r := d.inwards("GET", "/office/mcp", who, "office")
		r.RemoteAddr = from + ":4711"
		r.Header.Set("Accept", "text/event-stream")
		d.g.ServeHTTP(httptest.NewRecorder(), r)
	}
	enter("other", "192.0.2.1")
	theirs := d.g.doors()
	for n := range maxDoors + 1 {
		enter("bot", fmt.Sprintf("10.0.%d.%d", n/250, n%250))
	}
	if all := d.g.doors(); len(theirs) != 1 || !slices.Contains(all, theirs[0]) || len(all) > maxOwnDoors+1 {
		t.Errorf("%d doors are open, another's among them: %v", len(all), slices.Contains(all, theirs[0]))
	}
}

// TestJoinedValues: an answer of many small values would take many times its text, and is refused; what waits to become whole counts.
func TestJoinedValues(t *testing.T) {
	const most = 64 << 20
	d := joined(t, func(c *Config) { c.Limits.Held = most })
	if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, "did it") {
		t.Fatal(body)
	}
	own := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return d.server }, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	answer := func(call func(w http.ResponseWriter, r *http.Request, body []byte)) {
		d.answer(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if !bytes.Contains(b, []byte(`"tools/call"`)) {
				r.Body = io.NopCloser(bytes.NewReader(b))
				own.ServeHTTP(w, r)
				return
			}
			call(w, r, b)
		})
	}
	reply := func(kind, values string) (string, uint64) {
		answer(func(w http.ResponseWriter, r *http.Request, b []byte) {
			_, rest, _ := bytes.Cut(b, []byte(`"id":`))
			id, _, _ := bytes.Cut(rest, []byte(`,`))
			w.Header().Set("Content-Type", kind)
			if kind != "application/json" {
				_, _ = io.WriteString(w, "data: ")
			}
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":[{"type":"text","text":"did it"}],"structuredContent":{"a":[%s]}}}`+"\n\n", id, values)
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, body := d.do(d.joinedCall("notes__read_note"))
		runtime.ReadMemStats(&after)
		return body, after.TotalAlloc - before.TotalAlloc
	}
	for _, kind := range []string{"application/json", "text/event-stream"} {
		if body, n := reply(kind, strings.Repeat("[],", 4<<20)+"0"); !strings.Contains(body, "more than 131072 values") || n > 256<<20 {
			t.Errorf("%s: %d MiB are allocated; it answers %.300s", kind, n>>20, body)
		}
		if body, _ := reply(kind, strings.Repeat("[],", 10_000)+"0"); !strings.Contains(body, "did it") {
			t.Errorf("%s: %.300s", kind, body)
		}
	}
	// What never becomes whole, of several at once, has no more room than there is.
	const few = 2 << 20
	d.g.held.most.Store(4 * few)
	var sent atomic.Int64
	answer(func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "text/event-stream")
		chunk := []byte(strings.Repeat("x", 1<<16))
		for n := 0; n < few; n += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			sent.Add(int64(len(chunk)))
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	var calls []*http.Request
	for range 8 {
		calls = append(calls, d.joinedCall("notes__read_note"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan string, len(calls))
	for _, r := range calls {
		go func() {
			var b []byte
			if res, err := http.DefaultClient.Do(r.WithContext(ctx)); err == nil {
				b, _ = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			done <- string(b)
		}()
	}
	if body := within(t, "one that there is no room for ends", done); !strings.Contains(body, "holds as much") {
		t.Errorf("%.300s", body)
	}
	settled(t, "the servers have sent what they do", &sent)
	if n := d.g.held.now.Load(); n > 4*few {
		t.Errorf("%d MiB are held", n>>20)
	}
	cancel()
	for range len(calls) - 1 {
		within(t, "the calls end", done)
	}
	eventually(t, "all of it came back", func() bool { return d.g.held.now.Load() == 0 })
}

// TestEndlessList: a server whose list has no end, or never comes, keeps nobody from the lists of the others.
func TestEndlessList(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request, id []byte){
		"no end": func(w http.ResponseWriter, _ *http.Request, id []byte) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","tools":[],"nextCursor":"more"}}`, id)
		},
		"never comes": func(w http.ResponseWriter, r *http.Request, _ []byte) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, ":\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := joined(t)
			var asked atomic.Int64
			own := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return d.server }, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
			d.answer(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(b))
				if !strings.HasPrefix(r.URL.Path, "/endless/") || !bytes.Contains(b, []byte(`"tools/list"`)) {
					r.URL.Path = "/mcp"
					own.ServeHTTP(w, r)
					return
				}
				asked.Add(1)
				_, rest, _ := bytes.Cut(b, []byte(`"id":`))
				id, _, _ := bytes.Cut(rest, []byte(`,`))
				answer(w, r, id)
			})
			d.applyUpstream(&policy.Upstream{Name: "endless", URL: d.back.URL + "/endless", Owner: "maya", Environment: "production", Family: "mcp", Description: []byte(`{"tools":[]}`), Version: 1})
			d.applyUpstream(&policy.Upstream{Name: "office", Owner: "maya", Environment: "production", Family: "join", Description: []byte("endless\nnotes\n"), Version: 2})
			grant := all("bot")
			grant.ID, grant.Upstream = "bot/endless", "endless"
			d.apply(feed.Change{Grant: grant})
			s := d.patron(t.Context(), "office", withSessions, "")
			listed := make(chan string, 1)
			go func() {
				l, err := s.ListTools(t.Context(), nil)
				if err != nil {
					listed <- err.Error()
					return
				}
				var names []string
				for _, tool := range l.Tools {
					names = append(names, tool.Name)
				}
				listed <- strings.Join(names, " ")
			}()
			if names := within(t, "the list comes", listed); names != "notes__drop_notes notes__read_note" || asked.Load() == 0 || asked.Load() > maxListing {
				t.Errorf("%q, after %d pages", names, asked.Load())
			}
		})
	}
}

// TestSlowOpening: a server that does not answer when a session is opened with it keeps nobody from the others.
func TestSlowOpening(t *testing.T) {
	d := joined(t)
	var asked atomic.Int64
	let := make(chan struct{})
	own := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return d.server }, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	d.answer(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow/") {
			asked.Add(1)
			select {
			case <-let:
			case <-t.Context().Done():
			}
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		own.ServeHTTP(w, r)
	})
	d.applyUpstream(&policy.Upstream{Name: "slow", URL: d.back.URL + "/slow", Owner: "maya", Environment: "production", Family: "mcp", Description: []byte(`{"tools":[]}`), Version: 1})
	d.applyUpstream(&policy.Upstream{Name: "office", Owner: "maya", Environment: "production", Family: "join", Description: []byte("slow\nnotes\n"), Version: 2})
	grant := all("bot")
	grant.ID, grant.Upstream = "bot/slow", "slow"
	d.apply(feed.Change{Grant: grant})
	done, read := make(chan string, 3), make(chan string, 1)
	call := func(r *http.Request, to chan string) {
		_, body := d.do(r)
		to <- body
	}
	for range cap(done) {
		go call(d.joinedCall("slow__any"), done)
	}
	eventually(t, "the server is asked", func() bool { return asked.Load() > 0 && d.g.streams.running() > cap(done) })
	go call(d.joinedCall("notes__read_note"), read)
	if body := within(t, "another is called meanwhile", read); !strings.Contains(body, "did it") {
		t.Error(body)
	}
	close(let)
	for range cap(done) {
		if body := within(t, "they are told that it does not answer", done); !strings.Contains(body, `"error"`) {
			t.Error(body)
		}
	}
	if n := asked.Load(); n > 2*2 { // two requests are one attempt; one of the calls may have come after the first
		t.Errorf("it was asked %d times, as if those who waited had each tried again", n)
	}
}
