package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// directory is a client of SCIM with a key.
type directory struct {
	*plane
	key string
}

func (p *plane) directory(name, put string) *directory {
	p.Helper()
	p.must("PUT", "/v1/directories/"+name, put)
	var made DirectoryKeyMade
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/directories/"+name+"/keys", `{}`)), &made); err != nil || !strings.HasPrefix(made.Key, registry.DirectoryPrefix) {
		p.Fatal(made, err)
	}
	return &directory{p, made.Key}
}

// sends is a request, and what came of it.
func (d *directory) sends(method, path, body string, header ...string) (int, map[string]any) {
	d.Helper()
	status, answer := d.ask(method, "/scim/v2"+path, body, append([]string{"Authorization", "Bearer " + d.key, "Content-Type", "application/scim+json"}, header...)...)
	m := map[string]any{}
	if answer != "" {
		if err := json.Unmarshal([]byte(answer), &m); err != nil {
			d.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
	}
	if schemas := fmt.Sprint(m["schemas"]); status >= 400 && (!strings.Contains(schemas, ":2.0:Error]") || m["status"] != fmt.Sprint(status) || m["detail"] == "") {
		d.Errorf("%s %s: an error that is not one of RFC 7644 section 3.12: %d %s", method, path, status, answer)
	}
	return status, m
}

// good is a request that must work.
func (d *directory) good(method, path, body string) map[string]any {
	d.Helper()
	status, m := d.sends(method, path, body)
	if status/100 != 2 {
		d.Fatalf("%s %s %s: %d %v\n%s", method, path, body, status, m, d.log)
	}
	return m
}

func (d *directory) finds(filter string) (ids []string) {
	d.Helper()
	list, _ := d.good("GET", "/Users?filter="+url.QueryEscape(filter), "")["Resources"].([]any)
	for _, r := range list {
		ids = append(ids, r.(map[string]any)["id"].(string))
	}
	return ids
}

func (p *plane) owner(id string) (v OwnerView) {
	p.Helper()
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/owners/"+id, "")), &v); err != nil {
		p.Fatal(err)
	}
	return v
}

// as Microsoft documents what Entra ID sends.
const entraUser = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"externalId":"0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef","userName":"maya@example.com","active":true,
	"emails":[{"primary":true,"type":"work","value":"maya@example.com"}],"meta":{"resourceType":"User"},"name":{"formatted":"Maya Lind","familyName":"Lind","givenName":"Maya"},"roles":[],"title":"CFO",
	"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Finance"}}`

func patchOf(operations string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operations + `]}`
}

// TestDirectoryBringsAndTakes: the directory's people become owners, or are those that there are; who is active no more is out at once, and what
// they own is with their backup or suspended; who comes back gets none of it by that.
func TestDirectoryBringsAndTakes(t *testing.T) {
	p := start(t)
	p.settle() // maya owns mail and bot
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Okafor","email":"ben@example.com"}`)
	d := p.directory("entra", `{"domains":["example.com"]}`)

	maya := d.good("POST", "/Users", entraUser)
	id := maya["id"].(string)
	if o := p.owner("maya"); o.Name != "Maya Lind" || o.State != identity.OwnerActive || o.Directory != "entra" || maya["active"] != true || maya["title"] != nil {
		t.Fatalf("%+v %v", o, maya)
	}
	if e := p.last(); e.Type != "directory.user" || e.Actor != "directory:entra" || e.Owner != "maya" {
		t.Errorf("whose word it was that maya is known: %+v", e)
	}
	kim := d.good("POST", "/Users", `{"userName":"Kim.Sato@example.com","externalId":"k1","displayName":"Kim Sato","name":{"givenName":"Kim"},"active":"True"}`)
	if o := p.owner("kim.sato"); o.Name != "Kim Sato" || o.Email != "Kim.Sato@example.com" || o.State != identity.OwnerActive {
		t.Errorf("a new one: %+v %v", o, kim)
	}
	if e := p.last(); e.Type != "owner.add" || e.Actor != "directory:entra" || e.Source == "" {
		t.Errorf("the event of it: %+v", e)
	}

	session := p.begin("maya")
	if status, _ := p.visit(session, "GET", "/v1/me", ""); status != 200 {
		t.Fatal(status)
	}
	for _, body := range []string{ // the ways there are to say it
		patchOf(`{"op":"Replace","path":"active","value":false}`), patchOf(`{"op":"Replace","path":"active","value":"False"}`),
		patchOf(`{"op":"replace","value":{"active":false}}`), patchOf(`{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:User:active","value":"false"}`),
		patchOf(`{"op":"replace","value":{"urn:ietf:params:scim:schemas:core:2.0:User":{"active":false}}}`),
		patchOf(`{"op":"Replace","path":"title","value":"gone"},{"op":"Replace","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"x"},{"op":"Replace","path":"active","value":"False"}`),
	} {
		if got := d.good("PATCH", "/Users/"+id, body); got["active"] != false || p.owner("maya").State != identity.OwnerGone {
			t.Errorf("%s: %v", body, got)
		}
		if status, _ := p.visit(session, "GET", "/v1/me", ""); status != 401 {
			t.Errorf("%s: maya is still signed in: %d", body, status)
		}
		if got := d.good("PATCH", "/Users/"+id, patchOf(`{"op":"Replace","path":"active","value":"True"}`)); got["active"] != true || p.owner("maya").State != identity.OwnerActive {
			t.Errorf("back: %v", got)
		}
		session = p.begin("maya")
	}
	var bot IdentityView
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities/bot", "")), &bot); err != nil || bot.State != identity.Suspended || bot.Owner != "maya" {
		t.Errorf("nobody stood in: %s of %s", bot.State, bot.Owner)
	}
	p.must("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com","backup":"ben"}`)
	p.must("POST", "/v1/identities/bot/resume", `{"reason":"tests"}`)
	d.good("PATCH", "/Users/"+id, patchOf(`{"op":"replace","path":"active","value":false}`))
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities/bot", "")), &bot); err != nil || bot.State != identity.Active || bot.Owner != "ben" {
		t.Errorf("ben stands in: %s of %s", bot.State, bot.Owner)
	}
	if o, ok := p.View.Owner("maya"); !ok || o.State != identity.OwnerGone {
		t.Error("it was answered before the gateway knew")
	}

	// Nobody brings back whom the directory says has left; and whom somebody here said has left it does not bring back by telling something else.
	if status, answer := p.ask("PUT", "/v1/owners/maya", `{"name":"Maya Lind","email":"maya@example.com"}`); status != 409 || !strings.Contains(answer, "the directory entra says so") {
		t.Errorf("an operator brings maya back: %d %s", status, answer)
	}
	p.must("PUT", "/v1/owners/kim.sato", `{"name":"Kim Sato","email":"kim.sato@example.com","gone":true}`)
	if got := d.good("PATCH", "/Users/"+kim["id"].(string), patchOf(`{"op":"replace","path":"displayName","value":"K. Sato"}`)); got["active"] != false || p.owner("kim.sato").State != identity.OwnerGone {
		t.Errorf("kim is back by another name: %v", got)
	}

	// DELETE is leaving, too, and the end of the resource.
	d.good("PATCH", "/Users/"+id, patchOf(`{"op":"replace","path":"active","value":true}`))
	if status, m := d.sends("DELETE", "/Users/"+id, ""); status != 204 || len(m) != 0 || p.owner("maya").State != identity.OwnerGone {
		t.Errorf("%d %v %+v", status, m, p.owner("maya"))
	}
	for _, method := range []string{"GET", "DELETE", "PATCH", "PUT"} {
		if status, _ := d.sends(method, "/Users/"+id, map[string]string{"PATCH": patchOf(`{"op":"replace","path":"active","value":true}`), "PUT": entraUser}[method]); status != 404 {
			t.Errorf("%s of who is not there: %d", method, status)
		}
	}
	if again := d.good("POST", "/Users", entraUser); again["id"] == id || p.owner("maya").State != identity.OwnerActive {
		t.Errorf("hired again: %v", again)
	}
	p.must("DELETE", "/v1/directories/entra", "")
	if p.owner("maya").State != identity.OwnerActive {
		t.Error("who was brought did not stay")
	}
	if status, _ := d.sends("GET", "/Users", ""); status != 401 {
		t.Errorf("a key of a directory that is removed: %d", status)
	}
}

// TestDirectoryAdopts: telling for the first time of somebody who was put here by hand brings nobody back whom somebody here, or another directory, said has left.
func TestDirectoryAdopts(t *testing.T) {
	p := start(t)
	p.settle()
	d, other := p.directory("entra", `{"domains":["example.com"]}`), p.directory("okta", `{"domains":["example.com"]}`)
	user := func(name string) string {
		return `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"` + name + `@example.com","active":true}`
	}
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Ode","email":"ben@example.com"}`)
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Ode","email":"ben@example.com","gone":true}`)
	told := d.good("POST", "/Users", user("ben"))
	if p.owner("ben").State != identity.OwnerGone || told["active"] != false {
		t.Errorf("ben is back: %v", told)
	}
	id := "/Users/" + told["id"].(string)
	d.good("PATCH", id, patchOf(`{"op":"replace","path":"active","value":false}`))
	if d.good("PATCH", id, patchOf(`{"op":"replace","path":"active","value":true}`)); p.owner("ben").State != identity.OwnerActive {
		t.Error("it said that ben left, and that ben is back")
	}
	d.sends("DELETE", id, "")
	if told := other.good("POST", "/Users", user("ben")); p.owner("ben").State != identity.OwnerGone {
		t.Errorf("another directory brings ben back: %v", told)
	}
	maya := d.good("POST", "/Users", user("maya"))
	if p.owner("maya").State != identity.OwnerActive || maya["active"] != true {
		t.Errorf("who is here: %v", maya)
	}
}

// TestDirectoryKeys: a directory shows one of its own keys, sees what it told and nothing else, and asks so often at most.
func TestDirectoryKeys(t *testing.T) {
	p := start(t)
	p.settle()
	a, b := p.directory("a", `{"domains":["example.com"]}`), p.directory("b", `{}`)
	maya := a.good("POST", "/Users", entraUser)["id"].(string)
	if status, m := b.sends("POST", "/Users", entraUser); status != 409 || m["scimType"] != "uniqueness" {
		t.Errorf("another tells of the same: %d %v", status, m)
	}
	if status, _ := b.sends("GET", "/Users/"+maya, ""); status != 404 {
		t.Errorf("another's user: %d", status)
	}
	if got := b.finds(`userName pr`); len(got) != 0 {
		t.Errorf("another's users: %v", got)
	}
	if status, m := a.sends("POST", "/Users", `{"userName":"eve@elsewhere.example"}`); status != 400 || m["scimType"] != "invalidValue" || !strings.Contains(fmt.Sprint(m["detail"]), "does not answer for") {
		t.Errorf("of another domain: %d %v", status, m)
	}
	if status, m := a.sends("PATCH", "/Users/"+maya, patchOf(`{"op":"replace","path":"emails[type eq \"work\"].value","value":"maya@elsewhere.example"}`)); status != 400 {
		t.Errorf("changed to another domain: %d %v", status, m)
	}
	for _, header := range []string{"", "Bearer " + p.token, "Bearer lyd_scim_x", "Basic " + a.key, "Bearer " + a.key + "x"} {
		if status, m := a.sends("GET", "/Users", "", "Authorization", header); status != 401 {
			t.Errorf("%s: %d %v", header, status, m)
		}
	}
	if e := p.last(); e.Type != "directory.refuse" || e.Outcome != "refused" {
		t.Errorf("that a wrong key was shown: %+v", e)
	}
	if status, _ := p.ask("GET", "/v1/owners", "", "Authorization", "Bearer "+a.key); status != 401 {
		t.Errorf("a directory's key in REST: %d", status)
	}
	var second DirectoryKeyMade
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/directories/a/keys", `{"expires":"1d"}`)), &second); err != nil {
		t.Fatal(err)
	}
	if status, answer := p.ask("POST", "/v1/directories/a/keys", `{}`); status != 409 {
		t.Errorf("a third key: %d %s", status, answer)
	}
	var v DirectoryView
	if err := json.Unmarshal([]byte(p.must("GET", "/v1/directories/a", "")), &v); err != nil || len(v.Keys) != 2 || v.Users != 1 || v.URL != p.URL+"/scim/v2" {
		t.Fatalf("%+v %v", v, err)
	}
	p.must("DELETE", "/v1/directories/a/keys/"+v.Keys[0].ID, "")
	if status, _ := a.sends("GET", "/Users", ""); status != 401 {
		t.Errorf("with a revoked key: %d", status)
	}
	a.key = second.Key
	a.good("GET", "/Users", "")
	p.ahead.Add(int64(25 * time.Hour))
	if status, _ := a.sends("GET", "/Users", ""); status != 401 {
		t.Errorf("with one that has ended: %d", status)
	}
	for n := range scimBurst + 1 {
		if status, m := b.sends("GET", "/ServiceProviderConfig", ""); status == 429 && n > 0 {
			return
		} else if status != 200 {
			t.Fatalf("%d %v", status, m)
		}
	}
	t.Error("a directory may ask as often as it likes")
}

// TestDirectoryGroups: who is in a group has the roles that it is said to have, from the next request on, and not longer.
func TestDirectoryGroups(t *testing.T) {
	p := start(t)
	p.settle()
	d := p.directory("okta", `{"roles":{"SOC":["security"]}}`)
	maya := d.good("POST", "/Users", entraUser)["id"].(string)
	session := p.begin("maya")
	may := func() bool {
		status, _ := p.visit(session, "POST", "/v1/kill", `{"all":true,"reason":"drill"}`)
		if status == 200 {
			session = p.begin("maya")
		}
		return status == 200
	}
	if may() {
		t.Fatal("an owner pulls every cord")
	}
	g := d.good("POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"SOC","members":[]}`)["id"].(string)
	other := d.good("POST", "/Groups", `{"displayName":"Choir","externalId":"c","members":[{"value":"`+maya+`"}]}`)["id"].(string)
	if may() {
		t.Fatal("the choir pulls every cord")
	}
	in := func() string { return fmt.Sprint(d.good("GET", "/Groups/"+g, "")["members"]) }
	for _, step := range []struct {
		body string
		in   bool
	}{ // as Entra and Okta send it
		{patchOf(`{"op":"Add","path":"members","value":[{"$ref":null,"value":"` + maya + `"}]}`), true},
		{patchOf(`{"op":"Remove","path":"members","value":[{"$ref":null,"value":"` + maya + `"}]}`), false},
		{patchOf(`{"op":"add","path":"members","value":[{"value":"` + maya + `","display":"maya@example.com"}]}`), true},
		{patchOf(`{"op":"remove","path":"members[value eq \"` + maya + `\"]"}`), false},
		{patchOf(`{"op":"replace","value":{"id":"` + g + `","displayName":"SOC","members":[{"value":"` + maya + `"}]}}`), true},
		{patchOf(`{"op":"replace","path":"members","value":[]}`), false},
		{patchOf(`{"op":"add","value":{"members":[{"value":"` + maya + `"}]}}`), true},
		{patchOf(`{"op":"remove","path":"members"}`), false},
	} {
		if status, m := d.sends("PATCH", "/Groups/"+g, step.body); status != 204 || len(m) != 0 {
			t.Fatalf("%s: %d %v", step.body, status, m)
		}
		if strings.Contains(in(), maya) != step.in || may() != step.in {
			t.Errorf("%s: %s", step.body, in())
		}
	}
	d.good("PATCH", "/Groups/"+g, patchOf(`{"op":"add","path":"members","value":[{"value":"`+maya+`"}]}`))
	if e := p.last(); e.Type != "directory.group" || e.Resource != "SOC" || e.Detail["added"] != "maya" || e.Actor != "directory:okta" {
		t.Errorf("%+v", e)
	}
	if got := d.good("GET", "/Users/"+maya, ""); !strings.Contains(fmt.Sprint(got["groups"]), "SOC") {
		t.Errorf("whose groups: %v", got)
	}
	if got := d.good("GET", "/Groups?excludedAttributes=members&filter="+url.QueryEscape(`displayName eq "soc"`), ""); got["totalResults"] != 1.0 || strings.Contains(fmt.Sprint(got), "members") || !strings.Contains(fmt.Sprint(got), g) {
		t.Errorf("the group by its name: %v", got)
	}
	if got := d.good("GET", "/Groups?filter="+url.QueryEscape(`members[value eq "`+maya+`"] and externalId eq "c"`), ""); got["totalResults"] != 1.0 || !strings.Contains(fmt.Sprint(got), other) {
		t.Errorf("by its members: %v", got)
	}
	if status, m := d.sends("POST", "/Groups", `{"displayName":"soc"}`); status != 409 || m["scimType"] != "uniqueness" {
		t.Errorf("a second one of the name: %d %v", status, m)
	}
	if status, m := d.sends("PATCH", "/Groups/"+g, patchOf(`{"op":"add","path":"members","value":[{"value":"usr_nobody"}]}`)); status != 400 {
		t.Errorf("a member who is not there: %d %v", status, m)
	}
	d.good("PATCH", "/Groups/"+g, patchOf(`{"op":"Replace","path":"displayName","value":"Security Operations"}`))
	if may() {
		t.Error("a group of another name has its roles")
	}
	d.good("PUT", "/Groups/"+g, `{"displayName":"SOC","members":[{"value":"`+maya+`"}]}`)
	if !may() {
		t.Error("PUT takes no members")
	}
	if status, _ := d.sends("DELETE", "/Groups/"+g, ""); status != 204 || may() {
		t.Errorf("after the group is gone: %d", status)
	}
}

// TestSCIMRequests is what clients send, as their makers document it, and what RFC 7644 says of the rest.
func TestSCIMRequests(t *testing.T) {
	p := start(t)
	d := p.directory("okta", `{}`)
	const okta = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"test.user@okta.local","name":{"givenName":"Test","familyName":"User"},"emails":[{"primary":true,"value":"test.user@okta.local","type":"work"}],"displayName":"Test User","locale":"en-US","externalId":"00ujl29u0le5T6Aj10h7","groups":[],"password":"1mz050nq","active":true}`
	if got := d.good("GET", "/Users?filter="+url.QueryEscape(`userName eq "test.user@okta.local"`)+"&startIndex=1&count=100", ""); got["totalResults"] != 0.0 || fmt.Sprint(got["Resources"]) != "[]" || got["itemsPerPage"] != 0.0 {
		t.Errorf("nobody yet: %v", got)
	}
	status, user := d.sends("POST", "/Users", okta)
	id, _ := user["id"].(string)
	meta, _ := user["meta"].(map[string]any)
	if status != 201 || user["password"] != nil || meta["location"] != p.URL+"/scim/v2/Users/"+id || meta["resourceType"] != "User" {
		t.Fatalf("%d %v", status, user)
	}
	if status, m := d.sends("POST", "/Users", strings.ReplaceAll(okta, "test.user", "TEST.USER")); status != 409 || m["scimType"] != "uniqueness" {
		t.Errorf("twice: %d %v", status, m)
	}
	other := d.good("POST", "/Users", `{"USERNAME":"ben","Emails":[{"value":"home@ben.example","type":"home"},{"value":"ben@work.example","type":"work"}],"displayName":"Ben \"B\" Ökafor"}`)["id"].(string)
	if o := p.owner("ben"); o.Email != "ben@work.example" {
		t.Errorf("the address of work counts: %+v", o)
	}
	for filter, want := range map[string]string{
		`userName eq "Test.User@OKTA.local"`: id, `USERNAME Eq "test.user@okta.local"`: id, `urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ben"`: other,
		`externalId eq "00ujl29u0le5T6Aj10h7"`: id, `externalId eq "00UJL29u0le5T6Aj10h7"`: "", `id eq "` + other + `"`: other,
		`emails eq "ben@work.example"`: other, `emails.value eq "home@ben.example"`: other, `emails[type eq "work"].value eq "BEN@work.example"`: other, `emails[type eq "home" and value sw "ben"]`: "",
		`emails[type eq "home" and value sw "home"]`: other, `name.familyName eq "User" and active eq true`: id, `name.familyName eq "User" and active eq "True"`: id, `active eq false`: "",
		`userName sw "te" or userName sw "be"`: id + " " + other, `not (userName sw "te")`: other, `displayName co "\"b\" \u00d6"`: other, `userName ne "ben"`: id, `externalId pr`: id, `not (externalId pr)`: other,
		`userName eq "ben" and (externalId eq "x" or emails pr)`: other, `meta.created gt "2020-01-01T00:00:00Z" and userName ew "n"`: other, `title eq "x"`: "", `title pr or userName eq "ben"`: other,
		`userName ge "test" and userName le "teszz"`: id, `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:userName pr`: "", `name.givenName eq null`: other,
	} {
		got := d.finds(filter)
		for _, one := range strings.Fields(want) {
			if !strings.Contains(strings.Join(got, " "), one) {
				t.Errorf("%s finds %v", filter, got)
			}
		}
		if len(got) != len(strings.Fields(want)) {
			t.Errorf("%s finds %v", filter, got)
		}
	}
	for _, filter := range []string{`userName`, `userName eq`, `userName eq x"`, `userName eq "x`, `userName is "x"`, `(userName pr`, `userName pr)`, `emails[type eq "work"`, `emails[type eq "work"].`, `eq "x"`, `userName eq "x" and`, `not userName pr`, `userName eq {}`,
		strings.Repeat("(", 50) + "userName pr" + strings.Repeat(")", 50), `userName eq "` + strings.Repeat("x", 5000) + `"`, "userName eq \"\xff\""} {
		if status, m := d.sends("GET", "/Users?filter="+url.QueryEscape(filter), ""); status != 400 || m["scimType"] != "invalidFilter" {
			t.Errorf("%.60s: %d %v", filter, status, m)
		}
	}

	// Pages.
	for n := range 3 {
		d.good("POST", "/Users", fmt.Sprintf(`{"userName":"page%d@example.com"}`, n))
	}
	seen := map[any]bool{}
	for at := 1; at <= 5; at += 2 {
		got := d.good("GET", fmt.Sprintf("/Users?startIndex=%d&count=2", at), "")
		if got["totalResults"] != 5.0 || got["startIndex"] != float64(at) {
			t.Errorf("%v", got)
		}
		for _, r := range got["Resources"].([]any) {
			seen[r.(map[string]any)["id"]] = true
		}
	}
	if len(seen) != 5 {
		t.Errorf("pages of two have %d of five", len(seen))
	}
	for query, want := range map[string]int{"count=0": 0, "count=-3": 0, "startIndex=-5": 5, "startIndex=6": 0, "filter=userName+sw+%22page%22&count=2": 2, "filter=userName+sw+%22page%22&startIndex=3": 1} {
		if got := d.good("GET", "/Users?"+query, ""); len(got["Resources"].([]any)) != want {
			t.Errorf("%s: %v", query, got)
		}
	}
	if got := d.good("GET", "/Users/"+id+"?attributes=userName,emails.value", ""); got["displayName"] != nil || got["userName"] == nil || strings.Contains(fmt.Sprint(got["emails"]), "work") || got["id"] != id {
		t.Errorf("of some attributes: %v", got)
	}

	if got := d.good("POST", "/Users/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"filter":"userName sw \"page\"","startIndex":2,"count":1,"attributes":["userName"]}`); got["totalResults"] != 3.0 || len(got["Resources"].([]any)) != 1 || strings.Contains(fmt.Sprint(got), "emails") {
		t.Errorf("searched: %v", got)
	}

	// Changes.
	path := "/Users/" + id
	shown := func(r map[string]any) string {
		var words []string
		emails, _ := r["emails"].([]any)
		for _, e := range emails {
			m := e.(map[string]any)
			mark := ""
			if m["primary"] == true {
				mark = "!"
			}
			words = append(words, fmt.Sprintf("%v=%v%s", m["type"], m["value"], mark))
		}
		name, _ := r["name"].(map[string]any)
		return fmt.Sprintf("%s (%v %v) %v %v", strings.Join(words, " "), name["givenName"], name["familyName"], r["displayName"], r["userName"])
	}
	for _, change := range []struct{ body, want string }{
		{patchOf(`{"op":"Replace","path":"emails[type eq \"work\"].value","value":"up@okta.local"},{"op":"Replace","path":"name.familyName","value":"Updated"}`), "work=up@okta.local! (Test Updated) Test User test.user@okta.local"},
		{patchOf(`{"op":"Add","path":"emails[type eq \"home\"].value","value":"home@okta.local"}`), "work=up@okta.local! home=home@okta.local (Test Updated) Test User test.user@okta.local"},
		{patchOf(`{"op":"add","path":"emails","value":[{"value":"new@okta.local","type":"other","primary":true}]}`), "work=up@okta.local home=home@okta.local other=new@okta.local! (Test Updated) Test User test.user@okta.local"},
		{patchOf(`{"op":"remove","path":"emails[type eq \"other\"]"}`), "work=up@okta.local home=home@okta.local (Test Updated) Test User test.user@okta.local"},
		{patchOf(`{"op":"replace","value":{"name.familyName":"Dotted","emails[type eq \"work\"].value":"dotted@okta.local","nickName":"T"}}`), "work=dotted@okta.local home=home@okta.local (Test Dotted) Test User test.user@okta.local"},
		{patchOf(`{"op":"replace","path":"name","value":{"familyName":"Whole"}}`), "work=dotted@okta.local home=home@okta.local (Test Whole) Test User test.user@okta.local"},
		{patchOf(`{"op":"remove","path":"emails","value":[{"value":"home@okta.local"}]}`), "work=dotted@okta.local (Test Whole) Test User test.user@okta.local"},
		{patchOf(`{"op":"replace","path":"emails[type eq \"work\"]","value":{"value":"over@okta.local","primary":"True"}}`), "work=over@okta.local! (Test Whole) Test User test.user@okta.local"},
		{patchOf(`{"op":"replace","value":{"id":"other","schemas":[],"meta":{},"groups":[],"displayName":"Shown"}}`), "work=over@okta.local! (Test Whole) Shown test.user@okta.local"},
		{patchOf(`{"op":"remove","path":"displayName"},{"op":"remove","path":"name.givenName"}`), "work=over@okta.local! (<nil> Whole) <nil> test.user@okta.local"},
		{patchOf(`{"op":"replace","path":"emails","value":[{"value":"only@okta.local"}]}`), "<nil>=only@okta.local (<nil> Whole) <nil> test.user@okta.local"},
		{`{"operations":[{"OP":"Replace","Path":"userName","Value":"renamed"}]}`, "<nil>=only@okta.local (<nil> Whole) <nil> renamed"},
	} {
		if got := shown(d.good("PATCH", path, change.body)); got != change.want {
			t.Errorf("%s:\n%s, not\n%s", change.body, got, change.want)
		}
	}
	for body, want := range map[string]string{
		patchOf(`{"op":"replace","path":"emails[type eq \"none\"].value","value":"x@example.com"}`): "noTarget", patchOf(`{"op":"remove"}`): "noTarget", patchOf(`{"op":"replace","value":"x"}`): "noTarget",
		patchOf(`{"op":"remove","path":"userName"}`): "mutability", patchOf(`{"op":"replace","path":"id","value":"x"}`): "mutability", patchOf(`{"op":"add","path":"groups","value":[{"value":"x"}]}`): "mutability",
		patchOf(`{"op":"replace","path":"active","value":"perhaps"}`): "invalidValue", patchOf(`{"op":"replace","path":"active","value":null}`): "invalidValue", patchOf(`{"op":"remove","path":"active"}`): "invalidValue", patchOf(`{"op":"replace","path":"emails","value":[]}`): "invalidValue",
		patchOf(`{"op":"replace","path":"userName","value":""}`): "invalidValue", patchOf(`{"op":"replace","path":"name","value":"x"}`): "invalidValue", patchOf(`{"op":"replace","path":"userName","value":["x"]}`): "invalidValue",
		patchOf(`{"op":"replace","path":"emails[","value":"x"}`): "invalidPath", patchOf(`{"op":"replace","path":"nonsense","value":"x"}`): "invalidPath", patchOf(`{"op":"replace","path":"name.nonsense","value":"x"}`): "invalidPath",
		patchOf(`{"op":"move","path":"userName","value":"x"}`): "invalidSyntax", patchOf(``): "invalidSyntax", `{"Operations":{}}`: "invalidSyntax", `[]`: "invalidSyntax", `{"Operations":[],"Operations":[]}`: "invalidSyntax",
	} {
		if status, m := d.sends("PATCH", path, body); status != 400 || m["scimType"] != want {
			t.Errorf("%s: %d %v", body, status, m)
		}
	}
	if got := d.good("PUT", path, `{"id":"`+id+`","userName":"test.user@okta.local","emails":[{"value":"test.user@okta.local"}]}`); got["name"] != nil || got["active"] != true || got["externalId"] != nil {
		t.Errorf("PUT leaves what it does not name: %v", got)
	}

	// Versions.
	_, user = d.sends("GET", path, "")
	version := user["meta"].(map[string]any)["version"].(string)
	if status, _ = d.sends("GET", path, "", "If-None-Match", version); status != 304 {
		t.Errorf("unchanged: %d", status)
	}
	events := p.last().ID
	if got := d.good("PUT", path, `{"userName":"test.user@okta.local","emails":[{"value":"test.user@okta.local"}]}`); got["meta"].(map[string]any)["version"] != version || p.last().ID != events {
		t.Errorf("the same again is a change: %v", got)
	}
	if status, _ = d.sends("PATCH", path, patchOf(`{"op":"replace","path":"displayName","value":"New"}`), "If-Match", version); status != 200 {
		t.Errorf("of the version that it is: %d", status)
	}
	for _, method := range []string{"PATCH", "PUT", "DELETE"} {
		body := map[string]string{"PATCH": patchOf(`{"op":"replace","path":"displayName","value":"Newer"}`), "PUT": okta}[method]
		if status, m := d.sends(method, path, body, "If-Match", version); status != 412 {
			t.Errorf("%s of an old version: %d %v", method, status, m)
		}
	}

	// What there is, and what there is not.
	for _, at := range []string{"/ServiceProviderConfig", "/ResourceTypes", "/ResourceTypes/User", "/Schemas", "/Schemas/urn:ietf:params:scim:schemas:core:2.0:Group"} {
		d.good("GET", at, "")
	}
	for at, want := range map[string]int{"/Schemas?filter=id+pr": 403, "/Schemas/x": 404, "/Me": 501, "/Bulk": 501, "/nonsense": 404, "/Users/usr_x": 404, "/Users/" + id + "/x": 404} {
		if status, m := d.sends("GET", at, ""); status != want {
			t.Errorf("%s: %d %v", at, status, m)
		}
	}
	if status, _ := d.sends("POST", path, okta); status != 405 {
		t.Errorf("POST to a user: %d", status)
	}
	if status, _ := d.sends("POST", "/Users", okta, "Content-Type", "text/plain"); status != 415 {
		t.Errorf("text: %d", status)
	}
	if status, _ := d.sends("POST", "/Users", `{"userName":"`+strings.Repeat("x", scimBody)+`"}`); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", status)
	}
	for _, body := range []string{`{}`, `{"userName":"  ","emails":[{"value":"a@b.example"}]}`, `{"userName":"x"}`, `{"userName":"x","emails":[{"value":"no address"}]}`, `{"userName":"a@b.example","active":"x"}`, `{"userName":"a\u0000b@b.example"}`, `{"userName":7}`} {
		if status, m := d.sends("POST", "/Users", body); status != 400 || m["scimType"] != "invalidValue" {
			t.Errorf("%s: %d %v", body, status, m)
		}
	}
}

// FuzzSCIM: whatever a directory sends is understood or refused.
func FuzzSCIM(f *testing.F) {
	for _, s := range []string{`userName eq "x" and not (emails[type eq "work" and value co "@"].value ew ".com" or active eq true)`, `name.givenName`, `emails[primary eq true].value`, `urn:ietf:params:scim:schemas:core:2.0:User:emails[type eq "work"]`, `members[value eq "\u00e9\"x"]`} {
		f.Add(s, `{"Operations":[{"op":"Add","path":"emails[type eq \"work\"].value","value":"x@y.example"},{"op":"replace","value":{"name.familyName":"x","members":[{"value":"y"}]}},{"op":"remove","path":"emails"}]}`)
	}
	f.Fuzz(func(t *testing.T, text, patch string) {
		user := map[string]any{"userName": "maya", "active": true, "name": map[string]any{"givenName": "Maya"}, "emails": []any{map[string]any{"value": "maya@example.com", "type": "work", "primary": true}, map[string]any{"value": "m@example.org"}}}
		group := map[string]any{"displayName": "SOC", "members": []any{map[string]any{"value": "usr_a"}, map[string]any{"value": "usr_b"}}}
		for kind, r := range map[*scimKind]map[string]any{scimUser: user, scimGroup: group} {
			if filter, err := parseScimFilter(text, kind); err == nil {
				yes := filter.match(r)
				if (scimNot{filter}).match(r) == yes {
					t.Errorf("%q is true and not true", text)
				}
				kind.indexed(filter)
			}
			var body map[string]any
			if json.Unmarshal([]byte(patch), &body) != nil {
				continue
			}
			ops, err := parseScimPatch(body)
			for _, o := range ops {
				if err == nil {
					err = kind.apply(r, o)
				}
			}
			if err != nil {
				continue
			}
			normal, err := kind.normal(plainJSON(r))
			if err != nil {
				t.Fatalf("%s made what is not understood: %v", patch, err)
			}
			if again, err := kind.normal(plainJSON(normal)); err != nil || fmt.Sprint(again) != fmt.Sprint(normal) {
				t.Errorf("%s: %v is not %v: %v", patch, again, normal, err)
			}
			readUser(normal, store.DirectoryUser{})
			readGroup(normal, store.DirectoryGroup{})
		}
	})
}
