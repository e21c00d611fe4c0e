package asi03

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/client"
)

// order is what a caller wants the analyst to fetch.
type order struct {
	Record string `json:"record"`
}

// analyst is an agent with an MCP server, behind the gateway as an upstream that other agents call.
// Its tool careful does what it is asked on behalf of who asks; naive does it as itself; wait
// keeps what it was given, as a log or a memory would.
type analyst struct {
	h      *house
	badge  *client.Source
	given  atomic.Value // the last Lanyard-On-Behalf-Of
	bearer atomic.Value // the Authorization header it saw
}

func (a *analyst) fetch(badge *client.Source, record string) (*mcp.CallToolResult, any, error) {
	status, body := a.h.call(badge, "payroll", "GET", "/records/"+record)
	return &mcp.CallToolResult{IsError: status != 200, Content: []mcp.Content{&mcp.TextContent{Text: body}}}, nil, nil
}

func (h *house) analyst() *analyst {
	a := &analyst{h: h, badge: h.agent("analyst", "priya")}
	s := mcp.NewServer(&mcp.Implementation{Name: "analyst", Version: "1"}, nil)
	read := &mcp.ToolAnnotations{ReadOnlyHint: true}
	mcp.AddTool(s, &mcp.Tool{Name: "careful", Description: "Fetches a record.", Annotations: read}, func(_ context.Context, r *mcp.CallToolRequest, o order) (*mcp.CallToolResult, any, error) {
		a.given.Store(r.Extra.Header.Get("Lanyard-On-Behalf-Of"))
		a.bearer.Store(r.Extra.Header.Get("Authorization"))
		caller, err := a.badge.Called(&http.Request{Header: r.Extra.Header})
		if err != nil {
			return nil, nil, err
		}
		return a.fetch(caller, o.Record)
	})
	mcp.AddTool(s, &mcp.Tool{Name: "naive", Description: "Fetches a record.", Annotations: read}, func(_ context.Context, _ *mcp.CallToolRequest, o order) (*mcp.CallToolResult, any, error) {
		return a.fetch(a.badge, o.Record)
	})
	web := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	h.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	if err := os.WriteFile(filepath.Join(h.dir, "analyst.json"), []byte(h.do("mcp", "catalogue", web.URL+"/mcp")), 0o644); err != nil {
		h.Fatal(err)
	}
	h.do("upstream", "put", "analyst", "--url", web.URL, "--mcp", "analyst.json", "--owner", "priya", "--consent", "*", "--agent", "analyst")
	return a
}

// asks calls a tool of the analyst's as who has the badge, and returns what it was told.
func (h *house) asks(badge *client.Source, tool, record string) (said string, failed bool) {
	h.Helper()
	return h.asksAt("analyst", badge, tool, record)
}

func (h *house) asksAt(upstream string, badge *client.Source, tool, record string) (said string, failed bool) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 30*time.Second)
	defer cancel()
	s, err := mcp.NewClient(&mcp.Implementation{Name: "caller", Version: "1"}, nil).Connect(ctx,
		&mcp.StreamableClientTransport{Endpoint: h.gate + "/" + upstream + "/mcp", HTTPClient: badge.HTTPClient(h.gate + "/" + upstream), MaxRetries: -1, DisableStandaloneSSE: true}, nil)
	if err != nil {
		return err.Error(), true
	}
	defer s.Close()
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: order{record}})
	if err != nil {
		return err.Error(), true
	}
	return res.Content[0].(*mcp.TextContent).Text, res.IsError
}

// TestConfusedDeputyBetweenAgents: the intern may not read the payroll and asks the analyst, which may. The
// analyst's rights are not the intern's to use: not when it acts on behalf of its caller, and not
// when it forgets to, once its grants demand that.
func TestConfusedDeputyBetweenAgents(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--chain-header", "--consent", "ben")
	analyst := h.analyst()
	intern, peer := h.agent("intern", "eve"), h.agent("peer", "ben")
	for _, caller := range []string{"intern", "peer"} {
		h.do("grant", "put", caller, "ask", "--upstream", "analyst", "--action", "mcp.*", "--action", "read")
	}
	h.do("grant", "put", "analyst", "payroll", "--upstream", "payroll", "--action", "read")
	h.do("grant", "put", "peer", "payroll", "--upstream", "payroll", "--action", "read")

	// Who may, gets it through the analyst, and the payroll sees both.
	if said, failed := h.asks(peer, "careful", "7"); failed || said != "the salaries" {
		t.Fatalf("peer is told %q", said)
	}
	n, last := payroll.reached()
	if got := last.Header.Get("Lanyard-Chain"); n != 1 || got != `"`+id("analyst")+`", "`+id("peer")+`"` || last.Header.Get("Authorization") != "" {
		t.Errorf("payroll is told %q and %q", got, last.Header.Get("Authorization"))
	}
	if s, _ := analyst.bearer.Load().(string); s != "" {
		t.Errorf("the analyst sees its caller's own token: %q", s)
	}
	h.onRecord(`"records.get"`, id("analyst"), id("peer"), "allowed")

	// Attack: the intern orders what it may not have. (1) Of an analyst that acts on behalf of its caller:
	if said, failed := h.asks(intern, "careful", "7"); !failed || !strings.Contains(said, "intern, on whose behalf it is asked, holds no grant") {
		t.Errorf("intern is told %q", said)
	}
	h.onRecord("token.issue", "refused", id("analyst"), id("intern"))
	// (2) Of one that acts as itself. Without a defence this is the hole:
	if said, failed := h.asks(intern, "naive", "7"); failed || said != "the salaries" {
		t.Errorf("the attack does not work even without a defence (%q), so this test shows nothing", said)
	}
	// and with it there is none: the analyst's grant is for acting on behalf of others alone.
	before, _ := payroll.reached()
	h.do("grant", "put", "analyst", "payroll", "--upstream", "payroll", "--action", "read", "--only-for-others")
	if said, failed := h.asks(intern, "naive", "7"); !failed || !strings.Contains(said, "only for acting on behalf of others") {
		t.Errorf("intern is told %q", said)
	}
	if said, failed := h.asks(peer, "careful", "7"); failed {
		t.Errorf("and peer, who may: %q", said)
	}
	if n, _ := payroll.reached(); n != before+1 {
		t.Errorf("%d requests reached the payroll", n-before)
	}
	h.onRecord(`"records.get"`, "refused", "only for acting on behalf of others")

	// (3) The other way round: who may read the payroll does not get it through an analyst that may not.
	h.do("grant", "revoke", "analyst/payroll", "--reason", "test")
	if said, failed := h.asks(peer, "careful", "7"); !failed || !strings.Contains(said, "analyst holds no grant") {
		t.Errorf("peer is told %q", said)
	}
	// (4) A person's word does not lend what the agents between have not.
	h.do("grant", "put", "analyst", "payroll", "--upstream", "payroll", "--action", "read", "--only-for-others")
	if said, failed := h.asks(intern.OnBehalf(h.signedIn("ben"), client.IDToken), "careful", "7"); !failed || !strings.Contains(said, "intern, on whose behalf") {
		t.Errorf("intern, on behalf of ben, is told %q", said)
	}
	if said, failed := h.asks(peer.OnBehalf(h.signedIn("ben"), client.IDToken), "careful", "7"); failed {
		t.Errorf("peer, on behalf of ben: %q", said)
	}
	if _, last = payroll.reached(); last.Header.Get("Lanyard-Chain") != `"`+id("analyst")+`", "`+id("peer")+`", "spiffe://lanyard.local/person/ben"` {
		t.Errorf("payroll is told %q", last.Header.Get("Lanyard-Chain"))
	}
	// (5) Where the analyst is behind one endpoint with others, it is the same.
	h.do("upstream", "put", "desk", "--join", "analyst", "--owner", "priya", "--consent", "*")
	for _, caller := range []string{"intern", "peer"} {
		h.do("grant", "put", caller, "desk", "--upstream", "desk", "--action", "mcp.*")
	}
	if said, failed := h.asksAt("desk", peer, "analyst__careful", "7"); failed || said != "the salaries" {
		t.Errorf("peer, at the desk, is told %q", said)
	}
	for _, tool := range []string{"analyst__careful", "analyst__naive"} {
		if said, failed := h.asksAt("desk", intern, tool, "7"); !failed || strings.Contains(said, "the salaries") {
			t.Errorf("intern, at the desk, is told %q", said)
		}
	}
	if _, last = payroll.reached(); last.Header.Get("Lanyard-Chain") != `"`+id("analyst")+`", "`+id("peer")+`"` {
		t.Errorf("payroll is told %q", last.Header.Get("Lanyard-Chain"))
	}
}

// TestStolenDelegation: what the analyst was given for acting on behalf of its caller is found by an attacker, in
// a log or in the analyst's memory. It is of no use to anybody else, nowhere else, and dies with its caller.
func TestStolenDelegation(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--consent", "ben")
	analyst := h.analyst()
	peer, thief := h.agent("peer", "ben"), h.agent("thief", "eve")
	for _, who := range []string{"peer", "thief"} {
		h.do("grant", "put", who, "ask", "--upstream", "analyst", "--action", "mcp.*", "--action", "read")
		h.do("grant", "put", who, "payroll", "--upstream", "payroll", "--action", "read")
	}
	h.do("grant", "put", "analyst", "payroll", "--upstream", "payroll", "--action", "read")
	if said, failed := h.asks(peer, "careful", "7"); failed {
		t.Fatal(said)
	}
	stolen, _ := analyst.given.Load().(string)
	if stolen == "" {
		t.Fatal("the analyst was given nothing")
	}
	n, _ := payroll.reached()
	// As an access token, at the gateway and at the control plane.
	for at, address := range map[string]string{"the gateway": h.gate + "/payroll/records/7", "the control plane": h.control + "/v1/self"} {
		r, err := http.NewRequest("GET", address, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+stolen)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 401 {
			t.Errorf("%s takes it: %s", at, res.Status)
		}
	}
	// By another agent with its own good proof; with nothing; as the analyst without its key.
	if status, said := h.call(thief.OnBehalf(stolen, client.JWT), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "lets analyst act (may_act), and nobody else") {
		t.Errorf("the thief is told %d %q", status, said)
	}
	h.onRecord("token.issue", "refused", id("thief"), id("peer"), "may_act")
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {stolen}, "subject_token_type": {client.JWT}, "resource": {h.gate + "/payroll"}}
	if status, said := h.ask(form); status != 401 {
		t.Errorf("with nothing: %d %s", status, said)
	}
	if status, said := h.call(h.badge("analyst", "thief").OnBehalf(stolen, client.JWT), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "invalid_client") {
		t.Errorf("as the analyst, with another's key: %d %q", status, said)
	}
	// By the analyst, after peer was stopped: also what it got before is dead.
	kept := analyst.badge.OnBehalf(stolen, client.JWT)
	if status, said := h.call(kept, "payroll", "GET", "/records/7"); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	h.do("kill", "peer", "--reason", "its laptop was stolen")
	if status, said := h.call(kept, "payroll", "GET", "/records/7"); status == 200 {
		t.Errorf("after the kill of who it acts for: %d %s", status, said)
	}
	if status, said := h.call(analyst.badge.OnBehalf(stolen, client.JWT), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "peer is killed") {
		t.Errorf("exchanged after the kill: %d %s", status, said)
	}
	h.do("restore", "peer", "--reason", "it was found")
	if status, said := h.call(analyst.badge.OnBehalf(stolen, client.JWT), "payroll", "GET", "/records/7"); status != 0 {
		t.Errorf("it came back with who it is for: %d %s", status, said)
	}
	if now, _ := payroll.reached(); now != n+1 {
		t.Errorf("%d requests reached the payroll", now-n)
	}
}

// TestUnscopedInheritance: an agent does not pass on all it has. Who is called gets what caller, person and itself all
// may, narrowed by the scope that the caller's token had, and cannot widen it.
func TestUnscopedInheritance(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--consent", "ben", "--consent-class", "read,write")
	manager := h.agent("manager", "ben")
	h.do("grant", "put", "manager", "payroll", "--upstream", "payroll", "--action", "read", "--action", "write", "--action", "delete")
	narrow := manager.OnBehalf(h.signedIn("ben"), client.IDToken)
	if status, said := h.call(narrow, "payroll", "PUT", "/records/7"); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	if status, said := h.call(narrow, "payroll", "DELETE", "/records/7"); status != 403 || !strings.Contains(said, "ben, on whose behalf it is asked") {
		t.Errorf("all of the manager's rights go to ben: %d %s", status, said)
	}
	held, err := narrow.Token(t.Context(), h.gate+"/payroll")
	if err != nil {
		t.Fatal(err)
	}
	form := func(more ...string) url.Values {
		f := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {held.Access}, "subject_token_type": {client.AccessToken}, "resource": {h.gate + "/payroll"}}
		for i := 0; i < len(more); i += 2 {
			f.Set(more[i], more[i+1])
		}
		return f
	}
	// The token itself carries ben on, whatever is asked for with it, and only for its own agent.
	worker := h.agent("worker", "ben")
	h.do("grant", "put", "worker", "payroll", "--upstream", "payroll", "--action", "read")
	if status, said := h.call(worker.OnBehalf(held.Access, client.AccessToken), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "manager's own") {
		t.Errorf("the worker uses the manager's token: %d %s", status, said)
	}
	again := manager.OnBehalf(held.Access, client.AccessToken)
	if status, said := h.call(again, "payroll", "DELETE", "/records/7"); status != 403 {
		t.Errorf("%d %s", status, said)
	}
	if next, err := again.Token(t.Context(), h.gate+"/payroll"); err != nil || next.Expires.After(held.Expires.Add(time.Second)) {
		t.Errorf("it lives longer by being exchanged: %v, %v after %v", err, next.Expires, held.Expires)
	}
	if status, said := h.ask(form("scope", "read admin")); status != 401 {
		t.Errorf("without a proof: %d %s", status, said)
	}
	if n, last := payroll.reached(); n != 1 || last.Method != "PUT" {
		t.Errorf("%d requests reached the payroll", n)
	}
}

// TestUnscopedInheritanceByChildren: a manager gives work to agents that it starts. What those may do is never more than the
// manager may in that moment, also when they ask for more; for a person it is less; and they end with the manager.
func TestUnscopedInheritanceByChildren(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--chain-header", "--consent", "ben")
	h.do("identity", "register", "manager", "--owner", "priya", "--purpose", "Gives work to others", "--children", "10", "--depth", "1")
	h.do("keygen", "manager")
	h.do("credential", "add", "manager", "--public-key", "manager.jwk")
	manager := h.badge("manager", "manager")
	h.do("grant", "put", "manager", "payroll", "--upstream", "payroll", "--action", "read", "--action", "write")
	spawn := func(name string, grants ...client.Lend) *client.Source {
		child, _, err := manager.Spawn(t.Context(), client.Child{Name: name, Purpose: "Does a piece of it", Expires: "30m", Grants: grants})
		if err != nil {
			t.Fatal(err)
		}
		return child
	}
	heir, reader := spawn("heir"), spawn("reader", client.Lend{Upstream: "payroll", Actions: []string{"read"}})
	greedy, _, err := manager.Spawn(t.Context(), client.Child{Name: "greedy", Purpose: "Wants more", Expires: "30m", Grants: []client.Lend{{Upstream: "payroll", Actions: []string{"read", "delete"}}}})
	if err != nil {
		greedy = nil // refused at once is as good
	}
	for name, k := range map[string]struct {
		badge  *client.Source
		method string
		want   int
	}{
		"all that its parent may": {heir, "PUT", 200}, "and no more": {heir, "DELETE", 403}, "what it was given": {reader, "GET", 200}, "not what its parent has besides": {reader, "PUT", 403},
		"not what its parent has not": {greedy, "DELETE", 403},
		"for a person, less":          {heir.OnBehalf(h.signedIn("ben"), client.IDToken), "PUT", 403}, "for a person, what all may": {heir.OnBehalf(h.signedIn("ben"), client.IDToken), "GET", 200},
	} {
		if k.badge == nil {
			continue
		}
		if status, said := h.call(k.badge, "payroll", k.method, "/records/7"); status != k.want {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
	if status, said := h.call(heir.OnBehalf(h.signedIn("ben"), client.IDToken), "payroll", "GET", "/records/7"); status != 200 {
		t.Errorf("%d %s", status, said)
	}
	if _, last := payroll.reached(); !strings.Contains(last.Header.Get("Lanyard-Chain"), `", "`+id("manager")+`", "spiffe://lanyard.local/person/ben"`) {
		t.Errorf("payroll is told %q", last.Header.Get("Lanyard-Chain"))
	}
	h.do("grant", "put", "manager", "payroll", "--upstream", "payroll", "--action", "write")
	if status, said := h.call(reader, "payroll", "GET", "/records/7"); status != 403 {
		t.Errorf("after its parent lost it: %d %s", status, said)
	}
	n, _ := payroll.reached()
	h.do("kill", "manager", "--reason", "it was hijacked")
	for name, badge := range map[string]*client.Source{"heir": heir, "reader": reader, "heir, for ben": heir.OnBehalf(h.signedIn("ben"), client.IDToken)} {
		if status, said := h.call(badge, "payroll", "PUT", "/records/7"); status == 200 {
			t.Errorf("%s, after the kill of its parent: %d %s", name, status, said)
		}
	}
	if now, _ := payroll.reached(); now != n {
		t.Errorf("%d requests reached the payroll after the kill", now-n)
	}
}
