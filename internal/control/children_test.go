package control

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

func (p *plane) newKey() string {
	p.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		p.Fatal(err)
	}
	return `{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(pub) + `"}`
}

// nursery lets bot start children and returns bot's token for the control plane.
func (p *plane) nursery(atOnce, depth int) string {
	p.Helper()
	p.settle()
	p.must("PUT", "/v1/identities/bot", fmt.Sprintf(`{"kind":"agent","owner":"maya","purpose":"tests","children":{"at_once":%d,"depth":%d}}`, atOnce, depth))
	return p.keyed("bot", p.URL)
}

func (p *plane) spawn(token, body string) (int, string) {
	p.Helper()
	return p.ask("POST", "/v1/children", body, "Authorization", "Bearer "+token)
}

// born is a child that the holder of a token starts.
func (p *plane) born(token, more string) (c ChildCreated) {
	p.Helper()
	status, answer := p.spawn(token, `{"purpose":"tests","public_key":`+p.newKey()+more+`}`)
	if err := json.Unmarshal([]byte(answer), &c); status != 200 || err != nil {
		p.Fatal(status, answer, err)
	}
	return c
}

// TestChildren: an agent starts others with its own token, and everyone can see whose they are.
func TestChildren(t *testing.T) {
	p := start(t)
	token := p.nursery(10, 2)
	c := p.born(token, `,"name":"sum","expires":"30m"`)
	if !strings.HasPrefix(c.Name, "bot.sum-") || c.Parent.Name() != "bot" || !c.Expires.Equal(p.Now().Add(30*60e9)) || c.TokenEndpoint != p.URL+"/oauth/token" || c.Issuer != p.URL ||
		fmt.Sprint(c.Resources) != "[http://gateway.test/mail]" || len(c.Receipt.Confirmed) != 1 || c.Children != (identity.Children{AtOnce: 10, Depth: 1}) {
		t.Errorf("%+v", c)
	}
	grand := p.born(p.keyed(c.Name, p.URL), `,"grants":[{"upstream":"mail","actions":["m.read"],"conditions":{"id":{"is":"7"}}}]`)
	if grand.Parent != c.ID || len(grand.Resources) != 1 {
		t.Errorf("%+v", grand)
	}
	_ = p.keyed(grand.Name, p.GatewayURL+"/mail") // there is something to ask for
	for path, says := range map[string]string{
		"/v1/identities?parent=bot":                `"name":"` + c.Name + `"`,
		"/v1/identities/bot":                       `"living_children":1`,
		"/v1/identities/" + c.Name:                 `"parent":{"id":"spiffe://lanyard.local/agent/bot","generation":0},"inherits":true`,
		"/v1/identities/bot/tree":                  `"count":2`,
		"/v1/identities?roots=true":                `"name":"bot"`,
		"/v1/identities/" + c.Name + "/tree":       `"usable":true`,
		"/v1/ledger/events?type=identity.register": `spiffe://lanyard.local/agent/bot`,
		"/v1/identities?parent=" + c.Name + "":     grand.Name,
	} {
		if answer := p.must("GET", path, ""); !strings.Contains(answer, says) || path == "/v1/identities?roots=true" && strings.Contains(answer, c.Name) {
			t.Errorf("%s: %s", path, answer)
		}
	}
	for body, says := range map[string]string{
		`{"identity":"` + c.Name + `","upstream":"mail","method":"GET","path":"/m/7"}`:     `"allow":true,"reason":"Granted by bot/read."`,
		`{"identity":"` + c.Name + `","upstream":"mail","method":"POST","path":"/m"}`:      `"allow":false,"reason":"bot may not do m.send`,
		`{"identity":"` + grand.Name + `","upstream":"mail","method":"GET","path":"/m/7"}`: `"allow":true`,
		`{"identity":"` + grand.Name + `","upstream":"mail","method":"GET","path":"/m/8"}`: `"allow":false,"reason":"` + grand.Name + ` may not`,
	} {
		if answer := p.must("POST", "/v1/explain", body); !strings.Contains(answer, says) {
			t.Errorf("%s: %s", body, answer)
		}
	}
	for name, x := range map[string]struct {
		token, body string
		status      int
		says        string
	}{
		"no key":            {token, `{"purpose":"x"}`, 422, "public_key"},
		"a null key":        {token, `{"purpose":"x","public_key":null}`, 422, "public_key"},
		"a text":            {token, `{"purpose":"x","public_key":"nonsense"}`, 422, "public_key"},
		"a used key":        {token, `{"purpose":"x","public_key":` + key + `}`, 422, "is already cred_"},
		"no purpose":        {token, `{"public_key":` + p.newKey() + `}`, 422, "purpose"},
		"an owner":          {token, `{"purpose":"x","owner":"ben","public_key":` + p.newKey() + `}`, 422, "unexpected property"},
		"a bad word":        {token, `{"purpose":"x","name":"A B","public_key":` + p.newKey() + `}`, 422, "is no word"},
		"a bad end":         {token, `{"purpose":"x","expires":"soon","public_key":` + p.newKey() + `}`, 422, "is no end"},
		"too late":          {token, `{"purpose":"x","expires":"1y","public_key":` + p.newKey() + `}`, 422, "after bot itself ends"},
		"more than its own": {token, `{"purpose":"x","grants":[{"upstream":"crm","actions":["read"]}],"public_key":` + p.newKey() + `}`, 422, "holds no grant"},
		"an operator":       {p.token, `{"purpose":"x","public_key":` + p.newKey() + `}`, 403, "started by its parent"},
		"too deep":          {p.keyed(grand.Name, p.URL), `{"purpose":"x","public_key":` + p.newKey() + `}`, 409, "may start no children"},
	} {
		size := p.Store.Head()
		if status, answer := p.spawn(x.token, x.body); status != x.status || !strings.Contains(answer, x.says) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		if p.Store.Head() != size {
			t.Errorf("%s: something was kept", name)
		}
	}
}

// TestChildLimit: raced by 64 at once, the limit is the limit.
func TestChildLimit(t *testing.T) {
	p := start(t)
	token := p.nursery(10, 1)
	var all sync.WaitGroup
	var made, refused atomic.Int64
	for range 64 {
		body := `{"purpose":"tests","public_key":` + p.newKey() + `}`
		all.Go(func() {
			switch status, answer := p.spawn(token, body); {
			case status == 200:
				made.Add(1)
			case status == 409 && strings.Contains(answer, "has 10 children at once"):
				refused.Add(1)
			default:
				t.Error(status, answer)
			}
		})
	}
	all.Wait()
	if made.Load() != 10 || refused.Load() != 54 {
		t.Errorf("%d were started, %d refused", made.Load(), refused.Load())
	}
	if on := p.must("GET", "/v1/ledger/events?type=identity.register&outcome=refused&limit=100", ""); strings.Count(on, "has 10 children at once") < 54 || !strings.Contains(on, `"chain":["spiffe://lanyard.local/agent/bot"]`) {
		t.Error(on)
	}
}

// TestEndChild: whoever is above a child can end it, and it can itself; nobody else can, or learns that it is there.
func TestEndChild(t *testing.T) {
	p := start(t)
	token := p.nursery(1, 2)
	a := p.born(token, "")
	own := p.keyed(a.Name, p.URL)
	b := p.born(own, "")
	p.must("PUT", "/v1/identities/other", `{"kind":"agent","owner":"maya","purpose":"tests","children":{"at_once":1}}`)
	other := p.keyed("other", p.URL)
	end := func(token, name string, want int, says string) {
		t.Helper()
		if status, answer := p.ask("DELETE", "/v1/children/"+name, "", "Authorization", "Bearer "+token); status != want || !strings.Contains(answer, says) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	end(other, a.Name, 404, "there is no identity")
	end(other, "nobody", 404, "there is no identity")
	end(other, "other", 404, "there is no identity")
	end(p.keyed(b.Name, p.URL), a.Name, 404, "there is no identity") // from below
	end(own, "bot", 404, "there is no identity")
	end(p.token, a.Name, 403, "an operator retires it")
	end(token, b.Name, 200, "receipt") // two below
	end(token, b.Name, 200, "receipt") // it is so already
	c := p.born(own, "")               // there is room again
	end(p.keyed(c.Name, p.URL), c.Name, 200, "receipt")
	d := p.born(own, "")
	end(token, a.Name, 200, "receipt")
	for _, name := range []string{a.Name, b.Name, c.Name, d.Name} {
		if answer := p.must("GET", "/v1/identities/"+name, ""); !strings.Contains(answer, `"state":"retired"`) {
			t.Errorf("%s: %s", name, answer)
		}
	}
	if status, answer := p.ask("GET", "/v1/self", "", "Authorization", "Bearer "+own); status != 401 {
		t.Error(status, answer)
	}
	p.born(token, "")
}

// TestKillChildren: a kill takes the subtree along, says so before and after, and a restore gives back the root alone.
func TestKillChildren(t *testing.T) {
	p := start(t)
	token := p.nursery(10, 2)
	c := p.born(token, "")
	own := p.keyed(c.Name, p.URL)
	grand := p.born(own, "")
	other := p.born(token, "")
	if dry := p.must("POST", "/v1/kill", `{"identity":"`+c.Name+`","reason":"test","dry_run":true}`); !strings.Contains(dry, grand.ID.String()) || !strings.Contains(dry, `"count":2`) || strings.Contains(dry, other.Name) {
		t.Error(dry)
	}
	if status, _ := p.ask("GET", "/v1/self", "", "Authorization", "Bearer "+own); status != 200 {
		t.Error("a dry run stopped it:", status)
	}
	var k KillResult
	if err := json.Unmarshal([]byte(p.must("POST", "/v1/kill", `{"identity":"`+c.Name+`","reason":"test"}`)), &k); err != nil || k.Count != 2 || k.Credentials != 4-1 || len(k.Receipt.Confirmed) != 1 {
		t.Errorf("%v %+v", err, k)
	}
	for name, want := range map[string]string{c.Name: "killed", grand.Name: "killed", other.Name: "active", "bot": "active"} {
		if answer := p.must("GET", "/v1/identities/"+name, ""); !strings.Contains(answer, `"state":"`+want+`"`) {
			t.Errorf("%s: %s", name, answer)
		}
	}
	if status, answer := p.spawn(own, `{"purpose":"x","public_key":`+p.newKey()+`}`); status != 401 {
		t.Error(status, answer)
	}
	if back := p.must("POST", "/v1/restore", `{"kill":"`+k.ID+`","reason":"test"}`); !strings.Contains(back, `"restored":["`+c.ID.String()+`"]`) || !strings.Contains(back, "ended for good") {
		t.Error(back)
	}
	if status, answer := p.ask("POST", "/v1/identities/"+grand.Name+"/resume", `{"reason":"x"}`); status != 409 || !strings.Contains(answer, "ended for good") {
		t.Error(status, answer)
	}
}

// TestBrokerOfChildren: the broker lends a secret to a child only with all that are above it, as they are.
func TestBrokerOfChildren(t *testing.T) {
	p := start(t)
	token := p.nursery(10, 2)
	c, n := p.born(token, ""), p.born(token, `,"grants":[{"upstream":"mail","actions":["m.read"]}]`)
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	src := p.Source("gw")
	try := func(name string, want bool, chain identity.Chain) {
		t.Helper()
		if s, err := src.Credential(t.Context(), "mail", chain, feed.Secret{}); (err == nil) != want || want != (s.Value != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	inherits, narrow := identity.Chain{{ID: c.ID}, {ID: bot}}, identity.Chain{{ID: n.ID}, {ID: bot}}
	try("with its parent's grant", true, inherits)
	try("with its own", true, narrow)
	try("without its parent", false, inherits[:1])
	try("narrowed and without its parent", false, narrow[:1])
	try("behind another", false, identity.Chain{{ID: c.ID}, {ID: n.ID}, {ID: bot}})
	try("of another generation of it", false, identity.Chain{{ID: c.ID}, {ID: bot, Generation: 1}})
	p.must("DELETE", "/v1/identities/bot/grants/read", "")
	try("with nothing to inherit", false, inherits)
	p.must("PUT", "/v1/identities/bot/grants/read", `{"upstream":"mail","actions":["m.read"]}`)
	p.must("POST", "/v1/identities/bot/suspend", `{"reason":"x"}`)
	try("of a suspended parent", false, inherits)
	p.must("POST", "/v1/identities/bot/resume", `{"reason":"x"}`)
	try("of one that was resumed", true, inherits)
	p.must("POST", "/v1/kill", `{"identity":"bot","reason":"x"}`)
	p.must("POST", "/v1/restore", `{"identity":"bot","reason":"x"}`)
	try("of one that was killed since", false, inherits)
	try("as if it were a child of now", false, identity.Chain{{ID: c.ID}, {ID: bot, Generation: 1}})
}

// TestStoppedAbove: what stands under a suspended identity is shown as what it is, unusable.
func TestStoppedAbove(t *testing.T) {
	p := start(t)
	c := p.born(p.nursery(10, 2), "")
	grand := p.born(p.keyed(c.Name, p.URL), "")
	p.must("POST", "/v1/identities/bot/suspend", `{"reason":"a look"}`)
	for _, path := range []string{"/v1/identities/bot/tree", "/v1/identities/" + c.Name, "/v1/identities/" + c.Name + "/tree", "/v1/identities/" + grand.Name} {
		if answer := p.must("GET", path, ""); strings.Contains(answer, `"usable":true`) || !strings.Contains(answer, "was started by another: bot is suspended") {
			t.Errorf("%s: %s", path, answer)
		}
	}
	p.must("POST", "/v1/identities/bot/resume", `{"reason":"nothing"}`)
	for _, path := range []string{"/v1/identities/bot/tree", "/v1/identities/" + grand.Name} {
		if answer := p.must("GET", path, ""); strings.Contains(answer, `"usable":false`) {
			t.Errorf("%s: %s", path, answer)
		}
	}
}
