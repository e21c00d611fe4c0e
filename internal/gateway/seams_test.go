package gateway

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestApproveHandedOver: what was agreed to for one owner is not for the next, of the identity or of the upstream.
func TestApproveHandedOver(t *testing.T) {
	w, p, n := counter(t)
	w.apply(feed.Change{Owner: &identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerActive}})
	raw := w.mint(w.claims("bot"))
	w.post(raw, "/mail/send", "{}")
	p.say(t, func(a *feed.Approval) { a.State, a.Key = feed.Standing, p.last.Keys.Resource })
	if status, _, _ := w.post(raw, "/mail/send", "{}"); status != 200 {
		t.Fatal(status)
	}
	bot, _ := w.view.Subject(id("bot"))
	theirs := bot.Identity
	theirs.Owner = "ben"
	w.apply(feed.Change{Identity: &theirs})
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 403 || d.Approval == "" {
		t.Errorf("of an identity that was handed over: %d %+v", status, d)
	}
	w.apply(feed.Change{Identity: &bot.Identity})
	if status, _, _ := w.post(raw, "/mail/send", "{}"); status != 200 {
		t.Errorf("and back: %d", status)
	}
	u, _ := w.view.Upstream("mail")
	other := *u
	other.Owner = "ben"
	w.apply(feed.Change{Upstream: &other})
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 403 || d.Approval == "" || n.Load() != 2 {
		t.Errorf("at an upstream that was: %d %+v", status, d)
	}
}

// TestApproveMoved: what was held for people goes nowhere, and uses nothing up, when its upstream was moved meanwhile.
func TestApproveMoved(t *testing.T) {
	w, p, n := counter(t)
	raw := w.mint(w.claims("bot"))
	answered := make(chan refusalOf, 1)
	go func() {
		_, d, _ := w.post(raw, "/mail/send", "{}", "Prefer", "wait=30")
		answered <- d
	}()
	eventually(t, "asked", func() bool { return p.count() == 1 && len(w.g.holds) == 1 })
	u, _ := w.view.Upstream("mail")
	moved := *u
	moved.URL = "http://127.0.0.1:1/elsewhere"
	w.apply(feed.Change{Upstream: &moved})
	a := p.say(t, yes)
	if d := <-answered; !strings.Contains(d.Detail, "was changed in the midst") || n.Load() != 0 {
		t.Errorf("%+v, %d came through", d, n.Load())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.State != feed.Approved {
		t.Errorf("the approval is %s", a.State)
	}
}

// TestApproverLeft: what runs because of a yes that stands is cut when who said it leaves.
func TestApproverLeft(t *testing.T) {
	p := &people{}
	w := newWorld(t, http.HandlerFunc(ticking), func(c *Config) { p.view, c.Desk = c.View, p })
	w.apply(feed.Change{Owner: &identity.Owner{ID: "kim", Name: "Kim Sato", State: identity.OwnerActive}})
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("kim") forbid(principal, action, resource);`}})
	raw := w.mint(w.claims("bot"))
	res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", raw, nil))
	if err != nil || res.StatusCode != 403 {
		t.Fatal(res, err)
	}
	res.Body.Close()
	p.say(t, func(a *feed.Approval) {
		a.State, a.Key, a.By = feed.Standing, p.last.Keys.Resource, []identity.OwnerID{"kim"}
	})
	res, err = http.DefaultClient.Do(w.request("GET", "/mail/x", raw, nil))
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	w.apply(feed.Change{Owner: &identity.Owner{ID: "kim", Name: "Kim Sato", State: identity.OwnerGone}})
	if cutShort(t, res.Body) == nil {
		t.Error("the stream ended as if it were whole")
	}
}

// TestJudge: over chains of one to eight, whatever any link may not do is refused; else whatever any must have people's yes for, all of
// it must, to all that any asks; else it is allowed; and its event comes first if any of them wants it to.
func TestJudge(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	w := newWorld(t, http.NotFoundHandler())
	var names []string
	rails := `forbid(principal == Lanyard::Agent::"` + id("nobody").String() + `", action, resource);`
	for i := range identity.MaxChain {
		name := fmt.Sprint("n", i)
		names = append(names, name)
		w.enrol(name)
	}
	u, _ := w.view.Upstream("mail")
	got := map[string]int{}
	for range 400 {
		type is struct{ none, plain, before, within, asks, rail, stopped bool }
		all := map[string]is{}
		text := rails
		for _, name := range names {
			n := is{none: rnd.IntN(14) == 0, rail: rnd.IntN(14) == 0, stopped: rnd.IntN(14) == 0, plain: rnd.IntN(4) > 0, before: rnd.IntN(6) == 0}
			n.asks, n.within = !n.plain || rnd.IntN(3) == 0, !n.before && rnd.IntN(2) == 0
			all[name] = n
			for which, there := range map[string]bool{"all": !n.none && n.plain, "asks": !n.none && n.asks} {
				g := &policy.Grant{ID: name + "/" + which, Identity: id(name), Upstream: "mail", Cedar: "permit(principal, action, resource);", Until: time.Now().Add(time.Hour),
					Record: map[bool]string{true: "within"}[n.within]}
				if n.before {
					g.Record = "before"
				}
				if which == "asks" {
					g.Approve = "maya"
				}
				w.apply(feed.Change{Grant: g, Removed: !there})
			}
			if principal := `(principal == Lanyard::Agent::"` + id(name).String() + `", action, resource);`; n.stopped {
				text += "forbid" + principal
			} else if n.rail {
				text += `@approve("ben") forbid` + principal
			}
		}
		w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "rail", Cedar: text}})
		for range 5 {
			rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			c := w.claims(names[0])
			c.Chain = nil
			deny, before, asks := false, false, map[string]bool{}
			for _, name := range names[:1+rnd.IntN(len(names))] {
				c.Chain = append(c.Chain, identity.Link{ID: id(name)})
				n := all[name]
				deny = deny || n.none || n.stopped
				before = before || n.before || !n.within // it is a write
				if !n.plain {
					asks[name+"/asks"] = true
				}
				if n.rail {
					asks["rail"] = true
				}
			}
			r := &request{g: w.g}
			r.claims, r.name = &c, "mail"
			call := policy.Call{Upstream: "mail", Action: "things.write", Class: policy.Write, Resource: "x"}
			var by sets
			d, err := w.g.judge(&c, r.question(call, u, time.Now()), &by)
			if err != nil {
				t.Fatal(err)
			}
			said := map[string]bool{}
			if d.Ask != nil {
				for _, one := range d.Ask.Of {
					said[one.Policy] = true
				}
			}
			want := map[bool]string{true: "asks", false: "allows"}[len(asks) > 0]
			if deny {
				want, asks = "denies", map[string]bool{}
			}
			got[want]++
			if d.Allow != (want == "allows") || (d.Ask != nil) != (want == "asks") || !maps.Equal(said, asks) || want != "denies" && d.Before != before {
				t.Fatalf("%v %s (before: %v, asks: %v), and the decision is %+v", c.Chain, want, before, asks, d)
			}
			if want != "denies" && !by.offer(r.question(call, u, time.Now())) {
				t.Fatalf("%v is not shown what it may do", c.Chain)
			}
		}
	}
	if got["asks"] < 200 || got["denies"] < 200 || got["allows"] < 20 {
		t.Errorf("%v: the test tries too little", got)
	}
}

// TestSeamsRaced: kills, approvals, tasks, accounts and upstreams change at once under load, and nobody waits for anybody for good.
func TestSeamsRaced(t *testing.T) {
	w, p, _ := counter(t)
	w.enrol("other")
	work := policy.Task{ID: "task_1", Identity: id("bot"), Purpose: "p", State: policy.TaskOpen, Until: time.Now().Add(time.Hour),
		Scope: []policy.Grant{{ID: "task_1/0", Identity: id("bot"), Upstream: "mail", Cedar: "permit(principal, action, resource);", Until: time.Now().Add(time.Hour)}}}
	bot, _ := w.view.Subject(id("bot"))
	u, _ := w.view.Upstream("mail")
	rail := &policy.Guardrail{ID: "more", Cedar: `forbid(principal, action in Lanyard::Action::"admin", resource);`}
	var callers, changers sync.WaitGroup
	var passed, refused atomic.Int64
	done := make(chan struct{})
	for n := range 6 {
		callers.Go(func() {
			for i := range 60 {
				c := w.claims([]string{"bot", "other"}[n%2])
				if n == 2 {
					c.Task = "task_1"
				}
				if n == 4 {
					c.Chain = append(c.Chain, identity.Link{ID: id("other")})
				}
				r := w.request([]string{"GET", "POST"}[i%2], fmt.Sprint("/mail/", i%3), w.mint(c), strings.NewReader("{}"))
				r.Header.Set("Prefer", "wait=1")
				res, err := http.DefaultClient.Do(r)
				if err == nil && res.StatusCode == 200 {
					passed.Add(1)
				} else {
					refused.Add(1)
				}
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body) // some are cut
					res.Body.Close()
				}
			}
		})
	}
	for _, change := range []func(i int){
		func(i int) {
			i2 := bot.Identity
			i2.Generation, i2.State, i2.KilledBy = 0, identity.Active, ""
			if i%4 == 0 {
				_ = w.view.Apply(feed.Change{Kill: &feed.Kill{ID: fmt.Sprint("kill_", i), Identities: ids("bot"), At: time.Now()}})
			}
			_ = w.view.Apply(feed.Change{Identity: &i2})
			_ = w.view.Apply(feed.Change{Credential: &bot.Credentials[0]})
		},
		func(i int) {
			k := work
			if i%3 == 0 {
				k.State, k.Closed = policy.TaskClosed, time.Now()
			}
			_ = w.view.Apply(feed.Change{Task: &k})
		},
		func(i int) {
			v := *u
			v.Version += int64(i)
			_ = w.view.Apply(feed.Change{Upstream: &v})
			_ = w.view.Apply(feed.Change{Account: &feed.Account{Upstream: "mail", Owner: "maya"}})
		},
		func(i int) { _ = w.view.Apply(feed.Change{Guardrail: rail, Removed: i%2 == 0}) },
		func(i int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, a := range p.all {
				if a.State == feed.Waiting {
					a.State, a.By = []feed.ApprovalState{feed.Approved, feed.Denied, feed.Expired}[i%3], []identity.OwnerID{"maya"}
					_ = p.tell(a)
				}
			}
		},
	} {
		changers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					change(i)
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		callers.Wait()
		close(done)
		changers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("somebody waits for good")
	}
	if passed.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d passed, %d did not: the test tries too little", passed.Load(), refused.Load())
	}
	t.Logf("%d passed, %d did not", passed.Load(), refused.Load())
	eventually(t, "nothing runs on", func() bool { return w.g.streams.running() == 0 && len(w.g.holds) == 0 })
}

// TestApproveAgain: what was approved under a task, and is sent twice because the account's token was spent, is one call, and
// uses one approval and the bytes of both; what is refused on its way uses neither budget nor approval.
func TestApproveAgain(t *testing.T) {
	var sent atomic.Int64
	p := &people{}
	b := &treasury{limit: map[string]policy.Budget{}, given: map[string]policy.Budget{}}
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent.Add(1)
		if r.Header.Get("Authorization") != "Bearer second" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "%5d", len(body))
	}), func(c *Config) {
		p.view, c.Desk = c.View, p
		b.plane, _ = c.Source.(*plane)
		c.Source = b
	})
	w.plane.account = func(_ string, _ identity.Chain, refused feed.Secret) (feed.Secret, error) {
		s := feed.Secret{Header: "Authorization", Value: "Bearer first", Owner: "maya", Expires: time.Now().Add(time.Hour)}
		if refused.Value != "" {
			s.Value = "Bearer second"
		}
		return s, nil
	}
	w.applyUpstream(&policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "any", Version: 2, OAuth: &policy.OAuth{Account: policy.Own}})
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("owner") forbid(principal, action in Lanyard::Action::"write", resource);`}})
	raw := w.task(b, "task_1", policy.Budget{policy.Calls: 2, policy.Bytes: 1000}, nil)
	w.post(raw, "/mail/send", "1234567890")
	p.say(t, yes)
	if status, d, _ := w.post(raw, "/mail/send", "1234567890"); status != 200 || sent.Load() != 2 {
		t.Fatalf("%d %+v, sent %d times", status, d, sent.Load())
	}
	w.g.purses.settle("task_1")
	if calls, bytes := b.used("task_1", policy.Calls), b.used("task_1", policy.Bytes); calls != 1 || bytes != 25 {
		t.Errorf("%d calls and %d bytes are used", calls, bytes)
	}
	if status, d, _ := w.post(raw, "/mail/send", "1234567890"); status != 403 || d.Approval != "appr_2" {
		t.Errorf("the approval is good twice: %d %+v", status, d)
	}
	p.say(t, yes)
	p.late = true // its approval turns out to be used
	w.post(raw, "/mail/send", "1234567890")
	w.g.purses.settle("task_1")
	if calls := b.used("task_1", policy.Calls); calls != 1 || sent.Load() != 2 {
		t.Errorf("%d calls are used, %d sent", calls, sent.Load())
	}
	spent := w.task(b, "task_2", policy.Budget{policy.Bytes: 1000, policy.Calls: 1}, nil)
	w.post(spent, "/mail/one", "{}")
	p.say(t, yes)
	if status, _, _ := w.post(spent, "/mail/one", "{}"); status != 200 {
		t.Fatal(status)
	}
	w.post(spent, "/mail/two", "{}")
	a := p.say(t, yes)
	n := sent.Load()
	if status, d, _ := w.post(spent, "/mail/two", "{}"); status != 403 || !strings.HasSuffix(d.Type, "budget-spent") || sent.Load() != n {
		t.Errorf("%d %+v", status, d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.State != feed.Approved {
		t.Errorf("what the budget refused has used up the approval: %s", a.State)
	}
}

// TestApproveLater: who was held for people goes on with what is good then, not with what was when it came.
func TestApproveLater(t *testing.T) {
	var ahead atomic.Int64
	w, p, _ := counter(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } })
	var n atomic.Int64
	w.plane.account = func(string, identity.Chain, feed.Secret) (feed.Secret, error) {
		return feed.Secret{Header: "Authorization", Value: fmt.Sprint("Bearer ", n.Add(1)), Owner: "maya", Expires: w.g.Now().Add(30 * time.Second)}, nil
	}
	w.applyUpstream(&policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "any", Version: 2, OAuth: &policy.OAuth{Account: policy.Own}})
	raw := w.mint(w.claims("bot"))
	if status, _ := w.status("GET", "/mail/x", raw); status != 200 || n.Load() != 1 {
		t.Fatal(status, n.Load())
	}
	answered := make(chan int, 1)
	go func() {
		status, _, _ := w.post(raw, "/mail/send", "{}", "Prefer", "wait=30")
		answered <- status
	}()
	eventually(t, "asked", func() bool { return p.count() == 1 && len(w.g.holds) == 1 })
	ahead.Add(int64(40 * time.Second))
	p.say(t, yes)
	if status := within(t, "it is answered", answered); status != 200 || n.Load() != 2 {
		t.Errorf("%d, and the credential was asked for %d times", status, n.Load())
	}
}
