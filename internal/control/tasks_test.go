package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// opened opens a task and returns its id.
func (p *plane) opened(input string) string {
	p.Helper()
	var t TaskOpened
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/tasks", input)), &t); err != nil || t.ID == "" {
		p.Fatal(err)
	}
	return t.ID
}

// TestTasks: operators open tasks for everybody and identities for themselves; each sees and closes its own.
func TestTasks(t *testing.T) {
	p := start(t)
	p.settle()
	p.must("PUT", "/v1/identities/other", `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	p.must("PUT", "/v1/identities/other/grants/read", `{"upstream":"mail","actions":["m.read"]}`)
	own := "Bearer " + p.keyed("bot", p.URL)
	theirs := p.opened(`{"identity":"other","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}]}`)
	const input = `"purpose":"File it","words":"please file it","scope":[{"upstream":"mail","actions":["m.read"],"conditions":{"id":{"is":"7"}}}],"budget":{"calls":10},"until":"1h"`
	status, answer := p.ask("POST", "/v1/tasks", "{"+input+"}", "Authorization", own)
	var mine TaskOpened
	if err := json.Unmarshal([]byte(answer), &mine); err != nil || status != 200 || mine.Identity.Name() != "bot" || mine.By != mine.Identity.String() || !mine.Going ||
		!strings.Contains(mine.Scope[0].Cedar, `"id"`) || len(mine.Receipt.Confirmed) != 1 {
		t.Fatal(status, answer)
	}
	if e := p.last(); e.Type != "task.open" || e.Actor != mine.By || e.Detail["task"] != mine.ID || e.Detail["words"] != "please file it" || e.Detail["budget"] != "calls=10" || e.Owner != "maya" {
		t.Errorf("%+v", e)
	}
	if k, ok := p.View.Task(mine.ID); !ok || k.Going(p.Now()) != nil {
		t.Error("gateways do not know it")
	}
	for name, c := range map[string]struct {
		method, path, body, auth string
		status                   int
		says                     string
	}{
		"for another":            {"POST", "/v1/tasks", `{"identity":"other",` + input + `}`, own, 403, "for itself alone"},
		"on behalf, unproven":    {"POST", "/v1/tasks", `{"on":"maya",` + input + `}`, own, 200, `"state":"waiting"`},
		"for itself, by name":    {"POST", "/v1/tasks", `{"identity":"agent/bot",` + input + `}`, own, 200, "task_"},
		"a chain made up":        {"POST", "/v1/tasks", `{"on":"maya",` + input + `}`, own, 200, `"state":"waiting"`},
		"another's":              {"GET", "/v1/tasks/" + theirs, "", own, 404, "there is no task"},
		"closing another's":      {"POST", "/v1/tasks/" + theirs + "/close", "{}", own, 404, "there is no task"},
		"an operator sees all":   {"GET", "/v1/tasks/" + theirs, "", "", 200, "other"},
		"on behalf, by operator": {"POST", "/v1/tasks", `{"identity":"bot","on":"maya",` + input + `}`, "", 200, `"on":"maya"`},
		"operator, for nobody":   {"POST", "/v1/tasks", `{` + input + `}`, "", 422, "identity"},
		"on behalf of nobody":    {"POST", "/v1/tasks", `{"identity":"bot","on":"zoe",` + input + `}`, "", 404, "zoe"},
		"no such upstream":       {"POST", "/v1/tasks", `{"identity":"bot","purpose":"p","scope":[{"upstream":"crm","actions":["read"]}]}`, "", 422, "holds no grant on"},
		"an action unknown":      {"POST", "/v1/tasks", `{"identity":"bot","purpose":"p","scope":[{"upstream":"mail","actions":["m.reed"]}]}`, "", 422, "scope[0]"},
		"a kind nobody counts":   {"POST", "/v1/tasks", `{"identity":"bot","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}],"budget":{"spend":1}}`, "", 422, "counts"},
		"a budget of nothing":    {"POST", "/v1/tasks", `{"identity":"bot","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}],"budget":{"calls":0}}`, "", 422, "no limit"},
		"an end before now":      {"POST", "/v1/tasks", `{"identity":"bot","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}],"until":"2020-01-01"}`, "", 422, "has passed"},
		"an end after the bot's": {"POST", "/v1/tasks", `{"identity":"bot","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}],"until":"200d"}`, "", 422, "itself ends"},
		"a purpose of blanks":    {"POST", "/v1/tasks", `{"identity":"bot","purpose":"  ","scope":[{"upstream":"mail","actions":["read"]}]}`, "", 422, "what it is for"},
		"words without end":      {"POST", "/v1/tasks", `{"identity":"bot","purpose":"p","words":"` + strings.Repeat("é", 3000) + `","scope":[{"upstream":"mail","actions":["read"]}]}`, "", 422, "4000 bytes"},
	} {
		header := []string{"Authorization", c.auth, "Lanyard-Chain", "spiffe://lanyard.local/agent/bot spiffe://lanyard.local/person/maya"}
		if c.auth == "" {
			header = header[2:]
		}
		if status, answer := p.ask(c.method, c.path, c.body, header...); status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	// A token on a person's behalf is what proves the person's will.
	self := "spiffe://lanyard.local/agent/bot"
	if ask, err := p.mayOpen(&Caller{Identity: self, Chain: self + " spiffe://lanyard.local/person/maya"}, &TaskInput{On: "maya"}); err != nil || ask {
		t.Error(ask, err)
	}
	if ask, err := p.mayOpen(&Caller{Identity: self, Chain: self}, &TaskInput{On: "maya"}); err != nil || !ask {
		t.Error(ask, err)
	}
	read := TaskInput{On: "maya", Scope: []TaskPart{{Upstream: "mail", Actions: []string{"read"}}}}
	named := TaskInput{On: "maya", Scope: []TaskPart{{Upstream: "mail", Actions: []string{"m.read"}}}}
	for scope, want := range map[string]bool{"": true, "read": false, "write read admin delete": true} { // of an action its class may change
		in := named
		if _, err := p.mayOpen(&Caller{Identity: self, Chain: self + " spiffe://lanyard.local/person/maya", Scope: scope}, &in); (err == nil) != want {
			t.Errorf("a named action with a token of the scope %q: %v", scope, err)
		}
	}
	for scope, want := range map[string]bool{"": true, "read": true, "read write": true, "write": false} {
		in := read
		if _, err := p.mayOpen(&Caller{Identity: self, Chain: self + " spiffe://lanyard.local/person/maya", Scope: scope}, &in); (err == nil) != want {
			t.Errorf("with a token of the scope %q: %v", scope, err)
		}
	}
	for _, chain := range []string{self + " spiffe://lanyard.local/agent/other spiffe://lanyard.local/person/maya", self + " spiffe://lanyard.local/person/ben", self + " spiffe://lanyard.local/person/maya spiffe://lanyard.local/agent/other", self + " spiffe://elsewhere/person/maya", ""} {
		if _, err := p.mayOpen(&Caller{Identity: self, Chain: chain}, &TaskInput{On: "maya"}); err == nil {
			t.Errorf("%q proves what maya wants", chain)
		}
	}
	if _, answer := p.ask("GET", "/v1/tasks?limit=1000", "", "Authorization", own); strings.Contains(answer, theirs) || !strings.Contains(answer, mine.ID) {
		t.Error(answer)
	}
	if answer := p.must("GET", "/v1/tasks?identity=other&state=open", ""); strings.Contains(answer, mine.ID) || !strings.Contains(answer, theirs) {
		t.Error(answer)
	}
	if status, answer := p.ask("POST", "/v1/tasks/"+mine.ID+"/close", `{"reason":"done"}`, "Authorization", own); status != 200 {
		t.Error(status, answer)
	}
	if e := p.last(); e.Type != "task.close" || e.Reason != "done" || e.Actor != mine.By {
		t.Errorf("%+v", e)
	}
	if k, ok := p.View.Task(mine.ID); !ok || k.Going(p.Now()) == nil {
		t.Error("gateways think it is open")
	}
	found, err := p.Store.Search(t.Context(), ledger.Query{Task: mine.ID}, 0, 10)
	if err != nil || len(found.Entries) != 2 {
		t.Error(len(found.Entries), err)
	}
}

// TestTaskDetails: the token endpoint opens tasks and gives tokens for those that are open (RFC 9396).
func TestTaskDetails(t *testing.T) {
	p := start(t)
	p.settle()
	var made struct {
		Secret string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/identities/bot/credentials", `{"api_key":true,"expires":"1d"}`)), &made); err != nil {
		t.Fatal(err)
	}
	ask := func(details string) (status int, got struct {
		Token   string `json:"access_token"`
		Error   string `json:"error"`
		Text    string `json:"error_description"`
		Details []struct {
			Type, Task, Purpose string
			Locations, Actions  []string
			Budget              map[string]int64
		} `json:"authorization_details"`
	}) {
		res, err := http.PostForm(p.network.URL+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "resource": {p.GatewayURL + "/mail"},
			"client_id": {"spiffe://lanyard.local/agent/bot"}, "client_secret": {made.Secret}, "authorization_details": {details}})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, got
	}
	status, got := ask(`[{"type":"lanyard_task","purpose":"File it","locations":["` + p.GatewayURL + `/mail"],"actions":["m.read"],"budget":{"calls":2}}]`)
	if status != 200 || len(got.Details) != 1 || got.Details[0].Type != "lanyard_task" || got.Details[0].Budget["calls"] != 2 || got.Details[0].Actions[0] != "m.read" {
		t.Fatal(status, got)
	}
	id := got.Details[0].Task
	if answer := p.must("GET", "/v1/tasks/"+id, ""); !strings.Contains(answer, `"by":"spiffe://lanyard.local/agent/bot"`) {
		t.Error(answer)
	}
	status, again := ask(`[{"type":"lanyard_task","task":"` + id + `"}]`)
	if status != 200 || again.Details[0].Task != id || again.Details[0].Purpose != "File it" {
		t.Error(status, again)
	}
	introspected, err := http.PostForm(p.network.URL+"/oauth/introspect", url.Values{"client_id": {"spiffe://lanyard.local/agent/bot"}, "client_secret": {made.Secret}, "token": {again.Token}})
	if err != nil {
		t.Fatal(err)
	}
	defer introspected.Body.Close()
	var in struct {
		Active  bool
		Details []map[string]string `json:"authorization_details"`
	}
	if err := json.NewDecoder(introspected.Body).Decode(&in); err != nil || !in.Active || fmt.Sprint(in.Details) != "[map[task:"+id+" type:lanyard_task]]" {
		t.Error(in, err)
	}
	size := p.Store.Size()
	for name, details := range map[string]string{
		"no such task":     `[{"type":"lanyard_task","task":"task_x"}]`,
		"elsewhere":        `[{"type":"lanyard_task","purpose":"p","locations":["http://elsewhere/mail"],"actions":["read"]}]`,
		"not granted":      `[{"type":"lanyard_task","purpose":"p","locations":["` + p.GatewayURL + `/crm"],"actions":["read"]}]`,
		"no location":      `[{"type":"lanyard_task","purpose":"p","actions":["read"]}]`,
		"no action":        `[{"type":"lanyard_task","purpose":"p","locations":["` + p.GatewayURL + `/mail"]}]`,
		"an end unclear":   `[{"type":"lanyard_task","purpose":"p","locations":["` + p.GatewayURL + `/mail"],"actions":["read"],"until":"soon"}]`,
		"an end too late":  `[{"type":"lanyard_task","purpose":"p","locations":["` + p.GatewayURL + `/mail"],"actions":["read"],"until":"300d"}]`,
		"another language": `[{"type":"openid_credential"}]`,
	} {
		if status, got := ask(details); status != 400 || got.Error != "invalid_authorization_details" || got.Token != "" {
			t.Errorf("%s: %d %+v", name, status, got)
		}
		if size++; p.Store.Size() != size {
			t.Errorf("%s: %d events, want its refusal alone", name, p.Store.Size()-size+1)
		}
	}
	p.must("POST", "/v1/tasks/"+id+"/close", `{}`)
	if status, got := ask(`[{"type":"lanyard_task","task":"` + id + `"}]`); status != 400 || !strings.Contains(got.Text, "closed") {
		t.Error(status, got)
	}
}

// TestBudget: what is given out is kept, never more than there is, and it is in the record.
func TestBudget(t *testing.T) {
	p := start(t)
	p.settle()
	id := p.opened(`{"identity":"bot","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}],"budget":{"calls":20,"bytes":1000}}`)
	b := p.Source("gw")
	draw := func(want policy.Budget) string {
		t.Helper()
		got, err := b.Draw(t.Context(), id, want)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(got)
	}
	for _, c := range []struct {
		want policy.Budget
		says string
	}{
		{policy.Budget{"calls": 1}, "map[calls:2]"}, {policy.Budget{"calls": 7}, "map[calls:7]"}, {policy.Budget{"calls": -3}, "map[calls:-3]"},
		{policy.Budget{"calls": 15}, "too little is left of 20 (14)"}, {policy.Budget{"bytes": 500, "calls": 15}, "too little"}, {policy.Budget{"bytes": 1000}, "map[bytes:1000]"},
		{policy.Budget{"spend": 1}, "is not in it"}, {policy.Budget{"calls": -100}, "map[calls:-6]"}, {policy.Budget{"calls": -1}, "map[]"}, {policy.Budget{"calls": 20}, "map[calls:20]"},
		{policy.Budget{"calls": -1 << 63}, "map[calls:-20]"}, {policy.Budget{"calls": 1 << 62}, "too little"}, {policy.Budget{"calls": 1}, "map[calls:2]"},
	} {
		if got := draw(c.want); !strings.Contains(got, c.says) {
			t.Errorf("%v: %s, want %s", c.want, got, c.says)
		}
	}
	if got, err := p.Source("another").Draw(t.Context(), id, policy.Budget{"calls": -2, "bytes": -1000}); err != nil || len(got) != 0 {
		t.Errorf("a gateway gives back what another has: %v, %v", got, err)
	}
	if e := p.last(); e.Type != "task.draw" || e.Detail["gateway"] != "gw" || e.Detail["budget"] != "calls=2" || e.Detail["task"] != id {
		t.Errorf("%+v", e)
	}
	p.must("POST", "/v1/tasks/"+id+"/close", `{}`)
	if got := draw(policy.Budget{"calls": 1}); !strings.Contains(got, "closed") {
		t.Error(got)
	}
	if got := draw(policy.Budget{"calls": -1}); got != "map[calls:-1]" {
		t.Error(got)
	}
	if answer := p.must("GET", "/v1/tasks/"+id, ""); !strings.Contains(answer, `"given":{"bytes":1000,"calls":1}`) {
		t.Error(answer)
	}
	if _, err := b.Draw(t.Context(), "task_x", policy.Budget{"calls": 1}); err == nil {
		t.Error("of no task")
	}
}
