package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// operation is one of the REST API.
type operationAt struct{ id, method, path string }

func (p *plane) operations() (list []operationAt) {
	p.Helper()
	b, err := p.OpenAPI()
	var d struct {
		Paths map[string]map[string]struct {
			ID string `json:"operationId"`
		} `json:"paths"`
	}
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil || len(d.Paths) < 30 {
		p.Fatal(err, len(d.Paths))
	}
	for path, methods := range d.Paths {
		for method, o := range methods {
			list = append(list, operationAt{o.ID, strings.ToUpper(method), path})
		}
	}
	slices.SortFunc(list, func(a, b operationAt) int { return strings.Compare(a.id, b.id) })
	return list
}

// Every operation has a rule, and every rule is about operations that there are. Who may do what is in testdata/permissions.txt, to be
// read by people: a changed rule changes it.
func TestEveryOperationHasARule(t *testing.T) {
	p := start(t)
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`Action::"([^"]+)"`).FindAllStringSubmatch(string(permissionsText), -1) {
		named[m[1]] = true
	}
	var table strings.Builder
	for _, o := range p.operations() {
		if !named[o.id] {
			t.Errorf("no rule in permissions.cedar is about %s", o.id)
		}
		delete(named, o.id)
		fmt.Fprintf(&table, "%-20s", o.id)
		for _, role := range identity.Roles {
			v := registry.Visitor{Session: store.Session{Person: "owner:maya", Owner: "maya"}, Roles: []identity.Role{role}, Theirs: []identity.OwnerID{"maya"}}
			fmt.Fprintf(&table, " %s:%s", role, map[reach]string{toAll: "all", toTheirs: "theirs", toNothing: "-"}[reachOf(&v, o.id)])
		}
		table.WriteString("\n")
	}
	if len(named) > 0 {
		t.Errorf("permissions.cedar has rules about what there is not: %v", named)
	}
	const golden = "testdata/permissions.txt"
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != table.String() {
		if os.Getenv("LANYARD_UPDATE") != "" {
			err = os.WriteFile(golden, []byte(table.String()), 0o644)
		}
		t.Errorf("%s is not what people may do (LANYARD_UPDATE=1 writes it): %v", golden, err)
	}
}

// begin signs somebody in, with these roles beside those of the owner, and returns what their browser shows.
func (p *plane) begin(owner identity.OwnerID, roles ...identity.Role) string {
	p.Helper()
	var text string
	_, err := p.registry.Do(p.Context(), registry.Self, func(c *registry.Change) (err error) {
		s := store.Session{Person: registry.Person(owner), Owner: owner, Method: store.ByLink, Roles: roles}
		if owner == "" {
			s.Person, s.Name = registry.Administrator, "Administrator"
		}
		text, _, err = c.Begin(s, registry.Browser{})
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	return text
}

// visit asks as a browser does that shows a session.
func (p *plane) visit(session, method, path, body string) (int, string) {
	p.Helper()
	return p.ask(method, path, body, "Authorization", "", "Cookie", "lanyard="+session, "Sec-Fetch-Site", "same-origin")
}

// over REST nobody gets further than their roles, whatever they send.
func TestPermissionsOverREST(t *testing.T) {
	p := start(t)
	office(p)
	for _, role := range identity.Roles {
		v := registry.Visitor{Session: store.Session{Person: "operator:admin"}, Roles: []identity.Role{role}}
		session := p.begin("", role)
		for _, o := range p.operations() {
			if o.id == "tail-events" || o.id == "end-session" || o.id == "kill" || o.id == "stream-events" {
				continue // goes on, or ends what the others need
			}
			path := strings.NewReplacer("{name}", "nobody", "{part}", "nothing").Replace(o.path)
			body := ""
			if o.method != "GET" && o.method != "DELETE" {
				body = "{}"
			}
			status, answer := p.visit(session, o.method, path, body)
			refused := status == http.StatusForbidden && strings.Contains(answer, "You may not do this")
			if want := reachOf(&v, o.id) == toNothing; refused != want || status == http.StatusUnauthorized || status >= 500 {
				t.Errorf("%s, %s: %d %.200s", role, o.id, status, answer)
			}
		}
	}
}

// office has maya with a bot and a team, ben with another bot, and upstreams of both.
func office(p *plane) {
	p.Helper()
	for _, put := range [][2]string{
		{"owners/maya", `{"name":"Maya Lind","email":"maya@example.com"}`}, {"owners/ben", `{"name":"Ben Okri","email":"ben@example.com"}`},
		{"owners/billing", `{"name":"Billing","email":"billing@example.com","team":true,"members":["maya"]}`},
		{"upstreams/mail", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /m -> m.read read /m\nPOST /m -> m.send write /m"}`},
		{"upstreams/files", `{"url":"http://127.0.0.1:1","owner":"ben","family":"patterns","description":"GET /f -> f.read read /f"}`},
		{"upstreams/books", `{"url":"http://127.0.0.1:1","owner":"ben","family":"patterns","description":"GET /b -> b.read read /b"}`},
		{"identities/mayas", `{"kind":"agent","owner":"maya","purpose":"Reads mail"}`}, {"identities/bens", `{"kind":"agent","owner":"ben","purpose":"Reads files"}`},
		{"identities/teams", `{"kind":"agent","owner":"billing","purpose":"Bills"}`},
		{"identities/mayas/grants/read", `{"upstream":"files","actions":["read"]}`}, {"identities/bens/grants/read", `{"upstream":"books","actions":["read"]}`},
	} {
		if status, answer := p.ask("PUT", "/v1/"+put[0], put[1]); status != 200 {
			p.Fatal(put[0], status, answer)
		}
	}
}

// An owner sees and controls what is theirs, and what is not might as well not be there.
func TestOwnersSeeWhatIsTheirs(t *testing.T) {
	p := start(t)
	office(p)
	p.must("PUT", "/v1/identities/waits", `{"kind":"agent","owner":"maya","purpose":"Waits for others","pending":true}`)
	maya := p.begin("maya")
	for _, test := range []struct {
		path, has, hasNot string
	}{
		{"identities", "mayas teams", "bens"}, {"identities?q=reads", "mayas", "bens teams"}, {"owners", "maya billing", "ben@example.com"}, {"upstreams", "mail files", "books"},
		{"schema", "m.read f.read", "b.read"}, {"ledger/events", "mayas", "agent/bens"}, {"ledger/events?owner=ben", "[]", "bens"}, {"me", "Maya kill see", "apply"},
		{"identities/mayas", "Reads", ""}, {"upstreams/files", "files", ""}, {"guardrails", "environment", ""},
	} {
		status, answer := p.visit(maya, "GET", "/v1/"+test.path, "")
		for _, word := range strings.Fields(test.has) {
			if status != 200 || word != "see" && !strings.Contains(answer, word) {
				t.Errorf("%s lacks %s: %d %s", test.path, word, status, answer)
			}
		}
		for _, word := range strings.Fields(test.hasNot) {
			if strings.Contains(answer, word) {
				t.Errorf("%s has %s: %s", test.path, word, answer)
			}
		}
	}
	_, ofBen := p.ask("GET", "/v1/ledger/events?identity=bens", "")
	event := regexp.MustCompile(`evt_[a-z0-9]+`).FindString(ofBen)
	for _, test := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "identities/bens", "", 404}, {"GET", "identities/bens/tree", "", 404}, {"GET", "upstreams/books", "", 404}, {"GET", "owners/ben", "", 404}, {"GET", "ledger/proof/" + event, "", 404},
		{"GET", "status", "", 403}, {"POST", "kill", `{"identity":"bens","reason":"x"}`, 404}, {"POST", "kill", `{"owner":"ben","reason":"x"}`, 404}, {"POST", "kill", `{"all":true,"reason":"x"}`, 403},
		{"POST", "kill", `{"upstream":"files","reason":"x"}`, 403}, {"PUT", "identities/bens", `{"kind":"agent","owner":"maya","purpose":"taken"}`, 404},
		{"PUT", "identities/new", `{"kind":"agent","owner":"ben","purpose":"given away"}`, 404}, {"PUT", "identities/new", `{"kind":"agent","owner":"maya","purpose":"mine"}`, 200},
		{"PUT", "identities/mayas/grants/more", `{"upstream":"files","actions":["read"]}`, 403}, {"PUT", "identities/mayas/grants/more", `{"upstream":"mail","actions":["read"]}`, 200},
		{"PUT", "identities/mayas/grants/read", `{"upstream":"mail","actions":["read"]}`, 403}, {"PUT", "upstreams/mail", `{"url":"http://127.0.0.1:2","family":"patterns","description":"GET /m -> m.read read /m"}`, 403},
		{"PUT", "owners/maya", `{"name":"M","email":"maya@example.com","roles":["admin"]}`, 403}, {"POST", "owners/ben/sign-in", "", 403}, {"POST", "restore", `{"identity":"mayas","reason":"x"}`, 403},
		{"POST", "explain", `{"identity":"bens","upstream":"books","action":"b.read"}`, 404}, {"POST", "explain", `{"event":"` + event + `"}`, 404}, {"POST", "revoke", `{"grant":"bens/read","reason":"x"}`, 404},
		{"POST", "tasks", `{"identity":"mayas","on":"ben","purpose":"x","scope":[{"upstream":"files","actions":["read"]}]}`, 404},
		{"POST", "identities/waits/resume", `{}`, 409}, {"POST", "identities/waits/activate", `{}`, 403}, {"POST", "identities/waits/renew", `{}`, 200},
		{"POST", "identities/teams/suspend", `{}`, 200}, {"POST", "identities/bens/suspend", `{}`, 404}, {"DELETE", "identities/mayas/grants/read", "", 200}, {"POST", "kill", `{"identity":"mayas","reason":"x"}`, 200},
	} {
		if status, answer := p.visit(maya, test.method, "/v1/"+test.path, test.body); status != test.want {
			t.Errorf("%s %s %s: %d %s, want %d", test.method, test.path, test.body, status, answer, test.want)
		}
	}
	if answer := p.must("GET", "/v1/identities/waits", ""); !strings.Contains(answer, `"state":"pending"`) {
		t.Errorf("what is pending began: %s", answer)
	}
	if _, answer := p.ask("GET", "/v1/ledger/events?identity=mayas&type=identity.kill", ""); !strings.Contains(answer, "owner:maya") {
		t.Errorf("who pulled the cord: %s", answer)
	}
}

// A session ends at once: with its owner, its provider, its person's word, and its time.
func TestSessionsEnd(t *testing.T) {
	p := start(t)
	office(p)
	for name, end := range map[string]func(session string){
		"sign-out": func(s string) { p.visit(s, "POST", "/signout", "") },
		"gone": func(string) {
			p.ask("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com","gone":true}`)
		},
		"the cord":     func(string) { p.ask("POST", "/v1/kill", `{"owner":"maya","reason":"x"}`) },
		"the cord all": func(string) { p.ask("POST", "/v1/kill", `{"all":true,"reason":"x"}`) },
		"its time":     func(string) { p.ahead.Add(int64(8 * time.Hour)) },
		"by another": func(string) {
			other := p.begin("maya")
			_, list := p.visit(other, "GET", "/v1/me/sessions", "")
			for _, m := range regexp.MustCompile(`"id":"(ses_[a-z0-9]+)"[^}]*`).FindAllStringSubmatch(list, -1) {
				if strings.Contains(m[0], `"current":true`) {
					continue
				}
				if status, answer := p.visit(other, "DELETE", "/v1/me/sessions/"+m[1], ""); status != 200 {
					t.Error(status, answer)
				}
			}
		},
	} {
		p.ask("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com"}`)
		session := p.begin("maya")
		if status, answer := p.visit(session, "GET", "/v1/me", ""); status != 200 {
			t.Fatalf("%s: before: %d %s", name, status, answer)
		}
		end(session)
		if status, answer := p.visit(session, "GET", "/v1/me", ""); status != 401 || !strings.Contains(answer, "signed-out") {
			t.Errorf("%s: after: %d %s", name, status, answer)
		}
	}
	admin := p.begin("", identity.RoleAdmin)
	if status, answer := p.visit(admin, "POST", "/v1/kill", `{"all":true,"reason":"x"}`); status != 200 {
		t.Error(status, answer)
	}
	if status, answer := p.visit(admin, "GET", "/v1/me", ""); status != 200 {
		t.Errorf("who pulled the cord on everything sees what comes of it: %d %s", status, answer)
	}
}

// What another site has a browser send is not done, though it comes with the cookie; and a cookie is no token.
func TestOnlyOwnPagesChangeThings(t *testing.T) {
	p := start(t)
	office(p)
	maya := p.begin("maya")
	for name, test := range map[string]struct {
		header []string
		want   int
	}{
		"our page":       {[]string{"Cookie", "lanyard=" + maya, "Sec-Fetch-Site", "same-origin"}, 200},
		"our origin":     {[]string{"Cookie", "lanyard=" + maya, "Origin", p.URL}, 200},
		"another site":   {[]string{"Cookie", "lanyard=" + maya, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		"a sibling":      {[]string{"Cookie", "lanyard=" + maya, "Sec-Fetch-Site", "same-site", "Origin", "http://other.localhost"}, 403},
		"an old browser": {[]string{"Cookie", "lanyard=" + maya, "Origin", "https://evil.example"}, 403},
		"no page":        {[]string{"Cookie", "lanyard=" + maya}, 403},
		"a form":         {[]string{"Cookie", "lanyard=" + maya, "Sec-Fetch-Site", "same-origin", "Content-Type", "text/plain"}, 415},
		"two cookies":    {[]string{"Cookie", "lanyard=" + maya + "; lanyard=" + maya, "Sec-Fetch-Site", "same-origin"}, 401},
		"as a token":     {[]string{"Authorization", "Bearer " + maya}, 401},
		"by the header":  {[]string{"Lanyard-Session", maya}, 401},
		"nothing":        {nil, 401},
	} {
		header := test.header
		if !slices.Contains(header, "Authorization") {
			header = append([]string{"Authorization", ""}, header...)
		}
		if status, answer := p.ask("POST", "/v1/identities/mayas/suspend", `{}`, header...); status != test.want {
			t.Errorf("%s: %d %s, want %d", name, status, answer, test.want)
		}
		p.ask("POST", "/v1/identities/mayas/resume", `{}`)
	}
}
