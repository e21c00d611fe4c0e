package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// joined is a desk whose one server is behind a joined endpoint, too.
func joined(t *testing.T, change ...func(*Config)) *desk {
	d := newDesk(t, append(change, func(c *Config) { c.Families = append(c.Families, mcp.JoinFamily()) })...)
	d.applyUpstream(&policy.Upstream{Name: "office", Owner: "maya", Environment: "production", Family: "join", Description: []byte("notes\n"), Version: 1})
	grant := all("bot")
	grant.ID, grant.Upstream = "bot/office", "office"
	d.apply(feed.Change{Grant: grant})
	return d
}

// joinedCall is one tools/call of revision 2026-07-28 at the joined endpoint.
func (d *desk) joinedCall(tool string) *http.Request { return d.joinedTask(tool, "") }

func (d *desk) joinedTask(tool, task string) *http.Request {
	claims := d.claims("bot")
	claims.Task = task
	claims.Audience = testScope + "/office"
	r := d.request("POST", "/office/mcp", d.mint(claims), strings.NewReader(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"`+tool+
		`","arguments":{"path":"x"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`))
	for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool} {
		r.Header.Set(name, value)
	}
	return r
}

// TestJoined: many calls at once through one door, each decided and on record at its upstream; a kill ends them
// all, and nothing stays behind when the gateway closes.
func TestJoined(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("calls", func(t *testing.T) {
		d := joined(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 10 {
					if res, body := d.do(d.joinedCall("notes__read_note")); res.StatusCode != 200 || !strings.Contains(body, "read_note did it") {
						t.Errorf("%d %s", res.StatusCode, body)
						return
					}
				}
			})
		}
		wg.Wait()
		if n := d.calls.Load(); n != 80 {
			t.Errorf("the server was called %d times", n)
		}
		for _, tool := range []string{"notes__nothing", "mail__read_note", "read_note"} {
			if _, body := d.do(d.joinedCall(tool)); !strings.Contains(body, `"error"`) {
				t.Errorf("%s: %s", tool, body)
			}
		}
		d.answer(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		cut := make(chan string, 1)
		go func() {
			res, err := http.DefaultClient.Do(d.joinedCall("notes__drop_notes"))
			if err != nil {
				cut <- err.Error()
				return
			}
			res.Body.Close()
			cut <- fmt.Sprint(res.StatusCode)
		}()
		eventually(t, "the call runs at its upstream", func() bool { return d.calls.Load() > 80 })
		d.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{id("bot")}, At: time.Now()}})
		select {
		case <-cut:
		case <-time.After(10 * time.Second):
			t.Error("a killed call goes on")
		}
		if res, _ := d.do(d.joinedCall("notes__read_note")); res.StatusCode != 401 {
			t.Errorf("after the kill: %d", res.StatusCode)
		}
		if err := d.g.Close(); err != nil {
			t.Error(err)
		}
		n := 0
		for _, e := range d.plane.recorded() {
			if e.Upstream == "notes" && e.Action == "tools.read_note" && e.Outcome == ledger.Allowed {
				n++
			}
		}
		if n != 80 {
			t.Errorf("%d calls are on record", n)
		}
	})
	eventually(t, "everything that was started has ended", func() bool {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine() <= before+2
	})
}

// TestJoinedHostile: a joined server that floods, dies, or says what nobody asked is a clear error, and holds no more than so much.
func TestJoinedHostile(t *testing.T) {
	d := joined(t)
	if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, "did it") {
		t.Fatal(body)
	}
	flood := func(kind, begin string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			if _, err := io.WriteString(w, begin); err != nil {
				return
			}
			chunk := strings.Repeat("x", 1<<16)
			for n := 0; n < 10*maxList; n += len(chunk) {
				if _, err := io.WriteString(w, chunk); err != nil {
					return // cut, as it is to be
				}
			}
			t.Errorf("%s: it could send %d bytes", kind, 10*maxList)
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"a flood":              flood("application/json", `{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"`),
		"a flood of one event": flood("text/event-stream", `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"`),
		"dies":                 func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, "{{{")
		},
		"another question": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","id":"none of yours","result":{"content":[]}}`)
		},
	} {
		d.answer(answer)
		if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, `"error"`) {
			t.Errorf("%s: %.300s", name, body)
		}
	}
	d.answers.Store(nil)
	if _, body := d.do(d.joinedCall("notes__read_note")); !strings.Contains(body, "did it") {
		t.Errorf("afterwards: %s", body)
	}
}

// TestJoinedSession: a session at a joined endpoint is of who opened it, and so are its questions.
func TestJoinedSession(t *testing.T) {
	d := joined(t)
	d.enrol("other")
	for _, u := range []string{"notes", "office"} {
		grant := all("other")
		grant.ID, grant.Upstream = "other/"+u, u
		d.apply(feed.Change{Grant: grant})
	}
	post := func(who, session, message string) (*http.Response, string) {
		claims := d.claims(who)
		claims.Audience = testScope + "/office"
		r := d.request("POST", "/office/mcp", d.mint(claims), strings.NewReader(message))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		return d.do(r)
	}
	res, _ := post("bot", "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"t","version":"1"}}}`)
	session := res.Header.Get("Mcp-Session-Id")
	for _, message := range []string{`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}`} {
		if res, body := post("other", session, message); res.StatusCode != 404 {
			t.Errorf("another's session: %d %s", res.StatusCode, body)
		}
	}
	if res, body := post("bot", session, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`); res.StatusCode != 200 || !strings.Contains(body, "notes__read_note") {
		t.Errorf("its own: %d %s", res.StatusCode, body)
	}
	// An answer that nobody asked for goes nowhere.
	if res, body := post("bot", session, `{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}`); res.StatusCode >= 500 || d.calls.Load() != 0 {
		t.Errorf("an answer to nothing: %d %s", res.StatusCode, body)
	}
}

// TestJoinedBare: a question without parameters is one all the same.
func TestJoinedBare(t *testing.T) {
	d := joined(t)
	for _, method := range []string{"tools/list", "resources/list", "resources/templates/list", "prompts/list", "tools/call", "resources/read", "prompts/get", "completion/complete"} {
		for _, params := range []string{"", `,"params":{}`, `,"params":null`} {
			claims := d.claims("bot")
			claims.Audience = testScope + "/office"
			post := func(session, message string) (*http.Response, string) {
				r := d.request("POST", "/office/mcp", d.mint(claims), strings.NewReader(message))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Accept", "application/json, text/event-stream")
				if session != "" {
					r.Header.Set("Mcp-Session-Id", session)
				}
				return d.do(r)
			}
			res, _ := post("", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
			res, body := post(res.Header.Get("Mcp-Session-Id"), `{"jsonrpc":"2.0","id":2,"method":"`+method+`"`+params+`}`)
			if strings.HasSuffix(method, "/list") && params != `,"params":null` && !strings.Contains(body, `"result"`) || strings.Contains(body, "internal error") {
				t.Errorf("%s%s: %d %s", method, params, res.StatusCode, body)
			}
		}
	}
}

// TestJoinedCallers: what one token of an identity may do, or from where it is asked, is not lent to another's request.
func TestJoinedCallers(t *testing.T) {
	d := joined(t)
	claims := d.claims("bot")
	claims.Audience, claims.Scope = testScope+"/office", "read" // the tools are of class write
	narrow := d.mint(claims)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 40 {
				r := d.joinedCall("notes__read_note")
				if n%2 == 1 {
					r.Header.Set("Authorization", "Bearer "+narrow)
				}
				_, body := d.do(r)
				if did := strings.Contains(body, "did it"); did != (n%2 == 0) {
					t.Errorf("a token for reading alone: %v; it is answered %s", n%2 == 1, body)
					return
				}
			}
		})
	}
	wg.Wait()
	// An address with colons is one all the same: grants and guardrails may speak of it.
	r := d.joinedCall("notes__read_note")
	in := httptest.NewRequest(r.Method, r.URL.RequestURI(), r.Body)
	in.Header, in.RemoteAddr = r.Header, "[2001:db8::7]:4711"
	w := httptest.NewRecorder()
	d.g.ServeHTTP(w, in)
	if !strings.Contains(w.Body.String(), "read_note did it") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if err := d.g.Close(); err != nil {
		t.Error(err)
	}
	found := false
	for _, e := range d.plane.recorded() {
		found = found || e.Upstream == "notes" && e.Source == "2001:db8::7"
	}
	if !found {
		t.Error("the call through the joined endpoint is not on record with where it came from")
	}
}
