package control

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestViews: everybody keeps searches of their own, some of them, that say what a search can say.
func TestViews(t *testing.T) {
	p := start(t)
	p.settle()
	maya, auditor := p.begin("maya"), p.begin("", identity.RoleAuditor)
	views := func(session string) (names []string) {
		t.Helper()
		var got Page[SavedView]
		status, answer := p.visit(session, "GET", "/v1/me/views", "")
		if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 {
			t.Fatal(status, answer)
		}
		for _, v := range got.Items {
			names = append(names, v.List+"/"+v.Name+fmt.Sprint(v.Query))
		}
		return names
	}
	put := func(session, list, name, query string) (int, string) {
		return p.visit(session, "PUT", "/v1/me/views/"+list+"/"+url.PathEscape(name), `{"query":`+query+`}`)
	}
	for _, name := range []string{"Ends soon", "日本 / ünï"} {
		if status, answer := put(maya, "identities", name, `{"needs":"expiring","sort":"expires"}`); status != 200 {
			t.Errorf("%d %s", status, answer)
		}
	}
	if e := p.last(); e.Type != "view.put" || e.Actor != "owner:maya" || e.Detail["name"] != "日本 / ünï" {
		t.Errorf("%+v", e)
	}
	event := p.last().ID
	if status, _ := put(maya, "identities", "日本 / ünï", `{"needs":"expiring","sort":"expires"}`); status != 200 || p.last().ID != event {
		t.Errorf("the same again: %d", status)
	}
	if status, _ := put(maya, "identities", "Ends soon", `{"q":"x"}`); status != 200 {
		t.Errorf("changed: %d", status)
	}
	if got, others := views(maya), views(auditor); len(got) != 2 || got[0] != "identities/Ends soonmap[q:x]" || len(others) != 0 {
		t.Errorf("maya's %q, another's %q", got, others)
	}
	for name, bad := range map[string][3]string{
		"another list": {"secrets", "x", `{}`}, "no name": {"identities", " ", `{}`}, "a long one": {"identities", strings.Repeat("ä", 61), `{}`}, "one that turns": {"identities", "a\u202eb", `{}`},
		"a long value": {"ledger", "x", `{"q":"` + strings.Repeat("x", 257) + `"}`}, "no part": {"ledger", "x", `{"Q-":"x"}`}, "a value that is no text": {"ledger", "x", `{"q":1}`},
	} {
		if status, answer := put(maya, bad[0], bad[1], bad[2]); status != 422 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	for n := range 51 {
		status, answer := put(auditor, "ledger", fmt.Sprint("view ", n), `{}`)
		if (status == 200) != (n < 50) {
			t.Fatalf("view %d: %d %s", n, status, answer)
		}
	}
	if status, _ := put(auditor, "ledger", "view 7", `{"q":"changed"}`); status != 200 {
		t.Errorf("one of fifty is changed: %d", status)
	}
	if status, _ := p.visit(auditor, "DELETE", "/v1/me/views/identities/Ends%20soon", ""); status != 404 {
		t.Errorf("another's is removed: %d", status)
	}
	if status, _ := p.visit(maya, "DELETE", "/v1/me/views/identities/Ends%20soon", ""); status != 200 || len(views(maya)) != 1 {
		t.Errorf("%d %q", status, views(maya))
	}
	if status, _ := p.ask("GET", "/v1/me/views", ""); status != 404 {
		t.Errorf("with the admin token: %d", status)
	}
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com","gone":true}`)
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com"}`)
	if got := views(p.begin("maya")); len(got) != 0 {
		t.Errorf("who had left has %q", got)
	}
}

// TestConsentsOverREST: a person sees what is asked for in their name, and answers; nobody else does.
func TestConsentsOverREST(t *testing.T) {
	p := start(t)
	p.asks("owner", 0)
	own := "Bearer " + p.keyed("bot", p.URL)
	k := p.asksFor(own, mayasTask)
	maya, ben, admin := p.begin("maya"), p.begin("ben"), p.begin("", identity.RoleAdmin)
	waits := func(session string) (ids []string, first ConsentView) {
		t.Helper()
		var got Page[ConsentView]
		status, answer := p.visit(session, "GET", "/v1/me/consents", "")
		if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 {
			t.Fatal(status, answer)
		}
		for _, v := range got.Items {
			ids = append(ids, v.ID+" "+string(v.State))
			first = got.Items[0]
		}
		return ids, first
	}
	ids, v := waits(maya)
	if !slices.Equal(ids, []string{k.ID + " waiting"}) || v.Name != "bot" || v.Serves != "tests" || v.OwnerName != "Maya Lind" || len(v.Upstreams) != 1 || v.Upstreams[0].Name != "mail" || v.Purpose != "Read \u202eliam" || v.Budget["calls"] != 10 || v.AnswerBy.IsZero() {
		t.Fatalf("%q %+v", ids, v)
	}
	for name, session := range map[string]string{"ben": ben, "an administrator": admin} {
		if ids, _ := waits(session); len(ids) != 0 {
			t.Errorf("%s is asked: %q", name, ids)
		}
		if status, answer := p.visit(session, "POST", "/v1/me/consents/"+k.ID, `{"decision":"allow"}`); status != 404 && status != 403 || p.taskState(k.ID) != policy.TaskWaiting {
			t.Errorf("%s answers: %d %s", name, status, answer)
		}
		if e := p.last(); e.Type != "task.answer" || e.Outcome != "refused" {
			t.Errorf("on record: %+v", e)
		}
	}
	if status, answer := p.visit(ben, "POST", "/v1/me/consents/"+k.ID, `{"decision":"allow"}`); status != 404 || strings.Contains(answer, "maya") {
		t.Errorf("ben learns whose it is: %d %s", status, answer)
	}
	if status, _ := p.ask("POST", "/v1/me/consents/"+k.ID, `{"decision":"allow"}`); status != 404 || p.taskState(k.ID) != policy.TaskWaiting {
		t.Errorf("with the admin token: %d", status)
	}
	if status, _ := p.ask("POST", "/v1/me/consents/"+k.ID, `{"decision":"allow"}`, "Authorization", own); status == 200 || p.taskState(k.ID) != policy.TaskWaiting {
		t.Errorf("who asks, answers: %d", status)
	}
	for _, session := range []string{maya} { // another site has the browser send it
		if status, _ := p.ask("POST", "/v1/me/consents/"+k.ID, `{"decision":"allow"}`, "Authorization", "", "Cookie", "lanyard="+session, "Sec-Fetch-Site", "cross-site"); status != 403 || p.taskState(k.ID) != policy.TaskWaiting {
			t.Errorf("from another site: %d", status)
		}
	}
	if status, _ := p.visit(maya, "POST", "/v1/me/consents/"+k.ID, `{"decision":"perhaps"}`); status != 422 {
		t.Errorf("no decision: %d", status)
	}
	if status, answer := p.visit(maya, "POST", "/v1/me/consents/"+k.ID, `{"decision":"end"}`); status != 409 {
		t.Errorf("what does not go on is ended: %d %s", status, answer)
	}
	status, answer := p.visit(maya, "POST", "/v1/me/consents/"+k.ID, `{"decision":"allow","note":"go on"}`)
	if status != 200 || !strings.Contains(answer, `"state":"open"`) || !strings.Contains(answer, `"receipt"`) || p.taskState(k.ID) != policy.TaskOpen {
		t.Fatalf("%d %s", status, answer)
	}
	if e := p.last(); e.Type != "task.open" || e.Actor != "owner:maya" || e.Reason != "go on" {
		t.Errorf("%+v", e)
	}
	if status, answer := p.visit(maya, "POST", "/v1/me/consents/"+k.ID, `{"decision":"allow"}`); status != 409 || !strings.Contains(answer, "yes already") {
		t.Errorf("twice: %d %s", status, answer)
	}
	other := p.asksFor(own, mayasTask)
	if ids, _ := waits(maya); !slices.Equal(ids, []string{other.ID + " waiting", k.ID + " open"}) {
		t.Errorf("%q", ids)
	}
	if status, _ := p.visit(maya, "POST", "/v1/me/consents/"+other.ID, `{"decision":"deny"}`); status != 200 || p.taskState(other.ID) != policy.TaskDenied {
		t.Errorf("denied: %d", status)
	}
	if status, _ := p.visit(maya, "POST", "/v1/me/consents/"+k.ID, `{"decision":"end"}`); status != 200 || p.taskState(k.ID) != policy.TaskClosed {
		t.Errorf("ended: %d", status)
	}
	p.ahead.Add(int64(61 * time.Minute)) // a no is good for an hour
	last := p.asksFor("Bearer "+p.keyed("bot", p.URL), mayasTask)
	if status, _ := p.visit(maya, "POST", "/v1/me/consents/"+last.ID, `{"decision":"kill"}`); status != 200 {
		t.Errorf("killed: %d", status)
	}
	if answer := p.must("GET", "/v1/identities/bot", ""); !strings.Contains(answer, `"state":"killed"`) {
		t.Errorf("%s", answer)
	}
	if ids, _ := waits(maya); len(ids) != 0 {
		t.Errorf("%q", ids)
	}
}
