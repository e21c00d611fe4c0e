package control

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestApprovalCaller: what the grant of who calls asks of its owner, the owner of the agent that is called cannot
// say yes to; and a lasting yes is for those who asked together, never for one of them alone.
func TestApprovalCaller(t *testing.T) {
	p := start(t)
	ask := p.asks("owner", 0)
	p.must("PUT", "/v1/identities/cat", `{"kind":"agent","owner":"ben","purpose":"tests"}`)
	p.must("PUT", "/v1/identities/cat/grants/send", `{"upstream":"mail","actions":["m.send"],"approve":"owner"}`)
	cat := identity.MustID("spiffe://lanyard.local/agent/cat")
	q := ask("a")
	q.Chain = append(q.Chain, identity.Link{ID: cat})
	q.Ask = &policy.Asking{Of: []policy.Approve{{Policy: "cat/send", Need: 1, Words: []string{"owner"}}}}
	a := p.put(q)
	if a.Who != "Ben Okafor" {
		t.Errorf("asked is %s", a.Who)
	}
	if status, page := p.signIn("maya").open("/approvals/" + a.ID); status != 404 {
		t.Errorf("maya, who owns the one that is called, sees it: %d\n%s", status, page)
	}
	if status, page := p.signIn("ben").decide(a.ID, "lasting", "until", "7d"); status != 200 {
		t.Fatalf("%d\n%s", status, page)
	}
	if v := p.state(a.ID); v.State != feed.Standing || v.Grant != "" {
		t.Errorf("%+v", v)
	}
	decide := func(id string, chain ...string) policy.Decision {
		s, _ := p.View.Subject(identity.MustID("spiffe://lanyard.local/agent/" + id))
		set, err := s.Set()
		if err != nil {
			t.Fatal(err)
		}
		u, _ := p.View.Upstream("mail")
		r := policy.Request{Call: policy.Call{Upstream: "mail", Action: "m.send", Class: policy.Write, Resource: "m"}, Upstream: u, Now: p.Now()}
		for _, l := range chain {
			r.Chain = append(r.Chain, identity.Link{ID: identity.MustID("spiffe://lanyard.local/agent/" + l)})
		}
		return set.Decide(r)
	}
	if d := decide("cat", "cat"); d.Allow || d.Ask == nil {
		t.Errorf("cat by itself, after a yes to what bot does for it: %+v", d)
	}
	p.signIn("maya").decide(p.put(ask("b")).ID, "lasting", "until", "7d")
	if d := decide("bot", "bot"); !d.Allow {
		t.Errorf("bot by itself: %+v", d)
	}
	if d := decide("bot", "bot", "cat"); d.Allow || d.Ask == nil {
		t.Errorf("bot for cat, after a yes to what it does for itself: %+v", d)
	}
}

// TestApprovalTakenBack: a yes that stands, or is not used yet, can be taken back.
func TestApprovalTakenBack(t *testing.T) {
	p := start(t)
	ask := p.asks("maya ben", 0)
	q := ask("a")
	q.Ask = &policy.Asking{Of: []policy.Approve{{Policy: "rail", Guardrail: true, Need: 1, Words: []string{"maya", "ben"}}}}
	a, b := p.put(q), p.put(ask("b"))
	maya := p.signIn("maya")
	maya.decide(a.ID, "lasting", "until", "7d")
	maya.decide(b.ID, "once")
	if got, ok := p.View.Approval(q.Keys.Resource); !ok || p.View.Good(got, q.Ask, p.Now()) != nil {
		t.Fatalf("%+v", got)
	}
	p.must("POST", "/v1/approvals/"+a.ID+"/deny", `{"note":"no more"}`)
	if got, _ := p.View.Approval(q.Keys.Resource); p.View.Good(got, q.Ask, p.Now()) == nil || p.state(a.ID).State != feed.Denied {
		t.Errorf("%+v", got)
	}
	p.must("POST", "/v1/approvals/"+b.ID+"/deny", `{}`)
	if err := p.Desk().Use(t.Context(), b.ID, b.Hash, "r"); !errors.Is(err, feed.ErrUsed) {
		t.Error(err)
	}
	if status, answer := p.ask("POST", "/v1/approvals/"+a.ID+"/deny", `{}`); status != 409 {
		t.Errorf("twice: %d %s", status, answer)
	}
}

// spawned is a child that an identity started.
func (p *plane) spawned(parent identity.ID) identity.Identity {
	p.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		p.Fatal(err)
	}
	var made registry.Spawned
	key := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, base64.RawURLEncoding.EncodeToString(public))
	if _, err := p.registry.Do(p.Context(), registry.Self, func(c *registry.Change) (err error) {
		made, err = c.Spawn(parent, registry.Spawn{Purpose: "tests", Key: []byte(key)})
		return err
	}); err != nil {
		p.Fatal(err)
	}
	return made.Identity
}

// TestApprovalFamily: children ask in the place of who started them, and for one that is forgotten there is nothing to say yes to.
func TestApprovalFamily(t *testing.T) {
	p := start(t)
	ask := p.asks("kim", 0)
	p.must("PUT", "/v1/identities/bot", `{"kind":"agent","owner":"maya","purpose":"tests","children":{"at_once":5,"depth":2}}`)
	bot := identity.MustID("spiffe://lanyard.local/agent/bot")
	var kids []identity.Identity
	for range 3 {
		kids = append(kids, p.spawned(bot))
	}
	asked := func(n int, by identity.ID) (feed.Approval, error) {
		q := ask(string(rune('a' + n)))
		if by != bot {
			q.Chain = append(identity.Alone(by, 0), q.Chain...)
		}
		return p.Desk().Ask(p.Context(), q)
	}
	for n := range 20 {
		if _, err := asked(n, kids[n%3].ID); err != nil {
			t.Fatal(n, err)
		}
	}
	var no *feed.NotAsked
	for _, by := range []identity.ID{bot, kids[0].ID, p.spawned(bot).ID} {
		if _, err := asked(20, by); !errors.As(err, &no) || !strings.Contains(no.Why, "bot has 20 questions") {
			t.Errorf("one more, by %s: %v", by.Name(), err)
		}
	}
	// One that called another is forgotten while people are asked about that.
	p.must("PUT", "/v1/identities/cat", `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	last := p.spawned(bot)
	q := ask("z")
	q.Chain = identity.Chain{{ID: identity.MustID("spiffe://lanyard.local/agent/cat")}, {ID: last.ID}, {ID: bot}}
	of := p.put(q)
	kim := p.signIn("kim")
	form := kim.form(of.ID, "once")
	p.must("POST", "/v1/identities/"+last.ID.Name()+"/retire", `{}`)
	p.registry.KeepEnded = time.Nanosecond
	p.ahead.Add(int64(time.Minute))
	if err := p.registry.Tidy(p.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _ := p.ask("GET", "/v1/identities/"+last.ID.Name(), ""); status != 404 {
		t.Fatal("it is not forgotten")
	}
	if status, page := kim.send("/approvals/"+of.ID, form); status != 409 || !strings.Contains(page, "nothing to approve") {
		t.Errorf("for a child that is over: %d\n%s", status, page)
	}
}

// TestApproverStopped: what was approved in the name of somebody whose all was stopped, who left or was removed, is
// approved no more, also when there is somebody of that name again; and a task for one who was removed is closed.
func TestApproverStopped(t *testing.T) {
	for name, stop := range map[string]func(*plane){
		"killed": func(p *plane) { p.must("POST", "/v1/kill", `{"owner":"kim","reason":"a laptop was stolen"}`) },
		"left and came back": func(p *plane) {
			p.must("PUT", "/v1/owners/kim", `{"name":"Kim Sato","email":"kim@example.com","gone":true}`)
			p.must("PUT", "/v1/owners/kim", `{"name":"Kim Sato","email":"kim@example.com"}`)
		},
		"removed": func(p *plane) {
			p.must("DELETE", "/v1/owners/kim", "")
			p.must("PUT", "/v1/owners/kim", `{"name":"Kim Otsu","email":"kim@example.com"}`)
		},
	} {
		p := start(t)
		ask := p.asks("kim ben", 0)
		rail := ask("standing")
		rail.Ask = &policy.Asking{Of: []policy.Approve{{Policy: "rail", Guardrail: true, Need: 1, Words: []string{"kim", "ben"}}}}
		two := ask("of two")
		two.Ask = &policy.Asking{Of: []policy.Approve{{Policy: "rail", Guardrail: true, Need: 2, Words: []string{"kim", "ben"}}}}
		task := p.opened(`{"identity":"bot","on":"kim","purpose":"p","scope":[{"upstream":"mail","actions":["read"]}]}`)
		stands, once, half, bens := p.put(rail), p.put(ask("once")), p.put(two), p.put(ask("ben's"))
		kim, ben := p.signIn("kim"), p.signIn("ben")
		kim.decide(stands.ID, "lasting", "until", "7d")
		kim.decide(once.ID, "once")
		kim.decide(half.ID, "once")
		ben.decide(bens.ID, "once")
		stop(p)
		for _, a := range []feed.Approval{stands, once, half} {
			if v := p.state(a.ID); v.State != feed.Expired {
				t.Errorf("%s: %+v", name, v)
			}
		}
		if _, page := kim.open("/approvals"); strings.Contains(page, "Kim") || !strings.Contains(page, "name=\"code\"") {
			t.Errorf("%s: kim's browser is still signed in:\n%s", name, page)
		}
		if got, ok := p.View.Approval(rail.Keys.Resource); ok {
			t.Errorf("%s: it stands: %+v", name, got)
		}
		if v := p.state(bens.ID); v.State != feed.Approved {
			t.Errorf("%s: what ben approved: %+v", name, v)
		}
		if k, ok := p.View.Task(task); name == "removed" && (!ok || k.Going(p.Now()) == nil) {
			t.Errorf("the task for who was removed goes on: %+v", k)
		}
	}
}
