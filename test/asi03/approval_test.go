package asi03

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/client"
)

// sends is call with a body and headers.
func (h *house) sends(badge *client.Source, base, method, path, body string, header ...string) (int, string) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := badge.HTTPClient(base).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// asked is the question that a refusal speaks of, or "".
func asked(status int, refusal string) string {
	var d struct{ Type, Approval string }
	if json.Unmarshal([]byte(refusal), &d) != nil || status != 403 || d.Type != "urn:lanyard:problem:approval-needed" {
		return ""
	}
	return d.Approval
}

// in is a person who has signed in.
func (h *house) in(name string) *person {
	h.Helper()
	p := h.person()
	_, page := p.follows(h.control + "/approvals")
	if status, page := p.signsIn(name, page); status != 200 || !strings.Contains(page, "What waits for you") {
		h.Fatalf("%d %s", status, page)
	}
	return p
}

// decides has a person answer on the page of a question or a task.
func (p *person) decides(id, decision string) (int, string) {
	p.Helper()
	_, page := p.follows(p.control + "/approvals/" + id)
	return p.sends("/approvals/"+id, p.control, url.Values{"request": {hidden(page, "request")}, "decision": {decision}})
}

// waiting makes clerk write to the payroll, which needs the yes of who is named, and returns the question.
func (h *house) waiting(clerk *client.Source, body string) string {
	h.Helper()
	status, said := h.sends(clerk, h.gate+"/payroll", "PUT", "/records/7", body)
	id := asked(status, said)
	if id == "" {
		h.Fatalf("%d %s", status, said)
	}
	return id
}

const raise = `{"salary": 100}`

// TestTimeOfCheckToTimeOfUseOfApprovals: a person approved one request, and the agent sends another: a changed resource, argument, header
// or body, the same a second time, or from another agent. Each is a question of its own, and none reaches the payroll.
func TestTimeOfCheckToTimeOfUseOfApprovals(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--consent", "ben")
	clerk, thief := h.agent("clerk", "ben"), h.agent("thief", "eve")
	for _, name := range []string{"clerk", "thief"} {
		h.do("grant", "put", name, "payroll", "--upstream", "payroll", "--action", "write", "--approve", "ben")
	}
	id := h.waiting(clerk, raise)
	ben := h.in("ben")
	if _, page := ben.follows(h.control + "/approvals/" + id); !strings.Contains(page, "/records/7") || !strings.Contains(page, "&#34;salary&#34;: 100") {
		t.Errorf("ben is not shown what would be sent:\n%s", page)
	}
	if status, page := ben.decides(id, "once"); status != 200 {
		t.Fatalf("%d %s", status, page)
	}
	seen := map[string]bool{id: true}
	for name, k := range map[string]struct {
		badge      *client.Source
		path, body string
		header     []string
	}{
		"a changed body":                {clerk, "/records/7", `{"salary": 1000}`, nil},
		"a body that means the same":    {clerk, "/records/7", `{"salary":100}`, nil},
		"a changed resource":            {clerk, "/records/8", raise, nil},
		"an argument more":              {clerk, "/records/7?from=2020", raise, nil},
		"a header that matters":         {clerk, "/records/7", raise, []string{"X-Apply-To", "everybody"}},
		"another type of the same body": {clerk, "/records/7", raise, []string{"Content-Type", "text/plain"}},
		"a condition on the record":     {clerk, "/records/7", raise, []string{"If-Match", "*"}},
		"on behalf of somebody":         {clerk.OnBehalf(h.signedIn("priya"), client.IDToken), "/records/7", raise, nil},
		"another agent's request":       {thief, "/records/7", raise, nil},
	} {
		status, said := h.sends(k.badge, h.gate+"/payroll", "PUT", k.path, k.body, k.header...)
		got := asked(status, said)
		if status == 200 || got != "" && seen[got] || got == "" && !strings.Contains(said, "does not have") {
			t.Errorf("%s: %d %s", name, status, said)
		}
		seen[got] = got != ""
	}
	if n, _ := payroll.reached(); n != 0 {
		t.Fatalf("%d requests reached the payroll", n)
	}
	if status, said := h.sends(clerk, h.gate+"/payroll", "PUT", "/records/7", raise, "User-Agent", "another", "X-Request-Id", "2"); status != 200 {
		t.Errorf("what was approved: %d %s", status, said)
	}
	if status, said := h.sends(clerk, h.gate+"/payroll", "PUT", "/records/7", raise); asked(status, said) == "" || asked(status, said) == id {
		t.Errorf("replayed: %d %s", status, said)
	}
	if n, last := payroll.reached(); n != 1 || last.URL.Path != "/records/7" {
		t.Errorf("%d requests reached the payroll", n)
	}
	h.onRecord("approval.use", id, "clerk")
	h.onRecord("approval.ask", "thief")
}

// TestTimeOfCheckToTimeOfUseByWrongApprovers: who asks is not who answers. The agent's own token, the owner of another agent, another's form, and who has
// left between the yes and the deed count for nothing.
func TestTimeOfCheckToTimeOfUseByWrongApprovers(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll")
	h.do("owner", "put", "kim", "--name", "Kim Sato", "--email", "kim@acme.example")
	clerk, thief := h.agent("clerk", "eve"), h.agent("thief", "eve")
	for _, name := range []string{"clerk", "thief"} {
		h.do("grant", "put", name, "payroll", "--upstream", "payroll", "--action", "write", "--approve", "kim")
	}
	id := h.waiting(clerk, raise)
	for _, path := range []string{"/v1/approvals/" + id + "/approve", "/v1/approvals/" + id + "/deny"} {
		if status, said := h.sends(clerk, h.control, "POST", path, "{}"); status < 400 {
			t.Errorf("the agent answers its own question at %s: %d %s", path, status, said)
		}
	}
	if status, said := h.sends(thief, h.control, "GET", "/v1/approvals/"+id, ""); status != 404 {
		t.Errorf("another agent sees the question: %d %s", status, said)
	}
	if status, said := h.sends(clerk, h.control, "POST", "/approvals/"+id, "request=x&decision=once", "Content-Type", "application/x-www-form-urlencoded"); status != 403 {
		t.Errorf("the agent's token on the page: %d %s", status, said)
	}
	kim, eve := h.in("kim"), h.in("eve")
	if status, page := eve.follows(h.control + "/approvals/" + id); status != 404 || strings.Contains(page, "salary") {
		t.Errorf("the owner of the agent sees it: %d %s", status, page)
	}
	_, page := kim.follows(h.control + "/approvals/" + id)
	hers := url.Values{"request": {hidden(page, "request")}, "decision": {"once"}}
	if status, page := eve.sends("/approvals/"+id, h.control, hers); status < 400 {
		t.Errorf("kim's form in eve's browser: %d %s", status, page)
	}
	if status, page := kim.sends("/approvals/"+id, "https://evil.example", hers); status != 403 {
		t.Errorf("another site clicks for kim: %d %s", status, page)
	}
	if status, said := h.sends(clerk, h.gate+"/payroll", "PUT", "/records/7", raise); asked(status, said) != id {
		t.Errorf("it does not wait any more: %d %s", status, said)
	}
	h.onRecord("approval.answer", "refused", "eve")
	// Kim says yes, and is gone before it is done.
	if status, page := kim.decides(id, "once"); status != 200 {
		t.Fatalf("%d %s", status, page)
	}
	h.do("owner", "gone", "kim")
	if status, said := h.sends(clerk, h.gate+"/payroll", "PUT", "/records/7", raise); status != 403 {
		t.Errorf("approved by who has left: %d %s", status, said)
	}
	if status, page := kim.follows(h.control + "/approvals/" + id); strings.Contains(page, "salary") {
		t.Errorf("who has left sees it: %d %s", status, page)
	}
	if n, _ := payroll.reached(); n != 0 {
		t.Errorf("%d requests reached the payroll", n)
	}
}

// TestTimeOfCheckToTimeOfUseAfterAKill: the cord is pulled while a question waits, or after the yes; neither the old yes nor a late one
// brings anything about, also once the agent is back.
func TestTimeOfCheckToTimeOfUseAfterAKill(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll")
	clerk := h.agent("clerk", "ben")
	h.do("grant", "put", "clerk", "payroll", "--upstream", "payroll", "--action", "write", "--approve", "owner")
	early, late := h.waiting(clerk, raise), h.waiting(clerk, `{"salary": 200}`)
	ben := h.in("ben")
	if status, page := ben.decides(early, "once"); status != 200 {
		t.Fatalf("%d %s", status, page)
	}
	h.do("kill", "clerk", "--reason", "it was hijacked")
	if status, page := ben.decides(late, "once"); status != 409 || !strings.Contains(page, "nothing to approve") {
		t.Errorf("a yes after the kill: %d %s", status, page)
	}
	if status, _ := h.sends(clerk, h.gate+"/payroll", "PUT", "/records/7", raise); status == 200 {
		t.Error("what was approved before the kill is done after it")
	}
	h.do("restore", "clerk", "--reason", "it was found")
	h.do("keygen", "clerk2")
	h.do("credential", "add", "clerk", "--public-key", "clerk2.jwk")
	again := h.badge("clerk", "clerk2")
	for body, old := range map[string]string{raise: early, `{"salary": 200}`: late} {
		if id := h.waiting(again, body); id == old {
			t.Errorf("%s: what was asked before the kill is good after it", body)
		}
	}
	if status, page := ben.decides(late, "once"); status != 409 {
		t.Errorf("a yes to who was there before: %d %s", status, page)
	}
	if n, _ := payroll.reached(); n != 0 {
		t.Errorf("%d requests reached the payroll", n)
	}
}

// TestTimeOfCheckToTimeOfUseOfStreams: a person approved a call whose answer goes on and on. It is cut when the policy changes under it.
func TestTimeOfCheckToTimeOfUseOfStreams(t *testing.T) {
	t.Parallel()
	h := build(t)
	web := h.endless()
	h.do("upstream", "put", "feed", "--url", web, "--owner", "priya", "--pattern", "GET /all -> all read all")
	clerk, ben := h.agent("clerk", "ben"), h.in("ben")
	rule := h.write("no.cedar", `forbid (principal, action == Lanyard::Action::"all", resource);`)
	h.streams("the grant is taken", clerk, ben, "grant", "revoke", "clerk/feed", "--reason", "test")
	h.streams("a guardrail forbids", clerk, ben, "guardrail", "put", "no", "--description", "Nobody reads the feed", "--cedar", rule)
	h.do("guardrail", "remove", "no")
	h.streams("the agent is stopped", clerk, ben, "kill", "clerk", "--reason", "test")
}

// streams has clerk read the feed with ben's yes, and wants that cut once stop was done.
func (h *house) streams(name string, clerk *client.Source, ben *person, stop ...string) {
	h.Helper()
	h.do("grant", "put", "clerk", "feed", "--upstream", "feed", "--action", "read", "--approve", "owner")
	status, said := h.call(clerk, "feed", "GET", "/all")
	id := asked(status, said)
	if status, page := ben.decides(id, "once"); id == "" || status != 200 {
		h.Fatalf("%s: %d %s", name, status, page)
	}
	h.cut(name, clerk, stop...)
}
