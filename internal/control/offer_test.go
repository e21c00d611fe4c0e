package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestOffer: the control plane asks an upstream with the credential that it has, shows both sides to who may administer,
// and takes an approval of what was shown alone.
func TestOffer(t *testing.T) {
	p := start(t)
	s := sdk.NewServer(&sdk.Implementation{Name: "notes", Version: "1"}, nil)
	add := func(description string) {
		s.AddTool(&sdk.Tool{Name: "read", Description: description, InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
	}
	add("Reads.")
	own := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: true})
	var strayed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	var away, flood atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer s3cret-canary":
			http.Error(w, "who are you", http.StatusUnauthorized)
		case away.Load():
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case flood.Load():
			w.Header().Set("Content-Type", "application/json")
			for range 3 * maxOffer / 4096 {
				if _, err := w.Write([]byte(strings.Repeat(" ", 4096))); err != nil {
					return
				}
			}
		default:
			own.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	const approved = `{"path":"/mcp","tools":[{"name":"read","description":"Reads.","inputSchema":{"type":"object"}}]}`
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com"}`)
	p.must("PUT", "/v1/upstreams/notes", fmt.Sprintf(`{"url":%q,"owner":"maya","family":"mcp","description":%q,"classes":{"tools.read":"read"},"credential":{"value":"Bearer s3cret-canary"}}`, server.URL, approved))
	p.must("PUT", "/v1/upstreams/plain", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /x -> x.read read x"}`)
	offer := func() (o Offer) {
		t.Helper()
		if err := json.Unmarshal([]byte(p.must("GET", "/v1/upstreams/notes/offer", "")), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	add("Reads, better.")
	o := offer()
	if o.Approved != approved || !strings.Contains(o.Now, "Reads, better.") || strings.Contains(o.Now, "canary") {
		t.Errorf("%+v", o)
	}
	for path, method := range map[string]string{"/v1/upstreams/notes/offer": "GET", "/v1/upstreams/notes/approve": "POST", "/v1/upstreams/notes/description": "GET"} {
		if status, _ := p.ask(method, path, map[string]string{"POST": `{"description":"{}","version":1}`}[method], "Authorization", ""); status != 401 {
			t.Errorf("%s without a token: %d", path, status)
		}
	}
	body := func(description string, version int64) string {
		return fmt.Sprintf(`{"description":%q,"version":%d}`, description, version)
	}
	for name, x := range map[string]struct {
		body string
		want int
	}{
		"of an older version": {body(o.Now, o.Version-1), 409},
		"no catalogue":        {body("x", o.Version), 422},
		"hidden text":         {body(strings.ReplaceAll(approved, "Reads.", "Reads.\u200b"), o.Version), 422},
	} {
		if status, answer := p.ask("POST", "/v1/upstreams/notes/approve", x.body); status != x.want {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	size := p.Store.Size()
	p.must("POST", "/v1/upstreams/notes/approve", body(o.Now, o.Version))
	if e := p.last(); e.Type != "upstream.change" || e.Resource != "notes" || p.Store.Size() != size+1 {
		t.Errorf("on record: %+v, %d events", e, p.Store.Size()-size)
	}
	if o = offer(); o.Approved != o.Now {
		t.Errorf("approved: %s\nand it offers %s", o.Approved, o.Now)
	}
	if answer := p.must("GET", "/v1/upstreams/notes", ""); !strings.Contains(answer, `"classes":{"tools.read":"read"}`) || !strings.Contains(answer, `"credential":true`) {
		t.Errorf("the rest of it: %s", answer)
	}
	for name, flag := range map[string]*atomic.Bool{"another server": &away, "a flood": &flood} {
		flag.Store(true)
		if status, answer := p.ask("GET", "/v1/upstreams/notes/offer", ""); status != 422 || strings.Contains(answer, "canary") || strings.Contains(answer, elsewhere.URL) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		flag.Store(false)
	}
	if strayed.Load() != 0 {
		t.Error("it was led to another server")
	}
	if status, answer := p.ask("GET", "/v1/upstreams/plain/offer", ""); status != 422 || !strings.Contains(answer, "only MCP servers do") {
		t.Errorf("one that cannot say: %d %s", status, answer)
	}
	p.must("POST", "/v1/kill", `{"upstream":"notes","reason":"test"}`)
	if status, answer := p.ask("GET", "/v1/upstreams/notes/offer", ""); status != 422 || !strings.Contains(answer, "cut off") {
		t.Errorf("killed: %d %s", status, answer)
	}
	if strings.Contains(p.log.String(), "canary") {
		t.Error("the credential is in the log")
	}
}

// TestApproveIsNoPut: who may approve what an upstream offers describes no upstream that offers nothing of its own.
func TestApproveIsNoPut(t *testing.T) {
	p := start(t)
	p.settle()
	maya := p.begin("maya")
	var u UpstreamView
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/upstreams/mail", "")), &u); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"description":"GET /m/{id} -> m.read read /m/{id}\nPOST /m -> m.send read /m","version":%d}`, u.Version)
	if status, answer := p.visit(maya, "PUT", "/v1/upstreams/mail", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"POST /m -> m.send read /m"}`); status != 403 {
		t.Errorf("its owner puts an upstream: %d %s", status, answer)
	}
	if status, answer := p.visit(maya, "POST", "/v1/upstreams/mail/approve", body); status != 422 || !strings.Contains(answer, "only MCP servers do") {
		t.Errorf("sending becomes reading: %d %s", status, answer)
	}
	if answer := p.must("GET", "/v1/upstreams/mail/description", ""); !strings.Contains(answer, "m.send write") {
		t.Error(answer)
	}
}
