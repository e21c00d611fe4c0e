package control

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const mayasTask = `{"on":"maya","purpose":"Read \u202eliam","words":"please","scope":[{"upstream":"mail","actions":["read"],"resources":["m/*"],"conditions":{"id":{"one_of":["7","8"]}}}],"budget":{"calls":10},"until":"2h"}`

// asksFor has the bot ask a person for a task, with its own token.
func (p *plane) asksFor(own, input string) (t TaskOpened) {
	p.Helper()
	status, answer := p.ask("POST", "/v1/tasks", input, "Authorization", own)
	if err := json.Unmarshal([]byte(answer), &t); err != nil || status != 200 || t.State != policy.TaskWaiting {
		p.Fatal(status, answer)
	}
	return t
}

func (p *plane) taskState(id string) policy.TaskState {
	p.Helper()
	var t TaskView
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/tasks/"+id, "")), &t); err != nil {
		p.Fatal(err)
	}
	return t.State
}

// TestConsentPage: an agent asks to act for a person; that person sees what for, and says so, in their own session, once.
func TestConsentPage(t *testing.T) {
	p := start(t)
	p.asks("owner", 0) // ben and kim are there
	own := "Bearer " + p.keyed("bot", p.URL)
	k := p.asksFor(own, mayasTask)
	if k.Going || k.URL != p.URL+"/approvals/"+k.ID {
		t.Errorf("%+v", k)
	}
	if e := p.last(); e.Type != "task.ask" || e.Actor != k.By || e.Detail["on"] != "maya" || e.Detail["task"] != k.ID {
		t.Errorf("%+v", e)
	}
	if _, ok := p.View.Task(k.ID); ok {
		t.Error("gateways know of a task that waits")
	}
	page := "/approvals/" + k.ID
	if _, text := p.signIn("").open(page); !strings.Contains(text, "Sign-in code") || !strings.Contains(text, `value="`+page+`"`) || strings.Contains(text, "please") {
		t.Errorf("a stranger sees\n%s", text)
	}
	ben, maya, elsewhere := p.signIn("ben"), p.signIn("maya"), p.signIn("maya")
	if status, text := ben.open(page); status != 404 || strings.Contains(text, "please") {
		t.Errorf("ben sees %d\n%s", status, text)
	}
	if _, text := ben.open("/approvals"); strings.Contains(text, k.ID) {
		t.Error("it stands in ben's list")
	}
	if _, text := maya.open("/approvals"); !strings.Contains(text, page) || !strings.Contains(text, "wants to act in your name") {
		t.Errorf("maya's list\n%s", text)
	}
	_, text := maya.open(page)
	for _, want := range []string{"May bot act in your name?", "an agent that Maya Lind answers for", "Read [U+202E]liam", "please", "calls: 10 at most", "See things (read)", "only of <code>m/*</code>",
		`only where <code>id is one of ["7" "8"]</code>`, "read, write, delete, admin", "Allow", "Deny and stop bot"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q\n%s", want, text)
		}
	}
	refused := func(name string, status int, answer, says string) {
		t.Helper()
		if e := p.last(); status < 400 || !strings.Contains(answer, says) || p.taskState(k.ID) != policy.TaskWaiting || says != "" && (e.Type != "task.answer" || e.Outcome != ledger.Refused || e.Detail["task"] != k.ID) {
			t.Errorf("%s: %d, %+v\n%s", name, status, e, answer)
		}
	}
	form := maya.form(k.ID, "allow")
	status, answer := maya.send(page, form, "Sec-Fetch-Site", "cross-site")
	refused("from another site", status, answer, "")
	status, answer = ben.send(page, form)
	refused("in ben's session", status, answer, "")
	status, answer = elsewhere.send(page, form)
	refused("in another session of hers", status, answer, "not made for you")
	status, answer = p.signIn("").send(page, form)
	refused("by nobody", status, answer, "Nobody is signed in")
	status, answer = maya.send(page, url.Values{"request": form["request"], "decision": {"sure"}})
	refused("with no decision", status, answer, "does not say what was decided")
	other := p.asksFor(own, strings.Replace(mayasTask, "Read", "Write", 1))
	status, answer = maya.send("/approvals/"+other.ID, maya.form(k.ID, "allow"))
	if status != 400 || p.taskState(other.ID) != policy.TaskWaiting {
		t.Errorf("the form of another task: %d %s", status, answer)
	}
	for _, path := range []string{"/v1/approvals/" + k.ID + "/approve", "/v1/tasks/" + k.ID + "/approve", "/v1/tasks/" + k.ID + "/open"} {
		if status, answer := p.ask("POST", path, "{}", "Authorization", own); status < 400 || p.taskState(k.ID) != policy.TaskWaiting {
			t.Errorf("the agent opens it itself at %s: %d %s", path, status, answer)
		}
		if status, _ := p.ask("POST", path, "{}"); status < 400 || p.taskState(k.ID) != policy.TaskWaiting {
			t.Errorf("an operator says yes for her at %s: %d", path, status)
		}
	}
	if r, err := http.NewRequest("POST", p.network.URL+page, strings.NewReader(form.Encode())); err != nil {
		t.Fatal(err)
	} else {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", own)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		refused("with the agent's token", res.StatusCode, "", "")
	}
	if status, answer := p.ask("POST", "/v1/tasks/"+other.ID+"/close", "{}", "Authorization", own); status != 409 || p.taskState(other.ID) != policy.TaskWaiting {
		t.Errorf("taken back, to be asked again: %d %s", status, answer)
	}
	// The agent waits for it; then it goes on.
	waited := make(chan string)
	go func() {
		_, answer := p.ask("GET", "/v1/tasks/"+k.ID+"?wait=30s", "", "Authorization", own)
		waited <- answer
	}()
	form = maya.form(k.ID, "allow", "note", "go on")
	if status, text := maya.send(page, form); status != 200 || !strings.Contains(text, "go on") || !strings.Contains(text, "End it") {
		t.Errorf("%d\n%s", status, text)
	}
	if answer := <-waited; !strings.Contains(answer, `"state":"open"`) || !strings.Contains(answer, `"going":true`) {
		t.Error(answer)
	}
	if g, ok := p.View.Task(k.ID); !ok || g.Going(p.Now()) != nil {
		t.Error("gateways do not know it")
	}
	if e := p.last(); e.Type != "task.open" || e.Actor != "owner:maya" || e.Detail["agreed_to_by"] != "maya" || e.Reason != "go on" {
		t.Errorf("%+v", e)
	}
	if status, text := maya.send(page, form); status != 400 || !strings.Contains(text, "sent already") {
		t.Errorf("the form sent twice: %d\n%s", status, text)
	}
	if _, text := maya.open("/approvals"); !strings.Contains(text, "What goes on in your name") {
		t.Errorf("maya's list\n%s", text)
	}
	if status, text := maya.send(page, maya.form(k.ID, "end")); status != 200 || p.taskState(k.ID) != policy.TaskClosed {
		t.Errorf("%d\n%s", status, text)
	}
	if status, answer := p.ask("GET", "/v1/tasks/"+k.ID+"?wait=never", "", "Authorization", own); status != 422 {
		t.Error(status, answer)
	}
	// Another is denied, and who asked is stopped.
	if status, text := maya.send("/approvals/"+other.ID, maya.form(other.ID, "kill")); status != 200 || !strings.Contains(text, "<b>denied</b>") {
		t.Errorf("%d\n%s", status, text)
	}
	if answer := p.must("GET", "/v1/identities/bot", ""); !strings.Contains(answer, `"killed"`) {
		t.Error(answer)
	}
}

// TestConsentToken: the token endpoint has people asked, too, and gives nothing until there is a yes; then the token's chain
// ends with the person.
func TestConsentToken(t *testing.T) {
	p := start(t)
	p.settle()
	var made struct {
		Secret string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/identities/bot/credentials", `{"api_key":true,"expires":"1d"}`)), &made); err != nil {
		t.Fatal(err)
	}
	p.must("PUT", "/v1/identities/other", `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	p.must("PUT", "/v1/identities/other/grants/read", `{"upstream":"mail","actions":["m.read"]}`)
	ask := func(details string) (got struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
		Text  string `json:"error_description"`
	}) {
		t.Helper()
		res, err := http.PostForm(p.network.URL+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "resource": {p.GatewayURL + "/mail"},
			"client_id": {"spiffe://lanyard.local/agent/bot"}, "client_secret": {made.Secret}, "authorization_details": {details}})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	wanted := func(purpose string) string {
		return `[{"type":"lanyard_task","on":"maya","purpose":"` + purpose + `","locations":["` + p.GatewayURL + `/mail"],"actions":["m.read"]}]`
	}
	got := ask(wanted("Read"))
	if got.Error != "authorization_pending" || got.Token != "" {
		t.Fatal(got)
	}
	id := got.Text[strings.Index(got.Text, "task_"):]
	id = id[:strings.IndexByte(id, ' ')]
	named := `[{"type":"lanyard_task","task":"` + id + `"}]`
	for _, details := range []string{wanted("Read"), named} {
		if got := ask(details); got.Error != "authorization_pending" || !strings.Contains(got.Text, id) || got.Token != "" {
			t.Error(got)
		}
	}
	theirs := p.opened(`{"identity":"other","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}]}`)
	if got := ask(`[{"type":"lanyard_task","task":"` + theirs + `"}]`); got.Error != "invalid_authorization_details" {
		t.Error(got)
	}
	maya := p.signIn("maya")
	if status, text := maya.send("/approvals/"+id, maya.form(id, "allow")); status != 200 {
		t.Fatal(status, text)
	}
	got = ask(named)
	c, err := p.ring.Verifier().Verify(got.Token, p.URL, p.GatewayURL+"/mail", p.Now())
	if err != nil || c.Task != id || strings.Join(c.Chain.Texts(), " ") != "spiffe://lanyard.local/agent/bot spiffe://lanyard.local/person/maya" {
		t.Fatal(got, c.Chain, err)
	}
	if err := p.View.Check(c, p.Now()); err != nil {
		t.Error(err)
	}
	denied := ask(wanted("Read on"))
	other := denied.Text[strings.Index(denied.Text, "task_"):]
	other = other[:strings.IndexByte(other, ' ')]
	if status, text := maya.send("/approvals/"+other, maya.form(other, "deny")); status != 200 {
		t.Fatal(status, text)
	}
	if got := ask(`[{"type":"lanyard_task","task":"` + other + `"}]`); got.Error != "access_denied" || got.Token != "" {
		t.Error(got)
	}
	if got := ask(wanted("Read once more")); got.Error != "invalid_authorization_details" || !strings.Contains(got.Text, "can ask again") {
		t.Error(got)
	}
	// She agreed as who she was: when all that is done in her name is stopped, that was it.
	p.must("POST", "/v1/kill", `{"owner":"maya","reason":"tests"}`)
	p.must("POST", "/v1/restore", `{"owner":"maya","reason":"tests"}`)
	if err := p.View.Check(c, p.Now()); err == nil {
		t.Error("the token outlives the kill")
	}
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/identities/bot/credentials", `{"api_key":true,"expires":"1d"}`)), &made); err != nil {
		t.Fatal(err)
	}
	if got := ask(named); got.Error != "invalid_authorization_details" || !strings.Contains(got.Text, "was opened before all that was done") {
		t.Error(got)
	}
}
