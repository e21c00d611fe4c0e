package control

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestRestartedView: a view that was there all the time and one that begins with a snapshot decide from the same.
func TestRestartedView(t *testing.T) {
	p := start(t)
	ask := p.asks("owner ben", 0)
	p.must("PUT", "/v1/identities/bot", `{"kind":"agent","owner":"maya","purpose":"tests","tasks":"required","children":{"at_once":5,"depth":2}}`)
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	names := []identity.ID{bot}
	for range 3 {
		names = append(names, p.spawned(bot).ID)
	}
	p.must("POST", "/v1/kill", `{"identity":"`+names[1].Name()+`","reason":"t"}`)
	p.must("POST", "/v1/identities/"+names[2].Name()+"/suspend", `{}`)
	for _, name := range []string{"cat", "dog", "eel"} {
		p.must("PUT", "/v1/identities/"+name, `{"kind":"agent","owner":"kim","backup":"ben","purpose":"tests"}`)
		p.must("PUT", "/v1/identities/"+name+"/grants/read", `{"upstream":"mail","actions":["read"],"only_for_others":true,"record":"before"}`)
		names = append(names, identity.MustID("spiffe://lanyard.local/agent/"+name))
	}
	p.must("POST", "/v1/kill", `{"identity":"cat","reason":"t"}`)
	p.must("POST", "/v1/restore", `{"identity":"cat","reason":"t"}`)
	p.must("POST", "/v1/identities/dog/retire", `{}`)
	p.must("DELETE", "/v1/identities/eel/grants/read", "")
	p.must("PUT", "/v1/guardrails/g", `{"cedar":"@approve(\"ben\") forbid(principal, action in Lanyard::Action::\"delete\", resource);"}`)
	p.must("PUT", "/v1/upstreams/crm", `{"url":"http://127.0.0.1:1","owner":"maya","family":"patterns","description":"GET /c -> c.read read /c","agent":"eel","chain_header":"Lanyard-Chain","counters":{}}`)
	p.must("POST", "/v1/kill", `{"upstream":"crm","reason":"t"}`)
	p.must("PUT", "/v1/owners/kim", `{"name":"Kim Sato","email":"kim@example.com","gone":true}`)
	going := p.opened(`{"identity":"bot","on":"maya","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}],"budget":{"calls":5}}`)
	closed := p.opened(`{"identity":"bot","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}]}`)
	p.must("POST", "/v1/tasks/"+closed+"/close", `{}`)
	var asked []feed.Approval
	keys := []string{feed.Key("r")}
	for _, body := range []string{"waiting", "approved", "denied", "standing", "taken back"} {
		q := ask(body)
		q.Keys.Resource = feed.Key("r", body)
		if len(body) >= 8 && body != "approved" {
			q.Ask = &policy.Asking{Of: []policy.Approve{{Policy: "g", Guardrail: true, Need: 1, Words: []string{"ben"}}}}
		}
		asked, keys = append(asked, p.put(q)), append(keys, q.Hash, q.Keys.Resource)
	}
	ben := p.signIn("ben")
	ben.decide(asked[1].ID, "once")
	ben.decide(asked[2].ID, "deny")
	ben.decide(asked[3].ID, "lasting", "until", "7d")
	ben.decide(asked[4].ID, "lasting", "until", "7d")
	p.must("POST", "/v1/approvals/"+asked[4].ID+"/deny", `{}`)
	for n, want := range []feed.ApprovalState{feed.Waiting, feed.Approved, feed.Denied, feed.Standing, feed.Denied} {
		if got := p.state(asked[n].ID).State; got != want {
			t.Errorf("%d is %s, not %s", n, got, want)
		}
	}
	fresh := feed.NewView()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for c, err := range p.Store.Watch(ctx, feed.Cursor{}) {
		if err == nil {
			err = fresh.Apply(c)
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.Synced {
			break
		}
	}
	text := func(v *feed.View) map[string]string {
		all := map[string]string{}
		put := func(what string, v any) {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			all[what] = string(b)
		}
		for _, id := range names {
			if s, ok := v.Subject(id); ok {
				i, grants := s.Identity, append([]policy.Grant{}, s.Grants...)
				i.Version = 0 // decides nothing, and a kill counts it in the store alone
				slices.SortFunc(grants, func(a, b policy.Grant) int { return cmp.Compare(a.ID, b.ID) })
				put(id.Name(), []any{i, s.Credentials, grants})
			}
			line, err := v.Line(id, p.Now())
			put(id.Name()+"'s line", []any{line, err == nil})
		}
		for _, key := range keys {
			a, ok := v.Approval(key)
			put("approval "+key, []any{a, ok})
		}
		for _, owner := range []identity.OwnerID{"maya", "ben", "kim"} {
			o, _ := v.Owner(owner)
			put("owner "+string(owner), o)
		}
		k, ok := v.Task(going)
		put("task", []any{k.Task, ok})
		k, ok = v.Task(closed)
		put("closed task", ok && k.Going(p.Now()) == nil)
		for _, u := range v.Upstreams() {
			k := *u
			k.Version = 0
			put("upstream "+k.Name, k)
		}
		put("guardrails", v.Guardrails())
		return all
	}
	old, now := text(p.View), text(fresh)
	if len(old) != len(now) || len(old) < len(names)+len(keys) {
		t.Errorf("there was %d, and there is %d after a restart", len(old), len(now))
	}
	for what, was := range old {
		if now[what] != was {
			t.Errorf("%s was\n%s\nand is after a restart\n%s", what, was, now[what])
		}
	}
}
